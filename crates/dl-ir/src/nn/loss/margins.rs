//! Losses with a margin: what is on the right side of it by far enough costs nothing.

use super::super::activation::softplus;
use super::super::args::Args;
use super::super::common::{Made, REDUCTION, X, floats, scale, shift};
use super::super::elementwise::at_least;
use super::super::error::CallError;
use super::super::method::MethodDef;
use super::super::params::{Default, Kind, Param};
use super::super::reduce::p_norm;
use super::{above_zero, reduced, same_types, table};
use crate::build::{Builder, Built};
use crate::graph::NodeId;

const SIGN: Param = Param::required("target", Kind::Tensor, "1 or -1 for each element");

const fn margin(default: f64, doc: &'static str) -> Param {
    Param::optional("margin", Kind::Float, Default::Float(default), doc)
}

table! {
    "hinge" ["hinge_loss"], [X, SIGN, margin(1.0, "how far on the right side of 0 costs nothing"),
        Param::optional("squared", Kind::Bool, Default::Bool(false), "whether the distance is squared"), REDUCTION],
        "max(0, margin - target * x), for targets 1 and -1", hinge;
    "soft_margin" ["soft_margin_loss"], [X, SIGN, REDUCTION],
        "log(1 + e^(-target * x)), for targets 1 and -1", soft_margin;
    "hinge_embedding" ["hinge_embedding_loss"], [X, SIGN,
        margin(1.0, "how far dissimilar pairs should be apart"), REDUCTION],
        "x, a distance, where the target is 1, and max(0, margin - x) where it is -1", hinge_embedding;
    "margin_ranking" ["margin_ranking_loss"], [X, Param::required("y", Kind::Tensor, "what x is compared with"), SIGN,
        margin(0.0, "how much larger the larger should be"), REDUCTION],
        "max(0, margin - target * (x - y)): the target is 1 where x should be the larger, -1 where y should",
        margin_ranking;
    "cosine_embedding" ["cosine_embedding_loss"], [X, Param::required("y", Kind::Tensor, "the other vectors"), SIGN,
        margin(0.0, "up to which cosine dissimilar pairs cost nothing, from -1 to 1"), REDUCTION],
        "1 - cos(x, y) along the last axis where the target is 1, and max(0, cos(x, y) - margin) where it is -1",
        cosine_embedding;
    "triplet_margin" ["triplet_margin_loss"], [X,
        Param::required("positive", Kind::Tensor, "vectors of the same kind as x"),
        Param::required("negative", Kind::Tensor, "vectors of another kind"),
        margin(1.0, "how much farther the negative should be"),
        Param::optional("p", Kind::Float, Default::Float(2.0), "the order of the distance"),
        Param::optional("eps", Kind::Float, Default::Float(1e-6), "added to differences"),
        Param::optional("swap", Kind::Bool, Default::Bool(false),
            "whether the distance from the positive to the negative counts where it is less"), REDUCTION],
        "max(0, margin + |x - positive| - |x - negative|), with p-norms along the last axis", triplet_margin;
}

/// The signs that are the target, as numbers of `like`'s type. `like` is operand 0 itself, or has one element for each
/// vector of it; the target is operand `input`.
fn signs(b: &mut Builder, args: &Args, like: NodeId, input: usize) -> Result<NodeId, CallError> {
    let mut target = args.tensor("target");
    if b.dtype(target).is_int() {
        target = b.cast(target, b.dtype(like))?;
    }
    if like == args.tensor("x") && input == 1 {
        same_types(b, like, target)?;
    } else if !alike(b, like, target) {
        let (x, wanted, found) = (b.ty(args.tensor("x")), b.ty(like), b.ty(args.tensor("target")));
        let sentence = format!("{{0}} is {x}, so the target must be {wanted}, but {{{input}}} is {found}");
        return Err(CallError::Inputs(sentence));
    }
    Ok(target)
}

fn alike(b: &Builder, x: NodeId, y: NodeId) -> bool {
    let (left, right) = (b.ty(x), b.ty(y));
    let mut pairs = left.shape.iter().zip(&right.shape);
    left.dtype == right.dtype && left.rank() == right.rank() && pairs.all(|(a, c)| b.graph.facts.equal(a, c))
}

/// The operand named `name`, number `input` of the call, which must have the type of `x`.
fn like_x(b: &Builder, args: &Args, name: &str, input: usize) -> Result<NodeId, CallError> {
    let (x, y) = (args.tensor("x"), args.tensor(name));
    if alike(b, x, y) {
        return Ok(y);
    }
    let (left, right) = (b.ty(x), b.ty(y));
    let sentence = format!("{{0}} is {left}, but {{{input}}} is {right}: `{name}` must have the same shape");
    Err(CallError::Inputs(sentence))
}

