//! Functions of one number against double precision, with a bound in units in the last place, and special values.

mod common;

use common::{f32s, run};
use dl_codegen::Isa;
use dl_codegen::kernel::{Access, Builder, DType, Kernel, Lit, UnOp, ops};

fn kernel(op: UnOp, n: u64) -> Kernel {
    let mut k = Builder::new(op.name(), 1);
    let (x, y) = (k.buf(DType::F32, n, Access::Read), k.buf(DType::F32, n, Access::Write));
    k.vec(n, |k, j| {
        let v = k.load(x, j);
        let v = k.un(op, v);
        k.store(y, j, v);
    });
    k.finish()
}

fn compiled(op: UnOp, isa: &Isa, xs: &[f32]) -> Vec<f32> {
    let k = kernel(op, xs.len() as u64);
    let mut bufs = vec![f32s(xs.iter().copied()), vec![0; xs.len() * 4]];
    run(&k, isa, &mut bufs);
    bufs[1].chunks(4).map(|c| f32::from_ne_bytes(c.try_into().unwrap())).collect()
}

/// The exact result, as a double.
fn exact(op: UnOp, x: f32) -> f64 {
    ops::float(ops::unary(op, Lit::f64(f64::from(x))))
}

/// The distance in units in the last place of the exact result; tiny results count in subnormal units.
fn ulps(actual: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if actual == rounded || actual.is_nan() && exact.is_nan() {
        return 0.0;
    }
    if actual.is_nan() || exact.is_nan() || actual.is_infinite() || rounded.is_infinite() {
        return f64::INFINITY;
    }
    let unit = f64::from(f32::from_bits(rounded.abs().to_bits() + 1)) - f64::from(rounded.abs());
    (f64::from(actual) - exact).abs() / unit
}

/// Numbers all over the range where the function is neither constant nor infinite.
fn samples(lo: f32, hi: f32) -> Vec<f32> {
    let linear = (0..20_000).map(|i| lo + (hi - lo) * i as f32 / 20_000.0);
    let tiny = (0..20_000).map(|i| f32::from_bits(0x0000_0001 + i * 51_200));
    let tiny = tiny.filter(|x| (lo..=hi).contains(x));
    let negative: Vec<f32> = tiny.clone().map(|x| -x).filter(|x| (lo..=hi).contains(x)).collect();
    linear.chain(tiny).chain(negative).collect()
}

#[test]
fn functions_are_accurate() {
    let table = [
        (UnOp::Exp, -105.0, 90.0, 1.1),
        (UnOp::Expm1, -40.0, 90.0, 1.6),
        (UnOp::Log, 0.0, 3.3e38, 3.4),
        (UnOp::Log, 0.5, 2.0, 3.4),
        (UnOp::Log1p, -1.0, 100.0, 4.0),
        (UnOp::Log1p, -0.5, 0.5, 4.0),
        (UnOp::Tanh, -10.0, 10.0, 2.6),
        (UnOp::Sigmoid, -100.0, 100.0, 3.5),
        (UnOp::Erf, -5.0, 5.0, 5.2),
        (UnOp::Sin, -1e5, 1e5, 1.0),
        (UnOp::Cos, -1e5, 1e5, 1.0),
        (UnOp::Sin, -3.4e38, 3.4e38, 1.0),
        (UnOp::Cos, -3.4e38, 3.4e38, 1.0),
        (UnOp::Rsqrt, 0.0, 1e9, 1.0),
        (UnOp::Sqrt, 0.0, 1e9, 0.5),
    ];
    for isa in Isa::all().unwrap() {
        for (op, lo, hi, bound) in table {
            let xs = samples(lo, hi);
            let ys = compiled(op, &isa, &xs);
            let far = |(x, y): (&f32, &f32)| (ulps(*y, exact(op, *x)), *x, *y);
            let worst = xs.iter().zip(&ys).map(far).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
            println!("{} {} {}: {worst:?}", isa.level(), op.name(), bound);
            // Without fused multiply-add there is one more rounding here and there.
            let bound = if isa.has_fma() { bound } else { bound * 1.5 };
            assert!(worst.0 <= bound, "{} on {}: {worst:?}, bound {bound}", op.name(), isa.level());
        }
    }
}

#[test]
fn special_values() {
    let specials = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        -f32::MIN_POSITIVE,
        1e-45,
        -1e-45,
        88.73,
        -103.98,
        0.5,
        2.5,
        -2.5,
    ];
    for isa in Isa::all().unwrap() {
        for op in [
            UnOp::Exp,
            UnOp::Expm1,
            UnOp::Log,
            UnOp::Log1p,
            UnOp::Tanh,
            UnOp::Sigmoid,
            UnOp::Erf,
            UnOp::Sin,
            UnOp::Cos,
            UnOp::Sqrt,
            UnOp::Rsqrt,
            UnOp::Floor,
            UnOp::Ceil,
            UnOp::Round,
            UnOp::Trunc,
            UnOp::Neg,
            UnOp::Abs,
        ] {
            for (x, y) in specials.iter().zip(compiled(op, &isa, &specials)) {
                let e = exact(op, *x);
                let sign_counts = e == 0.0 && x.is_finite() && *x == 0.0;
                assert!(ulps(y, e) <= 6.0, "{}({x:e}) on {}: {y:e}, expected {e:e}", op.name(), isa.level());
                assert!(
                    !sign_counts || y.is_sign_negative() == e.is_sign_negative(),
                    "{}({x:e}) on {}: {y:e}, expected {e:e}",
                    op.name(),
                    isa.level()
                );
            }
        }
    }
}
