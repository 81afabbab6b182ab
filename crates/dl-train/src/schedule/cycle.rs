//! Rates that go up and down.

use dl_runtime::Result;

use super::Schedule;
use super::cosine::wave;
use super::table::{COUNT, NOT_NEGATIVE, PART, POSITIVE, schedule};

/// How one rate goes over into another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Anneal {
    /// As half a cosine.
    #[default]
    Cos,
    /// Evenly.
    Linear,
}

impl Anneal {
    fn between(self, from: f64, to: f64, part: f64) -> f64 {
        match self {
            Anneal::Cos => wave(from, to, part),
            Anneal::Linear => from + (to - from) * part,
        }
    }
}

schedule! {
    /// One cycle of `total_steps` steps: up from `max_lr / div_factor` to `max_lr`, then down to the first rate divided
    /// by `final_div_factor`; later steps keep that. With `three_phase` it goes down to the first rate in as many steps
    /// as it went up, and then to the last. [`momentum`](OneCycleLr::momentum) goes the other way. Smith and Topin,
    /// 2017, arXiv:1708.07120.
    ///
    /// ```
    /// use dl_train::schedule::{OneCycleLr, Schedule};
    /// let schedule = OneCycleLr::new(0.5, 40)?.pct_start(0.25)?.div_factor(10.0)?;
    /// assert_eq!([0, 9].map(|step| schedule.lr(step)), [0.05, 0.5]);
    /// // sgd.lr = schedule.lr(step);
    /// // sgd.momentum = schedule.momentum(step);
    /// # Ok::<(), dl_runtime::Error>(())
    /// ```
    #[doc(alias = "OneCycleLR")]
    OneCycleLr(max_lr: f64, NOT_NEGATIVE; total_steps: u64, COUNT) {
        /// With another part of the steps on the way up than 0.3.
        pct_start: f64 = 0.3, PART;
        /// With another way between the rates than a cosine.
        anneal_strategy: Anneal = Anneal::Cos;
        /// With another divisor for the first rate than 25.
        div_factor: f64 = 25.0, POSITIVE;
        /// With another divisor for the last rate than 1e4.
        final_div_factor: f64 = 1e4, POSITIVE;
        /// With a way down of two parts, or, as by default, of one.
        three_phase: bool = false;
        /// With another lowest momentum than 0.85.
        base_momentum: f64 = 0.85, NOT_NEGATIVE;
        /// With another highest momentum than 0.95.
        max_momentum: f64 = 0.95, NOT_NEGATIVE;
    }
}

impl OneCycleLr {
    /// The momentum of step number `step`: from the highest to the lowest while the rate rises, and back while it
    /// falls.
    pub fn momentum(&self, step: u64) -> f64 {
        self.at(step, [self.max_momentum, self.base_momentum, self.max_momentum, self.max_momentum])
    }

    /// The value at a step, of the values first, at the top, after the way down of three phases, and last.
    fn at(&self, step: u64, [first, top, down, last]: [f64; 4]) -> f64 {
        let total = self.total_steps as f64;
        let (up, end) = (self.pct_start * total - 1.0, total - 1.0);
        let step = (step as f64).min(end);
        let phases = match self.three_phase {
            true => vec![(up, first, top), (2.0 * up, top, down), (end, down, last)],
            false => vec![(up, first, top), (end, top, last)],
        };
        let mut start = 0.0;
        for (end, from, to) in phases {
            if step <= end {
                let part = if end > start { (step - start) / (end - start) } else { 1.0 };
                return self.anneal_strategy.between(from, to, part);
            }
            start = end;
        }
        last
    }
}

impl Schedule for OneCycleLr {
    fn lr(&self, step: u64) -> f64 {
        let first = self.max_lr / self.div_factor;
        self.at(step, [first, self.max_lr, first, first / self.final_div_factor])
    }
}

/// What becomes of the height of a cycle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CyclicMode {
    /// It stays.
    #[default]
    Triangular,
    /// It is halved after each cycle.
    Triangular2,
    /// It is multiplied by `gamma` after each step.
    ExpRange,
}

schedule! {
    /// Up evenly from `base_lr` to `max_lr` in `step_size_up` steps and down in `step_size_down`, again and again.
    /// [`momentum`](CyclicLr::momentum) goes the other way. Smith, 2015, arXiv:1506.01186.
    ///
    /// ```
    /// use dl_train::schedule::{CyclicLr, CyclicMode, Schedule};
    /// let schedule = CyclicLr::new(0.0, 0.1)?.step_size_up(10)?.mode(CyclicMode::Triangular2)?;
    /// assert_eq!([0, 10, 20, 30].map(|step| schedule.lr(step)), [0.0, 0.1, 0.0, 0.05]);
    /// # Ok::<(), dl_runtime::Error>(())
    /// ```
    #[doc(alias = "CyclicLR")]
    CyclicLr(base_lr: f64, NOT_NEGATIVE; max_lr: f64, NOT_NEGATIVE) {
        /// With another number of steps on the way up than 2000.
        step_size_up: u64 = 2000, COUNT;
        /// With another number of steps on the way down than on the way up.
        step_size_down: u64 = 0, COUNT;
        /// With heights that fall.
        mode: CyclicMode = CyclicMode::Triangular;
        /// With another factor for [`CyclicMode::ExpRange`] than 1.
        gamma: f64 = 1.0, NOT_NEGATIVE;
        /// With another lowest momentum than 0.8.
        base_momentum: f64 = 0.8, NOT_NEGATIVE;
        /// With another highest momentum than 0.9.
        max_momentum: f64 = 0.9, NOT_NEGATIVE;
    }
}

impl CyclicLr {
    /// The momentum of step number `step`, highest where the rate is lowest.
    pub fn momentum(&self, step: u64) -> f64 {
        self.max_momentum - (self.max_momentum - self.base_momentum) * self.height(step)
    }

    /// The part of the way up at which a step is.
    fn height(&self, step: u64) -> f64 {
        let (up, down) = (self.step_size_up, self.step_size_down);
        let down = if down == 0 { up } else { down };
        let length = up.saturating_add(down);
        let (cycle, at) = (step / length, step % length);
        let height = if at <= up { at as f64 / up as f64 } else { (length - at) as f64 / down as f64 };
        height
            * match self.mode {
                CyclicMode::Triangular => 1.0,
                CyclicMode::Triangular2 => 0.5f64.powf(cycle as f64),
                CyclicMode::ExpRange => self.gamma.powf(step as f64),
            }
    }
}

impl Schedule for CyclicLr {
    fn lr(&self, step: u64) -> f64 {
        self.base_lr + (self.max_lr - self.base_lr) * self.height(step)
    }
}
