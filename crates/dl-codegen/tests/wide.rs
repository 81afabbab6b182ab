//! Leaves: every kind of vector loop that the wide emitter has, at sizes around its vectors, with buffers that end at
//! pages without rights. Each test says how many leaves a kernel must have, so that none falls back unseen.

mod common;

use common::{check, check_leaves, fill, near};
use dl_codegen::Level;
use dl_codegen::kernel::*;

const SIZES: [u64; 6] = [16, 37, 64, 75, 128, 149];
const F32: DType = DType::F32;
const F64: DType = DType::F64;
const I32: DType = DType::I32;
const I64: DType = DType::I64;
const U8: DType = DType::U8;
const BOOL: DType = DType::Bool;

fn un(op: UnOp) -> impl Fn(&mut Builder, &[Value]) -> Value {
    move |k, x| k.un(op, x[0])
}

fn loop_of(name: &str, n: u64, inputs: &[DType], make: impl Fn(&mut Builder, &[Value]) -> Value) -> Kernel {
    let mut k = Builder::new(format!("{name}_{n}"), 2);
    let bufs: Vec<BufId> = inputs.iter().map(|t| k.buf(*t, 2 * n, Access::Read)).collect();
    k.vec(n, |k, j| {
        let at = Var::PART * n as i64 + j;
        let x: Vec<Value> = bufs.iter().map(|b| k.load(*b, at.clone())).collect();
        let y = make(k, &x);
        let to = k.dtype(y);
        let out = k.buf(to, 2 * n, Access::Write);
        k.store(out, at, y);
    });
    k.finish()
}

/// Whether AVX2 has a loop over memory of these types at that size: bytes and doubles only without a tail.
fn even(kernel: &Kernel, n: u64) -> bool {
    n.is_multiple_of(8) || kernel.bufs.iter().all(|b| b.dtype.size() == 4)
}

fn sweep(name: &str, inputs: &[DType], avx2: bool, make: impl Fn(&mut Builder, &[Value]) -> Value) {
    for n in SIZES {
        let kernel = loop_of(name, n, inputs, &make);
        // Bytes are not stored without AVX-512.
        let bytes = kernel.bufs.iter().any(|b| b.access == Access::Write && b.dtype.size() == 1);
        let has = avx2 && even(&kernel, n) && !bytes;
        check_leaves(&kernel, &fill(&kernel, n), near(2e-6), |level| match level {
            Level::Avx512 => 1,
            _ => usize::from(has),
        });
    }
}

#[test]
fn unary_operations() {
    use UnOp::*;
    for op in [Neg, Abs, Sqrt, Rsqrt, Floor, Ceil, Round, Trunc] {
        for (dtype, name) in [(F32, "f32"), (F64, "f64")] {
            let made = |k: &mut Builder, x: &[Value]| {
                // Of numbers that have a root.
                let x = if matches!(op, Sqrt | Rsqrt) { k.un(Abs, x[0]) } else { x[0] };
                un(op)(k, &[x])
            };
            sweep(&format!("{op:?}_{name}"), &[dtype], true, made);
        }
    }
    for (op, dtype, avx2) in
        [(Neg, I32, true), (Neg, I64, true), (Abs, I32, true), (Abs, I64, false), (Not, I32, true), (Not, I64, true)]
    {
        sweep(&format!("{op:?}_{dtype}"), &[dtype], avx2, un(op));
    }
    sweep("not_bool", &[BOOL], false, un(Not));
}

#[test]
fn sine_and_cosine_near_zero_and_far_from_it() {
    for op in [UnOp::Sin, UnOp::Cos] {
        for scale in [1.0, 1e6, 1e30] {
            sweep(&format!("{op:?}_{scale}"), &[F32], true, move |k, x| {
                let scale = k.f32(scale);
                let x = k.mul(x[0], scale);
                k.un(op, x)
            });
        }
    }
}

#[test]
fn what_few_lanes_need() {
    for at_most in [-3.0, 1.9, 3.0] {
        sweep(&format!("rarely_{}", at_most + 3.0), &[F32, I32], true, move |k, x| {
            let limit = k.f32(at_most);
            let beyond = k.cmp(CmpOp::Gt, x[0], limit);
            let [y, n] = k.rarely(beyond, [x[0], x[1]], |k| {
                let square = k.mul(x[0], x[0]);
                let odd = k.i32(7);
                [square, k.mul(x[1], odd)]
            });
            let n = k.cast(n, F32);
            k.add(y, n)
        });
    }
}

