//! Flushing denormals to zero while a program runs.
//!
//! Adam's second moments and saturated activations drift into the denormal range, where many CPUs compute up to a
//! hundred times slower. Kernels therefore run with denormal results and operands taken as zero (FTZ and DAZ), on every
//! worker alike, so that the number of threads changes nothing. The caller's setting is restored before any of its own
//! code runs. `Options::keep_denormals` turns this off for strict IEEE arithmetic.

/// Denormals are taken as zero on this thread until this value is dropped.
pub(crate) struct FlushDenormals {
    saved: u64,
}

impl FlushDenormals {
    /// Turns flushing on for the current thread.
    pub(crate) fn enable() -> FlushDenormals {
        let saved = control::read();
        control::write(saved | control::FLUSH);
        FlushDenormals { saved }
    }
}

impl Drop for FlushDenormals {
    fn drop(&mut self) {
        control::write(self.saved);
    }
}

#[cfg(target_arch = "x86_64")]
mod control {
    use std::arch::asm;

    /// MXCSR bits 15 (results) and 6 (operands).
    pub(super) const FLUSH: u64 = 1 << 15 | 1 << 6;

    pub(super) fn read() -> u64 {
        let mut value = 0u32;
        // SAFETY: `stmxcsr` stores four bytes at the given address, which is that of a live u32.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack)) };
        u64::from(value)
    }

    pub(super) fn write(value: u64) {
        let value = value as u32;
        // SAFETY: the value was read from MXCSR, so no reserved bit is set; while the flush bits differ from the default,
        // only compiled kernels do arithmetic on this thread, and they are compiled for either setting.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod control {
    use std::arch::asm;

    /// FPCR bit 24 covers results and operands.
    pub(super) const FLUSH: u64 = 1 << 24;

    pub(super) fn read() -> u64 {
        let value;
        // SAFETY: reading FPCR has no effect.
        unsafe { asm!("mrs {}, fpcr", out(reg) value, options(nomem, nostack)) };
        value
    }

    pub(super) fn write(value: u64) {
        // SAFETY: the value was read from FPCR; while the flush bit differs from the default, only compiled kernels do
        // arithmetic on this thread, and they are compiled for either setting.
        unsafe { asm!("msr fpcr, {}", in(reg) value, options(nostack)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod control {
    pub(super) const FLUSH: u64 = 0;

    pub(super) fn read() -> u64 {
        0
    }

    pub(super) fn write(_: u64) {}
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn the_callers_setting_comes_back() {
        let before = control::read();
        let half = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
        {
            let _guard = FlushDenormals::enable();
            assert_eq!(half().to_bits(), 0);
        }
        assert_eq!(control::read(), before);
        assert!(half() > 0.0);
    }
}
