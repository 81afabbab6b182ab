//! The evaluator: what a graph means, in the plainest code. It is the oracle of every test and folds constants.
//!
//! Floats are computed in f64 and rounded once to the element type, so an f32 result is at least as exact as any
//! compiled one; integers are computed in i64 and wrapped.

mod run;
mod samples;
mod tensor;

pub use run::{Inputs, run, run_nodes, to_f64};
pub use tensor::{Data, Tensor};

pub(crate) use tensor::{each, offset, strides};

use std::fmt;

use crate::graph::{Loc, NodeId};
use crate::op::{Eval, Op};
use crate::types::Type;

/// Why an evaluation failed.
#[derive(Clone, Debug, PartialEq)]
pub enum EvalError {
    /// An index outside its axis.
    Index {
        /// The axis.
        axis: usize,
        /// The index.
        index: i64,
        /// The size of the axis.
        size: usize,
    },
    /// An input was not given.
    MissingInput(String),
    /// An input of another type.
    InputType {
        /// Its name.
        name: String,
        /// As the graph declares it.
        expected: Type,
        /// As given.
        found: Type,
    },
    /// A type with unbound symbols.
    Symbolic(Type),
    /// A failure in one node.
    Node {
        /// The node; one of the body of a loop as [`Graph::nested`](crate::Graph::nested) counts.
        node: NodeId,
        /// Its op.
        op: Op,
        /// Its place in the source.
        loc: Loc,
        /// What failed.
        error: Box<EvalError>,
    },
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvalError::Index { axis, index, size } => {
                write!(f, "index {index} is out of range for axis {axis} of size {size}")
            }
            EvalError::MissingInput(name) => write!(f, "input `{name}` is not given"),
            EvalError::InputType { name, expected, found } => {
                write!(f, "input `{name}` is declared {expected}, but {found} is given")
            }
            EvalError::Symbolic(ty) => write!(f, "{ty} has unbound symbols"),
            EvalError::Node { node, op, error, .. } => write!(f, "node {} (`{}`): {error}", node.0, op.name()),
        }
    }
}

impl std::error::Error for EvalError {}

impl Eval<'_> {
    /// The sizes of the result.
    pub fn shape(&self) -> Result<Vec<usize>, EvalError> {
        self.ty.sizes().ok_or_else(|| EvalError::Symbolic(self.ty.clone()))
    }

    /// A result of floats.
    pub fn floats(&self, values: Vec<f64>) -> Result<Tensor, EvalError> {
        Ok(Tensor::floats(self.ty.dtype, &self.shape()?, values))
    }

    /// A result of integers or truth values.
    pub fn ints(&self, values: Vec<i64>) -> Result<Tensor, EvalError> {
        Ok(Tensor::ints(self.ty.dtype, &self.shape()?, values))
    }

    /// A result whose element i is operand `arg`'s element `source(i)`, in the order of the result.
    pub fn pick(&self, arg: usize, mut source: impl FnMut(&[usize]) -> usize) -> Result<Tensor, EvalError> {
        let shape = self.shape()?;
        let mut from = Vec::with_capacity(shape.iter().product());
        each(&shape, |index| from.push(source(index)));
        Ok(match &self.args[arg].data {
            Data::Float(v) => Tensor::floats(self.ty.dtype, &shape, from.iter().map(|&i| v[i]).collect()),
            Data::Int(v) => Tensor::ints(self.ty.dtype, &shape, from.iter().map(|&i| v[i]).collect()),
        })
    }
}
