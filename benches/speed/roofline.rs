//! What the machine can do in a second, measured: multiply-adds, and bytes that are read or copied.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dl_runtime::Isa;

/// A measurement takes at least so long, which is less than the system lets a thread run before another one.
const SPAN: Duration = Duration::from_millis(1);

/// Measurements are repeated for so long; the best counts, which nothing disturbed.
const ALL: Duration = Duration::from_millis(200);

/// Registers that [`Simd::multiply_add`] uses, enough to hide the latency of an operation.
const ACCUMULATORS: usize = 12;

/// Elements that are read at once.
const BLOCK: usize = 128;

/// The limits of a number of threads.
pub struct Roofline {
    threads: usize,
    simd: Simd,
    /// Operations a second, a multiply-add counted as two.
    pub flops: f64,
    /// Bytes a second, by the size of what is read.
    reads: HashMap<usize, f64>,
    /// Bytes a second, by the size of both sides.
    copies: HashMap<usize, f64>,
}

impl Roofline {
    /// Measures the operations of so many threads with the vectors that programs are compiled for. Bytes are measured
    /// when they are asked for.
    pub fn measure(threads: usize, isa: Isa) -> Roofline {
        let simd = Simd::detect(isa);
        let rounds = rate(threads, || move |rounds| simd.multiply_add(rounds));
        let flops = rounds * (2 * simd.lanes() * ACCUMULATORS) as f64;
        Roofline { threads, simd, flops, reads: HashMap::new(), copies: HashMap::new() }
    }

    /// Bytes a second of reading memory of about this size, shared out among the threads.
    pub fn read(&mut self, bytes: f64) -> f64 {
        let (simd, threads, bytes) = (self.simd, self.threads, rounded(bytes));
        *self.reads.entry(bytes).or_insert_with(|| {
            let rounds = rate(threads, || {
                let memory = Lines::new(bytes / threads);
                move |rounds| (0..rounds).for_each(|_| simd.read(black_box(memory.get())))
            });
            rounds * (4 * Lines::elements(bytes / threads)) as f64
        })
    }

    /// Bytes a second, read and written ones counted, of copying between two halves of memory of about this size.
    pub fn copy(&mut self, bytes: f64) -> f64 {
        let (threads, bytes) = (self.threads, rounded(bytes));
        *self.copies.entry(bytes).or_insert_with(|| {
            let half = bytes / threads / 2;
            let rounds = rate(threads, || {
                let (from, mut to) = (Lines::new(half), Lines::new(half));
                move |rounds| (0..rounds).for_each(|_| black_box(to.get_mut()).copy_from_slice(black_box(from.get())))
            });
            rounds * (8 * Lines::elements(half)) as f64
        })
    }

    /// Operations a second that are possible for a task of so many operations on so many bytes: by arithmetic, or by
    /// reading each byte once.
    pub fn flops_of(&mut self, flops: f64, bytes: f64) -> f64 {
        self.flops.min(self.read(bytes) * flops / bytes)
    }
}

/// Sizes that differ by less than a factor of two share a measurement.
fn rounded(bytes: f64) -> usize {
    (bytes as usize).next_power_of_two()
}

/// How many rounds of work all threads together do in a second; each makes its own work.
fn rate<W: FnMut(u64)>(threads: usize, make: impl Fn() -> W + Sync) -> f64 {
    let (barrier, rounds, span) = (Barrier::new(threads), AtomicU64::new(1), AtomicU64::new(1));
    let each = || {
        let mut work = make();
        let mut seconds = |rounds: u64| {
            let begin = Instant::now();
            work(rounds);
            begin.elapsed().as_secs_f64()
        };
        let (mut enough, mut taken) = (1, seconds(1));
        while taken < SPAN.as_secs_f64() {
            enough *= 2;
            taken = seconds(enough);
        }
        // All do the same, so that they end together.
        rounds.fetch_max(enough, Ordering::SeqCst);
        span.fetch_max((taken * 1e9) as u64, Ordering::SeqCst);
        barrier.wait();
        let rounds = rounds.load(Ordering::SeqCst);
        let tries = (ALL.as_nanos() as u64 / span.load(Ordering::SeqCst)).clamp(5, 200);
        let tries = (0..tries).map(|_| {
            barrier.wait();
            rounds as f64 / seconds(rounds)
        });
        tries.fold(0.0, f64::max)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(each)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a measurement does not panic")).sum()
    })
}

