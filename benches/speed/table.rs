//! Results as tables in Markdown.

use std::fmt::Write;

use crate::record::{Rate, Record};

/// Milliseconds of each workload by each peer, of which the best is compared with this project, and those of the first
/// calls. Those of a step are the shortest ones with `min`, otherwise the median ones.
pub fn markdown(records: &[&Record], threads: u64, min: bool) -> String {
    let (mut workloads, mut peers): (Vec<&str>, Vec<&str>) = (vec![], vec![]);
    for record in records {
        let (workload, peer) = (record.workload.as_str(), record.peer.as_str());
        if !workloads.contains(&workload) {
            workloads.push(workload);
        }
        if !record.is_own() && !peers.contains(&peer) {
            peers.push(peer);
        }
    }
    let found = |workload: &str, peer: &str| -> Vec<&Record> {
        records.iter().copied().filter(|record| record.workload == workload && record.peer == peer).collect()
    };
    let plural = if threads == 1 { "" } else { "s" };
    let which = if min { "Least" } else { "Median" };
    let step = |record: &Record| if min { record.min_ms } else { record.median_ms };
    let mut out = format!("{which} milliseconds of a step, {threads} thread{plural}:\n\n| workload | dl |");
    // Writing to a string does not fail.
    peers.iter().for_each(|peer| _ = write!(out, " {peer} |"));
    out += " dl against the best other | rate of dl | of what is possible |\n";
    out += &"| --- ".repeat(peers.len() + 5);
    out += "|\n";
    for workload in &workloads {
        let own = found(workload, "dl");
        let time = median(&own, step);
        let _ = write!(out, "| {workload} | {} |", time.map_or(String::new(), digits));
        let mut best: Option<(f64, &str)> = None;
        for peer in &peers {
            let other = median(&found(workload, peer), step);
            let _ = write!(out, " {} |", other.map_or(String::new(), digits));
            if let Some(other) = other.filter(|&other| best.is_none_or(|(least, _)| other < least)) {
                best = Some((other, peer));
            }
        }
        let against = best.zip(time).map(|((other, peer), own)| format!("{:.2}x ({peer})", other / own));
        // By the time that is shown, and by the most that was measured to be possible: a busy machine shows less.
        let speedup = own.last().zip(time).map_or(1.0, |(record, time)| record.median_ms / time);
        let rate = own.last().and_then(|record| record.rate);
        let most = own.iter().filter_map(|record| Some(record.rate?.number() / record.share?)).fold(0.0, f64::max);
        let share = rate.filter(|_| most > 0.0).map(|rate| format!("{:.0} %", 100.0 * rate.number() * speedup / most));
        let rate = rate.map(|rate| match rate {
            Rate::Gflops(rate) => format!("{:.1} GFLOP/s", rate * speedup),
            Rate::Gbs(rate) => format!("{:.1} GB/s", rate * speedup),
        });
        let [against, rate, share] = [against, rate, share].map(Option::unwrap_or_default);
        let _ = writeln!(out, " {against} | {rate} | {share} |");
    }
    out += "\nMilliseconds of the first call, compilation included:\n\n| workload | dl |";
    peers.iter().for_each(|peer| _ = write!(out, " {peer} |"));
    let _ = writeln!(out, "\n{}|", "| --- ".repeat(peers.len() + 2));
    for workload in &workloads {
        let _ = write!(out, "| {workload} |");
        for peer in ["dl"].iter().chain(&peers) {
            let first = median(&found(workload, peer), |record| record.first_ms);
            let _ = write!(out, " {} |", first.map_or(String::new(), digits));
        }
        out += "\n";
    }
    out
}

/// The median over several rounds.
fn median(records: &[&Record], value: impl Fn(&Record) -> f64) -> Option<f64> {
    let mut values: Vec<f64> = records.iter().map(|record| value(record)).collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some((values[last / 2] + values[values.len() / 2]) / 2.0)
}

/// Three digits that count.
fn digits(x: f64) -> String {
    let whole = x.abs().max(1e-9).log10().floor() as i32;
    format!("{x:.*}", (2 - whole).clamp(0, 6) as usize)
}
