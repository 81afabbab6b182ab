//! Learning rates that change as training goes on.
//!
//! A [`Schedule`] is a function of the step's number, counted from 0, and keeps nothing: set the rate before each step,
//! or before each epoch if the schedule counts epochs. This compiles nothing again.
//!
//! ```
//! # use dl_runtime::{Adam, Optimizer};
//! use dl_train::schedule::{CosineAnnealingLr, Schedule};
//!
//! let mut adam = Adam::new(1e-3);
//! let schedule = CosineAnnealingLr::new(1e-3, 1000)?.warm_up(100);
//! for step in 0..1100 {
//!     adam.lr = schedule.lr(step);
//!     // net.train_loss(&mut adam, &x, &label)?;
//! }
//! # Ok::<(), dl_runtime::Error>(())
//! ```
//!
//! The optimizer counts its steps and saves the count, so `adam.lr = schedule.lr(adam.state().steps())` goes on where
//! it stopped. All agree with the schedule of the same name in `torch.optim.lr_scheduler`, whose `base_lr` is the first
//! argument here. [`ReduceLrOnPlateau`] alone has a memory, since it looks at a metric.
//!
//! | PyTorch | here |
//! | --- | --- |
//! | `StepLR`, `MultiStepLR`, `ExponentialLR` | [`StepLr`], [`MultiStepLr`], [`ExponentialLr`] |
//! | `ConstantLR`, `LinearLR`, `PolynomialLR` | [`ConstantLr`], [`LinearLr`], [`PolynomialLr`] |
//! | `CosineAnnealingLR`, `CosineAnnealingWarmRestarts` | [`CosineAnnealingLr`], [`CosineAnnealingWarmRestarts`] |
//! | `OneCycleLR`, `CyclicLR` | [`OneCycleLr`], [`CyclicLr`] |
//! | `LambdaLR`, `SequentialLR`, `ChainedScheduler` | [`LambdaLr`], [`SequentialLr`], [`ChainedLr`] |
//! | `ReduceLROnPlateau` | [`ReduceLrOnPlateau`] |

mod compose;
mod cosine;
mod cycle;
mod decay;
mod plateau;
mod table;

pub use compose::{ChainedLr, SequentialLr, WarmUp};
pub use cosine::{CosineAnnealingLr, CosineAnnealingWarmRestarts};
pub use cycle::{Anneal, CyclicLr, CyclicMode, OneCycleLr};
pub use decay::{ConstantLr, ExponentialLr, LambdaLr, LinearLr, MultiStepLr, PolynomialLr, StepLr};
pub use plateau::{Mode, Plateau, ReduceLrOnPlateau, Threshold};

/// A learning rate for each step.
pub trait Schedule: Send {
    /// The learning rate of step number `step`, counted from 0.
    fn lr(&self, step: u64) -> f64;

    /// First rises evenly to the schedule's first rate, in so many steps; see [`WarmUp`].
    fn warm_up(self, steps: u64) -> WarmUp<Self>
    where
        Self: Sized,
    {
        WarmUp::new(self, steps)
    }
}

impl<S: Schedule + ?Sized> Schedule for Box<S> {
    fn lr(&self, step: u64) -> f64 {
        (**self).lr(step)
    }
}
