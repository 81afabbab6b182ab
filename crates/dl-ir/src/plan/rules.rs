//! What fusion may do with single nodes.

use super::view::sizes;
use crate::graph::{Graph, NodeId};
use crate::op::{Class, Op};

/// A constant list of more elements is stored rather than selected from.
const LONGEST_INLINE_LIST: i64 = 8;

/// The longest row, in elements, that a row group keeps in its scratch memory.
const LONGEST_ROW: i64 = 16 * 1024;
/// A domain with fewer rows than that is worth one pass for each phase over all threads, unless it is small.
const FEWEST_ROWS: i64 = 8;
const SMALL_DOMAIN: i64 = 32 * 1024;

/// An operand with so many times fewer elements than the result is small beside it.
const SMALL_SHARE: i64 = 8;

/// How a node can be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// An input.
    Input,
    /// Costs next to nothing and reads nothing: computed wherever it is used.
    Free,
    /// Only another way to address its operand.
    View,
    /// Movement that costs a comparison or an index for each element.
    Moved,
    /// Elementwise, a few instructions.
    Cheap,
    /// A polynomial or a generator: never computed twice.
    Dear,
    /// Folds axes.
    Reduce,
    /// The anchor of a group of its own kind.
    Anchor,
}

pub(super) fn nature(graph: &Graph, node: NodeId) -> Nature {
    let n = &graph[node];
    match n.op {
        Op::Input => Nature::Input,
        Op::Const if numel(graph, node) > LONGEST_INLINE_LIST => Nature::Anchor,
        Op::Const | Op::Iota | Op::DimValue => Nature::Free,
        Op::Random => Nature::Dear,
        Op::Reshape | Op::Transpose | Op::Broadcast | Op::Slice | Op::Flip | Op::Detach => Nature::View,
        Op::Pad | Op::Concat | Op::Gather => Nature::Moved,
        Op::ScatterAdd if is_one_hot(graph, node) => Nature::Moved,
        Op::Rsqrt
        | Op::Exp
        | Op::Expm1
        | Op::Log
        | Op::Log1p
        | Op::Sin
        | Op::Cos
        | Op::Tanh
        | Op::Sigmoid
        | Op::Erf => Nature::Dear,
        Op::Rem | Op::Pow | Op::Atan2 => Nature::Dear,
        _ => match n.op.class() {
            Class::Elementwise => Nature::Cheap,
            Class::Reduce => Nature::Reduce,
            _ => Nature::Anchor,
        },
    }
}

/// Whether a `scatter_add` adds at exactly one place along its axis for each place on the others, so that it can be
/// computed element by element: a comparison with the index.
pub fn is_one_hot(graph: &Graph, node: NodeId) -> bool {
    let n = &graph[node];
    if n.op != Op::ScatterAdd {
        return false;
    }
    let axis = n.attrs.get_int("axis") as usize;
    let (x, index) = (sizes(graph, node), sizes(graph, n.args[1]));
    (0..x.len()).all(|a| index[a] == if a == axis { 1 } else { x[a] })
}

/// Whether the value of a node is computed with a check that indices, which are data, are in range.
pub(super) fn checks_indices(graph: &Graph, node: NodeId) -> bool {
    let body = graph[node].attrs.get_graph("body");
    let within = body.is_some_and(|body| body.ids().any(|inner| checks_indices(body, inner)));
    within || (graph[node].op.class() == Class::Index && !is_one_hot(graph, node))
}

/// Whether the windows of a pooling lie side by side without gaps, so that its adjoint writes each element once.
pub fn windows_tile(graph: &Graph, node: NodeId) -> bool {
    let attrs = &graph[node].attrs;
    let ints = |name| attrs.get_ints(name).iter().copied();
    ints("kernel").zip(ints("stride")).all(|(k, s)| k == s)
        && ints("dilation").all(|d| d == 1)
        && ints("lo").chain(ints("hi")).all(|p| p == 0)
}

/// Whether an element costs much more than the memory traffic to keep it.
pub fn is_dear(graph: &Graph, node: NodeId) -> bool {
    nature(graph, node) == Nature::Dear
}

/// Whether computing an elementwise node takes no more from memory than loading it, though several groups compute it:
/// its operands are there anyway, or all are small beside it but one, which is then stored for these groups.
pub(super) fn reads_as_much(graph: &Graph, node: NodeId, forced: impl Fn(NodeId) -> bool) -> bool {
    let in_memory = |arg: NodeId| matches!(nature(graph, arg), Nature::Input | Nature::Free) || forced(arg);
    let small = |arg: NodeId| {
        let mut base = arg;
        while nature(graph, base) == Nature::View {
            base = graph[base].args[0];
        }
        numel(graph, base) * SMALL_SHARE <= numel(graph, node)
    };
    let mut others: Vec<NodeId> = graph[node].args.clone();
    others.retain(|&arg| !in_memory(arg) && !small(arg));
    others.dedup();
    match others[..] {
        [] => true,
        [one] => nature(graph, one) == Nature::Anchor && graph.ty(one).dtype.size() <= graph.ty(node).dtype.size(),
        _ => false,
    }
}

pub(super) fn numel(graph: &Graph, node: NodeId) -> i64 {
    sizes(graph, node).iter().product()
}

/// Whether a reduction can go row by row: over trailing axes, of rows that fit into scratch memory, and enough of them.
pub(super) fn is_by_row(domain: &[i64], reduced: &[usize]) -> bool {
    let trailing = reduced.iter().rev().enumerate().all(|(i, &a)| a + 1 + i == domain.len());
    let row: i64 = reduced.iter().map(|&a| domain[a]).product();
    let all: i64 = domain.iter().product();
    trailing && row <= LONGEST_ROW && (all / row.max(1) >= FEWEST_ROWS || all <= SMALL_DOMAIN)
}

/// The axes that a reduction folds, ascending.
pub(super) fn reduced_axes(graph: &Graph, node: NodeId) -> Vec<usize> {
    let attrs = &graph[node].attrs;
    let mut axes =
        if graph[node].op == Op::ArgMax { vec![attrs.get_int("axis") as usize] } else { attrs.get_axes("axes") };
    axes.sort_unstable();
    axes
}
