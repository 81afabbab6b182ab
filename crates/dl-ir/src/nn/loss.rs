//! Losses. They are written so that no exponential overflows and no logarithm meets a zero it need not meet.

pub mod classes;
pub mod ctc;
pub mod margins;
pub mod penalties;

use super::activation::softplus;
use super::args::Args;
use super::common::{Made, REDUCTION, X, floats, made, operand, scale, shift, whole_power, with_constant};
use super::elementwise::at_least;
use super::error::CallError;
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use super::value::Value;
use crate::build::{Builder, Built};
use crate::graph::NodeId;
use crate::op::Op;

const TARGET: Param =
    Param::required("target", Kind::Operand, "what the result should be: a tensor of the same shape, or a number");
const FULL: Param =
    Param::optional("full", Kind::Bool, Default::Bool(false), "whether what depends on the target alone is added");
const ELEMENT_WEIGHT: Param =
    Param::optional("weight", Kind::Operand, Default::Absent, "a weight for each element, broadcast");

const fn knee(name: &'static str, doc: &'static str) -> Param {
    Param::optional(name, Kind::Float, Default::Float(1.0), doc)
}

/// The methods of a file, as a table: name, aliases, arguments, documentation and what builds it.
macro_rules! table {
    ($($name:literal $aliases:tt, [$($param:expr),*], $doc:literal, $build:expr;)*) => {
        /// The methods of this file.
        pub const METHODS: &[MethodDef] = &[
            $(MethodDef { name: $name, aliases: &$aliases, doc: $doc, params: &[$($param),*], build: $build }),*
        ];
    };
}
use table;

table! {
    "mse" ["mse_loss"], [X, TARGET, REDUCTION], "the squared error, (x - target)^2", |b, a| pairwise(b, a, |b, x, t, _| {
        let d = b.sub(x, t)?;
        Ok(b.mul(d, d)?)
    });
    "l1" ["l1_loss", "mae"], [X, TARGET, REDUCTION], "the absolute error, |x - target|", |b, a| pairwise(b, a, absolute);
    "smooth_l1" ["smooth_l1_loss"], [X, TARGET,
        knee("beta", "where the parabola meets the line; 0 gives the absolute error"), REDUCTION],
        "d^2 / (2 * beta) where d, which is |x - target|, is below beta, else d - beta / 2", smooth_l1;
    "huber" ["huber_loss"], [X, TARGET, knee("delta", "where the parabola meets the line, above 0"), REDUCTION],
        "d^2 / 2 where d, which is |x - target|, is below delta, else delta * (d - delta / 2)", huber;
    "bce" ["binary_cross_entropy"], [X, TARGET, ELEMENT_WEIGHT, REDUCTION],
        "-(target * log(x) + (1 - target) * log(1 - x)), the binary cross entropy of probabilities x; logarithms are held at \
         -100", |b, a| pairwise(b, a, bce);
    "bce_with_logits" ["binary_cross_entropy_with_logits"], [X, TARGET,
        Param::optional("pos_weight", Kind::Operand, Default::Absent, "the weight of positive targets, broadcast"),
        ELEMENT_WEIGHT, REDUCTION],
        "`bce` of sigmoid(x), without its overflow; the first part times `pos_weight`", |b, a| pairwise(b, a, bce_with_logits);
    "multilabel_soft_margin" ["multilabel_soft_margin_loss"], [X, TARGET, ELEMENT_WEIGHT, REDUCTION],
        "the mean over the last axis of `bce` of sigmoid(x): [.., C] to [..]", multilabel_soft_margin;
    "focal" ["focal_loss", "sigmoid_focal_loss"], [X, TARGET,
        Param::optional("alpha", Kind::Float, Default::Float(0.25),
            "the weight of positive targets, that of negative ones being 1 - alpha; below 0 for no weights"),
        Param::optional("gamma", Kind::Float, Default::Float(2.0), "how much what is nearly right counts less"),
        REDUCTION],
        "the binary cross entropy of sigmoid(x) times (1 - p)^gamma, with p the probability of the target (Lin et al. 2017)",
        focal;
    "dice" ["dice_loss"], [X, TARGET,
        Param::optional("axis", Kind::Axes, Default::Absent, "the axes of one sample; all but the first if left out"),
        Param::optional("smooth", Kind::Float, Default::Float(1.0), "what is added to both sides of the quotient"),
        REDUCTION],
        "1 - (2 * sum(x * target) + smooth) / (sum(x) + sum(target) + smooth), of probabilities x (Milletari et al. 2016)",
        dice;
    "kl_div" ["kl_div_loss"], [X, TARGET,
        Param::optional("log_target", Kind::Bool, Default::Bool(false), "whether the target is of logarithms too"),
        Param::optional("reduction", Kind::Word(&["mean", "sum", "none", "batchmean"]), Default::Word("mean"),
            "\"batchmean\" (the sum divided by the first axis), \"mean\", \"sum\" or \"none\"")],
        "target * (log(target) - x), the Kullback-Leibler divergence from log-probabilities x",
        |b, a| pairwise(b, a, kl_div);
    "poisson_nll" ["poisson_nll_loss"], [X, TARGET,
        Param::optional("log_input", Kind::Bool, Default::Bool(true), "whether x is the logarithm of the rate"),
        FULL, Param::optional("eps", Kind::Float, Default::Float(1e-8), "added to x under the logarithm"), REDUCTION],
        "the negative log-likelihood of counts: e^x - target * x, or x - target * log(x + eps); with `full`, Stirling's \
         approximation of log(target!) where the target is above 1",
        |b, a| pairwise(b, a, poisson_nll);
    "gaussian_nll" ["gaussian_nll_loss"], [X, TARGET,
        Param::required("var", Kind::Operand, "the variance, broadcast: a tensor or a number"), FULL,
        Param::optional("eps", Kind::Float, Default::Float(1e-6), "the least variance"), REDUCTION],
        "(log(var) + (x - target)^2 / var) / 2, the negative log-likelihood of normal numbers; with `full`, log(2 pi) / 2 more",
        |b, a| {
            above_zero(a, "eps")?;
            pairwise(b, a, gaussian_nll)
        };
}

