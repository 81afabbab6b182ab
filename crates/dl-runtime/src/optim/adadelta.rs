//! Adadelta.

use super::table::{UP_TO_ONE, prelude::*};

optimizer! {
    /// Adadelta, as `torch.optim.Adadelta`:
    ///
    /// ```text
    /// g = grad + weight_decay * p
    /// v = rho * v + (1 - rho) * g^2
    /// d = sqrt(u + eps) / sqrt(v + eps) * g
    /// u = rho * u + (1 - rho) * d^2
    /// p = p - lr * d
    /// ```
    ///
    /// Zeiler, 2012, arXiv:1212.5701.
    ///
    /// ```
    /// # extern crate dl_runtime as dl;
    /// assert_eq!(dl::Adadelta::default().rho(0.95).lr, 1.0);
    /// ```
    Adadelta(1.0) {
        /// The decay rate of the averages; by default 0.9.
        number rho = 0.9, UP_TO_ONE;
        /// Keeps the divisor from zero; by default 1e-6.
        number eps = 1e-6, NOT_NEGATIVE;
        /// The factor of the L2 penalty; by default 0.
        switch weight_decay = 0.0, NOT_NEGATIVE;
    }
}

impl Adadelta {
    fn numbers(&self, _t: f64) -> Numbers {
        Ok(vec![
            ("lr", self.lr),
            ("rho", self.rho),
            ("rho_rest", 1.0 - self.rho),
            ("eps", self.eps),
            ("weight_decay", self.weight_decay),
        ])
    }

    fn build(&self, update: &mut Update<'_>) -> Result<(), OpError> {
        let (_, grad) = update.decayed(self.weight_decay, false)?;
        let (before, eps) = (update.state("acc_delta"), update.scalar("eps"));
        let square = update.builder.mul(grad, grad)?;
        let v = update.average("square_avg", ("rho", "rho_rest"), square)?;
        let b = &mut *update.builder;
        let (before, v) = (b.add(before, eps)?, b.add(v, eps)?);
        let (over, under) = (b.sqrt(before)?, b.sqrt(v)?);
        let scale = b.div(over, under)?;
        let delta = b.mul(scale, grad)?;
        let square = b.mul(delta, delta)?;
        update.average("acc_delta", ("rho", "rho_rest"), square)?;
        let step = update.combine(&[("lr", delta)])?;
        update.descend(update.param, step)
    }
}
