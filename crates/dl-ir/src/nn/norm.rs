//! Normalisation.

use super::args::Args;
use super::common::{Made, scale, with_constant};
use super::error::{ArgError, CallError};
use super::layer::{Append, Call, LayerDef, buffer, trainable};
use super::linear::{along_channels, positive_dim};
use super::params::{Default, Kind, Param};
use super::reduce::variance;
use crate::dim::Dim;
use crate::error::shape;
use crate::graph::NodeId;
use crate::module::{Init, ParamDecl};
use crate::op::Op;
use crate::types::DType;

/// What is added to variances.
pub const fn eps(default: f64) -> Param {
    Param::optional("eps", Kind::Float, Default::Float(default), "added to the variance, so that it is never 0")
}

const AFFINE: Param = Param::optional(
    "affine",
    Kind::Bool,
    Default::Bool(true),
    "whether the result is scaled and shifted by trained numbers",
);

const BATCH: &[Param] = &[
    Param::required("channels", Kind::Dim, "channels of x, axis 1"),
    eps(1e-5),
    Param::optional("momentum", Kind::Float, Default::Float(0.1), "how far a batch moves the running statistics"),
    AFFINE,
];

const fn batch_norm(name: &'static str, doc: &'static str, call: Append) -> LayerDef {
    LayerDef::own(name, doc, BATCH, declare_batch, call)
}

/// The layers of this file.
pub const LAYERS: &[LayerDef] = &[
    batch_norm(
        "BatchNorm",
        "each channel (axis 1) of [N, C, ..] to mean 0 and variance 1: the batch's in training, running ones otherwise",
        |c| call_batch(c, None),
    ),
    batch_norm("BatchNorm1d", "BatchNorm of [N, C] or [N, C, L]", |c| {
        let expected = "2 or 3 axes, [N, C] or [N, C, L]";
        call_batch(c, Some((&[2, 3], expected)))
    }),
    batch_norm("BatchNorm2d", "BatchNorm of [N, C, H, W]", |c| call_batch(c, Some((&[4], "4 axes, [N, C, H, W]")))),
    batch_norm("BatchNorm3d", "BatchNorm of [N, C, D, H, W]", |c| {
        call_batch(c, Some((&[5], "5 axes, [N, C, D, H, W]")))
    }),
    LayerDef::own(
        "LayerNorm",
        "the last axes, of the given shape, to mean 0 and variance 1 (Ba et al. 2016)",
        &[
            Param::required("shape", Kind::Shape, "the size of the last axis, or of the last axes"),
            eps(1e-5),
            AFFINE,
            Param::optional("bias", Kind::Bool, Default::Bool(true), "whether the result is shifted, if affine"),
        ],
        |a| declare_last(a, a.bool("affine"), a.bool("affine") && a.bool("bias")),
        call_layer_norm,
    ),
    LayerDef::own(
        "RmsNorm",
        "x / sqrt(mean(x^2) + eps) * weight, the mean over the last axes, of the given shape (Zhang & Sennrich 2019)",
        &[Param::required("shape", Kind::Shape, "the size of the last axis, or of the last axes"), eps(1e-6), AFFINE],
        |a| declare_last(a, a.bool("affine"), false),
        call_rms_norm,
    ),
    LayerDef::own(
        "GroupNorm",
        "groups of the channels (axis 1) of each element of the batch to mean 0 and variance 1 (Wu & He 2018)",
        &[
            Param::required("groups", Kind::Int, "how many groups"),
            Param::required("channels", Kind::Dim, "channels of x, axis 1"),
            eps(1e-5),
            AFFINE,
        ],
        declare_group,
        call_group_norm,
    ),
];

/// Refuses a negative `eps`.
///
/// # Errors
/// At the argument.
pub fn check_eps(args: &Args) -> Result<(), ArgError> {
    match args.float("eps") {
        eps if eps >= 0.0 => Ok(()),
        eps => Err(args.error("eps", format!("`eps` must not be negative, but it is {eps}"))),
    }
}

/// The parameters `weight` and `bias` of each channel, if the layer is affine.
pub fn affine(args: &Args, channels: Dim) -> Vec<ParamDecl> {
    if !args.bool("affine") {
        return vec![];
    }
    vec![
        trainable("weight", DType::F32, vec![channels.clone()], Init::Ones),
        trainable("bias", DType::F32, vec![channels], Init::Zeros),
    ]
}

fn declare_batch(args: &Args) -> Result<Vec<ParamDecl>, ArgError> {
    let channels = args.dim("channels");
    positive_dim(args, "channels", &channels)?;
    check_eps(args)?;
    let momentum = args.float("momentum");
    if !(0.0..=1.0).contains(&momentum) {
        return Err(args.error("momentum", format!("`momentum` is between 0 and 1, but it is {momentum}")));
    }
    let mut params = affine(args, channels.clone());
    params.push(buffer("running_mean", DType::F32, vec![channels.clone()], Init::Zeros));
    params.push(buffer("running_var", DType::F32, vec![channels], Init::Ones));
    params.push(buffer("num_batches_tracked", DType::I64, vec![], Init::Zeros));
    Ok(params)
}