#[test]
fn binary_operations() {
    use BinOp::*;
    for dtype in [F32, F64] {
        for op in [Add, Sub, Mul, Div, Max, Min] {
            sweep(&format!("{op:?}_{dtype}"), &[dtype, dtype], true, move |k, x| k.bin(op, x[0], x[1]));
        }
    }
    for dtype in [I32, I64] {
        for op in [Add, Sub, Mul, Max, Min, And, Or, Xor] {
            let avx2 = dtype == I32 || !matches!(op, Mul | Max | Min);
            sweep(&format!("{op:?}_{dtype}"), &[dtype, dtype], avx2, move |k, x| k.bin(op, x[0], x[1]));
        }
        for op in [Shl, Shr, Sar] {
            let by = Lit { dtype, bits: 5 };
            let avx2 = dtype == I32 || op != Sar;
            sweep(&format!("{op:?}_{dtype}"), &[dtype], avx2, move |k, x| {
                let by = k.lit(by);
                k.bin(op, x[0], by)
            });
        }
    }
    for op in [And, Or, Xor, Max, Min] {
        sweep(&format!("{op:?}_bool"), &[BOOL, BOOL], false, move |k, x| k.bin(op, x[0], x[1]));
    }
    sweep("mul_hi", &[I32, I32], true, |k, x| k.bin(MulHiU, x[0], x[1]));
    sweep("scale", &[F32, I32], true, |k, x| {
        let by = k.cast(x[1], F32);
        k.bin(Scale, x[0], by)
    });
}

#[test]
fn comparisons_choices_and_fused_products() {
    use CmpOp::*;
    for dtype in [F32, F64, I32, I64] {
        let avx2 = dtype.size() == 4;
        for op in [Eq, Ne, Lt, Le, Gt, Ge] {
            sweep(&format!("{op:?}_{dtype}"), &[dtype, dtype], avx2, move |k, x| {
                let less = k.cmp(op, x[0], x[1]);
                k.select(less, x[1], x[0])
            });
            sweep(&format!("{op:?}_{dtype}_stored"), &[dtype, dtype], false, move |k, x| k.cmp(op, x[0], x[1]));
        }
    }
    for op in [Eq, Ne] {
        sweep(&format!("{op:?}_bool"), &[BOOL, BOOL, F32], true, move |k, x| {
            let same = k.cmp(op, x[0], x[1]);
            let minus = k.un(UnOp::Neg, x[2]);
            k.select(same, x[2], minus)
        });
    }
    sweep("select_bool", &[BOOL, BOOL, BOOL], false, |k, x| k.select(x[0], x[1], x[2]));
    sweep("mul_add_f32", &[F32, F32, F32], true, |k, x| k.mul_add(x[0], x[1], x[2]));
    sweep("mul_add_f64", &[F64, F64, F64], true, |k, x| k.mul_add(x[0], x[1], x[2]));
}

#[test]
fn conversions() {
    for (from, to, avx2) in [
        (F32, I32, true),
        (F32, BOOL, false),
        (F32, F64, true),
        (F64, F32, false),
        (F64, BOOL, false),
        (I32, F32, true),
        (I32, F64, true),
        (I32, I64, true),
        (I32, BOOL, false),
        (I64, F32, false),
        (I64, F64, false),
        (I64, I32, false),
        (I64, BOOL, false),
        (U8, F32, true),
        (U8, I32, true),
        (U8, F64, true),
        (U8, I64, true),
        (BOOL, F32, true),
        (BOOL, I32, true),
        (BOOL, F64, false),
        (BOOL, I64, false),
    ] {
        sweep(&format!("{from}_to_{to}"), &[from], avx2, move |k, x| k.cast(x[0], to));
    }
    sweep("bits", &[F32], true, |k, x| k.let_(Expr::Bitcast(x[0], I32)));
    sweep("bits_f64", &[F64], true, |k, x| k.let_(Expr::Bitcast(x[0], I64)));
}

