//! Every operation, conversion and kind of access against the interpreter, in lanes and in the scalar tail.

mod common;

use common::{EXACT, check, fill, near, run};
use dl_codegen::Isa;
use dl_codegen::abi::Fault;
use dl_codegen::kernel::*;

/// Long enough for several lane groups, a shorter block and a tail.
const N: u64 = 27;

const VALUES: [DType; 5] = [DType::F32, DType::F64, DType::I64, DType::I32, DType::Bool];

/// `out[j] = f(loads[j]...)`.
fn map(name: &str, types: &[DType], f: impl FnOnce(&mut Builder, &[Value]) -> Value) -> Kernel {
    let mut k = Builder::new(name, 1);
    let bufs: Vec<BufId> = types.iter().map(|t| k.buf(*t, N, Access::Read)).collect();
    let (body, (j, result)) = k.block(|k| {
        let j = k.fresh_var();
        let args: Vec<Value> = bufs.iter().map(|b| k.load(*b, j)).collect();
        (j, f(k, &args))
    });
    let out = k.buf(k.dtype(result), N, Access::Write);
    let (store, ()) = k.block(|k| k.store(out, j, result));
    k.push(Stmt::Vec { var: j, extent: N, reduces: Vec::new(), body: [body, store].concat() });
    k.finish()
}

/// The same in a serial loop: all scalar.
fn serial(kernel: &Kernel) -> Kernel {
    let mut kernel = kernel.clone();
    kernel.name += ".serial";
    if let Some(Stmt::Vec { var, extent, body, .. }) = kernel.body.pop() {
        let (lo, hi) = (Affine::from(0), Affine::from(extent as i64));
        kernel.body.push(Stmt::For { var, lo, hi, carries: Vec::new(), body });
    }
    kernel
}

fn both(kernel: &Kernel, tolerance: common::Tolerance) {
    for seed in [1, 2] {
        check(kernel, &fill(kernel, seed), tolerance);
        let serial = serial(kernel);
        check(&serial, &fill(&serial, seed), tolerance);
    }
}

#[test]
fn unary_operations() {
    use UnOp::*;
    for dtype in VALUES {
        let ops: &[UnOp] = match dtype {
            DType::F32 | DType::F64 => &[
                Neg, Abs, Sqrt, Rsqrt, Floor, Ceil, Round, Trunc, Exp, Expm1, Log, Log1p, Tanh, Sigmoid, Erf, Sin, Cos,
            ],
            DType::Bool => &[Not],
            _ => &[Neg, Abs, Not],
        };
        for op in ops {
            let kernel = map(&format!("{}_{dtype}", op.name()), &[dtype], |k, x| k.un(*op, x[0]));
            both(&kernel, near(if dtype == DType::F64 { 1e-14 } else { 1e-6 }));
        }
    }
}

#[test]
fn binary_operations_and_comparisons() {
    use BinOp::*;
    for dtype in VALUES {
        let ops: &[BinOp] = match dtype {
            DType::F32 | DType::F64 => &[Add, Sub, Mul, Div, Rem, Min, Max, Pow],
            DType::Bool => &[Min, Max, And, Or, Xor],
            DType::I32 => &[Add, Sub, Mul, Div, Rem, Min, Max, And, Or, Xor, MulHiU],
            _ => &[Add, Sub, Mul, Div, Rem, Min, Max, And, Or, Xor],
        };
        for op in ops {
            let kernel = map(&format!("{}_{dtype}", op.name()), &[dtype, dtype], |k, x| k.bin(*op, x[0], x[1]));
            both(&kernel, near(if dtype == DType::F64 { 1e-14 } else { 1e-6 }));
        }
        for op in [CmpOp::Eq, CmpOp::Ne, CmpOp::Lt, CmpOp::Le, CmpOp::Gt, CmpOp::Ge] {
            if dtype != DType::Bool || matches!(op, CmpOp::Eq | CmpOp::Ne) {
                let kernel = map(&format!("{}_{dtype}", op.name()), &[dtype, dtype], |k, x| k.cmp(op, x[0], x[1]));
                both(&kernel, EXACT);
            }
        }
        let kernel = map(&format!("select_{dtype}"), &[DType::Bool, dtype, dtype], |k, x| k.select(x[0], x[1], x[2]));
        both(&kernel, EXACT);
    }
    for dtype in [DType::I64, DType::I32] {
        for op in [Shl, Shr, Sar] {
            let kernel = map(&format!("{}_{dtype}", op.name()), &[dtype], |k, x| {
                let amount = k.lit(Lit { dtype, bits: 3 });
                k.bin(op, x[0], amount)
            });
            both(&kernel, EXACT);
        }
    }
}

