//! Strided views: movement without a copy.

use super::Fused;
use crate::graph::{Graph, NodeId};
use crate::op::Op;

/// The value of a node as elements of a buffer: `buffer[offset + sum(strides[i] * index[i])]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The node whose buffer it is, an input or stored by a group.
    pub root: NodeId,
    /// The element at index 0, in elements.
    pub offset: i64,
    /// For each axis of the node the distance of neighbours, in elements; 0 where it repeats, negative where it is
    /// flipped.
    pub strides: Vec<i64>,
}

/// The value of `node` as a view of a buffer, if nothing but transposes, broadcasts, slices, flips and reshapes lie
/// between.
pub fn view(graph: &Graph, fused: &Fused, node: NodeId) -> Option<View> {
    view_from(graph, node, &|n| fused.root(n))
}

/// As [`view`], where `root` tells the buffer of nodes that are in memory.
pub(super) fn view_from(graph: &Graph, node: NodeId, root: &dyn Fn(NodeId) -> Option<NodeId>) -> Option<View> {
    let shape = sizes(graph, node);
    if let Some(root) = root(node) {
        return Some(View { root, offset: 0, strides: row_major(&shape) });
    }
    let n = &graph[node];
    let of = |arg: usize| view_from(graph, n.args[arg], root);
    match n.op {
        Op::Transpose => {
            let mut v = of(0)?;
            v.strides = n.attrs.get_axes("perm").iter().map(|&p| v.strides[p]).collect();
            Some(v)
        }
        Op::Broadcast => {
            let mut v = of(0)?;
            let from = sizes(graph, n.args[0]);
            let skip = shape.len() - from.len();
            let mut strides = vec![0; shape.len()];
            for (axis, &size) in from.iter().enumerate() {
                if size == shape[axis + skip] {
                    strides[axis + skip] = v.strides[axis];
                }
            }
            v.strides = strides;
            Some(v)
        }
        Op::Slice => {
            let mut v = of(0)?;
            let starts = n.attrs.get_dims("start").iter().map(|d| d.as_const().unwrap_or(0));
            for (axis, (start, &step)) in starts.zip(n.attrs.get_ints("step")).enumerate() {
                v.offset += start * v.strides[axis];
                v.strides[axis] *= step;
            }
            Some(v)
        }
        Op::Flip => {
            let mut v = of(0)?;
            for axis in n.attrs.get_axes("axes") {
                v.offset += (shape[axis] - 1) * v.strides[axis];
                v.strides[axis] = -v.strides[axis];
            }
            Some(v)
        }
        Op::Reshape => {
            let mut v = of(0)?;
            v.strides = reshape_strides(&sizes(graph, n.args[0]), &v.strides, &shape)?;
            Some(v)
        }
        Op::Detach => of(0),
        _ => None,
    }
}

/// The sizes of a node of a bound graph.
pub(super) fn sizes(graph: &Graph, node: NodeId) -> Vec<i64> {
    graph.ty(node).shape.iter().map(|d| d.as_const().unwrap_or(0)).collect()
}

/// Strides of a dense row-major buffer.
pub(super) fn row_major(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Splits two shapes of equally many elements into the finest ranges of axes that hold equally many elements:
/// `((first, last), (first, last))`, ends exclusive. Axes of size 1 may be in any range.
pub fn reshape_blocks(from: &[i64], to: &[i64]) -> Vec<((usize, usize), (usize, usize))> {
    let (mut i, mut j) = (0, 0);
    let mut blocks = vec![];
    while i < from.len() || j < to.len() {
        let (i0, j0) = (i, j);
        let (mut a, mut b) = (1, 1);
        loop {
            if a <= b && i < from.len() && (a < b || i == i0) {
                a *= from[i];
                i += 1;
            } else if j < to.len() && (b < a || j == j0) {
                b *= to[j];
                j += 1;
            } else {
                break;
            }
        }
        if a != b {
            return vec![((0, from.len()), (0, to.len()))];
        }
        blocks.push(((i0, i), (j0, j)));
    }
    blocks
}

/// The strides of a strided array in another shape, if it needs no copy.
fn reshape_strides(from: &[i64], strides: &[i64], to: &[i64]) -> Option<Vec<i64>> {
    let mut result = vec![0; to.len()];
    for ((i0, i1), (j0, j1)) in reshape_blocks(from, to) {
        // The axes of the source must be one axis in steps of the last stride.
        let mut step = None;
        let mut expected = 0;
        for axis in (i0..i1).rev().filter(|&axis| from[axis] != 1) {
            match step {
                None => step = Some(strides[axis]),
                Some(_) if strides[axis] != expected => return None,
                Some(_) => {}
            }
            expected = strides[axis] * from[axis];
        }
        let mut stride = step.unwrap_or(0);
        for axis in (j0..j1).rev() {
            result[axis] = stride;
            stride *= to[axis];
        }
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_split_into_blocks() {
        assert_eq!(reshape_blocks(&[2, 3, 4], &[6, 4]), [((0, 2), (0, 1)), ((2, 3), (1, 2))]);
        assert_eq!(reshape_blocks(&[4, 6], &[2, 2, 3, 2]), [((0, 1), (0, 2)), ((1, 2), (2, 4))]);
        assert_eq!(reshape_blocks(&[4, 6], &[6, 4]), [((0, 2), (0, 2))]);
        let covers = |from: &[i64], to: &[i64]| {
            let blocks = reshape_blocks(from, to);
            let last = blocks.last().copied().unwrap_or_default();
            assert_eq!((last.0.1, last.1.1), (from.len(), to.len()), "{blocks:?}");
            for ((i0, i1), (j0, j1)) in blocks {
                assert_eq!(from[i0..i1].iter().product::<i64>(), to[j0..j1].iter().product::<i64>());
            }
        };
        covers(&[3, 1], &[3]);
        covers(&[3], &[1, 3, 1]);
        covers(&[1, 1], &[]);
        covers(&[], &[1]);
        covers(&[1, 6, 1, 4], &[2, 3, 1, 1, 4, 1]);
    }

    #[test]
    fn reshapes_of_strided_arrays_need_no_copy_where_axes_chain() {
        // A transposed [4, 6] (strides 1, 4 of a [6, 4] buffer) cannot be flattened, but its axes can be split.
        assert_eq!(reshape_strides(&[4, 6], &[1, 4], &[24]), None);
        assert_eq!(reshape_strides(&[4, 6], &[1, 4], &[2, 2, 3, 2]), Some(vec![2, 1, 8, 4]));
        assert_eq!(reshape_strides(&[2, 1, 3], &[6, 99, 2], &[6]), Some(vec![2]));
        assert_eq!(reshape_strides(&[5, 3], &[0, 0], &[15]), Some(vec![0]));
    }
}
