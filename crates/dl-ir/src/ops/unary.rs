//! Elementwise ops of one operand.

use super::{Kind, sample, scale};
use crate::attrs::{AttrKind, Attrs};
use crate::build::{Builder, Built};
use crate::error::OpError;
use crate::eval::{Data, EvalError, Tensor};
use crate::op::{Arity, Class, Cotangents, Eval, Infer, OpDef, Sample, Vjp, VjpArgs};
use crate::types::{DType, Type};

/// -x
pub const NEG: OpDef = unary("neg", "-x", number, |e| numbers(e, |x| -x, i64::wrapping_neg), NEG_VJP, wide);
/// |x|
pub const ABS: OpDef = unary("abs", "|x|", number, |e| numbers(e, f64::abs, i64::wrapping_abs), ABS_VJP, wide);
/// -1, 0, 1; NaN for NaN
pub const SIGN: OpDef =
    unary("sign", "-1, 0 or 1; NaN for NaN", number, |e| numbers(e, signum, i64::signum), STEPS, wide);
/// Rounds down.
pub const FLOOR: OpDef = unary("floor", "Rounds down", float, |e| floats(e, f64::floor), STEPS, real);
/// Rounds up.
pub const CEIL: OpDef = unary("ceil", "Rounds up", float, |e| floats(e, f64::ceil), STEPS, real);
/// Rounds to nearest, ties to even.
pub const ROUND: OpDef =
    unary("round", "Rounds to nearest, ties to even", float, |e| floats(e, f64::round_ties_even), STEPS, real);
/// Square root.
pub const SQRT: OpDef = unary("sqrt", "Square root", float, |e| floats(e, f64::sqrt), SQRT_VJP, positive);
/// 1 / sqrt(x)
pub const RSQRT: OpDef = unary("rsqrt", "1 / sqrt(x)", float, |e| floats(e, |x| 1.0 / x.sqrt()), RSQRT_VJP, positive);
/// e^x
pub const EXP: OpDef = unary("exp", "e^x", float, |e| floats(e, f64::exp), EXP_VJP, real);
/// e^x - 1
pub const EXPM1: OpDef = unary("expm1", "e^x - 1, exact near 0", float, |e| floats(e, f64::exp_m1), EXPM1_VJP, real);
/// Natural logarithm.
pub const LOG: OpDef = unary("log", "Natural logarithm", float, |e| floats(e, f64::ln), LOG_VJP, positive);
/// log(1 + x)
pub const LOG1P: OpDef =
    unary("log1p", "log(1 + x), exact near 0", float, |e| floats(e, f64::ln_1p), LOG1P_VJP, positive);
/// Sine of radians.
pub const SIN: OpDef = unary("sin", "Sine of radians", float, |e| floats(e, f64::sin), SIN_VJP, real);
/// Cosine of radians.
pub const COS: OpDef = unary("cos", "Cosine of radians", float, |e| floats(e, f64::cos), COS_VJP, real);
/// Hyperbolic tangent.
pub const TANH: OpDef = unary("tanh", "Hyperbolic tangent", float, |e| floats(e, f64::tanh), TANH_VJP, real);
/// 1 / (1 + e^-x)
pub const SIGMOID: OpDef =
    unary("sigmoid", "1 / (1 + e^-x)", float, |e| floats(e, |x| 1.0 / (1.0 + (-x).exp())), SIGMOID_VJP, real);
/// The error function.
pub const ERF: OpDef = unary("erf", "The error function", float, |e| floats(e, erf), ERF_VJP, real);
/// Logical not.
pub const NOT: OpDef = unary("not", "Logical not", boolean, |e| numbers(e, |x| x, |x| 1 - x), TRUTH, truths);
/// The identity, without gradient.
pub const DETACH: OpDef =
    unary("detach", "The identity, without gradient", any, |e| Ok(e.args[0].clone()), Vjp::Blocked, wide);