fn call_batch(c: &mut Call<'_>, ranks: Option<(&[usize], &str)>) -> Made {
    c.check_dtype()?;
    let (x, found) = (c.x(), c.ty());
    let (fits, expected) = match ranks {
        Some((ranks, expected)) => (ranks.contains(&found.rank()), expected),
        None => (found.rank() >= 2, "at least 2 axes, [N, C, ..]"),
    };
    if !fits {
        return Err(CallError::Rank { input: 0, expected: expected.to_string(), found, fix: None });
    }
    let channels = c.args().dim("channels");
    c.check_features("channels", 1, "channels", &channels)?;
    if c.b.training {
        return Ok(by_batch(c)?.into());
    }
    let (mean, var) = running_statistics(c)?;
    let centred = c.b.sub(x, mean)?;
    Ok(normalised(c, "", centred, var, along_channels)?.into())
}

/// Normalised by the batch's own mean and variance: `(x - mean) * scale + shift`, so written that the gradient takes two
/// sums of each channel, of `dy` and of `dy * (x - mean)`, and no more: the mean passes its gradient on through `shift`,
/// to which it adds 0, and the variance passes none on to it, as the differences from a mean sum up to 0.
fn by_batch(c: &mut Call<'_>) -> Result<NodeId, CallError> {
    let (x, eps) = (c.x(), c.args().float("eps"));
    let (mean, var) = batch_statistics(c)?;
    let fixed = c.b.detach(mean)?;
    let centred = c.b.sub(x, fixed)?;
    let var = with_constant(c.b, Op::Add, var, eps)?;
    let mut factor = c.b.rsqrt(var)?;
    if let Some(weight) = c.param("weight") {
        let weight = along_channels(c, weight)?;
        factor = c.b.mul(factor, weight)?;
    }
    let zero = c.b.sub(fixed, mean)?;
    let mut shift = c.b.mul(zero, factor)?;
    if let Some(bias) = c.param("bias") {
        let bias = along_channels(c, bias)?;
        shift = c.b.add(shift, bias)?;
    }
    let scaled = c.b.mul(centred, factor)?;
    Ok(c.b.add(scaled, shift)?)
}

