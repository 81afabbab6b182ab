//! The verifier: what every graph satisfies that comes from the builder, from text, or out of a pass.

use std::collections::BTreeSet;
use std::fmt;

use crate::build::infer;
use crate::error::OpError;
use crate::graph::{Graph, InputKind, NodeId, Role};
use crate::op::Op;
use crate::scan::{self, Scan};
use crate::types::{DType, Type};

/// What is wrong with a graph.
#[derive(Clone, Debug, PartialEq)]
pub enum VerifyError {
    /// An operand does not stand before its node.
    Order {
        /// The node.
        node: NodeId,
        /// The operand.
        arg: NodeId,
    },
    /// An op refuses its operands or attributes.
    Op {
        /// The node.
        node: NodeId,
        /// Why.
        error: OpError,
    },
    /// A node's type is not what its op's shape rule derives.
    Type {
        /// The node.
        node: NodeId,
        /// As the node says.
        declared: Type,
        /// As the rule says.
        derived: Type,
    },
    /// An input or output that does not fit its name, kind or node.
    Port {
        /// Its name, or its position if it has none.
        name: String,
        /// What is wrong.
        why: String,
    },
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VerifyError::Order { node, arg } => {
                write!(f, "node {} uses node {}, which is not before it", node.0, arg.0)
            }
            VerifyError::Op { node, error } => write!(f, "node {}: {error}", node.0),
            VerifyError::Type { node, declared, derived } => {
                write!(f, "node {} is declared {declared}, but its op gives {derived}", node.0)
            }
            VerifyError::Port { name, why } => write!(f, "`{name}`: {why}"),
        }
    }
}

impl std::error::Error for VerifyError {}

/// Checks that operands come before their nodes, that every type is what the op's shape rule derives, and that inputs
/// and outputs are consistent.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(graph: &Graph) -> Result<(), VerifyError> {
    for id in graph.ids() {
        let node = &graph[id];
        if let Some(&arg) = node.args.iter().find(|a| a.0 >= id.0) {
            return Err(VerifyError::Order { node: id, arg });
        }
        if node.op == Op::Input {
            continue;
        }
        let args: Vec<&Type> = node.args.iter().map(|&a| graph.ty(a)).collect();
        let derived = infer(node.op, &args, &node.attrs, &graph.facts);
        let derived = derived.map_err(|error| VerifyError::Op { node: id, error })?;
        let derived = loop_result(graph, id).unwrap_or(derived);
        if !same_type(graph, &node.ty, &derived) {
            return Err(VerifyError::Type { node: id, declared: node.ty.clone(), derived });
        }
    }
    inputs(graph)?;
    outputs(graph)
}

/// The type that a loop says its result has.
fn loop_result(graph: &Graph, id: NodeId) -> Option<Type> {
    let (of, index) = scan::as_result(graph, id)?;
    let attrs = &graph[of].attrs;
    let result = attrs.get_graph("body").and_then(|body| Scan::of(attrs).result(body, index));
    // A type that no node has.
    Some(result.unwrap_or(Type { dtype: DType::Bool, shape: vec![crate::dim::Dim::from(0)] }))
}

fn inputs(graph: &Graph) -> Result<(), VerifyError> {
    let (mut names, mut nodes) = (BTreeSet::new(), BTreeSet::new());
    for input in &graph.inputs {
        if graph.nodes.get(input.node.index()).is_none_or(|n| n.op != Op::Input) {
            return port(&input.name, format!("node {} is not an input", input.node.0));
        }
        if !names.insert(&input.name) {
            return port(&input.name, "there are two inputs of this name");
        }
        if !nodes.insert(input.node) {
            return port(&input.name, format!("node {} is two inputs", input.node.0));
        }
        let ty = graph.ty(input.node);
        if input.kind == InputKind::Key && *ty != Type::new(DType::I64, [2i64]) {
            return port(&input.name, format!("a key is i64[2], but this is {ty}"));
        }
    }
    match graph.ids().find(|id| graph[*id].op == Op::Input && !nodes.contains(id)) {
        Some(id) => port(&format!("node {}", id.0), "is an input that is not among the graph's inputs"),
        None => Ok(()),
    }
}