/// Conversion to another element type.
pub const CAST: OpDef = OpDef {
    name: "cast",
    doc: "Converts to `dtype`: floats to integers truncating and saturating with NaN as 0, to bool as x != 0",
    arity: Arity::Exact(1),
    class: Class::Elementwise,
    attrs: &[("dtype", AttrKind::DType)],
    infer: |i| Ok(i.args[0].with_dtype(i.attrs.get_dtype("dtype"))),
    eval: |e| Ok(e.args[0].cast(e.ty.dtype)),
    vjp: Vjp::Rule(|b, v| {
        let dtype = b.dtype(v.args[0]);
        Ok(vec![if dtype.is_float() { Some(b.cast(v.cotangent, dtype)?) } else { None }])
    }),
    samples: || {
        let pairs = DType::ALL.iter().flat_map(|&a| DType::ALL.iter().map(move |&b| (a, b)));
        pairs.map(|(a, b)| sample(a, &[&[3, 7]], Attrs::new().dtype("dtype", b), cast_range(a, b))).collect()
    },
};

/// Why steps have no gradient.
const STEPS: Vjp = Vjp::None("it is constant between its steps, so the derivative is zero wherever there is one");
/// Why truth values have no gradient.
pub(super) const TRUTH: Vjp = Vjp::None("its result is a truth value");

const NEG_VJP: Vjp = Vjp::Rule(|b, v| one(b.neg(v.cotangent)));
const ABS_VJP: Vjp = Vjp::Rule(|b, v| {
    let sign = b.sign(v.args[0])?;
    one(b.mul(v.cotangent, sign))
});
const SQRT_VJP: Vjp = Vjp::Rule(|b, v| {
    let twice = b.add(v.out, v.out)?;
    one(b.div(v.cotangent, twice))
});
const RSQRT_VJP: Vjp = Vjp::Rule(|b, v| {
    let square = b.mul(v.out, v.out)?;
    let cube = b.mul(square, v.out)?;
    let slope = scale(b, cube, -0.5)?;
    one(b.mul(v.cotangent, slope))
});
const EXP_VJP: Vjp = Vjp::Rule(|b, v| one(b.mul(v.cotangent, v.out)));
const EXPM1_VJP: Vjp = Vjp::Rule(|b, v| {
    let slope = shift(b, v.out, 1.0)?;
    one(b.mul(v.cotangent, slope))
});
const LOG_VJP: Vjp = Vjp::Rule(|b, v| one(b.div(v.cotangent, v.args[0])));
const LOG1P_VJP: Vjp = Vjp::Rule(|b, v| {
    let divisor = shift(b, v.args[0], 1.0)?;
    one(b.div(v.cotangent, divisor))
});
const SIN_VJP: Vjp = Vjp::Rule(|b, v| {
    let slope = b.cos(v.args[0])?;
    one(b.mul(v.cotangent, slope))
});
const COS_VJP: Vjp = Vjp::Rule(|b, v| {
    let sin = b.sin(v.args[0])?;
    let slope = b.neg(sin)?;
    one(b.mul(v.cotangent, slope))
});
const TANH_VJP: Vjp = Vjp::Rule(|b, v| {
    let square = b.mul(v.out, v.out)?;
    let unit = b.full_like(v.out, 1.0)?;
    let slope = b.sub(unit, square)?;
    one(b.mul(v.cotangent, slope))
});
const SIGMOID_VJP: Vjp = Vjp::Rule(|b, v| {
    let unit = b.full_like(v.out, 1.0)?;
    let rest = b.sub(unit, v.out)?;
    let slope = b.mul(v.out, rest)?;
    one(b.mul(v.cotangent, slope))
});
const ERF_VJP: Vjp = Vjp::Rule(|b, v: &VjpArgs<'_>| {
    let square = b.mul(v.args[0], v.args[0])?;
    let exponent = b.neg(square)?;
    let bell = b.exp(exponent)?;
    let slope = scale(b, bell, std::f64::consts::FRAC_2_SQRT_PI)?;
    one(b.mul(v.cotangent, slope))
});

