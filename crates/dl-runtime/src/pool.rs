//! Persistent worker threads that run the rounds of a program together.
//!
//! A program is one [`Pool::run`] of several rounds. The work of a round is cut into as many shares as there are workers,
//! and each worker takes the share of its number: always the same parts of the same data, which are in its caches. The
//! next round begins when all shares of this one are done, no matter by whom: a worker that waits takes the shares which
//! nobody has begun. So a worker that the system does not let run, because other processes are busy or because it has
//! slept, holds up nobody, and the others do its work.
//!
//! Rounds are numbered from the beginning of the pool and never again from zero. A seat holds, for one share, the number
//! of rounds that were claimed and that are done, so that starting a run, sharing out, meeting between rounds and ending
//! a run are all a matter of comparing numbers, and a late worker sees by its number that its round is over.
//!
//! Waiting spins for a millisecond, since the next round or run is usually microseconds away, soon lets others use the
//! core between looks, and then sleeps. With more threads than cores it sleeps at once.
//!
//! Workers are not pinned: the affinity mask of the process already confines them, and several models, or several
//! processes, pinned to the same cores would starve each other.

use std::any::Any;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::options::MAX_THREADS;

/// How long a waiting thread spins before it sleeps, when every thread has a core of its own.
const SPIN: Duration = Duration::from_millis(1);

/// Looks before a waiting thread begins to yield its core between them: some ten microseconds.
const LOOKS: u32 = 256;

/// Looks before a worker takes another's share, who is given this time to begin: about half a microsecond.
const GRACE: u32 = 12;

/// The number of threads that this process may run at once: the affinity mask, lowered to the cgroup's CPU quota
/// (`cpu.max`). `std::thread::available_parallelism` reads both on Linux.
pub fn available_threads() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// What a [`Pool`] runs, once for each round and share.
pub(crate) type Task<'a> = dyn Fn(Turn) + Sync + 'a;

/// One share of the work of one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The number of the round, from 0.
    pub(crate) round: usize,
    /// The number of the share, from 0.
    pub(crate) share: usize,
    /// The number of shares.
    shares: usize,
    /// The number of the worker that has it: nobody else is this worker at the same time.
    pub(crate) worker: usize,
}

impl Turn {
    /// Those of `parts` equal parts that belong to this share: contiguous, and fixed by the number of shares alone. The
    /// first shares are the larger ones, so that the caller has what is too little for all.
    pub(crate) fn of(&self, parts: usize) -> Range<usize> {
        let (each, more) = (parts / self.shares, parts % self.shares);
        let start = each * self.share + more.min(self.share);
        start..start + each + usize::from(self.share < more)
    }
}

/// A team of worker threads; the thread that runs a program is its first member. Models share one through
/// [`Options::pool`](crate::Options::pool); a model that finds it busy runs on its caller's thread alone.
pub struct Pool {
    team: Arc<Team>,
    threads: Vec<JoinHandle<()>>,
    leader: Mutex<()>,
}

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
        let mut pool = Pool {
            team: Arc::new(Team::new(count, spin)),
            threads: Vec::with_capacity(count - 1),
            leader: Mutex::new(()),
        };
        for worker in 1..count {
            let team = Arc::clone(&pool.team);
            let thread = thread::Builder::new()
                .name(format!("dl-worker-{worker}"))
                .spawn(move || team.serve(worker))
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
        self.team.seats.len()
    }

    /// Runs `task` for every share of the rounds `0..rounds`, each round after the one before, and returns when all are
    /// done. What was written in a round is seen in the next.
    ///
    /// When the pool is busy with another caller's task, everything is done on the calling thread, as by a team of one:
    /// work is divided into parts that do not depend on the number of threads, so the result is the same.
    ///
    /// After a panic, no share is begun any more; it comes back as [`Error::Internal`].
    pub(crate) fn run(&self, rounds: usize, task: &Task<'_>) -> Result<()> {
        if self.threads() == 1 {
            return alone(rounds, task);
        }
        let _leader = match self.leader.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(guard)) => guard.into_inner(),
            Err(TryLockError::WouldBlock) => return alone(rounds, task),
        };
        self.team.lead(rounds, task)
    }
}

