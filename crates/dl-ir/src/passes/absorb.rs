//! Absorbing scales into weights, for inference.
//!
//! Before: a valid graph that is simplified, with channels first. After: a convolution or `dot` whose weights depend on
//! nothing but parameters, and whose result is then scaled and shifted channel by channel by what depends on nothing but
//! parameters as well, as batch norm does with running statistics, has scaled weights and at most one shift:
//! `(x * w + a) * s + t` is `x * (w * s) + (a * s + t)`. Results round differently, and other ones are not finite if
//! parameters are not. What depends on parameters alone is
//! computed once, if the graph is [split](super::split) afterwards.

use std::collections::HashMap;

use super::layout::arranged;
use super::rewrite;
use super::split::{Needs, needs};
use crate::attrs::Attrs;
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::error::OpError;
use crate::graph::{Graph, Node, NodeId};
use crate::op::{Class, Op};

/// A product with weights, and what was done to it channel by channel: `product * scale + shift`.
#[derive(Clone)]
struct Scaled {
    product: Product,
    /// In the rank of the result, of size 1 along all axes but those of channels. So is the shift.
    scale: Option<NodeId>,
    shift: Option<NodeId>,
    /// Whether the scale needs parameters; by constants alone nothing is saved.
    by_params: bool,
}

/// A convolution or `dot` with weights, in the new graph.
#[derive(Clone)]
struct Product {
    op: Op,
    args: Vec<NodeId>,
    attrs: Attrs,
    /// Which operand the weights are.
    weights: usize,
    /// For each axis of the result the axis of the weights along which it goes, if it does.
    axes: Vec<Option<usize>>,
}

/// Absorbs scales into weights.
///
/// # Errors
/// None.
pub fn run(graph: &Graph) -> Result<Graph, OpError> {
    let (needs, uses) = (needs(graph), graph.use_counts());
    let mut known: HashMap<NodeId, Scaled> = HashMap::new();
    rewrite(graph, |b, id, node| {
        let old = &graph[id].args;
        let fixed: Vec<bool> = old.iter().map(|arg| needs[arg.index()] != Needs::Call).collect();
        if let Some(product) = product(b, node, &fixed) {
            known.insert(id, Scaled { product, scale: None, shift: None, by_params: false });
            return Ok(None);
        }
        // Of another user's value nothing would be saved.
        let scaled = |arg: usize| known.get(&old[arg]).filter(|_| uses[old[arg].index()] == 1).cloned();
        let next = match (node.op, &old[..]) {
            (Op::Neg, [_]) => match scaled(0) {
                Some(before) => Some(negated(b, before)?),
                None => None,
            },
            (Op::Add | Op::Sub | Op::Mul | Op::Div, [_, _]) => match (scaled(0), scaled(1)) {
                (Some(before), None) if fixed[1] => {
                    let by_params = needs[old[1].index()] == Needs::Params;
                    then(b, node, before, node.args[1], by_params)?
                }
                (None, Some(before)) if fixed[0] && node.op != Op::Div => {
                    let by_params = needs[old[0].index()] == Needs::Params;
                    let before = if node.op == Op::Sub { negated(b, before)? } else { before };
                    let op = if node.op == Op::Sub { Op::Add } else { node.op };
                    then(b, &Node { op, ..node.clone() }, before, node.args[0], by_params)?
                }
                _ => None,
            },
            _ => None,
        };
        let Some(next) = next else { return Ok(None) };
        let absorbed = match (next.by_params, next.scale) {
            (true, Some(scale)) => Some(absorbed(b, &next, scale)?),
            _ => None,
        };
        known.insert(id, next);
        Ok(absorbed)
    })
}

