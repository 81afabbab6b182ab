//! Passes: each takes a valid graph to a valid graph with the same inputs and the same results.
//!
//! [`simplify`] runs [`PIPELINE`], for graphs that are differentiated already: it drops `detach`. [`bind`](bind::bind)
//! stands apart, as it needs the values of the symbols, and so do [`store`](store::run), which needs to know how
//! parameters lie in memory, and [`split`](split::run), which makes two graphs of one.

pub mod absorb;
pub mod algebra;
pub mod bind;
pub mod bodies;
pub mod cse;
pub mod dce;
pub mod fold;
pub mod gather;
pub mod hoist;
pub mod layout;
pub mod orient;
pub mod prune;
pub mod pull;
pub mod split;
pub mod store;

use std::fmt;
use std::time::{Duration, Instant};

use crate::build::Builder;
use crate::error::OpError;
use crate::graph::{Graph, Node, NodeId};
use crate::verify::{VerifyError, verify};

/// A step of a pipeline.
pub struct Pass {
    /// The name by which dumps and file tests call it.
    pub name: &'static str,
    /// Makes the new graph.
    pub run: fn(&Graph) -> Result<Graph, OpError>,
    /// Whether it is for inference only: it moves work to what depends on parameters alone.
    pub inference: bool,
}

const fn pass(name: &'static str, run: fn(&Graph) -> Result<Graph, OpError>) -> Pass {
    Pass { name, run, inference: false }
}

/// What simplification does, in order. The passes after `layout` merge the transposes that it and `store` leave.
pub const PIPELINE: &[Pass] = &[
    pass("dce", dce::run),
    pass("fold", fold::run),
    pass("algebra", algebra::run),
    pass("fold-again", fold::run),
    pass("cse", cse::run),
    pass("dce-again", dce::run),
    pass("bodies", bodies::run),
    pass("hoist", hoist::run),
    pass("gather", gather::run),
    pass("prune", prune::run),
    pass("orient", orient::run),
    Pass { name: "absorb", run: absorb::run, inference: true },
    pass("layout", layout::run),
    pass("algebra-again", algebra::run),
    pass("pull", pull::run),
    pass("algebra-last", algebra::run),
    pass("cse-again", cse::run),
    pass("dce-last", dce::run),
];

/// What a step did, for dumps and reports.
pub struct Step<'a> {
    /// The pass.
    pub name: &'static str,
    /// How long it took, without verification.
    pub time: Duration,
    /// Whether the graph is another one now.
    pub changed: bool,
    /// The graph after the step.
    pub graph: &'a Graph,
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.time.as_micros();
        match self.changed {
            true => write!(f, "; after {} ({micros} us)\n{}", self.name, self.graph),
            false => writeln!(f, "; after {} ({micros} us) (unchanged)", self.name),
        }
    }
}

/// How a pipeline is run.
pub struct Options<'a> {
    /// Whether each step's result is verified; by default in debug builds.
    pub verify: bool,
    /// How many steps are run; all by default.
    pub stop_after: usize,
    /// Whether the graph will be run many times with the same parameters; by default not.
    pub inference: bool,
    /// Called after each step.
    pub observe: Option<&'a mut dyn FnMut(&Step<'_>)>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options { verify: cfg!(debug_assertions), stop_after: usize::MAX, inference: false, observe: None }
    }
}

/// A pass that went wrong: a defect of the pass.
#[derive(Clone, Debug, PartialEq)]
pub struct PassError {
    /// The pass.
    pub pass: &'static str,
    /// What is wrong with its result.
    pub error: VerifyError,
}

impl fmt::Display for PassError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pass `{}` made a graph that is not valid: {}", self.pass, self.error)
    }
}

impl std::error::Error for PassError {}

/// Runs [`PIPELINE`].
///
/// # Errors
/// If a pass is defective.
pub fn simplify(graph: &Graph, options: &mut Options<'_>) -> Result<Graph, PassError> {
    run(graph, PIPELINE, options)
}