/// `to[i, j, c] = greater of two neighbours of from[i, .., c], times weight[j], plus shift[c]`.
fn rows_of_short_vectors(dtype: DType, channels: u64, rows: Affine) -> Kernel {
    let (height, width) = (6, 5);
    let c = channels as i64;
    let mut k = Builder::new(&format!("rows_{dtype}_{channels}"), 2);
    let from = k.buf(dtype, height * width * 2 * channels, Access::Read);
    let weight = k.buf(dtype, width, Access::Read);
    let shift = k.buf(dtype, channels, Access::Read);
    let to = k.buf(dtype, height * width * channels, Access::Write);
    let first = Var::PART * 3;
    k.for_(first.clone(), first + rows, |k, i| {
        k.for_(0, width as i64, |k, j| {
            let w = k.load(weight, j);
            k.vec(channels, |k, v| {
                let at = i * (width as i64 * 2 * c) + j * (2 * c) + v;
                let (a, b) = (k.load(from, at.clone()), k.load(from, at + c));
                let best = k.bin(BinOp::Max, a, b);
                let scaled = k.bin(BinOp::Mul, best, w);
                let s = k.load(shift, v);
                let sum = k.bin(BinOp::Add, scaled, s);
                k.store(to, i * (width as i64 * c) + j * c + v, sum);
            });
        });
    });
    k.finish()
}

#[test]
fn short_vector_loops_inside_serial_ones() {
    for dtype in [DType::F32, DType::F64, DType::I64, DType::I32, DType::U8] {
        for channels in [3, 8, 13, 16, 32, 70, 256, 300] {
            // All rows of a part, and fewer in the first one.
            for rows in [Affine::from(3), Var::PART + 2] {
                let kernel = rows_of_short_vectors(dtype, channels, rows);
                check(&kernel, &fill(&kernel, 1), EXACT);
            }
        }
    }
}

#[test]
fn scales_are_rounded_once() {
    let kernel = map("scale", &[DType::F32, DType::I32], |k, x| {
        let n = k.cast(x[1], DType::F32);
        k.bin(BinOp::Scale, x[0], n)
    });
    let last = N as usize - 1;
    let mantissas = |i: usize| if i == last { f32::NAN } else { (0.7 + i as f32 * 0.027) * [1.0, -1.0][i % 2] };
    for first in [-200, -150, -137, -13, 0, 113, 174] {
        let (a, n): (Vec<f32>, Vec<i32>) = (0..=last).map(|i| (mantissas(i), first + i as i32)).unzip();
        let n: Vec<u8> = n.into_iter().flat_map(i32::to_ne_bytes).collect();
        let bufs = vec![common::f32s(a), n, vec![0; N as usize * 4]];
        check(&kernel, &bufs, EXACT);
        check(&serial(&kernel), &bufs, EXACT);
    }
}

#[test]
fn conversions() {
    for from in DType::ALL {
        for to in DType::ALL {
            // A factor takes floats beyond the range of bytes.
            let kernel = map(&format!("cast_{from}_{to}"), &[from], |k, x| {
                let x = match k.dtype(x[0]) {
                    DType::F32 => {
                        let factor = k.f32(300.0);
                        k.mul(x[0], factor)
                    }
                    _ => x[0],
                };
                k.cast(x, to)
            });
            both(&kernel, EXACT);
        }
    }
    for (from, to) in [(DType::F32, DType::I32), (DType::I64, DType::F64)] {
        both(&map("bitcast", &[from], |k, x| k.let_(Expr::Bitcast(x[0], to))), EXACT);
    }
}

