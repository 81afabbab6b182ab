//! Leaves of contractions: random sizes, steps, loops of the sum, types and epilogues, with buffers that end at pages
//! without rights, and the count of leaves, so that none falls back unseen.

mod common;

use common::{Numbers, check, check_leaves, fill, near};
use dl_codegen::Level;
use dl_codegen::kernel::*;

const F32: DType = DType::F32;
const F64: DType = DType::F64;

struct Draw(Numbers);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        (self.0.next() >> 8) % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Which leaves contractions of a type have.
fn leaves(dtype: DType) -> impl Fn(Level) -> usize {
    move |level| usize::from(level == Level::Avx512 || dtype == F32)
}

fn tolerance(dtype: DType, depth: i64) -> common::Tolerance {
    near(if dtype == F32 { 1e-6 } else { 1e-14 } * depth.max(16) as f64)
}

/// A place that is dense but for gaps, in a buffer that ends with its last element.
struct Strides {
    /// Elements from step to step of each variable.
    steps: Vec<(Var, i64)>,
    /// One more than the last element.
    len: i64,
}

/// Lays axes out in order, the last one dense, with a gap in front of some.
fn strides(draw: &mut Draw, axes: &[(Var, i64)]) -> Strides {
    let (mut step, mut steps, mut last) = (1, vec![], 0);
    for &(var, extent) in axes.iter().rev() {
        steps.push((var, step));
        last += step * (extent - 1).max(0);
        step = step * extent.max(1) + draw.pick(&[0, 0, 0, 3]);
    }
    Strides { steps, len: last + 1 }
}

impl Strides {
    fn at(&self) -> Affine {
        self.steps.iter().fold(Affine::from(0), |at, &(var, step)| at.plus(var, step))
    }
}

/// The bounds of a loop of the sum: numbers, or the part's.
#[derive(Clone, Copy, Debug)]
enum Bounds {
    Fixed(i64, i64),
    /// Nothing in part 0, and more and more.
    Part,
}

const PARTS: u64 = 3;

/// The kernel, whether AVX2 has a leaf for it, and the steps of its sum.
fn random(seed: u64) -> (Kernel, bool, i64) {
    let mut draw = Draw(Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1));
    let dtype = draw.pick(&[F32, F32, F32, F64]);
    let (m, n) = (1 + draw.below(70), 2 + draw.below(69));
    let (m, n) = if draw.below(3) == 0 { (1 + m % 9, n) } else { (m, n) };
    let k: Vec<Bounds> = (0..1 + draw.below(3))
        .map(|_| match draw.below(5) {
            0 => Bounds::Part,
            1 => Bounds::Fixed(draw.below(3) as i64, 2),
            _ => Bounds::Fixed(0, 1 + draw.below(12) as i64),
        })
        .collect();
    let k: Vec<Bounds> =
        if k.len() == 1 && draw.below(2) == 0 { vec![Bounds::Fixed(0, 1 + draw.below(70) as i64)] } else { k };
    let most = |b: &Bounds| match b {
        Bounds::Fixed(_, hi) => *hi,
        Bounds::Part => 2 * PARTS as i64,
    };
    let ranges: Vec<(Affine, Affine)> = k
        .iter()
        .map(|b| match b {
            Bounds::Fixed(lo, hi) => (Affine::from(*lo), Affine::from(*hi)),
            Bounds::Part => (Var::PART * 1, Var::PART * 2 + Affine::from(0)),
        })
        .collect();
    let depth: i64 = k.iter().map(|b| most(b).max(1)).product();
    let name = format!("random_{seed}_{m}x{n}_{k:?}").replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let mut b = Builder::new(name, PARTS);
    let (ends, add) = (draw.below(7), draw.below(2) == 0);
    let mut sizes = vec![];
    let mut places = vec![];
    // Buffers are declared before their lengths are known, and get them at the end.
    let bufs = [b.buf(dtype, 1, Access::Read), b.buf(dtype, 1, Access::Read)];
    let count = PARTS * m * n;
    let c = b.buf(dtype, count, Access::ReadWrite);
    let extras: Vec<BufId> = (0..3).map(|_| b.buf(dtype, count, Access::Read)).collect();
    let chosen = b.buf(DType::Bool, PARTS * m * n, Access::Read);
    let other = b.buf(if dtype == F32 { F64 } else { F32 }, PARTS * m * n, Access::Read);
    let bias = b.buf(dtype, n, Access::Read);
    let rows = b.buf(dtype, m, Access::Read);
    let lanes = Lanes::N;
    b.contract(
        (m, n),
        &ranges,
        lanes,
        |_, i, j, l| {
            let mut a_axes: Vec<(Var, i64)> = l.iter().zip(&k).map(|(v, b)| (*v, most(b))).collect();
            let mut b_axes = a_axes.clone();
            // Rows of `a` anywhere among its axes; columns of `b` innermost, as vectors run along them.
            a_axes.insert(draw.below(a_axes.len() as u64 + 1) as usize, (i, m as i64));
            if draw.below(3) == 0 {
                b_axes.reverse();
            }
            b_axes.push((j, n as i64));
            for axes in [a_axes, b_axes] {
                let s = strides(&mut draw, &axes);
                sizes.push(s.len as u64);
                places.push(s.at());
            }
            (Place { buf: bufs[0], at: places[0].clone() }, Place { buf: bufs[1], at: places[1].clone() })
        },
        |b, i, j, acc| {
            let at = Var::PART * (m * n) as i64 + i * n as i64 + j;
            let mut x = acc;
            if ends > 0 {
                let bias = b.load(bias, j);
                x = b.add(x, bias);
            }
            if ends > 1 {
                let zero = b.lit(Lit { dtype, bits: 0 });
                x = b.bin(BinOp::Max, x, zero);
            }
            if ends > 2 {
                let scale = b.load(rows, i);
                let half = b.lit(if dtype == F32 { Lit::f32(0.5) } else { Lit::f64(0.5) });
                let scale = b.mul(scale, half);
                for &extra in &extras {
                    let e = b.load(extra, at.clone());
                    x = b.mul_add(x, scale, e);
                }
            }
            if ends > 3 {
                let mask = b.load(chosen, at.clone());
                let minus = b.un(UnOp::Neg, x);
                x = b.select(mask, x, minus);
            }
            if ends > 4 && dtype == F32 {
                let wide = b.load(other, at.clone());
                let long = b.cast(x, F64);
                let sum = b.add(long, wide);
                x = b.cast(sum, F32);
            }
            if ends > 5 {
                // A long one, which grows no error: the lesser of two, halfway to what it was.
                for round in 0..8 {
                    let c = f64::from(round) / 8.0;
                    let c = b.lit(if dtype == F32 { Lit::f32(c as f32) } else { Lit::f64(c) });
                    let y = b.mul(x, c);
                    let less = b.cmp(CmpOp::Lt, y, acc);
                    let least = b.select(less, y, acc);
                    let half = b.lit(if dtype == F32 { Lit::f32(0.5) } else { Lit::f64(0.5) });
                    let apart = b.sub(least, x);
                    x = b.mul_add(apart, half, x);
                }
            }
            match add {
                true => b.store_add(c, at, x),
                false => b.store(c, at, x),
            }
        },
    );
    let mut kernel = b.finish();
    for (buf, len) in kernel.bufs.iter_mut().zip(sizes) {
        buf.len = len;
    }
    // AVX2 has no doubles, and no bytes in masked vectors.
    let avx2 = dtype == F32 && (ends < 4 || ends == 4 && n % 8 == 0);
    (kernel, avx2, depth)
}

