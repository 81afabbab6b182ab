//! Shapes and places of elements.

use super::args::Args;
use super::common::{Made, X, iota, made, narrow, operand, squeeze, types, unsqueeze};
use super::error::CallError;
use super::index::AXIS;
use super::layer::LayerDef;
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use super::value::Value;
use crate::attrs::Attrs;
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::error::shape;
use crate::graph::NodeId;
use crate::op::Op;
use crate::types::DType;

const FLATTEN: MethodDef = MethodDef {
    name: "flatten",
    aliases: &[],
    doc: "the axes from `start` to `end` as one; by default all but the first",
    params: &[
        X,
        Param::optional("start", Kind::Axis, Default::Int(1), "the first axis to join"),
        Param::optional("end", Kind::Axis, Default::Int(-1), "the last axis to join"),
    ],
    build: flatten,
};

const DIAGONAL: Param = Param::optional(
    "diagonal",
    Kind::Int,
    Default::Int(0),
    "0 for the main diagonal, above 0 for one further to the right",
);
const JOINED: Param = Param::required("tensors", Kind::Tensors, "the tensors").rest();

const UNFLATTEN: MethodDef = MethodDef {
    name: "unflatten",
    aliases: &[],
    doc: "an axis as several: the reverse of `flatten`",
    params: &[
        X,
        Param::required("axis", Kind::Axis, "the axis"),
        Param::required("sizes", Kind::ShapeInfer, "the sizes in its place, in row-major order; one may be `_`").rest(),
    ],
    build: unflatten,
};

/// The layers of this file.
pub const LAYERS: &[LayerDef] = &[LayerDef::of("Flatten", &FLATTEN), LayerDef::of("Unflatten", &UNFLATTEN)];

macro_rules! methods {
    ($($name:literal $aliases:tt, [$($param:expr),*], $doc:literal, $build:expr;)*) => {
        /// The methods of this file.
        pub const METHODS: &[MethodDef] = &[
            FLATTEN,
            UNFLATTEN,
            $(MethodDef { name: $name, aliases: &$aliases, doc: $doc, params: &[$($param),*], build: $build }),*
        ];
    };
}

methods! {
    "reshape" ["view"], [X, Param::required("shape", Kind::ShapeInfer, "the new shape; one size may be `_`").rest()],
        "the same elements, in row-major order, in another shape", reshape;
    "transpose" ["swap_axes", "swapaxes", "swapdims", "t"], [X,
        Param::optional("a", Kind::Axis, Default::Int(-2), "one axis"),
        Param::optional("b", Kind::Axis, Default::Int(-1), "the other axis")],
        "two axes exchanged, by default the last two", transpose;
    "permute" [], [X, Param::required("axes", Kind::Axes, "for each axis of the result the axis it comes from").rest()],
        "the axes in another order", permute;
    "squeeze" [], [X,
        Param::optional("axis", Kind::Axes, Default::Absent, "the axes, each of size 1; all such if left out")],
        "axes of size 1 taken out", squeeze_axes;
    "unsqueeze" ["expand_dims"], [X, Param::required("axis", Kind::Int, "where the new axis stands in the result")],
        "a new axis of size 1", unsqueeze_at;
    "broadcast_to" ["expand"], [X, Param::required("shape", Kind::ShapeInfer, "the shape; `_` keeps the size of an axis").rest()],
        "axes of size 1 repeated and leading axes added, to a shape", broadcast_to;
    "concat" ["cat", "concatenate"], [JOINED,
        Param::optional("axis", Kind::Axis, Default::Int(0), "the axis along which they are joined")],
        "tensors one after the other along an axis", |b, a| join(b, a, false);
    "stack" [], [JOINED,
        Param::optional("axis", Kind::Int, Default::Int(0), "where the new axis stands in the result")],
        "tensors of one shape along a new axis", |b, a| join(b, a, true);
    "chunk" [], [X, Param::required("chunks", Kind::Int, "how many"), AXIS],
        "a list of equal parts along an axis", chunk;
    "pad" [], [X, Param::required("pads", Kind::Pads, "`(before, after)` for each of the last axes").rest(),
        Param::optional("value", Kind::Operand, Default::Float(0.0), "what is filled in")],
        "elements put around the last axes", pad;
    "flip" [], [X, Param::required("axis", Kind::Axes, "the axes").rest()], "axes backwards", flip;
    "roll" [], [X,
        Param::required("shift", Kind::Sizes, "how far; elements beyond the end come in at the beginning"),
        Param::optional("axis", Kind::Axes, Default::Int(-1), "the axis, or one for each shift; -1 is the last")],
        "elements moved along axes, around the end", roll;
    "tril" [], [X, DIAGONAL], "the last two axes with 0 above the diagonal", |b, a| triangle(b, a, true);
    "triu" [], [X, DIAGONAL], "the last two axes with 0 below the diagonal", |b, a| triangle(b, a, false);
}

