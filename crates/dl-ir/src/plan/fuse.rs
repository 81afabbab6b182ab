//! Which nodes are computed together.
//!
//! Nodes are visited from the outputs to the inputs, so that all users of a node are known when its turn comes. A node
//! whose users are all in one group is computed in that group if that repeats no work; what several groups need is
//! stored by one of them, where it can be, or by a group of its own. Contractions, poolings and reductions become the
//! anchor of the group that uses their result at the same index, whose nodes are then their epilogue.

use super::coords::{Axis, Coords, identity, merge, of_operand};
use super::order::{Order, in_order};
use super::rules::{Nature, checks_indices, is_by_row, nature, numel, reads_as_much, reduced_axes, windows_tile};
use super::view::{sizes, view_from};
use super::{Fused, Group, GroupKind, Home};
use crate::graph::{Graph, NodeId, Role};
use crate::op::{Class, Op};
use crate::scan::as_result;

/// An epilogue may store and load so many tensors besides the anchor's own.
const MOST_EPILOGUE_OUTPUTS: usize = 3;

/// Partitions a bound graph into groups.
pub fn fuse(graph: &Graph) -> Fused {
    let mut fuser = Fuser::new(graph);
    let live = graph.live();
    for id in graph.ids().rev().filter(|id| live[id.index()]) {
        fuser.visit(id);
    }
    fuser.finish(&live)
}

/// A group while it grows.
struct Draft {
    kind: GroupKind,
    anchor: Option<NodeId>,
    /// The shape of the loops: of the outputs, or of what is reduced.
    domain: Vec<i64>,
    /// The reduced axes of the domain.
    reduced: Vec<usize>,
    nodes: Vec<NodeId>,
    outputs: Vec<NodeId>,
    /// Groups that load what this one stores.
    successors: Vec<usize>,
}

/// A group that reads a node.
#[derive(Clone)]
struct Use {
    group: usize,
    coords: Coords,
    /// As the operand of a contraction, pooling or sort, which must be in memory.
    operand: bool,
}

struct Fuser<'g> {
    graph: &'g Graph,
    drafts: Vec<Draft>,
    uses: Vec<Vec<Use>>,
    /// Nodes that must be in memory: outputs and what contractions, poolings and sorts read.
    forced: Vec<bool>,
    updates: Vec<bool>,
    stored: Vec<Option<usize>>,
}

