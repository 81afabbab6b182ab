//! Splitting: what needs no argument of a call is computed before it.
//!
//! Before: a valid graph without symbols. After: two of them. The prologue computes what depends on nothing but
//! parameters, buffers and constants, and writes it to inputs of kind [`Fixed`](InputKind::Fixed); the main graph has the
//! same inputs and reads them. The prologue is run when parameters have changed.
//!
//! Not all that is fixed is worth keeping. Views cost nothing, and what is cheap to compute where it is used would only
//! take memory. Kept are products, reductions, transposes and whatever else a product or pooling would have to find in
//! memory, dear functions that give no more than they read, and what is small.

use std::collections::{BTreeSet, HashSet};

use super::{append, dce, rewrite};
use crate::attrs::Attrs;
use crate::error::OpError;
use crate::graph::{Graph, Input, InputKind, Node, NodeId, Output, Role};
use crate::op::{Class, Op};
use crate::plan::is_dear;
use crate::types::Type;

/// Values of at most so many bytes are kept whatever they cost: they stay in the cache.
const SMALL: usize = 64 * 1024;

/// A graph in two parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Computes the values to keep: for each an update of an input of kind [`Fixed`](InputKind::Fixed).
    pub prologue: Graph,
    /// Computes the results from arguments and kept values.
    pub main: Graph,
}

/// What a value depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Needs {
    /// Constants only.
    Nothing,
    /// Parameters or buffers as well.
    Params,
    /// What is new in each call.
    Call,
}

/// What each node depends on.
pub(super) fn needs(graph: &Graph) -> Vec<Needs> {
    let mut needs = vec![Needs::Call; graph.nodes.len()];
    for input in &graph.inputs {
        if matches!(input.kind, InputKind::Param | InputKind::Buffer) {
            needs[input.node.index()] = Needs::Params;
        }
    }
    for id in graph.ids().filter(|id| graph[*id].op != Op::Input) {
        let args = graph[id].args.iter().map(|arg| needs[arg.index()]);
        needs[id.index()] = args.max().unwrap_or(Needs::Nothing);
    }
    needs
}

/// Splits a graph, if it computes anything that is worth keeping.
///
/// # Errors
/// None.
pub fn run(graph: &Graph) -> Result<Option<Split>, OpError> {
    let cuts = Search::cuts(graph);
    if cuts.is_empty() {
        return Ok(None);
    }
    let fixed = |node: &Node| Node { op: Op::Input, args: vec![], attrs: Attrs::new(), ..node.clone() };
    let mut kept: Vec<(Input, NodeId)> = vec![];
    let mut main = rewrite(graph, |b, id, node| {
        if !cuts.contains(&id) {
            return Ok(None);
        }
        // No name in a model has such a sign in it.
        let name = format!("{}~{}", named_after(graph, id), kept.len());
        let node = append(&mut b.graph, fixed(node));
        kept.push((Input { name, kind: InputKind::Fixed, node }, id));
        Ok(Some(node))
    })?;
    // What only another kept value needs is not kept.
    let live = main.live();
    kept.retain(|(input, _)| live[input.node.index()]);
    main.inputs.extend(kept.iter().map(|(input, _)| input.clone()));
    main.inputs.sort_by_key(|input| input.node);
    let main = needed(main, |input| !matches!(input.kind, InputKind::Param | InputKind::Buffer))?;

    let mut prologue = Graph { outputs: vec![], ..graph.clone() };
    for (input, value) in kept {
        prologue.outputs.push(Output { role: Role::Update(input.name.clone()), node: value });
        let node = append(&mut prologue, fixed(&graph[value]));
        prologue.inputs.push(Input { node, ..input });
    }
    let prologue = needed(prologue, |input| input.kind == InputKind::Fixed)?;
    Ok(Some(Split { prologue, main }))
}

/// The graph without dead nodes and without inputs that it does not read, but for those to `keep`.
fn needed(mut graph: Graph, keep: impl Fn(&Input) -> bool) -> Result<Graph, OpError> {
    let live = graph.live();
    graph.inputs.retain(|input| live[input.node.index()] || keep(input));
    dce::run(&graph)
}

