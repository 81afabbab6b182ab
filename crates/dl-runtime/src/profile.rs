//! Where the time of a program goes, step by step, if asked for with [`Options::profile`](crate::Options::profile).

use std::fmt::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dl_codegen::kernel::{Kernel, Stmt, walk::walk};
use dl_ir::plan::Group;
use dl_ir::{Graph, Loc, NodeId, Op};

use crate::kernels::{Place, Step};
use crate::layout::Spot;
use crate::pool::lock;

/// What is known of each step, and what the runs took so far. The first run, which also brings memory in, does not
/// count.
#[derive(Default)]
pub(crate) struct Profile {
    steps: Vec<Known>,
    sums: Mutex<Sums>,
}

/// A step before any run.
pub(crate) struct Known {
    kernel: String,
    /// Type of the result.
    result: String,
    loc: Loc,
    /// Multiplications and additions of its products.
    flops: f64,
    /// Bytes of its buffers in shared memory, each counted once.
    bytes: f64,
}

impl Known {
    /// A kernel of a group, which is its only one or not.
    pub(crate) fn new(graph: &Graph, group: &Group, kernel: &Kernel, only: bool, spots: &[Spot]) -> Known {
        let shared = spots.iter().zip(&kernel.bufs).filter(|(spot, _)| !matches!(spot.place, Place::Scratch(_)));
        let node = group.anchor.or(group.outputs.first().copied());
        // The others prepare its operands or complete its sums.
        let mut multiplies = only;
        walk(&kernel.body, &mut |stmt| multiplies |= matches!(stmt, Stmt::Contract(_)));
        let products = group.nodes.iter().filter(|_| multiplies);
        Known {
            kernel: kernel.name.clone(),
            result: node.map_or(String::new(), |node| graph.ty(node).to_string()),
            loc: node.map_or(Loc::NONE, |node| graph[node].loc),
            flops: products.map(|&node| 2.0 * multiply_adds(graph, node)).sum(),
            bytes: shared.map(|(_, buf)| buf.len as f64 * buf.dtype.size() as f64).sum(),
        }
    }
}

#[derive(Default)]
struct Sums {
    /// Runs, the first included.
    runs: u32,
    /// All of the runs, from the call to its results.
    total: Duration,
    /// Of that, while kernels ran or waited for each other.
    inside: Duration,
    steps: Vec<Sum>,
}

/// One step in all runs.
#[derive(Clone, Copy, Default)]
struct Sum {
    wait: Duration,
    busy: Duration,
    /// The shortest time in its kernel: on a busy machine, what the kernel itself needs.
    least: Option<Duration>,
}

/// The time of one step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Lap {
    /// Waiting before it; of several workers the mean.
    wait: Duration,
    /// In its kernel; of several workers the longest.
    busy: Duration,
}

/// The clock of one worker in one run.
pub(crate) struct Watch {
    last: Instant,
    laps: Vec<Lap>,
}

impl Watch {
    /// Starts the clock for a program of so many steps.
    pub(crate) fn start(steps: usize) -> Watch {
        Watch { laps: vec![Lap::default(); steps], last: Instant::now() }
    }

    /// The time since the last call was spent waiting for this step.
    pub(crate) fn waited(&mut self, step: usize) {
        let lap = self.lap();
        self.laps[step].wait += lap;
    }

    /// The time since the last call was spent in this step.
    pub(crate) fn ran(&mut self, step: usize) {
        let lap = self.lap();
        self.laps[step].busy += lap;
    }

    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let lap = now - self.last;
        self.last = now;
        lap
    }
}

impl Profile {
    /// Of a program with these steps.
    pub(crate) fn new(steps: Vec<Known>) -> Profile {
        Profile { steps, ..Profile::default() }
    }

