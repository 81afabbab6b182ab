//! Making loops. The body is built in place, in the graph around it, so that whatever builds graphs builds bodies too;
//! then its nodes are taken out of that graph.

use std::collections::HashMap;

use super::{PORTS, Scan, port, result_attrs};
use crate::attrs::Attrs;
use crate::build::Builder;
use crate::dim::Dim;
use crate::error::{OpError, Problem};
use crate::graph::{Graph, Input, InputKind, Node, NodeId, Output, Role};
use crate::op::{Class, Op};
use crate::types::Type;

/// A loop whose body is being built.
#[derive(Clone, Debug)]
pub struct Open {
    init: Vec<NodeId>,
    xs: Vec<NodeId>,
    length: Dim,
    /// See [`Scan::recompute`]; by default not.
    pub recompute: bool,
    /// How many nodes, inputs and outputs the graph had.
    before: (usize, usize, usize),
    /// The carried values at the start of an iteration.
    pub carries: Vec<NodeId>,
    /// The slices of an iteration.
    pub slices: Vec<NodeId>,
}

/// The results of a loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// The carried values after the last iteration.
    pub carries: Vec<NodeId>,
    /// What the iterations gave, joined along a new first axis.
    pub results: Vec<NodeId>,
}

/// Where a node of the body comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// It is computed in each iteration.
    Body,
    /// It is the same in all iterations, so it is computed before.
    Before,
    /// It costs nothing to compute, so the body has it although it is the same in all iterations.
    Free,
    /// It is random: all iterations' numbers are drawn before, and cut into slices.
    Random,
}

impl Builder {
    /// Runs `body` for each slice of `xs` along their first axis (all of the same size, `length`), from the last one on if
    /// `reverse`. It is given the carried values, in the first iteration `init`, and the slices, and returns the next
    /// carried values, of the same types, and results, which are joined along a new first axis.
    ///
    /// Nodes from outside may be used in the body. What does not depend on the iteration is computed once. Random numbers
    /// are new ones in each iteration.
    ///
    /// # Errors
    /// Those of the body; or if carried values change their type, or a buffer such as running statistics is updated.
    pub fn scan<E: std::convert::From<OpError>>(
        &mut self,
        init: &[NodeId],
        xs: &[NodeId],
        length: Dim,
        reverse: bool,
        body: impl FnOnce(&mut Builder, &[NodeId], &[NodeId]) -> Result<(Vec<NodeId>, Vec<NodeId>), E>,
    ) -> Result<Scanned, E> {
        let open = self.open_scan(init, xs, length);
        match body(self, &open.carries.clone(), &open.slices.clone()) {
            Ok((next, results)) => Ok(self.close_scan(open, &next, &results, reverse)?),
            Err(error) => {
                self.drop_scan(&open);
                Err(error)
            }
        }
    }

    /// Begins a loop: nodes that are appended from now on are its body, until it is closed or dropped.
    pub fn open_scan(&mut self, init: &[NodeId], xs: &[NodeId], length: Dim) -> Open {
        let graph = &self.graph;
        let before = (graph.nodes.len(), graph.inputs.len(), graph.outputs.len());
        let input = |b: &mut Builder, what: usize, at: usize, ty: Type| {
            // No other input has such a name, nor has that of a loop around this one.
            b.input(PORTS[what].1, &format!("~{}.{}.{at}", before.0, PORTS[what].0), ty)
        };
        let carries = init.iter().enumerate().map(|(k, &node)| {
            let ty = self.ty(node).clone();
            input(self, 0, k, ty)
        });
        let carries = carries.collect();
        let slices = xs.iter().enumerate().map(|(k, &node)| {
            let ty = self.ty(node);
            let ty = Type { dtype: ty.dtype, shape: ty.shape.iter().skip(1).cloned().collect() };
            input(self, 1, k, ty)
        });
        let slices = slices.collect();
        Open { init: init.to_vec(), xs: xs.to_vec(), length, recompute: false, before, carries, slices }
    }

