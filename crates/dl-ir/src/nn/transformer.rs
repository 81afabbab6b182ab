//! Layers of transformers (Vaswani et al. 2017), and stacks of them. Batch first; parameters as PyTorch names them.

use super::args::Args;
use super::common::{Made, X};
use super::dropout::{dropped, probability};
use super::error::{ArgError, CallError};
use super::layer::{Call, LayerDef, trainable};
use super::linear::{BIAS, positive_dim};
use super::multihead::{self, BATCH_FIRST, CAUSAL, DIM, HEADS, KV_HEADS, MASK, PADDING, Part};
use super::norm::{eps, layer_norm};
use super::params::{Default, Kind, Param};
use crate::graph::NodeId;
use crate::module::{Init, ParamDecl};
use crate::types::DType;

const FF: Param = Param::optional("ff", Kind::Dim, Default::Int(2048), "features between the two linear layers");
const DROPOUT: Param =
    Param::optional("dropout", Kind::Float, Default::Float(0.1), "the share of activations left out in training");
const ACTIVATION: Param = Param::optional(
    "activation",
    Kind::Word(&["relu", "gelu"]),
    Default::Word("relu"),
    "what stands between the two linear layers",
);
const NORM_FIRST: Param = Param::optional(
    "norm_first",
    Kind::Bool,
    Default::Bool(false),
    "whether each part normalises its operand, not its sum with it",
);
const COUNT: Param = Param::required("layers", Kind::Int, "how many layers");
const NORM: Param = Param::optional("norm", Kind::Bool, Default::Bool(false), "whether a layer norm ends the stack");
const MEMORY: Param = Param::required("memory", Kind::Tensor, "what it attends to, [N, S, dim]");
const MEMORY_MASK: Param =
    Param::optional("memory_mask", Kind::Tensor, Default::Absent, "as `mask`, of the attention to the memory");
const MEMORY_PADDING: Param = Param::optional(
    "memory_key_padding_mask",
    Kind::Tensor,
    Default::Absent,
    "bool [N, S], true for elements of the memory that are left out",
);

/// More layers than any stack has: guards the build against a slip of the pen.
const MOST: i64 = 256;

/// The layers of this file.
pub const LAYERS: &[LayerDef] = &[
    LayerDef::own(
        "TransformerEncoderLayer",
        "self-attention and two linear layers, each added to its operand and normalised",
        &[DIM, HEADS, FF, DROPOUT, ACTIVATION, eps(1e-5), NORM_FIRST, BIAS, CAUSAL, KV_HEADS, BATCH_FIRST],
        |a| declare(a, "", false),
        |c| Ok(encoder(c, "", c.x())?.into()),
    )
    .taking(&[X, MASK, PADDING]),
    LayerDef::own(
        "TransformerDecoderLayer",
        "self-attention, attention to a memory and two linear layers, each added to its operand and normalised",
        &[DIM, HEADS, FF, DROPOUT, ACTIVATION, eps(1e-5), NORM_FIRST, BIAS, CAUSAL, KV_HEADS, BATCH_FIRST],
        |a| declare(a, "", true),
        |c| Ok(decoder(c, "", c.x())?.into()),
    )
    .taking(&[X, MEMORY, MASK, MEMORY_MASK, PADDING, MEMORY_PADDING]),
    LayerDef::own(
        "TransformerEncoder",
        "several `TransformerEncoderLayer`, named layers.0 and so on",
        &[DIM, HEADS, COUNT, FF, DROPOUT, ACTIVATION, eps(1e-5), NORM_FIRST, BIAS, CAUSAL, KV_HEADS, NORM, BATCH_FIRST],
        |a| declare_stack(a, false),
        |c| stack(c, encoder),
    )
    .taking(&[X, MASK, PADDING]),
    LayerDef::own(
        "TransformerDecoder",
        "several `TransformerDecoderLayer` that attend to the same memory, named layers.0 and so on",
        &[DIM, HEADS, COUNT, FF, DROPOUT, ACTIVATION, eps(1e-5), NORM_FIRST, BIAS, CAUSAL, KV_HEADS, NORM, BATCH_FIRST],
        |a| declare_stack(a, true),
        |c| stack(c, decoder),
    )
    .taking(&[X, MEMORY, MASK, MEMORY_MASK, PADDING, MEMORY_PADDING]),
];

fn declare(args: &Args, prefix: &str, memory: bool) -> Result<Vec<ParamDecl>, ArgError> {
    probability(args, "dropout")?;
    super::norm::check_eps(args)?;
    let (dim, ff, bias) = (args.dim("dim"), args.dim("ff"), args.bool("bias"));
    positive_dim(args, "ff", &ff)?;
    let mut params = multihead::declare(args, &format!("{prefix}self_attn."))?;
    if memory {
        params.extend(multihead::declare(args, &format!("{prefix}multihead_attn."))?);
    }
    for (name, out, from) in [("linear1", ff.clone(), dim.clone()), ("linear2", dim.clone(), ff)] {
        let init = Init::FanIn(from.clone());
        params.push(trainable(&format!("{prefix}{name}.weight"), DType::F32, vec![out.clone(), from], init.clone()));
        if bias {
            params.push(trainable(&format!("{prefix}{name}.bias"), DType::F32, vec![out], init));
        }
    }
    for i in 1..=2 + usize::from(memory) {
        norm_params(args, &format!("{prefix}norm{i}."), &mut params);
    }
    Ok(params)
}

