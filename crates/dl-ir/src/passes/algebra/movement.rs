//! Rules for movements and reductions.

use super::{At, Rewritten, make, operand};
use crate::attrs::Attrs;
use crate::build::Builder;
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::op::Op;

pub(super) fn simpler(b: &mut Builder, at: &At<'_>) -> Rewritten {
    let x = at.args[0];
    match at.op {
        Op::Reshape => reshape(b, x, at.attrs.get_dims("shape")),
        Op::Broadcast => broadcast(b, x, at.attrs.get_dims("shape")),
        Op::Transpose => transpose(b, at),
        Op::Flip => flip(b, x, &at.attrs.get_axes("axes")),
        Op::Slice => {
            let whole = at.attrs.get_dims("start").iter().all(|d| d.is(0))
                && at.attrs.get_ints("step").iter().all(|&s| s == 1)
                && at.attrs.get_dims("stop") == b.shape(x);
            Ok(whole.then_some(x))
        }
        Op::Pad => {
            let nothing = ["lo", "hi"].iter().all(|name| at.attrs.get_dims(name).iter().all(|d| d.is(0)));
            Ok(nothing.then_some(x))
        }
        Op::Concat => Ok((at.args.len() == 1).then_some(x)),
        _ => Ok(None),
    }
}

fn shaped(b: &mut Builder, op: Op, x: NodeId, shape: &[Dim]) -> Rewritten {
    make(b, op, &[x], Attrs::new().dims("shape", shape)).map(Some)
}

fn reshape(b: &mut Builder, x: NodeId, shape: &[Dim]) -> Rewritten {
    if b.shape(x) == shape {
        return Ok(Some(x));
    }
    match operand(b, x, Op::Reshape) {
        Some(source) => shaped(b, Op::Reshape, source, shape),
        None => Ok(None),
    }
}

fn broadcast(b: &mut Builder, x: NodeId, shape: &[Dim]) -> Rewritten {
    if b.shape(x) == shape {
        return Ok(Some(x));
    }
    let (added, rest) = shape.split_at(shape.len() - b.rank(x));
    if rest == b.shape(x) && added.iter().all(|d| d.is(1)) {
        return shaped(b, Op::Reshape, x, shape);
    }
    if let Some(source) = operand(b, x, Op::Broadcast) {
        return shaped(b, Op::Broadcast, source, shape);
    }
    // A reshape that only adds leading axes of size 1 is part of a broadcast.
    let Some(source) = operand(b, x, Op::Reshape) else { return Ok(None) };
    let (from, to) = (b.shape(source), b.shape(x));
    if from.len() <= to.len() {
        let (added, rest) = to.split_at(to.len() - from.len());
        if rest == from && added.iter().all(|d| d.is(1)) {
            return shaped(b, Op::Broadcast, source, shape);
        }
    }
    Ok(None)
}

fn transpose(b: &mut Builder, at: &At<'_>) -> Rewritten {
    let (x, perm) = (at.args[0], at.attrs.get_axes("perm"));
    if perm.is_sorted() {
        return Ok(Some(x));
    }
    if let Some(source) = operand(b, x, Op::Transpose) {
        let inner = b.graph[x].attrs.get_axes("perm");
        let both: Vec<i64> = perm.iter().map(|&p| inner[p] as i64).collect();
        return make(b, Op::Transpose, &[source], Attrs::new().ints("perm", both)).map(Some);
    }
    // Moving axes of size 1 moves no element.
    let moving: Vec<usize> = perm.iter().copied().filter(|&p| !b.shape(x)[p].is(1)).collect();
    if moving.is_sorted() {
        let shape: Vec<Dim> = perm.iter().map(|&p| b.shape(x)[p].clone()).collect();
        return shaped(b, Op::Reshape, x, &shape);
    }
    super::contract::swapped(b, at, &perm)
}

