//! Convolutions.

use super::args::Args;
use super::common::{Made, made};
use super::error::{ArgError, CallError};
use super::layer::{Append, Call, Declare, LayerDef, trainable};
use super::linear::{BIAS, along_channels, positive_dim};
use super::padding::{Fill, MODES, padded};
use super::params::{Default, Kind, Param};
use super::pool::{LAYOUTS, too_small};
use crate::attrs::Attrs;
use crate::dim::Dim;
use crate::module::{Init, ParamDecl};
use crate::op::Op;
use crate::types::DType;

/// How windows lie.
pub const STRIDE: Param = Param::optional("stride", Kind::Sizes, Default::Int(1), "the distance between windows");
/// What is around images.
pub const PADDING: Param = Param::optional(
    "padding",
    Kind::Padding,
    Default::Int(0),
    "zeros on each side, or \"same\" for a result as large as x",
);
/// How the elements of a window lie.
pub const DILATION: Param =
    Param::optional("dilation", Kind::Sizes, Default::Int(1), "the distance between elements of a window");
/// Which channels mix.
pub const GROUPS: Param =
    Param::optional("groups", Kind::Int, Default::Int(1), "parts of the channels that do not mix");

const PARAMS: &[Param] = &[
    Param::required("in", Kind::Map { pair: false }, "channels of x => channels of the result"),
    Param::required("kernel", Kind::Sizes, "the size of the window"),
    STRIDE,
    PADDING,
    DILATION,
    GROUPS,
    BIAS,
    Param::optional(
        "padding_mode",
        Kind::Word(MODES),
        Default::Word("zeros"),
        "what padding consists of: \"zeros\", or elements of x as in `ReflectionPad2d` and its like",
    ),
];

const fn conv(name: &'static str, doc: &'static str, declare: Declare, call: Append) -> LayerDef {
    LayerDef::own(name, doc, PARAMS, declare, call)
}

/// The layers of this file.
pub const LAYERS: &[LayerDef] = &[
    conv("Conv1d", "convolution of [N, C, L]; weight is [out, in / groups, kernel]", |a| declare(a, 1), |c| call(c, 1)),
    conv(
        "Conv2d",
        "convolution of [N, C, H, W]; weight is [out, in / groups, kernel, kernel]",
        |a| declare(a, 2),
        |c| call(c, 2),
    ),
    conv(
        "Conv3d",
        "convolution of [N, C, D, H, W]; weight is [out, in / groups, kernel, kernel, kernel]",
        |a| declare(a, 3),
        |c| call(c, 3),
    ),
];

fn declare(args: &Args, spatial: usize) -> Result<Vec<ParamDecl>, ArgError> {
    let (from, to) = args.map("in");
    positive_dim(args, "in", &from)?;
    positive_dim(args, "in", &to)?;
    let (kernel, groups) = (args.sizes("kernel", spatial, 1)?, groups(args, &from, &to)?);
    Geometry::of(args, kernel.clone())?;
    let inner = from.floor_div(&groups).unwrap_or(from);
    let fan_in = inner.clone() * Dim::from(kernel.iter().product::<i64>());
    Ok(filters(args, [to.clone(), inner], kernel, to, fan_in))
}

/// The filters of a convolution with these channels, and a bias for each channel of its result if it has one.
pub fn filters(args: &Args, channels: [Dim; 2], kernel: Vec<i64>, results: Dim, fan_in: Dim) -> Vec<ParamDecl> {
    let shape = channels.into_iter().chain(kernel.into_iter().map(Dim::from)).collect();
    let mut params = vec![trainable("weight", DType::F32, shape, Init::FanIn(fan_in.clone()))];
    if args.bool("bias") {
        params.push(trainable("bias", DType::F32, vec![results], Init::FanIn(fan_in)));
    }
    params
}

/// The number of groups, into which the channels of both sides divide.
///
/// # Errors
/// If they are known not to.
pub fn groups(args: &Args, from: &Dim, to: &Dim) -> Result<Dim, ArgError> {
    let groups = args.int("groups");
    if groups < 1 {
        return Err(args.error("groups", format!("`groups` must be at least 1, but it is {groups}")));
    }
    for (side, channels) in [("in", from), ("out", to)] {
        if channels.as_const().is_some_and(|c| c % groups != 0) {
            let message = format!("{channels} channels {side} do not divide into {groups} groups");
            return Err(args.error("groups", message));
        }
    }
    Ok(Dim::from(groups))
}

fn call(c: &mut Call<'_>, spatial: usize) -> Made {
    c.check_dtype()?;
    c.check_rank(spatial + 2, LAYOUTS[spatial - 1])?;
    let (from, _) = c.args().map("in");
    c.check_features("in", 1, "channels", &from)?;
    let mut geometry = Geometry::of(c.args(), c.args().sizes("kernel", spatial, 1)?)?;
    let mut x = c.x();
    let fill = Fill::of_mode(c.args().word("padding_mode"));
    if fill != Fill::Value {
        let sides: Vec<(i64, i64)> = geometry.lo.iter().copied().zip(geometry.hi.iter().copied()).collect();
        x = padded(c.b, x, fill, x, &sides).map_err(|error| match error {
            CallError::Inputs(message) => c.args().error("padding", message).into(),
            other => other,
        })?;
        (geometry.lo, geometry.hi) = (vec![0; spatial], vec![0; spatial]);
    }
    let attrs = geometry.attrs().int("groups", c.args().int("groups")).word("layout", "first");
    let Some(weight) = c.param("weight") else { return Ok(x.into()) };
    let y = c.b.push(Op::Conv, &[x, weight], attrs).map_err(too_small)?;
    match c.param("bias") {
        Some(bias) => {
            let bias = along_channels(c, bias)?;
            made(c.b.add(y, bias))
        }
        None => Ok(y.into()),
    }
}

/// How windows lie, for each spatial axis.
pub struct Geometry {
    stride: Vec<i64>,
    lo: Vec<i64>,
    hi: Vec<i64>,
    dilation: Vec<i64>,
}

impl Geometry {
    /// Of windows of the size `kernel`.
    ///
    /// # Errors
    /// At the argument that makes no sense.
    pub fn of(args: &Args, kernel: Vec<i64>) -> Result<Geometry, ArgError> {
        let spatial = kernel.len();
        let stride = args.sizes("stride", spatial, 1)?;
        let dilation = args.sizes("dilation", spatial, 1)?;
        let (lo, hi) = match args.word("padding") {
            "" => {
                let padding = args.sizes("padding", spatial, 0)?;
                (padding.clone(), padding)
            }
            "same" => {
                if stride.iter().any(|&s| s != 1) {
                    return Err(args.error("padding", "\"same\" padding needs a stride of 1"));
                }
                // An even reach puts the odd element behind, as PyTorch does.
                let reach: Vec<i64> = kernel.iter().zip(&dilation).map(|(k, d)| d.saturating_mul(k - 1)).collect();
                (reach.iter().map(|r| r / 2).collect(), reach.iter().map(|r| r - r / 2).collect())
            }
            _ => (vec![0; spatial], vec![0; spatial]),
        };
        Ok(Geometry { stride, lo, hi, dilation })
    }

    /// As attributes of the op.
    pub fn attrs(self) -> Attrs {
        Attrs::new().ints("stride", self.stride).ints("lo", self.lo).ints("hi", self.hi).ints("dilation", self.dilation)
    }
}
