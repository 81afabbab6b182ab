//! Single-precision functions in basic operations.
//!
//! The greatest errors over all 2^32 numbers, in units in the last place, as `benches/accuracy.rs` finds them against
//! double precision. They are the same on all CPUs with fused multiply-add; without it sine and cosine are the standard
//! library's, and a reciprocal root is a quotient.
//!
//! | function | fused | not fused | | function | fused | not fused |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | `exp` | 1.02 | 1.00 | | `erf` | 5.85 | 6.98 |
//! | `expm1` | 1.51 | 1.64 | | `sin` | 0.94 | 0.56 |
//! | `log` | 3.34 | 3.52 | | `cos` | 0.92 | 0.56 |
//! | `log1p` | 3.84 | 4.02 | | `rsqrt` | 0.50 | 1.49 |
//! | `tanh` | 2.57 | 2.61 | | `sqrt` | 0.50 | 0.50 |
//! | `sigmoid` | 2.40 | 2.40 | | | | |
//!
//! NaN stays NaN, infinities and zeros give what IEEE 754 says, results may be subnormal. Coefficients: Arm optimized
//! routines (MIT or Apache-2.0 with LLVM exception) and XNNPACK (BSD-3-Clause), unless another source is named.

use super::*;

/// Adding this rounds a number below 2^22 to the nearest integer, which then stands in the low bits.
pub(super) const ROUNDER: f32 = 12_582_912.0;
const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts; the first has 12 bits, so that small multiples of it are exact.
const LN2_HIGH: f32 = 0.693_145_75;
const LN2_LOW: f32 = 1.428_606_8e-6;

/// `e^x`, 1.1 ulp.
pub(super) fn exp(k: &mut Builder, x: Value) -> Value {
    // Beyond these the result is 0 or infinite anyway.
    let x = clamp(k, x, -104.0, 89.0);
    let (whole, _, p) = reduced(k, x);
    let one = k.f32(1.0);
    let y = k.add(p, one);
    k.bin(BinOp::Scale, y, whole)
}

/// `e^x - 1`, 1.6 ulp.
pub(super) fn expm1(k: &mut Builder, x: Value) -> Value {
    let clamped = clamp(k, x, -40.0, 89.0);
    let (_, t, p) = reduced(k, clamped);
    let n = low_bits(k, t);
    // 2^n p + 2^n - 1 = 2^b (2^a p + 2^a - 2^-b) where n = a + b, neither of which overflows.
    let (a, b) = halves(k, n);
    let zero = k.i32(0);
    let minus_b = k.sub(zero, b);
    let (a, b, minus_b) = (power(k, a), power(k, b), power(k, minus_b));
    let rest = k.sub(a, minus_b);
    let y = k.mul_add(a, p, rest);
    let y = k.mul(y, b);
    keep_zero(k, x, y)
}

/// `ln x`, 3.4 ulp.
pub(super) fn log(k: &mut Builder, x: Value) -> Value {
    let y = log_positive(k, x);
    log_special(k, x, x, y)
}

/// `ln(1 + x)`, 4 ulp.
pub(super) fn log1p(k: &mut Builder, x: Value) -> Value {
    let one = k.f32(1.0);
    let u = k.add(x, one);
    let y = log_positive(k, u);
    // What the sum lost, to first order.
    let back = k.sub(u, one);
    let lost = k.sub(x, back);
    let correction = k.div(lost, u);
    let y = k.add(y, correction);
    let y = log_special(k, x, u, y);
    keep_zero(k, x, y)
}

/// Hyperbolic tangent, 2.6 ulp.
pub(super) fn tanh(k: &mut Builder, x: Value) -> Value {
    let (magnitude, sign) = split_sign(k, x);
    let top = k.f32(9.02);
    let t = k.bin(BinOp::Min, top, magnitude);
    let t = k.add(t, t);
    let (_, t, p) = reduced(k, t);
    let n = low_bits(k, t);
    let scale = power(k, n);
    let one = k.f32(1.0);
    let rest = k.sub(scale, one);
    let q = k.mul_add(scale, p, rest);
    let two = k.f32(2.0);
    let below = k.add(q, two);
    let y = k.div(q, below);
    join_sign(k, y, sign)
}

