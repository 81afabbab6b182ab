//! Elements in order, and what is found by sorting.

use super::args::Args;
use super::common::{LAST_AXIS, Made, X, kept, made, narrow, scale, squeeze, types, unsqueeze};
use super::error::CallError;
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use super::value::Value;
use crate::attrs::Attrs;
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::op::Op;
use crate::types::DType;

const DESCENDING: Param =
    Param::optional("descending", Kind::Bool, Default::Bool(false), "whether the greatest comes first");
const KEEP: Param = Param::optional("keep", Kind::Bool, Default::Bool(false), "whether the axis stays, with size 1");
const ONE_OR_ALL: Param = Param::optional("axis", Kind::Axis, Default::Absent, "the axis; of all elements if left out");

macro_rules! methods {
    ($($name:literal $aliases:tt, [$($param:expr),*], $doc:literal, $build:expr;)*) => {
        /// The methods of this file.
        pub const METHODS: &[MethodDef] = &[
            $(MethodDef { name: $name, aliases: &$aliases, doc: $doc, params: &[X, $($param),*], build: $build }),*
        ];
    };
}

methods! {
    "sort" [], [LAST_AXIS, DESCENDING],
        "the elements along an axis in order, and the indices (i64) they come from; equal ones keep their order, and NaN \
         is greater than all", |b, a| {
            let (x, axis) = (a.tensor("x"), a.axis("axis", b.rank(a.tensor("x")))?);
            let index = positions(b, x, axis, a.bool("descending"))?;
            Ok(vec![pick(b, x, index, axis)?, index].into())
        };
    "argsort" [], [LAST_AXIS, DESCENDING], "the indices (i64) that put the elements along an axis in order; see `sort`",
        |b, a| {
            let (x, axis) = (a.tensor("x"), a.axis("axis", b.rank(a.tensor("x")))?);
            made(positions(b, x, axis, a.bool("descending")))
        };
    "topk" [], [Param::required("k", Kind::Dim, "how many"), LAST_AXIS,
        Param::optional("largest", Kind::Bool, Default::Bool(true), "whether the largest are wanted, or the smallest"),
        Param::optional("sorted", Kind::Bool, Default::Bool(true), "they come in order, whatever is said here")],
        "the `k` largest elements along an axis, in order, and their indices (i64)", topk;
    "kthvalue" [], [Param::required("k", Kind::Dim, "1 for the smallest"), LAST_AXIS, KEEP],
        "the `k`-th smallest element along an axis and its index (i64)", kthvalue;
    "median" [], [ONE_OR_ALL, KEEP],
        "the middle element in order, of an even number the lower one of the two; NaN if there is one", median;
    "quantile" [], [Param::required("q", Kind::Float, "the share of elements below, from 0 to 1"), ONE_OR_ALL, KEEP,
        Param::optional("interpolation", Kind::Word(&["linear", "lower", "higher", "nearest", "midpoint"]),
            Default::Word("linear"), "what is taken between two elements")],
        "the element below which a share of the others lies; NaN if there is one", quantile;
    "bucketize" [], [Param::required("boundaries", Kind::Tensor, "where buckets meet, [B], in ascending order"),
        Param::optional("right", Kind::Bool, Default::Bool(false), "whether an element at a boundary is in the bucket behind it")],
        "the bucket (i64) of each element, from 0 to B: how many boundaries are below it; NaN is above all", bucketize;
}

/// Indices that put the elements along an axis in order.
fn positions(b: &mut Builder, x: NodeId, axis: usize, descending: bool) -> Built {
    let rank = b.rank(x);
    let x = if b.dtype(x) == DType::Bool { b.cast(x, DType::U8)? } else { x };
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(axis, rank - 1);
    let rows = b.transpose(x, &perm)?;
    let order = if descending { "descending" } else { "ascending" };
    let index = b.push(Op::ArgSort, &[rows], Attrs::new().word("order", order))?;
    b.transpose(index, &perm)
}

/// The elements at indices along an axis.
fn pick(b: &mut Builder, x: NodeId, index: NodeId, axis: usize) -> Built {
    b.push(Op::Gather, &[x, index], Attrs::new().int("axis", axis as i64))
}

/// The number `k`, refused unless the axis has as many elements.
fn count(b: &Builder, args: &Args, axis: usize) -> Result<Dim, CallError> {
    let (x, k) = (args.tensor("x"), args.dim("k"));
    let size = b.shape(x)[axis].clone();
    if k.as_const().is_some_and(|k| k < 1) {
        return Err(args.error("k", format!("`k` must be at least 1, but it is {k}")).into());
    }
    if (size.clone() - k.clone()).as_const().is_some_and(|rest| rest < 0) {
        let message = format!("`k` is {k}, but axis {axis} has only {size} elements: the tensor is {}", b.ty(x));
        return Err(args.error("k", message).into());
    }
    Ok(k)
}

fn topk(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let axis = args.axis("axis", b.rank(x))?;
    let k = count(b, args, axis)?;
    let index = positions(b, x, axis, args.bool("largest"))?;
    let index = narrow(b, index, axis, Dim::from(0), k)?;
    Ok(vec![pick(b, x, index, axis)?, index].into())
}

