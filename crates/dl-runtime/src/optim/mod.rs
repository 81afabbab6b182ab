//! Optimizers: how a step changes the parameters, given their gradients.
//!
//! An optimizer says what one step does as a graph, once for each parameter; it is compiled together with the forward
//! and backward pass. Numbers such as the learning rate are inputs of that graph, so changing them compiles nothing;
//! `dl::schedule` has the usual rules for them.
//!
//! | PyTorch | here |
//! | --- | --- |
//! | `SGD`, `RMSprop`, `Adagrad`, `Adadelta` | [`Sgd`], [`RmsProp`], [`Adagrad`], [`Adadelta`] |
//! | `Adam`, `AdamW`, `Adamax`, `NAdam`, `RAdam` | [`Adam`], [`AdamW`], [`Adamax`], [`NAdam`], [`RAdam`] |
//! | not in PyTorch | [`Lion`], [`Lamb`] |
//! | parameter groups, `requires_grad = False` | [`Groups`] |
//! | `clip_grad_norm_`, `clip_grad_value_` | [`clip_norm`](Optimizer::clip_norm), [`clip_value`](Optimizer::clip_value) |
//! | `loss.backward()` several times before `step()` | [`accumulate`](Optimizer::accumulate) |
//! | `swa_utils.AveragedModel` | [`ema`](Optimizer::ema) |
//! | `maximize = True` | [`maximize`](Optimizer::maximize) |
//!
//! ```
//! # extern crate dl_runtime as dl;
//! use dl::{AdamW, Groups, Optimizer};
//!
//! let groups = Groups::new(AdamW::new(1e-3)).group("*.bias", |g| g.weight_decay(0.0));
//! let mut adam = groups.clip_norm(1.0).accumulate(4).ema(0.999);
//! adam.lr = 5e-4; // the settings of each are at hand as before
//! assert_eq!((adam.max_norm, adam.decay), (1.0, 0.999));
//! ```
//!
//! # Another optimizer
//!
//! Lion, which steps by the sign of a moving average (seen from a program that depends on `dl`):
//!
//! ```
//! # extern crate dl_runtime as dl;
//! use dl::optim::{OpError, Optimizer, OptimizerState, Update};
//!
//! struct Lion {
//!     lr: f64,
//!     betas: (f64, f64),
//!     state: OptimizerState,
//! }
//!
//! impl Optimizer for Lion {
//!     fn name(&self) -> &'static str {
//!         "Lion"
//!     }
//!
//!     // No field changes what `update` builds, so one program serves them all.
//!     fn structure(&self) -> String {
//!         "Lion".into()
//!     }
//!
//!     fn scalars(&self, _step: u64) -> dl::Result<Vec<(&'static str, f64)>> {
//!         let (beta1, beta2) = self.betas;
//!         Ok(vec![("lr", self.lr), ("beta1", beta1), ("rest1", 1.0 - beta1), ("beta2", beta2), ("rest2", 1.0 - beta2)])
//!     }
//!
//!     fn update(&self, update: &mut Update<'_>) -> Result<(), OpError> {
//!         let (param, grad, average) = (update.param, update.grad, update.state("exp_avg"));
//!         let [lr, beta1, rest1, beta2, rest2] =
//!             ["lr", "beta1", "rest1", "beta2", "rest2"].map(|name| update.scalar(name));
//!         let b = &mut *update.builder;
//!         // param - lr * sign(beta1 * average + (1 - beta1) * grad)
//!         let (old, new) = (b.mul(beta1, average)?, b.mul(rest1, grad)?);
//!         let sum = b.add(old, new)?;
//!         let sign = b.sign(sum)?;
//!         let step = b.mul(lr, sign)?;
//!         let next = b.sub(param, step)?;
//!         // beta2 * average + (1 - beta2) * grad
//!         let (old, new) = (b.mul(beta2, average)?, b.mul(rest2, grad)?);
//!         let next_average = b.add(old, new)?;
//!         update.set_param(next);
//!         update.set_state("exp_avg", next_average);
//!         Ok(())
//!     }
//!
//!     fn state(&self) -> &OptimizerState {
//!         &self.state
//!     }
//!
//!     fn state_mut(&mut self) -> &mut OptimizerState {
//!         &mut self.state
//!     }
//! }
//!
//! let lion = Lion { lr: 1e-4, betas: (0.9, 0.99), state: OptimizerState::default() };
//! # assert_eq!(lion.scalars(1)?[2].0, "rest1");
//! # Ok::<(), dl::Error>(())
//! ```
//!
//! One that looks at all gradients together, or changes what another one sees, also writes [`step`](Optimizer::step),
//! which by itself calls `update` for each parameter.
//!
//! A method marked `#[train]` takes it as it takes [`Adam`]: `net.train_loss(&mut lion, &x, &label)?`. An update that
//! does not work is an [`Error::BadOptimizer`], and then no parameter has changed.

