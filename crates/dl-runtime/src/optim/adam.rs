//! Adam and AdamW.

use dl_ir::OpError;

use super::{Optimizer, OptimizerState, Update, check};
use crate::error::Result;

/// Adam, as `torch.optim.Adam`: in step t
///
/// ```text
/// g = grad + weight_decay * p
/// m = beta1 * m + (1 - beta1) * g
/// v = beta2 * v + (1 - beta2) * g^2
/// p = p - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
/// ```
#[derive(Debug)]
pub struct Adam {
    /// The learning rate.
    pub lr: f64,
    /// The decay rates of the two moments; by default 0.9 and 0.999.
    pub betas: (f64, f64),
    /// Keeps the divisor from zero; by default 1e-8.
    pub eps: f64,
    /// The factor of the L2 penalty; by default 0.
    pub weight_decay: f64,
    state: OptimizerState,
}

/// Adam with decoupled weight decay, as `torch.optim.AdamW`: `p` is multiplied by `1 - lr * weight_decay` first, and
/// the gradient is left as it is.
#[derive(Debug)]
pub struct AdamW {
    /// The learning rate.
    pub lr: f64,
    /// The decay rates of the two moments; by default 0.9 and 0.999.
    pub betas: (f64, f64),
    /// Keeps the divisor from zero; by default 1e-8.
    pub eps: f64,
    /// The rate at which weights decay; by default 0.01.
    pub weight_decay: f64,
    state: OptimizerState,
}

macro_rules! setters {
    ($ty:ident, $decay:expr) => {
        impl $ty {
            /// With learning rate `lr` and PyTorch's defaults for the rest.
            pub fn new(lr: f64) -> $ty {
                $ty { lr, betas: (0.9, 0.999), eps: 1e-8, weight_decay: $decay, state: OptimizerState::default() }
            }

            /// With other decay rates of the moments, each in [0, 1).
            pub fn betas(mut self, beta1: f64, beta2: f64) -> $ty {
                self.betas = (beta1, beta2);
                self
            }

            /// With another `eps`.
            pub fn eps(mut self, eps: f64) -> $ty {
                self.eps = eps;
                self
            }

            /// With another weight decay.
            pub fn weight_decay(mut self, weight_decay: f64) -> $ty {
                self.weight_decay = weight_decay;
                self
            }

            fn scalars_of(&self, name: &'static str, step: u64) -> Result<Vec<(&'static str, f64)>> {
                let at_least_zero = "a finite number, 0 or more";
                let (beta1, beta2) = self.betas;
                check(name, "lr", self.lr, 0.0.., at_least_zero)?;
                check(name, "beta1", beta1, 0.0..1.0, "at least 0 and below 1")?;
                check(name, "beta2", beta2, 0.0..1.0, "at least 0 and below 1")?;
                check(name, "eps", self.eps, 0.0.., at_least_zero)?;
                check(name, "weight_decay", self.weight_decay, 0.0.., at_least_zero)?;
                let t = step as f64;
                // Dividing numerator and denominator by sqrt(1 - beta2^t) leaves one division an element.
                let root = (1.0 - beta2.powf(t)).sqrt();
                Ok(vec![
                    ("step_size", self.lr * root / (1.0 - beta1.powf(t))),
                    ("beta1", beta1),
                    ("beta1_rest", 1.0 - beta1),
                    ("beta2", beta2),
                    ("beta2_rest", 1.0 - beta2),
                    ("eps", self.eps * root),
                    ("weight_decay", self.weight_decay),
                    ("keep", 1.0 - self.lr * self.weight_decay),
                ])
            }
        }
    };
}
setters!(Adam, 0.0);
setters!(AdamW, 0.01);

impl Optimizer for Adam {
    fn name(&self) -> &'static str {
        "Adam"
    }

    fn structure(&self) -> String {
        format!("Adam weight_decay={}", self.weight_decay != 0.0)
    }

    fn scalars(&self, step: u64) -> Result<Vec<(&'static str, f64)>> {
        self.scalars_of("Adam", step)
    }

    fn update(&self, update: &mut Update<'_>) -> Result<(), OpError> {
        let mut grad = update.grad;
        if self.weight_decay != 0.0 {
            let decay = update.scalar("weight_decay");
            let decay = update.builder.mul(decay, update.param)?;
            grad = update.builder.add(grad, decay)?;
        }
        let step = step(update, grad)?;
        let next = update.builder.sub(update.param, step)?;
        update.set_param(next);
        Ok(())
    }

    fn state(&self) -> &OptimizerState {
        &self.state
    }

    fn state_mut(&mut self) -> &mut OptimizerState {
        &mut self.state
    }
}

impl Optimizer for AdamW {
    fn name(&self) -> &'static str {
        "AdamW"
    }

    fn structure(&self) -> String {
        format!("AdamW weight_decay={}", self.weight_decay != 0.0)
    }

    fn scalars(&self, step: u64) -> Result<Vec<(&'static str, f64)>> {
        self.scalars_of("AdamW", step)
    }

    fn update(&self, update: &mut Update<'_>) -> Result<(), OpError> {
        let mut param = update.param;
        if self.weight_decay != 0.0 {
            let keep = update.scalar("keep");
            param = update.builder.mul(keep, param)?;
        }
        let step = step(update, update.grad)?;
        let next = update.builder.sub(param, step)?;
        update.set_param(next);
        Ok(())
    }

    fn state(&self) -> &OptimizerState {
        &self.state
    }

    fn state_mut(&mut self) -> &mut OptimizerState {
        &mut self.state
    }
}

/// Updates both moments by `grad` and returns what is subtracted from the parameter.
fn step(update: &mut Update<'_>, grad: dl_ir::NodeId) -> Result<dl_ir::NodeId, OpError> {
    let m = moving_average(update, "exp_avg", ("beta1", "beta1_rest"), grad)?;
    let square = update.builder.mul(grad, grad)?;
    let v = moving_average(update, "exp_avg_sq", ("beta2", "beta2_rest"), square)?;
    let (size, eps) = (update.scalar("step_size"), update.scalar("eps"));
    let root = update.builder.sqrt(v)?;
    let divisor = update.builder.add(root, eps)?;
    let numerator = update.builder.mul(size, m)?;
    update.builder.div(numerator, divisor)
}

/// `beta * state + (1 - beta) * value`, which becomes the state.
fn moving_average(
    update: &mut Update<'_>,
    state: &'static str,
    (beta, rest): (&'static str, &'static str),
    value: dl_ir::NodeId,
) -> Result<dl_ir::NodeId, OpError> {
    let (beta, rest, old) = (update.scalar(beta), update.scalar(rest), update.state(state));
    let kept = update.builder.mul(beta, old)?;
    let new = update.builder.mul(rest, value)?;
    let next = update.builder.add(kept, new)?;
    update.set_state(state, next);
    Ok(next)
}