/// `centred / sqrt(var + eps)`, scaled and shifted where the layer is affine; `place` brings a parameter into shape.
///
/// # Errors
/// What an op refuses.
pub fn normalised(
    c: &mut Call<'_>,
    prefix: &str,
    centred: NodeId,
    var: NodeId,
    place: fn(&mut Call<'_>, NodeId) -> Result<NodeId, CallError>,
) -> Result<NodeId, CallError> {
    let eps = c.args().float("eps");
    let var = with_constant(c.b, Op::Add, var, eps)?;
    let inverse = c.b.rsqrt(var)?;
    let mut y = c.b.mul(centred, inverse)?;
    if let Some(weight) = c.param(&format!("{prefix}weight")) {
        let weight = place(c, weight)?;
        y = c.b.mul(y, weight)?;
    }
    if let Some(bias) = c.param(&format!("{prefix}bias")) {
        let bias = place(c, bias)?;
        y = c.b.add(y, bias)?;
    }
    Ok(y)
}

fn running_statistics(c: &mut Call<'_>) -> Result<(NodeId, NodeId), CallError> {
    let x = c.x();
    let (Some(mean), Some(var)) = (c.param("running_mean"), c.param("running_var")) else { return Ok((x, x)) };
    Ok((along_channels(c, mean)?, along_channels(c, var)?))
}

/// Mean and variance of the batch, `[1, C, 1, ..]`; the running ones move towards them, the variance towards the
/// unbiased estimate, as in PyTorch. Of a single element a channel there is none: it counts as the biased one, 0.
fn batch_statistics(c: &mut Call<'_>) -> Result<(NodeId, NodeId), CallError> {
    let (x, found) = (c.x(), c.ty());
    let over: Vec<usize> = (0..found.rank()).filter(|&a| a != 1).collect();
    let count = over.iter().fold(Dim::ONE, |n, &a| n * found.shape[a].clone());
    if count.is(1) {
        let sentence =
            format!("{{0}} is {found}: in training there must be more than one element a channel to have a variance");
        return Err(CallError::Inputs(sentence));
    }
    let mean = c.b.mean(x, &over, true)?;
    let var = variance(c.b, x, &over, 0, true)?;
    let channels = found.shape[1].clone();
    let (count, one) = (c.b.dim_value(&count, c.dtype())?, c.b.constant(c.dtype(), 1.0));
    let rest = c.b.sub(count, one)?;
    let rest = c.b.max(rest, one)?;
    let correction = c.b.div(count, rest)?;
    let unbiased = c.b.mul(var, correction)?;
    let momentum = c.args().float("momentum");
    for (name, value) in [("running_mean", mean), ("running_var", unbiased)] {
        let Some(old) = c.param(name) else { continue };
        let value = c.b.reshape(value, std::slice::from_ref(&channels))?;
        let value = c.b.detach(value)?;
        let (old, new) = (scale(c.b, old, 1.0 - momentum)?, scale(c.b, value, momentum)?);
        let moved = c.b.add(old, new)?;
        c.update(name, moved);
    }
    if let Some(batches) = c.param("num_batches_tracked") {
        let more = with_constant(c.b, Op::Add, batches, 1.0)?;
        c.update("num_batches_tracked", more);
    }
    Ok((mean, var))
}

fn declare_last(args: &Args, weight: bool, bias: bool) -> Result<Vec<ParamDecl>, ArgError> {
    let last = args.shape("shape");
    if last.is_empty() {
        return Err(args.error("shape", "there must be at least one axis"));
    }
    last.iter().try_for_each(|d| positive_dim(args, "shape", d))?;
    check_eps(args)?;
    let mut params = vec![];
    if weight {
        params.push(trainable("weight", DType::F32, last.clone(), Init::Ones));
    }
    if bias {
        params.push(trainable("bias", DType::F32, last, Init::Zeros));
    }
    Ok(params)
}

/// The axes that the layer normalises, after the checks of the operand.
fn last_axes(c: &mut Call<'_>) -> Result<Vec<usize>, CallError> {
    c.check_dtype()?;
    let (last, found) = (c.args().shape("shape"), c.ty());
    let Some(first) = found.rank().checked_sub(last.len()) else {
        let expected = format!("at least {} axes, the last {}", last.len(), shape(&last));
        return Err(CallError::Rank { input: 0, expected, found, fix: None });
    };
    for (axis, size) in (first..).zip(&last) {
        if last.len() == 1 {
            c.check_features("shape", axis, "features", size)?;
        } else if !c.b.graph.facts.equal(&found.shape[axis], size) {
            let sentence = format!("{{0}} is {found}, but its last axes must be {}", shape(&last));
            return Err(CallError::Inputs(sentence));
        }
    }
    Ok((first..found.rank()).collect())
}

fn call_layer_norm(c: &mut Call<'_>) -> Made {
    let (x, over) = (c.x(), last_axes(c)?);
    let (centred, var) = moments(c, x, &over)?;
    Ok(normalised(c, "", centred, var, |_, p| Ok(p))?.into())
}

/// Layer norm over the last axis, with the parameters `{prefix}weight` and `{prefix}bias`.
///
/// # Errors
/// What an op refuses.
pub fn layer_norm(c: &mut Call<'_>, prefix: &str, x: NodeId) -> Result<NodeId, CallError> {
    let last = c.b.rank(x).saturating_sub(1);
    let (centred, var) = moments(c, x, &[last])?;
    normalised(c, prefix, centred, var, |_, p| Ok(p))
}

/// `x` less its mean over axes, and its variance.
///
/// # Errors
/// What an op refuses.
pub fn moments(c: &mut Call<'_>, x: NodeId, over: &[usize]) -> Result<(NodeId, NodeId), CallError> {
    let mean = c.b.mean(x, over, true)?;
    let centred = c.b.sub(x, mean)?;
    Ok((centred, variance(c.b, x, over, 0, true)?))
}

fn call_rms_norm(c: &mut Call<'_>) -> Made {
    let (x, over) = (c.x(), last_axes(c)?);
    let squares = c.b.mul(x, x)?;
    let mean = c.b.mean(squares, &over, true)?;
    Ok(normalised(c, "", x, mean, |_, p| Ok(p))?.into())
}

fn declare_group(args: &Args) -> Result<Vec<ParamDecl>, ArgError> {
    let (groups, channels) = (args.int("groups"), args.dim("channels"));
    positive_dim(args, "channels", &channels)?;
    check_eps(args)?;
    if groups < 1 || channels.as_const().is_some_and(|c| c % groups != 0) {
        return Err(args.error("groups", format!("{channels} channels do not divide into {groups} groups")));
    }
    Ok(affine(args, channels))
}

fn call_group_norm(c: &mut Call<'_>) -> Made {
    c.check_dtype()?;
    let (x, found, channels) = (c.x(), c.ty(), c.args().dim("channels"));
    if found.rank() < 2 {
        return Err(CallError::Rank { input: 0, expected: "at least 2 axes, [N, C, ..]".into(), found, fix: None });
    }
    c.check_features("channels", 1, "channels", &channels)?;
    let groups = Dim::from(c.args().int("groups"));
    let part = channels.floor_div(&groups).unwrap_or(Dim::ONE);
    let mut split = vec![found.shape[0].clone(), groups, part];
    split.extend_from_slice(&found.shape[2..]);
    let over: Vec<usize> = (2..split.len()).collect();
    let grouped = c.b.reshape(x, &split)?;
    let mean = c.b.mean(grouped, &over, true)?;
    let centred = c.b.sub(grouped, mean)?;
    let var = variance(c.b, grouped, &over, 0, true)?;
    let full = c.b.broadcast(var, &split)?;
    let (centred, var) = (c.b.reshape(centred, &found.shape)?, c.b.reshape(full, &found.shape)?);
    Ok(normalised(c, "", centred, var, along_channels)?.into())
}