mod accumulate;
mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod clip;
mod ema;
mod groups;
mod lamb;
mod lion;
mod maximize;
mod nadam;
mod radam;
mod rmsprop;
mod sgd;
mod state;
mod table;
mod update;
mod wrap;

pub use accumulate::Accumulate;
pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW};
pub use adamax::Adamax;
pub use clip::{ClipNorm, ClipValue};
pub use ema::Ema;
pub use groups::Groups;
pub use lamb::Lamb;
pub use lion::Lion;
pub use maximize::Maximize;
pub use nadam::NAdam;
pub use radam::RAdam;
pub use rmsprop::RmsProp;
pub use sgd::Sgd;
pub use state::OptimizerState;
pub(crate) use state::StateSlot;
pub(crate) use update::{Begin, Key, Ports, Scalars, Whole};
pub use update::{Start, Step, Trained, Update};

use std::path::Path;

pub use dl_ir::{Builder, DType, NodeId, OpError};
use dl_ir::{Graph, Role, verify};

#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;

/// A rule that updates parameters; the [module](self) shows how to write one.
pub trait Optimizer: Send {
    /// Its name in messages, such as `Adam`.
    fn name(&self) -> &'static str;

    /// Names the graph that [`update`](Optimizer::update) builds: equal structures share a compiled program.
    fn structure(&self) -> String;