/// Loads with steps, backwards and under guards, stores with steps, sums into memory, indices.
#[test]
fn memory() {
    for dtype in [F32, F64, I32, I64] {
        for n in SIZES {
            for (stride, to_stride, add) in [(1, 1, true), (2, 1, false), (3, 2, true), (1, 5, false), (-1, 1, true)] {
                let len = n as i64;
                let back = if stride < 0 { (len - 1) * -stride } else { 0 };
                let mut k = Builder::new(format!("strides_{dtype}_{n}_{stride}_{to_stride}").replace('-', "back"), 1);
                let x = k.buf(dtype, ((len - 1) * i64::abs(stride) + 1) as u64, Access::Read);
                let y = k.buf(dtype, ((len - 1) * to_stride + 1) as u64, Access::ReadWrite);
                k.vec(n, |k, j| {
                    let value = k.load(x, j * stride + back);
                    let place = Place { buf: y, at: j * to_stride };
                    k.push(Stmt::Store { place, value, add, guard: None });
                });
                let kernel = k.finish();
                let plain = (stride, to_stride) == (1, 1);
                check_leaves(&kernel, &fill(&kernel, n), near(0.0), |level| match level {
                    Level::Avx512 => 1,
                    _ => usize::from(plain && even(&kernel, n)),
                });
            }
            for stride in [1, 3] {
                let mut k = Builder::new(format!("guards_{dtype}_{n}_{stride}"), 1);
                let (lo, hi) = (3i64, n as i64 - 5);
                // Only where the guard holds there is memory.
                let x = k.buf(dtype, ((hi - lo - 1) * stride + 1) as u64, Access::Read);
                let y = k.buf(dtype, n, Access::ReadWrite);
                k.vec(n, |k, j| {
                    let guard = k.let_(Expr::InRange { at: j.into(), lo, hi });
                    let other = k.lit(Lit { dtype, bits: if stride == 1 { 0 } else { 9 } });
                    let value = k.load_if(x, (j - lo) * stride, guard, other);
                    let place = Place { buf: y, at: j.into() };
                    k.push(Stmt::Store { place, value, add: false, guard: Some(guard) });
                });
                let kernel = k.finish();
                check_leaves(&kernel, &fill(&kernel, n), near(0.0), |level| usize::from(level == Level::Avx512));
            }
        }
    }
    for n in SIZES {
        let mut k = Builder::new(format!("guarded_bools_{n}"), 1);
        let (lo, hi) = (3i64, n as i64 - 5);
        let x = k.buf(BOOL, (hi - lo) as u64, Access::Read);
        let y = k.buf(F32, n, Access::Write);
        k.vec(n, |k, j| {
            let guard = k.let_(Expr::InRange { at: j.into(), lo, hi });
            let [other, one, two] = [Lit { dtype: BOOL, bits: 0 }, Lit::f32(1.0), Lit::f32(2.0)].map(|lit| k.lit(lit));
            let value = k.load_if(x, j - lo, guard, other);
            let value = k.let_(Expr::Select(value, one, two));
            k.store(y, j, value);
        });
        let kernel = k.finish();
        check_leaves(&kernel, &fill(&kernel, n), near(0.0), |level| usize::from(level == Level::Avx512));
    }
    for n in SIZES {
        let mut k = Builder::new(format!("indices_{n}"), 3);
        let y = k.buf(I64, 3 * n, Access::Write);
        k.vec(n, |k, j| {
            let at = k.let_(Expr::Index(Var::PART * 1000 + j * 3 - 7));
            let part = k.let_(Expr::Index(Var::PART * -2));
            let sum = k.bin(BinOp::Xor, at, part);
            k.store(y, Var::PART * n as i64 + j, sum);
        });
        let kernel = k.finish();
        check_leaves(&kernel, &fill(&kernel, n), near(0.0), |level| usize::from(level == Level::Avx512));
    }
}

#[test]
fn reductions() {
    use ReduceOp::*;
    for dtype in [F32, F64, I32, I64] {
        for op in [Sum, Prod, Max, Min] {
            if dtype == I64 && op != Sum {
                continue;
            }
            for n in SIZES {
                let mut k = Builder::new(format!("{op:?}_{dtype}_{n}"), 2);
                let x = k.buf(dtype, 2 * n, Access::Read);
                let y = k.buf(dtype, 2, Access::Write);
                let total = k.vec_reduce(n, |k, j| {
                    let v = k.load(x, Var::PART * n as i64 + j);
                    vec![(op, v)]
                });
                k.store(y, Var::PART, total[0]);
                let kernel = k.finish();
                let mut bufs = fill(&kernel, n);
                let has = |level| usize::from(level == Level::Avx512 || dtype.size() == 4);
                check_leaves(&kernel, &bufs, near(2e-5), has);
                // One that is not a number, at each kind of place.
                for at in [0, n / 2, n - 1] {
                    if dtype == F32 {
                        bufs[0][at as usize * 4..][..4].copy_from_slice(&f32::NAN.to_ne_bytes());
                    }
                    check_leaves(&kernel, &bufs, near(2e-5), has);
                }
            }
        }
    }
}

