//! Clipping gradients, by their norm and by value.

use dl_ir::DType;

use super::table::{POSITIVE, prelude::*};
use super::{Step, wrap::wraps};
use crate::array::Element;
use crate::error::Error;

/// An optimizer that sees all gradients together scaled down where their norm is above `max_norm`, as after
/// `torch.nn.utils.clip_grad_norm_`: each is multiplied by `min(1, max_norm / (norm + 1e-6))`.
///
/// Parameters that are not trained do not count. The fields of the optimizer within are at hand as before.
///
/// ```
/// # extern crate dl_runtime as dl;
/// use dl::{AdamW, Optimizer};
///
/// let mut adam = AdamW::new(1e-3).clip_norm(1.0);
/// adam.lr = 5e-4;
/// adam.max_norm = 0.5;
/// ```
#[doc(alias = "clip_grad_norm_")]
#[derive(Debug, Clone)]
pub struct ClipNorm<O> {
    /// The largest norm.
    pub max_norm: f64,
    /// Which norm: the root of order p of the sum of p-th powers; by default 2, and infinity for the largest element.
    pub norm_type: f64,
    inner: O,
}

/// An optimizer that sees every element of the gradients brought between `-limit` and `limit`, as after
/// `torch.nn.utils.clip_grad_value_`.
///
/// ```
/// # extern crate dl_runtime as dl;
/// use dl::{Optimizer, Sgd};
///
/// let sgd = Sgd::new(0.1).clip_value(0.5);
/// assert_eq!((sgd.limit, sgd.lr), (0.5, 0.1));
/// ```
#[doc(alias = "clip_grad_value_")]
#[derive(Debug, Clone)]
pub struct ClipValue<O> {
    /// The largest element, by size.
    pub limit: f64,
    inner: O,
}

/// PyTorch's, which keeps the quotient finite.
const EPS: f64 = 1e-6;

/// The name of the norm among what is kept.
const TOTAL: &str = "total_norm";

impl<O: Optimizer> ClipNorm<O> {
    /// Clips what `inner` sees to the norm `max_norm`.
    pub fn new(inner: O, max_norm: f64) -> ClipNorm<O> {
        ClipNorm { max_norm, norm_type: 2.0, inner }
    }

    /// With another norm.
    pub fn norm_type(mut self, norm_type: f64) -> ClipNorm<O> {
        self.norm_type = norm_type;
        self
    }

    /// The norm of the last step's gradients before they were clipped, which `clip_grad_norm_` returns. `None` before
    /// the first step.
    pub fn total_norm(&self) -> Option<f64> {
        let name = format!("optimizer.{TOTAL}");
        let state = self.state();
        let narrow = first::<f32>(state, &name).map(f64::from);
        narrow.or_else(|| first::<f64>(state, &name))
    }

    fn named(&self, inner: String) -> String {
        format!("{inner} clip_norm={}", self.norm_type)
    }

    fn numbers(&self, _step: u64, mut inner: Vec<(&'static str, f64)>) -> Numbers {
        POSITIVE.check("ClipNorm", "max_norm", self.max_norm)?;
        if self.norm_type.is_nan() || self.norm_type <= 0.0 {
            let (value, expected) = (self.norm_type, "above 0, or infinity for the largest element");
            return Err(Error::BadHyperparameter { optimizer: "ClipNorm", name: "norm_type", value, expected });
        }
        inner.push(("clip.max_norm", self.max_norm));
        Ok(inner)
    }

    fn build(&self, step: &mut Step<'_>) -> Result<()> {
        let wide = step.trained.iter().any(|t| step.builder.dtype(t.param) == DType::F64);
        let dtype = if wide { DType::F64 } else { DType::F32 };
        let factor = step.together(|step| {
            let Some(total) = self.total(step, dtype)? else { return Ok(None) };
            step.keep(TOTAL, total);
            let most = step.scalar("clip.max_norm", dtype);
            let b = &mut *step.builder;
            let (eps, one) = (b.constant(dtype, EPS), b.constant(dtype, 1.0));
            let divisor = b.add(total, eps)?;
            let factor = b.div(most, divisor)?;
            Ok(Some(b.min(factor, one)?))
        })?;
        if let Some(factor) = factor {
            step.each(|update| {
                let dtype = update.builder.dtype(update.grad);
                let factor = update.builder.cast(factor, dtype)?;
                update.grad = update.builder.mul(factor, update.grad)?;
                Ok(())
            })?;
        }
        self.inner.step(step)
    }

    /// The norm of all gradients together; none if there are none.
    fn total(&self, step: &mut Step<'_>, dtype: DType) -> Result<Option<NodeId>, OpError> {
        let (order, b) = (self.norm_type, &mut *step.builder);
        let mut total: Option<NodeId> = None;
        for trained in &step.trained {
            let axes: Vec<usize> = (0..b.rank(trained.grad)).collect();
            let grad = b.cast(trained.grad, dtype)?;
            let powers = match order {
                2.0 => b.mul(grad, grad)?,
                _ => {
                    let (size, order) = (b.abs(grad)?, b.constant(dtype, order));
                    if self.norm_type.is_infinite() || self.norm_type == 1.0 { size } else { b.pow(size, order)? }
                }
            };
            let largest = order.is_infinite();
            let op = if largest { dl_ir::Op::ReduceMax } else { dl_ir::Op::ReduceSum };
            let part = b.reduce(op, powers, &axes, false)?;
            total = Some(match total {
                Some(total) if largest => b.max(total, part)?,
                Some(total) => b.add(total, part)?,
                None => part,
            });
        }
        let Some(total) = total else { return Ok(None) };
        Ok(Some(match order {
            2.0 => b.sqrt(total)?,
            1.0 | f64::INFINITY => total,
            _ => {
                let root = b.constant(dtype, 1.0 / order);
                b.pow(total, root)?
            }
        }))
    }
}

wraps!(ClipNorm; window files);

impl<O: Optimizer> ClipValue<O> {
    /// Clips what `inner` sees to `limit`.
    pub fn new(inner: O, limit: f64) -> ClipValue<O> {
        ClipValue { limit, inner }
    }

    fn named(&self, inner: String) -> String {
        format!("{inner} clip_value")
    }

    fn numbers(&self, _step: u64, mut inner: Vec<(&'static str, f64)>) -> Numbers {
        POSITIVE.check("ClipValue", "limit", self.limit)?;
        inner.push(("clip.limit", self.limit));
        Ok(inner)
    }

    fn build(&self, step: &mut Step<'_>) -> Result<()> {
        step.each(|update| {
            let limit = update.scalar("clip.limit");
            let b = &mut *update.builder;
            let least = b.neg(limit)?;
            let below = b.min(update.grad, limit)?;
            update.grad = b.max(below, least)?;
            Ok(())
        })?;
        self.inner.step(step)
    }
}

wraps!(ClipValue; window files);

/// The one element of what is kept under that name.
fn first<T: Element>(state: &OptimizerState, name: &str) -> Option<T> {
    state.get::<T>(name)?.first().copied()
}