fn outputs(graph: &Graph) -> Result<(), VerifyError> {
    let mut roles = BTreeSet::new();
    for (i, output) in graph.outputs.iter().enumerate() {
        let name = format!("output {i}");
        if output.node.index() >= graph.nodes.len() {
            return port(&name, format!("there is no node {}", output.node.0));
        }
        let (word, target) = match &output.role {
            Role::Result => continue,
            Role::Grad(target) => ("gradient", target),
            Role::Update(target) => ("new value", target),
        };
        let Some(input) = graph.input(target) else {
            return port(&name, format!("is the {word} of `{target}`, which is no input"));
        };
        let kept = matches!(input.kind, InputKind::Param | InputKind::Buffer | InputKind::State | InputKind::Fixed);
        if !kept && matches!(output.role, Role::Update(_)) {
            return port(&name, format!("is the {word} of `{target}`, which is not kept between runs"));
        }
        if !roles.insert((word, target)) {
            return port(&name, format!("is a second {word} of `{target}`"));
        }
        let (ty, expected) = (graph.ty(output.node), graph.ty(input.node));
        if !same_type(graph, ty, expected) {
            return port(&name, format!("is the {word} of `{target}`, which is {expected}, but it is {ty}"));
        }
    }
    Ok(())
}

fn port<T>(name: &str, why: impl Into<String>) -> Result<T, VerifyError> {
    Err(VerifyError::Port { name: name.to_string(), why: why.into() })
}

fn same_type(graph: &Graph, a: &Type, b: &Type) -> bool {
    a.dtype == b.dtype && a.rank() == b.rank() && a.shape.iter().zip(&b.shape).all(|(a, b)| graph.facts.equal(a, b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::Builder;

    fn graph() -> Graph {
        let mut b = Builder::new();
        let x = b.input(InputKind::Param, "x", Type::new(DType::F32, [3i64]));
        let y = b.neg(x).unwrap();
        b.output(Role::Update("x".into()), y);
        b.finish()
    }

    #[test]
    fn what_is_sound_passes() {
        assert_eq!(verify(&graph()), Ok(()));
    }

    #[test]
    fn an_input_of_another_kind_or_type_is_not_the_same_input() {
        let x = |b: &mut Builder, kind, size: i64| b.input(kind, "x", Type::new(DType::F32, [size]));
        let mut b = Builder::on(graph());
        assert_eq!(x(&mut b, InputKind::Param, 3), NodeId(0));
        assert_eq!(verify(&b.graph), Ok(()));
        for (kind, size) in [(InputKind::Arg, 3), (InputKind::Param, 4)] {
            let mut b = Builder::on(graph());
            assert_ne!(x(&mut b, kind, size), NodeId(0));
            assert_eq!(verify(&b.graph).unwrap_err().to_string(), "`x`: there are two inputs of this name");
        }
    }

    #[test]
    fn every_defect_is_found() {
        let broken = |change: fn(&mut Graph)| {
            let mut g = graph();
            change(&mut g);
            verify(&g).unwrap_err().to_string()
        };
        assert_eq!(broken(|g| g.nodes[1].args[0] = NodeId(1)), "node 1 uses node 1, which is not before it");
        assert_eq!(
            broken(|g| g.nodes[1].ty = Type::new(DType::F32, [4i64])),
            "node 1 is declared f32[4], but its op gives f32[3]"
        );
        assert_eq!(broken(|g| g.nodes[1].op = Op::Not), "node 1: `not`: operand 0 must be bool, but it is f32");
        assert_eq!(broken(|g| g.nodes[1].args.clear()), "node 1: `neg`: takes 1 operands, but 0 are given");
        assert_eq!(broken(|g| g.inputs[0].node = NodeId(1)), "`x`: node 1 is not an input");
        assert_eq!(broken(|g| g.inputs.push(g.inputs[0].clone())), "`x`: there are two inputs of this name");
        assert_eq!(broken(|g| g.inputs.clear()), "`node 0`: is an input that is not among the graph's inputs");
        assert_eq!(broken(|g| g.outputs[0].node = NodeId(9)), "`output 0`: there is no node 9");
        assert_eq!(broken(|g| g.outputs.push(g.outputs[0].clone())), "`output 1`: is a second new value of `x`");
        assert!(broken(|g| g.inputs[0].name = "z".into()).contains("which is no input"));
        assert_eq!(
            broken(|g| g.inputs[0].kind = InputKind::Arg),
            "`output 0`: is the new value of `x`, which is not kept between runs"
        );
        assert_eq!(broken(|g| g.inputs[0].kind = InputKind::Key), "`x`: a key is i64[2], but this is f32[3]");
        assert!(broken(|g| g.nodes[0].ty = Type::new(DType::F32, [4i64])).contains("node 1 is declared"));
    }
}
