//! What the examples share: their command line.

mod args;

use std::error::Error;
use std::process::ExitCode;

pub use args::{Args, Count, OutputFile, Usage};

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
