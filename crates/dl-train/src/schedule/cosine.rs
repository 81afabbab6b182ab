//! Rates that fall as half a wave.

use std::f64::consts::PI;

use dl_runtime::Result;

use super::Schedule;
use super::table::{COUNT, NOT_NEGATIVE, schedule};

schedule! {
    /// From `lr` to `eta_min` in `t_max` steps, as half a cosine, and back in as many. Loshchilov and Hutter, 2016,
    /// arXiv:1608.03983.
    ///
    /// ```
    /// use dl_train::schedule::{CosineAnnealingLr, Schedule};
    /// let schedule = CosineAnnealingLr::new(0.1, 100)?.eta_min(0.02)?;
    /// assert_eq!([0, 100].map(|step| schedule.lr(step)), [0.1, 0.02]);
    /// # Ok::<(), dl_runtime::Error>(())
    /// ```
    #[doc(alias = "CosineAnnealingLR")]
    CosineAnnealingLr(lr: f64, NOT_NEGATIVE; t_max: u64, COUNT) {
        /// With another lowest rate than 0.
        eta_min: f64 = 0.0, NOT_NEGATIVE;
    }
}

impl Schedule for CosineAnnealingLr {
    fn lr(&self, step: u64) -> f64 {
        wave(self.lr, self.eta_min, step as f64 / self.t_max as f64)
    }
}

schedule! {
    /// From `lr` to `eta_min` as half a cosine, again and again: first in `t_0` steps, then in `t_mult` times as many
    /// as before. Loshchilov and Hutter, 2016, arXiv:1608.03983.
    ///
    /// ```
    /// use dl_train::schedule::{CosineAnnealingWarmRestarts, Schedule};
    /// let schedule = CosineAnnealingWarmRestarts::new(0.1, 10)?.t_mult(2)?;
    /// assert_eq!([0, 10, 30, 70].map(|step| schedule.lr(step)), [0.1; 4]);
    /// # Ok::<(), dl_runtime::Error>(())
    /// ```
    CosineAnnealingWarmRestarts(lr: f64, NOT_NEGATIVE; t_0: u64, COUNT) {
        /// With periods that grow by this factor; by default 1.
        t_mult: u64 = 1, COUNT;
        /// With another lowest rate than 0.
        eta_min: f64 = 0.0, NOT_NEGATIVE;
    }
}

impl Schedule for CosineAnnealingWarmRestarts {
    fn lr(&self, step: u64) -> f64 {
        let (mut since, mut period) = (step, self.t_0);
        if self.t_mult == 1 {
            since %= period;
        }
        while since >= period {
            since -= period;
            period = period.saturating_mul(self.t_mult);
        }
        wave(self.lr, self.eta_min, since as f64 / period as f64)
    }
}

/// From `from`, at part 0, to `to`, at part 1, both exactly.
pub(super) fn wave(from: f64, to: f64, part: f64) -> f64 {
    let share = (1.0 - (PI * part).cos()) / 2.0;
    from * (1.0 - share) + to * share
}
