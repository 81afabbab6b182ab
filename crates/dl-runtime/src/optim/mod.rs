//! Optimizers: how a step changes the parameters, given their gradients.
//!
//! An optimizer says what one step does as a graph, once for each parameter; it is compiled together with the forward
//! and backward pass. Numbers such as the learning rate are inputs of that graph, so changing them compiles nothing.
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
//! A method marked `#[train]` takes it as it takes [`Adam`]: `net.train_loss(&mut lion, &x, &label)?`. An update that does
//! not work is an [`Error::BadOptimizer`], and then no parameter has changed.

mod adam;
mod sgd;
mod state;

pub use adam::{Adam, AdamW};
pub use sgd::Sgd;
pub use state::OptimizerState;
pub(crate) use state::StateSlot;

use std::path::Path;

pub use dl_ir::{Builder, DType, NodeId, OpError};
use dl_ir::{Graph, InputKind, Role, Type, verify};

use crate::error::{Error, Result};

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
}

/// The update of one parameter while its graph is built.
pub struct Update<'a> {
    /// Appends nodes to the graph of the step.
    pub builder: &'a mut Builder,
    /// The parameter's value before the step.
    pub param: NodeId,
    /// The gradient of the loss with respect to the parameter.
    pub grad: NodeId,
    name: &'a str,
}

impl Update<'_> {
    /// A number that [`Optimizer::scalars`] gives anew for each step, in the parameter's element type.
    pub fn scalar(&mut self, name: &'static str) -> NodeId {
        let dtype = self.builder.dtype(self.param);
        let wide = if dtype == DType::F64 { WIDE } else { "" };
        let name = format!("{SCALAR}{name}{wide}");
        self.builder.input(InputKind::Hyper, &name, Type::scalar(dtype))
    }

    /// A tensor that is kept between steps, of the parameter's type, zero before the first step.
    pub fn state(&mut self, name: &'static str) -> NodeId {
        let ty = self.builder.ty(self.param).clone();
        self.builder.input(InputKind::State, &format!("{}.{name}", self.name), ty)
    }

    /// Sets what [`state`](Update::state) gives in the next step.
    pub fn set_state(&mut self, name: &'static str, value: NodeId) {
        self.builder.output(Role::Update(format!("{}.{name}", self.name)), value);
    }

    /// Sets the parameter.
    pub fn set_param(&mut self, value: NodeId) {
        self.builder.output(Role::Update(self.name.to_string()), value);
    }
}

/// Stands before the names of scalars. An argument's name has no dot, so it cannot be one of them.
const SCALAR: &str = "optimizer.";

/// Marks a scalar in `f64`, for parameters of that type.
const WIDE: &str = ".f64";

/// A scalar's name as the optimizer gives it, from that of the graph's input.
pub(crate) fn plain_name(input: &str) -> &str {
    let name = input.strip_prefix(SCALAR).unwrap_or(input);
    name.strip_suffix(WIDE).unwrap_or(name)
}

/// The graph of a whole step of `function`: every gradient of `graph` becomes an update of its parameter.
pub(crate) fn attach(function: &str, graph: Graph, optimizer: &dyn Optimizer) -> Result<Graph> {
    let refused =
        |problem: String| Error::BadOptimizer { optimizer: optimizer.name(), function: function.to_string(), problem };
    let mut builder = Builder::on(graph);
    let outputs = std::mem::take(&mut builder.graph.outputs);
    let (grads, rest): (Vec<_>, Vec<_>) = outputs.into_iter().partition(|o| matches!(o.role, Role::Grad(_)));
    builder.graph.outputs = rest;
    for grad in &grads {
        let Role::Grad(name) = &grad.role else { continue };
        let Some(param) = builder.graph.input(name).map(|input| input.node) else { continue };
        let mut update = Update { builder: &mut builder, param, grad: grad.node, name };
        optimizer.update(&mut update).map_err(|e| refused(format!("its update of `{name}` fails: {e}")))?;
    }
    let graph = builder.finish();
    // An optimizer may be anybody's code, and what it builds writes to the parameters.
    verify(&graph).map_err(|e| refused(e.to_string()))?;
    Ok(graph)
}

/// Checks that a hyperparameter lies in `range`.
fn check(
    optimizer: &'static str,
    name: &'static str,
    value: f64,
    range: impl std::ops::RangeBounds<f64>,
    expected: &'static str,
) -> Result<()> {
    if value.is_finite() && range.contains(&value) {
        return Ok(());
    }
    Err(Error::BadHyperparameter { optimizer, name, value, expected })
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
    }
}