#[test]
fn bytes_are_stored_back() {
    for dtype in [DType::U8, DType::Bool] {
        let mut k = Builder::new("bytes", 1);
        let (x, y) = (k.buf(dtype, N, Access::Read), k.buf(dtype, N, Access::Write));
        k.vec(N, |k, j| {
            let v = k.load(x, j);
            k.store(y, j, v);
        });
        let k = k.finish();
        let bufs = fill(&k, 4);
        assert_eq!(check(&k, &bufs, EXACT)[1], bufs[0]);
    }
}

#[test]
fn special_values_of_max_and_casts() {
    let specials = [f32::NAN, 1.0, f32::INFINITY, -1.0, f32::NEG_INFINITY, 3e9, -3e9, 1e30, -1e30];
    let pairs: Vec<(f32, f32)> = specials.iter().flat_map(|a| specials.map(|b| (*a, b))).take(N as usize * 3).collect();
    for chunk in pairs.chunks(N as usize) {
        let bufs = |out: usize| {
            vec![
                common::f32s(chunk.iter().map(|p| p.0)),
                common::f32s(chunk.iter().map(|p| p.1)),
                vec![0; N as usize * out],
            ]
        };
        for op in [BinOp::Max, BinOp::Min] {
            let kernel = map("extreme", &[DType::F32, DType::F32], |k, x| k.bin(op, x[0], x[1]));
            check(&kernel, &bufs(4), EXACT);
            let relu = map("relu", &[DType::F32, DType::F32], |k, x| {
                let one = k.f32(1.0);
                k.bin(op, x[0], one)
            });
            check(&relu, &bufs(4), EXACT);
        }
        for (to, size) in [(DType::I32, 4), (DType::I64, 8), (DType::U8, 4), (DType::Bool, 1)] {
            let kernel = map("cast", &[DType::F32, DType::F32], |k, x| k.cast(x[0], to));
            check(&kernel, &bufs(size), EXACT);
        }
    }
}

#[test]
fn division_by_zero_and_overflow_of_integers() {
    let i32s = |v: &[i32]| v.iter().cycle().take(N as usize).flat_map(|x| x.to_ne_bytes()).collect::<Vec<u8>>();
    for op in [BinOp::Div, BinOp::Rem] {
        let kernel = map("divide", &[DType::I32, DType::I32], |k, x| k.bin(op, x[0], x[1]));
        let bufs = vec![i32s(&[i32::MIN, 7, -7, 5]), i32s(&[-1, 0, 2, -1, 3]), vec![0; N as usize * 4]];
        check(&kernel, &bufs, EXACT);
    }
}

#[test]
fn strides_reversal_and_derived_indices() {
    for dtype in DType::ALL {
        let mut k = Builder::new(format!("strides_{dtype}"), 2);
        let x = k.buf(dtype, 2 * N * 3, Access::Read);
        let y = k.buf(dtype, 2 * N * 3, Access::ReadWrite);
        k.vec(N, |k, j| {
            let part = Var::PART * (3 * N as i64);
            let strided = k.load(x, part.clone() + j * 3);
            let reversed = k.load(x, part.clone() - j + (N as i64 - 1));
            k.store(y, part.clone() + j * 3, strided);
            k.store(y, part.clone() - j * 3 + (3 * N as i64 - 2), reversed);
            // j = 5 q + r, transposed.
            let (q, r) = (k.div_index(j, 5), k.mod_index(j, 5));
            let low = k.index(IndexExpr::Min(r.into(), q * 2));
            let v = k.load(x, part.clone() + low * 7 + r);
            k.store(y, part + (q * 15 + r * 3 + 2), v);
        });
        let k = k.finish();
        // The last group of q reaches past the buffer unless N is a multiple of 5.
        let k = shrink(k, 25);
        check(&k, &fill(&k, 3), EXACT);
    }
}

fn shrink(mut kernel: Kernel, n: u64) -> Kernel {
    for stmt in &mut kernel.body {
        if let Stmt::Vec { extent, .. } = stmt {
            *extent = n;
        }
    }
    kernel
}

