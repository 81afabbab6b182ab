//! Timing the steps of a program.

use std::time::{Duration, Instant};

/// Steps between the first and those that are timed.
const WARM_UP: usize = 3;

/// The least number of steps that are timed, however long they take.
const LEAST: usize = 5;

/// What steps took, in milliseconds.
pub struct Times {
    /// The first step, compilation included.
    pub first: f64,
    /// The steps after the warm-up, in ascending order.
    pub sorted: Vec<f64>,
    /// What the first step returned.
    pub first_value: f32,
    /// What the last step returned.
    pub last_value: f32,
}

impl Times {
    /// Times steps for so many seconds.
    pub fn measure(seconds: f64, mut step: impl FnMut() -> dl::Result<f32>) -> dl::Result<Times> {
        let mut timed = || -> dl::Result<(f64, f32)> {
            let begin = Instant::now();
            let value = step()?;
            Ok((begin.elapsed().as_secs_f64() * 1e3, value))
        };
        let (first, first_value) = timed()?;
        for _ in 0..WARM_UP {
            timed()?;
        }
        let (begin, limit) = (Instant::now(), Duration::from_secs_f64(seconds));
        let (mut sorted, mut last_value) = (vec![], first_value);
        while begin.elapsed() < limit || sorted.len() < LEAST {
            let (time, value) = timed()?;
            sorted.push(time);
            last_value = value;
        }
        sorted.sort_by(f64::total_cmp);
        Ok(Times { first, sorted, first_value, last_value })
    }

    /// The median step.
    pub fn median(&self) -> f64 {
        let (len, times) = (self.sorted.len(), &self.sorted);
        (times[(len - 1) / 2] + times[len / 2]) / 2.0
    }

    /// The shortest step.
    pub fn min(&self) -> f64 {
        self.sorted[0]
    }
}
