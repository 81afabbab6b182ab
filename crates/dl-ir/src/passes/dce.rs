//! Dead code elimination.
//!
//! Before: any valid graph. After: every node but the inputs is needed by an output. Inputs stay, used or not: they are
//! the graph's interface.

use std::collections::HashSet;

use super::append;
use crate::error::OpError;
use crate::graph::{Graph, NodeId};

/// Removes nodes that no output needs.
///
/// # Errors
/// None.
pub fn run(graph: &Graph) -> Result<Graph, OpError> {
    let live = graph.live();
    let mut new = vec![NodeId(0); graph.nodes.len()];
    let mut result = Graph { facts: graph.facts.clone(), ..Graph::default() };
    let inputs: HashSet<NodeId> = graph.inputs.iter().map(|input| input.node).collect();
    for id in graph.ids().filter(|id| live[id.index()] || inputs.contains(id)) {
        let mut node = graph[id].clone();
        node.args.iter_mut().for_each(|a| *a = new[a.index()]);
        new[id.index()] = append(&mut result, node);
    }
    result.inputs = graph.inputs.clone();
    result.outputs = graph.outputs.clone();
    result.inputs.iter_mut().for_each(|i| i.node = new[i.node.index()]);
    result.outputs.iter_mut().for_each(|o| o.node = new[o.node.index()]);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::super::after;

    #[test]
    fn dead_nodes_go_and_inputs_stay() {
        let text = "%0 = input arg \"unused\" f32[2]\n%1 = input arg \"x\" f32[2]\n%2 = exp %1\n%3 = neg %1\n\
                    %4 = log %2\nresult %3";
        assert_eq!(
            after(super::run, text),
            "%0 = input arg \"unused\" f32[2]\n%1 = input arg \"x\" f32[2]\n%2 = neg %1 : f32[2]\nresult %2\n"
        );
    }
}