#[test]
fn guarded_loads_and_stores() {
    for dtype in VALUES {
        let n = N as i64;
        let mut k = Builder::new(format!("pad_{dtype}"), 3);
        let x = k.buf(dtype, 3 * N, Access::Read);
        let y = k.buf(dtype, 3 * (N + 9), Access::ReadWrite);
        let other = k.lit(Lit { dtype, bits: 0 });
        k.vec(N + 9, |k, j| {
            let inside = k.let_(Expr::InRange { at: j - 4, lo: 0, hi: n });
            let v = k.load_if(x, Var::PART * n + j - 4, inside, other);
            let odd = k.mod_index(j, 2);
            let odd = k.let_(Expr::InRange { at: odd.into(), lo: 1, hi: 2 });
            let place = Place { buf: y, at: Var::PART * (n + 9) + j };
            k.push(Stmt::Store { place, value: v, add: dtype != DType::Bool, guard: Some(odd) });
        });
        // A guard that is the same in all lanes, and one outside of vector loops.
        let second = k.let_(Expr::InRange { at: Var::PART.into(), lo: 1, hi: 9 });
        let first = k.load_if(x, Var::PART * n - n, second, other);
        k.vec(N, |k, j| {
            let v = k.load_if(x, Var::PART * n + j - n, second, first);
            let place = Place { buf: y, at: Var::PART * (n + 9) + j + 3 };
            k.push(Stmt::Store { place, value: v, add: false, guard: Some(second) });
        });
        let k = k.finish();
        check(&k, &fill(&k, 8), EXACT);
    }
}

#[test]
fn columns_are_reduced_by_serial_loops_inside() {
    for rows in [0, 1, 3, 4, 5, 17] {
        let n = N as i64;
        let mut k = Builder::new("columns", 1);
        let x = k.buf(DType::F32, (rows * N).max(1), Access::Read);
        let scale = k.buf(DType::F32, rows.max(1), Access::Read);
        let (y, z) = (k.buf(DType::F32, N, Access::Write), k.buf(DType::I64, N, Access::Write));
        let least = k.f32(f32::NEG_INFINITY);
        let zero = k.f32(0.0);
        let none = k.lit(Lit::i64(-1));
        k.vec(N, |k, j| {
            let outs = k.for_carry(0, rows as i64, &[zero, least, none], |k, i, now| {
                let v = k.load(x, i * n + j);
                let s = k.load(scale, i);
                let sum = k.mul_add(v, s, now[0]);
                let better = k.cmp(CmpOp::Gt, v, now[1]);
                let at = k.let_(Expr::Index(i.into()));
                vec![sum, k.select(better, v, now[1]), k.select(better, at, now[2])]
            });
            let sum = k.add(outs[0], outs[1]);
            k.store(y, j, sum);
            k.store(z, j, outs[2]);
        });
        let k = k.finish();
        check(&k, &fill(&k, rows), near(1e-5));
    }
}

#[test]
fn softmax_rows_with_scratch() {
    for n in [1, 3, 10, 16, 37] {
        let mut k = Builder::new("softmax", 5);
        let x = k.buf(DType::F32, 5 * n, Access::Read);
        let y = k.buf(DType::F32, 5 * n, Access::Write);
        let e = k.buf(DType::F32, n, Access::Scratch);
        let row = Var::PART * n as i64;
        let max = k.vec_reduce(n, |k, j| vec![(ReduceOp::Max, k.load(x, row.clone() + j))]);
        let sum = k.vec_reduce(n, |k, j| {
            let v = k.load(x, row.clone() + j);
            let v = k.sub(v, max[0]);
            let v = k.un(UnOp::Exp, v);
            k.store(e, j, v);
            vec![(ReduceOp::Sum, v)]
        });
        let one = k.f32(1.0);
        let scale = k.div(one, sum[0]);
        k.vec(n, |k, j| {
            let v = k.load(e, j);
            let v = k.mul(v, scale);
            k.store(y, row.clone() + j, v);
        });
        let k = k.finish();
        check(&k, &fill(&k, n), near(1e-6));
    }
}

