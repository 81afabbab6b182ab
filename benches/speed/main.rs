//! How fast programs run: the reference workloads beside those of other frameworks.
//! Run by `cargo bench --bench speed`, with `-- --help` for what can be set.

mod args;
mod models;
mod timing;
mod workloads;

use std::process::ExitCode;

use args::Args;
use workloads::WORKLOADS;

const HELP: &str = "\
Times the reference workloads and prints one line of JSON for each.

  --threads N        to compute with; by default as many as the process may use
  --only NAME,NAME   of the workloads; by default all
  --seconds S        of timed steps each, after the first call and three warm-up steps [4]
  --profile          print the time of every kernel on standard error, as DL_PROFILE=1 does
  --help             print this";

fn main() -> ExitCode {
    // Cargo passes `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<(), String> {
    let args = Args::parse(args, &["--threads", "--only", "--seconds"], &["--profile", "--help"])?;
    if args.has("--help") {
        println!("{HELP}");
        return Ok(());
    }
    let mut options = dl::Options::from_env().map_err(|e| e.to_string())?;
    if let Some(threads) = args.get("--threads")? {
        options.threads = threads;
    }
    options.profile |= args.has("--profile");
    let seconds = args.get("--seconds")?.unwrap_or(4.0);
    let only = args.names("--only", &WORKLOADS.iter().map(|w| w.name).collect::<Vec<_>>())?;
    for workload in WORKLOADS.iter().filter(|w| only.is_empty() || only.iter().any(|name| name == w.name)) {
        println!("{}", workload.run(options.clone(), seconds)?.line());
    }
    Ok(())
}
