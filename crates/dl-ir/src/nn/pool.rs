//! Pooling, as methods and as layers.

use super::args::Args;
use super::common::{Made, X, floats, made, rank, with_constant};
use super::error::CallError;
use super::layer::LayerDef;
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use crate::attrs::Attrs;
use crate::build::Builder;
use crate::dim::Dim;
use crate::error::{OpError, Problem};
use crate::graph::NodeId;
use crate::op::Op;

/// The axes of images by their number of spatial axes.
pub const LAYOUTS: [&str; 3] = ["[N, C, L]", "[N, C, H, W]", "[N, C, D, H, W]"];

const KERNEL: Param = Param::required("kernel", Kind::Sizes, "the size of the window");
const STRIDE: Param = Param::optional("stride", Kind::Sizes, Default::Same("kernel"), "the distance between windows");
const PADDING: Param =
    Param::optional("padding", Kind::Sizes, Default::Int(0), "elements on each side, at most half the window");
const DILATION: Param =
    Param::optional("dilation", Kind::Sizes, Default::Int(1), "the distance between elements of a window");
const INCLUDE: Param =
    Param::optional("count_include_pad", Kind::Bool, Default::Bool(true), "whether padding counts in the mean, as 0");
const CEIL: Param = Param::optional(
    "ceil_mode",
    Kind::Bool,
    Default::Bool(false),
    "whether a last window that begins inside of x may reach beyond its end",
);
const POWER: Param = Param::required("p", Kind::Float, "the power, above 0");

macro_rules! pools {
    ($($id:ident $layer:literal, $name:literal $aliases:tt, [$($param:expr),*], $doc:literal, $build:expr;)*) => {
        $(const $id: MethodDef = MethodDef {
            name: $name,
            aliases: &$aliases,
            doc: $doc,
            params: &[X, $($param),*],
            build: $build,
        };)*
        /// The poolings as methods.
        pub const METHODS: &[MethodDef] = &[$($id),*];
        /// The poolings as layers.
        pub const LAYERS: &[LayerDef] = &[$(LayerDef::of($layer, &$id)),*];
    };
}

pools! {
    MAX1 "MaxPool1d", "max_pool1d" [], [KERNEL, STRIDE, PADDING, DILATION, CEIL],
        "the largest in each window of [N, C, L]", |b, a| max_pool(b, a, 1);
    MAX2 "MaxPool2d", "max_pool2d" [], [KERNEL, STRIDE, PADDING, DILATION, CEIL],
        "the largest in each window of [N, C, H, W]", |b, a| max_pool(b, a, 2);
    MAX3 "MaxPool3d", "max_pool3d" [], [KERNEL, STRIDE, PADDING, DILATION, CEIL],
        "the largest in each window of [N, C, D, H, W]", |b, a| max_pool(b, a, 3);
    AVG1 "AvgPool1d", "avg_pool1d" [], [KERNEL, STRIDE, PADDING, INCLUDE, CEIL],
        "the mean of each window of [N, C, L]", |b, a| avg_pool(b, a, 1);
    AVG2 "AvgPool2d", "avg_pool2d" [], [KERNEL, STRIDE, PADDING, INCLUDE, CEIL],
        "the mean of each window of [N, C, H, W]", |b, a| avg_pool(b, a, 2);
    AVG3 "AvgPool3d", "avg_pool3d" [], [KERNEL, STRIDE, PADDING, INCLUDE, CEIL],
        "the mean of each window of [N, C, D, H, W]", |b, a| avg_pool(b, a, 3);
    LP1 "LpPool1d", "lp_pool1d" [], [POWER, KERNEL, STRIDE, CEIL],
        "(the sum of x^p)^(1/p) over each window of [N, C, L]", |b, a| lp_pool(b, a, 1);
    LP2 "LpPool2d", "lp_pool2d" [], [POWER, KERNEL, STRIDE, CEIL],
        "(the sum of x^p)^(1/p) over each window of [N, C, H, W]", |b, a| lp_pool(b, a, 2);
    LP3 "LpPool3d", "lp_pool3d" [], [POWER, KERNEL, STRIDE, CEIL],
        "(the sum of x^p)^(1/p) over each window of [N, C, D, H, W]", |b, a| lp_pool(b, a, 3);
}

/// A window larger than what it slides over, in the user's terms.
pub fn too_small(error: OpError) -> CallError {
    match &*error.problem {
        Problem::TooSmall { axis, why, .. } => {
            CallError::Inputs(format!("no window fits on axis {axis} of {{0}}: {why}"))
        }
        _ => CallError::Op(error),
    }
}

/// How windows lie on each spatial axis.
struct Windows {
    kernel: Vec<i64>,
    stride: Vec<i64>,
    padding: Vec<i64>,
    dilation: Vec<i64>,
    /// Elements behind the padding that a last window reaches over, with `ceil_mode`.
    beyond: Vec<i64>,
}