    /// Takes back all that was appended since the loop was opened.
    pub fn drop_scan(&mut self, open: &Open) {
        let (nodes, inputs, outputs) = open.before;
        self.graph.nodes.truncate(nodes);
        self.graph.inputs.truncate(inputs);
        self.graph.outputs.truncate(outputs);
        self.graph.outputs.retain(|o| o.node.index() < nodes);
    }

    /// Ends a loop: `next` are the carried values for the next iteration.
    ///
    /// # Errors
    /// As [`Builder::scan`]; the loop is dropped then.
    pub fn close_scan(
        &mut self,
        open: Open,
        next: &[NodeId],
        results: &[NodeId],
        reverse: bool,
    ) -> Result<Scanned, OpError> {
        if let Err(error) = self.check_carries(&open, next) {
            self.drop_scan(&open);
            return Err(error);
        }
        let first = open.before.0;
        let taken: Vec<Node> = self.graph.nodes[first..].to_vec();
        let inputs: Vec<Input> = self.graph.inputs[open.before.1..].to_vec();
        self.drop_scan(&open);
        let from = origins(&taken, first, &open);
        let facts = self.graph.facts.clone();
        let scan = Scan {
            carries: next.len(),
            slices: open.xs.len(),
            reverse,
            recompute: open.recompute,
            length: open.length.clone(),
        };
        let mut split = Split {
            b: self,
            first,
            taken: &taken,
            from: &from,
            length: &open.length,
            outer: HashMap::new(),
            body: Graph { facts, ..Graph::default() },
            inner: HashMap::new(),
            drawn: vec![],
            constants: vec![],
        };
        for (what, nodes) in [(0, &open.carries), (1, &open.slices)] {
            for (at, &node) in nodes.iter().enumerate() {
                let new =
                    split.input(format!("{}.{at}", PORTS[what].0), PORTS[what].1, &taken[node.index() - first].ty);
                split.inner.insert(node, new);
            }
        }
        // Inputs of the model that the body was the first to read.
        for input in inputs.iter().filter(|i| !open.carries.contains(&i.node) && !open.slices.contains(&i.node)) {
            let node = split.b.input(input.kind, &input.name, taken[input.node.index() - first].ty.clone());
            split.outer.insert(input.node, node);
        }
        for at in 0..taken.len() {
            split.node(NodeId((first + at) as u32))?;
        }
        let mut outputs = vec![];
        for (k, &node) in next.iter().enumerate() {
            outputs.push(Output { role: Role::Update(port(&scan, k)), node: split.within(node) });
        }
        for &node in results {
            outputs.push(Output { role: Role::Result, node: split.within(node) });
        }
        let Split { mut body, drawn, constants, .. } = split;
        body.outputs = outputs;
        let scan = Scan { slices: scan.slices + drawn.len(), ..scan };
        let args: Vec<NodeId> = [&open.init, &open.xs, &drawn, &constants].into_iter().flatten().copied().collect();
        in_order(&mut body, &scan);
        self.push_scan(&scan, &args, body)
    }

    /// Appends a loop and nodes for all of its results.
    pub(crate) fn push_scan(&mut self, scan: &Scan, args: &[NodeId], body: Graph) -> Result<Scanned, OpError> {
        let types: Vec<Type> = (0..body.outputs.len()).filter_map(|index| scan.result(&body, index)).collect();
        let token = self.push(Op::Scan, args, scan.attrs(inputs_first(&body)))?;
        let all = types.iter().enumerate().map(|(at, ty)| self.push(Op::ScanResult, &[token], result_attrs(at, ty)));
        let mut carries = all.collect::<Result<Vec<_>, _>>()?;
        let results = carries.split_off(scan.carries);
        Ok(Scanned { carries, results })
    }

