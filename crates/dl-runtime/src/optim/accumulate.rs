//! Gradients of several calls for one step.

use super::table::prelude::*;
use super::{CALLS, Step, wrap::wraps};
use crate::error::Error;

/// An optimizer that steps by the mean of the gradients of several calls, for batches that memory does not hold at
/// once.
///
/// Of every `calls` calls of a training method, all but the last only add to sums of gradients, which are
/// [saved](Optimizer::save) with the rest; the last one takes the step. What is put around it sees every call, what is
/// within sees the mean, so `Adam::new(1e-3).clip_norm(1.0).accumulate(4)` clips the mean. Each training method needs
/// an optimizer of its own. Running statistics of batch norms move in every call.
///
/// ```
/// # extern crate dl_runtime as dl;
/// use dl::{Adam, Optimizer};
///
/// let adam = Adam::new(1e-3).accumulate(4);
/// assert_eq!((adam.calls(), adam.state().steps(), adam.state().gathered()), (4, 0, 0));
/// ```
#[derive(Debug, Clone)]
pub struct Accumulate<O> {
    calls: u64,
    inner: O,
}

/// The name of the sums.
const SUM: &str = "accumulated";

impl<O: Optimizer> Accumulate<O> {
    /// One step of `inner` in so many calls.
    pub fn new(inner: O, calls: u64) -> Accumulate<O> {
        Accumulate { calls, inner }
    }

    /// How many calls make a step.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    fn named(&self, inner: String) -> String {
        format!("{inner} accumulate={}", self.calls > 1)
    }

    fn numbers(&self, _step: u64, inner: Vec<(&'static str, f64)>) -> Numbers {
        let wrong = |value: u64, expected| {
            Err(Error::BadHyperparameter { optimizer: "Accumulate", name: "calls", value: value as f64, expected })
        };
        match (self.calls, self.inner.window()) {
            (0, _) => wrong(0, "at least 1"),
            (calls, 2..) => wrong(calls, "given only once: the optimizer within gathers gradients already"),
            _ => Ok(inner),
        }
    }

    fn build(&self, step: &mut Step<'_>) -> Result<()> {
        if self.calls == 1 {
            return self.inner.step(step);
        }
        let gathers = step.gathers();
        step.each(|update| {
            let sum = update.state(SUM);
            let sum = update.builder.add(sum, update.grad)?;
            if gathers {
                update.set_state(SUM, sum);
                return Ok(());
            }
            let zero = update.builder.full_like(sum, 0.0)?;
            update.set_state(SUM, zero);
            let calls = update.scalar(CALLS);
            update.grad = update.builder.div(sum, calls)?;
            Ok(())
        })?;
        if gathers { Ok(()) } else { self.inner.step(step) }
    }
}

wraps!(Accumulate; calls files);
