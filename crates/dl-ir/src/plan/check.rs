//! What every plan satisfies.

use super::memory::bytes;
use super::{Fused, Home, MemoryPlan, Slot};
use crate::graph::{Graph, NodeId};

/// Checks that every value is computed before it is read, that outputs are in memory and that no two values which are
/// alive at the same time overlap, unless the later one is written over the earlier by a group that may.
///
/// # Errors
/// Says what is wrong: a mistake of the passes, not of the user.
pub fn check(graph: &Graph, fused: &Fused, plan: &MemoryPlan) -> Result<(), String> {
    let mut written = vec![false; graph.nodes.len()];
    graph.inputs.iter().for_each(|i| written[i.node.index()] = true);
    for (at, group) in fused.groups.iter().enumerate() {
        for &input in &group.inputs {
            if !written[input.index()] {
                return Err(format!("group {at} reads %{} before it is written", input.0));
            }
        }
        for &output in &group.outputs {
            if fused.homes[output.index()] != Home::Stored(at as u32) {
                return Err(format!("group {at} stores %{}, which lives elsewhere", output.0));
            }
            written[output.index()] = true;
        }
        for &node in &group.nodes {
            for &arg in &graph[node].args {
                let loaded = fused.root(arg).is_some_and(|r| group.inputs.binary_search(&r).is_ok());
                if !loaded && group.nodes.binary_search(&arg).is_err() {
                    return Err(format!("group {at} computes %{} without its operand %{}", node.0, arg.0));
                }
            }
        }
    }
    for output in &graph.outputs {
        match fused.root(output.node) {
            Some(root) if written[root.index()] => {}
            _ => return Err(format!("output %{} is not in memory", output.node.0)),
        }
    }
    check_contents(graph, fused, plan)
}

/// Runs the plan on symbolic memory: after each store the bytes hold that node, and every read finds its node.
fn check_contents(graph: &Graph, fused: &Fused, plan: &MemoryPlan) -> Result<(), String> {
    // Non-overlapping pieces of memory: (region, start, end) holds a node. Region 0 is the arena, others are named by
    // the node which has memory of its own.
    let mut held: Vec<(u64, u64, u64, NodeId)> = vec![];
    let place = |node: NodeId| match plan.slots[node.index()] {
        Some(Slot::Input(own) | Slot::Result(own)) => Ok((u64::from(own.0) + 1, 0, bytes(graph, own))),
        Some(Slot::Arena { offset, .. }) => Ok((0, offset, offset + bytes(graph, node))),
        None => Err(format!("%{} has no slot", node.0)),
    };
    for input in &graph.inputs {
        let (region, start, end) = place(input.node)?;
        held.push((region, start, end, input.node));
    }
    let reads = |held: &[(u64, u64, u64, NodeId)], node: NodeId| {
        let (region, start, end) = place(node)?;
        match held.contains(&(region, start, end, node)) {
            true => Ok(()),
            false => Err(format!("%{} is overwritten before its last use", node.0)),
        }
    };
    for group in &fused.groups {
        group.inputs.iter().try_for_each(|&n| reads(&held, n))?;
        for &output in &group.outputs {
            let (region, start, end) = place(output)?;
            if region == 0 && end > plan.arena_bytes {
                return Err(format!("%{} ends behind the arena", output.0));
            }
            held.retain(|&(r, s, e, _)| r != region || e <= start || end <= s);
            held.push((region, start, end, output));
        }
        group.outputs.iter().try_for_each(|&n| reads(&held, n))?;
    }
    for root in graph.outputs.iter().filter_map(|o| fused.root(o.node)) {
        reads(&held, root)?;
    }
    Ok(())
}
