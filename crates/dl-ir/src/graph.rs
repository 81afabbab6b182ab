//! The tensor graph: an arena of nodes, its inputs and its outputs.

use crate::attrs::Attrs;
use crate::dim::Facts;
use crate::op::Op;
use crate::types::Type;

/// A node of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The position in the arena.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A place in the model's source: an index into [`Module::locs`](crate::module::Module::locs), or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Loc(pub u32);

impl Loc {
    /// No known place.
    pub const NONE: Loc = Loc(u32::MAX);
}

/// One operation with one result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// The operands; they stand before the node in the arena.
    pub args: Vec<NodeId>,
    /// The attributes, as in the op's schema.
    pub attrs: Attrs,
    /// The type of the result.
    pub ty: Type,
    /// Where in the model the node comes from.
    pub loc: Loc,
}

/// What an input of a graph is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputKind {
    /// An argument of the call.
    Arg,
    /// A trainable parameter, named as in the module.
    Param,
    /// A tensor of the model that is not trained, such as running statistics.
    Buffer,
    /// Optimizer state of a parameter.
    State,
    /// A scalar of the optimizer, such as the learning rate.
    Hyper,
    /// The key of random numbers: `i64[2]`, seed and step.
    Key,
    /// A value that depends on parameters and buffers only, computed when they have changed and then kept.
    Fixed,
}

impl InputKind {
    /// Every kind.
    pub const ALL: [InputKind; 7] = [
        InputKind::Arg,
        InputKind::Param,
        InputKind::Buffer,
        InputKind::State,
        InputKind::Hyper,
        InputKind::Key,
        InputKind::Fixed,
    ];

    /// The word in the text form.
    pub fn name(self) -> &'static str {
        match self {
            InputKind::Arg => "arg",
            InputKind::Param => "param",
            InputKind::Buffer => "buffer",
            InputKind::State => "state",
            InputKind::Hyper => "hyper",
            InputKind::Key => "key",
            InputKind::Fixed => "fixed",
        }
    }
}

/// An input of a graph.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Input {
    /// Its name, unique in the graph.
    pub name: String,
    /// What it is.
    pub kind: InputKind,
    /// Its node, with op [`Op::Input`].
    pub node: NodeId,
}

/// What an output of a graph is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A result of the function, in order.
    Result,
    /// The gradient of the result with respect to that parameter.
    Grad(String),
    /// The new value of that input, written over it when all its readers are done.
    Update(String),
}

/// An output of a graph.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    /// What it is for.
    pub role: Role,
    /// Its node.
    pub node: NodeId,
}

/// A tensor program without control flow: nodes in an order in which they can be computed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Graph {
    /// The arena.
    pub nodes: Vec<Node>,
    /// The inputs, in order.
    pub inputs: Vec<Input>,
    /// The outputs, in order.
    pub outputs: Vec<Output>,
    /// What is known of the symbols in shapes.
    pub facts: Facts,
}

impl std::ops::Index<NodeId> for Graph {
    type Output = Node;
    fn index(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }
}

impl Graph {
    /// All node ids, in order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + ExactSizeIterator + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// The type of a node's result.
    pub fn ty(&self, id: NodeId) -> &Type {
        &self[id].ty
    }

    /// The input of that name.
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|i| i.name == name)
    }

    /// Whether a node is an input of a graph for inference that does not change from call to call, so that what is made
    /// of it can be kept.
    pub fn is_kept(&self, node: NodeId) -> bool {
        let fixed = |i: &Input| matches!(i.kind, InputKind::Param | InputKind::Buffer | InputKind::Fixed);
        self.inputs.iter().any(|i| i.node == node && fixed(i)) && self.outputs.iter().all(|o| o.role == Role::Result)
    }

    /// The nodes of the results, in order.
    pub fn results(&self) -> impl Iterator<Item = NodeId> {
        self.outputs.iter().filter(|o| o.role == Role::Result).map(|o| o.node)
    }

    /// The bodies of loops, each with the node of its loop.
    pub fn bodies(&self) -> impl Iterator<Item = (NodeId, &Graph)> {
        self.ids().filter_map(|id| Some((id, self[id].attrs.get_graph("body")?)))
    }

    /// How many nodes the graph has, those of the bodies of loops included.
    pub fn all_nodes(&self) -> usize {
        self.nodes.len() + self.bodies().map(|(_, body)| body.all_nodes()).sum::<usize>()
    }

    /// The node of that number where the nodes of bodies are counted behind those of their graph, body by body.
    pub fn nested(&self, number: usize) -> Option<(&Graph, NodeId)> {
        if number < self.nodes.len() {
            return Some((self, NodeId(number as u32)));
        }
        let mut first = self.nodes.len();
        for (_, body) in self.bodies() {
            if number - first < body.all_nodes() {
                return body.nested(number - first);
            }
            first += body.all_nodes();
        }
        None
    }

    /// How often each node is used, as an operand or as an output.
    pub fn use_counts(&self) -> Vec<u32> {
        let mut uses = vec![0; self.nodes.len()];
        for node in &self.nodes {
            for arg in &node.args {
                uses[arg.index()] += 1;
            }
        }
        for output in &self.outputs {
            uses[output.node.index()] += 1;
        }
        uses
    }

    /// Which nodes an output depends on. Inputs count as live only if used.
    pub fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        for output in &self.outputs {
            live[output.node.index()] = true;
        }
        for id in self.ids().rev() {
            if live[id.index()] {
                for arg in &self[id].args {
                    live[arg.index()] = true;
                }
            }
        }
        live
    }
}
