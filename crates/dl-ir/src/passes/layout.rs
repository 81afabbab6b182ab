//! Layout: convolutions and pools go over channels that lie last.
//!
//! Before: a valid graph that is simplified. After: in a graph with convolutions, these and the pools have layout
//! `last`, and so has all that is computed from their results, from one to the next and back through the gradients:
//! elementwise ops, reductions, padding, slices, concatenations, indexing. Transposes stand where images enter that
//! do not come from there, where a result or an op such as a flattening `reshape` needs the channels first, and
//! around weights. Elements are the same but for sums, which change their order. Random numbers are counted by
//! position, so they are drawn as before and then transposed.

use std::collections::HashMap;

use super::{dce, rewrite};
use crate::attrs::{Attr, Attrs};
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::error::OpError;
use crate::graph::{Graph, Node, NodeId};
use crate::op::{Class, Op};
use crate::storage::Order;

/// Of each node that is computed with its channels last: the node that computes it so.
type Last = HashMap<NodeId, NodeId>;

/// A node and the order of its axes: its axis i is axis `order[i]` of the node that it stands for.
type Ordered = (NodeId, Vec<usize>);

/// Puts channels last, if there are convolutions that have them first.
///
/// # Errors
/// None.
pub fn run(graph: &Graph) -> Result<Graph, OpError> {
    let convolves = |node: &Node| node.op.class() == Class::Contract && has_channels_first(node);
    if !graph.nodes.iter().any(convolves) {
        return Ok(graph.clone());
    }
    let mut last = Last::new();
    let moved = rewrite(graph, |b, _, node| {
        let ordered = match has_channels_first(node) {
            true => Some(window(b, &last, node)?),
            false => follow(b, &last, node)?,
        };
        let Some((result, order)) = ordered else { return Ok(None) };
        // Who needs the channels first takes this; where nobody does it is dead.
        let first = arranged(b, result, &inverse(&order))?;
        if order.len() >= 3 && order == images_last(order.len()) {
            last.insert(first, result);
        }
        Ok(Some(first))
    })?;
    dce::run(&moved)
}

/// Whether the node is a convolution or pool with layout `first`.
fn has_channels_first(node: &Node) -> bool {
    node.attrs.get_word("layout") == "first"
}

/// Images `[N, C, spatial…]` to `[N, spatial…, C]`.
fn images_last(rank: usize) -> Vec<usize> {
    [0].into_iter().chain(2..rank).chain([1]).collect()
}

/// Weights `[O, I, kernel…]` to `[kernel…, I, O]`.
fn weights_last(rank: usize) -> Vec<usize> {
    Order::of_filters(rank).axes().to_vec()
}

fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    order.iter().enumerate().for_each(|(i, &a)| inverse[a] = i);
    inverse
}

fn permuted<T: Clone>(items: &[T], order: &[usize]) -> Vec<T> {
    order.iter().map(|&a| items[a].clone()).collect()
}

/// A transpose, or a reshape where only axes of size 1 move.
pub(super) fn arranged(b: &mut Builder, x: NodeId, order: &[usize]) -> Built {
    let moving = order.iter().filter(|&&a| !b.shape(x)[a].is(1));
    if moving.is_sorted() {
        let shape = permuted(b.shape(x), order);
        return b.reshape(x, &shape);
    }
    b.transpose(x, order)
}

/// `x` with its channels last.
fn channels_last(b: &mut Builder, last: &Last, x: NodeId) -> Built {
    if let Some(&known) = last.get(&x) {
        return Ok(known);
    }
    let order = images_last(b.rank(x));
    let shape = permuted(b.shape(x), &order);
    let (op, source) = (b.graph[x].op, b.graph[x].args.first().copied());
    match (op, source) {
        // What is repeated is smaller: a bias, a constant.
        (Op::Broadcast, Some(source)) => {
            let mut aligned = vec![Dim::ONE; order.len() - b.rank(source)];
            aligned.extend_from_slice(b.shape(source));
            let source = b.reshape(source, &aligned)?;
            let source = channels_last(b, last, source)?;
            b.broadcast(source, &shape)
        }
        (Op::Reshape, Some(source)) if is_spatial(b.shape(source), b.shape(x)) => {
            let source = channels_last(b, last, source)?;
            b.reshape(source, &shape)
        }
        _ => arranged(b, x, &order),
    }
}

