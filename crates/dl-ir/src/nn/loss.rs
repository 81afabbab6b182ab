//! Losses. They are written so that no exponential overflows and no logarithm meets a zero it need not meet.

use super::activation::{log_softmax, softplus};
use super::args::Args;
use super::common::{Made, REDUCTION, X, floats, kept, made, operand, scale, shift, with_constant};
use super::error::CallError;
use super::index::whole_numbers;
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use super::value::Value;
use crate::attrs::Attrs;
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::op::Op;
use crate::types::DType;

const TARGET: Param =
    Param::required("target", Kind::Operand, "what the result should be: a tensor of the same shape, or a number");
const CLASSES: Param =
    Param::required("target", Kind::Tensor, "the right class of each element, from 0, or a probability for each class");
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

const fn knee(name: &'static str) -> Param {
    Param::optional(name, Kind::Float, Default::Float(1.0), "where the parabola meets the line, above 0")
}

macro_rules! losses {
    ($($name:literal $aliases:tt, [$($param:expr),*], $doc:literal, $build:expr;)*) => {
        /// The methods of this file.
        pub const METHODS: &[MethodDef] = &[
            $(MethodDef { name: $name, aliases: &$aliases, doc: $doc, params: &[X, $($param),*], build: $build }),*
        ];
    };
}

losses! {
    "cross_entropy" [], [CLASSES, IGNORE,
        SMOOTHING, REDUCTION, WEIGHT, CLASS_AXIS],
        "the negative log-probability of the right class, from logits", |b, a| classes(b, a, true);
    "nll" ["nll_loss"], [CLASSES, IGNORE, REDUCTION, WEIGHT, CLASS_AXIS],
        "the negative log-probability of the right class, from log-probabilities", |b, a| classes(b, a, false);
    "mse" ["mse_loss"], [TARGET, REDUCTION], "the squared error", |b, a| pairwise(b, a, |b, x, t, _| {
        let d = b.sub(x, t)?;
        b.mul(d, d)
    });
    "l1" ["l1_loss", "mae"], [TARGET, REDUCTION], "the absolute error", |b, a| pairwise(b, a, |b, x, t, _| {
        let d = b.sub(x, t)?;
        b.abs(d)
    });
    "smooth_l1" ["smooth_l1_loss"], [TARGET, knee("beta"), REDUCTION],
        "the absolute error, less beta / 2, rounded off to a parabola below beta", smooth_l1;
    "huber" ["huber_loss"], [TARGET, knee("delta"), REDUCTION],
        "half the squared error up to delta, linear beyond", huber;
    "bce" ["binary_cross_entropy"], [TARGET, REDUCTION],
        "the binary cross entropy of probabilities; logarithms are held at -100", |b, a| pairwise(b, a, bce);
    "bce_with_logits" ["binary_cross_entropy_with_logits"], [TARGET,
        Param::optional("pos_weight", Kind::Operand, Default::Absent, "the weight of positive targets"), REDUCTION],
        "the binary cross entropy of sigmoid(x)", |b, a| pairwise(b, a, bce_with_logits);
    "kl_div" ["kl_div_loss"], [TARGET,
        Param::optional("log_target", Kind::Bool, Default::Bool(false), "whether the target is of logarithms too"),
        Param::optional("reduction", Kind::Word(&["mean", "sum", "none", "batchmean"]), Default::Word("mean"),
            "\"batchmean\" (the sum divided by the first axis), \"mean\", \"sum\" or \"none\"")],
        "target * (log(target) - x), the Kullback-Leibler divergence from log-probabilities x",
        |b, a| pairwise(b, a, kl_div);
}

/// A loss of each element of `x` and the target's element at the same place, then reduced.
fn pairwise(b: &mut Builder, args: &Args, f: fn(&mut Builder, NodeId, NodeId, &Args) -> Built) -> Made {
    let x = args.tensor("x");
    let dtype = floats(b, 0, x)?;
    let target = operand(b, args, "target", dtype)?;
    if let Some(Value::Tensor(_)) = args.get("target") {
        same_types(b, x, target)?;
    }
    let loss = f(b, x, target, args)?;
    reduced(b, loss, args)
}

