//! Persistent worker threads that run one closure together (SPMD).
//!
//! A whole program is one [`Pool::run`]: every worker walks the same list of kernels, takes its own fixed share of each
//! kernel's parts and meets the others at [`Worker::barrier`]. Waiting spins for a millisecond, since the next kernel
//! or the next step is usually microseconds away, and then sleeps. With more threads than cores it sleeps at once.
//!
//! Workers are not pinned: the affinity mask of the process already confines them, and several models, or several
//! processes, pinned to the same cores would starve each other.

use std::any::Any;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::options::MAX_THREADS;

/// How long a waiting thread spins before it sleeps, when every thread has a core of its own.
const SPIN: Duration = Duration::from_millis(1);

/// The number of threads that this process may run at once: the affinity mask, lowered to the cgroup's CPU quota
/// (`cpu.max`). `std::thread::available_parallelism` reads both on Linux.
pub fn available_threads() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// What a [`Pool`] runs on each of its threads.
pub(crate) type Task<'a> = dyn Fn(&Worker<'_>) -> Result<(), Aborted> + Sync + 'a;

/// A team of worker threads; the thread that runs a program is its first member. Models share one through
/// [`Options::pool`](crate::Options::pool); a model that finds it busy runs on its caller's thread alone.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    leader: Mutex<()>,
}

/// What a closure run by a [`Pool`] knows of its place in the team.
pub(crate) struct Worker<'a> {
    index: usize,
    count: usize,
    barrier: Option<&'a Shared>,
}

/// Another worker of the team panicked, so the rest gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted(());