/// The parameter from which a value is computed, the largest and then the first if there are several.
fn named_after(graph: &Graph, node: NodeId) -> &str {
    let from = made_from(graph, node);
    let inputs = graph.inputs.iter().rev().filter(|input| from.inputs.contains(&input.node));
    let rank = |input: &&Input| (bytes(graph.ty(input.node)), input.kind == InputKind::Param);
    inputs.max_by_key(rank).map_or("", |input| &input.name)
}

/// Looks for the values to keep.
struct Search<'g> {
    graph: &'g Graph,
    needs: Vec<Needs>,
    cuts: BTreeSet<NodeId>,
    seen: HashSet<(NodeId, bool)>,
}

impl Search<'_> {
    fn cuts(graph: &Graph) -> BTreeSet<NodeId> {
        let mut search = Search { graph, needs: needs(graph), cuts: BTreeSet::new(), seen: HashSet::new() };
        let live = graph.live();
        for id in graph.ids().filter(|id| live[id.index()]) {
            if search.needs[id.index()] != Needs::Call {
                continue;
            }
            let operand = matches!(graph[id].op.class(), Class::Contract | Class::Window | Class::Loop);
            graph[id].args.iter().for_each(|&arg| search.visit(arg, operand));
        }
        graph.outputs.iter().for_each(|output| search.visit(output.node, true));
        search.cuts
    }

    /// Looks at a value that the main graph needs: as the operand of a product or pooling, or as a result, it has to be in
    /// memory.
    fn visit(&mut self, node: NodeId, in_memory: bool) {
        if self.needs[node.index()] == Needs::Call || !self.seen.insert((node, in_memory)) {
            return;
        }
        let (graph, n) = (self.graph, &self.graph[node]);
        match n.op {
            Op::Reshape | Op::Broadcast | Op::Slice | Op::Flip | Op::Detach => self.visit(n.args[0], in_memory),
            _ if self.is_worth_keeping(node, in_memory) => _ = self.cuts.insert(node),
            _ => graph[node].args.iter().for_each(|&arg| self.visit(arg, false)),
        }
    }

    fn is_worth_keeping(&self, node: NodeId, in_memory: bool) -> bool {
        let n = &self.graph[node];
        match n.op.class() {
            Class::Input | Class::Source => false,
            Class::Contract | Class::Window | Class::Reduce | Class::Sort | Class::Loop => true,
            Class::Movement if n.op == Op::Transpose => in_memory && moves(self.graph, n),
            _ if in_memory => true,
            Class::Elementwise | Class::Movement | Class::Index => {
                let from = made_from(self.graph, node);
                let read: usize = from.inputs.iter().map(|&input| bytes(self.graph.ty(input))).sum();
                match from.is_dear {
                    true => bytes(&n.ty) <= read.max(SMALL),
                    false => read > 0 && bytes(&n.ty) <= SMALL,
                }
            }
        }
    }
}

/// From what a value is computed.
struct MadeFrom {
    /// Parameters and buffers.
    inputs: HashSet<NodeId>,
    /// Whether that takes functions that cost more than memory traffic.
    is_dear: bool,
}

fn made_from(graph: &Graph, node: NodeId) -> MadeFrom {
    let mut from = MadeFrom { inputs: HashSet::new(), is_dear: false };
    let (mut open, mut seen) = (vec![node], HashSet::new());
    while let Some(at) = open.pop() {
        match graph[at].op {
            Op::Input => _ = from.inputs.insert(at),
            _ => from.is_dear |= is_dear(graph, at),
        }
        open.extend(graph[at].args.iter().filter(|arg| seen.insert(**arg)));
    }
    from
}

/// Whether a transpose brings elements into another order.
fn moves(graph: &Graph, node: &Node) -> bool {
    let shape = &graph.ty(node.args[0]).shape;
    !node.attrs.get_axes("perm").into_iter().filter(|&axis| !shape[axis].is(1)).is_sorted()
}

fn bytes(ty: &Type) -> usize {
    ty.sizes().map_or(usize::MAX, |sizes| sizes.iter().product::<usize>() * ty.dtype.size())
}
