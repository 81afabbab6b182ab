//! Layers that multiply by a matrix or look up its rows.

use super::args::Args;
use super::common::{Made, X, made, positive};
use super::error::{ArgError, CallError};
use super::index::{take, whole_numbers};
use super::layer::{Call, LayerDef, trainable};
use super::params::{Default, Kind, Param};
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::module::{Init, ParamDecl};
use crate::op::Op;
use crate::types::DType;

/// The bias of a layer.
pub const BIAS: Param = Param::optional("bias", Kind::Bool, Default::Bool(true), "whether a bias is added");

/// The layers of this file.
pub const LAYERS: &[LayerDef] = &[
    LayerDef::own(
        "Linear",
        "x * weight^T + bias over the last axis; weight is [out, in], bias [out]",
        &[Param::required("in", Kind::Map { pair: false }, "features of x => features of the result"), BIAS],
        declare_linear,
        call_linear,
    ),
    LayerDef::own(
        "Embedding",
        "a row of weight, [vocab, dim], for each index; an index out of range is an error at run time",
        &[
            Param::required("vocab", Kind::Map { pair: true }, "how many rows => how long they are"),
            Param::optional("padding_idx", Kind::Int, Default::Absent, "an index whose row gets no gradient"),
        ],
        declare_embedding,
        call_embedding,
    ),
    LayerDef::own(
        "Bilinear",
        "x^T * weight * y + bias for each of the results, over the last axes of two tensors; weight is [out, in1, in2], \
         bias [out]",
        &[
            Param::required("in1", Kind::Dim, "features of x"),
            Param::required("in2", Kind::Dim, "features of y"),
            Param::required("out", Kind::Dim, "features of the result"),
            BIAS,
        ],
        declare_bilinear,
        call_bilinear,
    )
    .taking(&[X, Param::required("y", Kind::Tensor, "another tensor, of the same axes before the last")]),
    LayerDef::own(
        "EmbeddingBag",
        "the mean, sum or maximum of the rows of weight, [vocab, dim], that the indices on the last axis name: [.., L] \
         to [.., dim]",
        &[
            Param::required("vocab", Kind::Map { pair: true }, "how many rows => how long they are"),
            Param::optional(
                "mode",
                Kind::Word(&["mean", "sum", "max"]),
                Default::Word("mean"),
                "\"mean\", \"sum\" or \"max\"",
            ),
        ],
        declare_embedding,
        call_embedding_bag,
    )
    .taking(&[
        X,
        Param::optional(
            "per_sample_weights",
            Kind::Tensor,
            Default::Absent,
            "a factor for each index, in the shape of x; with \"sum\" only",
        ),
    ]),
    LayerDef::own(
        "PRelu",
        "x where positive, else weight * x; weight is [channels], along axis 1",
        &[
            Param::optional("channels", Kind::Dim, Default::Int(1), "slopes: 1, or one for each channel"),
            Param::optional("init", Kind::Float, Default::Float(0.25), "the slope to begin with"),
        ],
        |a| {
            positive_dim(a, "channels", &a.dim("channels"))?;
            Ok(vec![trainable("weight", DType::F32, vec![a.dim("channels")], Init::Full(a.float("init")))])
        },
        call_prelu,
    ),
];

/// Refuses a size known to be below one.
///
/// # Errors
/// At the argument.
pub fn positive_dim(args: &Args, name: &str, size: &Dim) -> Result<(), ArgError> {
    match size.as_const() {
        Some(c) if c < 1 => Err(args.error(name, format!("a size must be at least 1, but it is {c}"))),
        _ => Ok(()),
    }
}

fn declare_linear(args: &Args) -> Result<Vec<ParamDecl>, ArgError> {
    let (from, to) = args.map("in");
    positive_dim(args, "in", &from)?;
    positive_dim(args, "in", &to)?;
    let init = Init::FanIn(from.clone());
    let mut params = vec![trainable("weight", DType::F32, vec![to.clone(), from], init.clone())];
    if args.bool("bias") {
        params.push(trainable("bias", DType::F32, vec![to], init));
    }
    Ok(params)
}

fn call_linear(c: &mut Call<'_>) -> Made {
    let (x, rank) = (c.x(), c.ty().rank());
    c.check_dtype()?;
    if rank == 0 {
        let (expected, fix) = ("at least 1 axis, the features".to_string(), None);
        return Err(CallError::Rank { input: 0, expected, found: c.ty(), fix });
    }
    let (from, _) = c.args().map("in");
    c.check_features("in", rank - 1, "features", &from)?;
    made(c.linear("", x))
}

fn declare_embedding(args: &Args) -> Result<Vec<ParamDecl>, ArgError> {
    let (vocab, dim) = args.map("vocab");
    positive_dim(args, "vocab", &vocab)?;
    positive_dim(args, "vocab", &dim)?;
    let padding = Dim::from(args.int("padding_idx"));
    let outside = (vocab.clone() - padding.clone()).as_const().is_some_and(|rest| rest < 1);
    if args.get("padding_idx").is_some() && (outside || args.int("padding_idx") < 0) {
        return Err(
            args.error("padding_idx", format!("`padding_idx` must be one of the {vocab} indices, but it is {padding}"))
        );
    }
    Ok(vec![trainable("weight", DType::F32, vec![vocab, dim], Init::Normal(0.0, 1.0))])
}

fn call_embedding(c: &mut Call<'_>) -> Made {
    let x = c.x();
    let index = whole_numbers(c.b, 0, x)?;
    let Some(weight) = c.param("weight") else { return Ok(x.into()) };
    let rows = take(c.b, weight, index, 0)?;
    if c.args().get("padding_idx").is_none() {
        return Ok(rows.into());
    }
    let padding = c.b.constant(DType::I64, c.args().int("padding_idx") as f64);
    let padded = c.b.eq(index, padding)?;
    let last = c.b.rank(padded);
    let padded = super::common::unsqueeze(c.b, padded, last)?;
    let fixed = c.b.detach(rows)?;
    made(c.b.select(padded, fixed, rows))
}