fn kthvalue(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let axis = args.axis("axis", b.rank(x))?;
    let k = count(b, args, axis)?;
    let index = positions(b, x, axis, false)?;
    let index = narrow(b, index, axis, k.clone() - Dim::ONE, k)?;
    let mut found = [pick(b, x, index, axis)?, index];
    if !args.bool("keep") {
        for node in &mut found {
            *node = squeeze(b, *node, axis)?;
        }
    }
    Ok(found.to_vec().into())
}

/// The tensor and the axis meant: all elements in one axis if none was named.
fn one_or_all(b: &mut Builder, args: &Args) -> Result<(NodeId, usize), CallError> {
    let x = args.tensor("x");
    if args.get("axis").is_some() {
        return Ok((x, args.axis("axis", b.rank(x))?));
    }
    let elements = b.ty(x).elements();
    Ok((b.reshape(x, &[elements])?, 0))
}

/// `y`, whose `axis` has one element, but NaN where `x` has one; with the shape that `keep` asks for.
fn finished(b: &mut Builder, args: &Args, x: NodeId, y: NodeId, axis: usize) -> Made {
    let mut y = y;
    if b.dtype(x).is_float() {
        let largest = b.detach(x)?;
        let largest = b.reduce(Op::ReduceMax, largest, &[axis], true)?;
        let unordered = b.ne(largest, largest)?;
        y = b.select(unordered, largest, y)?;
    }
    let shape = match (args.bool("keep"), args.get("axis")) {
        (true, Some(_)) => kept(b, x, &[axis]),
        (true, None) => vec![Dim::ONE; b.rank(args.tensor("x"))],
        (false, _) => b.shape(x).iter().enumerate().filter(|(a, _)| *a != axis).map(|(_, d)| d.clone()).collect(),
    };
    made(b.reshape(y, &shape))
}

fn median(b: &mut Builder, args: &Args) -> Made {
    let (x, axis) = one_or_all(b, args)?;
    let index = positions(b, x, axis, false)?;
    let size = b.shape(x)[axis].clone();
    let middle = (size.clone() - Dim::ONE).floor_div(&Dim::from(2)).unwrap_or(size);
    let index = narrow(b, index, axis, middle.clone(), middle + Dim::ONE)?;
    let y = pick(b, x, index, axis)?;
    finished(b, args, x, y, axis)
}

fn quantile(b: &mut Builder, args: &Args) -> Made {
    super::common::floats(b, 0, args.tensor("x"))?;
    let q = args.float("q");
    if !(0.0..=1.0).contains(&q) {
        return Err(args.error("q", format!("`q` is a share, from 0 to 1, but it is {q}")).into());
    }
    let (x, axis) = one_or_all(b, args)?;
    let index = positions(b, x, axis, false)?;
    let sorted = pick(b, x, index, axis)?;
    // The place in order, a number that is known once the axis is.
    let last = b.shape(x)[axis].clone() - Dim::ONE;
    let last = b.dim_value(&last, DType::F64)?;
    let place = scale(b, last, q)?;
    let word = args.word("interpolation");
    let place = if word == "nearest" { b.round(place)? } else { place };
    let (lower, upper) = (b.floor(place)?, b.ceil(place)?);
    let column = kept(b, x, &[axis]);
    let at = |b: &mut Builder, place: NodeId| -> Built {
        let index = b.cast(place, DType::I64)?;
        let index = b.broadcast(index, &column)?;
        pick(b, sorted, index, axis)
    };
    let y = match word {
        "lower" | "nearest" => at(b, lower)?,
        "higher" => at(b, upper)?,
        _ => {
            let (low, high) = (at(b, lower)?, at(b, upper)?);
            let share = match word {
                "midpoint" => b.constant(b.dtype(x), 0.5),
                _ => {
                    let share = b.sub(place, lower)?;
                    b.cast(share, b.dtype(x))?
                }
            };
            let distance = b.sub(high, low)?;
            let part = b.mul(distance, share)?;
            b.add(low, part)?
        }
    };
    finished(b, args, x, y, axis)
}

/// A permutation of `0..size` (i64): the order of random numbers.
pub fn permutation(b: &mut Builder, args: &Args) -> Made {
    let size = args.dim("size");
    if size.as_const().is_some_and(|c| c < 1) {
        return Err(args.error("size", format!("`size` must be at least 1, but it is {size}")).into());
    }
    let draw = b.random("uniform", DType::F32, &[size])?;
    Ok(Value::Tensor(positions(b, draw, 0, false)?))
}

fn bucketize(b: &mut Builder, args: &Args) -> Made {
    let (x, boundaries) = (args.tensor("x"), args.tensor("boundaries"));
    if b.rank(boundaries) != 1 {
        let (input, found) = (args.input("boundaries"), b.ty(boundaries).clone());
        return Err(CallError::Rank { input, expected: "a vector of boundaries".to_string(), found, fix: None });
    }
    let rank = b.rank(x);
    let each = unsqueeze(b, x, rank)?;
    // NaN is above all, as in `sort`.
    let op = if args.bool("right") { Op::Lt } else { Op::Le };
    let operands = types(b, &[x, boundaries]);
    let above = b.elementwise(op, &[each, boundaries]).map_err(|e| CallError::of_operands(e, &operands))?;
    let below = b.not(above)?;
    let counted = b.cast(below, DType::I64)?;
    made(b.sum(counted, &[rank], false))
}
