//! Common subexpression elimination.
//!
//! Before: any valid graph. After: no two nodes compute the same thing, where `x + y` and `y + x` count as the same.
//! The first of equal nodes stays, with its place in the source.

use std::collections::HashMap;

use super::rewrite;
use crate::attrs::Attrs;
use crate::error::OpError;
use crate::graph::{Graph, NodeId};
use crate::op::Op;

/// Merges nodes that compute the same thing.
///
/// # Errors
/// None.
pub fn run(graph: &Graph) -> Result<Graph, OpError> {
    let mut known: HashMap<(Op, Vec<NodeId>, Attrs), NodeId> = HashMap::new();
    rewrite(graph, |b, _, node| {
        if node.op == Op::Input {
            return Ok(None);
        }
        let mut args = node.args.clone();
        if commutes(node.op) {
            args.sort_unstable();
        }
        let next = NodeId(b.graph.nodes.len() as u32);
        let first = *known.entry((node.op, args, node.attrs.clone())).or_insert(next);
        Ok((first != next).then_some(first))
    })
}

fn commutes(op: Op) -> bool {
    matches!(op, Op::Add | Op::Mul | Op::Max | Op::Min | Op::Eq | Op::Ne | Op::And | Op::Or)
}

#[cfg(test)]
mod tests {
    use super::super::after;

    #[test]
    fn equal_nodes_merge_and_others_do_not() {
        let text = "%0 = input arg \"x\" f32[2]\n%1 = input arg \"y\" f32[2]\n%2 = add %0 %1 @1\n%3 = add %1 %0 @2\n\
                    %4 = sub %0 %1\n%5 = sub %1 %0\n%6 = exp %2\n%7 = exp %3\n%8 = cast %6 dtype=f64\n\
                    %9 = cast %7 dtype=i64\nresult %4\nresult %5\nresult %7\nresult %8\nresult %9";
        assert_eq!(
            after(super::run, text),
            "%0 = input arg \"x\" f32[2]\n%1 = input arg \"y\" f32[2]\n%2 = add %0 %1 : f32[2] @1\n\
             %3 = sub %0 %1 : f32[2]\n%4 = sub %1 %0 : f32[2]\n%5 = exp %2 : f32[2]\n\
             %6 = cast %5 dtype=f64 : f64[2]\n%7 = cast %5 dtype=i64 : i64[2]\n\
             result %3\nresult %4\nresult %5\nresult %6\nresult %7\n"
        );
    }

    #[test]
    fn streams_of_random_numbers_stay_apart() {
        let text = "%0 = input key \"key\" i64[2]\n\
                    %1 = random %0 dist=uniform stream=0 dtype=f32 shape=[4]\n\
                    %2 = random %0 dist=uniform stream=1 dtype=f32 shape=[4]\n%3 = sub %1 %2\nresult %3";
        assert!(after(super::run, text).contains("sub %1 %2"));
    }
}
