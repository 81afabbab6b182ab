//! Multi-head attention as a layer, and as a part of others.

use super::args::Args;
use super::attention::{Attend, alike, attend, mask};
use super::common::{Made, narrow};
use super::dropout::probability;
use super::error::{ArgError, CallError};
use super::layer::{Call, LayerDef, trainable};
use super::linear::{BIAS, positive_dim};
use super::params::{Default, Kind, Param};
use crate::build::Built;
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::module::{Init, ParamDecl};
use crate::types::DType;

/// The features of a layer of attention.
pub const DIM: Param = Param::required("dim", Kind::Dim, "features of the query and of the result");
/// The number of heads.
pub const HEADS: Param = Param::required("heads", Kind::Dim, "how many heads, which share the features");
/// The heads of key and value.
pub const KV_HEADS: Param = Param::optional(
    "kv_heads",
    Kind::Dim,
    Default::Same("heads"),
    "how many heads key and value have, each for several of the query (Ainslie et al. 2023)",
);
/// Whether the past alone is seen.
pub const CAUSAL: Param =
    Param::optional("causal", Kind::Bool, Default::Bool(false), "whether position t sees only keys up to t");
/// PyTorch's name for the order of axes.
pub const BATCH_FIRST: Param =
    Param::optional("batch_first", Kind::Bool, Default::Bool(true), "always true: the batch is the first axis");
/// What of the keys is padding.
pub const PADDING: Param = Param::optional(
    "key_padding_mask",
    Kind::Tensor,
    Default::Absent,
    "bool [N, S], true for keys that are left out, as in PyTorch",
);
/// What of the scores is left out.
pub const MASK: Param = Param::optional(
    "mask",
    Kind::Tensor,
    Default::Absent,
    "[T, S], [N, T, S] or [N, heads, T, S]: bool, true where a key is left out, as in PyTorch, or a float that is added \
     to the scores",
);

/// The layers of this file.
pub const LAYERS: &[LayerDef] = &[LayerDef::own(
    "MultiheadAttention",
    "attention of [N, T, dim] to [N, S, dim] in heads (Vaswani et al. 2017), batch first: `attn(x)` to itself, \
     `attn(x, memory)` to another, or `attn(query, key, value)`; with `need_weights` two results",
    &[
        DIM,
        HEADS,
        Param::optional("dropout", Kind::Float, Default::Float(0.0), "the share of weights left out in training"),
        BIAS,
        CAUSAL,
        KV_HEADS,
        Param::optional("kdim", Kind::Dim, Default::Same("dim"), "features of the key"),
        Param::optional("vdim", Kind::Dim, Default::Same("dim"), "features of the value"),
        BATCH_FIRST,
        Param::optional(
            "need_weights",
            Kind::Bool,
            Default::Bool(false),
            "whether the call also gives the weights, [N, T, S], as their mean over the heads",
        ),
    ],
    |a| {
        probability(a, "dropout")?;
        declare(a, "")
    },
    call,
)
.taking(&[
    Param::required("query", Kind::Tensor, "what asks, [N, T, dim]"),
    Param::optional(
        "key",
        Kind::Tensor,
        Default::Absent,
        "what is compared with it, [N, S, kdim]; the query itself if left out",
    ),
    Param::optional("value", Kind::Tensor, Default::Absent, "what is averaged, [N, S, vdim]; the key if left out"),
    PADDING,
    MASK,
])];

fn call(c: &mut Call<'_>) -> Made {
    let given = |name, other| c.given.tensor_if(name).map_or(other, |node| (node, name));
    let query = (c.x(), "query");
    let key = given("key", query);
    let part = Part {
        prefix: "",
        query,
        key,
        value: given("value", key),
        padding: "key_padding_mask",
        mask: "mask",
        causal: c.args().bool("causal"),
    };
    let (y, weights) = with_weights(c, &part)?;
    if !c.args().bool("need_weights") {
        return Ok(y.into());
    }
    let lead = c.b.rank(y) - 2;
    let heads: Vec<usize> = (lead..c.b.rank(weights) - 2).collect();
    Ok(vec![y, c.b.mean(weights, &heads, false)?].into())
}

