//! Why an op refuses its operands: structured, so that the macro can say it in the user's own terms.

use std::fmt;

use crate::dim::Dim;
use crate::op::Op;
use crate::types::{DType, Type};

/// An op that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpError {
    /// The op.
    pub op: Op,
    /// What is wrong.
    pub problem: Box<Problem>,
}

/// What is wrong with the operands or attributes of an op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Another number of operands.
    Arity {
        /// As declared, e.g. "2".
        expected: String,
        /// As given.
        found: usize,
    },
    /// An operand's element type.
    DType {
        /// Which operand.
        arg: usize,
        /// What would do, e.g. "a float" or "f32".
        expected: String,
        /// What it is.
        found: DType,
    },
    /// An operand's number of axes.
    Rank {
        /// Which operand.
        arg: usize,
        /// What would do, e.g. "4" or "at least 1".
        expected: String,
        /// Its type.
        found: Type,
    },
    /// Two axes that must be equal and are not, or not provably.
    Unequal {
        /// Operand and axis on the left (`None` for an attribute).
        left: Option<(usize, usize)>,
        /// Size there.
        left_size: Dim,
        /// Operand and axis on the right.
        right: Option<(usize, usize)>,
        /// Size there.
        right_size: Dim,
        /// A fact `(p, q)`, `p % q == 0`, with which they would be equal.
        needs: Option<(Dim, Dim)>,
    },
    /// Shapes that do not broadcast together.
    Broadcast {
        /// One.
        left: Type,
        /// The other.
        right: Type,
    },
    /// A reshape that changes the number of elements.
    Elements {
        /// The operand.
        from: Type,
        /// The shape asked for.
        to: Vec<Dim>,
        /// A fact `(p, q)`, `p % q == 0`, with which they would be equal.
        needs: Option<(Dim, Dim)>,
    },
    /// An axis that the operand does not have.
    Axis {
        /// The axis asked for.
        axis: i64,
        /// The operand's type.
        of: Type,
    },
    /// A size that comes out below one, e.g. a kernel larger than the padded input.
    TooSmall {
        /// The axis of the result.
        axis: usize,
        /// The size it would have.
        size: Dim,
        /// How it came about.
        why: String,
    },
    /// An attribute that makes no sense.
    Attr {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl OpError {
    /// An error of `op`.
    pub fn new(op: Op, problem: Problem) -> OpError {
        OpError { op, problem: Box::new(problem) }
    }
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.op.name(), self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Arity { expected, found } => write!(f, "takes {expected} operands, but {found} are given"),
            Problem::DType { arg, expected, found } => write!(f, "operand {arg} must be {expected}, but it is {found}"),
            Problem::Rank { arg, expected, found } => {
                write!(f, "operand {arg} must have {expected} axes, but it is {found}")
            }
            Problem::Unequal { left, left_size, right, right_size, needs } => {
                let place = |f: &mut fmt::Formatter<'_>, at: &Option<(usize, usize)>| match at {
                    Some((arg, axis)) => write!(f, "axis {axis} of operand {arg} is "),
                    None => write!(f, "the attributes ask for "),
                };
                place(f, left)?;
                write!(f, "{left_size}, but ")?;
                place(f, right)?;
                write!(f, "{right_size}")?;
                needed(f, needs)
            }
            Problem::Broadcast { left, right } => write!(f, "{left} and {right} do not broadcast together"),
            Problem::Elements { from, to, needs } => {
                write!(f, "{from} has {} elements, but {} has {}", from.elements(), shape(to), product(to))?;
                needed(f, needs)
            }
            Problem::Axis { axis, of } => write!(f, "axis {axis} is out of range for {of}"),
            Problem::TooSmall { axis, size, why } => {
                write!(f, "axis {axis} of the result would have size {size}: {why}")
            }
            Problem::Attr { name, why } => write!(f, "`{name}` {why}"),
        }
    }
}

impl std::error::Error for OpError {}

fn needed(f: &mut fmt::Formatter<'_>, needs: &Option<(Dim, Dim)>) -> fmt::Result {
    match needs {
        Some((p, q)) => write!(f, "; they are equal if `{p} % {q} == 0`"),
        None => Ok(()),
    }
}

/// A shape as printed in messages: `[N, 10]`.
pub fn shape(dims: &[Dim]) -> String {
    format!("[{}]", dims.iter().map(Dim::to_string).collect::<Vec<_>>().join(", "))
}

fn product(dims: &[Dim]) -> Dim {
    dims.iter().fold(Dim::ONE, |n, d| n * d.clone())
}
