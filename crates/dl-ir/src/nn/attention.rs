//! Scaled dot-product attention (Vaswani et al. 2017), and what tells it positions.

use super::args::Args;
use super::common::{Made, X, floats, iota, made, narrow, scale, unsqueeze};
use super::dropout::{dropped, probability};
use super::error::CallError;
use super::layer::{Call, LayerDef, trainable};
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use super::product::{batch_shape, with_batch};
use super::value::Value;
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::error::{OpError, shape};
use crate::graph::NodeId;
use crate::module::Init;
use crate::op::Op;
use crate::types::DType;

const BASE: Param =
    Param::optional("base", Kind::Float, Default::Float(10_000.0), "the wavelength of the slowest pair, over 2 pi");

const POSITIONS: MethodDef = MethodDef {
    name: "positional_encoding",
    aliases: &[],
    doc: "x [.., T, D] plus sines (even features) and cosines (odd ones) of its positions, of wavelengths from 2 pi to \
          2 pi base (Vaswani et al. 2017)",
    params: &[X, BASE],
    build: |b, a| {
        let x = a.tensor("x");
        let (length, features) = positions_of(b, a)?;
        let table = sinusoids(b, &length, &features, a.float("base"), b.dtype(x))?;
        made(b.add(x, table))
    },
};

/// The layers of this file.
pub const LAYERS: &[LayerDef] = &[
    LayerDef::of("PositionalEncoding", &POSITIONS),
    LayerDef::own(
        "LearnedPositionalEncoding",
        "x [.., T, dim] plus the first T rows of weight, [length, dim]",
        &[Param::required("length", Kind::Map { pair: true }, "the longest T => features of x")],
        |a| {
            let (length, features) = a.map("length");
            super::linear::positive_dim(a, "length", &length)?;
            super::linear::positive_dim(a, "length", &features)?;
            Ok(vec![trainable("weight", DType::F32, vec![length, features], Init::Normal(0.0, 0.02))])
        },
        learned,
    ),
];

/// The methods of this file.
pub const METHODS: &[MethodDef] = &[
    MethodDef {
        name: "scaled_dot_product_attention",
        aliases: &["attention", "sdpa"],
        doc: "softmax(query * key^T * scale) * value over the last two axes: query [.., T, E], key [.., S, E], value \
              [.., S, V] give [.., T, V]; the axes before them are broadcast",
        params: &[
            Param::required("query", Kind::Tensor, "what asks, [.., T, E]"),
            Param::required("key", Kind::Tensor, "what is compared with it, [.., S, E]"),
            Param::required("value", Kind::Tensor, "what is averaged, [.., S, V]"),
            Param::optional(
                "mask",
                Kind::Tensor,
                Default::Absent,
                "[.., T, S]: bool, true where the query sees the key, or a float that is added to the scores",
            ),
            Param::optional("causal", Kind::Bool, Default::Bool(false), "whether position t sees only keys up to t"),
            Param::optional("dropout", Kind::Float, Default::Float(0.0), "the share of weights left out in training"),
            Param::optional("scale", Kind::Float, Default::Absent, "the factor of the scores, 1 / sqrt(E) by default"),
            Param::optional(
                "enable_gqa",
                Kind::Bool,
                Default::Bool(false),
                "whether several heads of the query (axis -3) share a head of key and value",
            ),
        ],
        build: attention,
    },
    POSITIONS,
    MethodDef {
        name: "sinusoids",
        aliases: &[],
        doc: "the table [length, features] that `positional_encoding` adds",
        params: &[
            Param::required("length", Kind::Dim, "how many positions"),
            Param::required("features", Kind::Dim, "how many features, an even number"),
            BASE,
            Param::optional("dtype", Kind::DType, Default::DType(DType::F32), "the element type"),
        ],
        build: |b, a| {
            let dtype = a.dtype("dtype").unwrap_or(DType::F32);
            if !dtype.is_float() {
                return Err(a.error("dtype", format!("the table is of f32 or f64, not {dtype}")).into());
            }
            for name in ["length", "features"] {
                super::linear::positive_dim(a, name, &a.dim(name))?;
            }
            let features = a.dim("features");
            halves(b, &features).map_err(|message| a.error("features", message))?;
            positive_base(a)?;
            made(sinusoids(b, &a.dim("length"), &features, a.float("base"), dtype))
        },
    },
    MethodDef {
        name: "rope",
        aliases: &["rotary"],
        doc: "x [.., T, D] with pairs of features turned by angles that grow with the position, so that products of two \
              depend on their distance (Su et al. 2021)",
        params: &[
            X,
            BASE,
            Param::optional("offset", Kind::Dim, Default::Int(0), "the position of the first element"),
            Param::optional(
                "interleaved",
                Kind::Bool,
                Default::Bool(false),
                "whether pairs are neighbours (2i, 2i + 1) as in the paper, not (i, i + D / 2) as in Llama",
            ),
        ],
        build: rope,
    },
];