/// `max(x, 0)`, whose gradient at 0 is that of x, as PyTorch's `clamp_min`.
fn positive_part(b: &mut Builder, x: NodeId) -> Built {
    at_least(b, x, 0.0)
}

/// `margin - target * x`, where positive.
fn short_of(b: &mut Builder, x: NodeId, target: NodeId, margin: f64) -> Built {
    let product = b.mul(target, x)?;
    let minus = b.neg(product)?;
    let rest = shift(b, minus, margin)?;
    positive_part(b, rest)
}

fn hinge(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    let target = signs(b, args, x, 1)?;
    let mut loss = short_of(b, x, target, args.float("margin"))?;
    if args.bool("squared") {
        loss = b.mul(loss, loss)?;
    }
    reduced(b, loss, args)
}

fn soft_margin(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    let target = signs(b, args, x, 1)?;
    let product = b.mul(target, x)?;
    let minus = b.neg(product)?;
    let loss = softplus(b, minus)?;
    reduced(b, loss, args)
}

/// `similar` where the target is not -1, plus `dissimilar` where it is not 1.
fn by_sign(b: &mut Builder, target: NodeId, similar: NodeId, dissimilar: NodeId) -> Built {
    let dtype = b.dtype(target);
    let (zero, one, minus) = (b.constant(dtype, 0.0), b.constant(dtype, 1.0), b.constant(dtype, -1.0));
    let (is_minus, is_one) = (b.eq(target, minus)?, b.eq(target, one)?);
    let (similar, dissimilar) = (b.select(is_minus, zero, similar)?, b.select(is_one, zero, dissimilar)?);
    b.add(similar, dissimilar)
}

fn hinge_embedding(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    let target = signs(b, args, x, 1)?;
    let minus = b.neg(x)?;
    let rest = shift(b, minus, args.float("margin"))?;
    let far = positive_part(b, rest)?;
    let loss = by_sign(b, target, x, far)?;
    reduced(b, loss, args)
}

fn margin_ranking(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    let y = like_x(b, args, "y", 1)?;
    let target = signs(b, args, x, 2)?;
    let difference = b.sub(x, y)?;
    let loss = short_of(b, difference, target, args.float("margin"))?;
    reduced(b, loss, args)
}

fn cosine_embedding(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    let y = like_x(b, args, "y", 1)?;
    let Some(last) = b.rank(x).checked_sub(1) else {
        let (expected, found) = ("vectors, at least 1 axis".to_string(), b.ty(x).clone());
        return Err(CallError::Rank { input: 0, expected, found, fix: None });
    };
    // Squares get so much, as in PyTorch, that no length is 0.
    const LEAST_SQUARE: f64 = 1e-12;
    let dot = |b: &mut Builder, x, y| -> Built {
        let products = b.mul(x, y)?;
        b.sum(products, &[last], false)
    };
    let (xy, xx, yy) = (dot(b, x, y)?, dot(b, x, x)?, dot(b, y, y)?);
    let (xx, yy) = (shift(b, xx, LEAST_SQUARE)?, shift(b, yy, LEAST_SQUARE)?);
    let product = b.mul(xx, yy)?;
    let lengths = b.sqrt(product)?;
    let cosine = b.div(xy, lengths)?;
    let target = signs(b, args, cosine, 2)?;
    let minus = scale(b, cosine, -1.0)?;
    let similar = shift(b, minus, 1.0)?;
    let above = shift(b, cosine, -args.float("margin"))?;
    let dissimilar = positive_part(b, above)?;
    let loss = by_sign(b, target, similar, dissimilar)?;
    reduced(b, loss, args)
}

/// The p-norm of `x - y + eps` along the last axis.
fn distance(b: &mut Builder, args: &Args, x: NodeId, y: NodeId) -> Result<NodeId, CallError> {
    let difference = b.sub(x, y)?;
    let difference = shift(b, difference, args.float("eps"))?;
    let Some(last) = b.rank(difference).checked_sub(1) else {
        let (expected, found) = ("vectors, at least 1 axis".to_string(), b.ty(x).clone());
        return Err(CallError::Rank { input: 0, expected, found, fix: None });
    };
    Ok(p_norm(b, difference, args.float("p"), &[last], false)?)
}

fn triplet_margin(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    above_zero(args, "p")?;
    let (positive, negative) = (like_x(b, args, "positive", 1)?, like_x(b, args, "negative", 2)?);
    let near = distance(b, args, x, positive)?;
    let mut far = distance(b, args, x, negative)?;
    if args.bool("swap") {
        let other = distance(b, args, positive, negative)?;
        far = b.min(far, other)?;
    }
    let difference = b.sub(near, far)?;
    let rest = shift(b, difference, args.float("margin"))?;
    let loss = positive_part(b, rest)?;
    reduced(b, loss, args)
}