/// y[index[i]] += x[i], rows gathered by index, both with an index out of range.
#[test]
fn gathers_scatters_and_faults() {
    for index in [DType::I64, DType::I32] {
        let (rows, width) = (8u64, 7u64);
        let mut k = Builder::new(format!("gather_{index}"), 4);
        let ids = k.buf(index, 4 * N, Access::Read);
        let table = k.buf(DType::F32, rows * width, Access::Read);
        let y = k.buf(DType::F32, 4 * N, Access::ReadWrite);
        let z = k.buf(DType::F32, 4 * width, Access::Write);
        let base = Var::PART * N as i64;
        k.vec(N, |k, j| {
            let id = k.load(ids, base.clone() + j);
            let row = k.check(id, rows, 3);
            let v = k.load(table, row * width as i64 + 2);
            k.store_add(y, base.clone() + row, v);
        });
        let id = k.load(ids, base.clone() + 5);
        let row = k.check(id, rows, 4);
        k.vec(width, |k, j| {
            let v = k.load(table, row * width as i64 + j);
            k.store(z, Var::PART * width as i64 + j, v);
        });
        let k = k.finish();
        let mut bufs = fill(&k, 2);
        let set = |bytes: &mut [u8], i: usize, x: i64| {
            let size = index.size();
            bytes[i * size..(i + 1) * size].copy_from_slice(&x.to_ne_bytes()[..size]);
        };
        (0..4 * N as usize).for_each(|i| set(&mut bufs[0], i, (i as i64 * 5) % rows as i64));
        check(&k, &bufs, near(1e-6));
        for (at, x) in [(60, 8), (31, -1), (99, 1 << 20)] {
            set(&mut bufs[0], at, x);
            check(&k, &bufs, near(1e-6));
        }
        // The fault of the lowest part is reported.
        for isa in Isa::all().unwrap() {
            assert_eq!(run(&k, &isa, &mut bufs.clone()), Fault { site: 4, value: -1 });
        }
    }
}

#[test]
fn conditions_and_dynamic_bounds() {
    let n = N as i64;
    let mut k = Builder::new("triangle", 6);
    let x = k.buf(DType::F32, 6 * N, Access::Read);
    let y = k.buf(DType::F32, 6 * N, Access::ReadWrite);
    let hi = k.index(IndexExpr::Min(Var::PART * 2, 7.into()));
    let zero = k.f32(0.0);
    let total = k.for_carry(Var::PART, hi, &[zero], |k, i, now| {
        let v = k.load(x, i * n);
        vec![k.add(now[0], v)]
    });
    let positive = k.cmp(CmpOp::Gt, total[0], zero);
    k.if_(positive, |k| {
        k.vec(N, |k, j| {
            let v = k.load(x, Var::PART * n + j);
            let v = k.mul(v, total[0]);
            k.store_add(y, Var::PART * n + j, v);
        });
    });
    let k = k.finish();
    // `hi` reaches row 6, which would be past the end: part 5 runs rows 5 and 6.
    let mut k = k;
    k.bufs[0].len = 7 * N;
    check(&k, &fill(&k, 6), near(1e-6));
}

#[test]
fn random_numbers_equal_the_plain_function() {
    for (dist, tolerance) in
        [(Dist::Uniform, EXACT), (Dist::Normal, common::Tolerance { relative: 4e-6, absolute: 2e-6 })]
    {
        let mut k = Builder::new("random", 3);
        let key = k.buf(DType::I64, 2, Access::Read);
        let y = k.buf(DType::F32, 3 * N, Access::Write);
        let (seed, step) = (k.load(key, 0), k.load(key, 1));
        k.vec(N, |k, j| {
            let index = Var::PART * N as i64 + j;
            let v = k.let_(Expr::Random { dist, seed, step, stream: 7, index: index.clone() });
            k.store(y, index, v);
        });
        let k = k.finish();
        let key = [0x0123_4567_89AB_CDEF_i64, -3];
        let bufs = vec![key.into_iter().flat_map(i64::to_ne_bytes).collect(), vec![0; 3 * N as usize * 4]];
        let result = check(&k, &bufs, tolerance);
        if dist == Dist::Uniform {
            let draw = f32::from_ne_bytes(result[1][40..44].try_into().unwrap());
            assert_eq!(draw, dl_ir::random::uniform(key, 7, 10));
        }
    }
}