impl Windows {
    /// The windows over an operand; padding is 0 and dilation 1 where the method has none.
    fn of(b: &Builder, args: &Args, spatial: usize) -> Result<Windows, CallError> {
        let (kernel, stride) = (args.sizes("kernel", spatial, 1)?, args.sizes("stride", spatial, 1)?);
        let optional = |name: &str, least: i64| {
            if args.get(name).is_some() { args.sizes(name, spatial, least) } else { Ok(vec![least; spatial]) }
        };
        let (padding, dilation) = (optional("padding", 0)?, optional("dilation", 1)?);
        if let Some((p, k)) = padding.iter().zip(&kernel).find(|(p, k)| **p > **k / 2) {
            let message = format!("`padding` must be at most half the window of {k}, but it is {p}");
            return Err(args.error("padding", message).into());
        }
        let mut windows = Windows { kernel, stride, padding, dilation, beyond: vec![0; spatial] };
        if args.bool("ceil_mode") {
            for s in 0..spatial {
                let size = &b.shape(args.tensor("x"))[s + 2];
                windows.beyond[s] = windows.overhang(s, size).map_err(|message| args.error("ceil_mode", message))?;
            }
        }
        Ok(windows)
    }

    /// How far the last window of an axis may reach beyond the padding. It must begin inside of the operand or the
    /// padding before it.
    fn overhang(&self, s: usize, size: &Dim) -> Result<i64, String> {
        let (stride, padding) = (self.stride[s], self.padding[s]);
        let reach = self.dilation[s].saturating_mul(self.kernel[s] - 1) + 1;
        let Some(size) = size.as_const() else {
            // The last window begins less than `reach - padding` before the end, if the stride is no longer than that.
            if stride <= reach - padding {
                return Ok(stride - 1);
            }
            return Err(format!(
                "whether the last window begins inside of an axis of size {size} depends on the size: with `ceil_mode` \
                 the stride must be at most {} there",
                reach - padding
            ));
        };
        let rest = size.saturating_add(2 * padding) - reach;
        if rest < 0 {
            return Ok(0);
        }
        let mut steps = rest.saturating_add(stride - 1) / stride;
        if steps * stride >= size.saturating_add(padding) {
            steps -= 1;
        }
        Ok((steps * stride - rest).max(0))
    }

    fn attrs(&self) -> Attrs {
        let hi = self.padding.iter().zip(&self.beyond).map(|(p, more)| p + more).collect::<Vec<_>>();
        self.attrs_with(self.padding.clone(), hi)
    }

    fn attrs_with(&self, lo: Vec<i64>, hi: Vec<i64>) -> Attrs {
        let attrs = Attrs::new().ints("kernel", self.kernel.clone()).ints("stride", self.stride.clone());
        attrs.ints("lo", lo).ints("hi", hi).ints("dilation", self.dilation.clone()).word("layout", "first")
    }

    fn elements(&self) -> f64 {
        self.kernel.iter().map(|&k| k as f64).product()
    }
}

/// The operand, which has that many spatial axes.
///
/// # Errors
/// If it has another number of them or is not of floats.
pub fn images(b: &Builder, args: &Args, spatial: usize) -> Result<NodeId, CallError> {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    rank(b, x, spatial + 2, LAYOUTS[spatial - 1])?;
    Ok(x)
}

fn max_pool(b: &mut Builder, args: &Args, spatial: usize) -> Made {
    let x = images(b, args, spatial)?;
    let attrs = Windows::of(b, args, spatial)?.attrs();
    Ok(b.push(Op::MaxPool, &[x], attrs).map_err(too_small)?.into())
}

fn avg_pool(b: &mut Builder, args: &Args, spatial: usize) -> Made {
    let x = images(b, args, spatial)?;
    let windows = Windows::of(b, args, spatial)?;
    let sum = b.push(Op::SumPool, &[x], windows.attrs()).map_err(too_small)?;
    let none = |values: &[i64]| values.iter().all(|&v| v == 0);
    let include = args.bool("count_include_pad");
    if none(&windows.beyond) && (include || none(&windows.padding)) {
        return made(with_constant(b, Op::Div, sum, windows.elements()));
    }
    // How many elements each window sees is the sum over ones: it depends on the spatial sizes only. Padding that
    // counts is made of ones as well; what lies behind it never counts.
    let mut shape = b.shape(x).to_vec();
    (shape[0], shape[1]) = (Dim::ONE, Dim::ONE);
    let mut attrs = windows.attrs();
    if include {
        for (size, &p) in shape[2..].iter_mut().zip(&windows.padding) {
            *size = size.clone() + Dim::from(2 * p);
        }
        attrs = windows.attrs_with(vec![0; spatial], windows.beyond.clone());
    }
    let one = b.constant(b.dtype(x), 1.0);
    let ones = b.broadcast(one, &shape)?;
    let counts = b.push(Op::SumPool, &[ones], attrs)?;
    made(b.div(sum, counts))
}

fn lp_pool(b: &mut Builder, args: &Args, spatial: usize) -> Made {
    let x = images(b, args, spatial)?;
    let p = args.float("p");
    if !(p > 0.0 && p.is_finite()) {
        return Err(args.error("p", format!("`p` must be a positive number, but it is {p}")).into());
    }
    let attrs = Windows::of(b, args, spatial)?.attrs();
    let powers = with_constant(b, Op::Pow, x, p)?;
    let sum = b.push(Op::SumPool, &[powers], attrs).map_err(too_small)?;
    let sum = super::activation::relu(b, sum)?;
    made(with_constant(b, Op::Pow, sum, 1.0 / p))
}
