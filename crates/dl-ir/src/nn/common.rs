//! What the tables' entries share.

use super::args::Args;
use super::error::CallError;
use super::params::{Default, Kind, Param};
use super::value::Value;
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::op::Op;
use crate::types::{DType, Type};

/// What building a method gives.
pub type Made = Result<Value, CallError>;

/// The receiver.
pub const X: Param = Param::required("x", Kind::Tensor, "the tensor");

/// An axis, by default the last.
pub const LAST_AXIS: Param = Param::optional("axis", Kind::Axis, Default::Int(-1), "the axis; -1 is the last");

/// How a loss sums up.
pub const REDUCTION: Param = Param::optional(
    "reduction",
    Kind::Word(&["mean", "sum", "none"]),
    Default::Word("mean"),
    "\"mean\", \"sum\", or \"none\" for one value an element",
);

/// A node as a method's result.
pub fn made(node: Built) -> Made {
    Ok(Value::Tensor(node?))
}

/// The types of nodes.
pub fn types(b: &Builder, nodes: &[NodeId]) -> Vec<Type> {
    nodes.iter().map(|&n| b.ty(n).clone()).collect()
}

/// An op on the call's own tensors, broadcast together; its errors name them.
pub fn elementwise(b: &mut Builder, op: Op, nodes: &[NodeId]) -> Result<NodeId, CallError> {
    b.elementwise(op, nodes).map_err(|e| CallError::of_operands(e, &types(b, nodes)))
}

/// The tensor of that name, or the number as a scalar of `dtype`.
///
/// # Errors
/// If a fraction is given where whole numbers are asked for.
pub fn operand(b: &mut Builder, args: &Args, name: &str, dtype: DType) -> Result<NodeId, CallError> {
    match args.get(name) {
        Some(Value::Tensor(node)) => Ok(*node),
        Some(Value::Int(dim)) if dtype != DType::Bool => Ok(b.dim_value(dim, dtype)?),
        Some(Value::Float(value)) if dtype.is_float() || (dtype.is_int() && value.fract() == 0.0) => {
            Ok(b.constant(dtype, *value))
        }
        Some(other) => {
            let message = format!(
                "{} does not fit elements of type {dtype}; convert the tensor with `.to(f32)`",
                other.describe()
            );
            Err(args.error(name, message).into())
        }
        None => Ok(b.constant(dtype, 0.0)),
    }
}

/// Requires floats, for methods whose ops would otherwise be refused in terms the user has not written.
///
/// # Errors
/// [`CallError::DType`].
pub fn floats(b: &Builder, input: usize, x: NodeId) -> Result<DType, CallError> {
    let dtype = b.dtype(x);
    if dtype.is_float() {
        return Ok(dtype);
    }
    let fix = Some("convert it with `.to(f32)`".to_string());
    Err(CallError::DType { input, expected: "floats".into(), found: b.ty(x).clone(), fix })
}

/// Requires a number of axes; `layout` shows them: "[N, C, H, W]".
///
/// # Errors
/// [`CallError::Rank`].
pub fn rank(b: &Builder, x: NodeId, rank: usize, layout: &str) -> Result<(), CallError> {
    if b.rank(x) == rank {
        return Ok(());
    }
    Err(CallError::Rank { input: 0, expected: format!("{rank} axes, {layout}"), found: b.ty(x).clone(), fix: None })
}

/// The shape of `x` with 1 on `axes`.
pub fn kept(b: &Builder, x: NodeId, axes: &[usize]) -> Vec<Dim> {
    let mut shape = b.shape(x).to_vec();
    for &axis in axes {
        shape[axis] = Dim::ONE;
    }
    shape
}

/// `x` with an axis of size 1 put in before `axis`.
pub fn unsqueeze(b: &mut Builder, x: NodeId, axis: usize) -> Built {
    let mut shape = b.shape(x).to_vec();
    shape.insert(axis, Dim::ONE);
    b.reshape(x, &shape)
}

/// `x` without `axis`, whose size is 1.
pub fn squeeze(b: &mut Builder, x: NodeId, axis: usize) -> Built {
    let mut shape = b.shape(x).to_vec();
    shape.remove(axis);
    b.reshape(x, &shape)
}

/// `x[.., from..to, ..]` along one axis.
pub fn narrow(b: &mut Builder, x: NodeId, axis: usize, from: Dim, to: Dim) -> Built {
    let mut stop = b.shape(x).to_vec();
    let mut start = vec![Dim::from(0); stop.len()];
    (start[axis], stop[axis]) = (from, to);
    b.slice(x, &start, &stop, &vec![1; start.len()])
}

/// The index along `axis`, in `shape`.
pub fn iota(b: &mut Builder, dtype: DType, shape: &[Dim], axis: usize) -> Built {
    b.push(
        Op::Iota,
        &[],
        crate::attrs::Attrs::new().dtype("dtype", dtype).dims("shape", shape).int("axis", axis as i64),
    )
}

/// `x` with a constant of its type.
pub fn with_constant(b: &mut Builder, op: Op, x: NodeId, c: f64) -> Built {
    let c = b.constant(b.dtype(x), c);
    b.elementwise(op, &[x, c])
}

/// `c * x`
pub fn scale(b: &mut Builder, x: NodeId, c: f64) -> Built {
    with_constant(b, Op::Mul, x, c)
}

/// `x + c`
pub fn shift(b: &mut Builder, x: NodeId, c: f64) -> Built {
    with_constant(b, Op::Add, x, c)
}

/// `sqrt(x)` with gradient 0 at 0, where that of the square root is infinite.
pub fn root(b: &mut Builder, x: NodeId) -> Built {
    at_nothing(b, x, |b, x| b.sqrt(x))
}

/// `f(x)`, but 0 with gradient 0 where `x` is 0; there `f` sees 1.
pub fn at_nothing(b: &mut Builder, x: NodeId, f: impl FnOnce(&mut Builder, NodeId) -> Built) -> Built {
    let (zero, one) = (b.constant(b.dtype(x), 0.0), b.constant(b.dtype(x), 1.0));
    let nothing = b.eq(x, zero)?;
    let safe = b.select(nothing, one, x)?;
    let y = f(b, safe)?;
    b.select(nothing, zero, y)
}

/// The Euclidean length over axes, with gradient 0 where all is 0.
pub fn length(b: &mut Builder, x: NodeId, over: &[usize], keep: bool) -> Built {
    let squares = b.mul(x, x)?;
    let sum = b.sum(squares, over, keep)?;
    root(b, sum)
}

/// `x^p` for a number `p`, by products where `p` is a small whole number.
pub fn whole_power(b: &mut Builder, x: NodeId, p: f64) -> Built {
    match p {
        0.0 => b.full_like(x, 1.0),
        1.0 => Ok(x),
        2.0 => b.mul(x, x),
        3.0 => {
            let square = b.mul(x, x)?;
            b.mul(square, x)
        }
        _ => with_constant(b, Op::Pow, x, p),
    }
}

/// Whether `0 < x`.
pub fn positive(b: &mut Builder, x: NodeId) -> Built {
    let zero = b.constant(b.dtype(x), 0.0);
    b.lt(zero, x)
}
