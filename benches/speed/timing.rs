//! Timing steps of a program, and the line that is printed for each result.

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

/// One result, of this project or of another.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub peer: String,
    pub version: String,
    pub workload: String,
    /// Absent for a peer that takes what its affinity allows.
    pub threads: Option<u64>,
    pub median_ms: f64,
    pub min_ms: f64,
    pub first_ms: f64,
    pub steps: u64,
}

impl Record {
    /// The result of this project.
    pub fn own(workload: &str, threads: usize, times: &Times) -> Record {
        Record {
            peer: "dl".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            workload: workload.into(),
            threads: Some(threads as u64),
            median_ms: times.median(),
            min_ms: times.min(),
            first_ms: times.first,
            steps: times.sorted.len() as u64,
        }
    }

    /// As one line of JSON.
    pub fn line(&self) -> String {
        let Record { peer, version, workload, median_ms, min_ms, first_ms, steps, .. } = self;
        let threads = self.threads.map_or("null".to_string(), |n| n.to_string());
        format!(
            r#"{{"peer": "{peer}", "version": "{version}", "workload": "{workload}", "threads": {threads}, "median_ms": {median_ms:.4}, "min_ms": {min_ms:.4}, "first_ms": {first_ms:.1}, "steps": {steps}}}"#
        )
    }
}
