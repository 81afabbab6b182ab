//! What an optimizer sees while the graph of a step is built: one parameter, or all of them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use dl_ir::{Builder, DType, InputKind, NodeId, OpError, Role, Type};

use crate::error::{Error, Result};

/// The update of one parameter while its graph is built.
pub struct Update<'a> {
    /// Appends nodes to the graph of the step.
    pub builder: &'a mut Builder,
    /// The parameter's value before the step.
    pub param: NodeId,
    /// The gradient of the loss with respect to the parameter.
    pub grad: NodeId,
    name: &'a str,
    group: &'a str,
    ports: &'a mut Ports,
}

/// What a tensor that is kept between steps holds before the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Zeros.
    Zero,
    /// The scalar of this name in every element.
    Scalar(&'static str),
    /// The parameter as it is.
    Param,
}

impl Update<'_> {
    /// The parameter's name, such as `conv1.weight`.
    pub fn name(&self) -> &str {
        self.name
    }

    /// A number that [`Optimizer::scalars`](super::Optimizer::scalars) gives anew for each step, in the parameter's
    /// element type.
    pub fn scalar(&mut self, name: &'static str) -> NodeId {
        let dtype = self.builder.dtype(self.param);
        self.ports.scalar(self.builder, self.group, name, dtype)
    }

    /// A tensor that is kept between steps, of the parameter's type, zero before the first step.
    pub fn state(&mut self, name: &'static str) -> NodeId {
        let ty = self.builder.ty(self.param).clone();
        self.builder.input(InputKind::State, &format!("{}.{name}", self.name), ty)
    }

    /// As [`state`](Update::state), with another start.
    pub fn state_from(&mut self, name: &'static str, start: Start) -> NodeId {
        let begin = match start {
            Start::Zero => None,
            Start::Scalar(name) => Some(Begin::Scalar(Key { group: self.group.to_string(), name: name.into() })),
            Start::Param => Some(Begin::Param(self.name.to_string())),
        };
        if let Some(begin) = begin {
            self.ports.begins.insert(format!("{}.{name}", self.name), begin);
        }
        self.state(name)
    }

    /// Sets what [`state`](Update::state) gives in the next step.
    pub fn set_state(&mut self, name: &'static str, value: NodeId) {
        self.builder.output(Role::Update(format!("{}.{name}", self.name)), value);
    }

    /// Sets the parameter.
    pub fn set_param(&mut self, value: NodeId) {
        self.builder.output(Role::Update(self.name.to_string()), value);
    }

    /// What the parameter was [set](Update::set_param) to, if it was.
    pub fn new_param(&self) -> Option<NodeId> {
        let set = |role: &Role| matches!(role, Role::Update(name) if name == self.name);
        self.builder.graph.outputs.iter().find(|output| set(&output.role)).map(|output| output.node)
    }

    /// The sum of tensors, each times a scalar: `&[("lr", x)]` is `lr * x`.
    pub fn combine(&mut self, parts: &[(&'static str, NodeId)]) -> Result<NodeId, OpError> {
        let mut sum = None;
        for &(scalar, x) in parts {
            let scalar = self.scalar(scalar);
            let part = self.builder.mul(scalar, x)?;
            sum = Some(match sum {
                Some(sum) => self.builder.add(sum, part)?,
                None => part,
            });
        }
        sum.map_or_else(|| self.builder.full_like(self.param, 0.0), Ok)
    }

    /// `kept * state + new * value`, both scalars, which becomes the state: a moving average.
    pub fn average(
        &mut self,
        state: &'static str,
        (kept, new): (&'static str, &'static str),
        value: NodeId,
    ) -> Result<NodeId, OpError> {
        let old = self.state(state);
        let next = self.combine(&[(kept, old), (new, value)])?;
        self.set_state(state, next);
        Ok(next)
    }

    /// The parameter and its gradient with weight decay, if there is any: the parameter times the scalar `keep`, or
    /// the gradient with an L2 penalty, `grad + weight_decay * param`.
    pub(super) fn decayed(&mut self, weight_decay: f64, decoupled: bool) -> Result<(NodeId, NodeId), OpError> {
        Ok(match (weight_decay != 0.0, decoupled) {
            (false, _) => (self.param, self.grad),
            (true, true) => (self.combine(&[("keep", self.param)])?, self.grad),
            (true, false) => {
                let penalty = self.combine(&[("weight_decay", self.param)])?;
                (self.param, self.builder.add(self.grad, penalty)?)
            }
        })
    }

    /// Sets the parameter to `from - step`.
    pub(super) fn descend(&mut self, from: NodeId, step: NodeId) -> Result<(), OpError> {
        let next = self.builder.sub(from, step)?;
        self.set_param(next);
        Ok(())
    }
}

/// A parameter that a step trains.
#[derive(Debug, Clone)]
pub struct Trained {
    /// Its name, such as `conv1.weight`.
    pub name: String,
    /// Its value before the step.
    pub param: NodeId,
    /// Its gradient.
    pub grad: NodeId,
}

/// A whole step while its graph is built: every parameter that it trains.
pub struct Step<'a> {
    /// Appends nodes to the graph of the step.
    pub builder: &'a mut Builder,
    /// The parameters that the step trains.
    pub trained: Vec<Trained>,
    group: String,
    whole: Whole<'a>,
    ports: &'a mut Ports,
}