fn flip(b: &mut Builder, x: NodeId, axes: &[usize]) -> Rewritten {
    if axes.iter().all(|&a| b.shape(x)[a].is(1)) {
        return Ok(Some(x));
    }
    let Some(source) = operand(b, x, Op::Flip) else { return Ok(None) };
    let inner = b.graph[x].attrs.get_axes("axes");
    let once = (0..b.rank(x)).filter(|a| axes.contains(a) != inner.contains(a)).map(|a| a as i64);
    make(b, Op::Flip, &[source], Attrs::new().ints("axes", once.collect::<Vec<_>>())).map(Some)
}

/// Reductions over nothing, over axes of size 1, of reductions, and of values that repeat.
pub(super) fn reduction(b: &mut Builder, at: &At<'_>) -> Rewritten {
    if at.op == Op::ArgMax {
        return Ok(None);
    }
    let (x, axes) = (at.args[0], at.attrs.get_axes("axes"));
    let shape = b.shape(x).to_vec();
    let kept: Vec<usize> = (0..shape.len()).filter(|a| !axes.contains(a)).collect();
    let (unit, rest): (Vec<usize>, Vec<usize>) = axes.iter().partition(|&&a| shape[a].is(1));
    if !unit.is_empty() || axes.is_empty() {
        return without(b, at.op, x, &unit, &rest);
    }
    if operand(b, x, at.op).is_some() && !(at.shared)(0) {
        let inner = b.graph[x].attrs.get_axes("axes");
        let source = b.graph[x].args[0];
        let outer: Vec<usize> = (0..b.rank(source)).filter(|a| !inner.contains(a)).collect();
        let mut all: Vec<usize> = inner.iter().copied().chain(axes.iter().map(|&a| outer[a])).collect();
        all.sort_unstable();
        return reduce(b, at.op, source, &all).map(Some);
    }
    let Some(source) = operand(b, x, Op::Broadcast) else { return Ok(None) };
    let skip = shape.len() - b.rank(source);
    let repeats = |a: &usize| *a < skip || (b.shape(source)[a - skip].is(1) && !shape[*a].is(1));
    let (repeated, rest): (Vec<usize>, Vec<usize>) = axes.iter().partition(|a| repeats(a));
    if repeated.is_empty() || at.op == Op::ReduceProd {
        return Ok(None);
    }
    let mut once = shape.clone();
    repeated.iter().for_each(|&a| once[a] = Dim::ONE);
    let x = make(b, Op::Broadcast, &[source], Attrs::new().dims("shape", once))?;
    let result = match without(b, at.op, x, &repeated, &rest)? {
        Some(result) if at.op == Op::ReduceSum => {
            let count = repeated.iter().fold(Dim::ONE, |n, &a| n * shape[a].clone());
            let count = b.dim_value(&count, b.dtype(result))?;
            let kept: Vec<Dim> = kept.iter().map(|&a| shape[a].clone()).collect();
            let count = b.broadcast(count, &kept)?;
            make(b, Op::Mul, &[result, count], Attrs::new())?
        }
        Some(result) => result,
        None => return Ok(None),
    };
    Ok(Some(result))
}

/// The reduction over `rest`, after the axes `unit`, of size 1, are dropped.
fn without(b: &mut Builder, op: Op, x: NodeId, unit: &[usize], rest: &[usize]) -> Rewritten {
    let shape: Vec<Dim> = (0..b.rank(x)).filter(|a| !unit.contains(a)).map(|a| b.shape(x)[a].clone()).collect();
    let x = make(b, Op::Reshape, &[x], Attrs::new().dims("shape", shape))?;
    let shifted: Vec<usize> = rest.iter().map(|&a| a - unit.iter().filter(|&&u| u < a).count()).collect();
    if shifted.is_empty() {
        return Ok(Some(x));
    }
    reduce(b, op, x, &shifted).map(Some)
}

fn reduce(b: &mut Builder, op: Op, x: NodeId, axes: &[usize]) -> crate::build::Built {
    make(b, op, &[x], Attrs::new().ints("axes", axes.iter().map(|&a| a as i64).collect::<Vec<_>>()))
}