    /// Adds a run by the clocks of its workers.
    pub(crate) fn add(&self, workers: &[Watch], total: Duration) {
        let mut sums = lock(&self.sums);
        sums.runs += 1;
        if sums.runs == 1 {
            return;
        }
        sums.steps.resize(self.steps.len(), Sum::default());
        for (at, sum) in sums.steps.iter_mut().enumerate() {
            let laps = workers.iter().map(|worker| worker.laps[at]);
            let busy = laps.clone().map(|lap| lap.busy).max().unwrap_or_default();
            sum.busy += busy;
            sum.least = Some(sum.least.map_or(busy, |least| least.min(busy)));
            sum.wait += laps.map(|lap| lap.wait).sum::<Duration>() / workers.len().max(1) as u32;
        }
        let inside = |worker: &Watch| worker.laps.iter().map(|lap| lap.wait + lap.busy).sum();
        sums.inside += workers.iter().map(inside).max().unwrap_or_default();
        sums.total += total;
    }

    /// The steps as a table, the longest first; `None` without a run that counts.
    pub(crate) fn show(&self, name: &str, steps: &[Step], place: impl Fn(Loc) -> String) -> Option<String> {
        let sums = lock(&self.sums);
        let runs = sums.runs.saturating_sub(1);
        if runs == 0 {
            return None;
        }
        let ms = |time: Duration| time.as_secs_f64() * 1e3 / f64::from(runs);
        let share = |time: Duration| 100.0 * time.as_secs_f64() / sums.total.as_secs_f64().max(f64::MIN_POSITIVE);
        let mut order: Vec<usize> = (0..sums.steps.len()).collect();
        order.sort_by_key(|&at| std::cmp::Reverse(sums.steps[at].busy));
        let mut out =
            format!("; profile of `{name}`: {:.4} ms a run, the mean of {runs} after the first\n", ms(sums.total));
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{:>10} {:>6} {:>10} {:>10} {:>8} {:>8} {:>4} {:>5}  kernel, result, place",
            "ms", "%", "wait ms", "least ms", "GFLOP/s", "GB/s", "step", "parts"
        );
        for at in order {
            let (lap, known) = (sums.steps[at], &self.steps[at]);
            let least = lap.least.unwrap_or_default().as_secs_f64() * 1e3;
            let rate = |amount: f64| match amount / least / 1e6 {
                rate if amount > 0.0 && rate.is_finite() => format!("{rate:.1}"),
                _ => String::new(),
            };
            let _ = writeln!(
                out,
                "{:>10.4} {:>6.2} {:>10.4} {least:>10.4} {:>8} {:>8} {at:>4} {:>5}  {}, {}, {}",
                ms(lap.busy),
                share(lap.busy),
                ms(lap.wait),
                rate(known.flops),
                rate(known.bytes),
                steps[at].parts,
                known.kernel,
                known.result,
                place(known.loc),
            );
        }
        let outside = sums.total.saturating_sub(sums.inside);
        let _ = writeln!(out, "{:>10.4} {:>6.2} outside of kernels", ms(outside), share(outside));
        Some(out)
    }
}

