//! Parts of tensors, by ranges and by indices that are data.

use super::args::Args;
use super::common::{Made, X, iota, made, squeeze, unsqueeze};
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

/// An axis, by default the first.
pub const AXIS: Param = Param::optional("axis", Kind::Axis, Default::Int(0), "the axis; -1 is the last");
/// Indices of an axis.
pub const INDEX: Param = Param::required("index", Kind::Tensor, "whole numbers, from 0 below the size of the axis");

/// The methods of this file.
pub const METHODS: &[MethodDef] = &[
    MethodDef {
        name: "slice",
        aliases: &[],
        doc: "a range of each of the first axes; an index in place of a range takes its axis away, negative ends count \
              from the end",
        params: &[
            X,
            Param::required("ranges", Kind::Ranges, "a range or an index for each axis, such as `.., 0..3`").rest(),
            Param::optional(
                "step",
                Kind::Sizes,
                Default::Int(1),
                "the distance between elements, one for all ranges or one for each",
            ),
        ],
        build: slice,
    },
    MethodDef {
        name: "index",
        aliases: &[],
        doc: "the part at one index of an axis, which disappears",
        params: &[X, Param::required("index", Kind::Dim, "the index; negative ones count from the end"), AXIS],
        build: |b, a| {
            let x = a.tensor("x");
            let axis = a.axis("axis", b.rank(x))?;
            let (from, to) = index_bounds(a, "index", &a.dim("index"), &b.shape(x)[axis])?;
            let part = super::common::narrow(b, x, axis, from, to)?;
            made(squeeze(b, part, axis))
        },
    },
    MethodDef {
        name: "gather",
        aliases: &[],
        doc: "the element at (.., index[.., i, ..], ..) for each position (.., i, ..) of `index`",
        params: &[X, INDEX, AXIS],
        build: gather,
    },
    MethodDef {
        name: "index_select",
        aliases: &["take"],
        doc: "the parts of an axis at the indices given; the axes of `index` take the place of the axis",
        params: &[X, INDEX, AXIS],
        build: |b, a| {
            let (x, index) = (a.tensor("x"), a.tensor("index"));
            let axis = a.axis("axis", b.rank(x))?;
            whole_numbers(b, 1, index)?;
            made(take(b, x, index, axis))
        },
    },
    MethodDef {
        name: "scatter_add",
        aliases: &[],
        doc: "x, and `src` added at `index` along an axis: the reverse of `gather`",
        params: &[X, INDEX, Param::required("src", Kind::Tensor, "what is added, in the shape of `index`"), AXIS],
        build: |b, a| {
            let (x, index, src) = (a.tensor("x"), a.tensor("index"), a.tensor("src"));
            let axis = a.axis("axis", b.rank(x))?;
            same_rank(b, x, index)?;
            let index = whole_numbers(b, 1, index)?;
            made(b.push(Op::ScatterAdd, &[x, index, src], Attrs::new().int("axis", axis as i64)))
        },
    },
    MethodDef {
        name: "one_hot",
        aliases: &[],
        doc: "a new last axis of size `classes` with 1 at the index and 0 elsewhere",
        params: &[
            X,
            Param::required("classes", Kind::Dim, "the size of the new axis"),
            Param::optional("dtype", Kind::DType, Default::DType(DType::F32), "the element type of the result"),
        ],
        build: one_hot,
    },
];

/// Indices as `i64`.
///
/// # Errors
/// [`CallError::DType`] if they are not whole numbers.
pub fn whole_numbers(b: &mut Builder, input: usize, index: NodeId) -> Result<NodeId, CallError> {
    if b.dtype(index).is_int() {
        return Ok(b.cast(index, DType::I64)?);
    }
    let found = b.ty(index).clone();
    let fix = Some("indices are whole numbers".to_string());
    Err(CallError::DType { input, expected: "i64 indices".into(), found, fix })
}

/// The parts of `axis` at `index`, whose axes take its place.
pub fn take(b: &mut Builder, x: NodeId, index: NodeId, axis: usize) -> Built {
    let (from, picked) = (b.shape(x).to_vec(), b.shape(index).to_vec());
    let index = b.cast(index, DType::I64)?;
    let count = b.ty(index).elements();
    let mut column = vec![Dim::ONE; from.len()];
    column[axis] = count.clone();
    let mut full = from.clone();
    full[axis] = count;
    let index = b.reshape(index, &column)?;
    let index = b.broadcast(index, &full)?;
    let taken = b.push(Op::Gather, &[x, index], Attrs::new().int("axis", axis as i64))?;
    let to: Vec<Dim> = from[..axis].iter().cloned().chain(picked).chain(from[axis + 1..].iter().cloned()).collect();
    b.reshape(taken, &to)
}