    fn check_carries(&self, open: &Open, next: &[NodeId]) -> Result<(), OpError> {
        let fail = |why: String| Err(OpError::new(Op::Scan, Problem::Attr { name: "body", why }));
        if next.len() != open.carries.len() {
            return fail(format!("must give {} carried values, but it gives {}", open.carries.len(), next.len()));
        }
        for (&carry, &next) in open.carries.iter().zip(next) {
            let (expected, found) = (self.ty(carry), self.ty(next));
            let fits = expected.dtype == found.dtype
                && expected.rank() == found.rank()
                && expected.shape.iter().zip(&found.shape).all(|(a, b)| self.graph.facts.equal(a, b));
            if !fits {
                return fail(format!("must carry {expected} to the next iteration, but it gives {found}"));
            }
        }
        let updates = |o: &Output| matches!(&o.role, Role::Update(_)) && o.node.index() >= open.before.0;
        let depth = 1 + super::depth(&self.graph.nodes[open.before.0..]);
        if depth > super::DEPTH {
            return fail(format!("makes {depth} loops within each other; {} is the most", super::DEPTH));
        }
        match self.graph.outputs.iter().find(|o| updates(o)) {
            Some(Output { role: Role::Update(name), .. }) => {
                fail(format!("cannot update `{name}` in each iteration; use a layer without running statistics"))
            }
            _ => Ok(()),
        }
    }
}

/// Where each node of the body comes from.
fn origins(taken: &[Node], first: usize, open: &Open) -> Vec<From> {
    let mut from: Vec<From> = Vec::with_capacity(taken.len());
    for (at, node) in taken.iter().enumerate() {
        let id = NodeId((first + at) as u32);
        let of = |arg: &NodeId| if arg.index() < first { From::Before } else { from[arg.index() - first] };
        let varies = node.args.iter().any(|arg| matches!(of(arg), From::Body | From::Random));
        from.push(if open.carries.contains(&id) || open.slices.contains(&id) || varies {
            From::Body
        } else if node.op == Op::Random {
            From::Random
        } else if node.op == Op::Broadcast
            || node.op.class() == Class::Source
            || (node.op.class() == Class::Movement && node.args.iter().all(|arg| of(arg) == From::Free))
        {
            From::Free
        } else {
            From::Before
        });
    }
    from
}

/// A body while it is taken out of the graph around it.
struct Split<'a> {
    b: &'a mut Builder,
    first: usize,
    taken: &'a [Node],
    from: &'a [From],
    length: &'a Dim,
    /// Nodes that are computed before the loop.
    outer: HashMap<NodeId, NodeId>,
    body: Graph,
    /// Nodes of the body.
    inner: HashMap<NodeId, NodeId>,
    /// Random numbers of all iterations.
    drawn: Vec<NodeId>,
    constants: Vec<NodeId>,
}