fn reshape(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let total = b.ty(x).elements();
    let is_open = |v: &Value| matches!(v, Value::Infer) || matches!(v, Value::Int(d) if d.is(-1));
    let known = |v: &Value| match v {
        Value::Int(d) if !d.is(-1) => d.clone(),
        _ => Dim::ONE,
    };
    let items = args.list("shape");
    let product = items.iter().fold(Dim::ONE, |n, v| n * known(v));
    if let Some(bad) = items.iter().map(known).find(|d| d.as_const().is_some_and(|c| c < 1)) {
        return Err(args.error("shape", format!("every size must be at least 1, but one is {bad}")).into());
    }
    let rest = match items.iter().filter(|v| is_open(v)).count() {
        0 => Dim::ONE,
        1 => total.floor_div(&product).unwrap_or(Dim::ONE),
        _ => return Err(args.error("shape", "only one size can be `_`").into()),
    };
    let to: Vec<Dim> = items.iter().map(|v| if is_open(v) { rest.clone() } else { known(v) }).collect();
    let count = to.iter().fold(Dim::ONE, |n, d| n * d.clone());
    if b.graph.facts.equal(&total, &count) {
        return made(b.reshape(x, &to));
    }
    let ty = b.ty(x);
    let mut sentence = format!("{{0}} is {ty}, {total} elements, but {} has {count}", shape(&to));
    if let Some((p, q)) = b.graph.facts.missing(&total, &count) {
        sentence += &format!("; they are equal with `require {p} % {q} == 0;`");
    } else if items.iter().any(is_open) {
        sentence =
            format!("{{0}} is {ty}, {total} elements, which do not divide into parts of {product} for the size `_`");
    } else if let Some(at) = to.iter().rposition(|d| !is_free(d)) {
        // The last size that is a number is the likeliest mistake.
        let others = to.iter().enumerate().filter(|(i, _)| *i != at).fold(Dim::ONE, |n, (_, d)| n * d.clone());
        let exact = total.floor_div(&others).ok().filter(|d| d.clone() * others.clone() == total && !d.is(0));
        if let Some(exact) = exact {
            let mut fitting = to.clone();
            fitting[at] = exact;
            sentence += &format!("; {} would fit", shape(&fitting));
        }
    }
    Err(CallError::Inputs(sentence))
}

/// Whether a size is a lone symbol, which stands for whatever the input has.
fn is_free(d: &Dim) -> bool {
    d.as_sym().is_some()
}

fn flatten(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    if b.rank(x) < 2 && !args.is_given("start") {
        return Ok(x.into());
    }
    let (start, end) = (args.axis("start", b.rank(x))?, args.axis("end", b.rank(x))?);
    if start > end {
        return Err(args.error("start", format!("`start` is axis {start}, after `end`, which is axis {end}")).into());
    }
    let from = b.shape(x);
    let joined = from[start..=end].iter().fold(Dim::ONE, |n, d| n * d.clone());
    let to: Vec<Dim> = from[..start].iter().cloned().chain([joined]).chain(from[end + 1..].iter().cloned()).collect();
    made(b.reshape(x, &to))
}

fn unflatten(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let axis = args.axis("axis", b.rank(x))?;
    let (full, items) = (b.shape(x).to_vec(), args.list("sizes"));
    let known = |v: &Value| if let Value::Int(d) = v { Some(d.clone()).filter(|d| !d.is(-1)) } else { None };
    if let Some(bad) = items.iter().filter_map(known).find(|d| d.as_const().is_some_and(|c| c < 1)) {
        return Err(args.error("sizes", format!("every size must be at least 1, but one is {bad}")).into());
    }
    let open = items.iter().filter(|v| known(v).is_none()).count();
    if open > 1 {
        return Err(args.error("sizes", "only one size can be `_`").into());
    }
    let product = items.iter().filter_map(known).fold(Dim::ONE, |n, d| n * d);
    let rest = if open == 1 { full[axis].floor_div(&product).unwrap_or(Dim::ONE) } else { Dim::ONE };
    if !b.graph.facts.equal(&(product.clone() * rest.clone()), &full[axis]) {
        let why = if open == 1 { "does not divide into parts of" } else { "is not" };
        return Err(args.error("sizes", format!("axis {axis} has size {}, which {why} {product}", full[axis])).into());
    }
    let parts = items.iter().map(|v| known(v).unwrap_or_else(|| rest.clone()));
    let to: Vec<Dim> = full[..axis].iter().cloned().chain(parts).chain(full[axis + 1..].iter().cloned()).collect();
    made(b.reshape(x, &to))
}

