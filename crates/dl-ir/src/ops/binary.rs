//! Elementwise ops of two and three operands. All operands have one shape; the builder broadcasts before.

use super::unary::TRUTH;
use super::{Kind, sample, scale};
use crate::attrs::Attrs;
use crate::build::{Builder, Built};
use crate::error::OpError;
use crate::eval::{Data, EvalError, Tensor};
use crate::graph::NodeId;
use crate::op::{Arity, Class, Cotangents, Eval, Infer, OpDef, Sample, Vjp, VjpArgs};
use crate::types::{DType, Type};

/// x + y
pub const ADD: OpDef = binary(
    "add",
    "x + y",
    numbers,
    |e| arith(e, |x, y| x + y, i64::wrapping_add),
    Vjp::Rule(|_, v| both(v.cotangent, v.cotangent)),
    number_samples,
);

/// x - y
pub const SUB: OpDef = binary(
    "sub",
    "x - y",
    numbers,
    |e| arith(e, |x, y| x - y, i64::wrapping_sub),
    Vjp::Rule(|b, v| both(v.cotangent, b.neg(v.cotangent)?)),
    number_samples,
);

/// x * y
pub const MUL: OpDef = binary(
    "mul",
    "x * y",
    numbers,
    |e| arith(e, |x, y| x * y, i64::wrapping_mul),
    Vjp::Rule(|b, v| both(b.mul(v.cotangent, v.args[1])?, b.mul(v.cotangent, v.args[0])?)),
    number_samples,
);

/// x / y
pub const DIV: OpDef = binary(
    "div",
    "x / y; integers divide towards zero, and by zero to zero",
    numbers,
    |e| arith(e, |x, y| x / y, |x, y| if y == 0 { 0 } else { x.wrapping_div(y) }),
    Vjp::Rule(|b, v| {
        let left = b.div(v.cotangent, v.args[1])?;
        let product = b.mul(left, v.out)?;
        both(left, b.neg(product)?)
    }),
    divisor_samples,
);

/// Remainder with the divisor's sign.
pub const REM: OpDef = binary(
    "rem",
    "Remainder with the divisor's sign; of integers by zero the dividend",
    numbers,
    |e| arith(e, float_rem, int_rem),
    Vjp::Rule(|b, v| {
        let quotient = b.div(v.args[0], v.args[1])?;
        let whole = b.floor(quotient)?;
        let slope = b.neg(whole)?;
        both(v.cotangent, b.mul(v.cotangent, slope)?)
    }),
    divisor_samples,
);

/// x^y
pub const POW: OpDef = binary(
    "pow",
    "x^y",
    floats,
    |e| real(e, f64::powf),
    Vjp::Rule(|b, v| {
        let (x, y, g) = (v.args[0], v.args[1], v.cotangent);
        let (zero, unit) = (b.full_like(x, 0.0)?, b.full_like(x, 1.0)?);
        // y * x^(y-1), and 0 where y is 0, whatever x is.
        let less = b.sub(y, unit)?;
        let power = b.pow(x, less)?;
        let slope = b.mul(y, power)?;
        let left = b.mul(g, slope)?;
        let constant = b.eq(y, zero)?;
        let left = b.select(constant, zero, left)?;
        // x^y * log(x), and 0 where x is 0 and y is not negative.
        let log = b.log(x)?;
        let slope = b.mul(v.out, log)?;
        let right = b.mul(g, slope)?;
        let (at_zero, falls) = (b.eq(x, zero)?, b.le(zero, y)?);
        let flat = b.and(at_zero, falls)?;
        both(left, b.select(flat, zero, right)?)
    }),
    || {
        let of = |shape: &[i64]| Sample {
            args: vec![Type::new(DType::F32, shape.iter().copied()); 2],
            attrs: Attrs::new(),
            ranges: vec![(0.2, 3.0), (-2.5, 3.0)],
        };
        vec![of(&[]), of(&[1]), of(&[37]), of(&[3, 5])]
    },
);

/// The larger.
pub const MAX: OpDef = binary(
    "max",
    "The larger; NaN if either is. Where both are equal each takes half the gradient",
    numbers,
    |e| arith(e, |x, y| if x.is_nan() || x > y { x } else { y }, i64::max),
    Vjp::Rule(|b, v| extremum_vjp(b, v, Builder::lt)),
    number_samples,
);

/// The smaller.
pub const MIN: OpDef = binary(
    "min",
    "The smaller; NaN if either is. Where both are equal each takes half the gradient",
    numbers,
    |e| arith(e, |x, y| if x.is_nan() || x < y { x } else { y }, i64::min),
    Vjp::Rule(|b, v| extremum_vjp(b, v, |b, mine, other| b.lt(other, mine))),
    number_samples,
);