/// The widest vectors that the CPU has and programs may use.
#[derive(Clone, Copy)]
enum Simd {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What the compiler makes of plain loops.
    Plain,
}

impl Simd {
    fn detect(isa: Isa) -> Simd {
        #[cfg(target_arch = "x86_64")]
        if isa != Isa::Baseline && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            let wide = isa != Isa::Avx2 && is_x86_feature_detected!("avx512f");
            return if wide { Simd::Avx512 } else { Simd::Avx2 };
        }
        Simd::Plain
    }

    /// Elements of a vector in [`Simd::multiply_add`].
    fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => 16,
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => 8,
            Simd::Plain => 4,
        }
    }

    /// A multiply-add of every accumulator in each round.
    fn multiply_add(self, rounds: u64) {
        match self {
            // SAFETY: `detect` has found the feature.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => unsafe { x86::multiply_add_512(rounds) },
            // SAFETY: `detect` has found both features.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => unsafe { x86::multiply_add_256(rounds) },
            Simd::Plain => {
                let (scale, shift) = (black_box(0.5f32), black_box(1.0f32));
                let mut sums = [[1.0f32; 4]; ACCUMULATORS];
                for _ in 0..rounds {
                    sums.iter_mut().flatten().for_each(|sum| *sum = *sum * scale + shift);
                }
                black_box(sums);
            }
        }
    }

    /// Reads all of the memory.
    fn read(self, memory: &[f32]) {
        match self {
            // SAFETY: `detect` has found the feature.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => unsafe { x86::read_512(memory) },
            // SAFETY: `detect` has found the feature.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => unsafe { x86::read_256(memory) },
            Simd::Plain => read(memory),
        }
    }
}

/// Adds up whole blocks of the memory, in as many sums as hide the latency of an addition, for the compiler to make
/// vectors of.
#[inline(always)]
fn read(memory: &[f32]) {
    let mut sums = [0.0f32; BLOCK];
    for block in memory.as_chunks::<BLOCK>().0 {
        sums.iter_mut().zip(block).for_each(|(sum, x)| *sum += x);
    }
    black_box(sums);
}

/// Memory that begins with a line of a cache, so that no vector lies across two of them.
struct Lines {
    memory: Vec<f32>,
    begin: usize,
}

impl Lines {
    /// Of so many bytes, in whole blocks.
    fn new(bytes: usize) -> Lines {
        let memory = vec![1.0; Lines::elements(bytes) + 16];
        let begin = memory.as_ptr().align_offset(64);
        Lines { memory, begin }
    }

    /// How many elements that is.
    fn elements(bytes: usize) -> usize {
        (bytes / 4).next_multiple_of(BLOCK).max(BLOCK)
    }

    fn get(&self) -> &[f32] {
        &self.memory[self.begin..][..self.memory.len() - 16]
    }

    fn get_mut(&mut self) -> &mut [f32] {
        let len = self.memory.len() - 16;
        &mut self.memory[self.begin..][..len]
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::{ACCUMULATORS, read};

    #[target_feature(enable = "avx512f")]
    pub fn multiply_add_512(rounds: u64) {
        let (scale, shift) = (_mm512_set1_ps(black_box(0.5)), _mm512_set1_ps(black_box(1.0)));
        let mut sums = [_mm512_set1_ps(1.0); ACCUMULATORS];
        for _ in 0..rounds {
            sums.iter_mut().for_each(|sum| *sum = _mm512_fmadd_ps(*sum, scale, shift));
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn multiply_add_256(rounds: u64) {
        let (scale, shift) = (_mm256_set1_ps(black_box(0.5)), _mm256_set1_ps(black_box(1.0)));
        let mut sums = [_mm256_set1_ps(1.0); ACCUMULATORS];
        for _ in 0..rounds {
            sums.iter_mut().for_each(|sum| *sum = _mm256_fmadd_ps(*sum, scale, shift));
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f")]
    pub fn read_512(memory: &[f32]) {
        read(memory);
    }

    #[target_feature(enable = "avx2")]
    pub fn read_256(memory: &[f32]) {
        read(memory);
    }
}
