//! Loops: the steps of a body, run once for each slice.
//!
//! The body of a `scan` is fused, planned and lowered like a graph of its own, which lies within the memory of the graph
//! around it: what is carried has one place, written over in each iteration; slices are places that move. What an
//! iteration only prepares from constants, such as a copy of weights in the order of the registers, is done before the
//! first one.

use std::collections::HashSet;
use std::ops::Range;

use dl_codegen::kernel::{Access, Kernel, Stmt};
use dl_codegen::lower::{self, BufRef, LoweredKernel};
use dl_ir::plan::{GroupKind, fuse};
use dl_ir::scan::{Scan, as_result};
use dl_ir::{Builder, Graph, InputKind, NodeId, Op, Output, Role, Type};

use crate::assemble::Assembly;
use crate::compile::bound_type;
use crate::error::Result;
use crate::kernels::{Round, Turnpoint};
use crate::layout::{DEPTH, Layout, Spot, Temps, aligned};
use crate::memory::Buffer;
use crate::profile::Known;
use crate::rounds::Draft;

/// A step, or a loop of several.
pub(crate) enum Item {
    Step(Box<Draft>, Box<Known>),
    Loop { count: usize, items: Vec<Item> },
}

/// Steps by number, or a loop of sections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Section {
    Steps(Range<usize>),
    Loop { count: usize, sections: Vec<Section> },
}

impl Section {
    /// Adds the numbers of the steps at which no round may go on.
    pub(crate) fn borders(&self, borders: &mut Vec<usize>) {
        match self {
            Section::Steps(steps) => borders.push(steps.start),
            Section::Loop { sections, .. } => sections.iter().for_each(|section| section.borders(borders)),
        }
    }
}

/// All steps in one list, and how they stand in loops.
pub(crate) fn flat(items: Vec<Item>) -> (Vec<Draft>, Vec<Known>, Vec<Section>) {
    let (mut steps, mut known) = (vec![], vec![]);
    let tree = sections(items, &mut steps, &mut known);
    (steps, known, tree)
}

fn sections(items: Vec<Item>, steps: &mut Vec<Draft>, known: &mut Vec<Known>) -> Vec<Section> {
    let mut sections = vec![];
    for item in items {
        match item {
            Item::Step(draft, what) => {
                steps.push(*draft);
                known.push(*what);
                match sections.last_mut() {
                    Some(Section::Steps(range)) => range.end = steps.len(),
                    _ => sections.push(Section::Steps(steps.len() - 1..steps.len())),
                }
            }
            Item::Loop { count, items } => {
                let within = self::sections(items, steps, known);
                sections.push(Section::Loop { count, sections: within });
            }
        }
    }
    sections
}

/// The rounds as they are run.
///
/// Errors: [`Error::OutOfMemory`] for loops so long that there is no memory to list them.
pub(crate) fn schedule(function: &str, rounds: &[Round], tree: &[Section]) -> Result<Vec<Turnpoint>> {
    let bytes = turns(rounds, tree).saturating_mul(size_of::<Turnpoint>());
    Buffer::check(bytes, &format!("the iterations of `{function}`"))?;
    let mut schedule = vec![];
    run_through(rounds, tree, 0, [0; DEPTH], &mut schedule);
    Ok(schedule)
}

/// How many rounds are run.
fn turns(rounds: &[Round], tree: &[Section]) -> usize {
    let of = |section: &Section| match section {
        Section::Steps(steps) => {
            rounds.iter().filter(|round| steps.start <= round.steps.start && round.steps.start < steps.end).count()
        }
        Section::Loop { count, sections } => turns(rounds, sections).saturating_mul(*count),
    };
    tree.iter().map(of).fold(0, usize::saturating_add)
}

fn run_through(rounds: &[Round], tree: &[Section], depth: usize, at: [u32; DEPTH], schedule: &mut Vec<Turnpoint>) {
    for section in tree {
        match section {
            Section::Steps(steps) => {
                let within = |round: &Round| steps.start <= round.steps.start && round.steps.start < steps.end;
                let numbers = rounds.iter().enumerate().filter(|(_, round)| within(round));
                schedule.extend(numbers.map(|(round, _)| Turnpoint { round, at }));
            }
            Section::Loop { count, sections } => {
                for iteration in 0..*count {
                    let mut at = at;
                    at[depth] = iteration as u32;
                    run_through(rounds, sections, depth + 1, at, schedule);
                }
            }
        }
    }
}

