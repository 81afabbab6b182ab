//! Optimizers: how a step changes the parameters, given their gradients.
//!
//! An optimizer says what one step does as a graph, once for each parameter; it is compiled together with the forward
//! and backward pass. Numbers such as the learning rate are inputs of that graph, so changing them compiles nothing.

mod adam;
mod sgd;
mod state;

pub use adam::{Adam, AdamW};
pub use sgd::Sgd;
pub use state::OptimizerState;

use std::path::Path;

use dl_ir::{Builder, DType, Graph, InputKind, NodeId, OpError, Role, Type};

use crate::error::{Error, Result};

/// A rule that updates parameters. Implement it for one of your own; [`Sgd`] is a short example.
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
        let name = if dtype == DType::F64 { format!("{name}{WIDE}") } else { name.to_string() };
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

/// Marks a scalar in `f64`, for parameters of that type.
pub(crate) const WIDE: &str = ".f64";

/// The graph of a whole step: every gradient of `graph` becomes an update of its parameter.
pub(crate) fn attach(graph: Graph, optimizer: &dyn Optimizer) -> Result<Graph, OpError> {
    let mut builder = Builder::on(graph);
    let outputs = std::mem::take(&mut builder.graph.outputs);
    let (grads, rest): (Vec<_>, Vec<_>) = outputs.into_iter().partition(|o| matches!(o.role, Role::Grad(_)));
    builder.graph.outputs = rest;
    for grad in &grads {
        let Role::Grad(name) = &grad.role else { continue };
        let Some(param) = builder.graph.input(name).map(|input| input.node) else { continue };
        optimizer.update(&mut Update { builder: &mut builder, param, grad: grad.node, name })?;
    }
    Ok(builder.finish())
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