fn transpose(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let rank = b.rank(x);
    if rank < 2 {
        return Err(CallError::Rank {
            input: 0,
            expected: "at least 2 axes".into(),
            found: b.ty(x).clone(),
            fix: None,
        });
    }
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(args.axis("a", rank)?, args.axis("b", rank)?);
    made(b.transpose(x, &perm))
}

fn permute(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let perm = args.axes_in_order("axes", b.rank(x))?;
    if perm.len() != b.rank(x) {
        let message = format!("`axes` must name every axis once: it has {}, but the tensor is {}", perm.len(), b.ty(x));
        return Err(args.error("axes", message).into());
    }
    made(b.transpose(x, &perm))
}

fn squeeze_axes(b: &mut Builder, args: &Args) -> Made {
    let mut x = args.tensor("x");
    let axes = match args.get("axis") {
        Some(_) => args.axes("axis", b.rank(x))?,
        None => (0..b.rank(x)).filter(|&a| b.shape(x)[a].is(1)).collect(),
    };
    for &axis in axes.iter().rev() {
        if !b.shape(x)[axis].is(1) {
            let message =
                format!("axis {axis} has size {}, not 1: the tensor is {}", b.shape(x)[axis], b.ty(args.tensor("x")));
            return Err(args.error("axis", message).into());
        }
        x = squeeze(b, x, axis)?;
    }
    Ok(x.into())
}

/// An axis of the result, which has one more than the operand.
fn new_axis(args: &Args, name: &str, rank: usize) -> Result<usize, CallError> {
    Ok(args.axis(name, rank + 1)?)
}

fn unsqueeze_at(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let axis = new_axis(args, "axis", b.rank(x))?;
    made(unsqueeze(b, x, axis))
}

fn broadcast_to(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let items = args.list("shape");
    // What is open keeps its size; it is an axis of the tensor, counted from the end.
    let size = |(i, item): (usize, &Value)| match item {
        Value::Int(d) if !d.is(-1) => Some(d.clone()),
        _ => b.rank(x).checked_sub(items.len() - i).map(|axis| b.shape(x)[axis].clone()),
    };
    let Some(to) = items.iter().enumerate().map(size).collect::<Option<Vec<Dim>>>() else {
        let message = format!("`_` keeps the size of an axis, but {} has no such axis", b.ty(x));
        return Err(args.error("shape", message).into());
    };
    let refused = args
        .error("shape", format!("{} does not broadcast to {}: only axes of size 1 are repeated", b.ty(x), shape(&to)));
    b.broadcast(x, &to).map(Value::Tensor).map_err(|_| refused.into())
}

fn join(b: &mut Builder, args: &Args, new: bool) -> Made {
    let mut parts = args.tensors("tensors");
    let Some(&first) = parts.first() else {
        return Err(args.error("tensors", "there must be at least one tensor").into());
    };
    let rank = b.rank(first);
    let axis = if new { new_axis(args, "axis", rank)? } else { args.axis("axis", rank)? };
    let all = types(b, &parts);
    for (i, ty) in all.iter().enumerate().skip(1) {
        let fits = |a: usize| (!new && a == axis) || b.graph.facts.equal(&ty.shape[a], &all[0].shape[a]);
        if ty.dtype != all[0].dtype || ty.rank() != rank || !(0..rank).all(fits) {
            let but = if new { String::new() } else { format!(" but for axis {axis}") };
            let sentence = format!("{{0}} is {} and {{{i}}} is {ty}: they must agree{but}", all[0]);
            return Err(CallError::Inputs(sentence));
        }
    }
    if new {
        for part in &mut parts {
            *part = unsqueeze(b, *part, axis)?;
        }
    }
    made(b.concat(&parts, axis))
}