impl Assembly<'_> {
    /// The steps of a loop at that depth. `first` is the number of the first node of the body, as [`Graph::nested`]
    /// counts.
    pub(crate) fn of_loop(
        &mut self,
        outer: &Layout<'_>,
        group: usize,
        temps: &mut Temps,
        depth: usize,
        first: usize,
    ) -> Result<Vec<Item>> {
        let group = &outer.fused.groups[group];
        let scan = group.anchor.and_then(|id| Some((id, outer.graph[id].attrs.get_graph("body")?)));
        let (id, body) = scan.ok_or_else(|| self.internal("a loop without a body"))?;
        if depth == DEPTH {
            return Err(self.internal(format!("loops are {} deep; {DEPTH} is the most", depth + 1)));
        }
        let before = outer.graph.bodies().take_while(|(of, _)| *of != id).map(|(_, body)| body.all_nodes());
        let first = first + before.sum::<usize>();
        let scan = Scan::of(&outer.graph[id].attrs);
        let count = scan.length.as_const().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let next = first + body.nodes.len();
        let body = &with_copies(body);
        let size = |node: NodeId| bound_type(body, node).map(|(dtype, shape)| byte_size(dtype, &shape));

        // Where the results lie; those that nothing takes have memory for one iteration.
        let mut results: Vec<Option<Spot>> = vec![None; body.outputs.len()];
        for &node in &group.outputs {
            let Some((_, index)) = as_result(outer.graph, node) else { continue };
            let spot = outer.spot(node).map_err(|e| self.internal(e))?;
            if results[index].replace(spot).is_some() {
                return Err(self.internal("two nodes take one result of a loop"));
            }
        }
        let mut items = vec![];
        let (mut inputs, mut given) = (vec![], vec![]);
        for (at, &arg) in outer.graph[id].args.iter().enumerate() {
            let spot = outer.spot(arg).map_err(|e| self.internal(e))?;
            let bytes = size(body.inputs[at].node)?;
            inputs.push(match scan.port(at) {
                0 => {
                    let carried = results[at].unwrap_or_else(|| Spot::at(temps.take(bytes)));
                    if carried != spot {
                        items.extend(self.copy(outer.graph, id, body.ty(body.inputs[at].node), spot, carried)?);
                    }
                    carried
                }
                1 => spot.slices(bytes, count, depth, scan.reverse),
                _ => spot,
            });
        }
        for (index, output) in body.outputs.iter().enumerate().skip(scan.carries) {
            let bytes = size(output.node)?;
            given.push(match results[index] {
                Some(spot) => spot.slices(bytes, count, depth, scan.reverse),
                None => Spot::at(temps.take(bytes)),
            });
        }

        let (fused, plan) = self.plan(body)?;
        let arena = temps.end;
        temps.end += aligned(plan.arena_bytes);
        let layout = Layout::within(body, &fused, &plan, inputs, given, arena);
        let mut within = vec![];
        let mut high = temps.end;
        for group in 0..fused.groups.len() {
            let mut own = Temps::from(temps.end);
            if fused.groups[group].kind == GroupKind::Loop {
                within.extend(self.of_loop(&layout, group, &mut own, depth + 1, next)?);
                high = high.max(own.end);
                continue;
            }
            let lowered = lower::group(body, &fused, group).map_err(|e| self.internal(e))?;
            let only = lowered.kernels.len() == 1;
            // Temporary memory that is filled before the first iteration.
            let mut ready: HashSet<u32> = HashSet::new();
            for LoweredKernel { mut kernel, bufs } in lowered.kernels {
                number_sites(&mut kernel.body, first as u32);
                if prepares(&layout, &kernel, &bufs, &own, &ready) {
                    ready.extend(bufs.iter().filter_map(temp));
                    // Behind all memory of groups before, as it is kept for all iterations.
                    let mut kept = Temps { end: high.max(own.end), places: std::mem::take(&mut own.places) };
                    let spots =
                        layout.spots(&bufs, &mut kept, &mut self.sizes.scratch).map_err(|e| self.internal(e))?;
                    (own.places, high, temps.end) = (kept.places, kept.end, kept.end);
                    own.end = kept.end;
                    let known = Known::new(body, &fused.groups[group], &kernel, only, &spots);
                    items.push(Item::Step(Box::new(self.draft(kernel, spots)?), Box::new(known)));
                    continue;
                }
                let spots = layout.spots(&bufs, &mut own, &mut self.sizes.scratch).map_err(|e| self.internal(e))?;
                let known = Known::new(body, &fused.groups[group], &kernel, only, &spots);
                within.push(Item::Step(Box::new(self.draft(kernel, spots)?), Box::new(known)));
            }
            high = high.max(own.end);
        }
        // Values that could not be written over what is carried while that was read.
        for &(from, to) in &plan.copies {
            let spots = [from, to].map(|node| layout.spot(node).map_err(|e| self.internal(e)));
            let [source, target] = spots;
            within.extend(self.copy(body, from, body.ty(to), source?, target?)?);
        }
        temps.end = high;
        items.push(Item::Loop { count, items: within });
        Ok(items)
    }

    /// Steps that copy a value of that type.
    fn copy(&mut self, graph: &Graph, at: NodeId, ty: &Type, from: Spot, to: Spot) -> Result<Vec<Item>> {
        let mut b = Builder::new();
        b.loc = graph[at].loc;
        let source = b.input(InputKind::Arg, "source", ty.clone());
        let copy = b.detach(source).map_err(|e| self.internal(e))?;
        b.output(Role::Result, copy);
        let copying = b.finish();
        let fused = fuse(&copying);
        let mut items = vec![];
        for group in 0..fused.groups.len() {
            let lowered = lower::group(&copying, &fused, group).map_err(|e| self.internal(e))?;
            for LoweredKernel { kernel, bufs } in lowered.kernels {
                let spot = |buf: &BufRef| if *buf == BufRef::Node(source) { from } else { to };
                let spots: Vec<Spot> = bufs.iter().map(spot).collect();
                let known = Known::new(&copying, &fused.groups[group], &kernel, true, &spots);
                items.push(Item::Step(Box::new(self.draft(kernel, spots)?), Box::new(known)));
            }
        }
        Ok(items)
    }
}

