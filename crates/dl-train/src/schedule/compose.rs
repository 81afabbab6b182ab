//! Schedules made of others.

use std::fmt;

use dl_runtime::{Error, Result};

use super::Schedule;
use super::decay::progress;
use super::table::PART;

/// A schedule that begins when the rate has risen evenly to its first one, in so many steps; made by
/// [`warm_up`](Schedule::warm_up).
///
/// ```
/// use dl_train::schedule::{CosineAnnealingLr, Schedule};
/// let schedule = CosineAnnealingLr::new(0.1, 100)?.warm_up(4).start_factor(0.5)?;
/// assert_eq!([0, 2, 4, 104].map(|step| schedule.lr(step)), [0.05, 0.1 * 0.75, 0.1, 0.0]);
/// # Ok::<(), dl_runtime::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct WarmUp<S> {
    then: S,
    steps: u64,
    start_factor: f64,
}

impl<S: Schedule> WarmUp<S> {
    /// From 0 to the first rate of `then` in so many steps.
    pub fn new(then: S, steps: u64) -> WarmUp<S> {
        WarmUp { then, steps, start_factor: 0.0 }
    }

    /// From this part of the rate, instead of 0.
    ///
    /// Errors: [`Error::BadHyperparameter`].
    pub fn start_factor(mut self, start_factor: f64) -> Result<WarmUp<S>> {
        PART.check("WarmUp", "start_factor", start_factor)?;
        self.start_factor = start_factor;
        Ok(self)
    }
}

impl<S: Schedule> Schedule for WarmUp<S> {
    fn lr(&self, step: u64) -> f64 {
        if step >= self.steps {
            return self.then.lr(step - self.steps);
        }
        let factor = self.start_factor + (1.0 - self.start_factor) * progress(step, self.steps);
        self.then.lr(0) * factor
    }
}

/// One schedule after the other, each of which counts its steps from where it begins.
///
/// ```
/// use dl_train::schedule::{ConstantLr, ExponentialLr, Schedule, SequentialLr};
/// let first = ConstantLr::new(0.1)?.factor(0.5)?.total_iters(10)?;
/// let schedule = SequentialLr::new(first).then(10, ExponentialLr::new(0.1, 0.5)?)?;
/// assert_eq!([9, 10, 11].map(|step| schedule.lr(step)), [0.05, 0.1, 0.05]);
/// # Ok::<(), dl_runtime::Error>(())
/// ```
#[doc(alias = "SequentialLR")]
pub struct SequentialLr {
    /// Each with its first step.
    parts: Vec<(u64, Box<dyn Schedule>)>,
}

impl SequentialLr {
    /// Begins with this schedule.
    pub fn new(first: impl Schedule + 'static) -> SequentialLr {
        SequentialLr { parts: vec![(0, Box::new(first))] }
    }

    /// From step number `milestone` on another one.
    ///
    /// Errors: [`Error::BadHyperparameter`] for a milestone that is not after the one before.
    pub fn then(mut self, milestone: u64, next: impl Schedule + 'static) -> Result<SequentialLr> {
        if self.parts.last().is_some_and(|(before, _)| *before >= milestone) {
            let (value, expected) = (milestone as f64, "later than the milestone before it");
            return Err(Error::BadHyperparameter { optimizer: "SequentialLr", name: "milestone", value, expected });
        }
        self.parts.push((milestone, Box::new(next)));
        Ok(self)
    }
}

impl Schedule for SequentialLr {
    fn lr(&self, step: u64) -> f64 {
        let part = self.parts.iter().rev().find(|(from, _)| *from <= step);
        part.map_or(0.0, |(from, schedule)| schedule.lr(step - from))
    }
}

impl fmt::Debug for SequentialLr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milestones: Vec<u64> = self.parts.iter().skip(1).map(|(from, _)| *from).collect();
        f.debug_struct("SequentialLr").field("milestones", &milestones).finish_non_exhaustive()
    }
}

/// The product of schedules: one has the learning rate, the others 1 in its place.
///
/// ```
/// use dl_train::schedule::{ChainedLr, ConstantLr, ExponentialLr, Schedule};
/// let schedule = ChainedLr::new(ExponentialLr::new(0.1, 0.5)?).times(ConstantLr::new(1.0)?.factor(0.5)?);
/// assert_eq!([0, 1, 5].map(|step| schedule.lr(step)), [0.05, 0.025, 0.1 * 0.5f64.powi(5)]);
/// # Ok::<(), dl_runtime::Error>(())
/// ```
#[doc(alias = "ChainedScheduler")]
pub struct ChainedLr {
    parts: Vec<Box<dyn Schedule>>,
}

impl ChainedLr {
    /// This schedule.
    pub fn new(first: impl Schedule + 'static) -> ChainedLr {
        ChainedLr { parts: vec![Box::new(first)] }
    }

    /// Times another one.
    pub fn times(mut self, next: impl Schedule + 'static) -> ChainedLr {
        self.parts.push(Box::new(next));
        self
    }
}

impl Schedule for ChainedLr {
    fn lr(&self, step: u64) -> f64 {
        self.parts.iter().map(|schedule| schedule.lr(step)).product()
    }
}

impl fmt::Debug for ChainedLr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainedLr").field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}
