//! Rates that fall, or rise, once.

use std::fmt;

use dl_runtime::Result;

use super::Schedule;
use super::table::{COUNT, NOT_NEGATIVE, PART, schedule};

schedule! {
    /// `lr`, multiplied by `gamma` after every `step_size` steps.
    ///
    /// ```
    /// use dl_train::schedule::{Schedule, StepLr};
    /// let schedule = StepLr::new(0.1, 30)?.gamma(0.5)?;
    /// assert_eq!([0, 29, 30, 60].map(|step| schedule.lr(step)), [0.1, 0.1, 0.05, 0.025]);
    /// # Ok::<(), dl_runtime::Error>(())
    /// ```
    #[doc(alias = "StepLR")]
    StepLr(lr: f64, NOT_NEGATIVE; step_size: u64, COUNT) {
        /// With another factor than 0.1.
        gamma: f64 = 0.1, NOT_NEGATIVE;
    }
}

impl Schedule for StepLr {
    fn lr(&self, step: u64) -> f64 {
        self.lr * self.gamma.powf((step / self.step_size) as f64)
    }
}

schedule! {
    /// `lr`, multiplied by `gamma` from each of the `milestones` on.
    ///
    /// ```
    /// use dl_train::schedule::{MultiStepLr, Schedule};
    /// let schedule = MultiStepLr::new(0.1, vec![5, 20])?.gamma(0.5)?;
    /// assert_eq!([4, 5, 20].map(|step| schedule.lr(step)), [0.1, 0.05, 0.025]);
    /// # Ok::<(), dl_runtime::Error>(())
    /// ```
    #[doc(alias = "MultiStepLR")]
    MultiStepLr(lr: f64, NOT_NEGATIVE; milestones: Vec<u64>) {
        /// With another factor than 0.1.
        gamma: f64 = 0.1, NOT_NEGATIVE;
    }
}

impl Schedule for MultiStepLr {
    fn lr(&self, step: u64) -> f64 {
        let passed = self.milestones.iter().filter(|&&milestone| milestone <= step).count();
        self.lr * self.gamma.powf(passed as f64)
    }
}

schedule! {
    /// `lr * gamma^step`.
    ///
    /// ```
    /// use dl_train::schedule::{ExponentialLr, Schedule};
    /// assert_eq!(ExponentialLr::new(0.1, 0.5)?.lr(2), 0.025);
    /// # Ok::<(), dl_runtime::Error>(())
    /// ```
    #[doc(alias = "ExponentialLR")]
    ExponentialLr(lr: f64, NOT_NEGATIVE; gamma: f64, NOT_NEGATIVE) {}
}

impl Schedule for ExponentialLr {
    fn lr(&self, step: u64) -> f64 {
        self.lr * self.gamma.powf(step as f64)
    }
}

schedule! {
    /// `lr * factor` for `total_iters` steps, then `lr`.
    ///
    /// ```
    /// use dl_train::schedule::{ConstantLr, Schedule};
    /// let schedule = ConstantLr::new(0.1)?.factor(0.5)?.total_iters(4)?;
    /// assert_eq!([0, 3, 4].map(|step| schedule.lr(step)), [0.05, 0.05, 0.1]);
    /// # Ok::<(), dl_runtime::Error>(())
    /// ```
    #[doc(alias = "ConstantLR")]
    ConstantLr(lr: f64, NOT_NEGATIVE) {
        /// With another factor than 1/3.
        factor: f64 = 1.0 / 3.0, PART;
        /// With another number of steps than 5.
        total_iters: u64 = 5;
    }
}

impl Schedule for ConstantLr {
    fn lr(&self, step: u64) -> f64 {
        if step < self.total_iters { self.lr * self.factor } else { self.lr }
    }
}

schedule! {
    /// From `lr * start_factor` evenly to `lr * end_factor`, which it reaches after `total_iters` steps and keeps.
    ///
    /// ```
    /// use dl_train::schedule::{LinearLr, Schedule};
    /// let schedule = LinearLr::new(0.1)?.start_factor(0.5)?.total_iters(4)?;
    /// assert_eq!([0, 2, 4, 9].map(|step| schedule.lr(step)), [0.05, 0.1 * 0.75, 0.1, 0.1]);
    /// # Ok::<(), dl_runtime::Error>(())
    /// ```
    #[doc(alias = "LinearLR")]
    LinearLr(lr: f64, NOT_NEGATIVE) {
        /// With another factor at first than 1/3.
        start_factor: f64 = 1.0 / 3.0, PART;
        /// With another factor at last than 1.
        end_factor: f64 = 1.0, PART;
        /// With another number of steps than 5.
        total_iters: u64 = 5, COUNT;
    }
}

impl Schedule for LinearLr {
    fn lr(&self, step: u64) -> f64 {
        let LinearLr { lr, start_factor, end_factor, total_iters } = *self;
        lr * (start_factor + (end_factor - start_factor) * progress(step, total_iters))
    }
}

schedule! {
    /// From `lr` to 0 in `total_iters` steps: `lr * (1 - step / total_iters)^power`.
    ///
    /// ```
    /// use dl_train::schedule::{PolynomialLr, Schedule};
    /// let schedule = PolynomialLr::new(0.1, 4)?.power(2.0)?;
    /// assert_eq!([0, 2, 4, 9].map(|step| schedule.lr(step)), [0.1, 0.025, 0.0, 0.0]);
    /// # Ok::<(), dl_runtime::Error>(())
    /// ```
    #[doc(alias = "PolynomialLR")]
    PolynomialLr(lr: f64, NOT_NEGATIVE; total_iters: u64, COUNT) {
        /// With another power than 1.
        power: f64 = 1.0, NOT_NEGATIVE;
    }
}

impl Schedule for PolynomialLr {
    fn lr(&self, step: u64) -> f64 {
        self.lr * (1.0 - progress(step, self.total_iters)).powf(self.power)
    }
}

/// `lr` times what a function gives for each step.
///
/// ```
/// use dl_train::schedule::{LambdaLr, Schedule};
/// let schedule = LambdaLr::new(0.1, |step| 1.0 / (1.0 + step as f64))?;
/// assert_eq!(schedule.lr(3), 0.025);
/// # Ok::<(), dl_runtime::Error>(())
/// ```
#[doc(alias = "LambdaLR")]
#[derive(Clone)]
pub struct LambdaLr<F> {
    lr: f64,
    factor: F,
}

impl<F: Fn(u64) -> f64> LambdaLr<F> {
    /// With this function.
    ///
    /// Errors: [`Error::BadHyperparameter`](dl_runtime::Error::BadHyperparameter).
    pub fn new(lr: f64, factor: F) -> Result<LambdaLr<F>> {
        NOT_NEGATIVE.check("LambdaLr", "lr", lr)?;
        Ok(LambdaLr { lr, factor })
    }
}

impl<F: Fn(u64) -> f64 + Send> Schedule for LambdaLr<F> {
    fn lr(&self, step: u64) -> f64 {
        self.lr * (self.factor)(step)
    }
}

impl<F> fmt::Debug for LambdaLr<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LambdaLr").field("lr", &self.lr).finish_non_exhaustive()
    }
}

/// The part of `total` steps that is over.
pub(super) fn progress(step: u64, total: u64) -> f64 {
    step.min(total) as f64 / total as f64
}
