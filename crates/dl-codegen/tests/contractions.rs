//! The contraction leaf against the interpreter: edge sizes, strides, loop shapes, types, epilogues.

mod common;

use common::{EXACT, Tolerance, check, fill, near};
use dl_codegen::kernel::*;

/// C[m, n] = A[m, k] B[k, n] (or B[n, k]) with a bias and ReLU.
fn product(m: u64, n: u64, k: u64, dtype: DType, lanes: Lanes, b_transposed: bool) -> Kernel {
    let mut b = Builder::new(format!("product_{m}x{n}x{k}_{dtype}_{lanes:?}_{b_transposed}"), 1);
    let a = b.buf(dtype, m * k, Access::Read);
    let w = b.buf(dtype, k * n, Access::Read);
    let bias = b.buf(dtype, n, Access::Read);
    let c = b.buf(dtype, m * n, Access::ReadWrite);
    let range = (Affine::from(0), Affine::from(k as i64));
    b.contract(
        (m, n),
        &[range],
        lanes,
        |_, i, j, l| {
            let at = if b_transposed { j * k as i64 + l[0] } else { l[0] * n as i64 + j };
            (Place { buf: a, at: i * k as i64 + l[0] }, Place { buf: w, at })
        },
        |b, i, j, acc| {
            let add = b.load(bias, j);
            let x = b.add(acc, add);
            let zero = b.lit(Lit { dtype, bits: 0 });
            let x = b.bin(BinOp::Max, x, zero);
            b.store_add(c, i * n as i64 + j, x);
        },
    );
    b.finish()
}

fn tolerance(dtype: DType) -> Tolerance {
    match dtype {
        DType::F32 => near(2e-5),
        DType::F64 => near(1e-12),
        _ => EXACT,
    }
}

#[test]
fn every_edge_tile() {
    for m in [1, 2, 3, 5, 6, 7, 13] {
        for n in [1, 2, 3, 4, 5, 8, 11, 16, 19, 28] {
            for (k, lanes) in [(9, Lanes::N), (11, Lanes::K)] {
                let kernel = product(m, n, k, DType::F32, lanes, lanes == Lanes::K);
                check(&kernel, &fill(&kernel, m * 100 + n), tolerance(DType::F32));
            }
        }
    }
}

#[test]
fn every_length_of_sum() {
    for k in [1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 32, 33, 100] {
        for lanes in [Lanes::N, Lanes::K] {
            for transposed in [false, true] {
                let kernel = product(7, 9, k, DType::F32, lanes, transposed);
                check(&kernel, &fill(&kernel, k), tolerance(DType::F32));
            }
        }
    }
}

#[test]
fn every_type() {
    for dtype in [DType::F64, DType::I32, DType::I64] {
        for (m, n, k) in [(1, 1, 1), (3, 4, 5), (7, 10, 9), (2, 23, 6), (6, 8, 17)] {
            for lanes in [Lanes::N, Lanes::K] {
                let kernel = product(m, n, k, dtype, lanes, lanes == Lanes::K);
                check(&kernel, &fill(&kernel, k), tolerance(dtype));
            }
        }
    }
}

/// y[oc, x] = sum over ic, kh, kw of w[oc, ic, kh, kw] * x[ic, y + kh, x + kw], rows skipped at the border.
#[test]
fn convolution_with_skipped_rows() {
    for (ic, oc, size, kernel_size, stride) in [(1, 8, 9, 3, 1), (3, 6, 12, 3, 1), (2, 5, 11, 5, 1), (4, 7, 9, 3, 2)] {
        let (ic, oc, size, taps) = (ic as i64, oc as i64, size as i64, kernel_size as i64);
        let out_w = (size - taps) / stride + 1;
        let mut b = Builder::new("conv_rows", size as u64);
        let x = b.buf(DType::F32, (ic * size * size) as u64, Access::Read);
        let w = b.buf(DType::F32, (oc * ic * taps * taps) as u64, Access::Read);
        let y = b.buf(DType::F32, (oc * size * out_w) as u64, Access::Write);
        let row = Var::PART;
        let pad = taps / 2;
        let lo = b.index(IndexExpr::Max(Affine::from(pad) - row, 0.into()));
        let hi = b.index(IndexExpr::Min(Affine::from(size + pad) - row, taps.into()));
        let loops = [(0.into(), ic.into()), (lo.into(), hi.into()), (0.into(), taps.into())];
        b.contract(
            (oc as u64, out_w as u64),
            &loops,
            Lanes::N,
            |_, o, j, k| {
                let (c, kh, kw) = (k[0], k[1], k[2]);
                let a = o * (ic * taps * taps) + c * (taps * taps) + kh * taps + kw;
                let at = c * (size * size) + row * size + kh * size - pad * size + j * stride + kw;
                (Place { buf: w, at: a }, Place { buf: x, at })
            },
            |b, o, j, acc| b.store(y, o * (size * out_w) + row * out_w + j, acc),
        );
        let kernel = b.finish();
        check(&kernel, &fill(&kernel, 5), near(2e-5));
    }
}

/// dw[o, i] += sum over n, y, x of g[n, o, y, x] * x[n, i, y, x], vectors along x, with a long epilogue.
#[test]
fn weight_gradient_with_long_epilogue() {
    for lanes in [Lanes::K, Lanes::N] {
        let (batch, o, i, h, w) = (2i64, 5i64, 6i64, 3i64, 7i64);
        let mut b = Builder::new("weight_gradient", 1);
        let g = b.buf(DType::F32, (batch * o * h * w) as u64, Access::Read);
        let x = b.buf(DType::F32, (batch * i * h * w) as u64, Access::Read);
        let dw = b.buf(DType::F32, (o * i) as u64, Access::ReadWrite);
        let m = b.buf(DType::F32, (o * i) as u64, Access::ReadWrite);
        let loops = [batch, h, w].map(|n| (Affine::from(0), Affine::from(n)));
        b.contract(
            (o as u64, i as u64),
            &loops,
            lanes,
            |_, r, c, k| {
                let at = |channels: i64, channel: Var| k[0] * (channels * h * w) + channel * (h * w) + k[1] * w + k[2];
                (Place { buf: g, at: at(o, r) }, Place { buf: x, at: at(i, c) })
            },
            |b, r, c, acc| {
                let old = b.load(m, r * i + c);
                let decay = b.f32(0.9);
                let mut v = b.mul_add(old, decay, acc);
                for _ in 0..6 {
                    let half = b.f32(0.5);
                    let t = b.mul(v, half);
                    v = b.add(t, acc);
                }
                b.store(m, r * i + c, v);
                b.store_add(dw, r * i + c, v);
            },
        );
        let kernel = b.finish();
        check(&kernel, &fill(&kernel, 3), near(5e-5));
    }
}