/// How queries are compared with keys.
pub struct Attend {
    /// Whether position t sees only keys up to t.
    pub causal: bool,
    /// The factor of the scores; `1 / sqrt(E)` if absent.
    pub scale: Option<f64>,
    /// The share of weights left out in training.
    pub dropout: f64,
    /// True where a query sees a key; broadcasts to the scores.
    pub seen: Option<NodeId>,
    /// What is added to the scores, to which it broadcasts.
    pub bias: Option<NodeId>,
}

/// Attention of `query` `[batch.., extra.., T, E]` to `key` `[batch.., S, E]` and `value` `[batch.., S, V]`, which share
/// the first `batch` axes: `[batch.., extra.., T, V]`, and the weights, `[batch.., extra.., T, S]`. A query that sees nothing
/// gets 0.
///
/// # Errors
/// What an op refuses.
pub fn attend(
    b: &mut Builder,
    query: NodeId,
    key: NodeId,
    value: NodeId,
    batch: usize,
    how: &Attend,
) -> Result<(NodeId, NodeId), OpError> {
    let rank = b.rank(query);
    let dtype = b.dtype(query);
    let factor = match how.scale {
        Some(factor) => b.constant(dtype, factor),
        None => {
            let size = b.dim_value(&b.shape(query)[rank - 1].clone(), dtype)?;
            b.rsqrt(size)?
        }
    };
    let query = b.mul(query, factor)?;
    let shared: Vec<(usize, usize)> = (0..batch).map(|a| (a, a)).collect();
    let mut scores = b.dot(query, key, &shared, &[(rank - 1, batch + 1)])?;
    if let Some(bias) = how.bias {
        scores = b.add(scores, bias)?;
    }
    let mut seen = how.seen;
    if how.causal {
        let last = b.shape(scores)[rank - 2..].to_vec();
        let (row, column) = (iota(b, DType::I64, &last, 0)?, iota(b, DType::I64, &last, 1)?);
        let past = b.le(column, row)?;
        seen = Some(match seen {
            Some(seen) => b.and(seen, past)?,
            None => past,
        });
    }
    // Finite, so that a row of which nothing is seen has no NaN.
    let never = b.constant(dtype, -1e30);
    if let Some(seen) = seen {
        scores = b.select(seen, scores, never)?;
    }
    let mut weights = super::activation::softmax(b, scores, rank - 1)?;
    if let (Some(_), Some(seen)) = (how.seen, seen) {
        let zero = b.constant(dtype, 0.0);
        weights = b.select(seen, weights, zero)?;
    }
    let every = b.shape(weights).to_vec();
    let weights = dropped(b, weights, how.dropout, &every)?;
    Ok((b.dot(weights, value, &shared, &[(rank - 1, batch)])?, weights))
}

/// A mask as what [`attend`] takes: the second is absent for bool, the first for floats.
///
/// # Errors
/// If it is of another element type, in terms of operand `input`.
pub fn mask(
    b: &Builder,
    node: NodeId,
    input: usize,
    dtype: DType,
) -> Result<(Option<NodeId>, Option<NodeId>), CallError> {
    match b.dtype(node) {
        DType::Bool => Ok((Some(node), None)),
        found if found == dtype => Ok((None, Some(node))),
        _ => {
            let fix = Some("compare it to make a bool mask, such as `mask != 0`".to_string());
            let expected = format!("a bool mask, or {dtype} to be added to the scores");
            Err(CallError::DType { input, expected, found: b.ty(node).clone(), fix })
        }
    }
}

