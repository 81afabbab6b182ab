//! From fused groups to kernels.
//!
//! [`group`] turns one group of a [`Fused`] graph into one or more kernels that run one after the other. All of them
//! are written through a [`Cx`](cx::Cx), whose [`value_at`](cx::Cx::value_at) gives the element of any node at affine
//! coordinates: loaded if the node is in memory, computed in place otherwise.

mod contract;
pub mod cx;
mod dead;
mod elementwise;
mod index;
mod indices;
mod inline;
mod map;
mod nest;
mod pool;
mod reduce;
mod row;
mod sort;

use std::fmt;

use dl_ir::plan::{Fused, GroupKind};
use dl_ir::{Graph, NodeId};

use crate::kernel::Kernel;

/// The kernels of one group, in the order in which they run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lowered {
    /// Each runs when the one before has finished all its parts.
    pub kernels: Vec<LoweredKernel>,
}

/// A kernel and what to pass to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoweredKernel {
    /// The kernel. The site of a [`Check`](crate::kernel::Stmt::Check) is the number of the node (a gather or
    /// scatter_add) whose index it checks.
    pub kernel: Kernel,
    /// What each buffer of the kernel is, in order.
    pub bufs: Vec<BufRef>,
}

/// What a buffer of a kernel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BufRef {
    /// The memory of a node that is an input or stored by a group.
    Node(NodeId),
    /// Memory of each thread, undefined when a part starts. Every mention is another piece.
    Scratch {
        /// Its size.
        bytes: u64,
    },
    /// Memory shared by the kernels of this group only: the same number is the same memory.
    Temp {
        /// Its number in the group.
        index: u32,
        /// Its size, in each mention the same.
        bytes: u64,
    },
}

/// A graph that cannot be lowered: symbols are left, or a pass put a node into a group where it has no meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowerError {
    /// The node.
    pub node: NodeId,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for LowerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot lower node %{}: {}", self.node.0, self.what)
    }
}

impl std::error::Error for LowerError {}

/// The kernels of the group of that number. Every dim of the graph is a number.
///
/// # Errors
/// If a node of the group is of a kind that cannot be computed there, which the fusion pass never lets happen.
pub fn group(graph: &Graph, fused: &Fused, index: usize) -> Result<Lowered, LowerError> {
    let kernels = match fused.groups[index].kind {
        GroupKind::Map => map::lower(graph, fused, index)?,
        GroupKind::Reduce => reduce::lower(graph, fused, index)?,
        GroupKind::Row => row::lower(graph, fused, index)?,
        GroupKind::Pool => pool::lower(graph, fused, index)?,
        GroupKind::Scatter => index::lower(graph, fused, index)?,
        GroupKind::Sort => sort::lower(graph, fused, index)?,
        GroupKind::Contract => contract::lower(graph, fused, index)?,
        // Its body has groups of its own.
        GroupKind::Loop => {
            let node = fused.groups[index].anchor.unwrap_or(NodeId(0));
            return Err(LowerError { node, what: "a loop has no kernel".to_string() });
        }
    };
    Ok(Lowered { kernels })
}
