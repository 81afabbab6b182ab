//! Plans as text, for explanations and dumps.

use std::fmt;

use super::{Fused, Group, GroupKind, MemoryPlan, Slot};
use crate::graph::{Graph, NodeId, Role};
use crate::op::Class;

impl GroupKind {
    /// The name in dumps and kernel names.
    pub fn name(self) -> &'static str {
        match self {
            GroupKind::Map => "map",
            GroupKind::Reduce => "reduce",
            GroupKind::Row => "row",
            GroupKind::Contract => "contract",
            GroupKind::Pool => "pool",
            GroupKind::Scatter => "scatter",
            GroupKind::Loop => "loop",
            GroupKind::Sort => "sort",
        }
    }
}

impl Group {
    /// The kind and the ops in short, for names of kernels and profiles: `contract.conv.add.max`.
    pub fn title(&self, graph: &Graph) -> String {
        let mut title = self.kind.name().to_string();
        let computes = |n: NodeId| !matches!(graph[n].op.class(), Class::Source | Class::Movement);
        let only_moves = !self.nodes.iter().any(|&n| computes(n));
        let shown = |n: &&NodeId| only_moves || computes(**n);
        let names = || self.nodes.iter().filter(shown).map(|&n| graph[n].op.name());
        for name in names().take(4) {
            title.push('.');
            title.push_str(name);
        }
        if let more @ 1.. = names().count().saturating_sub(4) {
            title.push_str(&format!(".{more}_more"));
        }
        title
    }
}

impl Fused {
    /// The groups as text, one a line: number, kind, what is loaded, computed and stored; with `plan`, where to.
    pub fn show(&self, graph: &Graph, plan: Option<&MemoryPlan>) -> String {
        Show { fused: self, graph, plan }.to_string()
    }
}

struct Show<'a> {
    fused: &'a Fused,
    graph: &'a Graph,
    plan: Option<&'a MemoryPlan>,
}

impl Show<'_> {
    fn name(&self, node: NodeId) -> String {
        match self.graph.inputs.iter().find(|i| i.node == node) {
            Some(input) => input.name.clone(),
            None => format!("%{}", node.0),
        }
    }

    fn stored(&self, node: NodeId) -> String {
        let mut text = format!("%{}: {}", node.0, self.graph.ty(node));
        for output in self.graph.outputs.iter().filter(|o| o.node == node) {
            text.push_str(&match &output.role {
                Role::Result => " (result)".to_string(),
                Role::Grad(name) => format!(" (gradient of {name})"),
                Role::Update(name) => format!(" (new {name})"),
            });
        }
        match self.plan.and_then(|p| p.slots[node.index()]) {
            Some(Slot::Input(input)) => text.push_str(&format!(" over {}", self.name(input))),
            Some(Slot::Result(_)) => text.push_str(" returned"),
            Some(Slot::Arena { offset, .. }) => text.push_str(&format!(" @{offset}")),
            None => {}
        }
        text
    }
}

impl fmt::Display for Show<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, group) in self.fused.groups.iter().enumerate() {
            let inputs: Vec<String> = group.inputs.iter().map(|&n| self.name(n)).collect();
            let outputs: Vec<String> = group.outputs.iter().map(|&n| self.stored(n)).collect();
            let ops: Vec<&str> = group.nodes.iter().map(|&n| self.graph[n].op.name()).collect();
            let kind = group.kind.name();
            writeln!(f, "{at}: {kind}({}) {{{}}} -> {}", inputs.join(", "), ops.join(" "), outputs.join(", "))?;
        }
        if let Some(plan) = self.plan {
            for &(from, to) in &plan.copies {
                writeln!(f, "copy {} to {}", self.name(from), self.name(to))?;
            }
            writeln!(f, "arena {} bytes, at most {} alive", plan.arena_bytes, plan.peak_bytes)?;
        }
        Ok(())
    }
}
