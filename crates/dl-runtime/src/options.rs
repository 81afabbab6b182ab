//! Settings of a model, and the one place that reads the environment.

use std::env;
use std::sync::Arc;

use dl_codegen::cache::CodeCache;

use crate::assemble::Target;
use crate::error::{Error, Result};
use crate::pool::{Pool, available_threads};

/// More threads than this are taken for a mistake.
pub(crate) const MAX_THREADS: usize = 1024;

/// How a model compiles and runs. [`Options::from_env`] is what `new` uses.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Threads to compute with; by default every core that affinity and the cgroup's quota allow. Results do not depend
    /// on it.
    pub threads: usize,
    /// The instruction set to compile for; by default the best that the CPU has.
    pub isa: Isa,
    /// What to print to standard error while compiling.
    pub dump: Dump,
    /// Keep so many compiled programs, at least one; beyond that the one used least recently is dropped, and compiled
    /// anew when it is needed again. By default 64. A function has one for each combination of sizes and, in training,
    /// each kind of optimizer.
    pub programs: usize,
    /// Run only so many of the passes that simplify and rearrange a graph, to find the one at fault; by default all.
    pub passes: usize,
    /// Compute with denormal numbers as IEEE demands, instead of taking them as zero.
    pub keep_denormals: bool,
    /// Time every kernel, and print a table of it to standard error when a program is dropped, with the model or before.
    /// Costs some ten nanoseconds a kernel.
    pub profile: bool,
    /// Worker threads to share with other models, instead of starting `threads` new ones.
    pub pool: Option<Arc<Pool>>,
    /// Machine code to share with other models, instead of the model's own cache: a kernel that a living program of any of
    /// them has is not compiled again. Only living programs keep code in memory, so it is bounded by
    /// [`programs`](Options::programs) of each model; the kernels compiled for one program are freed together, once no
    /// program uses any of them.
    ///
    /// ```
    /// use dl_runtime::{CodeCache, Options};
    ///
    /// let mut options = Options::default();
    /// options.code = Some(CodeCache::default()); // give clones of these options to several models
    /// ```
    pub code: Option<CodeCache>,
}

/// The instruction set that kernels are compiled for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// The best that the CPU has.
    #[default]
    Native,
    /// Only what every CPU of the architecture has.
    Baseline,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512.
    Avx512,
    /// Nothing is compiled: the evaluator, which defines what every operation means, runs the graph. Hundreds of times
    /// slower; to see whether a result is the compiler's fault.
    Interpreter,
}

/// Stages of compilation to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dump {
    /// One line for each program compiled: what, for which sizes, why and how long it took.
    pub compile: bool,
    /// The bound graph, before and after the passes.
    pub graph: bool,
    /// The fused groups.
    pub fuse: bool,
    /// The kernels as loop nests.
    pub kernel: bool,
    /// The kernels as Cranelift sees them.
    pub clif: bool,
    /// The kernels as machine code.
    pub asm: bool,
}

