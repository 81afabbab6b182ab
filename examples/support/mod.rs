//! What the examples share: their command line, what they must reach, random numbers, and changes of images.

#![allow(dead_code, unused_imports, reason = "each example uses a part of this")]

mod args;
mod augment;
mod random;

use std::error::Error;
use std::fmt::Debug;
use std::ops::RangeBounds;
use std::process::ExitCode;

pub use args::{Args, Count, OutputFile, Usage};
pub use augment::Views;
pub use random::Random;

/// Prints what was reached, and fails unless it is in the range that the example promises, such as `..1.75`.
pub fn reached(what: &str, value: f64, promised: impl RangeBounds<f64> + Debug) -> Result<(), Box<dyn Error>> {
    println!("{what}: {value:.3}, promised: {promised:?}");
    match promised.contains(&value) {
        true => Ok(()),
        false => Err(format!("{what} is {value:.3}, but must be in {promised:?}").into()),
    }
}

/// The mean of the losses of batches.
pub fn mean(losses: impl Iterator<Item = dl::Result<f32>>) -> dl::Result<f64> {
    let losses = losses.collect::<dl::Result<Vec<f32>>>()?;
    Ok(losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / losses.len() as f64)
}

/// Runs a program with the options of this process. Exit code 1 says that it failed, 2 that its options are wrong.
pub fn run(help: &'static str, program: impl Fn(&Args) -> Result<(), Box<dyn Error>>) -> ExitCode {
    let args = Args::parse(help, std::env::args().skip(1));
    if args.as_ref().is_ok_and(|args| args.has("--help")) {
        println!("{help}");
        return ExitCode::SUCCESS;
    }
    match args.map_err(Box::from).and_then(|args| program(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Usage>() => {
            eprintln!("error: {error}\n`--help` lists all options");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