/// Rows that are reduced and then used again, as softmax and layer norm have them: one leaf for all rows.
#[test]
fn rows_reduced_inside() {
    use ReduceOp::*;
    for dtype in [F32, F64, I32] {
        for op in [Sum, Prod, Max, Min] {
            for n in SIZES.into_iter().chain([20, 300, 1024, 1500]) {
                let (rows, len) = (5, n as i64);
                let mut k = Builder::new(format!("rows_{op:?}_{dtype}_{n}"), 2);
                let x = k.buf(dtype, 2 * rows * n, Access::Read);
                let kept = k.buf(dtype, n, Access::Scratch);
                let y = k.buf(dtype, 2 * rows * n, Access::Write);
                let lo = Var::PART * rows as i64;
                k.for_(lo.clone(), lo + rows as i64, |k, row| {
                    let total = k.vec_reduce(n, |k, j| {
                        let v = k.load(x, row * len + j);
                        vec![(op, v)]
                    });
                    let next = k.vec_reduce(n, |k, j| {
                        let v = k.load(x, row * len + j);
                        let v = k.sub(v, total[0]);
                        k.store(kept, j, v);
                        vec![(Max, v), (Sum, v)]
                    });
                    let both = k.mul(next[0], total[0]);
                    k.vec(n, |k, j| {
                        let v = k.load(kept, j);
                        let v = k.add(v, both);
                        k.store(y, row * len + j, v);
                    });
                });
                let kernel = k.finish();
                let mut bufs = fill(&kernel, n);
                // In lanes of 64 bits AVX2 reduces nothing; the last loop is then a leaf of its own, if it has no tail.
                let has = |level| usize::from(level == Level::Avx512 || dtype.size() == 4 || n.is_multiple_of(8));
                let tolerance = if dtype == F64 { near(1e-10) } else { near(1e-4) };
                check_leaves(&kernel, &bufs, tolerance, has);
                for at in [0, n + n / 2, 2 * n - 1] {
                    if dtype == F32 {
                        bufs[0][at as usize * 4..][..4].copy_from_slice(&f32::NAN.to_ne_bytes());
                    }
                }
                check_leaves(&kernel, &bufs, tolerance, has);
            }
        }
    }
}

/// More values at once than there are registers: of vectors, of masks, carried, and summed.
#[test]
fn loops_that_need_many_registers() {
    for n in [64, 149] {
        for live in [10, 30, 45, 90] {
            let wide = loop_of(&format!("live_{live}"), n, &[F32, F32], |k, x| {
                let mut all = vec![x[0]];
                for i in 0..live {
                    let c = k.f32(1.0 + i as f32 / 64.0);
                    let last = all[i];
                    all.push(k.mul_add(last, c, x[1]));
                }
                all.iter().rev().fold(x[1], |sum, v| k.sub(*v, sum))
            });
            check_leaves(&wide, &fill(&wide, n), near(1e-4), |_| 1);
        }
        for live in [4, 9, 20] {
            let masks = loop_of(&format!("masks_{live}"), n, &[F32, F32], |k, x| {
                let all: Vec<Value> = (0..live)
                    .map(|i| {
                        let c = k.f32(i as f32 / 8.0 - 1.0);
                        k.cmp(CmpOp::Lt, x[0], c)
                    })
                    .collect();
                let both = all.iter().rev().copied().reduce(|a, b| k.bin(BinOp::Xor, a, b)).unwrap();
                all.iter().fold(x[1], |sum, mask| {
                    let choice = k.bin(BinOp::Or, *mask, both);
                    let more = k.add(sum, x[0]);
                    k.select(choice, more, sum)
                })
            });
            check_leaves(&masks, &fill(&masks, n), near(1e-5), |_| 1);
        }
        for count in [3, 9, 14, 40] {
            let mut k = Builder::new(format!("sums_{count}_{n}"), 1);
            let x = k.buf(F32, n, Access::Read);
            let y = k.buf(F32, count, Access::Write);
            let totals = k.vec_reduce(n, |k, j| {
                let v = k.load(x, j);
                let ops = [ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min, ReduceOp::Prod];
                (0..count as usize).map(|i| (ops[i % 4], v)).collect()
            });
            totals.iter().enumerate().for_each(|(i, v)| k.store(y, i as i64, *v));
            let kernel = k.finish();
            check_leaves(&kernel, &fill(&kernel, n), near(1e-5), |level| {
                usize::from(count + 4 < if level == Level::Avx512 { 32 } else { 16 })
            });
        }
    }
}

