//! Times this project and others in turn, workload by workload, and sets the results side by side.
//!
//! The speed of a machine drifts, so that only what ran in the same minutes can be compared. Each runs in a process of
//! its own.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::process::{Command, Stdio};

use crate::args::Args;
use crate::record::Record;
use crate::sweeps::{SWEEPS, Sweep};
use crate::table::markdown;
use crate::workloads;

pub const HELP: &str = "\
Times this project beside others and prints a table in Markdown for each number of threads.

  --threads N,N      numbers of threads; by default 1
  --only NAME,NAME   of the workloads; by default all
  --sweep NAME,NAME  single operations instead: products, convolutions, rows
  --seconds S        of timed steps each [2; 0.2 in sweeps]
  --rounds N         how often everything is timed in turn; the median counts [1]
  --peer-cmd CMD     a command that prints lines of JSON, run by sh for each workload; {threads}, {workload} (one name, or
                     several with commas), {seconds} and {cpus} (0, or 0,1) are replaced. May be given several times
  --min              compare the shortest steps instead of the median ones, where other programs disturb
  --peers FILE       lines of JSON from before. May be given several times; with lines of `dl` nothing is timed here
  --out FILE         append all lines of JSON
  --help             print this";

/// What is run at once: a workload, or all operations of a sweep.
struct Unit {
    /// Names with commas.
    workloads: String,
    sweep: Option<&'static str>,
}

/// Runs the comparison.
pub fn run(args: &[String]) -> Result<(), String> {
    let options = ["--threads", "--only", "--sweep", "--seconds", "--rounds", "--peer-cmd", "--peers", "--out"];
    let args = Args::parse(args, &options, &["--min", "--help"])?;
    if args.has("--help") {
        println!("{HELP}");
        return Ok(());
    }
    let mut records = vec![];
    for file in args.all("--peers") {
        let text = fs::read_to_string(file).map_err(|e| format!("reading {file}: {e}"))?;
        records.extend(text.lines().filter_map(Record::parse));
    }
    let commands: Vec<&str> = args.all("--peer-cmd").collect();
    let threads = threads(&args)?;
    if !commands.is_empty() || !records.iter().any(Record::is_own) {
        records.extend(time(&args, &commands, &threads)?);
    }
    for threads in threads {
        let chosen: Vec<&Record> = records.iter().filter(|record| record.threads == Some(threads)).collect();
        println!("{}", markdown(&chosen, threads, args.has("--min")));
    }
    Ok(())
}

fn threads(args: &Args) -> Result<Vec<u64>, String> {
    let list = args.all("--threads").last().unwrap_or("1");
    list.split(',').map(|n| n.trim().parse().map_err(|e| format!("`--threads {list}`: {e}"))).collect()
}

/// Times everything in turn.
fn time(args: &Args, commands: &[&str], threads: &[u64]) -> Result<Vec<Record>, String> {
    let units = units(args)?;
    let seconds: f64 = args.get("--seconds")?.unwrap_or(if args.has("--sweep") { 0.2 } else { 2.0 });
    let own = std::env::current_exe().map_err(|e| format!("finding this program: {e}"))?;
    let mut out = args.get::<String>("--out")?.map(Log::open).transpose()?;
    let mut records = vec![];
    // What was timed is kept even if a later run fails.
    let mut keep = |found: Vec<Record>| -> Result<(), String> {
        out.as_mut().map_or(Ok(()), |out| out.append(&found))?;
        records.extend(found);
        Ok(())
    };
    for &threads in threads {
        for unit in &units {
            for _ in 0..args.get::<usize>("--rounds")?.unwrap_or(1) {
                let mut command = Command::new(&own);
                command.args(["--only", &unit.workloads, "--seconds", &seconds.to_string()]);
                command.args(["--threads", &threads.to_string()]);
                command.args(unit.sweep.iter().flat_map(|sweep| ["--sweep", sweep]));
                keep(lines(command, threads)?)?;
                for template in commands {
                    let text = template
                        .replace("{threads}", &threads.to_string())
                        .replace("{workload}", &unit.workloads)
                        .replace("{seconds}", &seconds.to_string())
                        .replace("{cpus}", &(0..threads).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
                    let mut command = Command::new("sh");
                    command.args(["-c", &text]);
                    match lines(command, threads) {
                        Ok(found) => keep(found)?,
                        Err(message) => eprintln!("warning: {message}"),
                    }
                }
            }
        }
    }
    Ok(records)
}

/// A file that lines of JSON are appended to.
struct Log {
    name: String,
    file: File,
}

impl Log {
    fn open(name: String) -> Result<Log, String> {
        let file = OpenOptions::new().create(true).append(true).open(&name).map_err(|e| format!("{name}: {e}"))?;
        Ok(Log { name, file })
    }

    fn append(&mut self, records: &[Record]) -> Result<(), String> {
        let lines: String = records.iter().map(|record| record.line() + "\n").collect();
        self.file.write_all(lines.as_bytes()).map_err(|e| format!("{}: {e}", self.name))
    }
}

fn units(args: &Args) -> Result<Vec<Unit>, String> {
    let sweeps = args.names("--sweep", &SWEEPS.map(|(name, _)| name))?;
    if !sweeps.is_empty() {
        let chosen = SWEEPS.iter().filter(|(name, _)| sweeps.iter().any(|sweep| sweep == name));
        let unit = |&(name, tasks): &Sweep| Unit {
            workloads: tasks().iter().map(|task| task.name.clone()).collect::<Vec<_>>().join(","),
            sweep: Some(name),
        };
        return Ok(chosen.map(unit).collect());
    }
    let all: Vec<String> = workloads::tasks().into_iter().map(|task| task.name).collect();
    let only = args.names("--only", &all.iter().map(String::as_str).collect::<Vec<_>>())?;
    let names = if only.is_empty() { all } else { only };
    Ok(names.into_iter().map(|workloads| Unit { workloads, sweep: None }).collect())
}

/// The results that a command prints; a peer that does not tell its threads has those it was run for.
fn lines(mut command: Command, threads: u64) -> Result<Vec<Record>, String> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|e| format!("{command:?}: {e}"))?;
    if !output.status.success() {
        return Err(format!("{command:?} ended with {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let records = text.lines().filter_map(Record::parse);
    Ok(records.map(|record| Record { threads: record.threads.or(Some(threads)), ..record }).collect())
}
