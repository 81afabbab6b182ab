//! NAdam.

use super::adam::{moments, rates, root};
use super::table::prelude::*;

optimizer! {
    /// Adam with Nesterov's momentum, as `torch.optim.NAdam`: in step t, with
    /// `mu(t) = beta1 * (1 - 0.96^(t * momentum_decay) / 2)` and `M = mu(1) * … * mu(t)`
    ///
    /// ```text
    /// g = grad + weight_decay * p             (p = p * (1 - lr * weight_decay), with decoupled_weight_decay)
    /// m = beta1 * m + (1 - beta1) * g
    /// v = beta2 * v + (1 - beta2) * g^2
    /// n = (1 - mu(t)) / (1 - M) * g + mu(t + 1) / (1 - M * mu(t + 1)) * m
    /// p = p - lr * n / (sqrt(v / (1 - beta2^t)) + eps)
    /// ```
    ///
    /// Dozat, 2016, "Incorporating Nesterov momentum into Adam".
    ///
    /// ```
    /// # extern crate dl_runtime as dl;
    /// assert_eq!(dl::NAdam::default().lr, 2e-3);
    /// ```
    NAdam(2e-3) {
        /// The decay rates of the two moments, each in [0, 1); by default 0.9 and 0.999.
        betas betas = (0.9, 0.999), FRACTION;
        /// Keeps the divisor from zero; by default 1e-8.
        number eps = 1e-8, NOT_NEGATIVE;
        /// The factor of the L2 penalty; by default 0.
        switch weight_decay = 0.0, NOT_NEGATIVE;
        /// How fast the momentum approaches `beta1`; by default 4e-3.
        number momentum_decay = 4e-3, NOT_NEGATIVE;
        /// Let weights decay as AdamW does, in place of the penalty; by default not.
        flag decoupled_weight_decay = false;
    }
}

/// Halved in each term, a series of so many has converged in f64.
const TERMS: u32 = 60;

impl NAdam {
    /// `mu(1) * … * mu(t)` without going through all steps: the logarithm of each factor `1 - q^i / 2` is a power
    /// series, and for each power the sum over all steps is geometric.
    fn product(&self, t: f64) -> f64 {
        let decay = 0.96f64.ln() * self.momentum_decay;
        let term = |k: u32| {
            let rate = f64::from(k) * decay;
            let sum = if rate == 0.0 { t } else { rate.exp() * (rate * t).exp_m1() / rate.exp_m1() };
            -0.5f64.powi(k as i32) / f64::from(k) * sum
        };
        let logarithm: f64 = (1..=TERMS).map(term).sum();
        self.betas.0.powf(t) * logarithm.exp()
    }

    fn numbers(&self, t: f64) -> Numbers {
        let (beta1, beta2) = self.betas;
        let mu = |t: f64| beta1 * (1.0 - 0.5 * 0.96f64.powf(t * self.momentum_decay));
        let (now, next, product) = (mu(t), mu(t + 1.0), self.product(t));
        let root = (1.0 - beta2.powf(t)).sqrt();
        let own = [
            ("of_grad", self.lr * root * (1.0 - now) / (1.0 - product)),
            ("of_average", self.lr * root * next / (1.0 - product * next)),
            ("eps", self.eps * root),
            ("weight_decay", self.weight_decay),
            ("keep", 1.0 - self.lr * self.weight_decay),
        ];
        Ok(own.into_iter().chain(rates(self.betas)).collect())
    }

    fn build(&self, update: &mut Update<'_>) -> Result<(), OpError> {
        let (param, grad) = update.decayed(self.weight_decay, self.decoupled_weight_decay)?;
        let (m, v) = moments(update, grad)?;
        let divisor = root(update, v)?;
        let numerator = update.combine(&[("of_grad", grad), ("of_average", m)])?;
        let step = update.builder.div(numerator, divisor)?;
        update.descend(param, step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_of_all_momenta_is_that_of_its_factors() {
        for momentum_decay in [4e-3, 0.0, 1.0, 50.0] {
            let nadam = NAdam::new(0.1).momentum_decay(momentum_decay);
            let mut product = 1.0;
            for t in 1..=300 {
                product *= 0.9 * (1.0 - 0.5 * 0.96f64.powf(f64::from(t) * momentum_decay));
                let found = nadam.product(f64::from(t));
                assert!((found - product).abs() <= 1e-12 * product, "{momentum_decay} {t}: {found} {product}");
            }
        }
    }
}