/// Why a loss of two tensors, or what leads to it, is refused.
type Lossy = Result<NodeId, CallError>;

/// A loss of each element of `x` and the target's element at the same place, then reduced.
fn pairwise(b: &mut Builder, args: &Args, f: fn(&mut Builder, NodeId, NodeId, &Args) -> Lossy) -> Made {
    let (x, target) = pair(b, args)?;
    let loss = f(b, x, target, args)?;
    reduced(b, loss, args)
}

/// `x` and a target of its type.
fn pair(b: &mut Builder, args: &Args) -> Result<(NodeId, NodeId), CallError> {
    let x = args.tensor("x");
    let dtype = floats(b, 0, x)?;
    let target = operand(b, args, "target", dtype)?;
    if let Some(Value::Tensor(_)) = args.get("target") {
        same_types(b, x, target)?;
    }
    Ok((x, target))
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

fn above_zero(args: &Args, name: &str) -> Result<f64, CallError> {
    match args.float(name) {
        value if value > 0.0 => Ok(value),
        value => Err(args.error(name, format!("`{name}` must be above 0, but it is {value}")).into()),
    }
}

fn not_negative(args: &Args, name: &str) -> Result<f64, CallError> {
    match args.float(name) {
        value if value >= 0.0 => Ok(value),
        value => Err(args.error(name, format!("`{name}` must not be below 0, but it is {value}")).into()),
    }
}

/// The tensor or number of that name, which broadcasts to `x`; `None` if it was left out.
fn spread(b: &mut Builder, args: &Args, name: &str, x: NodeId) -> Result<Option<NodeId>, CallError> {
    if args.get(name).is_none() {
        return Ok(None);
    }
    let node = operand(b, args, name, b.dtype(x))?;
    let fits = b.dtype(node) == b.dtype(x) && b.broadcast_shape(Op::Mul, &[x, node]).is_ok_and(|s| s == b.shape(x));
    if !fits {
        let message = format!("`{name}` must broadcast to {}, but it is {}", b.ty(x), b.ty(node));
        return Err(args.error(name, message).into());
    }
    Ok(Some(node))
}

fn absolute(b: &mut Builder, x: NodeId, t: NodeId, _: &Args) -> Lossy {
    let d = b.sub(x, t)?;
    Ok(b.abs(d)?)
}

fn smooth_l1(b: &mut Builder, args: &Args) -> Made {
    if not_negative(args, "beta")? == 0.0 {
        return pairwise(b, args, absolute);
    }
    pairwise(b, args, |b, x, t, a| {
        let beta = a.float("beta");
        Ok(parabola_then_line(b, x, t, beta, 0.5 / beta, 1.0)?)
    })
}

fn huber(b: &mut Builder, args: &Args) -> Made {
    above_zero(args, "delta")?;
    pairwise(b, args, |b, x, t, a| {
        let delta = a.float("delta");
        Ok(parabola_then_line(b, x, t, delta, 0.5, delta)?)
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

fn bce(b: &mut Builder, p: NodeId, t: NodeId, args: &Args) -> Lossy {
    let weight = spread(b, args, "weight", p)?;
    let one = b.constant(b.dtype(p), 1.0);
    let (rest, not_t) = (b.sub(one, p)?, b.sub(one, t)?);
    let (yes, no) = (held_log(b, p)?, held_log(b, rest)?);
    let (yes, no) = (b.mul(t, yes)?, b.mul(not_t, no)?);
    let sum = b.add(yes, no)?;
    let loss = b.neg(sum)?;
    Ok(weighted(b, loss, weight)?)
}

fn weighted(b: &mut Builder, loss: NodeId, weight: Option<NodeId>) -> Built {
    weight.map_or(Ok(loss), |weight| b.mul(loss, weight))
}

fn bce_with_logits(b: &mut Builder, x: NodeId, t: NodeId, args: &Args) -> Lossy {
    let (weight, positive) = (spread(b, args, "weight", x)?, spread(b, args, "pos_weight", x)?);
    let loss = logits_loss(b, x, t, positive)?;
    Ok(weighted(b, loss, weight)?)
}

/// `(1 - t) * x + (1 + (w - 1) * t) * log(1 + e^-x)`, with the weight `w` of positive targets.
fn logits_loss(b: &mut Builder, x: NodeId, t: NodeId, positive: Option<NodeId>) -> Built {
    let minus = b.neg(x)?;
    let mut log = softplus(b, minus)?;
    if let Some(weight) = positive {
        let more = shift(b, weight, -1.0)?;
        let more = b.mul(more, t)?;
        let more = shift(b, more, 1.0)?;
        log = b.mul(more, log)?;
    }
    let one = b.constant(b.dtype(x), 1.0);
    let not_t = b.sub(one, t)?;
    let linear = b.mul(not_t, x)?;
    b.add(linear, log)
}

fn multilabel_soft_margin(b: &mut Builder, args: &Args) -> Made {
    let (x, t) = pair(b, args)?;
    let weight = spread(b, args, "weight", x)?;
    let loss = logits_loss(b, x, t, None)?;
    let mut loss = weighted(b, loss, weight)?;
    if let Some(last) = b.rank(loss).checked_sub(1) {
        loss = b.mean(loss, &[last], false)?;
    }
    reduced(b, loss, args)
}

fn focal(b: &mut Builder, args: &Args) -> Made {
    not_negative(args, "gamma")?;
    if args.float("alpha") > 1.0 {
        let message = format!("`alpha` is a share, at most 1, but it is {}", args.float("alpha"));
        return Err(args.error("alpha", message).into());
    }
    pairwise(b, args, |b, x, t, a| {
        // The probability of what is not the target: p - 2 p t + t.
        let (p, loss) = (b.sigmoid(x)?, logits_loss(b, x, t, None)?);
        let both = b.mul(p, t)?;
        let (sum, both) = (b.add(p, t)?, scale(b, both, 2.0)?);
        let missed = b.sub(sum, both)?;
        let factor = whole_power(b, missed, a.float("gamma"))?;
        let loss = b.mul(loss, factor)?;
        let alpha = a.float("alpha");
        if alpha < 0.0 {
            return Ok(loss);
        }
        let weight = scale(b, t, 2.0 * alpha - 1.0)?;
        let weight = shift(b, weight, 1.0 - alpha)?;
        Ok(b.mul(loss, weight)?)
    })
}

fn dice(b: &mut Builder, args: &Args) -> Made {
    let (x, t) = pair(b, args)?;
    let smooth = not_negative(args, "smooth")?;
    let rank = b.rank(x);
    let axes = if args.is_given("axis") { args.axes("axis", rank)? } else { (1..rank).collect() };
    let products = b.mul(x, t)?;
    let both = b.add(x, t)?;
    let (common, all) = (b.sum(products, &axes, false)?, b.sum(both, &axes, false)?);
    let common = scale(b, common, 2.0)?;
    let (common, all) = (shift(b, common, smooth)?, shift(b, all, smooth)?);
    let share = b.div(common, all)?;
    let one = b.constant(b.dtype(x), 1.0);
    let loss = b.sub(one, share)?;
    reduced(b, loss, args)
}

fn kl_div(b: &mut Builder, x: NodeId, t: NodeId, args: &Args) -> Lossy {
    if args.bool("log_target") {
        let (p, d) = (b.exp(t)?, b.sub(t, x)?);
        return Ok(b.mul(p, d)?);
    }
    // 0 * log(0) counts as 0.
    let (zero, one) = (b.constant(b.dtype(x), 0.0), b.constant(b.dtype(x), 1.0));
    let none = b.eq(t, zero)?;
    let safe = b.select(none, one, t)?;
    let log = b.log(safe)?;
    let d = b.sub(log, x)?;
    Ok(b.mul(t, d)?)
}

fn poisson_nll(b: &mut Builder, x: NodeId, t: NodeId, args: &Args) -> Lossy {
    let (rate, log) = if args.bool("log_input") {
        (b.exp(x)?, x)
    } else {
        let safe = shift(b, x, args.float("eps"))?;
        (x, b.log(safe)?)
    };
    let product = b.mul(t, log)?;
    let loss = b.sub(rate, product)?;
    if !args.bool("full") {
        return Ok(loss);
    }
    // t log(t) - t + log(2 pi t) / 2
    let (zero, one) = (b.constant(b.dtype(x), 0.0), b.constant(b.dtype(x), 1.0));
    let many = b.lt(one, t)?;
    let safe = b.select(many, t, one)?;
    let log = b.log(safe)?;
    let whole = shift(b, log, -1.0)?;
    let whole = b.mul(safe, whole)?;
    let half = shift(b, log, (2.0 * std::f64::consts::PI).ln())?;
    let half = scale(b, half, 0.5)?;
    let rest = b.add(whole, half)?;
    let rest = b.select(many, rest, zero)?;
    Ok(b.add(loss, rest)?)
}

fn gaussian_nll(b: &mut Builder, x: NodeId, t: NodeId, args: &Args) -> Lossy {
    let Some(var) = spread(b, args, "var", x)? else { return Ok(x) };
    let var = at_least(b, var, args.float("eps"))?;
    let d = b.sub(x, t)?;
    let square = b.mul(d, d)?;
    let (log, relative) = (b.log(var)?, b.div(square, var)?);
    let sum = b.add(log, relative)?;
    let loss = scale(b, sum, 0.5)?;
    if args.bool("full") { Ok(shift(b, loss, 0.5 * (2.0 * std::f64::consts::PI).ln())?) } else { Ok(loss) }
}