/// Runs `task` for the rounds `0..rounds` on the calling thread, each as one share. Wakes nobody.
pub(crate) fn alone(rounds: usize, task: &Task<'_>) -> Result<()> {
    catch(|| (0..rounds).for_each(|round| task(Turn { round, share: 0, shares: 1, worker: 0 }))).map_err(panicked)
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.team.closing.store(true, Ordering::SeqCst);
        self.team.wake();
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

/// What is run, and the number of its first round. It lies on the leader's stack.
struct Job<'a> {
    task: &'a Task<'a>,
    first: u64,
}

/// What the workers share.
struct Team {
    start: Padded<Start>,
    /// One for each worker.
    seats: Box<[Seat]>,
    park: Padded<Park>,
    panic: Mutex<Option<Panic>>,
    aborted: AtomicBool,
    closing: AtomicBool,
    spin: Duration,
}

struct Start {
    /// The number of rounds of all runs begun so far.
    end: AtomicU64,
    /// Of the run begun last.
    job: AtomicPtr<Job<'static>>,
}

/// The share of one number. Each field is on a line of its own: `done` is what everybody else looks at.
struct Seat {
    /// So many rounds have been begun, or skipped.
    claimed: Padded<AtomicU64>,
    /// So many rounds are done.
    done: Padded<AtomicU64>,
}

/// Where threads sleep.
struct Park {
    /// Whether one may sleep.
    asleep: AtomicBool,
    mutex: Mutex<()>,
    wake: Condvar,
}

type Panic = Box<dyn Any + Send>;

impl Team {
    fn new(count: usize, spin: Duration) -> Team {
        let seat = |_| Seat { claimed: Padded(AtomicU64::new(0)), done: Padded(AtomicU64::new(0)) };
        Team {
            start: Padded(Start { end: AtomicU64::new(0), job: AtomicPtr::new(ptr::null_mut()) }),
            seats: (0..count).map(seat).collect(),
            park: Padded(Park { asleep: AtomicBool::new(false), mutex: Mutex::new(()), wake: Condvar::new() }),
            panic: Mutex::default(),
            aborted: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            spin,
        }
    }

    /// Hands `task` to the workers, takes part as worker 0 and returns when every share of every round is done.
    fn lead(&self, rounds: usize, task: &Task<'_>) -> Result<()> {
        let first = self.start.0.end.load(Ordering::Relaxed);
        let end = first + rounds as u64;
        let job = Job { task, first };
        self.aborted.store(false, Ordering::Relaxed);
        self.start.0.job.store((&raw const job).cast_mut().cast(), Ordering::Relaxed);
        self.start.0.end.store(end, Ordering::SeqCst);
        self.wake();
        self.walk(0, first, end);
        match lock(&self.panic).take() {
            Some(panic) => Err(panicked(panic)),
            None => Ok(()),
        }
    }

    /// The life of a worker that is not the leader.
    fn serve(&self, worker: usize) {
        let mut next = 0;
        let end = || self.start.0.end.load(Ordering::SeqCst);
        loop {
            self.wait(|| end() > next || self.closing.load(Ordering::SeqCst));
            if self.closing.load(Ordering::SeqCst) {
                return;
            }
            // Of what was done while it slept it has no part.
            let done = self.seats.iter().map(|seat| seat.done.0.load(Ordering::Acquire)).max();
            let end = end();
            self.walk(worker, next.max(done.unwrap_or(0).saturating_sub(1)), end);
            next = end;
        }
    }

    /// Does its share of the rounds `next..end`, those of others that have not begun theirs, and waits until all are
    /// done.
    fn walk(&self, worker: usize, next: u64, end: u64) {
        for round in next..end {
            self.take(worker, worker, round);
            let done = || self.seats.iter().all(|seat| seat.done.0.load(Ordering::Acquire) > round);
            if look(GRACE, done) {
                continue;
            }
            (0..self.seats.len()).for_each(|share| self.take(worker, share, round));
            self.wait(done);
        }
    }

