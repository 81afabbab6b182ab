//! Where values lie: one arena, with offsets that are shared by values which are never alive together.

use std::collections::HashMap;

use super::coords::{Axis, Coords, identity, merge, of_operand};
use super::rules::checks_indices;
use super::view::sizes;
use super::{Fused, Group, GroupKind};
use crate::graph::{Graph, NodeId, Role};
use crate::scan::{Scan, as_result};

/// Every value starts at a multiple of so many bytes.
pub const ALIGN: u64 = 64;

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// In the storage of that input: the input itself, or the new value which is written over it.
    Input(NodeId),
    /// In memory of its own, which the caller gets: a result or gradient.
    Result(NodeId),
    /// In the arena.
    Arena {
        /// Bytes from its start.
        offset: u64,
        /// Size of the value.
        bytes: u64,
    },
}

/// Where every value lies, for a graph that has been fused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// By node: inputs and what groups store; `None` for aliases and for nodes that are not in memory.
    pub slots: Vec<Option<Slot>>,
    /// Updates to be copied when all groups have run: from the memory of a node to the storage of an input. All sources
    /// are read before any input is written that is a source as well.
    pub copies: Vec<(NodeId, NodeId)>,
    /// Size of the arena.
    pub arena_bytes: u64,
    /// The most bytes of the arena alive at once: no plan can do with less.
    pub peak_bytes: u64,
}

/// A value in the arena, alive from the first to the last group, both inclusive.
struct Life {
    node: NodeId,
    bytes: u64,
    first: usize,
    last: usize,
}

/// Plans the memory of a fused graph.
pub fn memory(graph: &Graph, fused: &Fused) -> MemoryPlan {
    let mut slots: Vec<Option<Slot>> = vec![None; graph.nodes.len()];
    for input in &graph.inputs {
        slots[input.node.index()] = Some(Slot::Input(input.node));
    }
    let copies = place_updates(graph, fused, &mut slots);
    for output in graph.outputs.iter().filter(|o| !matches!(o.role, Role::Update(_))) {
        if let Some(root) = fused.root(output.node) {
            slots[root.index()].get_or_insert(Slot::Result(root));
        }
    }
    let last_use = last_uses(graph, fused);
    let mut lives: Vec<Life> = vec![];
    // Which life a node shares, by node.
    let mut shares: Vec<Option<usize>> = vec![None; graph.nodes.len()];
    for (at, group) in fused.groups.iter().enumerate() {
        let mut taken = vec![];
        for &node in group.outputs.iter().filter(|n| slots[n.index()].is_none()) {
            let donor = group.inputs.iter().copied().find(|&input| {
                last_use[input.index()] == at
                    && shares[input.index()].is_some()
                    && !taken.contains(&input)
                    && may_overwrite(graph, fused, group, input, node)
            });
            let life = match donor.and_then(|d| shares[d.index()]) {
                Some(life) => {
                    taken.extend(donor);
                    lives[life].last = last_use[node.index()].max(at);
                    life
                }
                None => {
                    let last = last_use[node.index()].max(at);
                    lives.push(Life { node, bytes: bytes(graph, node), first: at, last });
                    lives.len() - 1
                }
            };
            shares[node.index()] = Some(life);
        }
    }
    let (offsets, arena_bytes) = best_fit(&lives);
    let peak = |at: usize| lives.iter().filter(|l| l.first <= at && at <= l.last).map(|l| aligned(l.bytes)).sum();
    let peak_bytes = (0..fused.groups.len()).map(peak).max().unwrap_or(0);
    for id in graph.ids() {
        if let Some(life) = shares[id.index()] {
            slots[id.index()] = Some(Slot::Arena { offset: offsets[life], bytes: lives[life].bytes });
        }
    }
    MemoryPlan { slots, copies, arena_bytes, peak_bytes }
}

/// The size of a node's value.
pub(super) fn bytes(graph: &Graph, node: NodeId) -> u64 {
    let elements: i64 = sizes(graph, node).iter().product();
    elements as u64 * graph.ty(node).dtype.size() as u64
}

