//! Rules for elementwise ops.

use super::{At, Rewritten, make, operand, uniform};
use crate::attrs::Attrs;
use crate::build::{Builder, Built};
use crate::graph::NodeId;
use crate::op::Op;
use crate::types::{DType, Scalar};

pub(super) fn simpler(b: &mut Builder, at: &At<'_>) -> Rewritten {
    let args = at.args;
    match at.op {
        Op::Detach => Ok(Some(args[0])),
        Op::Neg | Op::Not => Ok(operand(b, args[0], at.op)),
        Op::Abs => match operand(b, args[0], Op::Neg) {
            Some(x) if b.dtype(x).is_float() => elementwise(b, Op::Abs, &[x]),
            _ => Ok(operand(b, args[0], Op::Abs).map(|_| args[0])),
        },
        Op::Cast => cast(b, at),
        Op::Add | Op::Sub => sum(b, at),
        Op::Mul => product(b, args[0], args[1]),
        Op::Div => quotient(b, args[0], args[1]),
        Op::Pow => power(b, args[0], args[1]),
        Op::Max | Op::Min | Op::And | Op::Or if args[0] == args[1] => Ok(Some(args[0])),
        Op::And | Op::Or => {
            let sides = [(args[0], args[1]), (args[1], args[0])];
            let known = sides.iter().find_map(|&(c, x)| uniform(b, c).map(|v| (v.as_i64() != 0, c, x)));
            // `true and x` is x, `false and x` is false; `or` the other way round.
            Ok(known.map(|(truth, c, x)| if truth == (at.op == Op::And) { x } else { c }))
        }
        Op::Select => match (uniform(b, args[0]), operand(b, args[0], Op::Not)) {
            (Some(truth), _) => Ok(Some(args[if truth.as_i64() != 0 { 1 } else { 2 }])),
            _ if args[1] == args[2] => Ok(Some(args[1])),
            (_, Some(condition)) => elementwise(b, Op::Select, &[condition, args[2], args[1]]),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

fn elementwise(b: &mut Builder, op: Op, args: &[NodeId]) -> Rewritten {
    make(b, op, args, Attrs::new()).map(Some)
}

fn is(value: Option<Scalar>, expected: f64) -> bool {
    value.is_some_and(|v| v.as_f64() == expected)
}

/// `x + -0`, `x - 0` and, for integers, `x + 0` are x; a negated term turns the sign.
fn sum(b: &mut Builder, at: &At<'_>) -> Rewritten {
    let (x, y, adds) = (at.args[0], at.args[1], at.op == Op::Add);
    let nothing = |b: &Builder, y| match uniform(b, y) {
        Some(Scalar::Float(v)) => v == 0.0 && v.is_sign_negative() == adds,
        Some(Scalar::Int(v)) => v == 0,
        _ => false,
    };
    if nothing(b, y) {
        return Ok(Some(x));
    }
    if adds && nothing(b, x) {
        return Ok(Some(y));
    }
    if let Some(y) = operand(b, y, Op::Neg) {
        return elementwise(b, if adds { Op::Sub } else { Op::Add }, &[x, y]);
    }
    match operand(b, x, Op::Neg) {
        Some(x) if adds => elementwise(b, Op::Sub, &[y, x]),
        _ => Ok(None),
    }
}

fn product(b: &mut Builder, x: NodeId, y: NodeId) -> Rewritten {
    for (x, y) in [(x, y), (y, x)] {
        if is(uniform(b, y), 1.0) {
            return Ok(Some(x));
        }
        if is(uniform(b, y), -1.0) {
            return elementwise(b, Op::Neg, &[x]);
        }
    }
    match (operand(b, x, Op::Neg), operand(b, y, Op::Neg)) {
        (Some(x), Some(y)) => elementwise(b, Op::Mul, &[x, y]),
        _ => Ok(None),
    }
}

/// A division by a power of two is a product, exactly; and one by 1 nothing. The sum of a softmax is inverted once.
fn quotient(b: &mut Builder, x: NodeId, y: NodeId) -> Rewritten {
    if is_softmax_sum(b, y) && uniform(b, x).is_none() {
        let unit = full(b, x, 1.0)?;
        let inverse = make(b, Op::Div, &[unit, y], Attrs::new())?;
        return elementwise(b, Op::Mul, &[x, inverse]);
    }
    let Some(divisor) = uniform(b, y).map(Scalar::as_f64) else { return Ok(None) };
    if divisor == 1.0 {
        return Ok(Some(x));
    }
    let inverse = 1.0 / divisor;
    let dtype = b.dtype(x);
    let exact = match dtype {
        DType::F32 => (inverse as f32).is_normal() && (divisor as f32).is_normal(),
        DType::F64 => inverse.is_normal() && divisor.is_normal(),
        _ => false,
    };
    // A power of two has no bits behind the leading one.
    if !exact || divisor.to_bits() << 12 != 0 {
        return Ok(None);
    }
    let factor = full(b, x, inverse)?;
    elementwise(b, Op::Mul, &[x, factor])
}

/// Whether each element of `id` repeats a sum of `e^(x - greatest x)`: that is at least 1 or NaN, and so has an inverse
/// which neither overflows nor is subnormal.
fn is_softmax_sum(b: &Builder, id: NodeId) -> bool {
    let Some(mut sum) = operand(b, id, Op::Broadcast) else { return false };
    while let Some(x) = operand(b, sum, Op::Reshape) {
        sum = x;
    }
    let shifted = operand(b, sum, Op::ReduceSum).and_then(|e| operand(b, e, Op::Exp));
    let Some(shifted) = shifted.filter(|&s| b.graph[s].op == Op::Sub) else { return false };
    let (x, repeated) = (b.graph[shifted].args[0], b.graph[shifted].args[1]);
    let Some(column) = operand(b, repeated, Op::Broadcast) else { return false };
    let greatest = operand(b, column, Op::Reshape).unwrap_or(column);
    let axes = b.graph[sum].attrs.get_axes("axes");
    // Each row by its own greatest element.
    let own = b.rank(column) == b.rank(x)
        && (0..b.rank(x)).all(|a| match axes.contains(&a) {
            true => b.shape(column)[a].is(1),
            false => b.shape(column)[a] == b.shape(x)[a],
        });
    own && operand(b, greatest, Op::ReduceMax) == Some(x) && b.graph[greatest].attrs == b.graph[sum].attrs
}

/// Small whole powers are products.
fn power(b: &mut Builder, x: NodeId, y: NodeId) -> Rewritten {
    let Some(exponent) = uniform(b, y).map(Scalar::as_f64) else { return Ok(None) };
    if exponent == 0.0 {
        return full(b, x, 1.0).map(Some);
    }
    if exponent == 1.0 {
        return Ok(Some(x));
    }
    if exponent == -1.0 {
        let unit = full(b, x, 1.0)?;
        return elementwise(b, Op::Div, &[unit, x]);
    }
    if exponent != 2.0 && exponent != 3.0 {
        return Ok(None);
    }
    let square = make(b, Op::Mul, &[x, x], Attrs::new())?;
    if exponent == 2.0 { Ok(Some(square)) } else { elementwise(b, Op::Mul, &[square, x]) }
}

fn full(b: &mut Builder, like: NodeId, value: f64) -> Built {
    let (dtype, shape) = (b.dtype(like), b.shape(like).to_vec());
    let scalar = b.constant(dtype, value);
    b.broadcast(scalar, &shape)
}

/// A conversion to the same type is none, and one through a type that keeps every value goes directly.
fn cast(b: &mut Builder, at: &At<'_>) -> Rewritten {
    let (x, to) = (at.args[0], at.attrs.get_dtype("dtype"));
    let through = b.dtype(x);
    if through == to {
        return Ok(Some(x));
    }
    let Some(source) = operand(b, x, Op::Cast) else { return Ok(None) };
    let from = b.dtype(source);
    // From floats conversion saturates and from integers it wraps, so the way through floats shows if values overflow.
    let same_kind = through.is_float() == from.is_float() || to.is_float() || to == DType::Bool;
    if keeps(from, through) && (same_kind || from == to || keeps(from, to)) {
        return make(b, Op::Cast, &[source], at.attrs.clone()).map(Some);
    }
    Ok(None)
}

/// Whether every value of `from` is one of `to`.
fn keeps(from: DType, to: DType) -> bool {
    use DType::{Bool, F32, F64, I32, I64, U8};
    matches!((from, to), (Bool, _) | (U8, I32 | I64 | F32 | F64) | (I32, I64 | F64) | (F32, F64)) || from == to
}

/// An op whose operands all repeat values of one shape computes them once and repeats the result.
pub(super) fn hoist(b: &mut Builder, at: &At<'_>) -> Rewritten {
    let repeated = |b: &Builder, id: NodeId| operand(b, id, Op::Broadcast).filter(|_| uniform(b, id).is_none());
    let Some(source) = at.args.iter().find_map(|&a| repeated(b, a)) else { return Ok(None) };
    let (small, large) = (b.shape(source).to_vec(), b.shape(at.args[0]).to_vec());
    let mut args = vec![];
    for &arg in at.args {
        match (uniform(b, arg), repeated(b, arg)) {
            (Some(value), _) => {
                let scalar = b.constants(b.dtype(arg), &[], vec![value]);
                args.push(b.broadcast(scalar, &small)?);
            }
            (_, Some(source)) if b.shape(source) == small => args.push(source),
            _ => return Ok(None),
        }
    }
    let result = make(b, at.op, &args, at.attrs.clone())?;
    make(b, Op::Broadcast, &[result], Attrs::new().dims("shape", large)).map(Some)
}
