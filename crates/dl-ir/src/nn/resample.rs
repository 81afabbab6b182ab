//! Images of other sizes: interpolation, and channels as pixels.

use super::args::Args;
use super::common::{Made, X, floats, iota, made, scale, shift, with_constant};
use super::error::{ArgError, CallError};
use super::index::take;
use super::layer::LayerDef;
use super::linear::positive_dim;
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::op::Op;
use crate::types::DType;

const INTERPOLATE: MethodDef = MethodDef {
    name: "interpolate",
    aliases: &["upsample"],
    doc: "the spatial axes of [N, C, ..] in another size: that of the nearest element, or means of neighbours by distance",
    params: &[
        X,
        Param::optional("size", Kind::Shape, Default::Absent, "the new size, one for all axes or one for each"),
        Param::optional("scale", Kind::Float, Default::Absent, "the new size over the old one, in place of `size`"),
        Param::optional(
            "mode",
            Kind::Word(&["nearest", "linear", "bilinear", "trilinear"]),
            Default::Word("nearest"),
            "\"nearest\"; \"linear\" for one spatial axis, \"bilinear\" for two, \"trilinear\" for three",
        ),
        Param::optional(
            "align_corners",
            Kind::Bool,
            Default::Bool(false),
            "whether the first and last elements keep their places, in place of the outer edges",
        ),
    ],
    build: interpolate,
};

const FACTOR: Param = Param::required("factor", Kind::Int, "how many pixels a pixel becomes along each axis");
const SHUFFLE: MethodDef = MethodDef {
    name: "pixel_shuffle",
    aliases: &[],
    doc: "[.., C * factor^2, H, W] as [.., C, H * factor, W * factor] (Shi et al. 2016)",
    params: &[X, FACTOR],
    build: |b, a| shuffle(b, a),
};
const UNSHUFFLE: MethodDef = MethodDef {
    name: "pixel_unshuffle",
    aliases: &[],
    doc: "[.., C, H * factor, W * factor] as [.., C * factor^2, H, W]: the reverse of `pixel_shuffle`",
    params: &[X, FACTOR],
    build: unshuffle,
};

/// The layers of this file.
pub const LAYERS: &[LayerDef] = &[
    LayerDef::of("Upsample", &INTERPOLATE),
    LayerDef::of("PixelShuffle", &SHUFFLE),
    LayerDef::of("PixelUnshuffle", &UNSHUFFLE),
];

/// The methods of this file.
pub const METHODS: &[MethodDef] = &[INTERPOLATE, SHUFFLE, UNSHUFFLE];

/// The new size of an axis, and the old one over the new one where a scale says it.
struct Target {
    size: Dim,
    step: Option<f64>,
}

fn targets(b: &Builder, args: &Args) -> Result<Vec<Target>, CallError> {
    let from = b.shape(args.tensor("x"))[2..].to_vec();
    match (args.get("size"), args.get("scale")) {
        (None, None) => {
            let message = "interpolation needs `size` or `scale`, such as `scale = 2`".to_string();
            Err(ArgError::new(None, message).into())
        }
        (Some(_), Some(_)) => Err(args.error("scale", "`size` and `scale` say the same: give one of them").into()),
        (Some(_), None) => {
            let given = args.shape("size");
            if given.len() != 1 && given.len() != from.len() {
                let message = format!("`size` has {} sizes, but there are {} spatial axes", given.len(), from.len());
                return Err(args.error("size", message).into());
            }
            given.iter().try_for_each(|d| positive_dim(args, "size", d))?;
            let each = (0..from.len()).map(|i| given[if given.len() == 1 { 0 } else { i }].clone());
            Ok(each.map(|size| Target { size, step: None }).collect())
        }
        (None, Some(_)) => from.into_iter().map(|size| scaled(args, size)).collect(),
    }
}

