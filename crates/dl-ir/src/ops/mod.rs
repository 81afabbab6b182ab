//! The definitions of the ops, one family a file, and what their rules share.
//!
//! Shape rules refuse what is provably wrong. What depends on symbols (a slice that may end behind its axis) is
//! checked again by the same rule when the symbols are bound.

pub mod binary;
pub mod contract;
pub mod index;
pub mod movement;
pub mod reduce;
pub mod scan;
pub mod sort;
pub mod source;
mod spatial;
pub mod unary;
pub mod window;

#[cfg(test)]
mod tests;

use crate::attrs::Attrs;
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::error::{OpError, Problem};
use crate::graph::NodeId;
use crate::op::{Infer, Sample};
use crate::types::{DType, Type};

/// What element types an operand may have.
#[derive(Clone, Copy)]
enum Kind {
    Float,
    Number,
    Index,
    Is(DType),
    Any,
}

impl Kind {
    fn holds(self, dtype: DType) -> bool {
        match self {
            Kind::Float => dtype.is_float(),
            Kind::Number => dtype != DType::Bool,
            Kind::Index => matches!(dtype, DType::I64 | DType::I32),
            Kind::Is(one) => dtype == one,
            Kind::Any => true,
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Kind::Float => "a float",
            Kind::Number => "a number",
            Kind::Index => "i64 or i32",
            Kind::Is(one) => one.name(),
            Kind::Any => "any type",
        }
    }
}

impl Infer<'_> {
    fn fail<T>(&self, problem: Problem) -> Result<T, OpError> {
        Err(OpError::new(self.op, problem))
    }

    fn bad_attr<T>(&self, name: &'static str, why: impl Into<String>) -> Result<T, OpError> {
        self.fail(Problem::Attr { name, why: why.into() })
    }

    /// Refuses operand `arg` unless its element type is of that kind.
    fn want(&self, arg: usize, kind: Kind) -> Result<(), OpError> {
        let found = self.args[arg].dtype;
        if kind.holds(found) {
            return Ok(());
        }
        self.fail(Problem::DType { arg, expected: kind.expected().to_string(), found })
    }

    /// Refuses operand `arg` unless its element type is that of operand `like`.
    fn want_dtype_of(&self, arg: usize, like: usize) -> Result<(), OpError> {
        let (expected, found) = (self.args[like].dtype, self.args[arg].dtype);
        if expected == found {
            return Ok(());
        }
        self.fail(Problem::DType { arg, expected: format!("{expected}, as operand {like} is"), found })
    }

    /// Refuses operand `arg` unless it has `rank` axes.
    fn want_rank(&self, arg: usize, rank: usize) -> Result<(), OpError> {
        if self.args[arg].rank() == rank {
            return Ok(());
        }
        self.fail(Problem::Rank { arg, expected: rank.to_string(), found: self.args[arg].clone() })
    }

    /// Refuses two axes, each (operand, axis), of which it is not known that they are equal.
    fn want_equal(&self, left: (usize, usize), right: (usize, usize)) -> Result<(), OpError> {
        let right_size = &self.args[right.0].shape[right.1];
        self.want_size(left, right_size, Some(right))
    }

    /// Refuses an axis, as (operand, axis), of which it is not known that it has that size.
    fn want_size(&self, left: (usize, usize), right_size: &Dim, right: Option<(usize, usize)>) -> Result<(), OpError> {
        let left_size = &self.args[left.0].shape[left.1];
        if self.same(left_size, right_size) {
            return Ok(());
        }
        self.fail(Problem::Unequal {
            left: Some(left),
            left_size: left_size.clone(),
            right,
            right_size: right_size.clone(),
            needs: self.facts.missing(left_size, right_size),
        })
    }

    /// Refuses operand `arg` unless its shape is that of operand `like`.
    fn want_shape_of(&self, arg: usize, like: usize) -> Result<(), OpError> {
        self.want_rank(arg, self.args[like].rank())?;
        (0..self.args[like].rank()).try_for_each(|axis| self.want_equal((arg, axis), (like, axis)))
    }

    /// The integer `axis`, refused if operand `arg` has no such axis.
    fn want_axis(&self, arg: usize, axis: i64) -> Result<usize, OpError> {
        match usize::try_from(axis) {
            Ok(a) if a < self.args[arg].rank() => Ok(a),
            _ => self.fail(Problem::Axis { axis, of: self.args[arg].clone() }),
        }
    }

    /// The integers named `name` as axes of operand `arg`, refused if one is out of range or given twice.
    fn want_axes(&self, arg: usize, name: &'static str) -> Result<Vec<usize>, OpError> {
        let mut axes = vec![];
        for &axis in self.attrs.get_ints(name) {
            let axis = self.want_axis(arg, axis)?;
            if axes.contains(&axis) {
                return self.bad_attr(name, format!("names axis {axis} twice"));
            }
            axes.push(axis);
        }
        Ok(axes)
    }

    /// Refuses an attribute that does not give one value for each of `n` axes.
    fn want_len(&self, name: &'static str, found: usize, n: usize) -> Result<(), OpError> {
        if found == n {
            return Ok(());
        }
        self.bad_attr(name, format!("must have one value for each of {n} axes, but it has {found}"))
    }
}

/// `x`, from which a reduction took `axes`, repeated to `shape` along them.
fn unreduce(b: &mut Builder, x: NodeId, axes: &[usize], shape: &[Dim]) -> Built {
    let mut kept = shape.to_vec();
    for &axis in axes {
        kept[axis] = Dim::ONE;
    }
    let x = b.reshape(x, &kept)?;
    b.broadcast(x, shape)
}

/// `value * x`.
fn scale(b: &mut Builder, x: NodeId, value: f64) -> Built {
    let c = b.full_like(x, value)?;
    b.mul(x, c)
}

/// A sample with operands of one element type and one range.
fn sample(dtype: DType, shapes: &[&[i64]], attrs: Attrs, range: (f64, f64)) -> Sample {
    let args: Vec<Type> = shapes.iter().map(|s| Type::new(dtype, s.iter().copied())).collect();
    let ranges = vec![range; args.len()];
    Sample { args, attrs, ranges }
}