fn chunk(b: &mut Builder, args: &Args) -> Made {
    let (x, chunks) = (args.tensor("x"), args.int("chunks"));
    let axis = args.axis("axis", b.rank(x))?;
    let size = b.shape(x)[axis].clone();
    const MOST: i64 = 1024;
    if !(1..=MOST).contains(&chunks) {
        return Err(args.error("chunks", format!("`chunks` must be between 1 and {MOST}, but it is {chunks}")).into());
    }
    let part = size.floor_div(&Dim::from(chunks)).unwrap_or(Dim::ONE);
    if !b.graph.facts.equal(&(part.clone() * Dim::from(chunks)), &size) {
        let message = format!("axis {axis} has size {size}, which does not split into {chunks} equal parts");
        return Err(args.error("chunks", message).into());
    }
    let mut parts = vec![];
    for i in 0..chunks {
        let (from, to) = (part.clone() * Dim::from(i), part.clone() * Dim::from(i + 1));
        parts.push(Value::Tensor(narrow(b, x, axis, from, to)?));
    }
    Ok(Value::List(parts))
}

fn pad(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let (rank, pairs) = (b.rank(x), args.list("pads"));
    if pairs.len() > rank {
        let message = format!("`pads` has {} pairs, but the tensor is {}", pairs.len(), b.ty(x));
        return Err(args.error("pads", message).into());
    }
    let value = operand(b, args, "value", b.dtype(x))?;
    let (mut lo, mut hi) = (vec![Dim::from(0); rank], vec![Dim::from(0); rank]);
    for (axis, pair) in (rank - pairs.len()..rank).zip(pairs) {
        if let Value::List(pair) = pair
            && let [Value::Int(before), Value::Int(after)] = &pair[..]
        {
            if [before, after].iter().any(|d| d.as_const().is_some_and(|c| c < 0)) {
                return Err(args
                    .error("pads", "a number of elements cannot be negative; `slice` takes elements away")
                    .into());
            }
            (lo[axis], hi[axis]) = (before.clone(), after.clone());
        }
    }
    made(b.pad(x, value, &lo, &hi))
}

fn flip(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let axes: Vec<i64> = args.axes("axis", b.rank(x))?.into_iter().map(|a| a as i64).collect();
    made(b.push(Op::Flip, &[x], Attrs::new().ints("axes", axes)))
}

fn roll(b: &mut Builder, args: &Args) -> Made {
    let mut x = args.tensor("x");
    let axes = args.axes_in_order("axis", b.rank(x))?;
    let number = |v: &Value| if let Value::Int(d) = v { d.as_const().unwrap_or(0) } else { 0 };
    let shifts: Vec<i64> = match args.get("shift") {
        Some(Value::List(items)) => items.iter().map(number).collect(),
        _ => vec![args.int("shift")],
    };
    if shifts.len() != axes.len() {
        let message = format!("there must be a shift for each axis, but {} are given for {}", shifts.len(), axes.len());
        return Err(args.error("shift", message).into());
    }
    for (shift, axis) in shifts.into_iter().zip(axes) {
        x = rolled(b, x, shift, axis)?;
    }
    Ok(x.into())
}

fn rolled(b: &mut Builder, x: NodeId, shift: i64, axis: usize) -> Built {
    let size = b.shape(x)[axis].clone();
    let shift = match size.as_const() {
        Some(n) => Dim::from(shift.rem_euclid(n)),
        None if shift < 0 => size.clone() + Dim::from(shift),
        None => Dim::from(shift),
    };
    if shift.is(0) {
        return Ok(x);
    }
    let at = size.clone() - shift;
    let (head, tail) = (narrow(b, x, axis, Dim::from(0), at.clone())?, narrow(b, x, axis, at, size)?);
    b.concat(&[tail, head], axis)
}

fn triangle(b: &mut Builder, args: &Args, lower: bool) -> Made {
    let x: NodeId = args.tensor("x");
    let rank = b.rank(x);
    if rank < 2 {
        return Err(CallError::Rank {
            input: 0,
            expected: "at least 2 axes".into(),
            found: b.ty(x).clone(),
            fix: None,
        });
    }
    let last = b.shape(x)[rank - 2..].to_vec();
    let (row, column) = (iota(b, DType::I64, &last, 0)?, iota(b, DType::I64, &last, 1)?);
    let diagonal = b.constant(DType::I64, args.int("diagonal") as f64);
    let row = b.add(row, diagonal)?;
    let keep = if lower { b.le(column, row)? } else { b.le(row, column)? };
    let zero = b.constant(b.dtype(x), 0.0);
    made(b.select(keep, x, zero))
}