/// `1 / (1 + e^-x)`, 2.4 ulp.
pub(super) fn sigmoid(k: &mut Builder, x: Value) -> Value {
    let magnitude = k.un(UnOp::Abs, x);
    let minus = k.un(UnOp::Neg, magnitude);
    let e = exp(k, minus);
    let one = k.f32(1.0);
    let below = k.add(e, one);
    let f = k.div(e, below);
    let mirrored = k.sub(one, f);
    let zero = k.f32(0.0);
    let positive = k.cmp(CmpOp::Gt, x, zero);
    k.select(positive, mirrored, f)
}

/// Error function, 5.9 ulp, absolute error 3.5e-7. One of 1 ulp takes twice as long, and with it GELU.
#[expect(clippy::approx_constant, reason = "a fitted coefficient near 2 / sqrt(pi), one bit below it")]
pub(super) fn erf(k: &mut Builder, x: Value) -> Value {
    // XNNPACK's ratio of polynomials in `x sqrt 2`, whose root is in the coefficients.
    let x = clamp(k, x, -3.651_378_4, 3.651_378_4);
    let t = k.mul(x, x);
    let above =
        horner(k, t, &[2.074_269_8e-6, 2.853_268_5e-4, 3.730_482_2e-3, 5.264_559e-2, 1.894_259_2e-1, 1.128_379_1]);
    let below = horner(k, t, &[3.836_418e-5, 1.156_282_5e-3, 1.489_827_4e-2, 1.137_279_1e-1, 5.012_070_5e-1, 1.0]);
    let ratio = k.div(above, below);
    let y = k.mul(x, ratio);
    clamp(k, y, -1.0, 1.0)
}

/// `sin z` for `|z| <= pi / 2`, 1 ulp.
pub(super) fn sin_quarter(k: &mut Builder, z: Value) -> Value {
    let square = k.mul(z, z);
    let p = horner(k, square, &[2.610_595_9e-6, -1.981_199_5e-4, 8.333_103e-3, -1.666_666_1e-1]);
    let cube = k.mul(square, z);
    k.mul_add(cube, p, z)
}

/// `1 / sqrt(x)`, 0.51 ulp: the quotient with a step of Newton's method, whose residual is exact.
pub(super) fn rsqrt(k: &mut Builder, x: Value) -> Value {
    let y = k.un(UnOp::Rsqrt, x);
    let minus = k.un(UnOp::Neg, y);
    let h = k.mul(x, y);
    let minus_h = k.un(UnOp::Neg, h);
    let low = k.mul_add(x, y, minus_h);
    let one = k.f32(1.0);
    let e = k.mul_add(h, minus, one);
    let e = k.mul_add(low, minus, e);
    let half = k.f32(0.5);
    let half = k.mul(half, y);
    let better = k.mul_add(half, e, y);
    // Zero and infinity have no residual.
    let number = k.cmp(CmpOp::Eq, e, e);
    k.select(number, better, y)
}

/// The integer `n`, the same in the low bits of a number, and `e^r - 1`, where `x = n ln 2 + r` and `|r| <= ln 2 / 2`.
fn reduced(k: &mut Builder, x: Value) -> (Value, Value, Value) {
    let (factor, rounder) = (k.f32(LOG2_E), k.f32(ROUNDER));
    let t = k.mul_add(x, factor, rounder);
    let whole = k.sub(t, rounder);
    let (high, low) = (k.f32(-LN2_HIGH), k.f32(-LN2_LOW));
    let r = k.mul_add(whole, high, x);
    let r = k.mul_add(whole, low, r);
    let p = horner(k, r, &[1.386_011_1e-3, 8.366_642_5e-3, 4.166_756_2e-2, 1.666_654_2e-1, 4.999_999_7e-1]);
    let square = k.mul(r, r);
    (whole, t, k.mul_add(square, p, r))
}

/// The integer (I32) that was added to [`ROUNDER`].
fn low_bits(k: &mut Builder, t: Value) -> Value {
    let bits = k.let_(Expr::Bitcast(t, DType::I32));
    let base = k.i32(ROUNDER.to_bits() as i32);
    k.sub(bits, base)
}

/// `n` as a sum of two integers of half its size.
fn halves(k: &mut Builder, n: Value) -> (Value, Value) {
    let one = k.i32(1);
    let half = k.bin(BinOp::Sar, n, one);
    (half, k.sub(n, half))
}

/// `2^n` for -126 <= n <= 127.
fn power(k: &mut Builder, n: Value) -> Value {
    let bias = k.i32(127);
    let exponent = k.add(n, bias);
    let mantissa = k.i32(23);
    let bits = k.bin(BinOp::Shl, exponent, mantissa);
    k.let_(Expr::Bitcast(bits, DType::F32))
}