/// Requires an index with as many axes as the tensor.
///
/// # Errors
/// [`CallError::Rank`].
pub fn same_rank(b: &Builder, x: NodeId, index: NodeId) -> Result<(), CallError> {
    if b.rank(x) == b.rank(index) {
        return Ok(());
    }
    let expected = format!("an index with {} axes, as many as the tensor", b.rank(x));
    let fix = Some("`index_select` takes an index of any rank".to_string());
    Err(CallError::Rank { input: 1, expected, found: b.ty(index).clone(), fix })
}

fn gather(b: &mut Builder, args: &Args) -> Made {
    let (x, index) = (args.tensor("x"), args.tensor("index"));
    let axis = args.axis("axis", b.rank(x))?;
    same_rank(b, x, index)?;
    let index = whole_numbers(b, 1, index)?;
    let too_large = |a: usize| (b.shape(x)[a].clone() - b.shape(index)[a].clone()).as_const().is_some_and(|c| c < 0);
    if let Some(bad) = (0..b.rank(x)).find(|&a| a != axis && too_large(a)) {
        let sentence = format!("{{1}} is {}, larger on axis {bad} than {{0}}, {}", b.ty(index), b.ty(x));
        return Err(CallError::Inputs(sentence));
    }
    made(b.push(Op::Gather, &[x, index], Attrs::new().int("axis", axis as i64)))
}

fn one_hot(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let index = whole_numbers(b, 0, x)?;
    let classes = args.dim("classes");
    if classes.as_const().is_some_and(|c| c < 1) {
        return Err(args.error("classes", format!("`classes` must be at least 1, but it is {classes}")).into());
    }
    let rank = b.rank(x);
    let column = unsqueeze(b, index, rank)?;
    let numbers = iota(b, DType::I64, &[classes], 0)?;
    let hot = b.eq(column, numbers)?;
    made(b.cast(hot, args.dtype("dtype").unwrap_or(DType::F32)))
}

/// `index..index + 1`, counted from the front.
fn index_bounds(args: &Args, name: &str, index: &Dim, size: &Dim) -> Result<(Dim, Dim), CallError> {
    let from = from_front(index, size);
    let outside =
        from.as_const().is_some_and(|c| c < 0) || (size.clone() - from.clone()).as_const().is_some_and(|c| c < 1);
    if outside {
        return Err(args.error(name, format!("index {index} is out of range for an axis of size {size}")).into());
    }
    let to = from.clone() + Dim::ONE;
    Ok((from, to))
}

fn from_front(end: &Dim, size: &Dim) -> Dim {
    if end.as_const().is_some_and(|c| c < 0) { size.clone() + end.clone() } else { end.clone() }
}

fn slice(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let (ranges, full) = (args.list("ranges"), b.shape(x).to_vec());
    if ranges.len() > full.len() {
        let message = format!("{} ranges are given, but the tensor is {}", ranges.len(), b.ty(x));
        return Err(args.error("ranges", message).into());
    }
    let steps = match args.get("step") {
        Some(Value::List(items)) => args.sizes("step", items.len(), 1)?,
        _ => args.sizes("step", ranges.len(), 1)?,
    };
    if steps.len() != ranges.len() {
        return Err(args
            .error("step", format!("`step` has {} numbers for {} ranges", steps.len(), ranges.len()))
            .into());
    }
    let (mut start, mut stop, mut step) = (vec![Dim::from(0); full.len()], full.clone(), vec![1; full.len()]);
    let mut gone = vec![];
    for (axis, range) in ranges.iter().enumerate() {
        let size = &full[axis];
        match range {
            Value::Int(index) => {
                (start[axis], stop[axis]) = index_bounds(args, "ranges", index, size)?;
                gone.push(axis);
            }
            Value::Range(from, to) => {
                let from = from.as_ref().map_or(Dim::from(0), |d| from_front(d, size));
                let to = to.as_ref().map_or(size.clone(), |d| from_front(d, size));
                let negative = |d: Dim| d.as_const().is_some_and(|c| c < 0);
                if negative(from.clone()) || negative(size.clone() - to.clone()) {
                    let message = format!("`{range}` is out of range for axis {axis} of size {size}");
                    return Err(args.item_error("ranges", axis, message).into());
                }
                if negative(to.clone() - from.clone() - Dim::ONE) {
                    let message = format!("`{range}` of axis {axis}, of size {size}, is empty");
                    return Err(args.item_error("ranges", axis, message).into());
                }
                (start[axis], stop[axis], step[axis]) = (from, to, steps[axis]);
            }
            _ => {}
        }
    }
    let mut part = if start.iter().all(|d| d.is(0)) && stop == full && step.iter().all(|&s| s == 1) {
        x
    } else {
        b.slice(x, &start, &stop, &step)?
    };
    for &axis in gone.iter().rev() {
        part = squeeze(b, part, axis)?;
    }
    Ok(part.into())
}
