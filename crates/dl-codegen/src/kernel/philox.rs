//! Random numbers by counter in basic operations; the meaning is `dl_ir::random`.

use super::vecmath::{log, sin_quarter};
use super::*;

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The four words of an element. `small` says that its number fits 32 bits.
pub(super) fn words(
    k: &mut Builder,
    (seed, step): (Value, Value),
    stream: u32,
    index: &Affine,
    small: bool,
) -> [Value; 4] {
    let mut key = [low(k, seed), high(k, seed)];
    let index = k.let_(Expr::Index(index.clone()));
    let top = if small { k.i32(0) } else { high(k, index) };
    let mut c = [low(k, index), top, k.i32(stream as i32), low(k, step)];
    let multipliers = MULTIPLIERS.map(|m| k.i32(m as i32));
    let weyl = WEYL.map(|w| k.i32(w as i32));
    for round in 0..10 {
        let product = |k: &mut Builder, x: Value, m: Value| (k.bin(BinOp::MulHiU, x, m), k.mul(x, m));
        let (a_high, a_low) = product(k, c[0], multipliers[0]);
        let (b_high, b_low) = product(k, c[2], multipliers[1]);
        let mix = |k: &mut Builder, high: Value, word: Value, key: Value| {
            let word = k.bin(BinOp::Xor, word, key);
            k.bin(BinOp::Xor, high, word)
        };
        c = [mix(k, b_high, c[1], key[0]), b_low, mix(k, a_high, c[3], key[1]), a_low];
        if round < 9 {
            key = [k.add(key[0], weyl[0]), k.add(key[1], weyl[1])];
        }
    }
    c
}

/// A word as a uniform number in [0, 1).
pub(super) fn unit(k: &mut Builder, word: Value) -> Value {
    let bits = k.i32(8);
    let word = k.bin(BinOp::Shr, word, bits);
    let x = k.cast(word, DType::F32);
    let scale = k.f32(1.0 / 16_777_216.0);
    k.mul(x, scale)
}

/// Two words as a standard normal number, by Box and Muller's transform.
pub(super) fn normal(k: &mut Builder, first: Value, second: Value) -> Value {
    let one = k.f32(1.0);
    let u = unit(k, first);
    // 1 - u lies in (0, 1], where the logarithm is finite; the difference is exact.
    let u = k.sub(one, u);
    let logarithm = log(k, u);
    let minus_two = k.f32(-2.0);
    let square = k.mul(minus_two, logarithm);
    let radius = k.un(UnOp::Sqrt, square);
    // cos(2 pi t) = sin(2 pi (1/4 - |t|)) for |t| <= 1/2.
    let t = unit(k, second);
    let nearest = k.un(UnOp::Round, t);
    let t = k.sub(t, nearest);
    let t = k.un(UnOp::Abs, t);
    let quarter = k.f32(0.25);
    let turn = k.sub(quarter, t);
    let tau = k.f32(std::f32::consts::TAU);
    let angle = k.mul(turn, tau);
    let cosine = sin_quarter(k, angle);
    k.mul(radius, cosine)
}

/// The low 32 bits of an I64.
fn low(k: &mut Builder, x: Value) -> Value {
    k.cast(x, DType::I32)
}

/// The high 32 bits of an I64.
fn high(k: &mut Builder, x: Value) -> Value {
    let amount = k.lit(Lit::i64(32));
    let x = k.bin(BinOp::Shr, x, amount);
    low(k, x)
}
