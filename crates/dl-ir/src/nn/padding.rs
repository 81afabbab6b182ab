//! Padding of spatial axes with a value or with elements of the tensor itself.

use super::args::Args;
use super::common::{Made, X, narrow, operand};
use super::error::{ArgError, CallError};
use super::layer::LayerDef;
use super::method::MethodDef;
use super::params::{Kind, Param};
use crate::attrs::Attrs;
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::op::Op;

const PADDING: Param = Param::required(
    "padding",
    Kind::Sizes,
    "elements on every side, or `(before, after)` for each spatial axis in a row, the last axis first",
);
const VALUE: Param = Param::required("value", Kind::Operand, "what is filled in");

macro_rules! pads {
    ($($id:ident $layer:literal, $name:literal, [$($param:expr),*], $doc:literal, $fill:expr, $spatial:literal;)*) => {
        $(const $id: MethodDef = MethodDef {
            name: $name,
            aliases: &[],
            doc: $doc,
            params: &[X, $($param),*],
            build: |b, a| pad(b, a, $fill, $spatial),
        };)*
        /// The paddings as methods.
        pub const METHODS: &[MethodDef] = &[$($id),*];
        /// The paddings as layers.
        pub const LAYERS: &[LayerDef] = &[$(LayerDef::of($layer, &$id)),*];
    };
}

pads! {
    REFLECT1 "ReflectionPad1d", "reflection_pad1d", [PADDING],
        "[.., L] continued by its mirror image, without the edge twice", Fill::Reflect, 1;
    REFLECT2 "ReflectionPad2d", "reflection_pad2d", [PADDING],
        "[.., H, W] continued by its mirror image, without the edge twice", Fill::Reflect, 2;
    REFLECT3 "ReflectionPad3d", "reflection_pad3d", [PADDING],
        "[.., D, H, W] continued by its mirror image, without the edge twice", Fill::Reflect, 3;
    REPLICATE1 "ReplicationPad1d", "replication_pad1d", [PADDING],
        "[.., L] continued by its edge", Fill::Replicate, 1;
    REPLICATE2 "ReplicationPad2d", "replication_pad2d", [PADDING],
        "[.., H, W] continued by its edge", Fill::Replicate, 2;
    REPLICATE3 "ReplicationPad3d", "replication_pad3d", [PADDING],
        "[.., D, H, W] continued by its edge", Fill::Replicate, 3;
    CIRCULAR1 "CircularPad1d", "circular_pad1d", [PADDING],
        "[.., L] continued from its other end", Fill::Circular, 1;
    CIRCULAR2 "CircularPad2d", "circular_pad2d", [PADDING],
        "[.., H, W] continued from its other end", Fill::Circular, 2;
    CIRCULAR3 "CircularPad3d", "circular_pad3d", [PADDING],
        "[.., D, H, W] continued from its other end", Fill::Circular, 3;
    CONSTANT1 "ConstantPad1d", "constant_pad1d", [PADDING, VALUE], "[.., L] continued by a value", Fill::Value, 1;
    CONSTANT2 "ConstantPad2d", "constant_pad2d", [PADDING, VALUE], "[.., H, W] continued by a value", Fill::Value, 2;
    CONSTANT3 "ConstantPad3d", "constant_pad3d", [PADDING, VALUE],
        "[.., D, H, W] continued by a value", Fill::Value, 3;
    ZERO1 "ZeroPad1d", "zero_pad1d", [PADDING], "[.., L] continued by zeros", Fill::Value, 1;
    ZERO2 "ZeroPad2d", "zero_pad2d", [PADDING], "[.., H, W] continued by zeros", Fill::Value, 2;
    ZERO3 "ZeroPad3d", "zero_pad3d", [PADDING], "[.., D, H, W] continued by zeros", Fill::Value, 3;
}

/// What padding consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// A value.
    Value,
    /// The elements next to the edge, backwards.
    Reflect,
    /// The edge.
    Replicate,
    /// The elements of the other end.
    Circular,
}

/// The values of the argument `padding_mode`.
pub const MODES: &[&str] = &["zeros", "reflect", "replicate", "circular"];

impl Fill {
    /// What `padding_mode` means.
    pub fn of_mode(mode: &str) -> Fill {
        match mode {
            "reflect" => Fill::Reflect,
            "replicate" => Fill::Replicate,
            "circular" => Fill::Circular,
            _ => Fill::Value,
        }
    }