/// Angle of the point (x, y).
pub const ATAN2: OpDef = binary(
    "atan2",
    "Angle of the point (x, y); operand 0 is y",
    floats,
    |e| real(e, f64::atan2),
    Vjp::Rule(|b, v| {
        let (y, x, g) = (v.args[0], v.args[1], v.cotangent);
        let (xx, yy) = (b.mul(x, x)?, b.mul(y, y)?);
        let norm = b.add(xx, yy)?;
        let scaled = b.div(g, norm)?;
        let right = b.mul(scaled, y)?;
        both(b.mul(scaled, x)?, b.neg(right)?)
    }),
    || float_samples((-3.0, 3.0)),
);

/// x < y
pub const LT: OpDef = binary("lt", "x < y", ordered, |e| compare(e, |x, y| x < y, |x, y| x < y), TRUTH, number_samples);
/// x <= y
pub const LE: OpDef =
    binary("le", "x <= y", ordered, |e| compare(e, |x, y| x <= y, |x, y| x <= y), TRUTH, number_samples);
/// x == y
pub const EQ: OpDef =
    binary("eq", "x == y", equated, |e| compare(e, |x, y| x == y, |x, y| x == y), TRUTH, equality_samples);
/// x != y
pub const NE: OpDef =
    binary("ne", "x != y", equated, |e| compare(e, |x, y| x != y, |x, y| x != y), TRUTH, equality_samples);
/// Logical and.
pub const AND: OpDef = binary("and", "Logical and", truths, |e| whole(e, |x, y| x & y), TRUTH, truth_samples);
/// Logical or.
pub const OR: OpDef = binary("or", "Logical or", truths, |e| whole(e, |x, y| x | y), TRUTH, truth_samples);

/// One of two by a condition.
pub const SELECT: OpDef = OpDef {
    name: "select",
    doc: "Operand 1 where operand 0 is true, else operand 2",
    arity: Arity::Exact(3),
    class: Class::Elementwise,
    attrs: &[],
    infer: |i| {
        i.want(0, Kind::Is(DType::Bool))?;
        i.want_dtype_of(2, 1)?;
        i.want_shape_of(1, 0)?;
        i.want_shape_of(2, 0)?;
        Ok(i.args[1].clone())
    },
    eval: |e| {
        let (c, x, y) = (e.args[0].to_i64s(), e.args[1], e.args[2]);
        match (&x.data, &y.data) {
            (Data::Float(x), Data::Float(y)) => {
                e.floats((0..c.len()).map(|i| if c[i] != 0 { x[i] } else { y[i] }).collect())
            }
            _ => {
                let (x, y) = (x.to_i64s(), y.to_i64s());
                e.ints((0..c.len()).map(|i| if c[i] != 0 { x[i] } else { y[i] }).collect())
            }
        }
    },
    vjp: Vjp::Rule(|b, v| {
        let zero = b.full_like(v.cotangent, 0.0)?;
        let left = b.select(v.args[0], v.cotangent, zero)?;
        let right = b.select(v.args[0], zero, v.cotangent)?;
        Ok(vec![None, Some(left), Some(right)])
    }),
    samples: || {
        let of = |dtype, shape: &[i64], range| {
            let shape = || shape.iter().copied();
            let args = vec![Type::new(DType::Bool, shape()), Type::new(dtype, shape()), Type::new(dtype, shape())];
            Sample { args, attrs: Attrs::new(), ranges: vec![(0.0, 1.0), range, range] }
        };
        let real = (-3.0, 3.0);
        vec![
            of(DType::F32, &[], real),
            of(DType::F32, &[37], real),
            of(DType::F64, &[3, 1, 5], real),
            of(DType::I64, &[11], (-9.0, 9.0)),
            of(DType::I32, &[11], (-9.0, 9.0)),
            of(DType::U8, &[11], (0.0, 9.0)),
            of(DType::Bool, &[11], (0.0, 1.0)),
        ]
    },
};