    /// The value of every [`scalar`](Update::scalar) for step number `step`, counted from 1.
    ///
    /// Errors: [`Error::BadHyperparameter`] for one out of its range.
    fn scalars(&self, step: u64) -> Result<Vec<(&'static str, f64)>>;

    /// Appends the update of one parameter to the graph of the step.
    fn update(&self, update: &mut Update<'_>) -> Result<(), OpError>;

    /// What it remembers between steps.
    fn state(&self) -> &OptimizerState;

    /// What it remembers between steps, to be changed.
    fn state_mut(&mut self) -> &mut OptimizerState;

    /// Saves what it remembers, so that training can go on bit for bit after [`load`](Optimizer::load). The
    /// hyperparameters are not saved.
    ///
    /// Errors: [`Error::Io`].
    fn save(&self, path: &Path) -> Result<()> {
        self.state().save(self.name(), path)
    }

    /// Loads what [`save`](Optimizer::save) saved.
    ///
    /// Errors: [`Error::Io`], [`Error::CorruptCheckpoint`], [`Error::WrongCheckpoint`]; the state is then unchanged.
    fn load(&mut self, path: &Path) -> Result<()> {
        let name = self.name();
        self.state_mut().load(name, path)
    }

    /// Builds a whole step: by itself, the [`update`](Optimizer::update) of each parameter. For optimizers that look at
    /// all gradients together, or that change what another one sees; these pass all other methods on to it.
    ///
    /// Errors: [`Error::BadOptimizer`] and [`Error::UnmatchedPattern`].
    fn step(&self, step: &mut Step<'_>) -> Result<()> {
        step.each(|update| self.update(update))
    }

    /// As [`structure`](Optimizer::structure), for a model whose parameters that can be trained have these names.
    fn structure_of(&self, _names: &[String]) -> String {
        self.structure()
    }

    /// As [`scalars`](Optimizer::scalars), for the parameters of a [`part`](Step::part) of the step.
    ///
    /// Errors: as [`scalars`](Optimizer::scalars).
    fn group_scalars(&self, _group: &str, step: u64) -> Result<Vec<(&'static str, f64)>> {
        self.scalars(step)
    }

    /// How many calls make one step: all but the last of them only gather gradients.
    fn window(&self) -> u64 {
        1
    }

    /// Whether it trains the parameter of that name.
    fn trains(&self, _name: &str) -> bool {
        true
    }

    /// Scales all gradients down together where their norm is above `max_norm`, as `torch.nn.utils.clip_grad_norm_`.
    fn clip_norm(self, max_norm: f64) -> ClipNorm<Self>
    where
        Self: Sized,
    {
        ClipNorm::new(self, max_norm)
    }

    /// Brings every element of the gradients between `-limit` and `limit`, as `torch.nn.utils.clip_grad_value_`.
    fn clip_value(self, limit: f64) -> ClipValue<Self>
    where
        Self: Sized,
    {
        ClipValue::new(self, limit)
    }

    /// Steps by the mean of the gradients of every `calls` calls.
    fn accumulate(self, calls: u64) -> Accumulate<Self>
    where
        Self: Sized,
    {
        Accumulate::new(self, calls)
    }

    /// Keeps an exponential moving average of the parameters.
    fn ema(self, decay: f64) -> Ema<Self>
    where
        Self: Sized,
    {
        Ema::new(self, decay)
    }

    /// Goes up: maximizes what it would minimize.
    fn maximize(self) -> Maximize<Self>
    where
        Self: Sized,
    {
        Maximize::new(self)
    }
}

impl<T: Optimizer + ?Sized> Optimizer for Box<T> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn structure(&self) -> String {
        (**self).structure()
    }

    fn scalars(&self, step: u64) -> Result<Vec<(&'static str, f64)>> {
        (**self).scalars(step)
    }

    fn update(&self, update: &mut Update<'_>) -> Result<(), OpError> {
        (**self).update(update)
    }

    fn state(&self) -> &OptimizerState {
        (**self).state()
    }

    fn state_mut(&mut self) -> &mut OptimizerState {
        (**self).state_mut()
    }

    fn save(&self, path: &Path) -> Result<()> {
        (**self).save(path)
    }

    fn load(&mut self, path: &Path) -> Result<()> {
        (**self).load(path)
    }

    fn step(&self, step: &mut Step<'_>) -> Result<()> {
        (**self).step(step)
    }

    fn structure_of(&self, names: &[String]) -> String {
        (**self).structure_of(names)
    }

    fn group_scalars(&self, group: &str, step: u64) -> Result<Vec<(&'static str, f64)>> {
        (**self).group_scalars(group, step)
    }

    fn window(&self) -> u64 {
        (**self).window()
    }

    fn trains(&self, name: &str) -> bool {
        (**self).trains(name)
    }
}

/// The scalar that is there for every optimizer: how many calls there were since the last step, this one among them.
pub(crate) const CALLS: &str = "optimizer.calls";

/// The graph of a whole step: every gradient of `graph` becomes an update of its parameter. With it, what stands behind
/// the inputs that this adds.
pub(crate) fn attach(whole: Whole<'_>, graph: Graph, optimizer: &dyn Optimizer) -> Result<(Graph, Ports)> {
    let mut builder = Builder::on(graph);
    let outputs = std::mem::take(&mut builder.graph.outputs);
    let (grads, rest): (Vec<_>, Vec<_>) = outputs.into_iter().partition(|o| matches!(o.role, Role::Grad(_)));
    builder.graph.outputs = rest;
    let trained = grads.into_iter().filter_map(|grad| {
        let Role::Grad(name) = grad.role else { return None };
        let param = builder.graph.input(&name)?.node;
        optimizer.trains(&name).then_some(Trained { name, param, grad: grad.node })
    });
    let (trained, mut ports) = (trained.collect(), Ports::default());
    optimizer.step(&mut Step::new(&mut builder, trained, whole, &mut ports))?;
    let graph = builder.finish();
    // An optimizer may be anybody's code, and what it builds writes to the parameters.
    verify(&graph).map_err(|e| whole.refused(e.to_string()))?;
    Ok((graph, ports))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyperparameters_are_checked() {
        let refused = |optimizer: &dyn Optimizer| optimizer.scalars(1).unwrap_err().to_string();
        assert_eq!(
            refused(&Sgd::new(-0.1)),
            "Sgd: `lr` is -0.1, but must be a finite number, 0 or more; no parameter was changed"
        );
        assert!(refused(&Sgd::new(f64::NAN)).contains("`lr` is NaN"));
        assert!(refused(&Sgd::new(0.1).momentum(-1.0)).contains("`momentum`"));
        assert!(
            refused(&Sgd::new(0.1).nesterov(true)).contains("`momentum` is 0, but must be above 0 with `nesterov`")
        );
        let damped = Sgd::new(0.1).nesterov(true).momentum(0.9).dampening(0.5);
        assert!(refused(&damped).contains("`dampening` is 0.5, but must be 0 with `nesterov`"));
        assert!(refused(&RmsProp::new(0.1).alpha(1.5)).contains("RmsProp: `alpha` is 1.5"));
        assert!(refused(&Adagrad::new(0.1).lr_decay(-1.0)).contains("`lr_decay`"));
        assert!(refused(&Adagrad::new(0.1).initial_accumulator_value(-1.0)).contains("`initial_accumulator_value`"));
        assert!(refused(&Adadelta::new(0.1).rho(1.1)).contains("`rho` is 1.1, but must be from 0 to 1"));
        assert!(refused(&Adamax::new(0.1).betas(-0.1, 0.9)).contains("`beta1`"));
        assert!(refused(&NAdam::new(0.1).momentum_decay(-1.0)).contains("`momentum_decay`"));
        assert!(refused(&RAdam::new(0.1).eps(f64::NAN)).contains("`eps` is NaN"));
        assert!(refused(&Lion::new(-1.0)).contains("Lion: `lr`"));
        assert!(refused(&Lamb::new(0.1).betas(0.9, 2.0)).contains("Lamb: `beta2`"));
        assert!(refused(&Adam::new(0.1).betas(0.9, 1.0)).contains("`beta2` is 1"));
        assert!(refused(&Adam::new(0.1).eps(-1.0)).contains("`eps`"));
        assert!(refused(&AdamW::new(f64::INFINITY)).contains("AdamW: `lr` is inf"));
        assert!(refused(&AdamW::new(0.1).weight_decay(-0.5)).contains("`weight_decay`"));
        assert!(Adam::new(0.0).scalars(1).is_ok(), "a learning rate of zero is allowed");
    }

    #[test]
    fn only_what_changes_the_program_changes_the_structure() {
        assert_eq!(Sgd::new(0.1).structure(), Sgd::new(0.5).structure());
        assert_ne!(Sgd::new(0.1).structure(), Sgd::new(0.1).momentum(0.9).structure());
        assert_ne!(Sgd::new(0.1).structure(), Sgd::new(0.1).weight_decay(0.1).structure());
        assert_ne!(Adam::new(0.1).structure(), AdamW::new(0.1).structure());
        assert_ne!(Adam::new(0.1).structure(), Adam::new(0.1).amsgrad(true).structure());
        assert_eq!(RmsProp::new(0.1).structure(), "RmsProp weight_decay=false momentum=false centered=false");
    }
}
