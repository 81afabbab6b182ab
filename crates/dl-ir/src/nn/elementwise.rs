//! Arithmetic, comparisons and functions of single elements.

use super::args::Args;
use super::common::{Made, X, elementwise, floats, made, operand};
use super::error::CallError;
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use super::value::Value;
use crate::build::Builder;
use crate::graph::NodeId;
use crate::op::Op;
use crate::types::DType;

macro_rules! unary {
    ($name:literal, [$($alias:literal),*], $op:ident, $doc:literal) => {
        MethodDef {
            name: $name,
            aliases: &[$($alias),*],
            doc: $doc,
            params: &[X],
            build: |b, a| elementwise(b, Op::$op, &[a.tensor("x")]).map(Value::Tensor),
        }
    };
    ($name:literal, [$($alias:literal),*], fn $build:ident, $doc:literal) => {
        MethodDef { name: $name, aliases: &[$($alias),*], doc: $doc, params: &[X], build: $build }
    };
}

/// The left side of an operator.
pub const LEFT: Param = Param::required("x", Kind::Operand, "the left side");
/// The right side.
pub const RIGHT: Param = Param::required("y", Kind::Operand, "the right side");

macro_rules! binary {
    ($name:literal, [$($alias:literal),*], $op:ident, $doc:literal) => {
        MethodDef {
            name: $name,
            aliases: &[$($alias),*],
            doc: $doc,
            params: &[LEFT, RIGHT],
            build: |b, a| {
                let (x, y) = pair(b, a)?;
                elementwise(b, Op::$op, &[x, y]).map(Value::Tensor)
            },
        }
    };
}

/// The methods of this file.
pub const METHODS: &[MethodDef] = &[
    unary!("neg", ["negative"], Neg, "-x"),
    unary!("abs", ["absolute"], Abs, "|x|"),
    unary!("sign", [], Sign, "-1, 0 or 1; NaN for NaN"),
    unary!("floor", [], Floor, "the whole number not above x; no gradient"),
    unary!("ceil", [], Ceil, "the whole number not below x; no gradient"),
    unary!("round", [], Round, "the nearest whole number, halves to even; no gradient"),
    unary!("sqrt", [], Sqrt, "the square root; NaN below 0"),
    unary!("rsqrt", [], Rsqrt, "1 / sqrt(x)"),
    unary!("exp", [], Exp, "e^x"),
    unary!("expm1", ["exp_m1"], Expm1, "e^x - 1, exact near 0"),
    unary!("log", ["ln"], Log, "the natural logarithm; -inf at 0, NaN below"),
    unary!("log1p", ["ln_1p"], Log1p, "log(1 + x), exact near 0"),
    unary!("sin", [], Sin, "the sine of x in radians"),
    unary!("cos", [], Cos, "the cosine of x in radians"),
    unary!("tan", [], fn tan, "the tangent of x in radians"),
    unary!("atan", ["arctan"], fn atan, "the angle in radians, between -pi/2 and pi/2, whose tangent is x"),
    unary!("erf", [], Erf, "the error function"),
    unary!("square", [], fn square, "x * x"),
    unary!("reciprocal", ["recip"], fn reciprocal, "1 / x"),
    unary!("not", ["logical_not"], Not, "logical not, of bool"),
    unary!("detach", [], Detach, "x, with no gradient passed back"),
    unary!("isnan", ["is_nan"], fn is_nan, "whether x is NaN, as bool"),
    binary!("add", [], Add, "x + y, broadcast"),
    binary!("sub", ["subtract"], Sub, "x - y, broadcast"),
    binary!("mul", ["multiply"], Mul, "x * y, broadcast"),
    binary!("div", ["divide", "true_divide"], Div, "x / y, broadcast; whole numbers divide towards zero"),
    binary!("rem", ["remainder"], Rem, "the remainder of x / y with y's sign, broadcast; see `fmod`"),
    binary!("maximum", [], Max, "the larger of x and y, broadcast; NaN if either is"),
    binary!("minimum", [], Min, "the smaller of x and y, broadcast; NaN if either is"),
    binary!("atan2", ["arctan2"], Atan2, "the angle in radians of the point with ordinate x and abscissa y, broadcast"),
    binary!("lt", ["less"], Lt, "x < y as bool, broadcast"),
    binary!("le", ["less_equal"], Le, "x <= y as bool, broadcast"),
    binary!("eq", [], Eq, "x == y as bool, broadcast"),
    binary!("ne", ["not_equal"], Ne, "x != y as bool, broadcast"),
    binary!("and", ["logical_and"], And, "logical and, broadcast"),
    binary!("or", ["logical_or"], Or, "logical or, broadcast"),
    MethodDef {
        name: "gt",
        aliases: &["greater"],
        doc: "x > y as bool, broadcast",
        params: &[LEFT, RIGHT],
        build: |b, a| swapped(b, a, Op::Lt),
    },
    MethodDef {
        name: "ge",
        aliases: &["greater_equal"],
        doc: "x >= y as bool, broadcast",
        params: &[LEFT, RIGHT],
        build: |b, a| swapped(b, a, Op::Le),
    },
    MethodDef {
        name: "pow",
        aliases: &["powf", "powi"],
        doc: "x^y, broadcast; small whole powers and roots are computed exactly",
        params: &[LEFT, Param::required("y", Kind::Operand, "the exponent")],
        build: pow,
    },
    MethodDef {
        name: "clamp",
        aliases: &["clip"],
        doc: "x held between `min` and `max`; NaN stays, the gradient passes where x is within the bounds",
        params: &[
            X,
            Param::optional("min", Kind::Operand, Default::Absent, "the lower bound, broadcast; none if left out"),
            Param::optional("max", Kind::Operand, Default::Absent, "the upper bound, broadcast; none if left out"),
        ],
        build: clamp,
    },
    MethodDef {
        name: "where_",
        aliases: &["select"],
        doc: "`x` where `condition` is true, else `y`; all three broadcast",
        params: &[
            Param::required("condition", Kind::Tensor, "a bool tensor"),
            Param::required("x", Kind::Operand, "the value where it is true"),
            Param::required("y", Kind::Operand, "the value where it is false"),
        ],
        build: where_,
    },
    MethodDef {
        name: "masked_fill",
        aliases: &[],
        doc: "`x`, but `value` where `mask` is true",
        params: &[
            X,
            Param::required("mask", Kind::Tensor, "a bool tensor that broadcasts to x"),
            Param::required("value", Kind::Operand, "the value where the mask is true"),
        ],
        build: masked_fill,
    },
    MethodDef {
        name: "to",
        aliases: &["cast", "to_dtype"],
        doc: "x in another element type: to integers truncating, to bool `x != 0`",
        params: &[X, Param::required("dtype", Kind::DType, "the element type")],
        build: |b, a| {
            let dtype = a.dtype("dtype").unwrap_or(DType::F32);
            made(b.cast(a.tensor("x"), dtype))
        },
    },
];

