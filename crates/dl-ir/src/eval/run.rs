//! Evaluation of whole graphs.

use std::collections::BTreeMap;

use super::{EvalError, Tensor};
use crate::attrs::Attr;
use crate::graph::{Graph, NodeId};
use crate::op::{Eval, Op};
use crate::scan::{Scan, as_result};
use crate::types::{DType, Scalar, Type};

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
    let mut loops: BTreeMap<NodeId, Vec<Tensor>> = BTreeMap::new();
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
        let value = match (as_result(graph, id), node.attrs.get_graph("body")) {
            (Some((of, index)), _) => {
                let result = loops.get(&of).and_then(|results| results.get(index).cloned());
                result.ok_or_else(|| EvalError::Symbolic(node.ty.clone()))
            }
            (None, Some(body)) => run_loop(&Scan::of(&node.attrs), body, &args).map(|results| {
                loops.insert(id, results);
                Tensor::ints(DType::Bool, &[], vec![1])
            }),
            (None, None) => (node.op.def().eval)(&Eval { args: &args, attrs: &node.attrs, ty: &node.ty }),
        };
        let at = |error| match error {
            EvalError::Node { node, op, loc, error } => {
                EvalError::Node { node: NodeId(first_of_body(graph, id) + node.0), op, loc, error }
            }
            error => EvalError::Node { node: id, op: node.op, loc: node.loc, error: Box::new(error) },
        };
        values[id.index()] = Some(value.map_err(at)?);
    }
    Ok(values)
}

/// The number of the first node of a loop's body, as [`Graph::nested`] counts.
fn first_of_body(graph: &Graph, id: NodeId) -> u32 {
    let before = graph.bodies().take_while(|(of, _)| *of != id).map(|(_, body)| body.all_nodes());
    (graph.nodes.len() + before.sum::<usize>()) as u32
}

/// The results of a loop on these operands.
fn run_loop(scan: &Scan, body: &Graph, args: &[&Tensor]) -> Result<Vec<Tensor>, EvalError> {
    let length = scan.length.as_const().and_then(|n| usize::try_from(n).ok());
    let length =
        length.ok_or_else(|| EvalError::Symbolic(Type { dtype: DType::I64, shape: vec![scan.length.clone()] }))?;
    let mut inputs: Inputs = body.inputs.iter().zip(args).map(|(i, arg)| (i.name.clone(), (*arg).clone())).collect();
    let mut results: Vec<Vec<Tensor>> = vec![vec![]; body.outputs.len() - scan.carries];
    for step in 0..length {
        let at = if scan.reverse { length - 1 - step } else { step };
        for (input, arg) in body.inputs.iter().zip(args).skip(scan.carries).take(scan.slices) {
            inputs.insert(input.name.clone(), arg.part(at));
        }
        let mut values = run(body, &inputs)?;
        results.iter_mut().zip(values.split_off(scan.carries)).for_each(|(all, value)| all.push(value));
        for (input, value) in body.inputs.iter().zip(values) {
            inputs.insert(input.name.clone(), value);
        }
    }
    let carried: Vec<Tensor> =
        body.inputs.iter().take(scan.carries).filter_map(|input| inputs.remove(&input.name)).collect();
    let stacked = results.into_iter().map(|mut parts| {
        if scan.reverse {
            parts.reverse();
        }
        Tensor::stack(&parts)
    });
    Ok(carried.into_iter().chain(stacked).collect())
}

/// The graph with every f32 made f64: what finite differences are taken of. Constants become what their shortest
/// spelling says, so that 0.1 is 0.1 again.
pub fn to_f64(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    let widen = |dtype: &mut DType| {
        if *dtype == DType::F32 {
            *dtype = DType::F64;
        }
    };
    for node in &mut graph.nodes {
        let single = node.ty.dtype == DType::F32;
        widen(&mut node.ty.dtype);
        for (_, attr) in node.attrs.iter_mut() {
            match attr {
                Attr::DType(dtype) => widen(dtype),
                Attr::Graph(body) => **body = to_f64(body),
                Attr::Scalars(values) if single => values.iter_mut().for_each(respell),
                _ => {}
            }
        }
    }
    graph
}

fn respell(value: &mut Scalar) {
    if let Scalar::Float(v) = value {
        *v = (*v as f32).to_string().parse().unwrap_or(*v);
    }
}