const fn unary(
    name: &'static str,
    doc: &'static str,
    infer: fn(&Infer<'_>) -> Result<Type, OpError>,
    eval: fn(&Eval<'_>) -> Result<Tensor, EvalError>,
    vjp: Vjp,
    samples: fn() -> Vec<Sample>,
) -> OpDef {
    OpDef { name, doc, arity: Arity::Exact(1), class: Class::Elementwise, attrs: &[], infer, eval, vjp, samples }
}

fn one(cotangent: Built) -> Cotangents {
    Ok(vec![Some(cotangent?)])
}

fn shift(b: &mut Builder, x: crate::graph::NodeId, value: f64) -> Built {
    let c = b.full_like(x, value)?;
    b.add(x, c)
}

fn number(i: &Infer<'_>) -> Result<Type, OpError> {
    i.want(0, Kind::Number).map(|()| i.args[0].clone())
}

fn float(i: &Infer<'_>) -> Result<Type, OpError> {
    i.want(0, Kind::Float).map(|()| i.args[0].clone())
}

fn boolean(i: &Infer<'_>) -> Result<Type, OpError> {
    i.want(0, Kind::Is(DType::Bool)).map(|()| i.args[0].clone())
}

fn any(i: &Infer<'_>) -> Result<Type, OpError> {
    i.want(0, Kind::Any).map(|()| i.args[0].clone())
}

fn floats(e: &Eval<'_>, f: fn(f64) -> f64) -> Result<Tensor, EvalError> {
    e.floats(e.args[0].to_f64s().into_iter().map(f).collect())
}

fn numbers(e: &Eval<'_>, float: fn(f64) -> f64, int: fn(i64) -> i64) -> Result<Tensor, EvalError> {
    match &e.args[0].data {
        Data::Float(_) => floats(e, float),
        Data::Int(v) => e.ints(v.iter().map(|&v| int(v)).collect()),
    }
}

fn signum(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

/// By the series with positive terms, `2/sqrt(pi) * e^(-x^2) * sum of x * (2x^2)^n / (2n+1)!!`, which cancels nothing.
fn erf(x: f64) -> f64 {
    if x.is_nan() || x.abs() >= 6.0 {
        return if x.is_nan() { x } else { x.signum() };
    }
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while term.abs() > sum.abs() * 1e-17 {
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
        n += 1.0;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

const SHAPES: [&[i64]; 4] = [&[], &[1], &[37], &[3, 1, 5]];

fn real() -> Vec<Sample> {
    let of = |dtype| SHAPES.iter().map(move |s| sample(dtype, &[s], Attrs::new(), (-3.0, 3.0)));
    of(DType::F32).chain(of(DType::F64)).collect()
}

fn positive() -> Vec<Sample> {
    SHAPES.iter().map(|s| sample(DType::F32, &[s], Attrs::new(), (0.05, 9.0))).collect()
}

fn wide() -> Vec<Sample> {
    let ints = [DType::I64, DType::I32].map(|t| sample(t, &[&[19]], Attrs::new(), (-50.0, 50.0)));
    let bytes = sample(DType::U8, &[&[19]], Attrs::new(), (0.0, 255.0));
    real().into_iter().chain(ints).chain([bytes]).collect()
}

fn truths() -> Vec<Sample> {
    [&[][..], &[1], &[37]].iter().map(|s| sample(DType::Bool, &[s], Attrs::new(), (0.0, 1.0))).collect()
}

/// Values that conversion from `a` to `b` keeps, and some that it truncates and saturates.
fn cast_range(a: DType, b: DType) -> (f64, f64) {
    match (a, b) {
        (DType::Bool, _) => (0.0, 1.0),
        (DType::U8, _) => (0.0, 255.0),
        (_, DType::Bool) => (-1.0, 1.0),
        (DType::F32 | DType::F64, DType::U8) => (-100.0, 400.0),
        (DType::F32 | DType::F64, DType::I32) => (-4e9, 4e9),
        _ => (-1000.0, 1000.0),
    }
}
