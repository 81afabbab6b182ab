//! At which coordinates of its operands a node reads, as far as fusion has to know.

use super::view::{reshape_blocks, sizes};
use crate::graph::{Graph, NodeId};
use crate::op::Op;

/// Where the coordinate on one axis of a node comes from, in the loops of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    /// The index of that axis of the group's domain.
    Domain(usize),
    /// Always 0: the axis has one element.
    Zero,
    /// Anything else.
    Other,
}

/// The coordinates of all axes.
pub(super) type Coords = Vec<Axis>;

/// The coordinates of a node whose axes are those of the domain.
pub(super) fn identity(shape: &[i64]) -> Coords {
    normal(shape, (0..shape.len()).map(Axis::Domain).collect())
}

/// Zero on axes of size 1.
fn normal(shape: &[i64], coords: Coords) -> Coords {
    shape.iter().zip(coords).map(|(&size, c)| if size == 1 { Axis::Zero } else { c }).collect()
}

/// The coordinates at which operand `arg` of `node` is read where the node is computed at `coords`.
pub(super) fn of_operand(graph: &Graph, node: NodeId, arg: usize, coords: &Coords) -> Coords {
    let n = &graph[node];
    let from = sizes(graph, n.args[arg]);
    let to = sizes(graph, node);
    let same = |axis: usize, matches: bool| if matches { coords[axis] } else { Axis::Other };
    let result = match (n.op, arg) {
        (Op::Transpose, _) => {
            let mut result = vec![Axis::Other; from.len()];
            for (axis, p) in n.attrs.get_axes("perm").into_iter().enumerate() {
                result[p] = coords[axis];
            }
            result
        }
        (Op::Broadcast, _) => coords[to.len() - from.len()..].to_vec(),
        (Op::Slice | Op::Pad, 0) => (0..from.len()).map(|a| same(a, from[a] == to[a])).collect(),
        (Op::Flip, _) => {
            let flipped = n.attrs.get_axes("axes");
            (0..from.len()).map(|a| same(a, !flipped.contains(&a))).collect()
        }
        (Op::Concat, _) => (0..from.len()).map(|a| same(a, a as i64 != n.attrs.get_int("axis"))).collect(),
        (Op::Gather, 0) => {
            (0..from.len()).map(|a| same(a, a as i64 != n.attrs.get_int("axis") && from[a] == to[a])).collect()
        }
        (Op::Reshape, _) => {
            let mut result = vec![Axis::Other; from.len()];
            for ((i0, i1), (j0, j1)) in reshape_blocks(&from, &to) {
                let long = |shape: &[i64], mut range: std::ops::Range<usize>| {
                    let first = range.find(|&a| shape[a] != 1);
                    first.filter(|_| range.all(|a| shape[a] == 1))
                };
                if let (Some(i), Some(j)) = (long(&from, i0..i1), long(&to, j0..j1)) {
                    result[i] = coords[j];
                }
            }
            result
        }
        _ if from.len() == to.len() => coords.clone(),
        _ => vec![Axis::Other; from.len()],
    };
    normal(&from, result)
}

/// What holds of both.
pub(super) fn merge(a: &mut Coords, b: &Coords) {
    for (a, b) in a.iter_mut().zip(b) {
        if a != b {
            *a = Axis::Other;
        }
    }
}