/// A loop inside of a vector loop, which carries `count` values that move on by `turn` places.
fn carrying(dtype: DType, n: u64, count: usize, turn: usize, bounds: (i64, Option<i64>)) -> Kernel {
    let mut k =
        Builder::new(format!("carry_{dtype}_{n}_{count}_{turn}_{bounds:?}").replace(['(', ')', ' ', ','], "_"), 3);
    let trips = 9;
    let x = k.buf(dtype, 3 * trips * n, Access::Read);
    let y = k.buf(dtype, 3 * n * count as u64, Access::Write);
    // Without a number the loop ends where the part says: not at all in the first one.
    let hi = match bounds.1 {
        Some(hi) => Affine::from(hi),
        None => Var::PART * 4,
    };
    k.vec(n, |k, j| {
        let place = |row: Affine| row * n as i64 + j;
        let first = k.load(x, place(Var::PART * trips as i64));
        let init: Vec<Value> = (0..count).map(|i| if i % 2 == 0 { first } else { k.un(UnOp::Neg, first) }).collect();
        let outs = k.for_carry(bounds.0, hi, &init, |k, i, now| {
            let v = k.load(x, place(Var::PART * trips as i64 + i));
            let mut next: Vec<Value> = now.to_vec();
            next.rotate_left(turn);
            next[0] = k.bin(BinOp::Max, next[0], v);
            next[count / 2] = k.add(next[count / 2], v);
            next
        });
        for (c, out) in outs.iter().enumerate() {
            k.store(y, place(Var::PART * count as i64 + c as i64), *out);
        }
    });
    k.finish()
}

#[test]
fn loops_inside() {
    for n in [16, 64, 75] {
        for count in [1, 2, 3, 5, 9, 20] {
            for turn in [0, 1, count - 1] {
                for bounds in [(0, Some(0)), (0, Some(3)), (2, Some(9)), (0, None), (1, None)] {
                    for dtype in [F32, F64, I32] {
                        let kernel = carrying(dtype, n, count, turn, bounds);
                        let bufs = fill(&kernel, n);
                        // Doubles, and more values than AVX2 has registers for, may be left to the narrow emitter.
                        if dtype == F64 || count > 5 {
                            check(&kernel, &bufs, near(if dtype == F64 { 1e-12 } else { 1e-5 }));
                        } else {
                            check_leaves(&kernel, &bufs, near(1e-5), |_| 1);
                        }
                    }
                }
            }
        }
    }
}

/// `y[k, n] = x[n, k]`, as a part of larger matrices.
#[test]
fn transposes() {
    for (rows, columns) in [(8, 8), (16, 16), (24, 40), (17, 33), (31, 9), (48, 100), (5, 16), (64, 70)] {
        for (from_pitch, to_pitch) in [(columns, rows), (columns + 3, rows + 1)] {
            for dtype in [F32, I32] {
                let mut k = Builder::new(format!("transpose_{rows}x{columns}_{from_pitch}_{to_pitch}_{dtype}"), 1);
                let x = k.buf(dtype, ((rows - 1) * from_pitch + columns) as u64, Access::Read);
                let y = k.buf(dtype, ((columns - 1) * to_pitch + rows) as u64, Access::ReadWrite);
                k.for_(0, columns, |k, c| {
                    k.vec(rows as u64, |k, r| {
                        let v = k.load(x, r * from_pitch + c);
                        k.store(y, c * to_pitch + r, v);
                    });
                });
                let kernel = k.finish();
                let even = rows % 8 == 0 && columns % 8 == 0;
                check_leaves(&kernel, &fill(&kernel, rows as u64), near(0.0), |level| match level {
                    Level::Avx512 => usize::from(rows >= 8),
                    _ => usize::from(even),
                });
            }
        }
    }
}

/// A loop that copies within a buffer keeps its order: what is read later has been written before.
#[test]
fn copies_within_a_buffer() {
    let (rows, columns, pitch) = (16, 32, 100);
    let mut k = Builder::new("turn_in_place", 1);
    let x = k.buf(F32, (columns * pitch) as u64, Access::ReadWrite);
    k.for_(0, columns, |k, c| {
        k.vec(rows as u64, |k, r| {
            let v = k.load(x, r * pitch + c);
            k.store(x, c * pitch + r + rows, v);
        });
    });
    let kernel = k.finish();
    check_leaves(&kernel, &fill(&kernel, 3), near(0.0), |level| usize::from(level == Level::Avx512));
}
