//! Evaluation of whole graphs.

use std::collections::BTreeMap;

use super::{EvalError, Tensor};
use crate::attrs::Attr;
use crate::graph::Graph;
use crate::op::{Eval, Op};
use crate::types::DType;

/// Values of a graph's inputs by name.
pub type Inputs = BTreeMap<String, Tensor>;

/// The values of the graph's outputs, in order. Every shape must be a number; nodes that no output needs are skipped.
///
/// # Errors
/// If an input is missing or of another type, a shape is symbolic, or an op fails (an index out of range).
pub fn run(graph: &Graph, inputs: &Inputs) -> Result<Vec<Tensor>, EvalError> {
    let values = run_nodes(graph, inputs)?;
    Ok(graph.outputs.iter().filter_map(|o| values[o.node.index()].clone()).collect())
}

/// The values of all nodes that outputs need, by position in the arena; `None` for the others.
///
/// # Errors
/// As [`run`].
pub fn run_nodes(graph: &Graph, inputs: &Inputs) -> Result<Vec<Option<Tensor>>, EvalError> {
    let live = graph.live();
    let mut values: Vec<Option<Tensor>> = vec![None; graph.nodes.len()];
    for input in &graph.inputs {
        let expected = graph.ty(input.node);
        let Some(value) = inputs.get(&input.name) else {
            if live[input.node.index()] {
                return Err(EvalError::MissingInput(input.name.clone()));
            }
            continue;
        };
        if value.ty() != *expected {
            let (name, expected) = (input.name.clone(), expected.clone());
            return Err(EvalError::InputType { name, expected, found: value.ty() });
        }
        values[input.node.index()] = Some(value.clone());
    }
    for id in graph.ids().filter(|id| live[id.index()]) {
        let node = &graph[id];
        if node.op == Op::Input {
            continue;
        }
        let args: Option<Vec<&Tensor>> = node.args.iter().map(|a| values[a.index()].as_ref()).collect();
        let args = args.unwrap_or_default();
        let value = (node.op.def().eval)(&Eval { args: &args, attrs: &node.attrs, ty: &node.ty });
        let at = |error| EvalError::Node { node: id, op: node.op, loc: node.loc, error: Box::new(error) };
        values[id.index()] = Some(value.map_err(at)?);
    }
    Ok(values)
}

/// The graph with every f32 made f64: what finite differences are taken of.
pub fn to_f64(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    let widen = |dtype: &mut DType| {
        if *dtype == DType::F32 {
            *dtype = DType::F64;
        }
    };
    for node in &mut graph.nodes {
        widen(&mut node.ty.dtype);
        for (_, attr) in node.attrs.iter_mut() {
            if let Attr::DType(dtype) = attr {
                widen(dtype);
            }
        }
    }
    graph
}