impl Split<'_> {
    fn input(&mut self, name: String, kind: InputKind, ty: &Type) -> NodeId {
        let node = Node { op: Op::Input, args: vec![], attrs: Attrs::new(), ty: ty.clone(), loc: self.b.loc };
        let node = self.append(node);
        self.body.inputs.push(Input { name, kind, node });
        node
    }

    fn append(&mut self, node: Node) -> NodeId {
        self.body.nodes.push(node);
        NodeId(self.body.nodes.len() as u32 - 1)
    }

    fn node(&mut self, id: NodeId) -> Result<(), OpError> {
        let at = id.index() - self.first;
        let node = &self.taken[at];
        if node.op == Op::Input {
            return Ok(());
        }
        match self.from[at] {
            From::Before => {
                let args: Vec<NodeId> = node.args.iter().map(|&arg| self.outside(arg)).collect::<Result<_, _>>()?;
                self.b.loc = node.loc;
                let new = self.b.push(node.op, &args, node.attrs.clone())?;
                self.outer.insert(id, new);
            }
            From::Random => {
                let key = self.outside(node.args[0])?;
                let mut shape = vec![self.length.clone()];
                shape.extend(node.ty.shape.iter().cloned());
                let attrs = node.attrs.iter().fold(Attrs::new(), |attrs, (name, value)| match *name {
                    "shape" => attrs.dims("shape", shape.clone()),
                    name => attrs.with(name, value.clone()),
                });
                let new = self.b.push(Op::Random, &[key], attrs)?;
                self.drawn.push(new);
                let name = format!("drawn.{}", self.drawn.len() - 1);
                let input = self.input(name, InputKind::Arg, &node.ty);
                self.inner.insert(id, input);
            }
            From::Body => {
                let args = node.args.iter().map(|&arg| self.within(arg)).collect();
                let new = self.append(Node { args, ..node.clone() });
                self.inner.insert(id, new);
            }
            // Made where it is used.
            From::Free => {}
        }
        Ok(())
    }

    /// The node of the graph around the loop for one that is the same in all iterations.
    fn outside(&mut self, id: NodeId) -> Result<NodeId, OpError> {
        if id.index() < self.first {
            return Ok(id);
        }
        if let Some(&known) = self.outer.get(&id) {
            return Ok(known);
        }
        let node = &self.taken[id.index() - self.first];
        let args: Vec<NodeId> = node.args.iter().map(|&arg| self.outside(arg)).collect::<Result<_, _>>()?;
        self.b.loc = node.loc;
        let new = self.b.push(node.op, &args, node.attrs.clone())?;
        self.outer.insert(id, new);
        Ok(new)
    }

    /// The node of the body.
    fn within(&mut self, id: NodeId) -> NodeId {
        if let Some(&known) = self.inner.get(&id) {
            return known;
        }
        let known = self.outer.get(&id).copied().or((id.index() < self.first).then_some(id));
        let new = match known {
            Some(outer) => {
                let at = self.constants.iter().position(|&c| c == outer);
                let at = at.unwrap_or_else(|| {
                    self.constants.push(outer);
                    self.constants.len() - 1
                });
                let name = format!("{}.{at}", PORTS[2].0);
                match self.body.input(&name) {
                    Some(input) => input.node,
                    None => {
                        let ty = self.b.ty(outer).clone();
                        self.input(name, PORTS[2].1, &ty)
                    }
                }
            }
            None => {
                let node = self.taken[id.index() - self.first].clone();
                let args = node.args.iter().map(|&arg| self.within(arg)).collect();
                self.append(Node { args, ..node })
            }
        };
        self.inner.insert(id, new);
        new
    }
}

/// The graph with its inputs before all other nodes, in order: the text form names inputs in the order of nodes.
pub(crate) fn inputs_first(graph: &Graph) -> Graph {
    let inputs: Vec<NodeId> = graph.inputs.iter().map(|i| i.node).collect();
    let order: Vec<NodeId> = inputs.iter().copied().chain(graph.ids().filter(|id| !inputs.contains(id))).collect();
    let mut new = vec![NodeId(0); graph.nodes.len()];
    order.iter().enumerate().for_each(|(at, old)| new[old.index()] = NodeId(at as u32));
    let mut sorted = graph.clone();
    sorted.nodes = order.iter().map(|&old| graph[old].clone()).collect();
    sorted.nodes.iter_mut().flat_map(|node| &mut node.args).for_each(|arg| *arg = new[arg.index()]);
    sorted.inputs.iter_mut().for_each(|i| i.node = new[i.node.index()]);
    sorted.outputs.iter_mut().for_each(|o| o.node = new[o.node.index()]);
    sorted
}

/// Brings the inputs of a body into the order of its ports, and numbers drawn slices behind the others.
fn in_order(body: &mut Graph, scan: &Scan) {
    let rank = |input: &Input| match input.kind {
        InputKind::State => 0,
        InputKind::Arg if input.name.starts_with(PORTS[1].0) => 1,
        InputKind::Arg => 2,
        _ => 3,
    };
    body.inputs.sort_by_key(rank);
    for (at, input) in body.inputs.iter_mut().enumerate() {
        input.name = port(scan, at);
    }
}
