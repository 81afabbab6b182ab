//! Adam and AdamW.

use super::table::prelude::*;

optimizer! {
    /// Adam, as `torch.optim.Adam`: in step t
    ///
    /// ```text
    /// g = grad + weight_decay * p
    /// m = beta1 * m + (1 - beta1) * g
    /// v = beta2 * v + (1 - beta2) * g^2
    /// p = p - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
    /// ```
    ///
    /// With `amsgrad` the largest `v` so far takes the place of `v` in the last line. Kingma and Ba, 2014,
    /// arXiv:1412.6980; Reddi and others, 2018, arXiv:1904.09237.
    ///
    /// ```
    /// # extern crate dl_runtime as dl;
    /// let mut adam = dl::Adam::new(1e-3).betas(0.9, 0.99).amsgrad(true);
    /// adam.lr = 1e-4; // at any time; nothing is compiled again
    /// ```
    Adam(1e-3) {
        /// The decay rates of the two moments, each in [0, 1); by default 0.9 and 0.999.
        betas betas = (0.9, 0.999), FRACTION;
        /// Keeps the divisor from zero; by default 1e-8.
        number eps = 1e-8, NOT_NEGATIVE;
        /// The factor of the L2 penalty; by default 0.
        switch weight_decay = 0.0, NOT_NEGATIVE;
        /// Divide by the largest second moment so far; by default not.
        flag amsgrad = false;
    }
}

optimizer! {
    /// Adam with decoupled weight decay, as `torch.optim.AdamW`: `p` is multiplied by `1 - lr * weight_decay` first,
    /// and the gradient is left as it is. Loshchilov and Hutter, 2017, arXiv:1711.05101.
    ///
    /// ```
    /// # extern crate dl_runtime as dl;
    /// let adam = dl::AdamW::new(3e-4).weight_decay(0.1);
    /// assert_eq!(adam.betas, (0.9, 0.999));
    /// ```
    AdamW(1e-3) {
        /// The decay rates of the two moments, each in [0, 1); by default 0.9 and 0.999.
        betas betas = (0.9, 0.999), FRACTION;
        /// Keeps the divisor from zero; by default 1e-8.
        number eps = 1e-8, NOT_NEGATIVE;
        /// The rate at which weights decay; by default 0.01.
        switch weight_decay = 0.01, NOT_NEGATIVE;
        /// Divide by the largest second moment so far; by default not.
        flag amsgrad = false;
    }
}

impl Adam {
    fn numbers(&self, t: f64) -> Numbers {
        numbers(self.lr, self.betas, self.eps, self.weight_decay, t)
    }

    fn build(&self, update: &mut Update<'_>) -> Result<(), OpError> {
        let (_, grad) = update.decayed(self.weight_decay, false)?;
        let step = step(update, grad, self.amsgrad)?;
        update.descend(update.param, step)
    }
}

impl AdamW {
    fn numbers(&self, t: f64) -> Numbers {
        numbers(self.lr, self.betas, self.eps, self.weight_decay, t)
    }

    fn build(&self, update: &mut Update<'_>) -> Result<(), OpError> {
        let (param, grad) = update.decayed(self.weight_decay, true)?;
        let step = step(update, grad, self.amsgrad)?;
        update.descend(param, step)
    }
}

fn numbers(lr: f64, (beta1, beta2): (f64, f64), eps: f64, weight_decay: f64, t: f64) -> Numbers {
    // Dividing numerator and denominator by sqrt(1 - beta2^t) leaves one division an element.
    let root = (1.0 - beta2.powf(t)).sqrt();
    let own = [
        ("step_size", lr * root / (1.0 - beta1.powf(t))),
        ("eps", eps * root),
        ("weight_decay", weight_decay),
        ("keep", 1.0 - lr * weight_decay),
    ];
    Ok(own.into_iter().chain(rates((beta1, beta2))).collect())
}

/// Updates both moments by `grad` and returns what is subtracted from the parameter.
fn step(update: &mut Update<'_>, grad: NodeId, amsgrad: bool) -> Result<NodeId, OpError> {
    let (m, mut v) = moments(update, grad)?;
    if amsgrad {
        let largest = update.state("max_exp_avg_sq");
        v = update.builder.max(largest, v)?;
        update.set_state("max_exp_avg_sq", v);
    }
    let divisor = root(update, v)?;
    let numerator = update.combine(&[("step_size", m)])?;
    update.builder.div(numerator, divisor)
}

/// The scalars by which [`moments`] averages.
pub(super) fn rates((beta1, beta2): (f64, f64)) -> [(&'static str, f64); 4] {
    [("beta1", beta1), ("beta1_rest", 1.0 - beta1), ("beta2", beta2), ("beta2_rest", 1.0 - beta2)]
}

/// The moving averages of `grad` and of its square, by the scalars `beta1`, `beta1_rest`, `beta2` and `beta2_rest`.
pub(super) fn moments(update: &mut Update<'_>, grad: NodeId) -> Result<(NodeId, NodeId), OpError> {
    let m = update.average("exp_avg", ("beta1", "beta1_rest"), grad)?;
    let square = update.builder.mul(grad, grad)?;
    Ok((m, update.average("exp_avg_sq", ("beta2", "beta2_rest"), square)?))
}

/// `sqrt(v) + eps`.
pub(super) fn root(update: &mut Update<'_>, v: NodeId) -> Result<NodeId, OpError> {
    let (root, eps) = (update.builder.sqrt(v)?, update.scalar("eps"));
    update.builder.add(root, eps)
}