/// Query, key and value, of floats of one type, whose last two axes fit.
fn operands(b: &Builder, args: &Args) -> Result<[NodeId; 3], CallError> {
    let names = ["query", "key", "value"];
    let [query, key, value] = names.map(|name| args.tensor(name));
    let [q, k, v] = names.map(|name| args.input(name));
    let dtype = floats(b, q, query)?;
    for (input, node) in [(q, query), (k, key), (v, value)] {
        if b.rank(node) < 2 {
            let expected = "at least 2 axes, [.., T, E]".to_string();
            return Err(CallError::Rank { input, expected, found: b.ty(node).clone(), fix: None });
        }
        if b.dtype(node) != dtype {
            let fix = Some(format!("convert it with `.to({dtype})`"));
            return Err(CallError::DType { input, expected: dtype.to_string(), found: b.ty(node).clone(), fix });
        }
    }
    let size = |node: NodeId, back: usize| b.shape(node)[b.rank(node) - back].clone();
    let same = |x: &Dim, y: &Dim| b.graph.facts.equal(x, y);
    if !same(&size(query, 1), &size(key, 1)) {
        let sentence = format!(
            "{{{q}}} is {} and {{{k}}} is {}: queries and keys must have the same last axis",
            b.ty(query),
            b.ty(key)
        );
        return Err(CallError::Inputs(sentence));
    }
    if !same(&size(key, 2), &size(value, 2)) {
        let sentence = format!(
            "{{{k}}} is {} and {{{v}}} is {}: there must be a value for each key, on the second last axis",
            b.ty(key),
            b.ty(value)
        );
        return Err(CallError::Inputs(sentence));
    }
    Ok([query, key, value])
}

fn attention(b: &mut Builder, args: &Args) -> Made {
    let [mut query, key, value] = operands(b, args)?;
    let mut how = Attend {
        causal: args.bool("causal"),
        scale: args.get("scale").map(|_| args.float("scale")),
        dropout: probability(args, "dropout")?,
        seen: None,
        bias: None,
    };
    let mut full = b.shape(query).to_vec();
    let grouped = args.bool("enable_gqa");
    let batch = if grouped {
        query = in_groups(b, args, query, key)?;
        b.shape(key)[..b.rank(key) - 2].to_vec()
    } else {
        let batch = batch_shape(b, query, key)?;
        query = with_batch(b, query, &batch)?;
        full = b.shape(query).to_vec();
        batch
    };
    let key = with_batch(b, key, &batch)?;
    let fits = b.rank(value) == b.rank(key) || !grouped;
    if !fits || !batch_shape(b, key, value).is_ok_and(|all| alike(b, &all, &batch)) {
        let (k, v) = (args.input("key"), args.input("value"));
        let sentence =
            format!("{{{k}}} is {} and {{{v}}} is {}: the axes before the last two must agree", b.ty(key), b.ty(value));
        return Err(CallError::Inputs(sentence));
    }
    let value = with_batch(b, value, &batch)?;
    let last = full.len() - 1;
    if args.is_given("mask") {
        let scores: Vec<Dim> = full[..last].iter().cloned().chain([size_of(b, key, 2)]).collect();
        let groups = grouped.then(|| b.shape(query).to_vec());
        (how.seen, how.bias) = mask_of(b, args, b.dtype(query), &scores, groups.as_deref())?;
    }
    let (y, _) = attend(b, query, key, value, batch.len(), &how)?;
    if !grouped {
        return Ok(y.into());
    }
    full[last] = size_of(b, value, 1);
    made(b.reshape(y, &full))
}

