//! Instruction sets: what the CPU has, and what to use of it.

use crate::Error;
use cranelift_codegen::ir::{Type, types};
use cranelift_codegen::isa::{OwnedTargetIsa, TargetIsa, lookup};
use cranelift_codegen::settings::{self, Configurable};
use std::fmt;
use std::sync::Arc;

/// A set of instructions to compile for. On other architectures than x86-64 there is only `Baseline`: all that the
/// CPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// SSE2, which every x86-64 CPU has, and SSE3 to SSE4.2 as far as the CPU has them; no AVX, no fused multiply-add.
    /// (With SSE2 alone Cranelift calls a library function for each lane that is rounded.)
    Baseline,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, VL, BW and DQ.
    Avx512,
}

impl Level {
    /// All levels, lowest first.
    pub const ALL: [Level; 3] = [Level::Baseline, Level::Avx2, Level::Avx512];

    /// The name, as in `DL_ISA`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Baseline => "baseline",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }

    fn available(self) -> bool {
        match self {
            Level::Baseline => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                Level::Avx2.available()
                    && std::is_x86_feature_detected!("avx512f")
                    && std::is_x86_feature_detected!("avx512vl")
                    && std::is_x86_feature_detected!("avx512bw")
                    && std::is_x86_feature_detected!("avx512dq")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An instruction set, ready to compile for. Cheap to clone.
#[derive(Clone)]
pub struct Isa {
    level: Level,
    target: Arc<dyn TargetIsa>,
    /// Whether it is one of this machine.
    native: bool,
}

impl Isa {
    /// The best of the CPU, or what `choice` (the value of `DL_ISA`) asks for.
    ///
    /// # Errors
    /// The name is unknown, the CPU lacks the level, or Cranelift does not know the CPU.
    pub fn new(choice: Option<&str>) -> Result<Isa, Error> {
        let Some(name) = choice.map(str::trim).filter(|name| !name.is_empty()) else {
            let best = Level::ALL.into_iter().rev().find(|level| level.available()).unwrap_or(Level::Baseline);
            return Isa::for_level(best);
        };
        let names = |levels: &mut dyn Iterator<Item = Level>| {
            levels.map(|level| format!("`{level}`")).collect::<Vec<_>>().join(", ")
        };
        let Some(level) = Level::ALL.into_iter().find(|level| level.name() == name.to_ascii_lowercase()) else {
            let known = names(&mut Level::ALL.into_iter());
            return Err(Error::Isa(format!(
                "DL_ISA is `{name}`, which is not an instruction set; it is one of {known}"
            )));
        };
        if !level.available() {
            let have = names(&mut Level::ALL.into_iter().filter(|level| level.available()));
            return Err(Error::Isa(format!("DL_ISA asks for `{level}`, which this CPU does not have; it has {have}")));
        }
        Isa::for_level(level)
    }

    /// Every level of this CPU, lowest first.
    ///
    /// # Errors
    /// Cranelift does not know the CPU.
    pub fn all() -> Result<Vec<Isa>, Error> {
        Level::ALL.into_iter().filter(|level| level.available()).map(Isa::for_level).collect()
    }

    /// The level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether multiply-add is one instruction with one rounding.
    pub fn has_fma(&self) -> bool {
        self.target.has_native_fma()
    }

    /// The compiler's description of the target.
    pub(crate) fn target(&self) -> &dyn TargetIsa {
        &*self.target
    }

    /// The target, shared with a module.
    pub(crate) fn shared_target(&self) -> OwnedTargetIsa {
        self.target.clone()
    }

    /// Whether `fmin` and `fmax` on vectors take a long sequence (x86).
    pub(crate) fn slow_min_max(&self) -> bool {
        self.target.name() == "x64"
    }

    /// Whether lanes are selected by one instruction that looks at the sign bit.
    pub(crate) fn has_blend(&self, ty: Type) -> bool {
        self.target.has_blendv_lowering(if ty.lane_bits() == 64 { types::I64X2 } else { types::I32X4 })
    }

    /// The instruction set of another architecture, such as `aarch64`, to look at the code that would run there; it
    /// cannot be loaded here. Cranelift must have been built with that architecture.
    ///
    /// # Errors
    /// Cranelift does not know the architecture.
    pub fn foreign(architecture: &str) -> Result<Isa, Error> {
        let fail = |message: String| Error::Isa(format!("cannot compile for `{architecture}`: {message}"));
        let triple = format!("{architecture}-unknown-linux-gnu").parse().map_err(|_| fail("it is unknown".into()))?;
        let builder = lookup(triple).map_err(|e| fail(e.to_string()))?;
        let target = builder.finish(flags(&fail)?).map_err(|e| fail(e.to_string()))?;
        Ok(Isa { level: Level::Baseline, target, native: false })
    }

    /// Whether code can run here.
    pub(crate) fn is_native(&self) -> bool {
        self.native
    }

    fn for_level(level: Level) -> Result<Isa, Error> {
        let fail = |message: String| Error::Isa(format!("cannot compile for this CPU: {message}"));
        let native = level != Level::Baseline || !cfg!(target_arch = "x86_64");
        let mut builder = cranelift_native::builder_with_options(native).map_err(|e| fail(e.to_string()))?;
        #[cfg(target_arch = "x86_64")]
        if level == Level::Baseline {
            let features = [
                ("has_sse3", std::is_x86_feature_detected!("sse3")),
                ("has_ssse3", std::is_x86_feature_detected!("ssse3")),
                ("has_sse41", std::is_x86_feature_detected!("sse4.1")),
                ("has_sse42", std::is_x86_feature_detected!("sse4.2")),
            ];
            for (name, _) in features.into_iter().filter(|(_, has)| *has) {
                builder.enable(name).map_err(|e| fail(e.to_string()))?;
            }
        }
        let target = builder.finish(flags(&fail)?).map_err(|e| fail(e.to_string()))?;
        Ok(Isa { level, target, native: true })
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Isa({})", self.level)
    }
}

fn flags(fail: &dyn Fn(String) -> Error) -> Result<settings::Flags, Error> {
    // An unknown setting or value is an error of this list, reported rather than ignored.
    let mut flags = settings::builder();
    for (name, value) in FLAGS {
        flags.set(name, value).map_err(|e| fail(e.to_string()))?;
    }
    Ok(settings::Flags::new(flags))
}

/// The emitter hoists and shares by itself, so Cranelift's optimiser would cost time and gain little.
const FLAGS: [(&str, &str); 7] = [
    ("opt_level", "none"),
    ("regalloc_algorithm", "backtracking"),
    ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
    ("is_pic", "false"),
    ("use_colocated_libcalls", "false"),
    ("unwind_info", "false"),
    ("enable_probestack", "false"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices() {
        assert_eq!(Isa::new(Some("baseline")).unwrap().level(), Level::Baseline);
        assert!(!Isa::new(Some(" Baseline ")).unwrap().has_fma() || !cfg!(target_arch = "x86_64"));
        assert_eq!(Isa::new(None).unwrap().level(), Isa::all().unwrap().last().unwrap().level());
        let message = Isa::new(Some("sse9")).unwrap_err().to_string();
        assert!(message.contains("`sse9`") && message.contains("`baseline`, `avx2`, `avx512`"), "{message}");
        for level in Level::ALL.into_iter().filter(|l| !l.available()) {
            let message = Isa::new(Some(level.name())).unwrap_err().to_string();
            assert!(message.contains("does not have; it has `baseline`"), "{message}");
        }
    }
}
