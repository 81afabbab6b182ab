//! Lion.

use super::adam::rates;
use super::table::prelude::*;

optimizer! {
    /// Lion, which steps by the sign of a moving average:
    ///
    /// ```text
    /// p = p * (1 - lr * weight_decay)
    /// p = p - lr * sign(beta1 * m + (1 - beta1) * grad)
    /// m = beta2 * m + (1 - beta2) * grad
    /// ```
    ///
    /// Chen and others, 2023, arXiv:2302.06675, which advises a learning rate a third to a tenth of AdamW's and a
    /// weight decay as many times larger.
    ///
    /// ```
    /// # extern crate dl_runtime as dl;
    /// assert_eq!(dl::Lion::new(1e-4).weight_decay(0.1).betas, (0.9, 0.99));
    /// ```
    Lion(1e-4) {
        /// How much of the average counts in a step and in the next average, each in [0, 1); by default 0.9 and 0.99.
        betas betas = (0.9, 0.99), FRACTION;
        /// The rate at which weights decay; by default 0.
        switch weight_decay = 0.0, NOT_NEGATIVE;
    }
}

impl Lion {
    fn numbers(&self, _t: f64) -> Numbers {
        let own = [("lr", self.lr), ("keep", 1.0 - self.lr * self.weight_decay)];
        Ok(own.into_iter().chain(rates(self.betas)).collect())
    }

    fn build(&self, update: &mut Update<'_>) -> Result<(), OpError> {
        let (param, grad) = update.decayed(self.weight_decay, true)?;
        let m = update.state("exp_avg");
        let mixed = update.combine(&[("beta1", m), ("beta1_rest", grad)])?;
        update.average("exp_avg", ("beta2", "beta2_rest"), grad)?;
        let sign = update.builder.sign(mixed)?;
        let step = update.combine(&[("lr", sign)])?;
        update.descend(param, step)
    }
}
