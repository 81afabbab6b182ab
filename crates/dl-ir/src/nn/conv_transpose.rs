//! Transposed convolutions: the gradient of a convolution with respect to its operand, as a layer.

use super::args::Args;
use super::common::{Made, made};
use super::error::{ArgError, CallError};
use super::layer::{Append, Call, Declare, LayerDef};
use super::linear::{BIAS, along_channels, positive_dim};
use super::params::{Default, Kind, Param};
use super::pool::LAYOUTS;
use crate::attrs::Attrs;
use crate::dim::Dim;
use crate::module::ParamDecl;
use crate::op::Op;

const PARAMS: &[Param] = &[
    Param::required("in", Kind::Map { pair: false }, "channels of x => channels of the result"),
    Param::required("kernel", Kind::Sizes, "the size of the window"),
    Param::optional("stride", Kind::Sizes, Default::Int(1), "the distance between windows in the result"),
    Param::optional("padding", Kind::Sizes, Default::Int(0), "elements of the result left out on each side"),
    Param::optional(
        "output_padding",
        Kind::Sizes,
        Default::Int(0),
        "elements added to the result behind the last window, fewer than the stride",
    ),
    Param::optional("groups", Kind::Int, Default::Int(1), "parts of the channels that do not mix"),
    BIAS,
    Param::optional("dilation", Kind::Sizes, Default::Int(1), "the distance between elements of a window"),
];

const fn conv(name: &'static str, doc: &'static str, declare: Declare, call: Append) -> LayerDef {
    LayerDef::own(name, doc, PARAMS, declare, call)
}

/// The layers of this file.
pub const LAYERS: &[LayerDef] = &[
    conv(
        "ConvTranspose1d",
        "transposed convolution of [N, C, L]; weight is [in, out / groups, kernel]",
        |a| declare(a, 1),
        |c| call(c, 1),
    ),
    conv(
        "ConvTranspose2d",
        "transposed convolution of [N, C, H, W]; weight is [in, out / groups, kernel, kernel]",
        |a| declare(a, 2),
        |c| call(c, 2),
    ),
    conv(
        "ConvTranspose3d",
        "transposed convolution of [N, C, D, H, W]; weight is [in, out / groups, kernel, kernel, kernel]",
        |a| declare(a, 3),
        |c| call(c, 3),
    ),
];

/// How windows lie in the result, for each spatial axis.
struct Geometry {
    kernel: Vec<i64>,
    stride: Vec<i64>,
    padding: Vec<i64>,
    beyond: Vec<i64>,
    dilation: Vec<i64>,
}

impl Geometry {
    fn of(args: &Args, spatial: usize) -> Result<Geometry, ArgError> {
        let size = |name, least| args.sizes(name, spatial, least);
        let geometry = Geometry {
            kernel: size("kernel", 1)?,
            stride: size("stride", 1)?,
            padding: size("padding", 0)?,
            beyond: size("output_padding", 0)?,
            dilation: size("dilation", 1)?,
        };
        if let Some((p, s)) = geometry.beyond.iter().zip(&geometry.stride).find(|(p, s)| p >= s) {
            let message = format!("`output_padding` must be below the stride, {s}, but it is {p}");
            return Err(args.error("output_padding", message));
        }
        Ok(geometry)
    }

    /// The sizes of the result: `(size - 1) * stride - 2 padding + dilation (kernel - 1) + output_padding + 1`.
    fn result(&self, from: &[Dim]) -> Vec<Dim> {
        let size = |(s, size): (usize, &Dim)| {
            let reach = self.dilation[s].saturating_mul(self.kernel[s] - 1) + 1;
            (size.clone() - Dim::ONE) * Dim::from(self.stride[s])
                + Dim::from(reach + self.beyond[s] - 2 * self.padding[s])
        };
        from.iter().enumerate().map(size).collect()
    }
}

fn declare(args: &Args, spatial: usize) -> Result<Vec<ParamDecl>, ArgError> {
    let (from, to) = args.map("in");
    positive_dim(args, "in", &from)?;
    positive_dim(args, "in", &to)?;
    let geometry = Geometry::of(args, spatial)?;
    let groups = super::conv::groups(args, &from, &to)?;
    let inner = to.floor_div(&groups).unwrap_or_else(|_| to.clone());
    // PyTorch counts the second axis of weight.
    let fan_in = inner.clone() * Dim::from(geometry.kernel.iter().product::<i64>());
    Ok(super::conv::filters(args, [from, inner], geometry.kernel, to, fan_in))
}

fn call(c: &mut Call<'_>, spatial: usize) -> Made {
    c.check_dtype()?;
    c.check_rank(spatial + 2, LAYOUTS[spatial - 1])?;
    let (from, _) = c.args().map("in");
    c.check_features("in", 1, "channels", &from)?;
    let geometry = Geometry::of(c.args(), spatial)?;
    let (x, found) = (c.x(), c.ty());
    let size = geometry.result(&found.shape[2..]);
    if let Some(axis) = size.iter().position(|d| d.as_const().is_some_and(|c| c < 1)) {
        let sentence = format!("axis {} of {{0}}, {found}, would come out with {} elements", axis + 2, size[axis]);
        return Err(CallError::Inputs(sentence));
    }
    let Some(weight) = c.param("weight") else { return Ok(x.into()) };
    let attrs = Attrs::new()
        .ints("stride", geometry.stride)
        .ints("lo", geometry.padding.clone())
        .ints("hi", geometry.padding)
        .ints("dilation", geometry.dilation)
        .int("groups", c.args().int("groups"))
        .word("layout", "first")
        .dims("size", size);
    let y = c.b.push(Op::ConvInputGrad, &[x, weight], attrs)?;
    match c.param("bias") {
        Some(bias) => {
            let bias = along_channels(c, bias)?;
            made(c.b.add(y, bias))
        }
        None => Ok(y.into()),
    }
}
