//! Machine code shared by the programs of a model, and by models.

use std::sync::Barrier;
use std::thread;

use dl::prelude::*;
use dl::{CodeCache, Compilation, Isa, Options};

dl::model! {
    /// Two functions of the same text, and one with more.
    model Twin {
        let first = [Linear(6 => 8), Tanh];
        let last = Linear(8 => 3);

        pub fn left(x: f32[N, 6]) -> f32[N, 3] {
            last(first(x)).softmax(-1)
        }

        pub fn right(x: f32[N, 6]) -> f32[N, 3] {
            last(first(x)).softmax(-1)
        }

        #[train]
        pub fn loss(x: f32[N, 6], label: i64[N]) -> f32 {
            last(first(x)).cross_entropy(label)
        }
    }
}

/// Whatever the environment forces, but compiled.
fn options() -> Options {
    let mut options = Options::from_env().unwrap();
    if options.isa == Isa::Interpreter {
        options.isa = Isa::Native;
    }
    options
}

fn sharing(code: &CodeCache) -> Options {
    let mut options = options();
    options.code = Some(code.clone());
    options
}

fn twin(options: Options) -> Twin {
    Twin::with_options(Seed(1), options).unwrap()
}

fn x(n: usize) -> Array2<f32> {
    Array2::from_shape_fn((n, 6), |(i, j)| (i * 6 + j) as f32 / 7.0 - 1.0)
}

fn labels(n: usize) -> Array1<i64> {
    Array1::from_shape_fn(n, |i| i as i64 % 3)
}

fn bits(y: &Array2<f32>) -> Vec<u32> {
    y.iter().map(|v| v.to_bits()).collect()
}

/// What the last compilation compiled and found.
fn last(net: &Twin) -> (usize, usize) {
    let Compilation { compiled, found, .. } = net.compilations().pop().unwrap();
    (compiled, found)
}

#[test]
fn a_second_program_of_the_same_kernels_compiles_none() {
    let net = twin(options());
    let left = net.left(&x(5)).unwrap();
    let (compiled, found) = last(&net);
    assert!(compiled > 1 && found == 0, "{compiled} {found}");
    let right = net.right(&x(5)).unwrap();
    assert_eq!(last(&net), (0, compiled));
    assert_eq!(bits(&left), bits(&right));
    assert_eq!(bits(&right), bits(&twin(options()).right(&x(5)).unwrap()), "found or compiled, it is the same");
    net.left(&x(9)).unwrap();
    assert!(last(&net).0 > 0, "other sizes have other kernels");
}

#[test]
fn a_step_for_another_batch_shares_the_updates() {
    let mut net = twin(options());
    let mut adam = Adam::new(0.1);
    for n in [4, 7] {
        net.train_loss(&mut adam, &x(n), &labels(n)).unwrap();
    }
    let (compiled, found) = last(&net);
    assert!(compiled > 0 && found > 0, "{compiled} {found}");
}

#[test]
fn steps_have_the_same_bits_with_a_warm_cache() {
    let code = CodeCache::default();
    let warm = twin(sharing(&code));
    let trained = |options: Options| {
        let (mut net, mut adam) = (twin(options), Adam::new(0.1));
        let losses: Vec<u32> =
            (0..4).map(|_| net.train_loss(&mut adam, &x(6), &labels(6)).unwrap().to_bits()).collect();
        (losses, bits(&net.left(&x(6)).unwrap()), net.compilations()[0].compiled)
    };
    warm.explain_train_loss(&Adam::new(0.1), &x(6), &labels(6)).unwrap();
    let (cold, hot) = (trained(options()), trained(sharing(&code)));
    assert!(cold.2 > 0 && hot.2 == 0, "{} {}", cold.2, hot.2);
    assert_eq!((cold.0, cold.1), (hot.0, hot.1));
}

#[test]
fn models_share_a_cache_and_dropping_them_frees_it() {
    let code = CodeCache::default();
    let (one, two) = (twin(sharing(&code)), twin(sharing(&code)));
    let expected = one.left(&x(5)).unwrap();
    let there = code.len();
    assert_eq!(there, last(&one).0);
    let found = two.left(&x(5)).unwrap();
    assert_eq!((last(&two), code.len()), ((0, there), there));
    drop(one);
    assert_eq!((bits(&found), bits(&two.left(&x(5)).unwrap())), (bits(&expected), bits(&expected)));
    drop(two);
    assert!(code.is_empty(), "{code:?}");
    let alone = twin(options());
    alone.left(&x(5)).unwrap();
    assert!(code.is_empty() && last(&alone).0 == there, "a model has a cache of its own");
}

#[test]
fn a_program_that_is_no_longer_kept_frees_its_code() {
    let code = CodeCache::default();
    let mut options = sharing(&code);
    options.programs = 1;
    let net = twin(options);
    let kept: Vec<usize> = [3, 4, 5, 6, 3].map(|n| net.left(&x(n)).map(|_| code.len()).unwrap()).into();
    assert!(kept.iter().all(|&len| len > 0 && len <= 2 * kept[0]), "{kept:?}");
    assert!(last(&net).0 > 0);
}

#[test]
fn first_calls_at_once_compile_each_kernel_once() {
    let expected = bits(&twin(options()).left(&x(5)).unwrap());
    for _ in 0..5 {
        let (code, barrier) = (CodeCache::default(), Barrier::new(4));
        let nets = [twin(sharing(&code)), twin(sharing(&code))];
        thread::scope(|scope| {
            let spawn = |i: usize| {
                let (net, barrier) = (&nets[i % 2], &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let y = if i < 2 { net.left(&x(5)) } else { net.right(&x(5)) };
                    bits(&y.unwrap())
                })
            };
            let threads: Vec<_> = (0..4).map(spawn).collect();
            assert!(threads.into_iter().all(|thread| thread.join().unwrap() == expected));
        });
        let compiled = nets.iter().flat_map(|net| net.compilations()).map(|c| c.compiled).sum::<usize>();
        assert_eq!(compiled, code.len());
    }
}

#[test]
fn explain_tells_what_was_compiled_and_where_the_time_went() {
    let net = twin(options());
    let left = net.explain_left(&x(5)).unwrap();
    let compiled = last(&net).0;
    let right = net.explain_right(&x(5)).unwrap();
    assert!(left.contains(&format!("({compiled} compiled, 0 found)")), "{left}");
    assert!(right.contains(&format!("(0 compiled, {compiled} found)")), "{right}");
    let second = right.lines().nth(1).unwrap();
    assert!(["bind ", "passes ", "lower ", "compile "].iter().all(|phase| second.contains(phase)), "{right}");
    for Compilation { phases, took, .. } in net.compilations() {
        let phases = [phases.bind, phases.passes, phases.lower, phases.compile];
        assert!(phases.iter().all(|phase| !phase.is_zero()) && phases.iter().sum::<std::time::Duration>() <= took);
    }
}
