//! How fast programs run: the reference workloads and single operations, beside those of other frameworks.
//! Run by `cargo bench --bench speed`, with `-- --help` for what can be set.

mod args;
mod compare;
mod models;
mod record;
mod roofline;
mod sweeps;
mod table;
mod task;
mod timing;
mod workloads;

use std::process::ExitCode;

use args::Args;
use roofline::Roofline;
use sweeps::SWEEPS;
use task::Task;

const HELP: &str = "\
Times the reference workloads and prints one line of JSON for each: milliseconds, operations or bytes a second, and
their share of what this machine can do, which is measured first.

  --threads N        to compute with; by default as many as the process may use
  --only NAME,NAME   of the workloads; by default all
  --sweep NAME,NAME  single operations instead: products, convolutions, rows
  --seconds S        of timed steps each, after the first call and three warm-up steps [4; 0.5 in sweeps]
  --profile          print the time of every kernel on standard error, as DL_PROFILE=1 does
  --help             print this

`compare --help` tells how to time other frameworks in turn with this project.";

fn main() -> ExitCode {
    // Cargo passes `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let outcome = match args.first().map(String::as_str) {
        Some("compare") => compare::run(&args[1..]),
        _ => run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<(), String> {
    let args = Args::parse(args, &["--threads", "--only", "--sweep", "--seconds"], &["--profile", "--help"])?;
    if args.has("--help") {
        println!("{HELP}");
        return Ok(());
    }
    let mut options = dl::Options::from_env().map_err(|e| e.to_string())?;
    if let Some(threads) = args.get("--threads")? {
        options.threads = threads;
    }
    options.profile |= args.has("--profile");
    let (tasks, default) = tasks(&args)?;
    let seconds = args.get("--seconds")?.unwrap_or(default);
    let mut roofline = Roofline::measure(options.threads, options.isa);
    eprintln!("{} threads: {:.0} GFLOP/s", options.threads, roofline.flops / 1e9);
    if args.has("--sweep") {
        let mut read = |bytes: u32| roofline.read(bytes.into()) / 1e9;
        let [l1, l2, memory] = [1 << 14, 1 << 19, 1 << 29].map(&mut read);
        eprintln!("reading {l1:.0} GB/s in 16 KiB, {l2:.0} in 512 KiB, {memory:.0} in 512 MiB");
    }
    for task in tasks {
        println!("{}", task.run(options.clone(), seconds, &mut roofline)?.line());
    }
    Ok(())
}

/// What to time, and for how many seconds by default.
fn tasks(args: &Args) -> Result<(Vec<Task>, f64), String> {
    let sweeps = args.names("--sweep", &SWEEPS.map(|(name, _)| name))?;
    let (all, seconds) = match sweeps.is_empty() {
        true => (workloads::tasks(), 4.0),
        false => {
            let chosen = SWEEPS.iter().filter(|(name, _)| sweeps.iter().any(|sweep| sweep == name));
            (chosen.flat_map(|(_, tasks)| tasks()).collect(), 0.5)
        }
    };
    let only = args.names("--only", &all.iter().map(|task| task.name.as_str()).collect::<Vec<_>>())?;
    let chosen = |task: &Task| only.is_empty() || only.contains(&task.name);
    Ok((all.into_iter().filter(chosen).collect(), seconds))
}