/// One attention within a layer. Operands stand with the names under which they were given.
pub struct Part<'a> {
    /// What its parameters' names begin with: `self_attn.`
    pub prefix: &'a str,
    /// What asks.
    pub query: (NodeId, &'a str),
    /// What is compared with it.
    pub key: (NodeId, &'a str),
    /// What is averaged.
    pub value: (NodeId, &'a str),
    /// The call's argument that says which keys are padding.
    pub padding: &'a str,
    /// The call's argument that says what is left out.
    pub mask: &'a str,
    /// Whether position t sees only keys up to t.
    pub causal: bool,
}

/// Sizes of the projections: the result's features, those of a head, and heads of query and key.
struct Sizes {
    dim: Dim,
    head: Dim,
    heads: Dim,
    kv_heads: Dim,
}

fn sizes(args: &Args) -> Sizes {
    let (dim, heads) = (args.dim("dim"), args.dim("heads"));
    let kv_heads = if args.get("kv_heads").is_some() { args.dim("kv_heads") } else { heads.clone() };
    Sizes { head: dim.floor_div(&heads).unwrap_or(Dim::ONE), dim, heads, kv_heads }
}

fn source(args: &Args, name: &str) -> Dim {
    if args.get(name).is_some() { args.dim(name) } else { args.dim("dim") }
}

/// The parameters of an attention, under names that begin with `prefix`.
///
/// # Errors
/// If the heads are known not to divide the features, or those of the query not to be a multiple of those of the key.
pub fn declare(args: &Args, prefix: &str) -> Result<Vec<ParamDecl>, ArgError> {
    for name in ["dim", "heads", "kv_heads", "kdim", "vdim"] {
        if args.get(name).is_some() {
            positive_dim(args, name, &args.dim(name))?;
        }
    }
    if !args.bool("batch_first") {
        let message = "operands are [N, T, features], batch first: `.transpose(0, 1)` brings [T, N, features] there";
        return Err(args.error("batch_first", message));
    }
    let Sizes { dim, head, heads, kv_heads } = sizes(args);
    if let (Some(d), Some(h)) = (dim.as_const(), heads.as_const())
        && d % h != 0
    {
        return Err(args.error("heads", format!("{d} features do not divide into {h} heads")));
    }
    if let (Some(h), Some(k)) = (heads.as_const(), kv_heads.as_const())
        && h % k != 0
    {
        let message = format!("{h} heads of the query do not divide into {k} groups, one for each head of the key");
        return Err(args.error("kv_heads", message));
    }
    let (key, value) = (source(args, "kdim"), source(args, "vdim"));
    let narrow = kv_heads * head;
    let named = |name: &str| format!("{prefix}{name}");
    let all = dim.clone() + narrow.clone() + narrow.clone();
    let matrix = |name: &str, out: Dim, from: Dim| {
        let init = Init::Xavier(out.clone() + from.clone());
        trainable(&named(name), DType::F32, vec![out, from], init)
    };
    let mut params = if key == dim && value == dim {
        vec![matrix("in_proj_weight", all.clone(), dim.clone())]
    } else {
        vec![
            matrix("q_proj_weight", dim.clone(), dim.clone()),
            matrix("k_proj_weight", narrow.clone(), key),
            matrix("v_proj_weight", narrow, value),
        ]
    };
    if args.bool("bias") {
        params.push(trainable(&named("in_proj_bias"), DType::F32, vec![all], Init::Zeros));
    }
    let init = Init::FanIn(dim.clone());
    params.push(trainable(&named("out_proj.weight"), DType::F32, vec![dim.clone(), dim.clone()], init));
    if args.bool("bias") {
        params.push(trainable(&named("out_proj.bias"), DType::F32, vec![dim], Init::Zeros));
    }
    Ok(params)
}

/// The attention: projections, heads, and the product that joins them.
///
/// # Errors
/// If operands or masks do not fit.
pub fn attention(c: &mut Call<'_>, part: &Part<'_>) -> Result<NodeId, CallError> {
    Ok(with_weights(c, part)?.0)
}

/// The attention, and its weights, [N, heads.., T, S].
fn with_weights(c: &mut Call<'_>, part: &Part<'_>) -> Result<(NodeId, NodeId), CallError> {
    let Sizes { dim, head, heads, kv_heads } = sizes(c.args());
    want_multiple(c, "heads", &dim, &heads)?;
    want_multiple(c, "kv_heads", &heads, &kv_heads)?;
    want_operands(c, part, &dim)?;
    let [query, key, value] = project(c, part, &(kv_heads.clone() * head.clone()))?;
    let lead = c.b.rank(query) - 2;
    let groups = heads.floor_div(&kv_heads).unwrap_or(Dim::ONE);
    let of_query = if groups.is(1) { vec![heads] } else { vec![kv_heads.clone(), groups] };
    let extra = of_query.len() - 1;
    let query = in_heads(c, query, &of_query, &head)?;
    let key = in_heads(c, key, std::slice::from_ref(&kv_heads), &head)?;
    let value = in_heads(c, value, std::slice::from_ref(&kv_heads), &head)?;
    let mut scores = c.b.shape(query)[..lead + 2 + extra].to_vec();
    scores.push(c.b.shape(key)[lead + 1].clone());
    let (seen, bias) = masks(c, part, &scores, lead)?;
    let dropout = c.args().float("dropout");
    let how = Attend { causal: part.causal, scale: None, dropout, seen, bias };
    let (y, weights) = attend(c.b, query, key, value, lead + 1, &how)?;
    // [N, heads.., T, head] to [N, T, dim].
    let rank = c.b.rank(y);
    let perm: Vec<usize> = (0..lead).chain([rank - 2]).chain(lead..rank - 2).chain([rank - 1]).collect();
    let y = c.b.transpose(y, &perm)?;
    let mut joined = c.b.shape(y)[..lead + 1].to_vec();
    joined.push(dim);
    let y = c.b.reshape(y, &joined)?;
    Ok((c.linear(&format!("{}out_proj.", part.prefix), y)?, weights))
}

/// Requires `part` to divide `whole`, by number or by a fact of the model.
fn want_multiple(c: &Call<'_>, arg: &str, whole: &Dim, part: &Dim) -> Result<(), CallError> {
    let quotient = whole.floor_div(part).unwrap_or(Dim::ONE);
    if c.b.graph.facts.equal(&(quotient * part.clone()), whole) {
        return Ok(());
    }
    let message =
        format!("{whole} is not known to divide into {part} heads; it does with `require {whole} % {part} == 0;`");
    Err(c.args().error(arg, message).into())
}

fn want_operands(c: &Call<'_>, part: &Part<'_>, dim: &Dim) -> Result<(), CallError> {
    let features = [dim.clone(), source(c.args(), "kdim"), source(c.args(), "vdim")];
    let lead = c.b.rank(part.query.0);
    for (((node, name), arg), expected) in
        [part.query, part.key, part.value].into_iter().zip(["dim", "kdim", "vdim"]).zip(&features)
    {
        let found = c.b.ty(node).clone();
        c.check_dtype_of(name)?;
        if found.rank() < 2 || found.rank() != lead {
            let expected = if found.rank() < 2 { "3 axes, [N, T, features]" } else { "operands of the same rank" };
            let input = c.given.input(name);
            return Err(CallError::Rank { input, expected: expected.to_string(), found, fix: None });
        }
        let arg = if c.args().is_given(arg) { arg } else { "dim" };
        c.check_features_of(name, arg, found.rank() - 1, "features", expected)?;
    }
    let ty = |node: NodeId| c.b.ty(node).clone();
    let (q, k, v) = (ty(part.query.0), ty(part.key.0), ty(part.value.0));
    let [at_q, at_k, at_v] = [part.query.1, part.key.1, part.value.1].map(|name| c.given.input(name));
    let batch = lead - 2;
    if !alike(c.b, &q.shape[..batch], &k.shape[..batch]) {
        let sentence = format!("{{{at_q}}} is {q} and {{{at_k}}} is {k}: the axes before the last two must agree");
        return Err(CallError::Inputs(sentence));
    }
    if !alike(c.b, &k.shape[..batch + 1], &v.shape[..batch + 1]) {
        let sentence = format!("{{{at_k}}} is {k} and {{{at_v}}} is {v}: there must be a value for each key");
        return Err(CallError::Inputs(sentence));
    }
    Ok(())
}

/// Query, key and value times their matrices. Where operands are the same tensor, one product makes them all.
fn project(c: &mut Call<'_>, part: &Part<'_>, narrow_size: &Dim) -> Result<[NodeId; 3], CallError> {
    let (query, key, value) = (part.query.0, part.key.0, part.value.0);
    let dim = c.args().dim("dim");
    let named = |name: &str| format!("{}{name}", part.prefix);
    let bias = c.param(&named("in_proj_bias"));
    let ends = [dim.clone(), dim.clone() + narrow_size.clone(), dim + narrow_size.clone() + narrow_size.clone()];
    let starts = [Dim::from(0), ends[0].clone(), ends[1].clone()];
    let Some(packed) = c.param(&named("in_proj_weight")) else {
        let mut results = [query, key, value];
        for (i, name) in ["q_proj_weight", "k_proj_weight", "v_proj_weight"].into_iter().enumerate() {
            let Some(weight) = c.param(&named(name)) else { continue };
            let bias = bias.map(|bias| narrow(c.b, bias, 0, starts[i].clone(), ends[i].clone())).transpose()?;
            results[i] = product(c, results[i], weight, bias)?;
        }
        return Ok(results);
    };
    let from_rows = |c: &mut Call<'_>, x: NodeId, from: usize, to: usize| -> Built {
        let mut rows = |node: NodeId| -> Built {
            if from == 0 && to == 2 {
                return Ok(node);
            }
            narrow(c.b, node, 0, starts[from].clone(), ends[to].clone())
        };
        let weight = rows(packed)?;
        let bias = bias.map(&mut rows).transpose()?;
        product(c, x, weight, bias)
    };
    // Parts of the result of one product, from projection `first` on.
    let cut = |c: &mut Call<'_>, y: NodeId, first: usize, which: usize| {
        let (from, to) = (starts[which].clone() - starts[first].clone(), ends[which].clone() - starts[first].clone());
        let last = c.b.rank(y) - 1;
        narrow(c.b, y, last, from, to)
    };
    if query == key && key == value {
        let all = from_rows(c, query, 0, 2)?;
        return Ok([cut(c, all, 0, 0)?, cut(c, all, 0, 1)?, cut(c, all, 0, 2)?]);
    }
    let query = from_rows(c, query, 0, 0)?;
    if key == value {
        let both = from_rows(c, key, 1, 2)?;
        return Ok([query, cut(c, both, 1, 1)?, cut(c, both, 1, 2)?]);
    }
    Ok([query, from_rows(c, key, 1, 1)?, from_rows(c, value, 2, 2)?])
}

