//! From a bound graph to a plan: which nodes are computed together ([`fuse`]) and where their values lie ([`memory`]).
//!
//! Every dim of the graph must be a number, and every buffer is dense and row-major in its node's shape.

mod check;
mod coords;
mod fuse;
mod memory;
mod order;
mod rules;
mod show;
mod view;

use crate::graph::NodeId;

pub use check::check;
pub use fuse::fuse;
pub use memory::{MemoryPlan, Slot, memory};
pub use rules::{is_dear, is_one_hot, windows_tile};
pub use view::{View, reshape_blocks, view};

/// What kind of loops a group becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupKind {
    /// Each element of the outputs, all of one shape, by itself: elementwise chains, movement, sources, gathers.
    Map,
    /// One or more reductions of one domain over the same axes, with producers inlined and epilogues on the results.
    Reduce,
    /// Full-domain nodes and reductions over the trailing axes, row by row: softmax, layer norm, cross entropy.
    Row,
    /// A `dot` or convolution with an elementwise epilogue.
    Contract,
    /// A pooling or its adjoint with an elementwise epilogue.
    Pool,
    /// A `scatter_add`.
    Scatter,
    /// A `scan`: the groups of its body, again and again.
    Loop,
    /// An `arg_sort`.
    Sort,
}

/// Nodes that are computed by one pass over memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What kind of loops it becomes.
    pub kind: GroupKind,
    /// The contraction, pooling, scatter, sort or scan of the group; of a `Reduce` group its first reduction.
    pub anchor: Option<NodeId>,
    /// The nodes computed here, in topological order; those inlined into other groups too are among them.
    pub nodes: Vec<NodeId>,
    /// Those of `nodes` whose values are stored.
    pub outputs: Vec<NodeId>,
    /// What is loaded: inputs of the graph and outputs of earlier groups, in the order of the arena.
    pub inputs: Vec<NodeId>,
}

/// Where the value of a node comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// No output needs it.
    Dead,
    /// It is an input of the graph.
    Input,
    /// It is stored by the group of that number.
    Stored(u32),
    /// It is a reshape: the buffer of that node, which is an input or stored.
    Alias(NodeId),
    /// It is computed in each group that uses it.
    Inlined,
}

/// The groups of a graph, in the order in which they run, and where each node's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fused {
    /// The groups, each after those whose outputs it loads.
    pub groups: Vec<Group>,
    /// By node.
    pub homes: Vec<Home>,
}

impl Fused {
    /// The node whose buffer holds the value of `node`: itself, or what it is an alias of; `None` if it is not in
    /// memory.
    pub fn root(&self, node: NodeId) -> Option<NodeId> {
        match self.homes[node.index()] {
            Home::Input | Home::Stored(_) => Some(node),
            Home::Alias(of) => Some(of),
            Home::Dead | Home::Inlined => None,
        }
    }
}
