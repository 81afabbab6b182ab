//! How alike two tensors are, vector by vector.

use super::args::Args;
use super::attention::alike;
use super::common::{LAST_AXIS, Made, X, floats, made, shift};
use super::error::CallError;
use super::layer::LayerDef;
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use super::reduce::p_norm;
use crate::build::{Builder, Built};
use crate::graph::NodeId;
use crate::op::Op;

const OTHER: Param = Param::required("y", Kind::Tensor, "the other vectors");

const COSINE: MethodDef = MethodDef {
    name: "cosine_similarity",
    aliases: &[],
    doc: "x . y / (|x| |y|), the cosine of the angle between vectors along an axis, which disappears",
    params: &[
        X,
        OTHER,
        LAST_AXIS,
        Param::optional("eps", Kind::Float, Default::Float(1e-8), "the least length divided by"),
    ],
    build: cosine_similarity,
};

const DISTANCE: MethodDef = MethodDef {
    name: "pairwise_distance",
    aliases: &[],
    doc: "the length of x - y + eps along the last axis, in the norm of power p",
    params: &[
        X,
        OTHER,
        Param::optional("p", Kind::Float, Default::Float(2.0), "the power of the norm"),
        Param::optional(
            "eps",
            Kind::Float,
            Default::Float(1e-6),
            "added to each difference, so that its length is not 0",
        ),
        Param::optional("keep", Kind::Bool, Default::Bool(false), "whether the axis stays, with size 1"),
    ],
    build: pairwise_distance,
};

/// The methods of this file.
pub const METHODS: &[MethodDef] = &[COSINE, DISTANCE];

/// The layers of this file.
pub const LAYERS: &[LayerDef] =
    &[LayerDef::of_first("CosineSimilarity", &COSINE, 2), LayerDef::of_first("PairwiseDistance", &DISTANCE, 2)];

/// The two tensors, which are of one type.
fn both(b: &Builder, args: &Args) -> Result<(NodeId, NodeId), CallError> {
    let (x, other) = (args.tensor("x"), args.tensor("y"));
    floats(b, args.input("x"), x)?;
    if b.dtype(x) != b.dtype(other) || !alike(b, b.shape(x), b.shape(other)) {
        let (at_x, at) = (args.input("x"), args.input("y"));
        let sentence = format!(
            "{{{at_x}}} is {} and {{{at}}} is {}: they must have one shape and element type",
            b.ty(x),
            b.ty(other)
        );
        return Err(CallError::Inputs(sentence));
    }
    Ok((x, other))
}

fn cosine_similarity(b: &mut Builder, args: &Args) -> Made {
    let (x, other) = both(b, args)?;
    let axis = args.axis("axis", b.rank(x))?;
    let least = b.constant(b.dtype(x), args.float("eps").powi(2));
    // Held before the root, whose slope at 0 is infinite.
    let over = |b: &mut Builder, v: NodeId| -> Built {
        let squares = b.mul(v, v)?;
        let sum = b.sum(squares, &[axis], false)?;
        let sum = b.max(sum, least)?;
        b.sqrt(sum)
    };
    let (left, right) = (over(b, x)?, over(b, other)?);
    let products = b.mul(x, other)?;
    let dot = b.sum(products, &[axis], false)?;
    let lengths = b.mul(left, right)?;
    made(b.elementwise(Op::Div, &[dot, lengths]))
}

fn pairwise_distance(b: &mut Builder, args: &Args) -> Made {
    let (x, other) = both(b, args)?;
    let p = args.float("p");
    if !(p > 0.0 && p.is_finite()) {
        return Err(args.error("p", format!("`p` must be a positive number, but it is {p}")).into());
    }
    let Some(last) = b.rank(x).checked_sub(1) else {
        let expected = "at least 1 axis, the features".to_string();
        return Err(CallError::Rank { input: args.input("x"), expected, found: b.ty(x).clone(), fix: None });
    };
    let difference = b.sub(x, other)?;
    let difference = shift(b, difference, args.float("eps"))?;
    made(p_norm(b, difference, p, &[last], args.bool("keep")))
}
