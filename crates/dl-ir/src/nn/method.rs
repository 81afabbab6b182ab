//! Methods and functions on tensors.

use super::args::{Args, bind};
use super::error::{ArgError, CallError};
use super::params::{Kind, Param, signature};
use super::value::{Given, Value};
use crate::build::Builder;

/// A method of tensors, or a function of any arguments. `x.f(a)` and `f(x, a)` are the same call.
pub struct MethodDef {
    /// Its name.
    pub name: &'static str,
    /// Other names of it, such as PyTorch's.
    pub aliases: &'static [&'static str],
    /// What it computes: a line, with formulas and units where they help.
    pub doc: &'static str,
    /// Its arguments; the receiver of a method call is the first.
    pub params: &'static [Param],
    /// Appends it to a graph. The result is a tensor, a list of tensors or a number.
    pub build: fn(&mut Builder, &Args) -> Result<Value, CallError>,
}

impl MethodDef {
    /// Whether it can be called as a method: its first argument is a tensor.
    pub fn is_method(&self) -> bool {
        self.params.first().is_some_and(|p| matches!(p.kind, Kind::Tensor | Kind::Operand))
    }

    /// Binds arguments, the receiver first.
    ///
    /// # Errors
    /// Every argument that is unknown, missing, given twice, one too many, or of another kind.
    pub fn bind(&self, given: &[Given]) -> Result<Args, Vec<ArgError>> {
        bind(self.name, self.params, given)
    }

    /// Appends the computation to the graph.
    ///
    /// # Errors
    /// If the tensors' shapes or element types do not fit, or an argument does not fit them.
    pub fn build(&self, b: &mut Builder, args: &Args) -> Result<Value, CallError> {
        (self.build)(b, args)
    }

    /// The call as documentation shows it, without the receiver: `max_pool2d(kernel, stride = kernel)`.
    pub fn signature(&self) -> String {
        signature(self.name, &self.params[usize::from(self.is_method())..])
    }
}
