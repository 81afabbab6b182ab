//! The meaning of single operations on constants.

use super::math;
use super::*;

/// An integer's value.
pub fn int(x: Lit) -> i64 {
    if x.dtype == DType::I32 { i64::from(x.bits as u32 as i32) } else { x.bits as i64 }
}

/// Any number's value as a double (exact except for large I64).
pub fn float(x: Lit) -> f64 {
    match x.dtype {
        DType::F32 => f64::from(f32::from_bits(x.bits as u32)),
        DType::F64 => f64::from_bits(x.bits),
        _ => int(x) as f64,
    }
}

/// How two numbers of one type are ordered: NaN, equal to itself, is greater than all.
pub fn order(a: Lit, b: Lit) -> std::cmp::Ordering {
    if !a.dtype.is_float() {
        return int(a).cmp(&int(b));
    }
    let (a, b) = (float(a), float(b));
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn of_float(dtype: DType, x: f64) -> Lit {
    if dtype == DType::F32 { Lit::f32(x as f32) } else { Lit::f64(x) }
}

fn of_int(dtype: DType, x: i64) -> Lit {
    match dtype {
        DType::I32 => Lit::i32(x as i32),
        DType::Bool => Lit::bool(x & 1 != 0),
        _ => Lit::i64(x),
    }
}

/// A unary operation.
pub fn unary(op: UnOp, x: Lit) -> Lit {
    if !x.dtype.is_float() {
        let i = int(x);
        return of_int(
            x.dtype,
            match op {
                UnOp::Neg => i.wrapping_neg(),
                UnOp::Abs => i.wrapping_abs(),
                _ => !i,
            },
        );
    }
    // Sign changes keep a NaN's other bits.
    let sign = if x.dtype == DType::F32 { 1 << 31 } else { 1 << 63 };
    let f = float(x);
    let result = match op {
        UnOp::Neg => return Lit { bits: x.bits ^ sign, ..x },
        UnOp::Abs => return Lit { bits: x.bits & !sign, ..x },
        UnOp::Not => f,
        UnOp::Sqrt => f.sqrt(),
        UnOp::Rsqrt => 1.0 / f.sqrt(),
        UnOp::Floor => f.floor(),
        UnOp::Ceil => f.ceil(),
        UnOp::Round => f.round_ties_even(),
        UnOp::Trunc => f.trunc(),
        UnOp::Exp => f.exp(),
        UnOp::Expm1 => f.exp_m1(),
        UnOp::Log => f.ln(),
        UnOp::Log1p => f.ln_1p(),
        UnOp::Tanh => f.tanh(),
        UnOp::Sigmoid => math::sigmoid(f),
        UnOp::Erf => math::erf(f),
        UnOp::Sin => f.sin(),
        UnOp::Cos => f.cos(),
    };
    of_float(x.dtype, result)
}

/// A binary operation on two values of one type.
pub fn binary(op: BinOp, a: Lit, b: Lit) -> Lit {
    let dtype = a.dtype;
    if dtype == DType::F32 || dtype == DType::F64 {
        let (x, y) = (float(a), float(b));
        let nan = x.is_nan() || y.is_nan();
        return of_float(
            dtype,
            match op {
                BinOp::Add => x + y,
                BinOp::Sub => x - y,
                BinOp::Mul => x * y,
                BinOp::Div => x / y,
                BinOp::Rem => x % y,
                BinOp::Pow => x.powf(y),
                BinOp::Scale => x * y.exp2(),
                BinOp::Max | BinOp::Min if nan => f64::NAN,
                BinOp::Max => x.max(y),
                BinOp::Min => x.min(y),
                _ => f64::NAN,
            },
        );
    }
    let (x, y) = (int(a), int(b));
    let wide = if dtype == DType::I32 { 32 } else { 64 };
    let unsigned = |x: i64| if wide == 32 { u64::from(x as u32) } else { x as u64 };
    of_int(
        dtype,
        match op {
            // A sum of truth values is their disjunction.
            BinOp::Add if dtype == DType::Bool => x | y,
            BinOp::Add => x.wrapping_add(y),
            BinOp::Sub => x.wrapping_sub(y),
            BinOp::Mul => x.wrapping_mul(y),
            BinOp::Div => x.checked_div(y).unwrap_or(if y == 0 { 0 } else { x.wrapping_neg() }),
            BinOp::Rem => x.checked_rem(y).unwrap_or(0),
            BinOp::Max => x.max(y),
            BinOp::Min => x.min(y),
            BinOp::And => x & y,
            BinOp::Or => x | y,
            BinOp::Xor => x ^ y,
            BinOp::Shl => x.wrapping_shl(y as u32),
            BinOp::Shr => (unsigned(x) >> y) as i64,
            BinOp::Sar => x >> y,
            BinOp::MulHiU => ((unsigned(x) * unsigned(y)) >> 32) as i64,
            BinOp::Pow | BinOp::Scale => 0,
        },
    )
}

/// A comparison.
pub fn compare(op: CmpOp, a: Lit, b: Lit) -> bool {
    let order = if a.dtype.is_float() { float(a).partial_cmp(&float(b)) } else { Some(int(a).cmp(&int(b))) };
    match op {
        CmpOp::Eq => order.is_some_and(|o| o.is_eq()),
        CmpOp::Ne => order.is_none_or(|o| o.is_ne()),
        CmpOp::Lt => order.is_some_and(|o| o.is_lt()),
        CmpOp::Le => order.is_some_and(|o| o.is_le()),
        CmpOp::Gt => order.is_some_and(|o| o.is_gt()),
        CmpOp::Ge => order.is_some_and(|o| o.is_ge()),
    }
}

/// `a * b + c` with one rounding.
pub fn mul_add(a: Lit, b: Lit, c: Lit) -> Lit {
    if a.dtype == DType::F64 {
        return Lit::f64(float(a).mul_add(float(b), float(c)));
    }
    let single = |x: Lit| f32::from_bits(x.bits as u32);
    Lit::f32(single(a).mul_add(single(b), single(c)))
}

/// A conversion.
pub fn cast(x: Lit, to: DType) -> Lit {
    let from_float = x.dtype.is_float();
    match to {
        DType::F32 if from_float => Lit::f32(float(x) as f32),
        DType::F32 => Lit::f32(int(x) as f32),
        DType::F64 => Lit::f64(float(x)),
        DType::I64 if from_float => Lit::i64(float(x) as i64),
        DType::I64 => Lit::i64(int(x)),
        DType::I32 if from_float => Lit::i32(float(x) as i32),
        DType::I32 => Lit::i32(int(x) as i32),
        DType::U8 if from_float => Lit::i32(i32::from(float(x) as u8)),
        DType::U8 => Lit::i32(int(x) as i32 & 255),
        DType::Bool if from_float => Lit::bool(float(x) != 0.0),
        DType::Bool => Lit::bool(int(x) != 0),
    }
}

/// One step of a reduction: the accumulator after it, and whether the new value took its place.
pub fn reduce(op: ReduceOp, best: Option<Lit>, x: Lit) -> (Lit, bool) {
    let Some(best) = best else { return (x, true) };
    let combine = match op {
        ReduceOp::Sum => BinOp::Add,
        ReduceOp::Prod => BinOp::Mul,
        ReduceOp::Max => BinOp::Max,
        ReduceOp::Min => BinOp::Min,
        ReduceOp::ArgMax | ReduceOp::ArgMin => {
            let cmp = if op == ReduceOp::ArgMax { CmpOp::Gt } else { CmpOp::Lt };
            let nan = |x: Lit| x.dtype.is_float() && float(x).is_nan();
            let taken = compare(cmp, x, best) || nan(x) && !nan(best);
            return (if taken { x } else { best }, taken);
        }
    };
    (binary(combine, best, x), false)
}

/// The value of a reduction over nothing.
pub fn identity(op: ReduceOp, dtype: DType) -> Lit {
    let least = matches!(op, ReduceOp::Max | ReduceOp::ArgMax);
    match (op, dtype) {
        (ReduceOp::Sum, _) => Lit { dtype, bits: 0 },
        (ReduceOp::Prod, DType::F32) => Lit::f32(1.0),
        (ReduceOp::Prod, DType::F64) => Lit::f64(1.0),
        (ReduceOp::Prod, _) => Lit { dtype, bits: 1 },
        (_, DType::F32) => Lit::f32(if least { f32::NEG_INFINITY } else { f32::INFINITY }),
        (_, DType::F64) => Lit::f64(if least { f64::NEG_INFINITY } else { f64::INFINITY }),
        (_, DType::I64) => Lit::i64(if least { i64::MIN } else { i64::MAX }),
        (_, DType::Bool) => Lit::bool(!least),
        (_, DType::I32 | DType::U8) => Lit::i32(if least { i32::MIN } else { i32::MAX }),
    }
}