    /// Does a share of a round, unless somebody has begun it.
    fn take(&self, worker: usize, share: usize, round: u64) {
        let seat = &self.seats[share];
        let claimed = seat.claimed.0.load(Ordering::Relaxed);
        let claim =
            |claimed| seat.claimed.0.compare_exchange(claimed, round + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if claimed > round || !claim(claimed) {
            return;
        }
        let job = self.start.0.job.load(Ordering::Relaxed);
        // SAFETY: a claim succeeds once for each share and round. `lead` has stored the address before it raised `end`,
        // which this thread has read to be more than `round`, and does not return, by whatever way, before this share is
        // done as well. So the run of this round goes on, its job is the one stored last, and it is alive.
        let Job { task, first } = unsafe { &*job };
        let turn = Turn { round: (round - first) as usize, share, shares: self.seats.len(), worker };
        if !self.aborted.load(Ordering::Relaxed)
            && let Err(panic) = catch(|| task(turn))
        {
            self.aborted.store(true, Ordering::Relaxed);
            lock(&self.panic).get_or_insert(panic);
        }
        seat.done.0.store(round + 1, Ordering::SeqCst);
        self.wake();
    }

    /// Wakes all that sleep, after a change that they may wait for.
    fn wake(&self) {
        let Park { asleep, mutex, wake } = &self.park.0;
        // Either this load sees the sleeper, or the sleeper, which tells first and then looks, sees the change: all four
        // accesses are sequentially consistent.
        if asleep.load(Ordering::SeqCst) && asleep.swap(false, Ordering::SeqCst) {
            drop(lock(mutex));
            wake.notify_all();
        }
    }

    /// Returns once `ready`: spins, then yields, then sleeps.
    fn wait(&self, ready: impl Fn() -> bool) {
        if !self.spin.is_zero() {
            if look(LOOKS, &ready) {
                return;
            }
            let begin = Instant::now();
            while begin.elapsed() < self.spin {
                thread::yield_now();
                if look(GRACE, &ready) {
                    return;
                }
            }
        }
        let Park { asleep, mutex, wake } = &self.park.0;
        let mut guard = lock(mutex);
        loop {
            asleep.store(true, Ordering::SeqCst);
            if ready() {
                return;
            }
            guard = wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Whether it is ready at one of so many looks.
fn look(times: u32, ready: impl Fn() -> bool) -> bool {
    (0..times).any(|_| {
        let ready = ready();
        if !ready {
            std::hint::spin_loop();
        }
        ready
    })
}

/// Keeps a hot counter on a cache line (and the one that is prefetched with it) of its own.
#[repr(align(128))]
struct Padded<T>(T);

/// Locks `mutex`; what it guards here is valid at every moment, so a panic elsewhere does not matter.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn catch(f: impl FnOnce()) -> Result<(), Panic> {
    catch_unwind(AssertUnwindSafe(f))
}

fn panicked(panic: Panic) -> Error {
    let text = panic.downcast_ref::<&str>().map(|s| s.to_string()).or_else(|| panic.downcast_ref::<String>().cloned());
    Error::internal("running a program", text.unwrap_or_else(|| "a panic without a message".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn absurd_numbers_of_threads_are_refused() {
        for threads in [MAX_THREADS + 1, usize::MAX] {
            let message = Pool::new(threads).err().unwrap().to_string();
            assert_eq!(message, format!("threads is `{threads}`; give a number of threads from 1 to 1024"));
        }
        assert_eq!(Pool::new(0).unwrap().threads(), 1);
    }

    #[test]
    fn every_share_is_done_once_and_after_those_of_the_round_before() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads).unwrap();
            let cells: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
            let wrong = AtomicUsize::new(0);
            for run in 0..200 {
                let rounds = run % 7;
                pool.run(rounds, &|turn| {
                    let ahead = cells.iter().filter(|cell| cell.load(Ordering::Relaxed) < turn.round).count();
                    let own = cells[turn.share].fetch_add(1, Ordering::Relaxed) != turn.round;
                    wrong.fetch_add(ahead + usize::from(own), Ordering::Relaxed);
                })
                .unwrap();
                wrong.fetch_add(
                    cells.iter().filter(|cell| cell.swap(0, Ordering::Relaxed) != rounds).count(),
                    Ordering::Relaxed,
                );
            }
            assert_eq!(wrong.into_inner(), 0, "{threads} threads");
        }
    }

    #[test]
    fn a_worker_is_never_in_two_places() {
        let pool = Pool::new(4).unwrap();
        let (busy, wrong) = ([const { AtomicBool::new(false) }; 4], AtomicUsize::new(0));
        for _ in 0..20 {
            pool.run(20, &|turn| {
                wrong.fetch_add(usize::from(busy[turn.worker].swap(true, Ordering::SeqCst)), Ordering::SeqCst);
                thread::yield_now();
                busy[turn.worker].store(false, Ordering::SeqCst);
            })
            .unwrap();
        }
        assert_eq!(wrong.into_inner(), 0);
    }

    #[test]
    fn parts_are_shared_out_evenly_and_in_order() {
        for shares in 1..9 {
            for parts in 0..40 {
                let turns = (0..shares).map(|share| Turn { round: 0, share, shares, worker: 0 }.of(parts));
                let turns: Vec<Range<usize>> = turns.collect();
                assert_eq!((turns[0].start, turns[shares - 1].end), (0, parts));
                assert!(turns.windows(2).all(|two| two[0].end == two[1].start && two[0].len() >= two[1].len()));
                assert!(turns[0].len() - turns[shares - 1].len() <= 1);
            }
        }
    }

    #[test]
    fn a_panic_ends_the_run_and_not_the_pool() {
        let pool = Pool::new(3).unwrap();
        for culprit in 0..3 {
            let last = AtomicUsize::new(0);
            let error = pool
                .run(3, &|turn| {
                    last.fetch_max(turn.round, Ordering::Relaxed);
                    assert!((turn.round, turn.share) != (1, culprit), "on purpose");
                })
                .unwrap_err();
            assert!(error.to_string().contains("on purpose"), "{error}");
            assert_eq!(last.into_inner(), 1, "rounds after a panic");
        }
        let ran = AtomicUsize::new(0);
        pool.run(1, &|_| _ = ran.fetch_add(1, Ordering::Relaxed)).unwrap();
        assert_eq!(ran.into_inner(), 3);
    }

    #[test]
    fn callers_that_meet_a_busy_pool_run_alone() {
        let pool = Pool::new(2).unwrap();
        let teams = Mutex::new(Vec::new());
        pool.run(1, &|turn| {
            if turn.share == 0 {
                let inner = |inner: Turn| lock(&teams).push((inner.shares, inner.worker));
                thread::scope(|scope| scope.spawn(|| pool.run(1, &inner).unwrap()).join().unwrap());
            }
        })
        .unwrap();
        assert_eq!(*lock(&teams), [(1, 0)]);
    }

    #[test]
    fn sleeping_workers_wake_up() {
        let pool = Pool::new(2).unwrap();
        for _ in 0..3 {
            thread::sleep(SPIN * 5);
            let workers = Mutex::new(Vec::new());
            pool.run(2, &|turn| {
                lock(&workers).push(turn.worker);
                // Long enough for the other one to wake, or to fall asleep while it waits.
                thread::sleep(SPIN * if turn.worker == 0 { 20 } else { 5 });
            })
            .unwrap();
            let workers = workers.into_inner().unwrap();
            assert!(workers.len() == 4 && workers.contains(&1), "{workers:?}");
        }
    }

    #[test]
    fn a_worker_that_is_held_up_holds_up_nobody() {
        let team = Team::new(3, SPIN);
        let shares = Mutex::new(Vec::new());
        // Nobody serves: the leader does everything.
        team.lead(2, &|turn| lock(&shares).push((turn.round, turn.share, turn.worker))).unwrap();
        assert_eq!(shares.into_inner().unwrap(), [(0, 0, 0), (0, 1, 0), (0, 2, 0), (1, 0, 0), (1, 1, 0), (1, 2, 0)]);
        // One that comes late finds nothing left of the run before.
        team.walk(1, 0, 2);
    }
}