/// Multiply-adds of a product; 0 for any other node.
fn multiply_adds(graph: &Graph, node: NodeId) -> f64 {
    let at = &graph[node];
    let sizes = |node: NodeId| graph.ty(node).sizes().unwrap_or_default();
    let elements = |node: NodeId| sizes(node).iter().map(|&n| n as f64).product::<f64>();
    // The output channels, which are an axis of the filter and of the result.
    let channels = |result: NodeId| match at.attrs.get_word("layout") {
        "last" => sizes(result).last().map_or(1.0, |&n| n as f64),
        _ => sizes(result).get(1).map_or(1.0, |&n| n as f64),
    };
    match at.op {
        Op::Dot => {
            let shape = sizes(at.args[0]);
            let summed = at.attrs.get_axes("sum_a").into_iter().map(|axis| shape[axis] as f64);
            elements(node) * summed.product::<f64>()
        }
        Op::Conv => elements(node) * elements(at.args[1]) / channels(node),
        Op::ConvInputGrad => elements(at.args[0]) * elements(at.args[1]) / channels(at.args[0]),
        Op::ConvWeightGrad => elements(at.args[1]) * elements(node) / channels(at.args[1]),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dl_ir::text::parse_graph;

    fn watch(laps: &[(u64, u64)]) -> Watch {
        let lap = |&(wait, busy)| Lap { wait: Duration::from_millis(wait), busy: Duration::from_millis(busy) };
        Watch { last: Instant::now(), laps: laps.iter().map(lap).collect() }
    }

    fn known(kernel: &str) -> Known {
        Known { kernel: kernel.into(), result: "f32[8]".into(), loc: Loc::NONE, flops: 8e6, bytes: 0.0 }
    }

    fn step() -> Step {
        Step { code: 0, parts: 2, buffers: vec![], table: 0, slides: vec![] }
    }

    #[test]
    fn the_longest_worker_counts_and_the_first_run_does_not() {
        let profile = Profile { steps: vec![known("short"), known("long")], sums: Mutex::default() };
        let (steps, place) = ([step(), step()], |_| "net.rs".to_string());
        profile.add(&[watch(&[(500, 500), (500, 500)])], Duration::from_secs(2));
        assert_eq!(profile.show("loss", &steps, place), None);
        for short in [2, 4] {
            profile.add(&[watch(&[(0, 1), (2, 4)]), watch(&[(0, short), (0, 2)])], Duration::from_millis(10));
        }
        let table = profile.show("loss", &steps, place).unwrap();
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(table.starts_with("; profile of `loss`: 10.0000 ms a run, the mean of 2 after the first\n"), "{table}");
        assert_eq!(rows[2], ["4.0000", "40.00", "1.0000", "4.0000", "2.0", "1", "2", "long,", "f32[8],", "net.rs"]);
        assert_eq!(rows[3], ["3.0000", "30.00", "0.0000", "2.0000", "4.0", "0", "2", "short,", "f32[8],", "net.rs"]);
        assert_eq!(rows[4], ["3.0000", "30.00", "outside", "of", "kernels"]);
    }

    #[test]
    fn each_product_of_a_convolution_costs_the_same() {
        let of = |layout: &str, x: &str, w: &str, y: &str| {
            let geometry = format!("stride=[2, 2] lo=[1, 1] hi=[1, 1] dilation=[1, 1] groups=1 layout={layout}");
            let text = format!(
                "%0 = input arg \"x\" f32{x}\n%1 = input param \"w\" f32{w}\n%2 = input arg \"dy\" f32{y}\n\
                 %3 = conv %0 %1 {geometry}\n%4 = conv_input_grad %2 %1 {geometry} size=[8, 8]\n\
                 %5 = conv_weight_grad %0 %2 {geometry} kernel=[3, 3]\nresult %3\n"
            );
            let graph = parse_graph(&text).unwrap();
            [3, 4, 5].map(|node| multiply_adds(&graph, NodeId(node)))
        };
        let macs = f64::from(2 * 4 * 4 * 5 * 3 * 3 * 3);
        assert_eq!(of("first", "[2, 3, 8, 8]", "[5, 3, 3, 3]", "[2, 5, 4, 4]"), [macs; 3]);
        assert_eq!(of("last", "[2, 8, 8, 3]", "[3, 3, 3, 5]", "[2, 4, 4, 5]"), [macs; 3]);
    }

    #[test]
    fn products_cost_their_sums() {
        let text = "%0 = input arg \"a\" f32[6, 4, 3]\n%1 = input arg \"b\" f32[6, 3, 5]\n\
                    %2 = dot %0 %1 batch_a=[0] batch_b=[0] sum_a=[2] sum_b=[1]\nresult %2\n";
        assert_eq!(multiply_adds(&parse_graph(text).unwrap(), NodeId(2)), f64::from(6 * 4 * 3 * 5));
    }
}
