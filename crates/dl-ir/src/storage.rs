//! Storage: in which order the axes of each parameter lie in memory.
//!
//! Users and files see a parameter as the model declares it. Its memory, with that of its gradient and of what an
//! optimizer keeps for it, has the order in which kernels read it, so that no step moves it. [`Storage::choose`] decides
//! this once for a model, from all of its functions; [`passes::store`](crate::passes::store) brings a graph into it.

use std::collections::BTreeMap;

use crate::dim::{Bindings, Dim};
use crate::graph::{Graph, Input, InputKind, Node, NodeId};
use crate::module::Module;
use crate::op::{Class, Op};
use crate::scan::Scan;

/// An order of axes: axis i in memory is the declared axis `axes[i]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Order(Vec<usize>);

impl Order {
    /// The order in which the axes are declared.
    pub fn declared(rank: usize) -> Order {
        Order((0..rank).collect())
    }

    /// An order of these axes, if each from 0 on is there once.
    pub fn new(axes: Vec<usize>) -> Option<Order> {
        (0..axes.len()).all(|axis| axes.contains(&axis)).then_some(Order(axes))
    }

    /// Weights `[O, I, kernel…]` of a convolution as `[kernel…, I, O]`.
    pub fn of_filters(rank: usize) -> Order {
        Order((2..rank).chain([1, 0]).collect())
    }

    /// The declared axes, as they lie in memory.
    pub fn axes(&self) -> &[usize] {
        &self.0
    }

    /// Something for each declared axis, as these lie in memory.
    pub fn permuted<T: Clone>(&self, declared: &[T]) -> Vec<T> {
        self.0.iter().map(|&axis| declared[axis].clone()).collect()
    }

    /// The order that undoes this one.
    pub fn inverse(&self) -> Order {
        let mut inverse = vec![0; self.0.len()];
        self.0.iter().enumerate().for_each(|(i, &axis)| inverse[axis] = i);
        Order(inverse)
    }

    /// Whether the axes lie as they are declared.
    pub fn is_declared(&self) -> bool {
        self.0.is_sorted()
    }

    /// Whether an array of this declared shape has its elements where they are if its axes lie as they are declared:
    /// only axes of size 1 move.
    pub fn moves_nothing(&self, shape: &[Dim]) -> bool {
        self.0.iter().filter(|&&axis| !shape[axis].is(1)).is_sorted()
    }
}

/// The order of each parameter that does not lie as it is declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage(BTreeMap<String, Order>);

/// Of fewer, a product makes poor use of vectors either way.
const FEWEST_COLUMNS: i64 = 16;

/// How a node reads a parameter.
enum Reading {
    /// Element by element, in any order.
    Any,
    /// Best in this order.
    Best(Order),
    /// As it is declared.
    Declared,
}

impl Storage {
    /// The order of each parameter of a model with these dimensions: another than declared where everything that reads
    /// it, in whatever function, agrees on that.
    pub fn choose(module: &Module, dims: &Bindings) -> Storage {
        let chosen = module.params.iter().filter_map(|param| {
            let ty = param.ty.bind(dims).ok()?;
            let mut best = None;
            for graph in module.functions.iter().map(|f| &f.graph) {
                for reading in readings(graph, &param.name, &ty.shape) {
                    match (reading, &best) {
                        (Reading::Any, _) => {}
                        (Reading::Best(order), None) => best = Some(order),
                        (Reading::Best(order), Some(before)) if order == *before => {}
                        (Reading::Best(_) | Reading::Declared, _) => return None,
                    }
                }
            }
            let order = best.filter(|order| !order.moves_nothing(&ty.shape))?;
            Some((param.name.clone(), order))
        });
        Storage(chosen.collect())
    }

    /// The order of a parameter or buffer, unless it lies as declared.
    pub fn order(&self, param: &str) -> Option<&Order> {
        self.0.get(param)
    }

    /// The order of an input of a graph that has so many axes, unless it lies as declared. What an optimizer keeps for a
    /// parameter lies like that.
    pub fn order_of(&self, input: &Input, rank: usize) -> Option<&Order> {
        let order = match input.kind {
            InputKind::Param | InputKind::Buffer => self.order(&input.name),
            InputKind::State => {
                let owner = |name: &str| input.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
                let owners = self.0.iter().filter(|(name, _)| owner(name));
                owners.max_by_key(|(name, _)| name.len()).map(|(_, order)| order)
            }
            InputKind::Arg | InputKind::Hyper | InputKind::Key | InputKind::Fixed => None,
        };
        order.filter(|order| order.axes().len() == rank)
    }
}

impl FromIterator<(String, Order)> for Storage {
    fn from_iter<T: IntoIterator<Item = (String, Order)>>(orders: T) -> Storage {
        Storage(orders.into_iter().collect())
    }
}

/// How the nodes of a graph that an output needs read a parameter of that shape.
fn readings(graph: &Graph, param: &str, shape: &[Dim]) -> Vec<Reading> {
    let Some(input) = graph.input(param).filter(|i| matches!(i.kind, InputKind::Param | InputKind::Buffer)) else {
        return vec![];
    };
    readings_of(graph, input.node, shape)
}

/// How the nodes of a graph, and those in its loops, read one of its inputs.
fn readings_of(graph: &Graph, input: NodeId, shape: &[Dim]) -> Vec<Reading> {
    let live = graph.live();
    let mut readings = vec![];
    for node in graph.ids().filter(|id| live[id.index()]).map(|id| &graph[id]) {
        for (arg, _) in node.args.iter().enumerate().filter(|(_, arg)| **arg == input) {
            match node.attrs.get_graph("body") {
                Some(body) if Scan::of(&node.attrs).port(arg) == 2 => {
                    readings.extend(readings_of(body, body.inputs[arg].node, shape));
                }
                _ => readings.push(reading(node, arg, shape)),
            }
        }
    }
    // A result is what was declared.
    readings.extend(graph.outputs.iter().filter(|o| o.node == input).map(|_| Reading::Declared));
    readings
}

fn reading(node: &Node, arg: usize, shape: &[Dim]) -> Reading {
    match (node.op, arg) {
        (Op::Conv | Op::ConvInputGrad, 1) if node.attrs.get_word("layout") == "first" => {
            Reading::Best(Order::of_filters(shape.len()))
        }
        (Op::Dot, _) => matrix(node, arg, shape),
        (op, _) if op.class() == Class::Elementwise => Reading::Any,
        _ => Reading::Declared,
    }
}

/// How a `dot` reads a matrix of parameters. Products go along the last axis of their result, so where they sum the last
/// axis of weights, as a linear layer does with `[out, in]`, these lie best as `[in, out]`, if there are enough columns
/// for that. Who sums the first axis, such as the gradient of the layer's operand, has no say.
fn matrix(node: &Node, arg: usize, shape: &[Dim]) -> Reading {
    let [batch, sum] = [["batch_a", "batch_b"][arg], ["sum_a", "sum_b"][arg]].map(|name| node.attrs.get_axes(name));
    match (shape, &batch[..], &sum[..]) {
        ([columns, _], [], [1]) if columns.as_const().is_some_and(|columns| columns >= FEWEST_COLUMNS) => {
            Reading::Best(Order(vec![1, 0]))
        }
        ([_, _], [], [0]) => Reading::Any,
        _ => Reading::Declared,
    }
}

#[cfg(test)]
mod tests;
