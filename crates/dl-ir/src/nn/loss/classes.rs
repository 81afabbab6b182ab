//! Losses of classes: one of them is right, or each has a probability.

use super::super::activation::log_softmax;
use super::super::args::Args;
use super::super::common::{Made, REDUCTION, X, floats, iota, kept, made, scale, shift, with_constant};
use super::super::error::CallError;
use super::super::index::whole_numbers;
use super::super::method::MethodDef;
use super::super::params::{Default, Kind, Param};
use super::{reduced, table};
use crate::attrs::Attrs;
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::op::Op;
use crate::types::DType;

const CLASSES: Param =
    Param::required("target", Kind::Tensor, "the right class of each element, from 0, or a probability for each class");
const NUMBERS: Param = Param::required("target", Kind::Tensor, "the right class of each element, from 0");
const IGNORE: Param =
    Param::optional("ignore_index", Kind::Int, Default::Int(-100), "elements of this class do not count");
const WEIGHT: Param = Param::optional("weight", Kind::Tensor, Default::Absent, "a weight for each class, [C]");
const CLASS_AXIS: Param = Param::optional(
    "axis",
    Kind::Axis,
    Default::Absent,
    "the axis of classes; by default 1, or the last where only that leaves the target's shape",
);
const SMOOTHING: Param = Param::optional(
    "label_smoothing",
    Kind::Float,
    Default::Float(0.0),
    "the share of the target spread over all classes",
);

table! {
    "cross_entropy" [], [X, CLASSES, IGNORE, SMOOTHING, REDUCTION, WEIGHT, CLASS_AXIS],
        "-log(softmax(x)) at the right class, from logits: x is [N, C, ..], the target [N, ..]", |b, a| classes(b, a, true);
    "nll" ["nll_loss"], [X, CLASSES, IGNORE, REDUCTION, WEIGHT, CLASS_AXIS],
        "-x at the right class, from log-probabilities: x is [N, C, ..], the target [N, ..]", |b, a| classes(b, a, false);
    "multi_margin" ["multi_margin_loss"], [X, NUMBERS,
        Param::optional("p", Kind::Int, Default::Int(1), "the power of what a class is too near, 1 or 2"),
        Param::optional("margin", Kind::Float, Default::Float(1.0), "how far the right class should be above the others"),
        WEIGHT, REDUCTION, CLASS_AXIS],
        "the mean over classes of max(0, margin - x[target] + x)^p, the right class left out", multi_margin;
}

/// Cross entropy and negative log-likelihood: against class numbers or, for logits, against probabilities.
fn classes(b: &mut Builder, args: &Args, logits: bool) -> Made {
    let (x, target) = (args.tensor("x"), args.tensor("target"));
    floats(b, 0, x)?;
    has_classes(b, x)?;
    let smoothing = if logits { args.float("label_smoothing") } else { 0.0 };
    if !(0.0..=1.0).contains(&smoothing) {
        return Err(args
            .error("label_smoothing", format!("`label_smoothing` is between 0 and 1, but it is {smoothing}"))
            .into());
    }
    let probabilities = logits && b.dtype(target).is_float();
    let axis = class_axis(b, args, x, target, probabilities)?;
    let weight = class_weight(b, args, x, axis)?;
    let log_p = if logits { log_softmax(b, x, axis)? } else { x };
    let goal = Goal { target, axis, smoothing, weight };
    if probabilities { soft_targets(b, args, log_p, goal) } else { hard_targets(b, args, log_p, goal) }
}

/// What logarithms of probabilities are compared with.
struct Goal {
    target: NodeId,
    /// That of the classes.
    axis: usize,
    /// The share that is spread over all classes.
    smoothing: f64,
    /// Of each class, in a shape that broadcasts along the axis.
    weight: Option<NodeId>,
}

fn has_classes(b: &Builder, x: NodeId) -> Result<(), CallError> {
    if b.rank(x) > 0 {
        return Ok(());
    }
    let (expected, found) = ("an axis of classes".to_string(), b.ty(x).clone());
    Err(CallError::Rank { input: 0, expected, found, fix: None })
}

/// The axis of classes: that which leaves the target's shape.
fn class_axis(b: &Builder, args: &Args, x: NodeId, target: NodeId, probabilities: bool) -> Result<usize, CallError> {
    let (rank, found, goal) = (b.rank(x), b.ty(x), b.ty(target));
    let fits = |axis: usize| {
        let rest = (0..rank).filter(|&a| probabilities || a != axis).map(|a| &found.shape[a]);
        rest.clone().count() == goal.rank() && rest.zip(&goal.shape).all(|(a, c)| b.graph.facts.equal(a, c))
    };
    let usual = if rank == 1 { 0 } else { 1 };
    let axis = match args.get("axis") {
        Some(_) => args.axis("axis", rank)?,
        None if !fits(usual) && fits(rank - 1) => rank - 1,
        None => usual,
    };
    if fits(axis) {
        return Ok(axis);
    }
    let wanted: Vec<Dim> = (0..rank).filter(|&a| probabilities || a != axis).map(|a| found.shape[a].clone()).collect();
    let kind = if probabilities {
        format!("probabilities {}{}", found.dtype, crate::error::shape(&wanted))
    } else {
        format!("class numbers i64{}", crate::error::shape(&wanted))
    };
    let mut sentence =
        format!("{{0}} is {found}, with classes on axis {axis}, so the target must be {kind}, but {{1}} is {goal}");
    if goal.rank() == wanted.len() + 1 && goal.shape.last().is_some_and(|d| d.is(1)) && !probabilities {
        sentence += "; `.squeeze(-1)` on it would do";
    } else if probabilities && goal.rank() + 1 == rank {
        sentence += "; class numbers are whole: declare it as i64";
    }
    Err(CallError::Inputs(sentence))
}

