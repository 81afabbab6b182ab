//! Compiling many kernels at once.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::Error;
use crate::isa::Isa;
use crate::jit::{MachineCode, compile};
use crate::kernel::walk::walk;
use crate::kernel::{DType, Expr, Kernel, Stmt, UnOp};

/// A thread is started for each so much work: in microseconds, several times what starting a thread takes.
const WORTH_A_THREAD: u64 = 400;

/// Compiles kernels on up to `threads` threads, fewer where there is little to do. Each takes the largest kernel that is
/// left. What is compiled, and the error that is returned, do not depend on the number of threads.
pub(crate) fn compile_all(kernels: &[&Kernel], isa: &Isa, threads: usize) -> Result<Vec<MachineCode>, Error> {
    let costs: Vec<u64> = kernels.iter().map(|kernel| cost(kernel)).collect();
    let order = largest_first(&costs);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut made = vec![];
        while let Some(&at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            made.push((at, compile(kernels[at], isa)));
        }
        made
    };
    let mut made = thread::scope(|scope| {
        let more = workers(&costs, threads) - 1;
        // Where the system gives no thread, the others do its work.
        let others: Vec<_> = (0..more).map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok()).collect();
        let mut made = work();
        for other in others {
            made.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        made
    });
    made.sort_unstable_by_key(|(at, _)| *at);
    made.into_iter().map(|(_, code)| code).collect()
}

/// How many threads are worth it, at least one.
fn workers(costs: &[u64], threads: usize) -> usize {
    let worth = costs.iter().sum::<u64>() / WORTH_A_THREAD;
    threads.min(costs.len()).min(usize::try_from(worth).unwrap_or(usize::MAX)).max(1)
}

fn largest_first(costs: &[u64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..costs.len()).collect();
    order.sort_by_key(|&at| Reverse(costs[at]));
    order
}

/// About how many microseconds a kernel takes to compile. Leaves make most loops quick; functions that are expanded to
/// polynomials, and random numbers, are as many statements.
fn cost(kernel: &Kernel) -> u64 {
    let mut cost = 30;
    walk(&kernel.body, &mut |stmt| {
        cost += match stmt {
            Stmt::Vec { .. } => 20,
            Stmt::Contract(_) => 60,
            Stmt::Let(_, Expr::Random { .. }) => 250,
            Stmt::Let(value, Expr::Un(op, _)) if is_expanded(*op) && kernel.values[value.0 as usize] == DType::F32 => {
                40
            }
            _ => 3,
        }
    });
    cost
}

fn is_expanded(op: UnOp) -> bool {
    use UnOp::{Cos, Erf, Exp, Expm1, Log, Log1p, Sigmoid, Sin, Tanh};
    matches!(op, Exp | Expm1 | Log | Log1p | Tanh | Sigmoid | Erf | Sin | Cos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Access, Builder};

    /// A kernel of `count` exponentials, one after the other.
    fn exponentials(count: usize) -> Kernel {
        let mut k = Builder::new(format!("exp_{count}"), 1);
        let x = k.buf(DType::F32, 64, Access::ReadWrite);
        k.vec(64, |k, j| {
            let first = k.load(x, j);
            let v = (0..count).fold(first, |v, _| k.un(UnOp::Exp, v));
            k.store(x, j, v);
        });
        k.finish()
    }

    #[test]
    fn the_largest_kernel_is_taken_first() {
        let costs: Vec<u64> = [1, 5, 0, 9].map(|count| cost(&exponentials(count))).to_vec();
        assert_eq!(largest_first(&costs), [3, 1, 0, 2], "{costs:?}");
    }

    #[test]
    fn threads_are_started_only_for_enough_work() {
        assert_eq!(workers(&[], 8), 1);
        assert_eq!(workers(&[WORTH_A_THREAD / 4; 4], 8), 1);
        assert_eq!(workers(&[WORTH_A_THREAD / 4; 12], 8), 3);
        assert_eq!(workers(&[WORTH_A_THREAD; 100], 8), 8);
        assert_eq!(workers(&[100 * WORTH_A_THREAD], 8), 1, "a kernel is compiled by one thread");
        assert_eq!(workers(&[WORTH_A_THREAD; 100], 0), 1);
    }

    #[test]
    fn code_and_errors_do_not_depend_on_threads() {
        let isa = Isa::new(None).unwrap();
        let mut kernels: Vec<Kernel> = (0..40).map(|i| exponentials(i % 7)).collect();
        let bytes = |threads| -> Vec<Vec<u8>> {
            let codes = compile_all(&kernels.iter().collect::<Vec<_>>(), &isa, threads).unwrap();
            codes.iter().map(|code| code.bytes().to_vec()).collect()
        };
        let alone = bytes(1);
        assert!([2, 7].into_iter().all(|threads| bytes(threads) == alone));
        // The larger one fails first, but the first one is told of.
        for (at, name) in [(3, "first"), (34, "second")] {
            (kernels[at].bufs[0].len, kernels[at].name) = (1, name.to_string());
        }
        for threads in [1, 2, 7] {
            let error = compile_all(&kernels.iter().collect::<Vec<_>>(), &isa, threads).unwrap_err();
            assert!(matches!(&error, Error::Verify { kernel, .. } if kernel == "first"), "{error}");
        }
    }
}