impl Pool {
    /// A pool of `threads` threads, the caller's among them, so `threads - 1` are started. Zero counts as one.
    ///
    /// Errors: [`Error::BadSetting`] for more than 1024 threads, [`Error::Io`] if the system does not give them.
    pub fn new(threads: usize) -> Result<Pool> {
        if threads > MAX_THREADS {
            let expected = format!("give a number of threads from 1 to {MAX_THREADS}");
            return Err(Error::BadSetting { setting: "threads", value: threads.to_string(), expected });
        }
        let count = threads.max(1);
        let spin = if count <= available_threads() { SPIN } else { Duration::ZERO };
        let shared = Arc::new(Shared {
            count,
            start: Event::new(spin),
            meet: Event::new(spin),
            finish: Event::new(spin),
            arrived: Padded(AtomicUsize::new(0)),
            running: Padded(AtomicUsize::new(0)),
            aborted: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            task: Mutex::new(None),
        });
        let mut pool = Pool { shared, threads: Vec::with_capacity(count - 1), leader: Mutex::new(()) };
        for index in 1..count {
            let shared = Arc::clone(&pool.shared);
            let thread = thread::Builder::new()
                .name(format!("dl-worker-{index}"))
                .spawn(move || shared.serve(index))
                .map_err(|source| Error::Io {
                action: "starting the worker threads (DL_THREADS sets their number)",
                path: PathBuf::new(),
                source,
            })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// The number of threads, the caller's among them.
    pub fn threads(&self) -> usize {
        self.shared.count
    }

    /// Runs `task` on every thread of the pool at once and returns when all are done.
    ///
    /// When the pool is busy with another caller's task, `task` runs on the calling thread alone, as a team of one:
    /// work is divided into parts that do not depend on the number of threads, so the result is the same.
    ///
    /// A panic in any worker stops the team at its next barrier and comes back as [`Error::Internal`].
    pub(crate) fn run(&self, task: &Task<'_>) -> Result<()> {
        let alone = Worker { index: 0, count: 1, barrier: None };
        let _leader = match self.leader.try_lock() {
            Ok(guard) if self.shared.count > 1 => guard,
            Err(TryLockError::Poisoned(guard)) if self.shared.count > 1 => guard.into_inner(),
            _ => return catch(|| task(&alone)).map_err(panicked),
        };
        self.shared.lead(task)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.start.advance();
        for thread in self.threads.drain(..) {
            // A worker catches the panics of its tasks, so there is nothing to learn from how it ended.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish()
    }
}

impl Worker<'_> {
    /// This worker's number, from 0.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// The size of the team.
    #[cfg(test)]
    fn count(&self) -> usize {
        self.count
    }

    /// The share of `parts` equal parts that this worker takes: contiguous, and fixed by the team's size alone.
    pub(crate) fn share(&self, parts: usize) -> Range<usize> {
        parts * self.index / self.count..parts * (self.index + 1) / self.count
    }

    /// Waits until every worker of the team has come here. Writes made before it are seen by all after it.
    pub(crate) fn barrier(&self) -> Result<(), Aborted> {
        self.barrier.map_or(Ok(()), Shared::meet)
    }
}

type Panic = Box<dyn Any + Send>;

struct Shared {
    count: usize,
    start: Event,
    meet: Event,
    finish: Event,
    arrived: Padded<AtomicUsize>,
    running: Padded<AtomicUsize>,
    aborted: AtomicBool,
    closing: AtomicBool,
    task: Mutex<Option<&'static Task<'static>>>,
}

impl Shared {
    /// Hands `task` to the workers, takes part as worker 0 and waits for all of them.
    fn lead(&self, task: &Task<'_>) -> Result<()> {
        // SAFETY: the reference is used by the workers only until they have counted `running` down to zero, and this
        // function returns, by whatever way, only after it has seen that: a panic of the leader's own share is caught.
        let task_for_all = unsafe { std::mem::transmute::<&Task<'_>, &'static Task<'static>>(task) };
        *lock(&self.task) = Some(task_for_all);
        self.arrived.0.store(0, Ordering::Relaxed);
        self.aborted.store(false, Ordering::Relaxed);
        self.running.0.store(self.count - 1, Ordering::Relaxed);
        let finished = self.finish.generation();
        self.start.advance();
        let own = self.work(task, 0);
        self.finish.wait_past(finished);
        *lock(&self.task) = None;
        own.map_err(panicked)?;
        match self.aborted.load(Ordering::Acquire) {
            true => Err(Error::internal("running a program", "a worker thread panicked")),
            false => Ok(()),
        }
    }

    /// The life of worker `index`.
    fn serve(&self, index: usize) {
        let mut seen = 0;
        loop {
            self.start.wait_past(seen);
            seen = self.start.generation();
            if self.closing.load(Ordering::SeqCst) {
                return;
            }
            let task = *lock(&self.task);
            if let Some(task) = task {
                // The leader reports a panic through `aborted`; the panic hook has printed its message.
                let _ = self.work(task, index);
            }
            if self.running.0.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.finish.advance();
            }
        }
    }

    fn work(&self, task: &Task<'_>, index: usize) -> Result<(), Panic> {
        let outcome = catch(|| task(&Worker { index, count: self.count, barrier: Some(self) }));
        if outcome.is_err() {
            self.aborted.store(true, Ordering::Release);
            self.meet.advance();
        }
        outcome
    }

    fn meet(&self) -> Result<(), Aborted> {
        let generation = self.meet.generation();
        if self.aborted.load(Ordering::Acquire) {
            return Err(Aborted(()));
        }
        if self.arrived.0.fetch_add(1, Ordering::AcqRel) + 1 == self.count {
            self.arrived.0.store(0, Ordering::Relaxed);
            self.meet.advance();
        } else {
            self.meet.wait_past(generation);
        }
        match self.aborted.load(Ordering::Acquire) {
            true => Err(Aborted(())),
            false => Ok(()),
        }
    }
}

/// A counter that threads wait on: spinning first, then sleeping.
struct Event {
    generation: Padded<AtomicU32>,
    sleepers: AtomicUsize,
    mutex: Mutex<()>,
    wake: Condvar,
    spin: Duration,
}

impl Event {
    fn new(spin: Duration) -> Event {
        Event {
            generation: Padded(AtomicU32::new(0)),
            sleepers: AtomicUsize::new(0),
            mutex: Mutex::new(()),
            wake: Condvar::new(),
            spin,
        }
    }

    fn generation(&self) -> u32 {
        self.generation.0.load(Ordering::Acquire)
    }

    fn advance(&self) {
        self.generation.0.fetch_add(1, Ordering::SeqCst);
        // Either this load sees the sleeper, or the sleeper, which counts itself before it looks, sees the new
        // generation: both pairs are sequentially consistent.
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.mutex));
            self.wake.notify_all();
        }
    }

    /// Returns once the generation is no longer `seen`.
    fn wait_past(&self, seen: u32) {
        let begin = Instant::now();
        loop {
            for _ in 0..64 {
                if self.generation() != seen {
                    return;
                }
                std::hint::spin_loop();
            }
            if begin.elapsed() >= self.spin {
                break;
            }
        }
        let mut guard = lock(&self.mutex);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while self.generation.0.load(Ordering::SeqCst) == seen {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Keeps a hot counter on a cache line (and the one that is prefetched with it) of its own.
#[repr(align(128))]
struct Padded<T>(T);

/// Locks `mutex`; what it guards here is valid at every moment, so a panic elsewhere does not matter.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `f`; giving up because another worker did is not a panic of this one.
fn catch(f: impl FnOnce() -> Result<(), Aborted>) -> Result<(), Panic> {
    catch_unwind(AssertUnwindSafe(|| {
        let _ = f();
    }))
}

fn panicked(panic: Panic) -> Error {
    let text = panic.downcast_ref::<&str>().map(|s| s.to_string()).or_else(|| panic.downcast_ref::<String>().cloned());
    Error::internal("running a program", text.unwrap_or_else(|| "a panic without a message".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_numbers_of_threads_are_refused() {
        for threads in [MAX_THREADS + 1, usize::MAX] {
            let message = Pool::new(threads).err().unwrap().to_string();
            assert_eq!(message, format!("threads is `{threads}`; give a number of threads from 1 to 1024"));
        }
        assert_eq!(Pool::new(0).unwrap().threads(), 1);
    }

    #[test]
    fn every_worker_sees_what_the_others_wrote_before_a_barrier() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads).unwrap();
            let cells: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
            let wrong = AtomicUsize::new(0);
            for _ in 0..50 {
                pool.run(&|worker| {
                    for round in 1..=10 {
                        cells[worker.index()].store(round, Ordering::Relaxed);
                        worker.barrier()?;
                        wrong.fetch_add(
                            cells.iter().filter(|c| c.load(Ordering::Relaxed) != round).count(),
                            Ordering::Relaxed,
                        );
                        worker.barrier()?;
                    }
                    Ok(())
                })
                .unwrap();
            }
            assert_eq!(wrong.into_inner(), 0, "{threads} threads");
        }
    }

    #[test]
    fn shares_cover_all_parts_once() {
        for count in 1..9 {
            for parts in 0..40 {
                let mut next = 0;
                for index in 0..count {
                    let share = Worker { index, count, barrier: None }.share(parts);
                    assert_eq!(share.start, next);
                    next = share.end;
                }
                assert_eq!(next, parts);
            }
        }
    }

    #[test]
    fn a_panic_ends_the_run_and_not_the_pool() {
        let pool = Pool::new(3).unwrap();
        for culprit in 0..3 {
            let error = pool
                .run(&|worker| {
                    worker.barrier()?;
                    assert!(worker.index() != culprit, "on purpose");
                    worker.barrier()?;
                    worker.barrier()
                })
                .unwrap_err();
            assert!(matches!(error, Error::Internal { .. }), "{error}");
        }
        let ran = AtomicUsize::new(0);
        pool.run(&|worker| {
            ran.fetch_add(1, Ordering::Relaxed);
            worker.barrier()
        })
        .unwrap();
        assert_eq!(ran.into_inner(), 3);
    }

    #[test]
    fn callers_that_meet_a_busy_pool_run_alone() {
        let pool = Pool::new(2).unwrap();
        let teams = Mutex::new(Vec::new());
        pool.run(&|worker| {
            if worker.index() == 0 {
                let inner = |inner: &Worker<'_>| {
                    lock(&teams).push(inner.count());
                    Ok(())
                };
                thread::scope(|scope| scope.spawn(|| pool.run(&inner).unwrap()).join().unwrap());
            }
            worker.barrier()
        })
        .unwrap();
        assert_eq!(*lock(&teams), [1]);
    }

    #[test]
    fn sleeping_workers_wake_up() {
        let pool = Pool::new(2).unwrap();
        let ran = AtomicUsize::new(0);
        for _ in 0..3 {
            thread::sleep(SPIN * 5);
            pool.run(&|worker| {
                if worker.index() == 0 {
                    thread::sleep(SPIN * 5);
                }
                worker.barrier()?;
                ran.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(ran.into_inner(), 6);
    }
}