/// A target that would be broadcast is nearly always a mistake (`[N, 1]` against `[N]` compares every pair), so it is
/// one here.
fn same_types(b: &Builder, x: NodeId, target: NodeId) -> Result<(), CallError> {
    let (left, right) = (b.ty(x), b.ty(target));
    if left.dtype != right.dtype {
        let fix = Some(format!("convert it with `.to({})`", left.dtype));
        return Err(CallError::DType {
            input: 1,
            expected: format!("a target of {}", left.dtype),
            found: right.clone(),
            fix,
        });
    }
    let same =
        left.rank() == right.rank() && left.shape.iter().zip(&right.shape).all(|(a, c)| b.graph.facts.equal(a, c));
    if same {
        return Ok(());
    }
    let mut sentence = format!("{{0}} is {left}, but the target {{1}} is {right}: both must have the same shape");
    if left.rank() == right.rank() + 1 && left.shape.last().is_some_and(|d| d.is(1)) {
        sentence += "; `.squeeze(-1)` on the first would do";
    } else if right.rank() == left.rank() + 1 && right.shape.last().is_some_and(|d| d.is(1)) {
        sentence += "; `.squeeze(-1)` on the target would do";
    }
    Err(CallError::Inputs(sentence))
}

fn reduced(b: &mut Builder, loss: NodeId, args: &Args) -> Made {
    let all: Vec<usize> = (0..b.rank(loss)).collect();
    made(match args.word("reduction") {
        "none" => Ok(loss),
        "sum" => b.sum(loss, &all, false),
        "batchmean" if !all.is_empty() => {
            let (batch, sum) = (b.shape(loss)[0].clone(), b.sum(loss, &all, false)?);
            let batch = b.dim_value(&batch, b.dtype(loss))?;
            b.div(sum, batch)
        }
        _ => b.mean(loss, &all, false),
    })
}

fn threshold(args: &Args, name: &str) -> Result<f64, CallError> {
    match args.float(name) {
        value if value > 0.0 => Ok(value),
        value => Err(args.error(name, format!("`{name}` must be above 0, but it is {value}")).into()),
    }
}

fn smooth_l1(b: &mut Builder, args: &Args) -> Made {
    threshold(args, "beta")?;
    pairwise(b, args, |b, x, t, a| {
        let beta = a.float("beta");
        parabola_then_line(b, x, t, beta, 0.5 / beta, 1.0)
    })
}

fn huber(b: &mut Builder, args: &Args) -> Made {
    threshold(args, "delta")?;
    pairwise(b, args, |b, x, t, a| {
        let delta = a.float("delta");
        parabola_then_line(b, x, t, delta, 0.5, delta)
    })
}

/// `curve * d^2` where `|d| < knee`, else `slope * (|d| - knee / 2)`.
fn parabola_then_line(b: &mut Builder, x: NodeId, t: NodeId, knee: f64, curve: f64, slope: f64) -> Built {
    let d = b.sub(x, t)?;
    let size = b.abs(d)?;
    let near = with_constant(b, Op::Lt, size, knee)?;
    let square = b.mul(d, d)?;
    let parabola = scale(b, square, curve)?;
    let line = shift(b, size, -0.5 * knee)?;
    let line = scale(b, line, slope)?;
    b.select(near, parabola, line)
}

/// `log(p)`, but -100 where it would be less: the logarithm never sees such a `p`, so that its gradient stays finite.
fn held_log(b: &mut Builder, p: NodeId) -> Built {
    let dtype = b.dtype(p);
    let (zero, one, least) = (b.constant(dtype, 0.0), b.constant(dtype, 1.0), b.constant(dtype, (-100f64).exp()));
    let (not_negative, small) = (b.le(zero, p)?, b.lt(p, least)?);
    let held = b.and(not_negative, small)?;
    let safe = b.select(held, one, p)?;
    let log = b.log(safe)?;
    let floor = b.constant(dtype, -100.0);
    b.select(held, floor, log)
}

