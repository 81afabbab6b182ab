//! Libraries of kernels and the texts of what was compiled.

use dl_codegen::abi::Fault;
use dl_codegen::jit::{self, Library};
use dl_codegen::kernel::{Access, Builder, DType, Kernel, UnOp};
use dl_codegen::{Error, Isa};

/// Multiplies by `factor` and takes the square root of a double, which needs no call, or the sine, which does.
fn scale(factor: f64, op: UnOp) -> Kernel {
    let mut k = Builder::new(format!("scale_{}", op.name()), 2);
    let x = k.buf(DType::F64, 10, Access::ReadWrite);
    let factor = k.lit(dl_codegen::kernel::Lit::f64(factor));
    k.vec(5, |k, j| {
        let at = dl_codegen::kernel::Var::PART * 5 + j;
        let v = k.load(x, at.clone());
        let v = k.mul(v, factor);
        let v = k.un(op, v);
        k.store(x, at, v);
    });
    k.finish()
}

fn shared<T: Send + Sync>(value: T) -> T {
    value
}

#[test]
fn a_library_is_shared_by_threads_and_does_not_depend_on_them() {
    let isa = shared(Isa::new(None).unwrap());
    let kernels: Vec<Kernel> =
        (1..8).map(|i| scale(f64::from(i), if i % 2 == 0 { UnOp::Sin } else { UnOp::Sqrt })).collect();
    let sizes = [1, 3, 100].map(|threads| {
        let library = shared(Library::compile(&kernels.iter().collect::<Vec<_>>(), &isa, threads).unwrap());
        std::thread::scope(|scope| {
            for (i, kernel) in library.kernels().iter().enumerate() {
                scope.spawn(move || {
                    let mut x: [f64; 10] = std::array::from_fn(|j| j as f64);
                    let mut fault = Fault::default();
                    let table = [x.as_mut_ptr().cast::<u8>(), (&raw mut fault).cast()];
                    // SAFETY: one buffer of ten doubles, aligned to 8 bytes, which these kernels do not exceed, and a
                    // fault cell.
                    unsafe { kernel(table.as_ptr(), 0, 2) };
                    for (j, x) in x.iter().enumerate() {
                        let product = j as f64 * (i + 1) as f64;
                        assert_eq!(*x, if i % 2 == 1 { product.sin() } else { product.sqrt() });
                    }
                });
            }
        });
        library.code_size()
    });
    assert!(sizes[0] > 0 && sizes.iter().all(|s| *s == sizes[0]), "{sizes:?}");
    assert!(Library::compile(&[], &isa, 2).unwrap().kernels().is_empty());
}

#[test]
fn code_can_be_read() {
    let kernel = scale(3.0, UnOp::Sqrt);
    for isa in Isa::all().unwrap() {
        assert!(jit::clif(&kernel, &isa).unwrap().contains("sqrt"));
        let asm = jit::asm(&kernel, &isa).unwrap();
        let expected = asm.contains("sqrtpd") && isa.has_fma() == asm.contains("vsqrtpd");
        assert!(!asm.is_empty() && (expected || !cfg!(target_arch = "x86_64")), "{asm}");
        assert!(!jit::compile(&kernel, &isa).unwrap().is_empty());
    }
}

#[test]
fn broken_kernels_are_refused() {
    let mut kernel = scale(3.0, UnOp::Sqrt);
    kernel.bufs[0].len = 9;
    let error = Library::compile(&[&kernel], &Isa::new(None).unwrap(), 1).unwrap_err();
    assert!(matches!(&error, Error::Verify { kernel, .. } if kernel == "scale_sqrt"), "{error}");
}
