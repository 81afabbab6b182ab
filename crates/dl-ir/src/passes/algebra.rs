//! Algebraic simplification.
//!
//! Before: a valid graph that is differentiated already. After: operands that do nothing are gone (`x * 1`), chains of
//! movements are one movement, transposes are part of the `dot` they belong to, repeated values are computed once and
//! then broadcast, and there is no `detach`. Results are the same bits, NaN, infinities and the sign of zero included,
//! but for sums that change their order (`reduce_sum` of a sum, or of a broadcast), for powers written as products and for
//! the quotients of a softmax, which are products with an inverse.

mod arith;
mod contract;
mod movement;

use super::rewrite;
use crate::attrs::Attrs;
use crate::build::{Builder, Built};
use crate::error::OpError;
use crate::graph::{Graph, NodeId};
use crate::op::{Class, Op};
use crate::types::Scalar;

/// What a rule may make of a node: another node, or nothing.
type Rewritten = Result<Option<NodeId>, OpError>;

/// What a rule sees of a node: its operands are simplified already.
#[derive(Clone, Copy)]
struct At<'a> {
    op: Op,
    args: &'a [NodeId],
    attrs: &'a Attrs,
    /// Whether the operands have other users, whom a rule that rebuilds them would not save any work.
    shared: &'a dyn Fn(usize) -> bool,
}

/// Simplifies every node.
///
/// # Errors
/// None.
pub fn run(graph: &Graph) -> Result<Graph, OpError> {
    let uses = graph.use_counts();
    rewrite(graph, |b, id, node| {
        let shared = |arg: usize| uses[graph[id].args[arg].index()] > 1;
        let at = At { op: node.op, args: &node.args, attrs: &node.attrs, shared: &shared };
        let Some(new) = simpler(b, &at)? else { return Ok(None) };
        // Sizes that are equal by a fact may be written in another way.
        Ok((*b.ty(new) == node.ty).then_some(new))
    })
}

/// Appends a node in its simplest form.
fn make(b: &mut Builder, op: Op, args: &[NodeId], attrs: Attrs) -> Built {
    match simpler(b, &At { op, args, attrs: &attrs, shared: &|_| false })? {
        Some(simple) => Ok(simple),
        None => b.push(op, args, attrs),
    }
}

fn simpler(b: &mut Builder, at: &At<'_>) -> Rewritten {
    match at.op.class() {
        Class::Elementwise => match arith::simpler(b, at)? {
            Some(simple) => Ok(Some(simple)),
            None => arith::hoist(b, at),
        },
        Class::Movement => movement::simpler(b, at),
        Class::Reduce => movement::reduction(b, at),
        Class::Contract => contract::simpler(b, at),
        _ => Ok(None),
    }
}

/// The value of every element, if it is a scalar constant, broadcast or not.
fn uniform(b: &Builder, id: NodeId) -> Option<Scalar> {
    let node = &b.graph[id];
    match node.op {
        Op::Const if node.ty.rank() == 0 => node.attrs.get_scalars("values").first().copied(),
        Op::Broadcast | Op::Reshape => uniform(b, node.args[0]),
        _ => None,
    }
}

/// The operand of `id`, if that is a node of this op.
fn operand(b: &Builder, id: NodeId, op: Op) -> Option<NodeId> {
    let node = &b.graph[id];
    (node.op == op).then(|| node.args[0])
}

#[cfg(test)]
mod tests;