/// The node as a product with weights, if it is one: one operand is fixed, the other is not.
fn product(b: &Builder, node: &Node, fixed: &[bool]) -> Option<Product> {
    if node.op.class() != Class::Contract || fixed.iter().filter(|fixed| **fixed).count() != 1 {
        return None;
    }
    let weights = usize::from(fixed[1]);
    let rank = node.ty.rank();
    let channels = |of: usize| (0..rank).map(|axis| (axis == 1).then_some(of)).collect();
    let axes = match node.op {
        Op::Conv if weights == 1 && node.attrs.get_word("layout") == "first" => channels(0),
        // Each group has its own part of the result's channels, but the weights have one axis for all.
        Op::ConvInputGrad if weights == 1 && node.attrs.get_word("layout") == "first" => {
            if node.attrs.get_int("groups") != 1 {
                return None;
            }
            channels(1)
        }
        Op::Dot => {
            let axes = |name| node.attrs.get_axes(name);
            let batch = [axes("batch_a"), axes("batch_b")];
            let gone = [[axes("batch_a"), axes("sum_a")].concat(), [axes("batch_b"), axes("sum_b")].concat()];
            let rest = |side: usize| (0..b.rank(node.args[side])).filter(move |axis| !gone[side].contains(axis));
            let of = |side: usize, axis: usize| (side == weights).then_some(axis);
            let batch = batch[weights].iter().map(|&axis| Some(axis));
            batch.chain(rest.clone()(0).map(|axis| of(0, axis))).chain(rest(1).map(|axis| of(1, axis))).collect()
        }
        _ => return None,
    };
    Some(Product { op: node.op, args: node.args.clone(), attrs: node.attrs.clone(), weights, axes })
}

/// `before`, then this op with the fixed value `by`, if that goes along channels only.
fn then(b: &mut Builder, node: &Node, before: Scaled, by: NodeId, by_params: bool) -> Result<Option<Scaled>, OpError> {
    let Some(by) = along_channels(b, &before.product, by)? else { return Ok(None) };
    let mut next = before;
    match node.op {
        Op::Add | Op::Sub => {
            next.shift = Some(match (next.shift, node.op) {
                (Some(shift), op) => b.elementwise(op, &[shift, by])?,
                (None, Op::Add) => by,
                (None, _) => b.neg(by)?,
            });
        }
        op => {
            let one = b.constant(b.dtype(by), 1.0);
            next.scale = Some(match (next.scale, op) {
                (None, Op::Mul) => by,
                (scale, op) => b.elementwise(op, &[scale.unwrap_or(one), by])?,
            });
            next.shift = next.shift.map(|shift| b.elementwise(op, &[shift, by])).transpose()?;
            next.by_params |= by_params;
        }
    }
    Ok(Some(next))
}

fn negated(b: &mut Builder, before: Scaled) -> Result<Scaled, OpError> {
    let dtype = b.dtype(before.product.args[0]);
    let scale = match before.scale {
        Some(scale) => b.neg(scale)?,
        None => b.constant(dtype, -1.0),
    };
    let shift = before.shift.map(|shift| b.neg(shift)).transpose()?;
    Ok(Scaled { scale: Some(scale), shift, ..before })
}

/// What `value` repeats, in the rank of the result and of size 1 along all axes but those of the weights; `None` if it
/// is not the same along one of the others.
fn along_channels(b: &mut Builder, product: &Product, value: NodeId) -> Result<Option<NodeId>, OpError> {
    let source = match b.graph[value].op {
        Op::Broadcast => b.graph[value].args[0],
        _ => value,
    };
    let mut shape = vec![Dim::ONE; product.axes.len() - b.rank(source)];
    shape.extend_from_slice(b.shape(source));
    match shape.iter().zip(&product.axes).all(|(size, of)| size.is(1) || of.is_some()) {
        true => b.reshape(source, &shape).map(Some),
        false => Ok(None),
    }
}

/// The product with scaled weights, shifted.
fn absorbed(b: &mut Builder, scaled: &Scaled, scale: NodeId) -> Built {
    let Scaled { product, shift, .. } = scaled;
    let weights = product.args[product.weights];
    // From the axes of the result to those of the weights.
    let mut moved: Vec<(usize, usize)> =
        product.axes.iter().enumerate().filter_map(|(axis, of)| Some((axis, (*of)?))).collect();
    let kept: Vec<Dim> = match b.rank(scale) {
        0 => vec![Dim::ONE; moved.len()],
        _ => moved.iter().map(|&(axis, _)| b.shape(scale)[axis].clone()).collect(),
    };
    let scale = b.reshape(scale, &kept)?;
    let mut order: Vec<usize> = (0..moved.len()).collect();
    order.sort_by_key(|&at| moved[at].1);
    moved.sort_by_key(|&(_, of)| of);
    let scale = arranged(b, scale, &order)?;
    let mut shape = vec![Dim::ONE; b.rank(weights)];
    moved.iter().zip(&order).for_each(|(&(_, of), &at)| shape[of] = kept[at].clone());
    let scale = b.reshape(scale, &shape)?;
    let mut args = product.args.clone();
    args[product.weights] = b.mul(weights, scale)?;
    let result = b.push(product.op, &args, product.attrs.clone())?;
    match shift {
        Some(shift) => b.add(result, *shift),
        None => Ok(result),
    }
}