/// The two sides as tensors: a number takes the other side's element type.
pub fn pair(b: &mut Builder, args: &Args) -> Result<(NodeId, NodeId), CallError> {
    let dtype = match (args.tensor_if("x"), args.tensor_if("y")) {
        (Some(x), _) => b.dtype(x),
        (None, Some(y)) => b.dtype(y),
        (None, None) => return Err(args.error("x", "one of the two sides must be a tensor").into()),
    };
    Ok((operand(b, args, "x", dtype)?, operand(b, args, "y", dtype)?))
}

fn swapped(b: &mut Builder, args: &Args, op: Op) -> Made {
    let (x, y) = pair(b, args)?;
    let swap = |e| match e {
        CallError::Broadcast { left, right } => {
            CallError::Broadcast { left: (1 - left.0, left.1), right: (1 - right.0, right.1) }
        }
        CallError::DType { input, expected, found, fix } => {
            let expected = expected.replace("operand 0", "operand 1");
            CallError::DType { input: 1 - input, expected, found, fix }
        }
        other => other,
    };
    elementwise(b, op, &[y, x]).map(Value::Tensor).map_err(swap)
}

fn tan(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    let (sin, cos) = (b.sin(x)?, b.cos(x)?);
    made(b.div(sin, cos))
}

fn atan(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let one = b.constant(floats(b, 0, x)?, 1.0);
    made(b.atan2(x, one))
}

fn square(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    elementwise(b, Op::Mul, &[x, x]).map(Value::Tensor)
}

fn reciprocal(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let one = b.constant(floats(b, 0, x)?, 1.0);
    made(b.div(one, x))
}

fn is_nan(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    made(b.ne(x, x))
}