fn bce(b: &mut Builder, p: NodeId, t: NodeId, _: &Args) -> Built {
    let one = b.constant(b.dtype(p), 1.0);
    let (rest, not_t) = (b.sub(one, p)?, b.sub(one, t)?);
    let (yes, no) = (held_log(b, p)?, held_log(b, rest)?);
    let (yes, no) = (b.mul(t, yes)?, b.mul(not_t, no)?);
    let sum = b.add(yes, no)?;
    b.neg(sum)
}

/// `(1 - t) * x + (1 + (w - 1) * t) * log(1 + e^-x)`
fn bce_with_logits(b: &mut Builder, x: NodeId, t: NodeId, args: &Args) -> Built {
    let dtype = b.dtype(x);
    let minus = b.neg(x)?;
    let mut log = softplus(b, minus)?;
    let weight = match args.get("pos_weight") {
        None => None,
        Some(Value::Tensor(node)) => Some(*node),
        Some(_) => Some(b.constant(dtype, args.float("pos_weight"))),
    };
    if let Some(weight) = weight {
        let more = shift(b, weight, -1.0)?;
        let more = b.mul(more, t)?;
        let more = shift(b, more, 1.0)?;
        log = b.mul(more, log)?;
    }
    let one = b.constant(dtype, 1.0);
    let not_t = b.sub(one, t)?;
    let linear = b.mul(not_t, x)?;
    b.add(linear, log)
}

fn kl_div(b: &mut Builder, x: NodeId, t: NodeId, args: &Args) -> Built {
    if args.bool("log_target") {
        let (p, d) = (b.exp(t)?, b.sub(t, x)?);
        return b.mul(p, d);
    }
    // 0 * log(0) counts as 0.
    let (zero, one) = (b.constant(b.dtype(x), 0.0), b.constant(b.dtype(x), 1.0));
    let none = b.eq(t, zero)?;
    let safe = b.select(none, one, t)?;
    let log = b.log(safe)?;
    let d = b.sub(log, x)?;
    b.mul(t, d)
}

/// Cross entropy and negative log-likelihood: against class numbers or, for logits, against probabilities.
fn classes(b: &mut Builder, args: &Args, logits: bool) -> Made {
    let (x, target) = (args.tensor("x"), args.tensor("target"));
    floats(b, 0, x)?;
    if b.rank(x) == 0 {
        return Err(CallError::Rank {
            input: 0,
            expected: "an axis of classes".into(),
            found: b.ty(x).clone(),
            fix: None,
        });
    }
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
    if probabilities {
        soft_targets(b, args, log_p, target, axis, smoothing, weight)
    } else {
        hard_targets(b, args, log_p, target, axis, smoothing, weight)
    }
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

fn soft_targets(
    b: &mut Builder,
    args: &Args,
    log_p: NodeId,
    target: NodeId,
    axis: usize,
    smoothing: f64,
    weight: Option<NodeId>,
) -> Made {
    let mut target = target;
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

fn hard_targets(
    b: &mut Builder,
    args: &Args,
    log_p: NodeId,
    target: NodeId,
    axis: usize,
    smoothing: f64,
    weight: Option<NodeId>,
) -> Made {
    let dtype = b.dtype(log_p);
    let target = whole_numbers(b, 1, target)?;
    let ignored = with_constant(b, Op::Eq, target, args.int("ignore_index") as f64)?;
    // What is ignored may be no class at all: it must not reach the gather.
    let zero = b.constant(DType::I64, 0.0);
    let safe = b.select(ignored, zero, target)?;
    let column = kept(b, log_p, &[axis]);
    let index = b.reshape(safe, &column)?;
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
