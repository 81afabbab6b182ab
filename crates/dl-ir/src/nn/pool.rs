//! Pooling, as methods and as layers.

use super::args::Args;
use super::common::{Made, X, floats, made, rank, with_constant};
use super::error::CallError;
use super::layer::LayerDef;
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use crate::attrs::Attrs;
use crate::build::{Builder, Built};
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
const OUTPUT: Param =
    Param::optional("output", Kind::Sizes, Default::Int(1), "the size of the result, which divides that of x");

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
    MAX1 "MaxPool1d", "max_pool1d" [], [KERNEL, STRIDE, PADDING, DILATION],
        "the largest in each window of [N, C, L]", |b, a| max_pool(b, a, 1);
    MAX2 "MaxPool2d", "max_pool2d" [], [KERNEL, STRIDE, PADDING, DILATION],
        "the largest in each window of [N, C, H, W]", |b, a| max_pool(b, a, 2);
    MAX3 "MaxPool3d", "max_pool3d" [], [KERNEL, STRIDE, PADDING, DILATION],
        "the largest in each window of [N, C, D, H, W]", |b, a| max_pool(b, a, 3);
    AVG1 "AvgPool1d", "avg_pool1d" [], [KERNEL, STRIDE, PADDING, INCLUDE],
        "the mean of each window of [N, C, L]", |b, a| avg_pool(b, a, 1);
    AVG2 "AvgPool2d", "avg_pool2d" [], [KERNEL, STRIDE, PADDING, INCLUDE],
        "the mean of each window of [N, C, H, W]", |b, a| avg_pool(b, a, 2);
    AVG3 "AvgPool3d", "avg_pool3d" [], [KERNEL, STRIDE, PADDING, INCLUDE],
        "the mean of each window of [N, C, D, H, W]", |b, a| avg_pool(b, a, 3);
    ADAPTIVE1 "AdaptiveAvgPool1d", "adaptive_avg_pool1d" [], [OUTPUT],
        "the means of equal parts of [N, C, L]", |b, a| adaptive(b, a, 1);
    ADAPTIVE2 "AdaptiveAvgPool2d", "adaptive_avg_pool2d" [], [OUTPUT],
        "the means of equal parts of [N, C, H, W]", |b, a| adaptive(b, a, 2);
    GLOBAL "GlobalAvgPool", "global_avg_pool" [], [], "the mean over all spatial axes: [N, C, ..] to [N, C]", global;
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

/// The kernel and the attributes of windows; `dilation` is 1 where the method has none.
fn windows(args: &Args, spatial: usize) -> Result<(Vec<i64>, Attrs), CallError> {
    let (kernel, stride) = (args.sizes("kernel", spatial, 1)?, args.sizes("stride", spatial, 1)?);
    let padding = args.sizes("padding", spatial, 0)?;
    let dilation = if args.get("dilation").is_some() { args.sizes("dilation", spatial, 1)? } else { vec![1; spatial] };
    if let Some((p, k)) = padding.iter().zip(&kernel).find(|(p, k)| **p > **k / 2) {
        let message = format!("`padding` must be at most half the window of {k}, but it is {p}");
        return Err(args.error("padding", message).into());
    }
    let attrs = Attrs::new().ints("kernel", kernel.clone()).ints("stride", stride);
    let attrs =
        attrs.ints("lo", padding.clone()).ints("hi", padding).ints("dilation", dilation).word("layout", "first");
    Ok((kernel, attrs))
}

fn images(b: &Builder, args: &Args, spatial: usize) -> Result<NodeId, CallError> {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    rank(b, x, spatial + 2, LAYOUTS[spatial - 1])?;
    Ok(x)
}

fn max_pool(b: &mut Builder, args: &Args, spatial: usize) -> Made {
    let x = images(b, args, spatial)?;
    let (_, attrs) = windows(args, spatial)?;
    Ok(b.push(Op::MaxPool, &[x], attrs).map_err(too_small)?.into())
}

fn avg_pool(b: &mut Builder, args: &Args, spatial: usize) -> Made {
    let x = images(b, args, spatial)?;
    let (kernel, attrs) = windows(args, spatial)?;
    let sum = b.push(Op::SumPool, &[x], attrs.clone()).map_err(too_small)?;
    if args.bool("count_include_pad") || attrs.get_ints("lo").iter().all(|&p| p == 0) {
        return made(with_constant(b, crate::op::Op::Div, sum, kernel.iter().product::<i64>() as f64));
    }
    // How many elements each window sees is the sum over ones: it depends on the spatial sizes only.
    let mut shape = b.shape(x).to_vec();
    (shape[0], shape[1]) = (Dim::ONE, Dim::ONE);
    let one = b.constant(b.dtype(x), 1.0);
    let ones = b.broadcast(one, &shape)?;
    let counts = b.push(Op::SumPool, &[ones], attrs)?;
    made(b.div(sum, counts))
}

fn adaptive(b: &mut Builder, args: &Args, spatial: usize) -> Made {
    let x = images(b, args, spatial)?;
    let output = args.sizes("output", spatial, 1)?;
    // Each spatial axis is split into the result's axis and the part averaged.
    let full = b.shape(x).to_vec();
    let (mut split, mut over) = (full[..2].to_vec(), vec![]);
    for (size, &parts) in full[2..].iter().zip(&output) {
        let part = size.floor_div(&Dim::from(parts)).unwrap_or(Dim::ONE);
        if !b.graph.facts.equal(&(part.clone() * Dim::from(parts)), size) {
            let message = format!("an axis of size {size} does not divide into {parts} equal parts");
            return Err(args.error("output", message).into());
        }
        split.push(Dim::from(parts));
        over.push(split.len());
        split.push(part);
    }
    let x = b.reshape(x, &split)?;
    made(b.mean(x, &over, false))
}

fn global(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    let rank = b.rank(x);
    if rank < 3 {
        let expected = "at least 3 axes, [N, C, ..]".to_string();
        return Err(CallError::Rank { input: 0, expected, found: b.ty(x).clone(), fix: None });
    }
    let mean: Built = b.mean(x, &(2..rank).collect::<Vec<_>>(), false);
    made(mean)
}