fn declare_bilinear(args: &Args) -> Result<Vec<ParamDecl>, ArgError> {
    let [left, right, out] = ["in1", "in2", "out"].map(|name| args.dim(name));
    for (name, size) in [("in1", &left), ("in2", &right), ("out", &out)] {
        positive_dim(args, name, size)?;
    }
    let init = Init::FanIn(left.clone());
    let mut params = vec![trainable("weight", DType::F32, vec![out.clone(), left, right], init.clone())];
    if args.bool("bias") {
        params.push(trainable("bias", DType::F32, vec![out], init));
    }
    Ok(params)
}

fn call_bilinear(c: &mut Call<'_>) -> Made {
    let (x, y) = (c.x(), c.given.tensor("y"));
    c.check_dtype()?;
    c.check_dtype_of("y")?;
    let (left, right) = (c.ty(), c.b.ty(y).clone());
    let rank = left.rank();
    for (name, found) in [("x", &left), ("y", &right)] {
        if found.rank() == 0 {
            let (input, expected) = (c.given.input(name), "at least 1 axis, the features".to_string());
            return Err(CallError::Rank { input, expected, found: found.clone(), fix: None });
        }
    }
    c.check_features_of("x", "in1", rank - 1, "features", &c.args().dim("in1"))?;
    c.check_features_of("y", "in2", right.rank() - 1, "features", &c.args().dim("in2"))?;
    if !super::attention::alike(c.b, &left.shape[..rank - 1], &right.shape[..right.rank() - 1]) {
        let (x, y) = (c.given.input("x"), c.given.input("y"));
        let sentence = format!("{{{x}}} is {left} and {{{y}}} is {right}: the axes before the last must agree");
        return Err(CallError::Inputs(sentence));
    }
    let Some(weight) = c.param("weight") else { return Ok(x.into()) };
    let halfway = c.b.dot(x, weight, &[], &[(rank - 1, 1)])?;
    let before: Vec<(usize, usize)> = (0..rank - 1).map(|a| (a, a)).collect();
    let product = c.b.dot(halfway, y, &before, &[(rank, rank - 1)])?;
    match c.param("bias") {
        Some(bias) => made(c.b.add(product, bias)),
        None => Ok(product.into()),
    }
}

fn call_embedding_bag(c: &mut Call<'_>) -> Made {
    let x = c.x();
    let index = whole_numbers(c.b, c.given.input("x"), x)?;
    if c.b.rank(x) == 0 {
        let expected = "at least 1 axis, the indices of a bag".to_string();
        return Err(CallError::Rank { input: c.given.input("x"), expected, found: c.ty(), fix: None });
    }
    let axis = c.b.rank(x) - 1;
    let Some(weight) = c.param("weight") else { return Ok(x.into()) };
    let mut rows = take(c.b, weight, index, 0)?;
    let mode = c.args().word("mode").to_string();
    if let Some(factors) = c.given.tensor_if("per_sample_weights") {
        c.check_dtype_of("per_sample_weights")?;
        if mode != "sum" {
            let message = format!("`per_sample_weights` go with mode = \"sum\", but the mode is {mode:?}");
            return Err(CallError::Given(c.given.error("per_sample_weights", message)));
        }
        if !super::attention::alike(c.b, c.b.shape(factors), c.b.shape(x)) {
            let (at, input) = (c.given.input("per_sample_weights"), c.given.input("x"));
            let sentence = format!(
                "{{{at}}} is {}, but there must be a factor for each index of {{{input}}}, {}",
                c.b.ty(factors),
                c.ty()
            );
            return Err(CallError::Inputs(sentence));
        }
        let factors = super::common::unsqueeze(c.b, factors, axis + 1)?;
        rows = c.b.mul(rows, factors)?;
    }
    made(match mode.as_str() {
        "sum" => c.b.sum(rows, &[axis], false),
        "max" => c.b.reduce(Op::ReduceMax, rows, &[axis], false),
        _ => c.b.mean(rows, &[axis], false),
    })
}

fn call_prelu(c: &mut Call<'_>) -> Made {
    let (x, ty) = (c.x(), c.ty());
    c.check_dtype()?;
    let channels = c.args().dim("channels");
    let Some(mut weight) = c.param("weight") else { return Ok(x.into()) };
    if !channels.is(1) {
        if ty.rank() < 2 {
            let (expected, fix) = ("at least 2 axes, [N, C, ..]".to_string(), None);
            return Err(CallError::Rank { input: 0, expected, found: ty, fix });
        }
        c.check_features("channels", 1, "channels", &channels)?;
        weight = along_channels(c, weight)?;
    }
    let (on, below) = (positive(c.b, x)?, c.b.mul(x, weight)?);
    made(c.b.select(on, x, below))
}

/// A vector `[C]` in a shape that broadcasts along axis 1 of the operand.
pub fn along_channels(c: &mut Call<'_>, vector: NodeId) -> Result<NodeId, CallError> {
    let rank = c.ty().rank();
    Ok(before_space(c.b, vector, rank - 2)?)
}

/// A vector `[C]` as `[C, 1, ..]`, with so many axes behind it.
pub fn before_space(b: &mut Builder, vector: NodeId, spatial: usize) -> Built {
    let mut shape = vec![Dim::ONE; spatial + 1];
    shape[0] = b.shape(vector)[0].clone();
    b.reshape(vector, &shape)
}