/// `ln x` of a positive finite number.
fn log_positive(k: &mut Builder, x: Value) -> Value {
    // Subnormals are scaled by 2^23.
    let least = k.f32(f32::MIN_POSITIVE);
    let tiny = k.cmp(CmpOp::Lt, x, least);
    let scale = k.f32(8_388_608.0);
    let scaled = k.mul(x, scale);
    let x = k.select(tiny, scaled, x);
    let bits = k.let_(Expr::Bitcast(x, DType::I32));
    let offset = k.i32(0x3F2A_AAAB);
    let u = k.sub(bits, offset);
    let width = k.i32(23);
    let n = k.bin(BinOp::Sar, u, width);
    let n = k.cast(n, DType::F32);
    let (shift, zero) = (k.f32(-23.0), k.f32(0.0));
    let shift = k.select(tiny, shift, zero);
    let n = k.add(n, shift);
    let mask = k.i32(0x7F_FFFF);
    let mantissa = k.bin(BinOp::And, u, mask);
    let mantissa = k.add(mantissa, offset);
    let mantissa = k.let_(Expr::Bitcast(mantissa, DType::F32));
    let one = k.f32(1.0);
    let r = k.sub(mantissa, one);
    let square = k.mul(r, r);
    let c: Vec<Value> =
        [-0.155_493_7, 0.169_240_25, -0.163_866_43, 0.198_278_96, -0.250_093_4, 0.333_364_43, -0.499_999_17]
            .into_iter()
            .map(|c| k.f32(c))
            .collect();
    let p = k.mul_add(c[1], r, c[2]);
    let p = k.mul_add(c[0], square, p);
    let q = k.mul_add(c[3], r, c[4]);
    let q = k.mul_add(p, square, q);
    let y = k.mul_add(c[5], r, c[6]);
    let y = k.mul_add(q, square, y);
    let ln2 = k.f32(std::f32::consts::LN_2);
    let head = k.mul_add(n, ln2, r);
    k.mul_add(y, square, head)
}

/// `y`, the logarithm of `u`, where `u` is positive and `x` finite; else what a logarithm of `u` is.
fn log_special(k: &mut Builder, x: Value, u: Value, y: Value) -> Value {
    let (infinity, zero) = (k.f32(f32::INFINITY), k.f32(0.0));
    let finite = k.cmp(CmpOp::Lt, x, infinity);
    let y = k.select(finite, y, x);
    let (pole, nan) = (k.f32(f32::NEG_INFINITY), k.f32(f32::NAN));
    let is_zero = k.cmp(CmpOp::Eq, u, zero);
    let other = k.select(is_zero, pole, nan);
    let positive = k.cmp(CmpOp::Gt, u, zero);
    k.select(positive, y, other)
}

/// `x` where it is a zero, else `y`.
fn keep_zero(k: &mut Builder, x: Value, y: Value) -> Value {
    let zero = k.f32(0.0);
    let is_zero = k.cmp(CmpOp::Eq, x, zero);
    k.select(is_zero, x, y)
}

/// Bounds `x`; NaN stays.
fn clamp(k: &mut Builder, x: Value, lo: f32, hi: f32) -> Value {
    let (lo, hi) = (k.f32(lo), k.f32(hi));
    let x = k.bin(BinOp::Max, lo, x);
    k.bin(BinOp::Min, hi, x)
}

fn split_sign(k: &mut Builder, x: Value) -> (Value, Value) {
    let bits = k.let_(Expr::Bitcast(x, DType::I32));
    let mask = k.i32(i32::MIN);
    let sign = k.bin(BinOp::And, bits, mask);
    (k.un(UnOp::Abs, x), sign)
}

fn join_sign(k: &mut Builder, magnitude: Value, sign: Value) -> Value {
    let bits = k.let_(Expr::Bitcast(magnitude, DType::I32));
    let bits = k.bin(BinOp::Or, bits, sign);
    k.let_(Expr::Bitcast(bits, DType::F32))
}

/// A polynomial, highest coefficient first.
pub(super) fn horner(k: &mut Builder, x: Value, coefficients: &[f32]) -> Value {
    let first = k.f32(coefficients[0]);
    coefficients[1..].iter().fold(first, |sum, c| {
        let c = k.f32(*c);
        k.mul_add(sum, x, c)
    })
}
