//! Vector loops, serial loops and reductions against the interpreter.

mod common;

use common::{check, fill, near};
use dl_codegen::kernel::*;

const SIZES: [u64; 12] = [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 19, 67];

#[test]
fn elementwise_all_sizes() {
    for n in SIZES {
        let mut k = Builder::new("axpy", 3);
        let len = (3 * n).max(1);
        let (x, y) = (k.buf(DType::F32, len, Access::Read), k.buf(DType::F32, len, Access::ReadWrite));
        k.vec(n, |k, j| {
            let a = k.load(x, Var::PART * n as i64 + j);
            let b = k.load(y, Var::PART * n as i64 + j);
            let s = k.mul_add(a, a, b);
            let z = k.f32(0.0);
            let s = k.bin(BinOp::Max, s, z);
            k.store(y, Var::PART * n as i64 + j, s);
        });
        let k = k.finish();
        check(&k, &fill(&k, n + 1), near(1e-6));
    }
}

#[test]
fn reductions_all_sizes_and_types() {
    for n in SIZES {
        for dtype in [DType::F32, DType::F64, DType::I64, DType::I32, DType::U8, DType::Bool] {
            let mut k = Builder::new(format!("reduce_{dtype}_{n}"), 2);
            let x = k.buf(dtype, (2 * n).max(1), Access::Read);
            let ops: Vec<ReduceOp> = match dtype {
                DType::Bool => vec![ReduceOp::Max, ReduceOp::Min],
                _ => vec![
                    ReduceOp::Sum,
                    ReduceOp::Max,
                    ReduceOp::Min,
                    ReduceOp::Prod,
                    ReduceOp::ArgMax,
                    ReduceOp::ArgMin,
                ],
            };
            for op in ops {
                let outs = k.vec_reduce(n, |k, j| {
                    let v = k.load(x, Var::PART * n as i64 + j);
                    vec![(op, v)]
                });
                let out = k.buf(k.dtype(outs[0]), 2, Access::Write);
                k.store(out, Var::PART, outs[0]);
            }
            let k = k.finish();
            check(&k, &fill(&k, n + 7), near(1e-5));
        }
    }
}
