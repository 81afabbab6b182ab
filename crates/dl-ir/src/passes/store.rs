//! Storage: parameters are read and written in the order in which they lie in memory.
//!
//! Before: a valid graph. After: the parameters, buffers and states to which the [`Storage`] gives an order have their
//! axes in it, and so have their gradients and new values. A transpose behind such an input makes what was declared, and
//! one before such an output undoes it; `layout`, `algebra` and `pull` remove them where kernels read that order.

use std::collections::HashMap;

use super::layout::arranged;
use super::{append, rewrite};
use crate::build::Builder;
use crate::error::OpError;
use crate::graph::{Graph, NodeId, Role};
use crate::op::Op;
use crate::storage::{Order, Storage};

/// Brings a graph into the order in which parameters are stored.
///
/// # Errors
/// None.
pub fn run(graph: &Graph, storage: &Storage) -> Result<Graph, OpError> {
    let orders: HashMap<&str, &Order> = graph
        .inputs
        .iter()
        .filter_map(|input| Some((input.name.as_str(), storage.order_of(input, graph.ty(input.node).rank())?)))
        .collect();
    if orders.is_empty() {
        return Ok(graph.clone());
    }
    let by_node: HashMap<NodeId, &str> = graph.inputs.iter().map(|input| (input.node, input.name.as_str())).collect();
    let mut stored: HashMap<&str, NodeId> = HashMap::new();
    let result = rewrite(graph, |b, id, node| {
        let name = by_node.get(&id).copied().filter(|_| node.op == Op::Input);
        let Some((name, order)) = name.and_then(|name| Some((name, orders.get(name)?))) else { return Ok(None) };
        let mut input = node.clone();
        input.ty.shape = order.permuted(&node.ty.shape);
        let input = append(&mut b.graph, input);
        stored.insert(name, input);
        arranged(b, input, order.inverse().axes()).map(Some)
    })?;
    let mut b = Builder::on(result);
    for input in &mut b.graph.inputs {
        if let Some(&node) = stored.get(input.name.as_str()) {
            input.node = node;
        }
    }
    for at in 0..b.graph.outputs.len() {
        let output = &b.graph.outputs[at];
        let (Role::Grad(name) | Role::Update(name)) = &output.role else { continue };
        let Some(order) = orders.get(name.as_str()) else { continue };
        let node = output.node;
        b.loc = b.graph[node].loc;
        b.graph.outputs[at].node = arranged(&mut b, node, order.axes())?;
    }
    Ok(b.finish())
}
