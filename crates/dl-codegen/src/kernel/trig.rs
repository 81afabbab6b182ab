//! Sine and cosine in single precision, with fused multiply-add: 1 ulp for all numbers.
//!
//! The nearest multiple of pi/2 is taken off in three parts, which leaves a sum of two numbers; far from zero it is
//! found from the bits of 2/pi that matter (Payne and Hanek), in a block that is skipped where no lane needs it.

use super::vecmath::{ROUNDER, horner};
use super::*;

/// Up to here multiples of pi/2 have 16 bits, for which its three parts are enough.
const NEAR: f32 = 1e5;
/// pi/2 in three parts of 24 bits.
const PARTS: [f32; 3] = [1.570_796_4, -4.371_139e-8, -1.715_124_5e-15];
/// The bits of 2/pi behind the point, behind two words of zeros.
const TWO_OVER_PI: [u32; 9] =
    [0, 0, 0xA2F9_836E, 0x4E44_1529, 0xFC27_57D1, 0xF534_DDC0, 0xDB62_9599, 0x3C43_9041, 0xFE51_63AB];

/// `sin x`.
pub(super) fn sin(k: &mut Builder, x: Value) -> Value {
    let magnitude = k.un(UnOp::Abs, x);
    let (n, high, low) = reduced(k, magnitude);
    let y = quadrant(k, n, high, low);
    let bits = k.let_(Expr::Bitcast(x, DType::I32));
    let mask = k.i32(i32::MIN);
    let sign = k.bin(BinOp::And, bits, mask);
    let y = k.let_(Expr::Bitcast(y, DType::I32));
    let y = k.bin(BinOp::Xor, y, sign);
    k.let_(Expr::Bitcast(y, DType::F32))
}

/// `cos x`, which is `sin (x + pi/2)`.
pub(super) fn cos(k: &mut Builder, x: Value) -> Value {
    let magnitude = k.un(UnOp::Abs, x);
    let (n, high, low) = reduced(k, magnitude);
    let one = k.i32(1);
    let n = k.add(n, one);
    quadrant(k, n, high, low)
}

/// `x = n pi/2 + high + low`, where `|high + low| <= pi/4`, of a number without sign. Of `n` only the last two bits
/// are right.
fn reduced(k: &mut Builder, x: Value) -> (Value, Value, Value) {
    let (factor, rounder) = (k.f32(std::f32::consts::FRAC_2_PI), k.f32(ROUNDER));
    let t = k.mul_add(x, factor, rounder);
    let n = k.let_(Expr::Bitcast(t, DType::I32));
    let whole = k.sub(t, rounder);
    let [first, second, third] = PARTS.map(|part| k.f32(-part));
    // Exact, as is the sum of `r` and `p`, with what each loses: no bit of `r` is below those of `p`.
    let r = k.mul_add(whole, first, x);
    let p = k.mul(whole, second);
    let minus = k.un(UnOp::Neg, p);
    let lost = k.mul_add(whole, second, minus);
    let high = k.add(r, p);
    let rest = k.sub(r, high);
    let rest = k.add(rest, p);
    let low = k.add(rest, lost);
    let low = k.mul_add(whole, third, low);
    let bits = k.let_(Expr::Bitcast(x, DType::I32));
    let (near, infinite) = (k.i32(NEAR.to_bits() as i32), k.i32(f32::INFINITY.to_bits() as i32));
    let far = k.cmp(CmpOp::Gt, bits, near);
    let finite = k.cmp(CmpOp::Lt, bits, infinite);
    let far = k.bin(BinOp::And, far, finite);
    let [n, high, low] = k.rarely(far, [n, high, low], |k| reduced_far(k, bits));
    (n, high, low)
}

/// `sin (high + low + n pi/2)`.
fn quadrant(k: &mut Builder, n: Value, high: Value, low: Value) -> Value {
    let square = k.mul(high, high);
    let p = horner(k, square, &[-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1]);
    let cube = k.mul(square, high);
    let p = k.mul_add(cube, p, low);
    let sine = k.add(high, p);
    // 1 - square/2 as a sum of two numbers.
    let q = horner(k, square, &[2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2]);
    let fourth = k.mul(square, square);
    let (one, half) = (k.f32(1.0), k.f32(-0.5));
    let top = k.mul_add(square, half, one);
    let rest = k.sub(one, top);
    let rest = k.mul_add(square, half, rest);
    let q = k.mul_add(fourth, q, rest);
    let minus = k.un(UnOp::Neg, high);
    let q = k.mul_add(low, minus, q);
    let cosine = k.add(top, q);
    let (one, zero) = (k.i32(1), k.i32(0));
    let odd = k.bin(BinOp::And, n, one);
    let odd = k.cmp(CmpOp::Ne, odd, zero);
    let y = k.select(odd, cosine, sine);
    let thirty = k.i32(30);
    let sign = k.bin(BinOp::Shl, n, thirty);
    let mask = k.i32(i32::MIN);
    let sign = k.bin(BinOp::And, sign, mask);
    let y = k.let_(Expr::Bitcast(y, DType::I32));
    let y = k.bin(BinOp::Xor, y, sign);
    k.let_(Expr::Bitcast(y, DType::F32))
}

