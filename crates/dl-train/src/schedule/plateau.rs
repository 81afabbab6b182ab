//! A rate that falls when a metric stops getting better.

use dl_runtime::Result;

use super::table::{BELOW_ONE, NOT_NEGATIVE, Number, schedule};

/// Whether a metric shall become small or large.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Small, as a loss.
    #[default]
    Min,
    /// Large, as an accuracy.
    Max,
}

/// By how much a metric must be better than the best so far to count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// By this part of the best.
    Rel(f64),
    /// By this much.
    Abs(f64),
}

impl Number for Threshold {
    fn number(self) -> f64 {
        let (Threshold::Rel(value) | Threshold::Abs(value)) = self;
        value
    }
}

/// What [`ReduceLrOnPlateau`] remembers, for a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plateau {
    /// The learning rate.
    pub lr: f64,
    /// The best metric so far, infinite before the first one.
    pub best: f64,
    /// How many metrics in a row were no better.
    pub num_bad: u64,
    /// How many more metrics do not count.
    pub cooldown: u64,
}

schedule! {
    /// Multiplies the learning rate by `factor` when a metric has not become better for more than `patience` times.
    ///
    /// Call [`step`](ReduceLrOnPlateau::step) with the metric after each epoch. [`state`](ReduceLrOnPlateau::state) and
    /// [`restore`](ReduceLrOnPlateau::restore) carry it over a break.
    ///
    /// ```
    /// use dl_train::schedule::ReduceLrOnPlateau;
    /// let mut plateau = ReduceLrOnPlateau::new(0.1)?.factor(0.5)?.patience(1)?;
    /// let rates = [3.0, 2.0, 2.0, 2.0, 1.0].map(|loss| plateau.step(loss)); // adam.lr = plateau.step(loss);
    /// assert_eq!(rates, [0.1, 0.1, 0.1, 0.05, 0.05]);
    /// # Ok::<(), dl_runtime::Error>(())
    /// ```
    #[doc(alias = "ReduceLROnPlateau")]
    ReduceLrOnPlateau(lr: f64, NOT_NEGATIVE) {
        /// For a metric that shall become small, as by default, or large.
        mode: Mode = Mode::Min;
        /// With another factor than 0.1.
        factor: f64 = 0.1, BELOW_ONE;
        /// With another number of metrics that are waited for than 10.
        patience: u64 = 10;
        /// With another threshold than `Rel(1e-4)`.
        threshold: Threshold = Threshold::Rel(1e-4), NOT_NEGATIVE;
        /// With some metrics after each fall that do not count; by default 0.
        cooldown: u64 = 0;
        /// With another lowest rate than 0.
        min_lr: f64 = 0.0, NOT_NEGATIVE;
        /// With another smallest change of the rate than 1e-8, below which it stays.
        eps: f64 = 1e-8, NOT_NEGATIVE;
    }
    memory: Option<Plateau>
}

impl ReduceLrOnPlateau {
    /// The learning rate now.
    pub fn lr(&self) -> f64 {
        self.state().lr
    }

    /// Takes the next metric and returns the learning rate from now on. NaN is never better.
    pub fn step(&mut self, metric: f64) -> f64 {
        let mut state = self.state();
        if self.is_better(metric, state.best) {
            (state.best, state.num_bad) = (metric, 0);
        } else {
            state.num_bad += 1;
        }
        if state.cooldown > 0 {
            (state.cooldown, state.num_bad) = (state.cooldown - 1, 0);
        }
        if state.num_bad > self.patience {
            let lr = (state.lr * self.factor).max(self.min_lr);
            if state.lr - lr > self.eps {
                state.lr = lr;
            }
            (state.cooldown, state.num_bad) = (self.cooldown, 0);
        }
        self.memory = Some(state);
        state.lr
    }

    fn is_better(&self, metric: f64, best: f64) -> bool {
        match (self.mode, self.threshold) {
            (Mode::Min, Threshold::Rel(part)) => metric < best * (1.0 - part),
            (Mode::Min, Threshold::Abs(amount)) => metric < best - amount,
            (Mode::Max, Threshold::Rel(part)) => metric > best * (1.0 + part),
            (Mode::Max, Threshold::Abs(amount)) => metric > best + amount,
        }
    }

    /// What it remembers.
    pub fn state(&self) -> Plateau {
        let best = if self.mode == Mode::Min { f64::INFINITY } else { f64::NEG_INFINITY };
        self.memory.unwrap_or(Plateau { lr: self.lr, best, num_bad: 0, cooldown: 0 })
    }

    /// Goes on from what another one remembered.
    pub fn restore(&mut self, state: Plateau) {
        self.memory = Some(state);
    }
}