    /// How many elements it can take of an axis with `size`.
    fn most(self, size: i64) -> i64 {
        match self {
            Fill::Reflect => size - 1,
            Fill::Circular => size,
            Fill::Value | Fill::Replicate => i64::MAX,
        }
    }
}

/// `(before, after)` of each spatial axis, in the order of the axes.
fn sides(args: &Args, spatial: usize) -> Result<Vec<(i64, i64)>, ArgError> {
    let given = args.shape("padding");
    if given.is_empty() {
        return Ok(args.sizes("padding", spatial, 0)?.into_iter().map(|p| (p, p)).collect());
    }
    if given.len() != 2 * spatial {
        let message = format!(
            "`padding` is one number or {} in a row, `(before, after)` for each of {spatial} spatial axes from the last \
             to the first, but {} are given",
            2 * spatial,
            given.len()
        );
        return Err(args.error("padding", message));
    }
    let flat = args.sizes("padding", 2 * spatial, 0)?;
    Ok(flat.chunks(2).rev().map(|pair| (pair[0], pair[1])).collect())
}

fn pad(b: &mut Builder, args: &Args, fill: Fill, spatial: usize) -> Made {
    let x = args.tensor("x");
    let rank = b.rank(x);
    if rank != spatial + 1 && rank != spatial + 2 {
        let expected = format!("{} or {} axes, {spatial} of them spatial", spatial + 1, spatial + 2);
        return Err(CallError::Rank { input: 0, expected, found: b.ty(x).clone(), fix: None });
    }
    let sides = sides(args, spatial)?;
    let value = operand(b, args, "value", b.dtype(x))?;
    padded(b, x, fill, value, &sides).map(Into::into).map_err(|error| match error {
        CallError::Inputs(message) => args.error("padding", message).into(),
        other => other,
    })
}

/// `x` with its last axes padded by `(before, after)` each.
///
/// # Errors
/// [`CallError::Inputs`] if an axis is known to be too small for what is taken of it.
pub fn padded(
    b: &mut Builder,
    x: NodeId,
    fill: Fill,
    value: NodeId,
    sides: &[(i64, i64)],
) -> Result<NodeId, CallError> {
    let first = b.rank(x) - sides.len();
    if fill == Fill::Value {
        let zeros = vec![Dim::from(0); first];
        let lo: Vec<Dim> = zeros.iter().cloned().chain(sides.iter().map(|s| s.0.into())).collect();
        let hi: Vec<Dim> = zeros.into_iter().chain(sides.iter().map(|s| s.1.into())).collect();
        return Ok(b.pad(x, value, &lo, &hi)?);
    }
    let mut y = x;
    for (axis, &(before, after)) in (first..).zip(sides) {
        let size = b.shape(x)[axis].clone();
        if let Some(c) = size.as_const()
            && before.max(after) > fill.most(c)
        {
            let (most, wanted) = (fill.most(c), before.max(after));
            return Err(CallError::Inputs(format!(
                "axis {axis}, of size {c}, can be continued by {most} elements of its own at most, but {wanted} are asked \
                 for"
            )));
        }
        let mut parts = vec![];
        if before > 0 {
            parts.push(end(b, y, axis, fill, before, true)?);
        }
        parts.push(y);
        if after > 0 {
            parts.push(end(b, y, axis, fill, after, false)?);
        }
        if parts.len() > 1 {
            y = b.concat(&parts, axis)?;
        }
    }
    Ok(y)
}

/// The `count` elements that stand before or after an axis.
fn end(b: &mut Builder, x: NodeId, axis: usize, fill: Fill, count: i64, before: bool) -> Built {
    let (size, count, zero) = (b.shape(x)[axis].clone(), Dim::from(count), Dim::from(0));
    let (from, to) = match (fill, before) {
        (Fill::Reflect, true) => (Dim::ONE, count.clone() + Dim::ONE),
        (Fill::Reflect, false) => (size.clone() - count.clone() - Dim::ONE, size - Dim::ONE),
        (Fill::Circular, true) => (size.clone() - count.clone(), size),
        (Fill::Circular, false) => (zero, count.clone()),
        (_, true) => (zero, Dim::ONE),
        (_, false) => (size.clone() - Dim::ONE, size),
    };
    let part = narrow(b, x, axis, from, to)?;
    match fill {
        Fill::Reflect => b.push(Op::Flip, &[part], Attrs::new().ints("axes", [axis as i64])),
        Fill::Replicate => {
            let mut shape = b.shape(part).to_vec();
            shape[axis] = count;
            b.broadcast(part, &shape)
        }
        Fill::Value | Fill::Circular => Ok(part),
    }
}