/// Runs the passes of `pipeline` one after the other.
///
/// # Errors
/// If a pass is defective.
pub fn run(graph: &Graph, pipeline: &[Pass], options: &mut Options<'_>) -> Result<Graph, PassError> {
    let mut graph = graph.clone();
    for pass in pipeline.iter().take(options.stop_after).filter(|pass| options.inference || !pass.inference) {
        let fault = |error| PassError { pass: pass.name, error };
        let start = Instant::now();
        let next = (pass.run)(&graph).map_err(|error| {
            let node = NodeId(graph.nodes.len() as u32);
            fault(VerifyError::Op { node, error })
        })?;
        let time = start.elapsed();
        if options.verify {
            verify(&next).map_err(fault)?;
        }
        if let Some(observe) = &mut options.observe {
            observe(&Step { name: pass.name, time, changed: next != graph, graph: &next });
        }
        graph = next;
    }
    Ok(graph)
}

/// Rebuilds a graph node by node. `rule` sees the builder of the new graph, the old id, and the node with its operands
/// in the new graph; it returns the node of the new graph to take its place, or `None` to keep it as it is.
fn rewrite(
    graph: &Graph,
    mut rule: impl FnMut(&mut Builder, NodeId, &Node) -> Result<Option<NodeId>, OpError>,
) -> Result<Graph, OpError> {
    let mut b = Builder::on(Graph { facts: graph.facts.clone(), ..Graph::default() });
    let mut new: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    for id in graph.ids() {
        let mut node = graph[id].clone();
        node.args.iter_mut().for_each(|a| *a = new[a.index()]);
        b.loc = node.loc;
        new.push(match rule(&mut b, id, &node)? {
            Some(replacement) => replacement,
            None => append(&mut b.graph, node),
        });
    }
    let mut result = b.finish();
    result.inputs = graph.inputs.clone();
    result.outputs = graph.outputs.clone();
    result.inputs.iter_mut().for_each(|i| i.node = new[i.node.index()]);
    result.outputs.iter_mut().for_each(|o| o.node = new[o.node.index()]);
    Ok(result)
}

fn append(graph: &mut Graph, node: Node) -> NodeId {
    graph.nodes.push(node);
    NodeId(graph.nodes.len() as u32 - 1)
}

/// Runs a pass on the text of a graph, verifies the result and returns its text.
#[cfg(test)]
fn after(pass: fn(&Graph) -> Result<Graph, OpError>, text: &str) -> String {
    let graph = crate::text::parse_graph(text).unwrap();
    verify(&graph).unwrap();
    let graph = pass(&graph).unwrap();
    verify(&graph).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    graph.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_reports_stops_and_names_a_defective_pass() {
        let graph = crate::text::parse_graph(
            "%0 = input arg \"x\" f32[3]\n%1 = exp %0\n%2 = exp %0\n%3 = add %1 %2\nresult %3",
        );
        let graph = graph.unwrap();
        let mut seen = vec![];
        let mut observe = |step: &Step<'_>| seen.push((step.name, step.changed, step.to_string()));
        let options = &mut Options { stop_after: 5, observe: Some(&mut observe), ..Options::default() };
        let result = simplify(&graph, options).unwrap();
        assert_eq!(result.nodes.len(), 3);
        let names: Vec<_> = seen.iter().map(|s| (s.0, s.1)).collect();
        assert_eq!(names, [("dce", false), ("fold", false), ("algebra", false), ("fold-again", false), ("cse", true)]);
        assert!(seen[0].2.contains("(unchanged)") && seen[4].2.contains("add %1 %1"), "{}", seen[4].2);

        let bad = Pass {
            name: "bad",
            run: |g| {
                let mut g = g.clone();
                g.nodes[3].args[0] = NodeId(3);
                Ok(g)
            },
            inference: false,
        };
        let error = run(&graph, &[bad], &mut Options { verify: true, ..Options::default() }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "pass `bad` made a graph that is not valid: node 3 uses node 3, which is not before it"
        );
    }
}
