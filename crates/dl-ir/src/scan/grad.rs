//! The gradient of a loop: a loop in the other direction.
//!
//! It carries the cotangents of what the loop carries, and a sum for each constant; its slices are the cotangents of the
//! loop's results, and what an iteration's gradient needs of that iteration: values of the body, which the loop then
//! gives as further results. Movement and constants are made again instead, and on request all but what is carried.

use std::collections::HashMap;

use super::{PORTS, Scan, as_result, port, result_attrs};
use crate::attrs::Attrs;
use crate::autodiff::{GradError, carriers, pullback};
use crate::build::Builder;
use crate::error::OpError;
use crate::graph::{Graph, Input, InputKind, Loc, Node, NodeId, Output, Role};
use crate::op::{Class, Op};
use crate::types::Type;

/// Which results of a loop with that body gradients pass on their way to the operands that are marked.
pub(crate) fn flows(body: &Graph, args: &[bool]) -> Vec<bool> {
    let mut marked = args.to_vec();
    loop {
        let from: Vec<NodeId> = body
            .inputs
            .iter()
            .zip(&marked)
            .filter(|(input, m)| **m && is_float(body, input.node))
            .map(|(i, _)| i.node)
            .collect();
        let carries = carriers(body, &from);
        let outputs: Vec<bool> = body.outputs.iter().map(|o| carries[o.node.index()]).collect();
        let mut changed = false;
        for (k, output) in body.outputs.iter().enumerate().filter(|(_, o)| matches!(o.role, Role::Update(_))) {
            changed |= carries[output.node.index()] && !std::mem::replace(&mut marked[k], true);
        }
        if !changed {
            return outputs;
        }
    }
}

fn is_float(graph: &Graph, node: NodeId) -> bool {
    graph.ty(node).dtype.is_float()
}