impl Options {
    /// The defaults, changed by the environment: `DL_THREADS` (a number), `DL_ISA` (`baseline`, `avx2`, `avx512`, `interpreter`),
    /// `DL_DUMP` (any of `compile`, `graph`, `fuse`, `kernel`, `clif`, `asm`, separated by commas),
    /// `DL_PASSES` (a number), `DL_PROFILE` (`1`, or `0` for not).
    ///
    /// Errors: [`Error::BadSetting`] for a value that means nothing.
    pub fn from_env() -> Result<Options> {
        Options::parse(|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn parse(get: impl Fn(&str) -> Option<String>) -> Result<Options> {
        let mut options = Options::default();
        if let Some(value) = get("DL_THREADS") {
            options.threads = match value.trim().parse() {
                Ok(n @ 1..=MAX_THREADS) => n,
                _ => {
                    return Err(bad("DL_THREADS", value, format!("give a number of threads from 1 to {MAX_THREADS}")));
                }
            };
        }
        if let Some(value) = get("DL_ISA") {
            options.isa = match value.trim() {
                "native" => Isa::Native,
                "baseline" => Isa::Baseline,
                "avx2" => Isa::Avx2,
                "avx512" => Isa::Avx512,
                "interpreter" => Isa::Interpreter,
                _ => {
                    return Err(bad(
                        "DL_ISA",
                        value,
                        "give `native`, `baseline`, `avx2`, `avx512` or `interpreter`".into(),
                    ));
                }
            };
        }
        if let Some(value) = get("DL_PASSES") {
            options.passes = match value.trim().parse() {
                Ok(n) => n,
                Err(_) => return Err(bad("DL_PASSES", value, "give a number of passes, 0 for none".into())),
            };
        }
        if let Some(value) = get("DL_PROFILE") {
            options.profile = match value.trim() {
                "0" => false,
                "1" => true,
                _ => return Err(bad("DL_PROFILE", value, "give `1` to profile, `0` not to".into())),
            };
        }
        if let Some(value) = get("DL_DUMP") {
            for stage in value.split(',').map(str::trim).filter(|stage| !stage.is_empty()) {
                let dump = &mut options.dump;
                match stage {
                    "compile" => dump.compile = true,
                    "graph" => dump.graph = true,
                    "fuse" => dump.fuse = true,
                    "kernel" => dump.kernel = true,
                    "clif" => dump.clif = true,
                    "asm" => dump.asm = true,
                    _ => {
                        let expected =
                            "give `compile`, `graph`, `fuse`, `kernel`, `clif` or `asm`, separated by commas";
                        return Err(bad("DL_DUMP", value, expected.into()));
                    }
                }
            }
        }
        Ok(options)
    }

    /// What to compile for, with worker threads started; `None` for the evaluator.
    pub(crate) fn target(&self) -> Result<Option<Target>> {
        let name = match self.isa {
            Isa::Interpreter => return Ok(None),
            Isa::Native => None,
            Isa::Baseline => Some("baseline"),
            Isa::Avx2 => Some("avx2"),
            Isa::Avx512 => Some("avx512"),
        };
        let isa = dl_codegen::Isa::new(name)
            .map_err(|e| bad("DL_ISA", name.unwrap_or("native").to_string(), format!("choose another one: {e}")))?;
        let pool = match &self.pool {
            Some(pool) => Arc::clone(pool),
            None => Arc::new(Pool::new(self.threads)?),
        };
        let code = self.code.clone().unwrap_or_default();
        let (dump, passes, profile) = (self.dump, self.passes, self.profile);
        Ok(Some(Target { isa, pool, code, flush_denormals: !self.keep_denormals, dump, passes, profile }))
    }
}

impl Default for Options {
    /// What [`Options::from_env`] gives in an empty environment.
    fn default() -> Options {
        Options {
            threads: available_threads(),
            isa: Isa::Native,
            dump: Dump::default(),
            programs: 64,
            passes: usize::MAX,
            keep_denormals: false,
            profile: false,
            pool: None,
            code: None,
        }
    }
}

fn bad(setting: &'static str, value: String, expected: String) -> Error {
    Error::BadSetting { setting, value, expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, value: &str) -> Result<Options> {
        Options::parse(|asked| (asked == name).then(|| value.to_string()))
    }

    #[test]
    fn an_empty_environment_means_the_defaults() {
        let options = Options::parse(|_| None).unwrap();
        assert_eq!(options.threads, available_threads());
        assert_eq!((options.isa, options.dump, options.programs), (Isa::Native, Dump::default(), 64));
    }

    #[test]
    fn settings_are_read() {
        assert_eq!(parse("DL_THREADS", " 3 ").unwrap().threads, 3);
        assert_eq!(parse("DL_ISA", "baseline").unwrap().isa, Isa::Baseline);
        assert_eq!(parse("DL_PASSES", "2").unwrap().passes, 2);
        assert!(parse("DL_PASSES", "none").is_err());
        assert!(parse("DL_PROFILE", "1").unwrap().profile && !parse("DL_PROFILE", "0").unwrap().profile);
        let dump = parse("DL_DUMP", "graph, asm").unwrap().dump;
        assert_eq!(dump, Dump { graph: true, asm: true, ..Dump::default() });
    }

    #[test]
    fn nonsense_is_refused() {
        for (name, value) in [
            ("DL_THREADS", "0"),
            ("DL_THREADS", "all"),
            ("DL_THREADS", "-2"),
            ("DL_THREADS", ""),
            ("DL_ISA", "sse9"),
            ("DL_DUMP", "graph,all"),
            ("DL_PROFILE", "yes"),
        ] {
            let message = parse(name, value).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{name} is `{value}`; ")), "{message}");
            assert!(message.contains("give "), "{message}");
        }
    }
}
