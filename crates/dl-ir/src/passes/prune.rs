//! Pruning: loops compute no more than what is used of their results.
//!
//! Before: a valid graph. After: every result of a loop is taken by some node, every carried value is needed by a result
//! or by the next iteration's share of one, and every operand is read by the body.

use std::collections::{BTreeSet, HashMap};

use super::{append, dce, rewrite};
use crate::error::OpError;
use crate::graph::{Graph, Input, NodeId, Output};
use crate::op::Op;
use crate::scan::{PORTS, Scan, as_result, port, result_attrs};

/// Drops results, carried values and operands of loops that nothing needs.
///
/// # Errors
/// None.
pub fn run(graph: &Graph) -> Result<Graph, OpError> {
    if graph.bodies().next().is_none() {
        return Ok(graph.clone());
    }
    let graph = dce::run(graph)?;
    let mut used: HashMap<NodeId, BTreeSet<usize>> = HashMap::new();
    for (of, index) in graph.ids().filter_map(|id| as_result(&graph, id)) {
        used.entry(of).or_default().insert(index);
    }
    // Of each loop the new number of each result.
    let mut numbers: HashMap<NodeId, Vec<usize>> = HashMap::new();
    rewrite(&graph, |b, id, node| {
        if let Some((of, index)) = as_result(&graph, id) {
            let index = numbers.get(&of).map_or(index, |kept| kept.iter().position(|&k| k == index).unwrap_or(index));
            return b.push(Op::ScanResult, &node.args, result_attrs(index, &node.ty)).map(Some);
        }
        let (Some(body), Some(used)) = (node.attrs.get_graph("body"), used.get(&id)) else { return Ok(None) };
        let scan = Scan::of(&node.attrs);
        let Kept { inputs, outputs } = needed(&scan, body, used);
        if inputs.len() == node.args.len() && outputs.len() == body.outputs.len() {
            return Ok(None);
        }
        let args: Vec<NodeId> = inputs.iter().map(|&at| node.args[at]).collect();
        let (scan, body) = smaller(&scan, body, &inputs, &outputs)?;
        numbers.insert(id, outputs);
        b.push(Op::Scan, &args, scan.attrs(body)).map(Some)
    })
}

/// The numbers of the inputs and outputs of a body that stay.
struct Kept {
    inputs: Vec<usize>,
    outputs: Vec<usize>,
}

fn needed(scan: &Scan, body: &Graph, used: &BTreeSet<usize>) -> Kept {
    let mut outputs = used.clone();
    loop {
        let kept = body.outputs.iter().enumerate().filter(|(at, _)| outputs.contains(at)).map(|(_, o)| o.clone());
        let live = Graph { outputs: kept.collect(), ..body.clone() }.live();
        let is_live = |at: &usize| live[body.inputs[*at].node.index()];
        let before = outputs.len();
        outputs.extend((0..scan.carries).filter(is_live));
        if outputs.len() > before {
            continue;
        }
        let stays = |at: &usize| if *at < scan.carries { outputs.contains(at) } else { is_live(at) };
        let inputs = (0..body.inputs.len()).filter(stays).collect();
        return Kept { inputs, outputs: outputs.into_iter().collect() };
    }
}

/// The loop with these inputs and outputs of its body only.
fn smaller(scan: &Scan, body: &Graph, inputs: &[usize], outputs: &[usize]) -> Result<(Scan, Graph), OpError> {
    let count = |port: usize| inputs.iter().filter(|&&at| scan.port(at) == port).count();
    let small = Scan { carries: count(0), slices: count(1), ..scan.clone() };
    let mut graph = Graph { facts: body.facts.clone(), ..Graph::default() };
    let mut new = vec![NodeId(0); body.nodes.len()];
    let kept: Vec<Output> = outputs.iter().map(|&at| body.outputs[at].clone()).collect();
    let live = Graph { outputs: kept.clone(), ..body.clone() }.live();
    let stays: BTreeSet<NodeId> = inputs.iter().map(|&at| body.inputs[at].node).collect();
    for id in body.ids().filter(|id| live[id.index()] || stays.contains(id)) {
        let mut node = body[id].clone();
        node.args.iter_mut().for_each(|arg| *arg = new[arg.index()]);
        new[id.index()] = append(&mut graph, node);
    }
    graph.inputs = inputs
        .iter()
        .enumerate()
        .map(|(at, &old)| Input {
            name: port(&small, at),
            kind: PORTS[small.port(at)].1,
            node: new[body.inputs[old].node.index()],
        })
        .collect();
    graph.outputs = kept
        .into_iter()
        .enumerate()
        .map(|(at, Output { role, node })| {
            let role = if at < small.carries { crate::graph::Role::Update(port(&small, at)) } else { role };
            Output { role, node: new[node.index()] }
        })
        .collect();
    Ok((small, graph))
}