/// Appends the loop that computes the cotangents of the operands of the loop `id` that are `wanted`, from those of its
/// results. The loop itself gets further results.
pub(crate) fn gradient(
    b: &mut Builder,
    id: NodeId,
    results: &[Option<NodeId>],
    wanted: &[bool],
) -> Result<Vec<Option<NodeId>>, GradError> {
    let node = b.graph[id].clone();
    let (op, loc) = (node.op, node.loc);
    let fault = |error: OpError| GradError::Rule { op, loc, error };
    let Some(body) = node.attrs.get_graph("body").cloned() else { return Ok(vec![None; node.args.len()]) };
    let scan = Scan::of(&node.attrs);
    let forward = body.nodes.len();
    let cotangent = |index: usize| results.get(index).copied().flatten();
    // What flows back: to every carry on the way, and to the slices and constants that are wanted.
    let mut marked = wanted.to_vec();
    for (k, passes) in flows(&body, wanted).into_iter().take(scan.carries).enumerate() {
        marked[k] |= passes;
    }
    let wrt: Vec<usize> =
        (0..node.args.len()).filter(|&at| marked[at] && is_float(&body, body.inputs[at].node)).collect();
    let carried: Vec<usize> = wrt.iter().copied().filter(|&at| at < scan.carries).collect();
    let given: Vec<usize> = (scan.carries..body.outputs.len()).filter(|&o| cotangent(o).is_some()).collect();

    // Forward and backward in one graph, from which the backward part is then taken.
    let mut joint = Builder::on(body.clone());
    let mut seeds = vec![];
    for &output in carried.iter().chain(&given) {
        let of = body.outputs[output].node;
        let seed = joint.input(InputKind::Arg, &format!("cotangent.{output}"), body.ty(of).clone());
        seeds.push((of, seed));
    }
    let inputs: Vec<NodeId> = wrt.iter().map(|&at| body.inputs[at].node).collect();
    let gradients = pullback(&mut joint, &seeds, &inputs)?;

    let mut body = Graph { nodes: joint.graph.nodes[..forward].to_vec(), ..body };
    let mut split = Split {
        joint: &joint.graph,
        forward,
        body: &mut body,
        back: Builder::on(Graph { facts: b.graph.facts.clone(), ..Graph::default() }),
        recompute: scan.recompute,
        new: HashMap::new(),
        kept: HashMap::new(),
        saved: vec![],
        slices: vec![],
        constants: vec![],
    };
    let mut inputs = vec![];
    for (&output, &(of, seed)) in carried.iter().chain(&given).zip(&seeds) {
        let kind = if output < scan.carries { 0 } else { 1 };
        let new = split.input(joint.graph.ty(of).clone());
        split.new.insert(seed, new);
        inputs.push((kind, new));
    }
    let mut outputs = vec![];
    for &at in &carried {
        let gradient = wrt.iter().position(|&w| w == at).and_then(|w| gradients[w]);
        let node = match gradient {
            Some(gradient) => split.get(gradient),
            None => {
                let ty = joint.graph.ty(split.body.inputs[at].node);
                let zero = split.back.constant(ty.dtype, 0.0);
                split.back.broadcast(zero, &ty.shape).map_err(fault)?
            }
        };
        outputs.push(node);
    }
    // Sums over all iterations.
    let mut sums = vec![];
    for (&at, &gradient) in wrt.iter().zip(&gradients).filter(|(at, _)| **at >= scan.carries + scan.slices) {
        let Some(gradient) = gradient else { continue };
        let gradient = split.get(gradient);
        let ty = split.back.ty(gradient).clone();
        let before = split.input(ty);
        inputs.push((0, before));
        outputs.push(split.back.add(before, gradient).map_err(fault)?);
        sums.push(at);
    }
    let mut sliced = vec![];
    for (&at, &gradient) in wrt.iter().zip(&gradients).filter(|(at, _)| scan.is_slice(**at)) {
        let Some(gradient) = gradient else { continue };
        let gradient = split.get(gradient);
        outputs.push(gradient);
        sliced.push(at);
    }
    let Split { back, saved, slices, constants, .. } = split;
    let mut back = back.finish();

    // The loop gives what is saved.
    let backward = Scan {
        carries: carried.len() + sums.len(),
        slices: given.len() + saved.len() + slices.len(),
        reverse: !scan.reverse,
        recompute: false,
        length: scan.length.clone(),
    };
    let saved_types: Vec<(usize, Type)> =
        saved.iter().filter_map(|&(index, _)| Some((index, scan.result(&body, index)?))).collect();
    b.graph.nodes[id.index()].attrs = scan.attrs(body);
    let mut args = vec![];
    for &at in &carried {
        args.push(match cotangent(at) {
            Some(cotangent) => cotangent,
            None => b.full_like(node.args[at], 0.0).map_err(fault)?,
        });
    }
    for &at in &sums {
        args.push(b.full_like(node.args[at], 0.0).map_err(fault)?);
    }
    args.extend(given.iter().filter_map(|&output| cotangent(output)));
    for (index, ty) in &saved_types {
        // The user's own result, if it is one.
        let taken = b.graph.ids().find(|&node| as_result(&b.graph, node) == Some((id, *index)));
        args.push(match taken {
            Some(taken) => taken,
            None => b.push(Op::ScanResult, &[id], result_attrs(*index, ty)).map_err(fault)?,
        });
    }
    args.extend(slices.iter().chain(&constants).map(|&(at, _)| node.args[at]));

    // Inputs in the order of the operands.
    inputs.sort_by_key(|(kind, _)| *kind);
    let nodes = inputs.iter().map(|(_, node)| *node);
    let nodes = nodes.chain(saved.iter().chain(&slices).chain(&constants).map(|(_, node)| *node));
    back.inputs = nodes
        .enumerate()
        .map(|(at, node)| Input { name: port(&backward, at), kind: PORTS[backward.port(at)].1, node })
        .collect();
    back.outputs = outputs
        .iter()
        .enumerate()
        .map(|(at, &node)| {
            let role = if at < backward.carries { Role::Update(port(&backward, at)) } else { Role::Result };
            Output { role, node }
        })
        .collect();
    let scanned = b.push_scan(&backward, &args, back).map_err(fault)?;

    let mut cotangents = vec![None; node.args.len()];
    let ends = carried.iter().chain(&sums).zip(&scanned.carries).chain(sliced.iter().zip(&scanned.results));
    ends.for_each(|(&at, &node)| cotangents[at] = Some(node));
    Ok(cotangents)
}

