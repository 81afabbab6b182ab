//! What a run must reach.

use std::fmt;

use super::Args;

/// A result that is worse than the bar.
#[derive(Debug)]
pub struct Missed(String);

/// A bound for a result: one for the whole training, and one for that of `--quick`.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// What is measured, with its unit.
    pub what: &'static str,
    /// The bound.
    pub full: f64,
    /// The bound with `--quick`.
    pub quick: f64,
}

impl Bar {
    /// Prints a value that may not be less than the bar.
    pub fn at_least(self, value: f64, args: &Args) -> Result<(), Missed> {
        self.check(value, args, "at least", |value, bound| value >= bound)
    }

    /// Prints a value that may not be more than the bar.
    pub fn at_most(self, value: f64, args: &Args) -> Result<(), Missed> {
        self.check(value, args, "at most", |value, bound| value <= bound)
    }

    fn check(self, value: f64, args: &Args, side: &str, holds: fn(f64, f64) -> bool) -> Result<(), Missed> {
        let bound = if args.has("--quick") { self.quick } else { self.full };
        println!("{} {value:.4} (bar: {side} {bound})", self.what);
        // NaN is on neither side.
        if holds(value, bound) {
            Ok(())
        } else {
            Err(Missed(format!("{} {value:.4} misses {side} {bound}", self.what)))
        }
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missed {}
