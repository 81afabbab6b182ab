//! Pulling transposes through elementwise ops.
//!
//! Before: a valid graph without chains of transposes. After: where something elementwise is computed from transposed
//! values and then transposed back, as an optimizer's step from a stored parameter and its gradient, it is computed from
//! the values as they lie. Elements are the same bits. `algebra` comes after it, for other values from which that is
//! computed are transposed now.

use std::collections::{HashMap, HashSet};

use super::layout::arranged;
use super::{dce, rewrite};
use crate::build::{Builder, Built};
use crate::error::OpError;
use crate::graph::{Graph, NodeId};
use crate::op::{Class, Op};

/// Pulls transposes towards the inputs where they meet their inverse.
///
/// # Errors
/// None.
pub fn run(graph: &Graph) -> Result<Graph, OpError> {
    // Of each pair of node and permutation the node that computes it so.
    let mut known: HashMap<(NodeId, Vec<usize>), NodeId> = HashMap::new();
    let pulled = rewrite(graph, |b, _, node| {
        if node.op != Op::Transpose {
            return Ok(None);
        }
        let (x, perm) = (node.args[0], node.attrs.get_axes("perm"));
        match meets_inverse(&b.graph, x, &perm) {
            true => transposed(b, &mut known, x, &perm).map(Some),
            false => Ok(None),
        }
    })?;
    dce::run(&pulled)
}

/// Whether one of the values from which `x` is computed elementwise is a transpose that `perm` undoes.
fn meets_inverse(graph: &Graph, x: NodeId, perm: &[usize]) -> bool {
    let mut open = vec![x];
    let mut seen = HashSet::new();
    while let Some(at) = open.pop() {
        let node = &graph[at];
        match node.op {
            Op::Transpose if undoes(perm, &node.attrs.get_axes("perm")) => return true,
            op if op.class() == Class::Elementwise && seen.insert(at) => open.extend(&node.args),
            _ => {}
        }
    }
    false
}

fn undoes(outer: &[usize], inner: &[usize]) -> bool {
    outer.iter().map(|&axis| inner[axis]).eq(0..outer.len())
}

/// `x` transposed, computed from transposed operands.
fn transposed(b: &mut Builder, known: &mut HashMap<(NodeId, Vec<usize>), NodeId>, x: NodeId, perm: &[usize]) -> Built {
    let key = (x, perm.to_vec());
    if let Some(&known) = known.get(&key) {
        return Ok(known);
    }
    let node = b.graph[x].clone();
    b.loc = node.loc;
    let shape: Vec<_> = perm.iter().map(|&axis| node.ty.shape[axis].clone()).collect();
    let result = match node.op {
        Op::Transpose => {
            let inner = node.attrs.get_axes("perm");
            let both: Vec<usize> = perm.iter().map(|&axis| inner[axis]).collect();
            arranged(b, node.args[0], &both)?
        }
        Op::Broadcast if b.shape(node.args[0]).iter().all(|size| size.is(1)) => {
            let scalar = b.reshape(node.args[0], &[])?;
            b.broadcast(scalar, &shape)?
        }
        op if op.class() == Class::Elementwise => {
            let args = node.args.iter().map(|&arg| transposed(b, known, arg, perm)).collect::<Result<Vec<_>, _>>()?;
            b.push(op, &args, node.attrs)?
        }
        _ => arranged(b, x, perm)?,
    };
    known.insert(key, result);
    Ok(result)
}