/// A mask that broadcasts to scores of that shape, with the heads split as those of the query in `groups`.
fn mask_of(
    b: &mut Builder,
    args: &Args,
    dtype: DType,
    scores: &[Dim],
    groups: Option<&[Dim]>,
) -> Result<(Option<NodeId>, Option<NodeId>), CallError> {
    let (node, input) = (args.tensor("mask"), args.input("mask"));
    let Ok(full) = b.broadcast(node, scores) else {
        let sentence = format!("{{{input}}} is {}, but the scores are {}", b.ty(node), shape(scores));
        return Err(CallError::Inputs(sentence));
    };
    let node = match groups {
        Some(groups) if b.rank(node) > 2 => {
            let split: Vec<Dim> = groups[..scores.len()].iter().cloned().chain(scores.last().cloned()).collect();
            b.reshape(full, &split)?
        }
        _ => node,
    };
    mask(b, node, input, dtype)
}

/// Whether two shapes are known to be equal.
pub fn alike(b: &Builder, x: &[Dim], y: &[Dim]) -> bool {
    x.len() == y.len() && x.iter().zip(y).all(|(x, y)| b.graph.facts.equal(x, y))
}

fn size_of(b: &Builder, node: NodeId, back: usize) -> Dim {
    b.shape(node)[b.rank(node) - back].clone()
}

/// `[.., H, T, E]` as `[.., K, H / K, T, E]` for keys of K heads.
fn in_groups(b: &mut Builder, args: &Args, query: NodeId, key: NodeId) -> Result<NodeId, CallError> {
    let (q, k) = (args.input("query"), args.input("key"));
    let (from, keys) = (b.shape(query).to_vec(), b.shape(key).to_vec());
    let rank = from.len();
    let split = || {
        let heads = keys.get(rank.checked_sub(3)?)?.clone();
        let part = from[rank - 3].floor_div(&heads).ok()?;
        let fits = keys.len() == rank
            && alike(b, &from[..rank - 3], &keys[..rank - 3])
            && b.graph.facts.equal(&(part.clone() * heads.clone()), &from[rank - 3]);
        fits.then_some([heads, part])
    };
    let Some(parts) = split() else {
        let sentence = format!(
            "{{{q}}} is {} and {{{k}}} is {}: with `enable_gqa` the heads of the first (axis -3) must be a multiple of \
             those of the second, and the axes before them equal",
            b.ty(query),
            b.ty(key)
        );
        return Err(CallError::Inputs(sentence));
    };
    let to: Vec<Dim> = from[..rank - 3].iter().cloned().chain(parts).chain(from[rank - 2..].iter().cloned()).collect();
    Ok(b.reshape(query, &to)?)
}

fn learned(c: &mut Call<'_>) -> Made {
    let (x, found) = (c.x(), c.ty());
    c.check_dtype()?;
    let rank = found.rank();
    if rank < 2 {
        let expected = "at least 2 axes, [.., T, features]".to_string();
        return Err(CallError::Rank { input: 0, expected, found, fix: None });
    }
    let (length, features) = c.args().map("length");
    if !c.b.graph.facts.equal(&found.shape[rank - 1], &features) {
        let fix = Some(c.args().written(&[("length", Value::Map(length, found.shape[rank - 1].clone()))]));
        return Err(CallError::Features { input: 0, noun: "features", expected: features, found, needs: None, fix });
    }
    let size = found.shape[rank - 2].clone();
    if (length.clone() - size.clone()).as_const().is_some_and(|rest| rest < 0) {
        let sentence = format!("{{0}} is {found}, {size} positions, but only {length} have an encoding");
        return Err(CallError::Inputs(sentence));
    }
    let Some(weight) = c.param("weight") else { return Ok(x.into()) };
    let rows = narrow(c.b, weight, 0, Dim::from(0), size)?;
    made(c.b.add(x, rows))
}

fn positive_base(args: &Args) -> Result<(), CallError> {
    match args.float("base") {
        base if base > 0.0 && base.is_finite() => Ok(()),
        base => Err(args.error("base", format!("`base` must be a positive number, but it is {base}")).into()),
    }
}

/// Half of an even number of features.
fn halves(b: &Builder, features: &Dim) -> Result<Dim, String> {
    let half = features.floor_div(&Dim::from(2)).unwrap_or(Dim::ONE);
    if b.graph.facts.equal(&(half.clone() * Dim::from(2)), features) {
        return Ok(half);
    }
    let fact = if features.as_const().is_some() { String::new() } else { format!(": `require {features} % 2 == 0;`") };
    Err(format!("positions need an even number of features, but there are {features}{fact}"))
}