fn pow(b: &mut Builder, args: &Args) -> Made {
    let (x, y) = pair(b, args)?;
    let exponent = match args.get("y") {
        Some(Value::Tensor(_)) | None => None,
        Some(_) => {
            Some(args.float("y")).filter(|_| !matches!(args.get("y"), Some(Value::Int(d)) if d.as_const().is_none()))
        }
    };
    let float = b.dtype(x).is_float();
    let power = match exponent {
        Some(1.0) => x,
        Some(2.0) => elementwise(b, Op::Mul, &[x, x])?,
        Some(3.0) => {
            let square = elementwise(b, Op::Mul, &[x, x])?;
            b.mul(square, x)?
        }
        Some(0.5) if float => b.sqrt(x)?,
        Some(-0.5) if float => b.rsqrt(x)?,
        Some(-1.0) if float => {
            let one = b.constant(b.dtype(x), 1.0);
            b.div(one, x)?
        }
        _ => elementwise(b, Op::Pow, &[x, y])?,
    };
    Ok(power.into())
}

fn clamp(b: &mut Builder, args: &Args) -> Made {
    let mut x = args.tensor("x");
    let number = |name: &str| match args.get(name) {
        Some(Value::Tensor(_)) | None => None,
        Some(_) => Some(args.float(name)),
    };
    if args.get("min").is_none() && args.get("max").is_none() {
        return Err(args.error("min", "`clamp` needs `min`, `max` or both").into());
    }
    if let (Some(lo), Some(hi)) = (number("min"), number("max"))
        && lo > hi
    {
        return Err(args.error("min", format!("`min` is {lo}, above `max`, which is {hi}")).into());
    }
    if args.get("min").is_some() {
        let lo = bound(b, args, "min", x)?;
        let below = b.lt(x, lo)?;
        x = b.select(below, lo, x)?;
    }
    if args.get("max").is_some() {
        let hi = bound(b, args, "max", x)?;
        let above = b.lt(hi, x)?;
        x = b.select(above, hi, x)?;
    }
    Ok(x.into())
}

/// A bound of `clamp`, which must broadcast with `x`.
fn bound(b: &mut Builder, args: &Args, name: &str, x: NodeId) -> Result<NodeId, CallError> {
    let bound = operand(b, args, name, b.dtype(x))?;
    if b.dtype(bound) == b.dtype(x) && b.broadcast_shape(Op::Lt, &[x, bound]).is_ok() {
        return Ok(bound);
    }
    let message = format!("`{name}` must broadcast to {}, but it is {}", b.ty(x), b.ty(bound));
    Err(args.error(name, message).into())
}

/// `max(x, lo)`, whose gradient at `x == lo` is that of x.
pub fn at_least(b: &mut Builder, x: NodeId, lo: f64) -> crate::build::Built {
    let lo = b.constant(b.dtype(x), lo);
    let below = b.lt(x, lo)?;
    b.select(below, lo, x)
}

/// `min(x, hi)`, whose gradient at `x == hi` is that of x.
pub fn at_most(b: &mut Builder, x: NodeId, hi: f64) -> crate::build::Built {
    let hi = b.constant(b.dtype(x), hi);
    let above = b.lt(hi, x)?;
    b.select(above, hi, x)
}

fn where_(b: &mut Builder, args: &Args) -> Made {
    let dtype = match (args.tensor_if("x"), args.tensor_if("y")) {
        (Some(n), _) | (None, Some(n)) => b.dtype(n),
        (None, None) => DType::F32,
    };
    let (x, y) = (operand(b, args, "x", dtype)?, operand(b, args, "y", dtype)?);
    elementwise(b, Op::Select, &[args.tensor("condition"), x, y]).map(Value::Tensor)
}

fn masked_fill(b: &mut Builder, args: &Args) -> Made {
    let (x, mask) = (args.tensor("x"), args.tensor("mask"));
    let value = operand(b, args, "value", b.dtype(x))?;
    let shape = b
        .broadcast_shape(Op::Select, &[x, mask])
        .map_err(|e| CallError::of_operands(e, &super::common::types(b, &[x, mask])))?;
    if shape != b.shape(x) {
        return Err(CallError::Inputs(format!(
            "{{1}} is {}, which does not broadcast to {{0}}, {}",
            b.ty(mask),
            b.ty(x)
        )));
    }
    made(b.select(mask, value, x))
}
