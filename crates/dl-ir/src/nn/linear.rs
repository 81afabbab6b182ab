//! Layers that multiply by a matrix or look up its rows.

use super::args::Args;
use super::common::{Made, made, positive};
use super::error::{ArgError, CallError};
use super::index::{take, whole_numbers};
use super::layer::{Call, LayerDef, trainable};
use super::params::{Default, Kind, Param};
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::module::{Init, ParamDecl};
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
    c.check_f32()?;
    if rank == 0 {
        let (expected, fix) = ("at least 1 axis, the features".to_string(), None);
        return Err(CallError::Rank { input: 0, expected, found: c.ty(), fix });
    }
    let (from, _) = c.args().map("in");
    c.check_features("in", rank - 1, "features", &from)?;
    let Some(weight) = c.param("weight") else { return Ok(x.into()) };
    let product = c.b.dot(x, weight, &[], &[(rank - 1, 1)])?;
    match c.param("bias") {
        Some(bias) => made(c.b.add(product, bias)),
        None => Ok(product.into()),
    }
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

fn call_prelu(c: &mut Call<'_>) -> Made {
    let (x, ty) = (c.x(), c.ty());
    c.check_f32()?;
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
    let mut shape = vec![Dim::ONE; c.ty().rank() - 1];
    shape[0] = c.b.shape(vector)[0].clone();
    Ok(c.b.reshape(vector, &shape)?)
}