fn scaled(args: &Args, from: Dim) -> Result<Target, CallError> {
    const MOST: f64 = 65536.0;
    let factor = args.float("scale");
    if !(factor > 0.0 && factor <= MOST) {
        return Err(args.error("scale", format!("`scale` must be a positive number, but it is {factor}")).into());
    }
    let whole = |x: f64| (x.fract() == 0.0).then_some(Dim::from(x as i64));
    let size = match (whole(factor), whole(1.0 / factor), from.as_const()) {
        (Some(times), ..) => from * times,
        (_, Some(part), None) => from.floor_div(&part).unwrap_or(Dim::ONE),
        (_, _, Some(c)) => Dim::from((c as f64 * factor).floor() as i64),
        _ => {
            let message =
                format!("an axis of size {from} cannot be scaled by {factor} at compile time; say the `size`");
            return Err(args.error("scale", message).into());
        }
    };
    if size.as_const().is_some_and(|c| c < 1) {
        return Err(args.error("scale", format!("`scale` {factor} leaves nothing of an axis")).into());
    }
    Ok(Target { size, step: Some(1.0 / factor) })
}

fn interpolate(b: &mut Builder, args: &Args) -> Made {
    let mut x = args.tensor("x");
    floats(b, 0, x)?;
    let rank = b.rank(x);
    if !(3..=5).contains(&rank) {
        let expected = "3 to 5 axes, [N, C, ..]".to_string();
        return Err(CallError::Rank { input: 0, expected, found: b.ty(x).clone(), fix: None });
    }
    let (mode, corners) = (args.word("mode").to_string(), args.bool("align_corners"));
    let linear = ["linear", "bilinear", "trilinear"][rank - 3];
    if mode != "nearest" && mode != linear {
        let message =
            format!("{mode:?} is for another number of spatial axes than {}, for which there is {linear:?}", rank - 2);
        return Err(args.error("mode", message).into());
    }
    if mode == "nearest" && corners {
        return Err(args.error("align_corners", "`align_corners` is for linear modes").into());
    }
    for (axis, target) in (2..).zip(targets(b, args)?) {
        x = match mode.as_str() {
            "nearest" => nearest(b, x, axis, &target)?,
            _ => blend(b, x, axis, &target, corners)?,
        };
    }
    Ok(x.into())
}

/// Each element of the new axis is that at `floor(i * step)`.
fn nearest(b: &mut Builder, x: NodeId, axis: usize, target: &Target) -> Built {
    let from = b.shape(x).to_vec();
    let times = target.step.map(|step| 1.0 / step).filter(|times| times.fract() == 0.0);
    if let Some(times) = times {
        // A whole factor repeats elements, which costs no reading of indices.
        let (mut column, mut wide, mut to) = (from.clone(), from.clone(), from);
        column.insert(axis + 1, Dim::ONE);
        wide.insert(axis + 1, Dim::from(times as i64));
        to[axis] = target.size.clone();
        let x = b.reshape(x, &column)?;
        let x = b.broadcast(x, &wide)?;
        return b.reshape(x, &to);
    }
    // In double precision, in which `i * old / new` is rounded to a whole number only where it is one.
    let place = iota(b, DType::F64, std::slice::from_ref(&target.size), 0)?;
    let place = match target.step {
        Some(step) => scale(b, place, step)?,
        None => {
            let (old, new) = (b.dim_value(&from[axis], DType::F64)?, b.dim_value(&target.size, DType::F64)?);
            let place = b.mul(place, old)?;
            b.div(place, new)?
        }
    };
    let place = b.floor(place)?;
    let last = b.dim_value(&(from[axis].clone() - Dim::ONE), DType::F64)?;
    let place = b.min(place, last)?;
    let place = b.cast(place, DType::I64)?;
    take(b, x, place, axis)
}

/// Linear interpolation along an axis, as a product with the matrix `[new, old]` of weights
/// `max(0, 1 - |place - i|)`, of which two in a row are not 0.
fn blend(b: &mut Builder, x: NodeId, axis: usize, target: &Target, corners: bool) -> Built {
    let (old, new) = (b.shape(x)[axis].clone(), target.size.clone());
    if old == new {
        return Ok(x);
    }
    let wide = DType::F64;
    let place = iota(b, wide, &[new.clone(), Dim::ONE], 0)?;
    let last = b.dim_value(&(old.clone() - Dim::ONE), wide)?;
    let place = if corners {
        let (steps, one) = (b.dim_value(&(new - Dim::ONE), wide)?, b.constant(wide, 1.0));
        let steps = b.max(steps, one)?;
        let place = b.mul(place, last)?;
        b.div(place, steps)?
    } else {
        let middle = shift(b, place, 0.5)?;
        let place = match target.step {
            Some(step) => scale(b, middle, step)?,
            None => {
                let (old, new) = (b.dim_value(&old, wide)?, b.dim_value(&new, wide)?);
                let place = b.mul(middle, old)?;
                b.div(place, new)?
            }
        };
        shift(b, place, -0.5)?
    };
    let zero = b.constant(wide, 0.0);
    let place = b.max(place, zero)?;
    let place = b.min(place, last)?;
    let column = iota(b, wide, &[Dim::ONE, old], 1)?;
    let distance = b.sub(place, column)?;
    let distance = b.abs(distance)?;
    let minus = b.neg(distance)?;
    let weight = with_constant(b, Op::Add, minus, 1.0)?;
    let weight = b.max(weight, zero)?;
    let weight = b.cast(weight, b.dtype(x))?;
    along(b, x, axis, weight)
}

