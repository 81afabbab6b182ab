//! Loops: a graph that runs once for each slice of tensors, and hands values from one iteration to the next.
//!
//! A `scan` node has as operands the initial values of what is *carried*, the tensors that are cut into *slices* along
//! their first axis, and the *constants*, which every iteration reads whole. Its body is a graph with an input for each of
//! them, in that order: `carry.0`, …, `slice.0`, …, `const.0`, …. The body's outputs are an update of each carry, and
//! results; those of all iterations are joined along a new first axis, each at the place of the slice it was made from. As
//! it has several results, the node itself is only a token: `scan_result` nodes take them from it, the carried values
//! after the last iteration first.
//!
//! The size of a program does not depend on the number of iterations. [`Builder::scan`](crate::Builder::scan) makes loops
//! from a closure; its gradient is a loop in the other direction.

mod build;
mod grad;

pub(crate) use build::inputs_first;
pub use build::{Open, Scanned};
pub(crate) use grad::{flows, gradient};

use crate::attrs::Attrs;
use crate::dim::Dim;
use crate::graph::{Graph, InputKind, NodeId};
use crate::op::Op;
use crate::types::Type;

/// The attributes of a loop but for its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// How many values are carried: the first operands.
    pub carries: usize,
    /// How many tensors are cut into slices: the next operands. The rest are constants.
    pub slices: usize,
    /// Whether the last slice is the first to be used.
    pub reverse: bool,
    /// Whether its gradient computes the values of an iteration again, from what that carried in, rather than keeping them.
    pub recompute: bool,
    /// The number of iterations.
    pub length: Dim,
}

/// Names and kinds of the body's inputs: carries, slices, constants.
pub const PORTS: [(&str, InputKind); 3] =
    [("carry", InputKind::State), ("slice", InputKind::Arg), ("const", InputKind::Fixed)];

/// The name of the body's input for operand `at`.
pub fn port(scan: &Scan, at: usize) -> String {
    let first = [0, scan.carries, scan.carries + scan.slices];
    let kind = scan.port(at);
    format!("{}.{}", PORTS[kind].0, at - first[kind])
}

impl Scan {
    /// The loop with these attributes.
    pub fn of(attrs: &Attrs) -> Scan {
        Scan {
            carries: attrs.get_int("carries").max(0) as usize,
            slices: attrs.get_int("slices").max(0) as usize,
            reverse: attrs.get_int("reverse") != 0,
            recompute: attrs.get_int("recompute") != 0,
            length: attrs.get_dims("length").first().cloned().unwrap_or(Dim::ONE),
        }
    }

    /// The attributes of a loop with that body.
    pub fn attrs(&self, body: Graph) -> Attrs {
        Attrs::new()
            .int("carries", self.carries as i64)
            .int("slices", self.slices as i64)
            .int("reverse", i64::from(self.reverse))
            .int("recompute", i64::from(self.recompute))
            .dims("length", vec![self.length.clone()])
            .graph("body", body)
    }

    /// Which of [`PORTS`] operand `at` is.
    pub fn port(&self, at: usize) -> usize {
        usize::from(at >= self.carries) + usize::from(at >= self.carries + self.slices)
    }

    /// Whether operand `at` is cut into slices.
    pub fn is_slice(&self, at: usize) -> bool {
        self.port(at) == 1
    }

    /// The type of result `index` of a loop with that body.
    pub fn result(&self, body: &Graph, index: usize) -> Option<Type> {
        let ty = body.ty(body.outputs.get(index)?.node);
        if index < self.carries {
            return Some(ty.clone());
        }
        let shape = std::iter::once(&self.length).chain(&ty.shape).cloned().collect();
        Some(Type { dtype: ty.dtype, shape })
    }
}

/// The most loops within each other.
pub const DEPTH: usize = 3;

/// How many loops are within each other in a graph of these nodes.
pub(crate) fn depth(nodes: &[crate::graph::Node]) -> usize {
    let bodies = nodes.iter().filter_map(|node| node.attrs.get_graph("body"));
    bodies.map(|body| 1 + depth(&body.nodes)).max().unwrap_or(0)
}

/// Values of all iterations together are kept at once only if they take no more bytes than this (256 MiB): a loop may have
/// been written to save memory.
const MOST_AT_ONCE: u64 = 1 << 28;

/// Whether the values of that type of all iterations may be kept at once; where sizes are symbols, they may.
pub(crate) fn fits_at_once(length: &Dim, ty: &Type) -> bool {
    let sizes = ty.shape.iter().chain([length]).map(|size| size.as_const().and_then(|n| u64::try_from(n).ok()));
    let bytes =
        sizes.chain([Some(ty.dtype.size() as u64)]).try_fold(1u64, |product, size| Some(product.saturating_mul(size?)));
    bytes.is_none_or(|bytes| bytes <= MOST_AT_ONCE)
}

/// The attributes of the node that takes a result of that type.
pub fn result_attrs(index: usize, ty: &Type) -> Attrs {
    Attrs::new().int("index", index as i64).dtype("dtype", ty.dtype).dims("shape", ty.shape.clone())
}

/// Whether `node` takes a result of a loop, and of which and which.
pub fn as_result(graph: &Graph, node: NodeId) -> Option<(NodeId, usize)> {
    let n = &graph[node];
    (n.op == Op::ScanResult).then(|| (n.args[0], n.attrs.get_int("index").max(0) as usize))
}
