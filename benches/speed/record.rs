//! The line of JSON that stands for one result, of this project or of another.

use serde_json::Value;

use crate::timing::Times;

/// The name of this project among the peers.
const OWN: &str = "dl";

/// One result.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub peer: String,
    pub version: String,
    pub workload: String,
    /// Absent for a peer that takes what its affinity allows.
    pub threads: Option<u64>,
    pub median_ms: f64,
    pub min_ms: f64,
    /// The first call, compilation included.
    pub first_ms: f64,
    pub steps: u64,
    /// What is done in a second by the median.
    pub rate: Option<Rate>,
    /// The part of what the machine can do.
    pub share: Option<f64>,
}

/// What is done in a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// Operations, in billions.
    Gflops(f64),
    /// Bytes, in billions.
    Gbs(f64),
}

impl Rate {
    /// Billions a second.
    pub fn number(self) -> f64 {
        match self {
            Rate::Gflops(rate) | Rate::Gbs(rate) => rate,
        }
    }
}

impl Record {
    /// A result of this project.
    pub fn own(workload: &str, threads: usize, times: &Times) -> Record {
        Record {
            peer: OWN.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            workload: workload.into(),
            threads: Some(threads as u64),
            median_ms: times.median(),
            min_ms: times.min(),
            first_ms: times.first,
            steps: times.sorted.len() as u64,
            rate: None,
            share: None,
        }
    }

    /// Whether it is of this project.
    pub fn is_own(&self) -> bool {
        self.peer == OWN
    }

    /// With the operations of a step, of which the machine can do so many in a second.
    pub fn with_flops(mut self, flops: f64, most: f64) -> Record {
        let rate = flops / self.median_ms * 1e3;
        self.rate = Some(Rate::Gflops(rate / 1e9));
        self.share = Some(rate / most);
        self
    }

    /// With the bytes that a step moves, of which the machine can move so many in a second.
    pub fn with_bytes(mut self, bytes: f64, most: f64) -> Record {
        let rate = bytes / self.median_ms * 1e3;
        self.rate = Some(Rate::Gbs(rate / 1e9));
        self.share = Some(rate / most);
        self
    }

    /// As one line of JSON.
    pub fn line(&self) -> String {
        let Record { peer, version, workload, median_ms, min_ms, first_ms, steps, .. } = self;
        let threads = self.threads.map_or("null".to_string(), |n| n.to_string());
        let rate = match self.rate {
            Some(Rate::Gflops(rate)) => format!(r#", "gflops": {rate:.2}"#),
            Some(Rate::Gbs(rate)) => format!(r#", "gbs": {rate:.2}"#),
            None => String::new(),
        };
        let share = self.share.map_or(String::new(), |share| format!(r#", "share": {share:.3}"#));
        format!(r#"{{"peer": "{peer}", "version": "{version}", "workload": "{workload}", "threads": {threads}, "#)
            + &format!(
                r#""median_ms": {median_ms:.5}, "min_ms": {min_ms:.5}, "first_ms": {first_ms:.1}, "steps": {steps}{rate}{share}}}"#
            )
    }

    /// A result from its line; `None` for any other text.
    pub fn parse(line: &str) -> Option<Record> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| Some(value.get(key)?.as_str()?.to_string());
        let number = |key: &str| value.get(key)?.as_f64();
        let rate = number("gflops").map(Rate::Gflops).or_else(|| number("gbs").map(Rate::Gbs));
        Some(Record {
            peer: text("peer")?,
            version: text("version").unwrap_or_default(),
            workload: text("workload")?,
            threads: value.get("threads").and_then(Value::as_u64),
            median_ms: number("median_ms")?,
            min_ms: number("min_ms")?,
            first_ms: number("first_ms")?,
            steps: value.get("steps").and_then(Value::as_u64).unwrap_or(0),
            rate,
            share: number("share"),
        })
    }
}