/// The body with copies of what is an output twice, or an output and an input: each output has memory of its own.
fn with_copies(body: &Graph) -> Graph {
    let mut b = Builder::on(body.clone());
    let mut seen: Vec<NodeId> = vec![];
    for at in 0..body.outputs.len() {
        let Output { role, node } = &body.outputs[at];
        let mut root = *node;
        while body[root].op == Op::Reshape {
            root = body[root].args[0];
        }
        let unchanged =
            |input: &NodeId| matches!(role, Role::Update(name) if body.input(name).map(|i| i.node) == Some(*input));
        if unchanged(node) {
            continue;
        }
        if body[root].op != Op::Input && !seen.contains(&root) {
            seen.push(root);
            continue;
        }
        b.loc = body[*node].loc;
        // A copy has the type of what it copies, so that nothing can be wrong with it.
        if let Ok(copy) = b.detach(*node) {
            b.graph.outputs[at].node = copy;
        }
    }
    b.finish()
}

/// Whether a kernel of a loop's body only makes temporaries of constants.
fn prepares(layout: &Layout<'_>, kernel: &Kernel, bufs: &[BufRef], temps: &Temps, ready: &HashSet<u32>) -> bool {
    let body = layout.graph;
    let constant = |node: NodeId| {
        let root = layout.fused.root(node);
        body.inputs.iter().any(|i| Some(i.node) == root && i.kind == InputKind::Fixed)
    };
    let mut writes = false;
    bufs.iter().zip(&kernel.bufs).all(|(buf, access)| match (access.access, buf) {
        (_, BufRef::Scratch { .. }) => true,
        (Access::Read, BufRef::Node(node)) => constant(*node),
        (Access::Read, BufRef::Temp { index, .. }) => ready.contains(index),
        (Access::Write, BufRef::Temp { index, .. }) => {
            writes = true;
            !temps.places.contains_key(index)
        }
        _ => false,
    }) && writes
}

fn temp(buf: &BufRef) -> Option<u32> {
    if let BufRef::Temp { index, .. } = buf { Some(*index) } else { None }
}

/// Numbers the nodes of a body behind those of the graphs before it, where a check of an index names its node.
fn number_sites(body: &mut [Stmt], first: u32) {
    for stmt in body {
        match stmt {
            Stmt::Check { site, .. } => *site += first,
            Stmt::For { body, .. } | Stmt::Vec { body, .. } | Stmt::If { body, .. } | Stmt::Rarely { body, .. } => {
                number_sites(body, first)
            }
            Stmt::Contract(contract) => number_sites(&mut contract.epilogue, first),
            _ => {}
        }
    }
}

fn byte_size(dtype: dl_ir::DType, shape: &[usize]) -> usize {
    shape.iter().product::<usize>() * dtype.size()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_of_loops_are_run_again_and_again() {
        let round = |steps| Round { steps, commits: false };
        let tree = [
            Section::Steps(0..1),
            Section::Loop {
                count: 2,
                sections: vec![Section::Steps(1..2), Section::Loop { count: 2, sections: vec![Section::Steps(2..3)] }],
            },
            Section::Steps(3..4),
        ];
        let rounds = [round(0..1), round(1..2), round(2..3), round(3..3), round(3..4)];
        let found: Vec<(usize, u32, u32)> = schedule("f", &rounds, &tree)
            .unwrap()
            .iter()
            .map(|point| (point.round, point.at[0], point.at[1]))
            .collect();
        let expected =
            [(0, 0, 0), (1, 0, 0), (2, 0, 0), (2, 0, 1), (1, 1, 0), (2, 1, 0), (2, 1, 1), (3, 0, 0), (4, 0, 0)];
        assert_eq!(found, expected);
    }
}
