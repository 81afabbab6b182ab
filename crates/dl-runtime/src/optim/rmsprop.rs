//! RMSprop.

use super::adam::root;
use super::table::prelude::*;

optimizer! {
    /// RMSprop, as `torch.optim.RMSprop`:
    ///
    /// ```text
    /// g = grad + weight_decay * p
    /// v = alpha * v + (1 - alpha) * g^2
    /// a = alpha * a + (1 - alpha) * g         (with centered)
    /// d = g / (sqrt(v - a^2, with centered; else v) + eps)
    /// b = momentum * b + d                    (with momentum)
    /// p = p - lr * (b, with momentum; else d)
    /// ```
    ///
    /// A variance `v - a^2` that rounding has made negative counts as 0, where PyTorch gives NaN. Tieleman and Hinton,
    /// 2012, lecture 6.5 of "Neural networks for machine learning".
    ///
    /// ```
    /// # extern crate dl_runtime as dl;
    /// let rmsprop = dl::RmsProp::new(0.01).centered(true).momentum(0.9);
    /// assert_eq!(rmsprop.alpha, 0.99);
    /// ```
    #[doc(alias = "RMSprop")]
    RmsProp(0.01) {
        /// The decay rate of the averages; by default 0.99.
        number alpha = 0.99, FRACTION;
        /// Keeps the divisor from zero; by default 1e-8.
        number eps = 1e-8, NOT_NEGATIVE;
        /// The factor of the L2 penalty; by default 0.
        switch weight_decay = 0.0, NOT_NEGATIVE;
        /// How much of the last step's direction is kept; by default 0.
        switch momentum = 0.0, NOT_NEGATIVE;
        /// Divide by an estimate of the standard deviation of the gradient; by default not.
        flag centered = false;
    }
}

impl RmsProp {
    fn numbers(&self, _t: f64) -> Numbers {
        let RmsProp { lr, alpha, eps, weight_decay, momentum, .. } = *self;
        Ok(vec![
            ("lr", lr),
            ("alpha", alpha),
            ("alpha_rest", 1.0 - alpha),
            ("eps", eps),
            ("weight_decay", weight_decay),
            ("momentum", momentum),
        ])
    }

    fn build(&self, update: &mut Update<'_>) -> Result<(), OpError> {
        let (_, grad) = update.decayed(self.weight_decay, false)?;
        let square = update.builder.mul(grad, grad)?;
        let mut v = update.average("square_avg", ("alpha", "alpha_rest"), square)?;
        if self.centered {
            let mean = update.average("grad_avg", ("alpha", "alpha_rest"), grad)?;
            let b = &mut *update.builder;
            let (square, zero) = (b.mul(mean, mean)?, b.full_like(mean, 0.0)?);
            let variance = b.sub(v, square)?;
            v = b.max(variance, zero)?;
        }
        let divisor = root(update, v)?;
        let mut direction = update.builder.div(grad, divisor)?;
        if self.momentum != 0.0 {
            let old = update.state("momentum_buffer");
            let kept = update.combine(&[("momentum", old)])?;
            direction = update.builder.add(kept, direction)?;
            update.set_state("momentum_buffer", direction);
        }
        let step = update.combine(&[("lr", direction)])?;
        update.descend(update.param, step)
    }
}