/// Lets updates be written over what they replace where nobody reads that afterwards, and no index is checked afterwards,
/// which could still end the run; returns the other ones.
fn place_updates(graph: &Graph, fused: &Fused, slots: &mut [Option<Slot>]) -> Vec<(NodeId, NodeId)> {
    let mut copies = vec![];
    for output in &graph.outputs {
        let Role::Update(name) = &output.role else { continue };
        let (Some(input), Some(root)) = (graph.input(name).map(|i| i.node), fused.root(output.node)) else { continue };
        if root == input {
            continue;
        }
        let writer = fused.groups.iter().position(|g| g.outputs.contains(&output.node));
        let in_place = slots[output.node.index()].is_none()
            && writer.is_some_and(|at| {
                if fused.groups[at].kind == GroupKind::Loop {
                    return false;
                }
                let later = &fused.groups[at + 1..];
                let group = &fused.groups[at];
                let checks = |g: &Group| g.nodes.iter().any(|&n| checks_indices(graph, n));
                !later.iter().any(|g| g.inputs.contains(&input) || checks(g))
                    && !graph.outputs.iter().any(|o| fused.root(o.node) == Some(input))
                    && (!group.inputs.contains(&input) || may_overwrite(graph, fused, group, input, output.node))
            });
        if in_place {
            slots[output.node.index()] = Some(Slot::Input(input));
        } else {
            copies.push((root, input));
        }
    }
    copies
}

/// The last group that reads each node; for outputs a number behind all groups.
fn last_uses(graph: &Graph, fused: &Fused) -> Vec<usize> {
    let mut last = vec![0; graph.nodes.len()];
    for (at, group) in fused.groups.iter().enumerate() {
        group.inputs.iter().for_each(|n| last[n.index()] = at);
    }
    for root in graph.outputs.iter().filter_map(|o| fused.root(o.node)) {
        last[root.index()] = fused.groups.len();
    }
    last
}

/// Whether `output` can be written over `input`: each iteration of the group reads no other element of the input than
/// the one it then writes.
fn may_overwrite(graph: &Graph, fused: &Fused, group: &Group, input: NodeId, output: NodeId) -> bool {
    if group.kind == GroupKind::Loop {
        return carries_on(graph, fused, input, output);
    }
    group.kind == GroupKind::Map
        && group.anchor.is_none()
        && graph.ty(input).dtype.size() == graph.ty(output).dtype.size()
        && sizes(graph, input) == sizes(graph, output)
        && read_coords(graph, fused, group, input) == identity(&sizes(graph, input))
}

/// Whether `output` is what a loop carries, and `input` its initial value, which the loop reads nowhere else.
fn carries_on(graph: &Graph, fused: &Fused, input: NodeId, output: NodeId) -> bool {
    let Some((of, index)) = as_result(graph, output) else { return false };
    let reads: Vec<usize> =
        (0..graph[of].args.len()).filter(|&at| fused.root(graph[of].args[at]) == Some(input)).collect();
    reads == [index] && index < Scan::of(&graph[of].attrs).carries
}

/// At which coordinates of the loops of a map an input is read.
fn read_coords(graph: &Graph, fused: &Fused, group: &Group, input: NodeId) -> Coords {
    let mut coords: HashMap<NodeId, Coords> =
        group.outputs.iter().map(|&output| (output, identity(&sizes(graph, output)))).collect();
    for &node in group.nodes.iter().rev() {
        let Some(at) = coords.get(&node).cloned() else { continue };
        for (i, &arg) in graph[node].args.iter().enumerate() {
            let mut read = of_operand(graph, node, i, &at);
            if arg != input && fused.root(arg) == Some(input) {
                // Through an alias, whose shape is not that of the loops.
                coords.insert(input, vec![Axis::Other; sizes(graph, input).len()]);
                continue;
            }
            if let Some(before) = coords.remove(&arg) {
                merge(&mut read, &before);
            }
            coords.insert(arg, read);
        }
    }
    coords.remove(&input).unwrap_or_default()
}

fn aligned(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGN)
}

/// Offsets of all lives, and the size of the arena: the largest first, each in the tightest gap between those which are
/// alive at the same time.
fn best_fit(lives: &[Life]) -> (Vec<u64>, u64) {
    let mut order: Vec<usize> = (0..lives.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(lives[i].bytes), lives[i].first, lives[i].node));
    let mut offsets = vec![0; lives.len()];
    let mut placed: Vec<usize> = vec![];
    let mut total = 0;
    for i in order {
        let life = &lives[i];
        let meets = |o: &usize| lives[*o].first <= life.last && life.first <= lives[*o].last;
        let mut others: Vec<(u64, u64)> =
            placed.iter().copied().filter(meets).map(|o| (offsets[o], offsets[o] + aligned(lives[o].bytes))).collect();
        others.sort_unstable();
        let (mut end, mut best) = (0, None);
        for (start, stop) in others {
            if start >= end + aligned(life.bytes) && best.is_none_or(|(_, gap)| start - end < gap) {
                best = Some((end, start - end));
            }
            end = end.max(stop);
        }
        offsets[i] = best.map_or(end, |(offset, _)| offset);
        total = total.max(offsets[i] + aligned(life.bytes));
        placed.push(i);
    }
    (offsets, total)
}