fn norm_params(args: &Args, prefix: &str, params: &mut Vec<ParamDecl>) {
    let shape = vec![args.dim("dim")];
    params.push(trainable(&format!("{prefix}weight"), DType::F32, shape.clone(), Init::Ones));
    if args.bool("bias") {
        params.push(trainable(&format!("{prefix}bias"), DType::F32, shape, Init::Zeros));
    }
}

fn declare_stack(args: &Args, memory: bool) -> Result<Vec<ParamDecl>, ArgError> {
    let count = args.int("layers");
    if !(1..=MOST).contains(&count) {
        return Err(args.error("layers", format!("a stack has 1 to {MOST} layers, but this is {count}")));
    }
    let mut params = vec![];
    for i in 0..count {
        params.extend(declare(args, &format!("layers.{i}."), memory)?);
    }
    if args.bool("norm") {
        norm_params(args, "norm.", &mut params);
    }
    Ok(params)
}

type Layer = fn(&mut Call<'_>, &str, NodeId) -> Result<NodeId, CallError>;

fn stack(c: &mut Call<'_>, layer: Layer) -> Made {
    let mut x = c.x();
    for i in 0..c.args().int("layers") {
        x = layer(c, &format!("layers.{i}."), x)?;
    }
    Ok(if c.args().bool("norm") { layer_norm(c, "norm.", x)? } else { x }.into())
}

/// Checks what the layers normalise before attention checks the rest.
fn check(c: &Call<'_>) -> Result<(), CallError> {
    let found = c.ty();
    c.check_dtype()?;
    if found.rank() < 2 {
        return Err(CallError::Rank {
            input: c.given.input("x"),
            expected: "3 axes, [N, T, features]".into(),
            found,
            fix: None,
        });
    }
    c.check_features("dim", found.rank() - 1, "features", &c.args().dim("dim"))
}

fn encoder(c: &mut Call<'_>, prefix: &str, x: NodeId) -> Result<NodeId, CallError> {
    check(c)?;
    let x = residual(c, &format!("{prefix}norm1."), x, |c, x| self_attention(c, prefix, x))?;
    residual(c, &format!("{prefix}norm2."), x, |c, x| feed_forward(c, prefix, x))
}

fn decoder(c: &mut Call<'_>, prefix: &str, x: NodeId) -> Result<NodeId, CallError> {
    check(c)?;
    let x = residual(c, &format!("{prefix}norm1."), x, |c, x| self_attention(c, prefix, x))?;
    let x = residual(c, &format!("{prefix}norm2."), x, |c, x| {
        let memory = (c.given.tensor("memory"), "memory");
        let part = Part {
            prefix: &format!("{prefix}multihead_attn."),
            query: (x, "x"),
            key: memory,
            value: memory,
            padding: "memory_key_padding_mask",
            mask: "memory_mask",
            causal: false,
        };
        multihead::attention(c, &part)
    })?;
    residual(c, &format!("{prefix}norm3."), x, |c, x| feed_forward(c, prefix, x))
}

/// `norm(x + part(x))`, or `x + part(norm(x))` with `norm_first`.
fn residual(
    c: &mut Call<'_>,
    norm: &str,
    x: NodeId,
    part: impl FnOnce(&mut Call<'_>, NodeId) -> Result<NodeId, CallError>,
) -> Result<NodeId, CallError> {
    let first = c.args().bool("norm_first");
    let operand = if first { layer_norm(c, norm, x)? } else { x };
    let y = part(c, operand)?;
    let y = drop(c, y)?;
    let sum = c.b.add(x, y)?;
    if first { Ok(sum) } else { layer_norm(c, norm, sum) }
}

fn drop(c: &mut Call<'_>, x: NodeId) -> Result<NodeId, CallError> {
    let (p, shape) = (c.args().float("dropout"), c.b.shape(x).to_vec());
    Ok(dropped(c.b, x, p, &shape)?)
}

fn self_attention(c: &mut Call<'_>, prefix: &str, x: NodeId) -> Result<NodeId, CallError> {
    let part = Part {
        prefix: &format!("{prefix}self_attn."),
        query: (x, "x"),
        key: (x, "x"),
        value: (x, "x"),
        padding: "key_padding_mask",
        mask: "mask",
        causal: c.args().bool("causal"),
    };
    multihead::attention(c, &part)
}

fn feed_forward(c: &mut Call<'_>, prefix: &str, x: NodeId) -> Result<NodeId, CallError> {
    let h = c.linear(&format!("{prefix}linear1."), x)?;
    let h = match c.args().word("activation") {
        "gelu" => super::activation::gelu(c.b, h)?,
        _ => super::activation::relu(c.b, h)?,
    };
    let h = drop(c, h)?;
    Ok(c.linear(&format!("{prefix}linear2."), h)?)
}
