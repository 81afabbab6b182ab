//! Hoisting: products that no iteration of a loop needs the one before for are one product before the loop.
//!
//! Before: a valid graph. After: a product of a slice, or of what is computed from slices, with a constant of the loop is
//! computed for all iterations at once, and its result is cut into slices instead. So the projections of a recurrent layer's
//! input are a product of as many rows as all iterations have.

use std::collections::HashMap;

use super::rewrite;
use crate::attrs::Attrs;
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::error::OpError;
use crate::graph::{Graph, Input, Node, NodeId};
use crate::op::{Class, Op};
use crate::scan::{PORTS, Scan, fits_at_once, port};

/// Hoists products out of loops.
///
/// # Errors
/// None.
pub fn run(graph: &Graph) -> Result<Graph, OpError> {
    if graph.bodies().next().is_none() {
        return Ok(graph.clone());
    }
    rewrite(graph, |b, _, node| {
        let Some(body) = node.attrs.get_graph("body") else { return Ok(None) };
        let scan = Scan::of(&node.attrs);
        let products = products(&scan, body);
        if products.is_empty() {
            return Ok(None);
        }
        let mut whole =
            Whole { b, scan: &scan, body, args: &node.args, needs: needs(&scan, body), known: HashMap::new() };
        let mut sliced = vec![];
        for id in products {
            sliced.push((id, whole.of(id)?));
        }
        let args: Vec<NodeId> = [
            &node.args[..scan.carries + scan.slices],
            &sliced.iter().map(|(_, node)| *node).collect::<Vec<_>>(),
            &node.args[scan.carries + scan.slices..],
        ]
        .concat();
        let (scan, body) = with_slices(&scan, body, &sliced.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        b.push(Op::Scan, &args, scan.attrs(body)).map(Some)
    })
}

/// What a value of an iteration depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    /// Constants of the loop.
    Constants,
    /// Slices as well.
    Slices,
    /// The iteration before.
    Carries,
}

fn needs(scan: &Scan, body: &Graph) -> Vec<Needs> {
    let mut needs = vec![Needs::Constants; body.nodes.len()];
    for (at, input) in body.inputs.iter().enumerate() {
        needs[input.node.index()] = [Needs::Carries, Needs::Slices, Needs::Constants][scan.port(at)];
    }
    for id in body.ids().filter(|id| body[*id].op != Op::Input) {
        let args = body[id].args.iter().map(|arg| needs[arg.index()]);
        needs[id.index()] = args.max().unwrap_or(Needs::Constants);
    }
    needs
}

/// The products to hoist: of slices with constants, made by what can be done for all slices at once.
fn products(scan: &Scan, body: &Graph) -> Vec<NodeId> {
    let (needs, live) = (needs(scan, body), body.live());
    let mut possible = vec![false; body.nodes.len()];
    let mut found = vec![];
    for id in body.ids() {
        let node = &body[id];
        possible[id.index()] = match needs[id.index()] {
            Needs::Constants => true,
            Needs::Carries => false,
            Needs::Slices => {
                let whole = node.op == Op::Input || (can_be_whole(node) && fits_at_once(&scan.length, &node.ty));
                whole && node.args.iter().all(|arg| possible[arg.index()])
            }
        };
        let with_constant = || node.args.iter().any(|arg| needs[arg.index()] == Needs::Constants);
        let hoisted = node.op == Op::Dot && needs[id.index()] == Needs::Slices && possible[id.index()];
        if hoisted && live[id.index()] && with_constant() {
            found.push(id);
        }
    }
    found
}

fn can_be_whole(node: &Node) -> bool {
    match node.op {
        Op::Reshape | Op::Transpose | Op::Broadcast | Op::Slice | Op::Concat => true,
        Op::Dot => node.attrs.get_ints("batch_a").is_empty(),
        Op::ReduceSum | Op::ReduceMax | Op::ReduceMin | Op::ReduceProd => true,
        op => op.class() == Class::Elementwise,
    }
}

/// Values of all iterations at once, along a first axis, in the graph around the loop.
struct Whole<'a> {
    b: &'a mut Builder,
    scan: &'a Scan,
    body: &'a Graph,
    args: &'a [NodeId],
    needs: Vec<Needs>,
    known: HashMap<NodeId, NodeId>,
}

