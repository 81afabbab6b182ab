//! RAdam.

use super::adam::{moments, rates, root};
use super::table::prelude::*;

optimizer! {
    /// Rectified Adam, as `torch.optim.RAdam`: Adam whose first steps, until the variance of its divisor can be told,
    /// do not divide. In step t, with `R = 2 / (1 - beta2) - 1` and `r = R - 2 * t * beta2^t / (1 - beta2^t)`
    ///
    /// ```text
    /// g = grad + weight_decay * p             (p = p * (1 - lr * weight_decay), with decoupled_weight_decay)
    /// m = beta1 * m + (1 - beta1) * g
    /// v = beta2 * v + (1 - beta2) * g^2
    /// n = m / (1 - beta1^t)
    /// p = p - lr * n                          (while r <= 5)
    /// p = p - lr * n * sqrt((r - 4) * (r - 2) * R / ((R - 4) * (R - 2) * r)) * sqrt(1 - beta2^t) / (sqrt(v) + eps)
    /// ```
    ///
    /// Liu and others, 2019, arXiv:1908.03265.
    ///
    /// ```
    /// # extern crate dl_runtime as dl;
    /// let radam = dl::RAdam::new(1e-3).weight_decay(0.01).decoupled_weight_decay(true);
    /// assert_eq!(radam.eps, 1e-8);
    /// ```
    RAdam(1e-3) {
        /// The decay rates of the two moments, each in [0, 1); by default 0.9 and 0.999.
        betas betas = (0.9, 0.999), FRACTION;
        /// Keeps the divisor from zero; by default 1e-8.
        number eps = 1e-8, NOT_NEGATIVE;
        /// The factor of the L2 penalty; by default 0.
        switch weight_decay = 0.0, NOT_NEGATIVE;
        /// Let weights decay as AdamW does, in place of the penalty; by default not.
        flag decoupled_weight_decay = false;
    }
}

impl RAdam {
    fn numbers(&self, t: f64) -> Numbers {
        let (beta1, beta2) = self.betas;
        let (correction1, correction2) = (1.0 - beta1.powf(t), 1.0 - beta2.powf(t));
        let most = 2.0 / (1.0 - beta2) - 1.0;
        let rho = most - 2.0 * t * beta2.powf(t) / correction2;
        let size = self.lr / correction1;
        // One of the two steps counts, and the other, multiplied by zero, must not divide by zero.
        let (plain, rectified, eps) = match rho > 5.0 {
            true => {
                let ratio = (rho - 4.0) * (rho - 2.0) * most / ((most - 4.0) * (most - 2.0) * rho);
                (0.0, size * (ratio * correction2).sqrt(), self.eps)
            }
            false => (size, 0.0, 1.0),
        };
        let own = [
            ("plain", plain),
            ("rectified", rectified),
            ("eps", eps),
            ("weight_decay", self.weight_decay),
            ("keep", 1.0 - self.lr * self.weight_decay),
        ];
        Ok(own.into_iter().chain(rates(self.betas)).collect())
    }

    fn build(&self, update: &mut Update<'_>) -> Result<(), OpError> {
        let (param, grad) = update.decayed(self.weight_decay, self.decoupled_weight_decay)?;
        let (m, v) = moments(update, grad)?;
        let divisor = root(update, v)?;
        let numerator = update.combine(&[("rectified", m)])?;
        let rectified = update.builder.div(numerator, divisor)?;
        let plain = update.combine(&[("plain", m)])?;
        let step = update.builder.add(plain, rectified)?;
        update.descend(param, step)
    }
}
