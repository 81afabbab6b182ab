//! LAMB.

use super::adam::{moments, rates, root};
use super::table::prelude::*;

optimizer! {
    /// LAMB, Adam whose step is scaled, for each tensor, to the length of its weights, for large batches: in step t
    ///
    /// ```text
    /// m = beta1 * m + (1 - beta1) * grad
    /// v = beta2 * v + (1 - beta2) * grad^2
    /// u = (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay * p
    /// p = p - lr * |p| / |u| * u              (|.| is the Euclidean norm; the ratio is 1 where either is 0)
    /// ```
    ///
    /// You and others, 2019, arXiv:1904.00962, with its function of `|p|` the identity. Biases and the weights of
    /// norms are often left out of the decay; see [`Groups`](crate::optim::Groups).
    ///
    /// ```
    /// # extern crate dl_runtime as dl;
    /// assert_eq!(dl::Lamb::new(2e-3).weight_decay, 0.01);
    /// ```
    #[doc(alias = "LAMB")]
    Lamb(1e-3) {
        /// The decay rates of the two moments, each in [0, 1); by default 0.9 and 0.999.
        betas betas = (0.9, 0.999), FRACTION;
        /// Keeps the divisor from zero; by default 1e-6.
        number eps = 1e-6, NOT_NEGATIVE;
        /// The rate at which weights decay; by default 0.01.
        switch weight_decay = 0.01, NOT_NEGATIVE;
    }
}

impl Lamb {
    fn numbers(&self, t: f64) -> Numbers {
        let (beta1, beta2) = self.betas;
        let root = (1.0 - beta2.powf(t)).sqrt();
        let own = [
            ("lr", self.lr),
            ("correction", root / (1.0 - beta1.powf(t))),
            ("eps", self.eps * root),
            ("weight_decay", self.weight_decay),
        ];
        Ok(own.into_iter().chain(rates(self.betas)).collect())
    }

    fn build(&self, update: &mut Update<'_>) -> Result<(), OpError> {
        let (m, v) = moments(update, update.grad)?;
        let divisor = root(update, v)?;
        let numerator = update.combine(&[("correction", m)])?;
        let mut direction = update.builder.div(numerator, divisor)?;
        if self.weight_decay != 0.0 {
            let decay = update.combine(&[("weight_decay", update.param)])?;
            direction = update.builder.add(direction, decay)?;
        }
        let (length, wanted) = (norm(update, direction)?, norm(update, update.param)?);
        let b = &mut *update.builder;
        let (zero, one, ratio) = (b.full_like(length, 0.0)?, b.full_like(length, 1.0)?, b.div(wanted, length)?);
        let (some, far) = (b.ne(wanted, zero)?, b.ne(length, zero)?);
        let both = b.and(some, far)?;
        let ratio = b.select(both, ratio, one)?;
        let direction = b.mul(ratio, direction)?;
        let step = update.combine(&[("lr", direction)])?;
        update.descend(update.param, step)
    }
}

/// The Euclidean norm of all elements.
fn norm(update: &mut Update<'_>, x: NodeId) -> Result<NodeId, OpError> {
    let b = &mut *update.builder;
    let (square, axes) = (b.mul(x, x)?, (0..b.rank(x)).collect::<Vec<_>>());
    let sum = b.sum(square, &axes, false)?;
    b.sqrt(sum)
}
