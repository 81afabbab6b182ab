//! In which order groups run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::graph::{Graph, NodeId, Role};

/// What the order depends on, for one group.
pub(super) struct Order {
    /// What the group stores.
    pub outputs: Vec<NodeId>,
    /// Numbers of groups that it loads from.
    pub after: Vec<usize>,
    /// Inputs of the graph that it loads.
    pub inputs: Vec<NodeId>,
    /// Whether it checks indices that are data.
    pub checks: bool,
}

/// An order in which every group comes after those it loads from and, where possible, a group that computes the new
/// value of an input after all other groups that read the old one, and after all that check indices: a wrong label is
/// found before anything is overwritten. Otherwise the order of the arena; updates run as
/// soon as they can, while what they read is in the cache.
pub(super) fn in_order(graph: &Graph, groups: &[Order]) -> Vec<usize> {
    let mut after: Vec<Vec<usize>> = groups.iter().map(|g| g.after.clone()).collect();
    for output in &graph.outputs {
        let Role::Update(name) = &output.role else { continue };
        let writer = groups.iter().position(|g| g.outputs.contains(&output.node));
        let (Some(writer), Some(input)) = (writer, graph.input(name)) else { continue };
        let first = |g: &usize| *g != writer && (groups[*g].checks || groups[*g].inputs.contains(&input.node));
        for earlier in (0..groups.len()).filter(first) {
            if !depends(&after, earlier, writer) {
                after[writer].push(earlier);
            }
        }
    }
    let is_update = |node: &NodeId| {
        let of = graph.outputs.iter().filter(|o| o.node == *node);
        of.clone().count() > 0 && of.into_iter().all(|o| matches!(o.role, Role::Update(_)))
    };
    let priority: Vec<(bool, Option<NodeId>)> =
        groups.iter().map(|g| (!g.outputs.iter().all(is_update), g.outputs.iter().min().copied())).collect();
    let mut before: Vec<Vec<usize>> = vec![vec![]; groups.len()];
    let mut waits: Vec<usize> = vec![0; groups.len()];
    for (group, after) in after.iter_mut().enumerate() {
        after.sort_unstable();
        after.dedup();
        waits[group] = after.len();
        after.iter().for_each(|&a| before[a].push(group));
    }
    let mut ready: BinaryHeap<_> =
        (0..groups.len()).filter(|&g| waits[g] == 0).map(|g| Reverse((priority[g], g))).collect();
    let mut order = vec![];
    while let Some(Reverse((_, group))) = ready.pop() {
        order.push(group);
        for &next in &before[group] {
            waits[next] -= 1;
            if waits[next] == 0 {
                ready.push(Reverse((priority[next], next)));
            }
        }
    }
    order
}

/// Whether `group` has to run after `on`.
fn depends(after: &[Vec<usize>], group: usize, on: usize) -> bool {
    let mut open = vec![group];
    let mut seen = vec![false; after.len()];
    while let Some(at) = open.pop() {
        if at == on {
            return true;
        }
        if !std::mem::replace(&mut seen[at], true) {
            open.extend(&after[at]);
        }
    }
    false
}