fn product(c: &mut Call<'_>, x: NodeId, weight: NodeId, bias: Option<NodeId>) -> Built {
    let last = c.b.rank(x) - 1;
    let y = c.b.dot(x, weight, &[], &[(last, 1)])?;
    match bias {
        Some(bias) => c.b.add(y, bias),
        None => Ok(y),
    }
}

/// `[N, T, heads * head]` as `[N, heads.., T, head]`.
fn in_heads(c: &mut Call<'_>, x: NodeId, heads: &[Dim], head: &Dim) -> Built {
    let lead = c.b.rank(x) - 2;
    let mut split = c.b.shape(x)[..lead + 1].to_vec();
    split.extend_from_slice(heads);
    split.push(head.clone());
    let x = c.b.reshape(x, &split)?;
    let rank = split.len();
    let perm: Vec<usize> = (0..lead).chain(lead + 1..rank - 1).chain([lead, rank - 1]).collect();
    c.b.transpose(x, &perm)
}

/// The masks of the call for scores of that shape: where a query sees a key, and what is added.
fn masks(
    c: &mut Call<'_>,
    part: &Part<'_>,
    scores: &[Dim],
    lead: usize,
) -> Result<(Option<NodeId>, Option<NodeId>), CallError> {
    let (rank, dtype) = (scores.len(), c.dtype());
    let (mut hidden, mut bias) = (None, None);
    if let Some(node) = c.given.tensor_if(part.mask) {
        let input = c.given.input(part.mask);
        let (found, heads) = (c.b.ty(node).clone(), rank - lead - 2);
        let (batch, last) = (&scores[..lead], &scores[rank - 2..]);
        let all_heads = c.args().dim("heads");
        // Axes of the mask, and the shape in which it broadcasts to the scores.
        let forms = [
            (last.to_vec(), last.to_vec()),
            ([batch, last].concat(), [batch, &vec![Dim::ONE; heads], last].concat()),
            ([batch, &[all_heads], last].concat(), scores.to_vec()),
        ];
        let Some((_, to)) = forms.iter().find(|(from, _)| alike(c.b, from, &found.shape)) else {
            let sentence = format!(
                "{{{input}}} is {found}, but there are {} queries and {} keys: a mask is [T, S], [N, T, S] or [N, heads, T, S]",
                last[0], last[1]
            );
            return Err(CallError::Inputs(sentence));
        };
        let shaped = c.b.reshape(node, to)?;
        // The element type is that of the call's own argument.
        (hidden, bias) = mask(c.b, shaped, input, dtype).map_err(|error| match error {
            CallError::DType { input, expected, fix, .. } => CallError::DType { input, expected, found, fix },
            other => other,
        })?;
    }
    if let Some(node) = c.given.tensor_if(part.padding) {
        let input = c.given.input(part.padding);
        let found = c.b.ty(node).clone();
        if found.dtype != DType::Bool {
            let fix = Some("compare to make it, such as `tokens == 0`".to_string());
            let expected = "a bool padding mask".to_string();
            return Err(CallError::DType { input, expected, found, fix });
        }
        let expected = [&scores[..lead], &scores[rank - 1..]].concat();
        if !alike(c.b, &found.shape, &expected) {
            let sentence = format!(
                "{{{input}}} is {found}, but a padding mask has an element for each key: {}",
                crate::error::shape(&expected)
            );
            return Err(CallError::Inputs(sentence));
        }
        let to = [&scores[..lead], &vec![Dim::ONE; rank - lead - 1], &scores[rank - 1..]].concat();
        let padding = c.b.reshape(node, &to)?;
        hidden = Some(match hidden {
            Some(hidden) => c.b.or(hidden, padding)?,
            None => padding,
        });
    }
    let seen = hidden.map(|hidden| c.b.not(hidden)).transpose()?;
    Ok((seen, bias))
}
