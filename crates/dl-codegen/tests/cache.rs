//! Code that is shared: what is compiled again, what is not, and when it is freed.

use std::sync::Barrier;
use std::thread;

use dl_codegen::abi::Fault;
use dl_codegen::cache::{CodeCache, LoadedKernels, Unnamed};
use dl_codegen::kernel::{Access, Builder, DType, Kernel, Lit};
use dl_codegen::{Error, Isa};

const N: usize = 64;

/// Multiplies by a number.
fn scale(name: &str, factor: f32) -> Kernel {
    let mut k = Builder::new(name, 1);
    let x = k.buf(DType::F32, N as u64, Access::ReadWrite);
    let factor = k.lit(Lit::f32(factor));
    k.vec(N as u64, |k, j| {
        let v = k.load(x, j);
        let v = k.mul(v, factor);
        k.store(x, j, v);
    });
    k.finish()
}

fn scales(factors: impl IntoIterator<Item = u8>) -> Vec<Unnamed> {
    factors.into_iter().map(|factor| scale(&format!("scale_{factor}"), f32::from(factor)).into()).collect()
}

fn compile(cache: &CodeCache, kernels: &[Unnamed]) -> LoadedKernels {
    cache.compile(kernels, &Isa::new(None).unwrap(), 2).unwrap()
}

/// By how much each function multiplies.
fn factors(code: &LoadedKernels) -> Vec<f32> {
    let factor = |function: &dl_codegen::abi::KernelFn| {
        let (mut x, mut fault) = ([1.0_f32; N], Fault::default());
        let table = [x.as_mut_ptr().cast::<u8>(), (&raw mut fault).cast()];
        // SAFETY: one buffer of the declared length and a fault cell; the code lives.
        unsafe { function(table.as_ptr(), 0, 1) };
        assert!(x.iter().all(|v| *v == x[0]));
        x[0]
    };
    code.functions().iter().map(factor).collect()
}

#[test]
fn what_is_there_is_not_compiled_again() {
    let cache = CodeCache::default();
    let first = compile(&cache, &scales([1, 2, 3]));
    assert_eq!((first.compiled(), first.found(), cache.len()), (3, 0, 3));
    let second = compile(&cache.clone(), &scales([4, 3, 2]));
    assert_eq!((second.compiled(), second.found(), cache.len()), (1, 2, 4));
    assert!(second.code_size() > 0 && second.code_size() < first.code_size());
    assert_eq!((factors(&first), factors(&second)), (vec![1.0, 2.0, 3.0], vec![4.0, 3.0, 2.0]));
    let third = compile(&cache, &scales([4, 1]));
    assert_eq!((third.compiled(), third.code_size(), factors(&third)), (0, 0, vec![4.0, 1.0]));
    assert_eq!(second.functions()[0] as usize, third.functions()[0] as usize);
    assert_eq!(compile(&CodeCache::default(), &scales([4])).compiled(), 1, "another cache knows nothing of it");
}

#[test]
fn names_do_not_count_and_all_else_does() {
    let cache = CodeCache::default();
    let code = compile(&cache, &[scale("a", 2.0).into(), scale("b", 2.0).into(), scale("a", 3.0).into()]);
    assert_eq!((code.compiled(), code.found(), factors(&code)), (2, 1, vec![2.0, 2.0, 3.0]));
    let more = |change: fn(&mut Kernel)| {
        let mut kernel = scale("a", 2.0);
        change(&mut kernel);
        compile(&cache, &[kernel.into()]).compiled()
    };
    assert_eq!([more(|_| ()), more(|k| k.parts = 2), more(|k| k.bufs[0].len += 1)], [0, 1, 1]);
}

#[test]
fn instruction_sets_are_kept_apart() {
    let (cache, all) = (CodeCache::default(), Isa::all().unwrap());
    let codes: Vec<_> = all.iter().map(|isa| cache.compile(&scales([2]), isa, 1).unwrap()).collect();
    assert!(codes.iter().all(|code| code.compiled() == 1 && factors(code) == [2.0]));
    assert_eq!(cache.len(), all.len());
}

#[test]
fn code_is_freed_with_the_last_that_uses_it() {
    let cache = CodeCache::default();
    let (first, second) = (compile(&cache, &scales([1, 2])), compile(&cache, &scales([2, 3])));
    drop(first);
    assert_eq!((cache.len(), factors(&second)), (3, vec![2.0, 3.0]), "one piece of memory holds 1 and 2");
    assert_eq!(compile(&cache, &scales([1])).compiled(), 0);
    drop(second);
    assert!(cache.is_empty());
    assert_eq!(compile(&cache, &scales([1, 2])).compiled(), 2);
    assert!(cache.is_empty());
}

#[test]
fn threads_compile_each_kernel_once() {
    for _ in 0..20 {
        let (cache, barrier) = (CodeCache::default(), Barrier::new(6));
        let codes: Vec<_> = thread::scope(|scope| {
            let spawn = |i: u8| {
                let (cache, barrier) = (&cache, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    compile(cache, &scales(i..i + 5))
                })
            };
            let threads: Vec<_> = (0..6).map(spawn).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(codes.iter().map(|code| code.compiled()).sum::<usize>(), 10);
        for (i, code) in codes.iter().enumerate() {
            assert_eq!(factors(code), (i..i + 5).map(|factor| factor as f32).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_failure_leaves_nothing_behind() {
    let (cache, isa) = (CodeCache::default(), Isa::new(None).unwrap());
    let mut broken = scale("broken", 2.0);
    broken.bufs[0].len = 1;
    let kernels = [scale("good", 3.0).into(), broken.into()];
    thread::scope(|scope| {
        // Whoever waits for another tries by itself.
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| cache.compile(&kernels, &isa, 1).unwrap_err())).collect();
        for error in threads.into_iter().map(|thread| thread.join().unwrap()) {
            assert!(matches!(&error, Error::Verify { kernel, .. } if kernel == "broken"), "{error}");
        }
    });
    assert!(cache.is_empty());
    assert_eq!(factors(&compile(&cache, &kernels[..1])), [3.0]);
}