const fn binary(
    name: &'static str,
    doc: &'static str,
    infer: fn(&Infer<'_>) -> Result<Type, OpError>,
    eval: fn(&Eval<'_>) -> Result<Tensor, EvalError>,
    vjp: Vjp,
    samples: fn() -> Vec<Sample>,
) -> OpDef {
    OpDef { name, doc, arity: Arity::Exact(2), class: Class::Elementwise, attrs: &[], infer, eval, vjp, samples }
}

fn both(left: NodeId, right: NodeId) -> Cotangents {
    Ok(vec![Some(left), Some(right)])
}

/// The cotangents of `max` or `min`, where `worse(mine, other)` says that an operand is not the result.
fn extremum_vjp(b: &mut Builder, v: &VjpArgs<'_>, worse: fn(&mut Builder, NodeId, NodeId) -> Built) -> Cotangents {
    let (x, y, g) = (v.args[0], v.args[1], v.cotangent);
    let (zero, half, tie) = (b.full_like(g, 0.0)?, scale(b, g, 0.5)?, b.eq(x, y)?);
    let mut side = |mine, other| {
        let lost = worse(b, mine, other)?;
        let rest = b.select(lost, zero, g)?;
        b.select(tie, half, rest)
    };
    both(side(x, y)?, side(y, x)?)
}

fn equal_types(i: &Infer<'_>, kind: Kind) -> Result<Type, OpError> {
    i.want(0, kind)?;
    i.want_dtype_of(1, 0)?;
    i.want_shape_of(1, 0)?;
    Ok(i.args[0].clone())
}

fn numbers(i: &Infer<'_>) -> Result<Type, OpError> {
    equal_types(i, Kind::Number)
}

fn floats(i: &Infer<'_>) -> Result<Type, OpError> {
    equal_types(i, Kind::Float)
}

fn truths(i: &Infer<'_>) -> Result<Type, OpError> {
    equal_types(i, Kind::Is(DType::Bool))
}

fn ordered(i: &Infer<'_>) -> Result<Type, OpError> {
    Ok(numbers(i)?.with_dtype(DType::Bool))
}

fn equated(i: &Infer<'_>) -> Result<Type, OpError> {
    Ok(equal_types(i, Kind::Any)?.with_dtype(DType::Bool))
}

fn real(e: &Eval<'_>, f: fn(f64, f64) -> f64) -> Result<Tensor, EvalError> {
    let (x, y) = (e.args[0].to_f64s(), e.args[1].to_f64s());
    e.floats(x.into_iter().zip(y).map(|(x, y)| f(x, y)).collect())
}

fn whole(e: &Eval<'_>, f: fn(i64, i64) -> i64) -> Result<Tensor, EvalError> {
    let (x, y) = (e.args[0].to_i64s(), e.args[1].to_i64s());
    e.ints(x.into_iter().zip(y).map(|(x, y)| f(x, y)).collect())
}

fn arith(e: &Eval<'_>, float: fn(f64, f64) -> f64, int: fn(i64, i64) -> i64) -> Result<Tensor, EvalError> {
    if e.ty.dtype.is_float() { real(e, float) } else { whole(e, int) }
}

fn compare(e: &Eval<'_>, float: fn(&f64, &f64) -> bool, int: fn(&i64, &i64) -> bool) -> Result<Tensor, EvalError> {
    let truths = match (&e.args[0].data, &e.args[1].data) {
        (Data::Float(x), Data::Float(y)) => x.iter().zip(y).map(|(x, y)| i64::from(float(x, y))).collect(),
        (x, y) => {
            let ints = |data: &Data| match data {
                Data::Int(v) => v.clone(),
                Data::Float(v) => v.iter().map(|&v| v as i64).collect(),
            };
            ints(x).iter().zip(&ints(y)).map(|(x, y)| i64::from(int(x, y))).collect()
        }
    };
    e.ints(truths)
}

/// The remainder of a truncated division, moved to the divisor's side of zero.
fn float_rem(x: f64, y: f64) -> f64 {
    let r = x % y;
    if r != 0.0 && (r < 0.0) != (y < 0.0) { r + y } else { r }
}

fn int_rem(x: i64, y: i64) -> i64 {
    if y == 0 {
        return x;
    }
    let r = x.wrapping_rem(y);
    if r != 0 && (r < 0) != (y < 0) { r + y } else { r }
}

const SHAPES: [&[i64]; 4] = [&[], &[1], &[37], &[3, 1, 5]];

fn pairs(dtype: DType, shapes: &[&[i64]], range: (f64, f64)) -> Vec<Sample> {
    shapes.iter().map(|s| sample(dtype, &[s, s], Attrs::new(), range)).collect()
}

fn float_samples(range: (f64, f64)) -> Vec<Sample> {
    [pairs(DType::F32, &SHAPES, range), pairs(DType::F64, &[&[5]], range)].concat()
}

fn int_samples() -> Vec<Sample> {
    let signed = [DType::I64, DType::I32].map(|t| pairs(t, &[&[], &[29]], (-9.0, 9.0)));
    [signed.concat(), pairs(DType::U8, &[&[29]], (0.0, 255.0))].concat()
}

fn number_samples() -> Vec<Sample> {
    [float_samples((-3.0, 3.0)), int_samples()].concat()
}

fn divisor_samples() -> Vec<Sample> {
    let mut samples = number_samples();
    for sample in samples.iter_mut().filter(|s| s.args[1].dtype.is_float()) {
        sample.ranges[1] = (0.3, 3.0);
    }
    samples
}

fn truth_samples() -> Vec<Sample> {
    pairs(DType::Bool, &[&[], &[37]], (0.0, 1.0))
}

fn equality_samples() -> Vec<Sample> {
    [number_samples(), truth_samples()].concat()
}