/// What [`reduced`] is of a large number, from its bits.
fn reduced_far(k: &mut Builder, bits: Value) -> [Value; 3] {
    // The number is (m1 2^32 + m0) 2^(32 (j - 1)): its mantissa, moved by what is left of the exponent.
    let [width, fraction, hidden] = [23, 0x7F_FFFF, 0x80_0000].map(|x| k.i32(x));
    let exponent = k.bin(BinOp::Shr, bits, width);
    let mantissa = k.bin(BinOp::And, bits, fraction);
    let mantissa = k.bin(BinOp::Or, mantissa, hidden);
    let [bias, five, low_bits] = [118, 5, 31].map(|x| k.i32(x));
    let moved = k.sub(exponent, bias);
    let j = k.bin(BinOp::Shr, moved, five);
    let by = k.bin(BinOp::And, moved, low_bits);
    let zero = k.i32(0);
    let mut power = k.i32(1);
    for bit in 0..5 {
        let [mask, amount] = [1 << bit, 1 << bit].map(|x| k.i32(x));
        let set = k.bin(BinOp::And, by, mask);
        let set = k.cmp(CmpOp::Ne, set, zero);
        let more = k.bin(BinOp::Shl, power, amount);
        power = k.select(set, more, power);
    }
    let (m0, m1) = (k.mul(mantissa, power), k.bin(BinOp::MulHiU, mantissa, power));
    // Bits of 2/pi before these words give multiples of 4, bits behind them nothing that counts.
    let [a, b, c, d, e] = std::array::from_fn(|i| {
        let first = k.i32(TWO_OVER_PI[i] as i32);
        (1..5).fold(first, |word, at| {
            let (number, other) = (k.i32(at), k.i32(TWO_OVER_PI[i + at as usize] as i32));
            let here = k.cmp(CmpOp::Ge, j, number);
            k.select(here, other, word)
        })
    });
    // The product with 2/pi, modulo 4: an integer and a fraction of two words.
    let high = |k: &mut Builder, x: Value, y: Value| k.bin(BinOp::MulHiU, x, y);
    let terms = [k.mul(m0, c), high(k, m0, d), k.mul(m1, d), high(k, m1, e)];
    let (tail, carried) = sum(k, &terms);
    let terms = [k.mul(m0, b), high(k, m0, c), k.mul(m1, c), high(k, m1, d), carried];
    let (head, carried) = sum(k, &terms);
    let terms = [k.mul(m0, a), high(k, m0, b), k.mul(m1, b), high(k, m1, c), carried];
    let (n, _) = sum(k, &terms);
    // To the nearest integer: the fraction as a signed number.
    let top = k.i32(31);
    let up = k.bin(BinOp::Shr, head, top);
    let n = k.add(n, up);
    let [eight, sixteen, byte, half] = [8, 16, 0xFF, 0xFFFF].map(|x| k.i32(x));
    let first = k.bin(BinOp::Sar, head, eight);
    let second = k.bin(BinOp::And, head, byte);
    let second = k.bin(BinOp::Shl, second, sixteen);
    let upper = k.bin(BinOp::Shr, tail, sixteen);
    let second = k.bin(BinOp::Or, second, upper);
    let third = k.bin(BinOp::And, tail, half);
    let [first, second, third] = [(first, -24), (second, -48), (third, -64)].map(|(bits, exponent)| {
        let (x, scale) = (k.cast(bits, DType::F32), k.f32(2f32.powi(exponent)));
        k.mul(x, scale)
    });
    // As a sum of two numbers, times pi/2.
    let s = k.add(first, second);
    let rest = k.sub(s, first);
    let rest = k.sub(second, rest);
    let rest = k.add(rest, third);
    let whole = k.add(s, rest);
    let back = k.sub(whole, s);
    let rest = k.sub(rest, back);
    let [part, next] = [PARTS[0], PARTS[1]].map(|part| k.f32(part));
    let high = k.mul(whole, part);
    let minus = k.un(UnOp::Neg, high);
    let low = k.mul_add(whole, part, minus);
    let low = k.mul_add(whole, next, low);
    let low = k.mul_add(rest, part, low);
    // So that the second is small beside the first.
    let sum = k.add(high, low);
    let back = k.sub(sum, high);
    let low = k.sub(low, back);
    [n, sum, low]
}

/// The sum of unsigned numbers and how often it overflows.
fn sum(k: &mut Builder, terms: &[Value]) -> (Value, Value) {
    let [mask, zero, one] = [i32::MIN, 0, 1].map(|x| k.i32(x));
    terms[1..].iter().fold((terms[0], zero), |(sum, carries), term| {
        let next = k.add(sum, *term);
        let (a, b) = (k.bin(BinOp::Xor, next, mask), k.bin(BinOp::Xor, sum, mask));
        let over = k.cmp(CmpOp::Lt, a, b);
        let more = k.add(carries, one);
        (next, k.select(over, more, carries))
    })
}
