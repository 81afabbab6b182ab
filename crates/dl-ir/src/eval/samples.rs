//! Samples of the op table as values and graphs, for tests of evaluator, gradients and compiled code alike.

use super::Tensor;
use crate::build::Builder;
use crate::error::OpError;
use crate::graph::{Graph, InputKind, NodeId, Role};
use crate::op::{Op, Sample};
use crate::random;

impl Sample {
    /// Operands drawn from the sample's ranges, the same for the same seed.
    pub fn values(&self, seed: i64) -> Vec<Tensor> {
        let operand = |(i, (ty, (lo, hi))): (usize, (&crate::types::Type, &(f64, f64)))| {
            let shape = ty.sizes().unwrap_or_default();
            let draw = |k: usize| f64::from(random::uniform([seed, 0], i as u32, k as u64));
            let n: usize = shape.iter().product();
            match ty.dtype.is_float() {
                true => Tensor::floats(ty.dtype, &shape, (0..n).map(|k| lo + draw(k) * (hi - lo)).collect()),
                false => {
                    let whole = |k| (lo + (draw(k) * (hi - lo + 1.0)).floor()) as i64;
                    Tensor::ints(ty.dtype, &shape, (0..n).map(whole).collect())
                }
            }
        };
        self.args.iter().zip(&self.ranges).enumerate().map(operand).collect()
    }

    /// A graph of `op` alone, with inputs `x0`, `x1`, … and the result as its output; random keys are inputs like any.
    ///
    /// # Errors
    /// If the op refuses the sample.
    pub fn graph(&self, op: Op) -> Result<Graph, OpError> {
        let mut b = Builder::new();
        let inputs = self.args.iter().enumerate();
        let args: Vec<NodeId> = inputs.map(|(i, ty)| b.input(InputKind::Arg, &format!("x{i}"), ty.clone())).collect();
        let result = b.push(op, &args, self.attrs.clone())?;
        b.output(Role::Result, result);
        Ok(b.finish())
    }
}
