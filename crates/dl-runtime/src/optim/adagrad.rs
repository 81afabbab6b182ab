//! Adagrad.

use super::adam::root;
use super::table::prelude::*;

optimizer! {
    /// Adagrad, as `torch.optim.Adagrad`: in step t
    ///
    /// ```text
    /// g = grad + weight_decay * p
    /// s = s + g^2                             (s starts as initial_accumulator_value)
    /// p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)
    /// ```
    ///
    /// Duchi, Hazan and Singer, 2011, Journal of Machine Learning Research 12.
    ///
    /// ```
    /// # extern crate dl_runtime as dl;
    /// let adagrad = dl::Adagrad::new(0.1).lr_decay(1e-4).initial_accumulator_value(0.1);
    /// assert_eq!(adagrad.eps, 1e-10);
    /// ```
    Adagrad(0.01) {
        /// How fast the learning rate falls; by default 0.
        number lr_decay = 0.0, NOT_NEGATIVE;
        /// The factor of the L2 penalty; by default 0.
        switch weight_decay = 0.0, NOT_NEGATIVE;
        /// Where the sums of squares start; by default 0.
        number initial_accumulator_value = 0.0, NOT_NEGATIVE;
        /// Keeps the divisor from zero; by default 1e-10.
        number eps = 1e-10, NOT_NEGATIVE;
    }
}

impl Adagrad {
    fn numbers(&self, t: f64) -> Numbers {
        Ok(vec![
            ("step_size", self.lr / (1.0 + (t - 1.0) * self.lr_decay)),
            ("weight_decay", self.weight_decay),
            ("initial_accumulator_value", self.initial_accumulator_value),
            ("eps", self.eps),
        ])
    }

    fn build(&self, update: &mut Update<'_>) -> Result<(), OpError> {
        let (_, grad) = update.decayed(self.weight_decay, false)?;
        let sum = update.state_from("sum", Start::Scalar("initial_accumulator_value"));
        let square = update.builder.mul(grad, grad)?;
        let sum = update.builder.add(sum, square)?;
        update.set_state("sum", sum);
        let divisor = root(update, sum)?;
        let numerator = update.combine(&[("step_size", grad)])?;
        let step = update.builder.div(numerator, divisor)?;
        update.descend(update.param, step)
    }
}