/// What all parts of a step have in common.
#[derive(Clone, Copy)]
pub(crate) struct Whole<'a> {
    pub(crate) optimizer: &'static str,
    pub(crate) function: &'a str,
    /// The names of all parameters of the model that can be trained.
    pub(crate) names: &'a [String],
    pub(crate) gathers: bool,
}

impl Whole<'_> {
    /// The error for an optimizer whose graph does not work.
    pub(crate) fn refused(&self, problem: String) -> Error {
        Error::BadOptimizer { optimizer: self.optimizer, function: self.function.to_string(), problem }
    }
}

impl<'a> Step<'a> {
    pub(crate) fn new(
        builder: &'a mut Builder,
        trained: Vec<Trained>,
        whole: Whole<'a>,
        ports: &'a mut Ports,
    ) -> Step<'a> {
        Step { builder, trained, group: String::new(), whole, ports }
    }

    /// Builds something for each parameter. What `build` sets `grad` to is the gradient from then on.
    ///
    /// Errors: [`Error::BadOptimizer`], naming the parameter.
    pub fn each(&mut self, mut build: impl FnMut(&mut Update<'_>) -> Result<(), OpError>) -> Result<()> {
        for trained in &mut self.trained {
            let Trained { name, param, grad } = trained;
            let (param, grad_before) = (*param, *grad);
            let mut update =
                Update { builder: self.builder, param, grad: grad_before, name, group: &self.group, ports: self.ports };
            let built = build(&mut update);
            let after = update.grad;
            built.map_err(|e| self.whole.refused(format!("its update of `{name}` fails: {e}")))?;
            *grad = after;
        }
        Ok(())
    }

    /// Builds something for all parameters together.
    ///
    /// Errors: [`Error::BadOptimizer`].
    pub fn together<T>(&mut self, build: impl FnOnce(&mut Self) -> Result<T, OpError>) -> Result<T> {
        build(self).map_err(|e| self.whole.refused(e.to_string()))
    }

    /// A number that [`Optimizer::scalars`](super::Optimizer::scalars) gives anew for each step.
    pub fn scalar(&mut self, name: &'static str, dtype: DType) -> NodeId {
        self.ports.scalar(self.builder, &self.group, name, dtype)
    }

    /// Keeps a number of this step, which [`OptimizerState::get`](super::OptimizerState::get) gives as
    /// `optimizer.NAME`.
    pub fn keep(&mut self, name: &'static str, value: NodeId) {
        let name = format!("{PREFIX}{}{name}", self.group);
        let ty = self.builder.ty(value).clone();
        self.builder.input(InputKind::State, &name, ty);
        self.builder.output(Role::Update(name), value);
    }

    /// The names of all parameters of the model that can be trained, also by other functions.
    pub fn names(&self) -> &[String] {
        self.whole.names
    }

    /// Whether this call only gathers gradients; see [`Optimizer::window`](super::Optimizer::window).
    pub fn gathers(&self) -> bool {
        self.whole.gathers
    }

    /// A step of some of the parameters, whose scalars are those of [`group_scalars`](super::Optimizer::group_scalars).
    pub fn part(&mut self, group: &str, trained: Vec<Trained>) -> Step<'_> {
        let group = format!("{}{group}", self.group);
        Step { builder: self.builder, trained, group, whole: self.whole, ports: self.ports }
    }
}

/// Stands before the names of scalars and of what is kept of a step. An argument's name has no dot, so it cannot be one
/// of them.
const PREFIX: &str = "optimizer.";

/// Marks a scalar in `f64`, for parameters of that type.
const WIDE: &str = ".f64";

/// A scalar: the group of parameters that it is for, and its name as the optimizer gives it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) group: String,
    pub(crate) name: Cow<'static, str>,
}

/// What a tensor holds at first, if not zeros.
#[derive(Debug, Clone)]
pub(crate) enum Begin {
    Scalar(Key),
    Param(String),
}

/// What stands behind the inputs of the graph that an optimizer has declared.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    scalars: BTreeMap<String, Key>,
    pub(crate) begins: BTreeMap<String, Begin>,
}

impl Ports {
    /// The scalar of an input; one that was declared by hand is of the optimizer's own numbers too.
    pub(crate) fn key(&self, input: &str) -> Key {
        let by_hand = || Key { group: String::new(), name: input.to_string().into() };
        self.scalars.get(input).cloned().unwrap_or_else(by_hand)
    }

    fn scalar(&mut self, builder: &mut Builder, group: &str, name: &'static str, dtype: DType) -> NodeId {
        let wide = if dtype == DType::F64 { WIDE } else { "" };
        let input = format!("{PREFIX}{group}{name}{wide}");
        let node = builder.input(InputKind::Hyper, &input, Type::scalar(dtype));
        self.scalars.insert(input, Key { group: group.to_string(), name: name.into() });
        node
    }
}

/// The numbers of a step, for each group of parameters.
#[derive(Debug, Default)]
pub(crate) struct Scalars(Vec<(String, Vec<(&'static str, f64)>)>);

impl Scalars {
    pub(crate) fn has(&self, group: &str) -> bool {
        self.0.iter().any(|(have, _)| have == group)
    }

    pub(crate) fn insert(&mut self, group: String, numbers: Vec<(&'static str, f64)>) {
        self.0.push((group, numbers));
    }

    pub(crate) fn get(&self, key: &Key) -> Option<f64> {
        let (_, numbers) = self.0.iter().find(|(group, _)| *group == key.group)?;
        numbers.iter().find(|(name, _)| *name == key.name).map(|(_, value)| *value)
    }
}