/// `x` with `axis` multiplied by a matrix `[new, old]`.
pub fn along(b: &mut Builder, x: NodeId, axis: usize, matrix: NodeId) -> Built {
    let rank = b.rank(x);
    let y = b.dot(x, matrix, &[], &[(axis, 1)])?;
    let perm: Vec<usize> = (0..rank).map(|a| if a == axis { rank - 1 } else { a - usize::from(a > axis) }).collect();
    b.transpose(y, &perm)
}

/// The factor, after the checks of the operand.
fn factor(b: &Builder, args: &Args) -> Result<i64, CallError> {
    const MOST: i64 = 1 << 10;
    let (x, factor) = (args.tensor("x"), args.int("factor"));
    if b.rank(x) < 3 {
        let expected = "at least 3 axes, [N, C, H, W]".to_string();
        return Err(CallError::Rank { input: 0, expected, found: b.ty(x).clone(), fix: None });
    }
    if !(1..=MOST).contains(&factor) {
        return Err(args.error("factor", format!("`factor` must be between 1 and {MOST}, but it is {factor}")).into());
    }
    Ok(factor)
}

/// `whole / part` where it is known to be a whole number.
fn quotient(b: &Builder, args: &Args, whole: &Dim, part: i64, what: &str) -> Result<Dim, CallError> {
    let part = Dim::from(part);
    let quotient = whole.floor_div(&part).unwrap_or(Dim::ONE);
    if b.graph.facts.equal(&(quotient.clone() * part.clone()), whole) {
        return Ok(quotient);
    }
    Err(args.error("factor", format!("{whole} {what} do not divide into parts of {part}")).into())
}

fn shuffle(b: &mut Builder, args: &Args) -> Made {
    let (x, r) = (args.tensor("x"), factor(b, args)?);
    let full = b.shape(x).to_vec();
    let lead = full.len() - 3;
    let channels = quotient(b, args, &full[lead], r * r, "channels")?;
    let (h, w, r) = (full[lead + 1].clone(), full[lead + 2].clone(), Dim::from(r));
    let of = |last: &[Dim]| [&full[..lead], last].concat();
    let x = b.reshape(x, &of(&[channels.clone(), r.clone(), r.clone(), h.clone(), w.clone()]))?;
    let perm: Vec<usize> = (0..lead).chain([0, 3, 1, 4, 2].map(|a| lead + a)).collect();
    let x = b.transpose(x, &perm)?;
    made(b.reshape(x, &of(&[channels, h * r.clone(), w * r])))
}

fn unshuffle(b: &mut Builder, args: &Args) -> Made {
    let (x, r) = (args.tensor("x"), factor(b, args)?);
    let full = b.shape(x).to_vec();
    let lead = full.len() - 3;
    let h = quotient(b, args, &full[lead + 1], r, "rows")?;
    let w = quotient(b, args, &full[lead + 2], r, "columns")?;
    let (channels, r) = (full[lead].clone(), Dim::from(r));
    let of = |last: &[Dim]| [&full[..lead], last].concat();
    let x = b.reshape(x, &of(&[channels.clone(), h.clone(), r.clone(), w.clone(), r.clone()]))?;
    let perm: Vec<usize> = (0..lead).chain([0, 2, 4, 1, 3].map(|a| lead + a)).collect();
    let x = b.transpose(x, &perm)?;
    made(b.reshape(x, &of(&[channels * r.clone() * r, h, w])))
}