/// Whether a reshape leaves batch and channels as they are.
fn is_spatial(from: &[Dim], to: &[Dim]) -> bool {
    from.len() >= 3 && to.len() >= 3 && from[..2] == to[..2]
}

/// A convolution or pool with layout `last`.
fn window(b: &mut Builder, last: &Last, node: &Node) -> Result<Ordered, OpError> {
    let rank = node.ty.rank();
    let mut args = vec![];
    for (i, &arg) in node.args.iter().enumerate() {
        args.push(match (node.op, i) {
            (Op::Conv | Op::ConvInputGrad, 1) => arranged(b, arg, &weights_last(rank))?,
            _ => channels_last(b, last, arg)?,
        });
    }
    let attrs = node.attrs.iter().fold(Attrs::new(), |attrs, (name, value)| match *name {
        "layout" => attrs.word(name, "last"),
        _ => attrs.with(name, value.clone()),
    });
    let order = if node.op == Op::ConvWeightGrad { weights_last(rank) } else { images_last(rank) };
    Ok((b.push(node.op, &args, attrs)?, order))
}

/// The node on operands with channels last, if one of them is computed so and the op can go along its axes in
/// another order.
fn follow(b: &mut Builder, last: &Last, node: &Node) -> Result<Option<Ordered>, OpError> {
    let Some(&x) = node.args.iter().find(|a| last.contains_key(a)) else { return Ok(None) };
    let order = images_last(b.rank(x));
    let follows = match node.op {
        Op::Concat | Op::Flip | Op::Slice | Op::Pad | Op::Gather | Op::ScatterAdd => true,
        Op::Broadcast => node.ty.rank() == order.len(),
        Op::Reshape => is_spatial(b.shape(x), &node.ty.shape),
        op => matches!(op.class(), Class::Elementwise | Class::Reduce),
    };
    if !follows {
        return Ok(None);
    }
    let mut args = vec![];
    for &arg in &node.args {
        // Only the value of `pad` has another rank.
        args.push(if b.rank(arg) == order.len() { channels_last(b, last, arg)? } else { arg });
    }
    let to = match node.op {
        Op::Reshape => images_last(node.ty.rank()),
        _ => order.clone(),
    };
    let result = b.push(node.op, &args, reordered(&node.attrs, &to))?;
    if node.op.class() != Class::Reduce {
        return Ok(Some((result, to)));
    }
    let mut gone = node.attrs.get_axes("axes");
    if node.op == Op::ArgMax {
        gone = vec![node.attrs.get_int("axis") as usize];
    }
    let kept = order.iter().filter(|a| !gone.contains(a));
    Ok(Some((result, kept.map(|a| a - gone.iter().filter(|g| *g < a).count()).collect())))
}

/// Attributes of an op on axes in this order.
fn reordered(attrs: &Attrs, order: &[usize]) -> Attrs {
    let place = inverse(order);
    attrs.iter().fold(Attrs::new(), |attrs, (name, value)| {
        let value = match (*name, value) {
            ("axis", Attr::Int(axis)) => Attr::Int(place[*axis as usize] as i64),
            ("axes", Attr::Ints(axes)) => {
                let mut axes: Vec<i64> = axes.iter().map(|&a| place[a as usize] as i64).collect();
                axes.sort_unstable();
                Attr::Ints(axes)
            }
            (_, Attr::Ints(per_axis)) => Attr::Ints(permuted(per_axis, order)),
            (_, Attr::Dims(per_axis)) => Attr::Dims(permuted(per_axis, order)),
            _ => value.clone(),
        };
        attrs.with(name, value)
    })
}

#[cfg(test)]
mod tests;