#[test]
fn random_contractions() {
    for seed in 0..300 {
        let (kernel, avx2, depth) = random(seed);
        let bufs = fill(&kernel, seed);
        let dtype = kernel.bufs[0].dtype;
        check_leaves(&kernel, &bufs, tolerance(dtype, 4 * depth), |level| usize::from(level == Level::Avx512 || avx2));
    }
}

/// The plainest product at every size around the tiles.
#[test]
fn every_tile() {
    for dtype in [F32, F64] {
        for m in (1..=15).chain([24, 28, 29, 31, 57]) {
            for n in [2, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 48, 49, 63, 64, 65, 80, 129] {
                if dtype == F64 && (m + n) % 3 != 0 {
                    continue;
                }
                let k = 5;
                let mut b = Builder::new(format!("tile_{dtype}_{m}x{n}"), 1);
                let x = b.buf(dtype, m * k, Access::Read);
                let y = b.buf(dtype, k * n, Access::Read);
                let z = b.buf(dtype, m * n, Access::Write);
                let (k, n_) = (k as i64, n as i64);
                b.contract(
                    (m, n),
                    &[(Affine::from(0), Affine::from(k))],
                    Lanes::N,
                    |_, i, j, l| (Place { buf: x, at: i * k + l[0] }, Place { buf: y, at: l[0] * n_ + j }),
                    |b, i, j, acc| b.store(z, i * n_ + j, acc),
                );
                let kernel = b.finish();
                check_leaves(&kernel, &fill(&kernel, m * n), tolerance(dtype, 5), leaves(dtype));
            }
        }
    }
}

/// A sum without steps inside of one whose number of steps is not known.
#[test]
fn empty_sums() {
    for inner in [0, 1] {
        let mut b = Builder::new(format!("empty_{inner}"), 2);
        let x = b.buf(F32, 4 * 8, Access::Read);
        let y = b.buf(F32, 8 * 32, Access::Read);
        let z = b.buf(F32, 2 * 4 * 32, Access::Write);
        b.contract(
            (4, 32),
            &[(0.into(), Var::PART * 8), (Affine::from(0), Affine::from(inner))],
            Lanes::N,
            |_, i, j, l| (Place { buf: x, at: i * 8 + l[0] + l[1] }, Place { buf: y, at: l[0] * 32 + l[1] + j }),
            |b, i, j, acc| b.store(z, Var::PART * 128 + i * 32 + j, acc),
        );
        let kernel = b.finish();
        check(&kernel, &fill(&kernel, 1), near(1e-5));
    }
}
