//! What was compiled, why, and what it took.

use std::fmt;
use std::time::{Duration, Instant};

use dl_codegen::cache::LoadedKernels;

/// One compilation: what, when, why and how long it took.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Compilation {
    /// The function.
    pub function: String,
    /// What it was compiled for: `evaluation`, `gradients` or `training with Adam …`.
    pub purpose: String,
    /// The sizes of its symbolic dimensions, such as `N = 64`.
    pub sizes: String,
    /// Why it was compiled, where a program of it existed already.
    pub reason: String,
    /// When, since the model was made.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// Where that time went.
    pub phases: Phases,
    /// The number of kernels of a run.
    pub kernels: usize,
    /// How many distinct kernels were compiled for it, those of what is kept between runs among them.
    pub compiled: usize,
    /// How many more it needs whose code was there already, in the model or in the cache that it shares; see
    /// [`Options::code`](crate::Options::code).
    pub found: usize,
    /// Memory for intermediate values, in bytes: the peak of every run.
    pub arena: usize,
    /// Memory for values that depend on parameters only and are kept between runs, in bytes.
    pub kept: usize,
}

impl fmt::Display for Compilation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Compilation { function, purpose, sizes, reason, at, took, kernels, compiled, found, arena, kept, .. } =
            self;
        write!(f, "[{:.3} s] compiled `{function}` for {purpose}", at.as_secs_f64())?;
        if !sizes.is_empty() {
            write!(f, ", {sizes}")?;
        }
        let mib = |bytes: usize| bytes as f64 / 1048576.0;
        write!(f, ": {kernels} kernels ({compiled} compiled, {found} found), {:.2} MiB", mib(*arena))?;
        if *kept > 0 {
            write!(f, " and {:.2} MiB kept", mib(*kept))?;
        }
        write!(f, ", in {:.1} ms ({reason})", took.as_secs_f64() * 1e3)
    }
}

/// The time of each phase of a compilation.
///
/// ```
/// let phases = dl_runtime::Phases::default();
/// assert_eq!(phases.to_string(), "bind 0.00 ms, passes 0.00 ms, lower 0.00 ms, compile 0.00 ms");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Phases {
    /// Attaching the optimizer, giving sizes to dimensions, and reading parameters as they lie.
    pub bind: Duration,
    /// The passes that simplify and rearrange the graph, and splitting off what parameters alone decide.
    pub passes: Duration,
    /// Fusing, planning memory, and writing the kernels.
    pub lower: Duration,
    /// Looking kernels up, and compiling those that are missing.
    pub compile: Duration,
}

impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [bind, passes, lower, compile] =
            [self.bind, self.passes, self.lower, self.compile].map(|time| time.as_secs_f64() * 1e3);
        write!(f, "bind {bind:.2} ms, passes {passes:.2} ms, lower {lower:.2} ms, compile {compile:.2} ms")
    }
}

/// What was done so far for one program.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) compiled: usize,
    pub(crate) found: usize,
    pub(crate) phases: Phases,
}

impl Work {
    /// Adds the kernels of a graph.
    pub(crate) fn count(&mut self, code: &LoadedKernels) {
        self.compiled += code.compiled();
        self.found += code.found();
    }
}

/// Runs `f` and adds its time to `spent`.
pub(crate) fn timed<T>(spent: &mut Duration, f: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let value = f();
    *spent += started.elapsed();
    value
}