/// The backward part while it is taken out of the joint graph.
struct Split<'a> {
    joint: &'a Graph,
    /// How many nodes of the joint graph are the forward part.
    forward: usize,
    /// The body of the loop, which gets results.
    body: &'a mut Graph,
    back: Builder,
    /// See [`Scan::recompute`].
    recompute: bool,
    /// Nodes of the joint graph in the backward part.
    new: HashMap<NodeId, NodeId>,
    /// Nodes that were appended to the forward part.
    kept: HashMap<NodeId, NodeId>,
    /// The loop's results that are slices of the backward one: number and input.
    saved: Vec<(usize, NodeId)>,
    /// The loop's operands that are slices of the backward one.
    slices: Vec<(usize, NodeId)>,
    /// Those that are constants of it.
    constants: Vec<(usize, NodeId)>,
}

impl Split<'_> {
    fn input(&mut self, ty: Type) -> NodeId {
        append(&mut self.back.graph, Node { op: Op::Input, args: vec![], attrs: Attrs::new(), ty, loc: Loc::NONE })
    }

    /// The node of the backward part that has the value of a node of the joint graph.
    fn get(&mut self, id: NodeId) -> NodeId {
        if let Some(&known) = self.new.get(&id) {
            return known;
        }
        let node = &self.joint[id];
        let new = if self.is_forward(id) && !self.is_made_again(id) {
            self.read(id)
        } else {
            let args = node.args.iter().map(|&arg| self.get(arg)).collect();
            append(&mut self.back.graph, Node { args, ..node.clone() })
        };
        self.new.insert(id, new);
        new
    }

    /// Results of the body's own loops that their gradients asked for stand behind the forward part, but belong to it.
    fn is_forward(&self, id: NodeId) -> bool {
        let node = &self.joint[id];
        id.index() < self.forward || (node.op == Op::ScanResult && self.is_forward(node.args[0]))
    }

    /// Whether the value is made again and not kept: where that costs less, or is asked for.
    fn is_made_again(&self, id: NodeId) -> bool {
        match self.joint[id].op {
            Op::Input => false,
            _ if self.recompute => true,
            Op::Random | Op::Pad | Op::Concat => false,
            op => matches!(op.class(), Class::Source | Class::Movement),
        }
    }

    /// An input of the backward part for a value of the forward one.
    fn read(&mut self, id: NodeId) -> NodeId {
        let scan_input = self.body.inputs.iter().position(|input| input.node == id);
        let kind = scan_input.map(|at| self.body.inputs[at].kind);
        let ty = self.joint.ty(id).clone();
        match (scan_input, kind) {
            (Some(at), Some(InputKind::Arg)) => {
                let new = self.input(ty);
                self.slices.push((at, new));
                new
            }
            (Some(at), Some(InputKind::Fixed)) => {
                let new = self.input(ty);
                self.constants.push((at, new));
                new
            }
            _ => {
                let inside = self.inside(id);
                let same = |o: &Output| o.role == Role::Result && o.node == inside;
                let index = self.body.outputs.iter().position(same).unwrap_or_else(|| {
                    self.body.outputs.push(Output { role: Role::Result, node: inside });
                    self.body.outputs.len() - 1
                });
                let new = self.input(ty);
                self.saved.push((index, new));
                new
            }
        }
    }

    /// The node of the forward part.
    fn inside(&mut self, id: NodeId) -> NodeId {
        if id.index() < self.forward {
            return id;
        }
        let node = self.joint[id].clone();
        *self.kept.entry(id).or_insert_with(|| append(self.body, node))
    }
}

fn append(graph: &mut Graph, node: Node) -> NodeId {
    graph.nodes.push(node);
    NodeId(graph.nodes.len() as u32 - 1)
}
