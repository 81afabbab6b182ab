//! Adamax.

use super::table::prelude::*;

optimizer! {
    /// Adamax, the variant of Adam by the largest gradient, as `torch.optim.Adamax`: in step t
    ///
    /// ```text
    /// g = grad + weight_decay * p
    /// m = beta1 * m + (1 - beta1) * g
    /// u = max(beta2 * u, |g| + eps)
    /// p = p - lr / (1 - beta1^t) * m / u
    /// ```
    ///
    /// Kingma and Ba, 2014, arXiv:1412.6980.
    ///
    /// ```
    /// # extern crate dl_runtime as dl;
    /// assert_eq!(dl::Adamax::default().lr, 2e-3);
    /// ```
    Adamax(2e-3) {
        /// The decay rates of the moment and of the largest gradient, each in [0, 1); by default 0.9 and 0.999.
        betas betas = (0.9, 0.999), FRACTION;
        /// Keeps the divisor from zero; by default 1e-8.
        number eps = 1e-8, NOT_NEGATIVE;
        /// The factor of the L2 penalty; by default 0.
        switch weight_decay = 0.0, NOT_NEGATIVE;
    }
}

impl Adamax {
    fn numbers(&self, t: f64) -> Numbers {
        let (beta1, beta2) = self.betas;
        Ok(vec![
            ("step_size", self.lr / (1.0 - beta1.powf(t))),
            ("beta1", beta1),
            ("beta1_rest", 1.0 - beta1),
            ("beta2", beta2),
            ("eps", self.eps),
            ("weight_decay", self.weight_decay),
        ])
    }

    fn build(&self, update: &mut Update<'_>) -> Result<(), OpError> {
        let (_, grad) = update.decayed(self.weight_decay, false)?;
        let m = update.average("exp_avg", ("beta1", "beta1_rest"), grad)?;
        let (old, eps) = (update.state("exp_inf"), update.scalar("eps"));
        let kept = update.combine(&[("beta2", old)])?;
        let size = update.builder.abs(grad)?;
        let size = update.builder.add(size, eps)?;
        let largest = update.builder.max(kept, size)?;
        update.set_state("exp_inf", largest);
        let numerator = update.combine(&[("step_size", m)])?;
        let step = update.builder.div(numerator, largest)?;
        update.descend(update.param, step)
    }
}
