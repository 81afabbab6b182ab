//! Going up instead of down.

use super::table::prelude::*;
use super::{Step, wrap::wraps};

/// An optimizer that maximizes the function, as with PyTorch's `maximize = True`: the optimizer within sees negative
/// gradients. Weight decay still makes weights small.
///
/// ```
/// # extern crate dl_runtime as dl;
/// use dl::{Optimizer, Sgd};
///
/// let sgd = Sgd::new(0.1).maximize();
/// assert_eq!(sgd.lr, 0.1);
/// ```
#[derive(Debug, Clone)]
pub struct Maximize<O> {
    inner: O,
}

impl<O: Optimizer> Maximize<O> {
    /// Turns the gradients round that `inner` sees.
    pub fn new(inner: O) -> Maximize<O> {
        Maximize { inner }
    }

    fn named(&self, inner: String) -> String {
        format!("{inner} maximize")
    }

    fn numbers(&self, _step: u64, inner: Vec<(&'static str, f64)>) -> Numbers {
        Ok(inner)
    }

    fn build(&self, step: &mut Step<'_>) -> Result<()> {
        step.each(|update| {
            update.grad = update.builder.neg(update.grad)?;
            Ok(())
        })?;
        self.inner.step(step)
    }
}

wraps!(Maximize; window files);
