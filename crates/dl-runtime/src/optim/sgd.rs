//! Stochastic gradient descent.

use dl_ir::OpError;

use super::{Optimizer, OptimizerState, Update, check};
use crate::error::Result;

/// Stochastic gradient descent with optional momentum, as `torch.optim.SGD`:
///
/// ```text
/// g = grad + weight_decay * p
/// v = momentum * v + g                    (with momentum)
/// p = p - lr * (g + momentum * v, with nesterov; else v; without momentum g)
/// ```
#[derive(Debug)]
pub struct Sgd {
    /// The learning rate.
    pub lr: f64,
    /// How much of the last step's direction is kept; by default 0.
    pub momentum: f64,
    /// The factor of the L2 penalty; by default 0.
    pub weight_decay: f64,
    /// Look ahead along the momentum; by default not.
    pub nesterov: bool,
    state: OptimizerState,
}

impl Sgd {
    /// With learning rate `lr`, without momentum and weight decay.
    pub fn new(lr: f64) -> Sgd {
        Sgd { lr, momentum: 0.0, weight_decay: 0.0, nesterov: false, state: OptimizerState::default() }
    }

    /// With momentum.
    pub fn momentum(mut self, momentum: f64) -> Sgd {
        self.momentum = momentum;
        self
    }

    /// With an L2 penalty.
    pub fn weight_decay(mut self, weight_decay: f64) -> Sgd {
        self.weight_decay = weight_decay;
        self
    }

    /// With or without Nesterov's look-ahead, which needs momentum.
    pub fn nesterov(mut self, nesterov: bool) -> Sgd {
        self.nesterov = nesterov;
        self
    }
}

impl Optimizer for Sgd {
    fn name(&self) -> &'static str {
        "Sgd"
    }

    fn structure(&self) -> String {
        let (momentum, decay, nesterov) = (self.momentum != 0.0, self.weight_decay != 0.0, self.nesterov);
        format!("Sgd momentum={momentum} weight_decay={decay} nesterov={nesterov}")
    }

    fn scalars(&self, _step: u64) -> Result<Vec<(&'static str, f64)>> {
        let at_least_zero = "a finite number, 0 or more";
        check("Sgd", "lr", self.lr, 0.0.., at_least_zero)?;
        check("Sgd", "momentum", self.momentum, 0.0.., at_least_zero)?;
        check("Sgd", "weight_decay", self.weight_decay, 0.0.., at_least_zero)?;
        if self.nesterov {
            check("Sgd", "momentum", self.momentum, f64::MIN_POSITIVE.., "above 0 with `nesterov`")?;
        }
        Ok(vec![("lr", self.lr), ("momentum", self.momentum), ("weight_decay", self.weight_decay)])
    }

    fn update(&self, update: &mut Update<'_>) -> Result<(), OpError> {
        let (param, mut direction) = (update.param, update.grad);
        if self.weight_decay != 0.0 {
            let decay = update.scalar("weight_decay");
            let decay = update.builder.mul(decay, param)?;
            direction = update.builder.add(direction, decay)?;
        }
        if self.momentum != 0.0 {
            let (momentum, kept) = (update.scalar("momentum"), update.state("momentum_buffer"));
            let kept = update.builder.mul(momentum, kept)?;
            let velocity = update.builder.add(kept, direction)?;
            update.set_state("momentum_buffer", velocity);
            direction = match self.nesterov {
                true => {
                    let ahead = update.builder.mul(momentum, velocity)?;
                    update.builder.add(direction, ahead)?
                }
                false => velocity,
            };
        }
        let lr = update.scalar("lr");
        let step = update.builder.mul(lr, direction)?;
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