impl Whole<'_> {
    fn has_axis(&self, id: NodeId) -> bool {
        self.needs[id.index()] == Needs::Slices
    }

    /// A node's value; that of constants is the same in all iterations and has no axis for them.
    fn of(&mut self, id: NodeId) -> Built {
        if let Some(&known) = self.known.get(&id) {
            return Ok(known);
        }
        let node = self.body[id].clone();
        let new = match self.body.inputs.iter().position(|input| input.node == id) {
            Some(at) => self.args[at],
            None => {
                let args = node.args.iter().map(|&arg| self.of(arg)).collect::<Result<Vec<_>, _>>()?;
                self.b.loc = node.loc;
                match self.has_axis(id) {
                    true => self.whole(&node, &args)?,
                    false => self.b.push(node.op, &args, node.attrs)?,
                }
            }
        };
        self.known.insert(id, new);
        Ok(new)
    }

    fn whole(&mut self, node: &Node, args: &[NodeId]) -> Built {
        let length = self.scan.length.clone();
        let leading =
            |shape: &[Dim]| -> Vec<Dim> { std::iter::once(length.clone()).chain(shape.iter().cloned()).collect() };
        let shape = leading(&node.ty.shape);
        let next = |axes: &[i64]| -> Vec<i64> { axes.iter().map(|axis| axis + 1).collect() };
        match node.op {
            Op::Reshape => self.b.push(Op::Reshape, args, Attrs::new().dims("shape", shape)),
            Op::Broadcast => {
                // Axes of size 1 between that of the iterations and the others, for those that are added in front.
                let from = self.body.ty(node.args[0]).shape.clone();
                let mut aligned = vec![length.clone()];
                aligned.extend(vec![Dim::ONE; node.ty.rank() - from.len()]);
                aligned.extend(from);
                let x = self.b.reshape(args[0], &aligned)?;
                self.b.broadcast(x, &shape)
            }
            Op::Transpose => {
                let perm: Vec<i64> = std::iter::once(0).chain(next(node.attrs.get_ints("perm"))).collect();
                self.b.push(Op::Transpose, args, Attrs::new().ints("perm", perm))
            }
            Op::Slice => {
                let start: Vec<Dim> =
                    std::iter::once(Dim::from(0)).chain(node.attrs.get_dims("start").iter().cloned()).collect();
                let step: Vec<i64> = std::iter::once(1).chain(node.attrs.get_ints("step").iter().copied()).collect();
                self.b.slice(args[0], &start, &leading(node.attrs.get_dims("stop")), &step)
            }
            Op::Dot => {
                let pairs = node.attrs.get_axes("sum_a").into_iter().zip(node.attrs.get_axes("sum_b"));
                let (left, right) = (self.has_axis(node.args[0]), self.has_axis(node.args[1]));
                let sum: Vec<(usize, usize)> =
                    pairs.map(|(a, b)| (a + usize::from(left), b + usize::from(right))).collect();
                let batch: &[(usize, usize)] = if left && right { &[(0, 0)] } else { &[] };
                let product = self.b.dot(args[0], args[1], batch, &sum)?;
                if left {
                    return Ok(product);
                }
                // The axis of the iterations stands behind those of the left operand.
                let at = self.b.rank(args[0]) - sum.len();
                let rank = self.b.rank(product);
                let perm: Vec<usize> = std::iter::once(at).chain((0..rank).filter(|&axis| axis != at)).collect();
                self.b.transpose(product, &perm)
            }
            op => {
                let mut whole = vec![];
                for (&arg, &value) in node.args.iter().zip(args) {
                    whole.push(match self.has_axis(arg) {
                        true => value,
                        false => {
                            let shape = leading(&self.body.ty(arg).shape);
                            self.b.broadcast(value, &shape)?
                        }
                    });
                }
                let attrs = node.attrs.iter().fold(Attrs::new(), |attrs, (name, value)| match *name {
                    "axes" => attrs.ints("axes", next(node.attrs.get_ints("axes"))),
                    "axis" => attrs.int("axis", node.attrs.get_int("axis") + 1),
                    name => attrs.with(name, value.clone()),
                });
                self.b.push(op, &whole, attrs)
            }
        }
    }
}

/// The loop that has these values of its body as further slices.
fn with_slices(scan: &Scan, body: &Graph, values: &[NodeId]) -> (Scan, Graph) {
    let mut graph = body.clone();
    let wider = Scan { slices: scan.slices + values.len(), ..scan.clone() };
    let mut inputs: Vec<NodeId> = body.inputs.iter().map(|input| input.node).collect();
    for (k, &value) in values.iter().enumerate() {
        let node = &mut graph.nodes[value.index()];
        *node = Node { op: Op::Input, args: vec![], attrs: Attrs::new(), ..node.clone() };
        inputs.insert(scan.carries + scan.slices + k, value);
    }
    graph.inputs = inputs
        .into_iter()
        .enumerate()
        .map(|(at, node)| Input { name: port(&wider, at), kind: PORTS[wider.port(at)].1, node })
        .collect();
    (wider, crate::scan::inputs_first(&graph))
}