/// The weights of classes, in a shape that broadcasts along `axis`.
fn class_weight(b: &mut Builder, args: &Args, x: NodeId, axis: usize) -> Result<Option<NodeId>, CallError> {
    let Some(weight) = args.tensor_if("weight") else { return Ok(None) };
    let classes = b.shape(x)[axis].clone();
    if b.rank(weight) != 1 || !b.graph.facts.equal(&b.shape(weight)[0], &classes) || b.dtype(weight) != b.dtype(x) {
        let message =
            format!("`weight` must be {}[{classes}], one for each class, but it is {}", b.dtype(x), b.ty(weight));
        return Err(args.error("weight", message).into());
    }
    let mut shape = vec![Dim::ONE; b.rank(x)];
    shape[axis] = classes;
    Ok(Some(b.reshape(weight, &shape)?))
}

fn soft_targets(b: &mut Builder, args: &Args, log_p: NodeId, goal: Goal) -> Made {
    let Goal { mut target, axis, smoothing, weight } = goal;
    if smoothing > 0.0 {
        let classes = b.shape(log_p)[axis].clone();
        let (classes, share) = (b.dim_value(&classes, b.dtype(log_p))?, b.constant(b.dtype(log_p), smoothing));
        let share = b.div(share, classes)?;
        target = scale(b, target, 1.0 - smoothing)?;
        target = b.add(target, share)?;
    }
    if let Some(weight) = weight {
        target = b.mul(target, weight)?;
    }
    let products = b.mul(target, log_p)?;
    let sum = b.sum(products, &[axis], false)?;
    let loss = b.neg(sum)?;
    reduced(b, loss, args)
}

fn hard_targets(b: &mut Builder, args: &Args, log_p: NodeId, goal: Goal) -> Made {
    let Goal { target, axis, smoothing, weight } = goal;
    let dtype = b.dtype(log_p);
    let target = whole_numbers(b, 1, target)?;
    let ignored = with_constant(b, Op::Eq, target, args.int("ignore_index") as f64)?;
    // What is ignored may be no class at all: it must not reach the gather.
    let zero = b.constant(DType::I64, 0.0);
    let safe = b.select(ignored, zero, target)?;
    let index = column(b, log_p, safe, axis)?;
    let rest = b.shape(target).to_vec();
    let pick = |b: &mut Builder, from: NodeId| -> Built {
        let picked = b.push(Op::Gather, &[from, index], Attrs::new().int("axis", axis as i64))?;
        b.reshape(picked, &rest)
    };
    let nothing = b.constant(dtype, 0.0);
    let one = b.constant(dtype, 1.0);
    let full = b.shape(log_p).to_vec();
    let mut counts = match weight {
        Some(weight) => {
            let weights = b.broadcast(weight, &full)?;
            pick(b, weights)?
        }
        None => b.broadcast(one, &rest)?,
    };
    counts = b.select(ignored, nothing, counts)?;
    let picked = pick(b, log_p)?;
    let mut loss = b.neg(picked)?;
    if weight.is_some() {
        loss = b.mul(loss, counts)?;
    }
    if smoothing > 0.0 {
        let weighted = weight.map_or(Ok(log_p), |w| b.mul(log_p, w))?;
        let spread = b.sum(weighted, &[axis], false)?;
        let (classes, share) = (b.dim_value(&full[axis], dtype)?, b.constant(dtype, -smoothing));
        let share = b.div(share, classes)?;
        let (spread, sharp) = (b.mul(spread, share)?, scale(b, loss, 1.0 - smoothing)?);
        loss = b.add(sharp, spread)?;
    }
    loss = b.select(ignored, nothing, loss)?;
    if args.word("reduction") != "mean" {
        return reduced(b, loss, args);
    }
    let all: Vec<usize> = (0..rest.len()).collect();
    let (sum, count) = (b.sum(loss, &all, false)?, b.sum(counts, &all, false)?);
    made(b.div(sum, count))
}

/// The right class of each element as an index along `axis`, which has one element.
fn column(b: &mut Builder, x: NodeId, target: NodeId, axis: usize) -> Built {
    let shape = kept(b, x, &[axis]);
    b.reshape(target, &shape)
}

fn multi_margin(b: &mut Builder, args: &Args) -> Made {
    let (x, target) = (args.tensor("x"), args.tensor("target"));
    let dtype = floats(b, 0, x)?;
    let p = args.int("p");
    if !matches!(p, 1 | 2) {
        return Err(args.error("p", format!("`p` is 1 or 2, but it is {p}")).into());
    }
    has_classes(b, x)?;
    let target = whole_numbers(b, 1, target)?;
    let axis = class_axis(b, args, x, target, false)?;
    let weight = class_weight(b, args, x, axis)?;
    let index = column(b, x, target, axis)?;
    let right = b.push(Op::Gather, &[x, index], Attrs::new().int("axis", axis as i64))?;
    let distance = b.sub(x, right)?;
    let distance = shift(b, distance, args.float("margin"))?;
    let (shape, zero) = (b.shape(x).to_vec(), b.constant(dtype, 0.0));
    let number = iota(b, DType::I64, &shape, axis)?;
    let (own, far) = (b.eq(number, index)?, b.le(distance, zero)?);
    let nothing = b.or(own, far)?;
    let mut loss = b.select(nothing, zero, distance)?;
    if p == 2 {
        loss = b.mul(loss, loss)?;
    }
    if let Some(weight) = weight {
        let weights = b.broadcast(weight, &shape)?;
        let weight = b.push(Op::Gather, &[weights, index], Attrs::new().int("axis", axis as i64))?;
        loss = b.mul(loss, weight)?;
    }
    let loss = b.mean(loss, &[axis], false)?;
    reduced(b, loss, args)
}
