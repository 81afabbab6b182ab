//! Orienting: matrices that every iteration of a loop multiplies by lie as products read them.
//!
//! Before: a valid graph. After: a constant of a loop that its products sum over the last axis of, as `x @ w^T` does, is
//! transposed before the loop, so that no iteration turns it. Where it is a parameter stored in that order, nothing moves.

use super::bodies::simplified;
use super::rewrite;
use crate::build::Builder;
use crate::error::OpError;
use crate::graph::{Graph, NodeId};
use crate::op::Op;
use crate::scan::Scan;

/// Transposes constants of loops.
///
/// # Errors
/// None.
pub fn run(graph: &Graph) -> Result<Graph, OpError> {
    if graph.bodies().next().is_none() {
        return Ok(graph.clone());
    }
    rewrite(graph, |b, _, node| {
        let Some(body) = node.attrs.get_graph("body") else { return Ok(None) };
        let scan = Scan::of(&node.attrs);
        let turned: Vec<usize> = (scan.carries + scan.slices..node.args.len())
            .filter(|&at| is_read_by_rows(body, body.inputs[at].node))
            .collect();
        if turned.is_empty() {
            return Ok(None);
        }
        let mut args = node.args.clone();
        for &at in &turned {
            args[at] = b.transpose(args[at], &[1, 0])?;
        }
        let body = turn(body, &turned.iter().map(|&at| body.inputs[at].node).collect::<Vec<_>>())?;
        b.push(Op::Scan, &args, scan.attrs(simplified(&body)?)).map(Some)
    })
}

/// Whether a matrix is read only as the right operand of products that sum its last axis.
fn is_read_by_rows(body: &Graph, matrix: NodeId) -> bool {
    let mut any = false;
    body.ty(matrix).rank() == 2
        && body.outputs.iter().all(|o| o.node != matrix)
        && body.nodes.iter().filter(|node| node.args.contains(&matrix)).all(|node| {
            any = true;
            node.op == Op::Dot
                && node.args[0] != matrix
                && node.attrs.get_ints("batch_b").is_empty()
                && node.attrs.get_ints("sum_b") == [1]
        })
        && any
}

/// The body with these inputs transposed.
fn turn(body: &Graph, inputs: &[NodeId]) -> Result<Graph, OpError> {
    let mut stored = vec![];
    let turned = rewrite(body, |b: &mut Builder, id, node| {
        if !inputs.contains(&id) {
            return Ok(None);
        }
        let mut input = node.clone();
        input.ty.shape.reverse();
        let new = super::append(&mut b.graph, input);
        stored.push((id, new));
        b.transpose(new, &[1, 0]).map(Some)
    })?;
    let mut turned = turned;
    for (input, old) in turned.inputs.iter_mut().zip(&body.inputs) {
        if let Some((_, new)) = stored.iter().find(|(id, _)| *id == old.node) {
            input.node = *new;
        }
    }
    Ok(turned)
}