impl<'g> Fuser<'g> {
    fn new(graph: &'g Graph) -> Fuser<'g> {
        let count = graph.nodes.len();
        let mut fuser = Fuser {
            graph,
            drafts: vec![],
            uses: vec![vec![]; count],
            forced: vec![false; count],
            updates: vec![false; count],
            stored: vec![None; count],
        };
        for output in &graph.outputs {
            fuser.force(output.node);
            fuser.updates[output.node.index()] |= matches!(output.role, Role::Update(_));
        }
        for id in graph.ids() {
            match graph[id].op.class() {
                Class::Contract | Class::Window => graph[id].args.iter().for_each(|&arg| fuser.force_base(arg)),
                // Rows are sorted where they lie, one element beside the other.
                Class::Sort => fuser.force(graph[id].args[0]),
                // The body of a loop reads its operands as they are declared.
                Class::Loop if graph[id].op == Op::Scan => graph[id].args.iter().for_each(|&arg| fuser.force(arg)),
                _ => {}
            }
        }
        fuser
    }

    /// Demands that a node be in memory; a reshape is there if its operand is.
    fn force(&mut self, node: NodeId) {
        self.forced[node.index()] = true;
        if self.graph[node].op == Op::Reshape {
            self.force(self.graph[node].args[0]);
        }
    }

    /// Demands the node nearest to the inputs of which `operand` is a strided view.
    fn force_base(&mut self, operand: NodeId) {
        let (mut base, mut at) = (operand, operand);
        while nature(self.graph, at) == Nature::View {
            at = self.graph[at].args[0];
            if view_from(self.graph, operand, &|n| (n == at).then_some(n)).is_some() {
                base = at;
            }
        }
        self.force(base);
    }

    fn visit(&mut self, node: NodeId) {
        let nature = nature(self.graph, node);
        let uses = self.uses[node.index()].clone();
        match nature {
            Nature::Input => {}
            _ if self.graph[node].op.class() == Class::Loop => self.of_loop(node, &uses),
            Nature::Free | Nature::View if !self.must_store(node) => self.inline(node, &uses),
            Nature::Reduce => self.reduce(node, &uses),
            Nature::Anchor => self.anchor(node, &uses),
            _ if !self.must_store(node) && self.inlines_everywhere(node, nature, &uses) => self.inline(node, &uses),
            _ => self.store(node, nature, &uses),
        }
    }

    /// Whether the node itself has to be stored; a reshape never, as its operand is.
    fn must_store(&self, node: NodeId) -> bool {
        self.forced[node.index()] && self.graph[node].op != Op::Reshape
    }

    fn inlines_everywhere(&self, node: NodeId, nature: Nature, uses: &[Use]) -> bool {
        if !uses.iter().all(|u| self.can_inline(node, nature, u)) {
            return false;
        }
        let free_twice = nature == Nature::Cheap && reads_as_much(self.graph, node, |arg| self.forced[arg.index()]);
        uses.len() <= 1 || free_twice || (numel(self.graph, node) == 1 && nature != Nature::Moved)
    }

    /// Whether computing the node in a group that uses it repeats no dear work.
    fn can_inline(&self, node: NodeId, nature: Nature, u: &Use) -> bool {
        if u.operand {
            return false;
        }
        nature != Nature::Dear || !self.repeats(node, u)
    }

    /// Whether the loops of the group compute an element of the node more than once. What depends on the outer loops only
    /// is computed outside the inner ones, and in row groups what depends on the row only once a row.
    fn repeats(&self, node: NodeId, u: &Use) -> bool {
        let draft = &self.drafts[u.group];
        let mut used: Vec<usize> = vec![];
        for axis in &u.coords {
            match axis {
                Axis::Other => return true,
                Axis::Domain(a) => used.push(*a),
                Axis::Zero => {}
            }
        }
        let of_row = !draft.reduced.is_empty() && !used.iter().any(|a| draft.reduced.contains(a));
        let looped = |a: &usize| match of_row {
            true => !draft.reduced.contains(a),
            false => used.iter().any(|u| a <= u),
        };
        let looped: i64 = (0..draft.domain.len()).filter(looped).map(|a| draft.domain[a]).product();
        numel(self.graph, node) > 1 && numel(self.graph, node) < looped
    }

    /// Computes the node in every group that uses it.
    fn inline(&mut self, node: NodeId, uses: &[Use]) {
        for u in uses {
            self.compute(node, u.group, &u.coords, u.operand);
        }
    }

    /// Adds the node to a group, at these coordinates of its domain.
    fn compute(&mut self, node: NodeId, group: usize, coords: &Coords, operand: bool) {
        self.drafts[group].nodes.push(node);
        for arg in 0..self.graph[node].args.len() {
            let coords = of_operand(self.graph, node, arg, coords);
            self.note_use(self.graph[node].args[arg], Use { group, coords, operand });
        }
    }

    fn note_use(&mut self, node: NodeId, new: Use) {
        let uses = &mut self.uses[node.index()];
        match uses.iter_mut().find(|u| u.group == new.group) {
            Some(u) => {
                merge(&mut u.coords, &new.coords);
                u.operand |= new.operand;
            }
            None => uses.push(new),
        }
    }

    /// Stores an elementwise or movement node: in a group that uses it at the same index, or in a new one.
    fn store(&mut self, node: NodeId, nature: Nature, uses: &[Use]) {
        let shape = sizes(self.graph, node);
        let here = identity(&shape);
        let host = uses.iter().find(|u| {
            let draft = &self.drafts[u.group];
            let by_element = match draft.kind {
                GroupKind::Map | GroupKind::Row => true,
                // Then a row group: what is reduced is stored on the way.
                GroupKind::Reduce => is_by_row(&draft.domain, &draft.reduced) && !self.finds_index(draft),
                _ => false,
            };
            by_element
                && draft.domain == shape
                && u.coords == here
                && self.can_inline(node, nature, u)
                && self.can_precede(u.group, uses)
        });
        let group = match host {
            Some(u) => u.group,
            None => self.open(GroupKind::Map, shape),
        };
        if self.drafts[group].kind == GroupKind::Reduce {
            self.drafts[group].kind = GroupKind::Row;
        }
        self.compute(node, group, &here, false);
        self.output(node, group, uses);
    }

    /// A loop, whose results are visited before it.
    fn of_loop(&mut self, node: NodeId, uses: &[Use]) {
        let anchor = as_result(self.graph, node).map_or(node, |(of, _)| of);
        let found = self.drafts.iter().position(|draft| draft.anchor == Some(anchor));
        let group = found.unwrap_or_else(|| self.open(GroupKind::Loop, vec![]));
        self.drafts[group].anchor = Some(anchor);
        self.drafts[group].nodes.push(node);
        if anchor != node {
            return self.output(node, group, uses);
        }
        for &arg in &self.graph[node].args {
            let coords = vec![Axis::Other; self.graph.ty(arg).rank()];
            self.note_use(arg, Use { group, coords, operand: true });
        }
    }

    fn anchor(&mut self, node: NodeId, uses: &[Use]) {
        let op = self.graph[node].op;
        let shape = sizes(self.graph, node);
        let kind = match op.class() {
            Class::Contract => GroupKind::Contract,
            Class::Window => GroupKind::Pool,
            Class::Source => GroupKind::Map,
            Class::Sort => GroupKind::Sort,
            _ => GroupKind::Scatter,
        };
        let adjoint = matches!(op, Op::MaxPoolGrad | Op::SumPoolGrad);
        let takes_epilogue = match kind {
            GroupKind::Contract => true,
            GroupKind::Pool => !adjoint || windows_tile(self.graph, node),
            _ => false,
        };
        let host =
            uses.iter().find(|u| takes_epilogue && self.is_epilogue(u, &shape) && self.can_precede(u.group, uses));
        let group = match host {
            Some(u) => u.group,
            None => self.open(kind, shape.clone()),
        };
        let alone = host.is_none() || uses.len() > 1 || self.must_store(node);
        let draft = &mut self.drafts[group];
        (draft.kind, draft.anchor) = (kind, Some(node));
        draft.nodes.push(node);
        let must_be_in_memory = matches!(kind, GroupKind::Contract | GroupKind::Pool | GroupKind::Sort);
        for &arg in &self.graph[node].args {
            let coords = vec![Axis::Other; self.graph.ty(arg).rank()];
            self.note_use(arg, Use { group, coords, operand: must_be_in_memory });
        }
        if alone {
            self.output(node, group, uses);
        }
    }

    /// Whether the group of a use can become the epilogue of a node of that shape.
    fn is_epilogue(&self, u: &Use, shape: &[i64]) -> bool {
        let draft = &self.drafts[u.group];
        draft.kind == GroupKind::Map
            && draft.anchor.is_none()
            && draft.domain == shape
            && u.coords == identity(shape)
            && draft.outputs.len() <= MOST_EPILOGUE_OUTPUTS
            // Updates stay elementwise, so that they can be written over what they replace.
            && !draft.outputs.iter().any(|o| self.updates[o.index()])
    }

    fn reduce(&mut self, node: NodeId, uses: &[Use]) {
        let operand = self.graph[node].args[0];
        let domain = sizes(self.graph, operand);
        let reduced = reduced_axes(self.graph, node);
        let kept: Vec<usize> = (0..domain.len()).filter(|a| !reduced.contains(a)).collect();
        let shape = sizes(self.graph, node);
        // Its own coordinates in loops over the domain.
        let here: Coords = kept.iter().map(|&a| if domain[a] == 1 { Axis::Zero } else { Axis::Domain(a) }).collect();
        let single = self.graph[node].op == Op::ArgMax;
        let host = uses.iter().find(|u| {
            !single && self.takes_reduction(node, u, &domain, &reduced, &here) && self.can_precede(u.group, uses)
        });
        let epilogue = || uses.iter().find(|u| self.is_epilogue(u, &shape) && self.can_precede(u.group, uses));
        let within = host.map(|u| u.group);
        let (group, hosted) = match (within, epilogue().map(|u| u.group)) {
            (Some(group), _) => (group, true),
            (None, Some(group)) => {
                self.widen(group, &domain, &kept);
                (group, true)
            }
            (None, None) => match self.sibling(node, &domain, &reduced, uses).filter(|_| !single) {
                Some(group) => (group, false),
                None => (self.open(GroupKind::Reduce, domain.clone()), false),
            },
        };
        // An epilogue has the index of the result, even where that is of the domain's shape as all that is folded is one.
        let feeds_domain = within.is_some() && self.feeds_domain(group, node);
        let draft = &mut self.drafts[group];
        draft.reduced = reduced;
        draft.anchor.get_or_insert(node);
        if draft.kind == GroupKind::Map || feeds_domain {
            draft.kind = GroupKind::Row;
        }
        draft.nodes.push(node);
        self.note_use(operand, Use { group, coords: identity(&domain), operand: false });
        if !hosted || uses.len() > 1 || self.must_store(node) {
            self.output(node, group, uses);
        }
    }

    /// Whether the result of a reduction is used in its group at full-domain index, so that it takes two passes over a
    /// row: wherever a node of the whole domain is computed from it.
    fn feeds_domain(&self, group: usize, node: NodeId) -> bool {
        let draft = &self.drafts[group];
        let mut tainted = vec![node];
        let mut nodes = draft.nodes.clone();
        nodes.sort_unstable();
        for &n in &nodes {
            if self.graph[n].args.iter().any(|a| tainted.contains(a)) {
                if sizes(self.graph, n) == draft.domain || nature(self.graph, n) == Nature::Reduce {
                    return true;
                }
                tainted.push(n);
            }
        }
        false
    }

    /// Whether the group of a use can compute a reduction of `domain` over `reduced` whose result it uses row by row.
    fn takes_reduction(&self, node: NodeId, u: &Use, domain: &[i64], reduced: &[usize], here: &Coords) -> bool {
        let draft = &self.drafts[u.group];
        let same = draft.reduced == reduced || (draft.kind == GroupKind::Map && draft.anchor.is_none());
        matches!(draft.kind, GroupKind::Map | GroupKind::Reduce | GroupKind::Row)
            && draft.domain == domain
            && same
            && u.coords == *here
            && (is_by_row(domain, reduced) || draft.kind == GroupKind::Reduce && !self.feeds_domain(u.group, node))
            && !self.finds_index(draft)
            && !draft.outputs.iter().any(|o| self.updates[o.index()] && sizes(self.graph, *o) == domain)
    }

    /// Whether the group has an `argmax`, which shares its pass with nothing.
    fn finds_index(&self, draft: &Draft) -> bool {
        draft.nodes.iter().any(|&n| self.graph[n].op == Op::ArgMax)
    }

    /// Makes a map over the result of a reduction the epilogue of that reduction: its domain becomes what is reduced.
    fn widen(&mut self, group: usize, domain: &[i64], kept: &[usize]) {
        self.drafts[group].kind = GroupKind::Reduce;
        self.drafts[group].domain = domain.to_vec();
        let uses = self.uses.iter_mut().flatten().filter(|u| u.group == group);
        for axis in uses.flat_map(|u| &mut u.coords) {
            if let Axis::Domain(a) = *axis {
                *axis = Axis::Domain(kept[a]);
            }
        }
    }

    /// A reduction of the same domain over the same axes that reads the same tensor.
    fn sibling(&self, node: NodeId, domain: &[i64], reduced: &[usize], uses: &[Use]) -> Option<usize> {
        let operand = self.graph[node].args[0];
        let read = std::iter::once(operand).chain(self.graph[operand].args.iter().copied());
        let groups = read.flat_map(|n| &self.uses[n.index()]).filter(|u| u.coords == identity(domain)).map(|u| u.group);
        let mut same = groups.filter(|&g| {
            let draft = &self.drafts[g];
            let like = draft.kind == GroupKind::Reduce && draft.domain == domain && draft.reduced == reduced;
            like && !self.finds_index(draft)
        });
        // One that uses the result would need it before its own pass is over.
        same.find(|&g| uses.iter().all(|u| u.group != g) && self.can_precede(g, uses))
    }

    fn open(&mut self, kind: GroupKind, domain: Vec<i64>) -> usize {
        let (nodes, outputs) = (vec![], vec![]);
        self.drafts.push(Draft { kind, anchor: None, domain, reduced: vec![], nodes, outputs, successors: vec![] });
        self.drafts.len() - 1
    }

    /// Makes the node an output of the group that computes it, loaded by the other groups that use it.
    fn output(&mut self, node: NodeId, group: usize, uses: &[Use]) {
        self.stored[node.index()] = Some(group);
        let draft = &mut self.drafts[group];
        draft.outputs.push(node);
        for u in uses.iter().filter(|u| u.group != group) {
            if !draft.successors.contains(&u.group) {
                draft.successors.push(u.group);
            }
        }
    }

    /// Whether `group` can run before all other users: whether none of them has to run before it.
    fn can_precede(&self, group: usize, uses: &[Use]) -> bool {
        let mut open: Vec<usize> = uses.iter().map(|u| u.group).filter(|&g| g != group).collect();
        let mut seen = vec![false; self.drafts.len()];
        while let Some(at) = open.pop() {
            if at == group {
                return false;
            }
            if !std::mem::replace(&mut seen[at], true) {
                open.extend(&self.drafts[at].successors);
            }
        }
        true
    }

    /// What the order of groups depends on.
    fn order(&self, at: usize) -> Order {
        let draft = &self.drafts[at];
        let checks = draft.nodes.iter().any(|&n| checks_indices(self.graph, n));
        let mut order = Order { outputs: draft.outputs.clone(), after: vec![], inputs: vec![], checks };
        for &arg in draft.nodes.iter().flat_map(|&n| &self.graph[n].args) {
            match self.stored[arg.index()] {
                Some(other) if other != at => order.after.push(other),
                None if self.graph[arg].op == Op::Input => order.inputs.push(arg),
                _ => {}
            }
        }
        order
    }

    fn finish(self, live: &[bool]) -> Fused {
        let graph = self.graph;
        let mut homes = vec![Home::Dead; graph.nodes.len()];
        let groups: Vec<Order> = (0..self.drafts.len()).map(|at| self.order(at)).collect();
        let order = in_order(graph, &groups);
        let mut number = vec![0; self.drafts.len()];
        order.iter().enumerate().for_each(|(at, &draft)| number[draft] = at as u32);
        for id in graph.ids().filter(|id| live[id.index()]) {
            homes[id.index()] = match (graph[id].op, self.stored[id.index()]) {
                (Op::Input, _) => Home::Input,
                (_, Some(draft)) => Home::Stored(number[draft]),
                (Op::Reshape, None) => match homes[graph[id].args[0].index()] {
                    Home::Input | Home::Stored(_) => Home::Alias(graph[id].args[0]),
                    Home::Alias(of) => Home::Alias(of),
                    _ => Home::Inlined,
                },
                _ => Home::Inlined,
            };
        }
        let mut drafts: Vec<Option<Draft>> = self.drafts.into_iter().map(Some).collect();
        let mut fused = Fused { groups: vec![], homes };
        for at in order {
            let Some(draft) = drafts[at].take() else { continue };
            let group = close(graph, &fused, draft);
            fused.groups.push(group);
        }
        fused
    }
}

/// The finished group: what its outputs need, and what that loads.
fn close(graph: &Graph, fused: &Fused, draft: Draft) -> Group {
    let mut computed = draft.nodes;
    computed.sort_unstable();
    computed.dedup();
    let is_computed = |n: NodeId| computed.binary_search(&n).is_ok();
    let (mut nodes, mut inputs, mut open) = (vec![], vec![], draft.outputs.clone());
    while let Some(node) = open.pop() {
        match fused.root(node) {
            Some(root) if !is_computed(root) => inputs.push(root),
            _ if !nodes.contains(&node) => {
                nodes.push(node);
                open.extend(&graph[node].args);
            }
            _ => {}
        }
    }
    let mut outputs = draft.outputs;
    for list in [&mut nodes, &mut inputs, &mut outputs] {
        list.sort_unstable();
        list.dedup();
    }
    Group { kind: draft.kind, anchor: draft.anchor, nodes, outputs, inputs }
}