/// Length and features of the receiver, [.., T, D], after the checks.
fn positions_of(b: &Builder, args: &Args) -> Result<(Dim, Dim), CallError> {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    if b.rank(x) < 2 {
        let expected = "at least 2 axes, [.., T, D]".to_string();
        return Err(CallError::Rank { input: 0, expected, found: b.ty(x).clone(), fix: None });
    }
    positive_base(args)?;
    let features = size_of(b, x, 1);
    halves(b, &features).map_err(|message| CallError::Inputs(format!("{{0}} is {}: {message}", b.ty(x))))?;
    Ok((size_of(b, x, 2), features))
}

/// The angles `position * base^(-2 i / features)`, `[length, features / 2]`.
fn angles(b: &mut Builder, length: &Dim, features: &Dim, base: f64, dtype: DType, offset: &Dim) -> Built {
    let half = features.floor_div(&Dim::from(2)).unwrap_or(Dim::ONE);
    // Speeds in double precision, as they are multiplied by the position.
    let pair = iota(b, DType::F64, &[Dim::ONE, half], 1)?;
    let features = b.dim_value(features, DType::F64)?;
    let speed = b.div(pair, features)?;
    let speed = scale(b, speed, -2.0 * base.ln())?;
    let speed = b.exp(speed)?;
    let speed = b.cast(speed, dtype)?;
    let mut position = iota(b, dtype, &[length.clone(), Dim::ONE], 0)?;
    if !offset.is(0) {
        let first = b.dim_value(offset, dtype)?;
        position = b.add(position, first)?;
    }
    b.mul(position, speed)
}

fn sinusoids(b: &mut Builder, length: &Dim, features: &Dim, base: f64, dtype: DType) -> Built {
    let angle = angles(b, length, features, base, dtype, &Dim::from(0))?;
    let (sin, cos) = (b.sin(angle)?, b.cos(angle)?);
    let (sin, cos) = (unsqueeze(b, sin, 2)?, unsqueeze(b, cos, 2)?);
    let pairs = b.concat(&[sin, cos], 2)?;
    b.reshape(pairs, &[length.clone(), features.clone()])
}

fn rope(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let (length, features) = positions_of(b, args)?;
    let offset = args.dim("offset");
    if offset.as_const().is_some_and(|c| c < 0) {
        return Err(args.error("offset", format!("`offset` must not be negative, but it is {offset}")).into());
    }
    let angle = angles(b, &length, &features, args.float("base"), b.dtype(x), &offset)?;
    let (sin, cos) = (b.sin(angle)?, b.cos(angle)?);
    let full = b.shape(x).to_vec();
    let last = full.len() - 1;
    let half = features.floor_div(&Dim::from(2)).unwrap_or(Dim::ONE);
    // The two of a pair lie on an axis of their own, the last or the second last.
    let interleaved = args.bool("interleaved");
    let pairs = if interleaved { [half, Dim::from(2)] } else { [Dim::from(2), half] };
    let axis = if interleaved { last + 1 } else { last };
    let split: Vec<Dim> = full[..last].iter().cloned().chain(pairs).collect();
    let x = b.reshape(x, &split)?;
    let (first, second) = (narrow(b, x, axis, Dim::from(0), Dim::ONE)?, narrow(b, x, axis, Dim::ONE, Dim::from(2))?);
    let at = if interleaved { 2 } else { 1 };
    let (sin, cos) = (unsqueeze(b, sin, at)?, unsqueeze(b, cos, at)?);
    let turned = |b: &mut Builder, op: Op, one: NodeId, other: NodeId| {
        let (one, other) = (b.mul(one, cos)?, b.mul(other, sin)?);
        b.elementwise(op, &[one, other])
    };
    let (left, right) = (turned(b, Op::Sub, first, second)?, turned(b, Op::Add, second, first)?);
    let joined = b.concat(&[left, right], axis)?;
    made(b.reshape(joined, &full))
}
