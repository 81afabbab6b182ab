//! Tensors taken apart and put together: parts of an axis, repetitions, windows, and elements at indices.

use super::args::Args;
use super::common::{LAST_AXIS, Made, X, elementwise, iota, kept, made, narrow, operand, squeeze, unsqueeze};
use super::error::CallError;
use super::index::{AXIS, INDEX, take, whole_numbers};
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use crate::attrs::Attrs;
use crate::build::Builder;
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::op::Op;
use crate::types::DType;

/// No tensor falls into more parts.
const MOST: i64 = 1024;

macro_rules! methods {
    ($($name:literal $aliases:tt, [$($param:expr),*], $doc:literal, $build:expr;)*) => {
        /// The methods of this file.
        pub const METHODS: &[MethodDef] = &[
            $(MethodDef { name: $name, aliases: &$aliases, doc: $doc, params: &[$($param),*], build: $build }),*
        ];
    };
}

methods! {
    "split" [], [X, Param::required("sizes", Kind::Shape, "the size of each part, or of all of them, as a list or number"),
        AXIS],
        "a list of parts along an axis, of these sizes; of one size, the last part is what is left", split;
    "unbind" [], [X, AXIS],
        "a list of the parts at each index of an axis, which disappears", unbind;
    "narrow" [], [X, Param::required("axis", Kind::Axis, "the axis; -1 is the last"),
        Param::required("start", Kind::Dim, "the first index"), Param::required("length", Kind::Dim, "how many")],
        "a part of an axis", narrow_axis;
    "tile" [], [X, Param::required("repeats", Kind::Shape, "how often each of the last axes is repeated").rest()],
        "the whole tensor repeated along its axes; more repeats than axes make new ones in front", tile;
    "repeat_interleave" [], [X, Param::required("repeats", Kind::Dim, "how often"), LAST_AXIS],
        "each element of an axis repeated before the next one", repeat_interleave;
    "movedim" ["moveaxis"], [X, Param::required("source", Kind::Axes, "the axes that are moved"),
        Param::required("destination", Kind::Axes, "where each of them stands in the result")],
        "axes moved to other places, the others in their order", movedim;
    "unfold" [], [X, Param::required("axis", Kind::Axis, "the axis; -1 is the last"),
        Param::required("size", Kind::Int, "the size of a window"),
        Param::optional("step", Kind::Int, Default::Int(1), "how far apart windows begin")],
        "all windows of an axis: it counts the windows, and a new last axis holds their elements", unfold;
    "take_along" ["take_along_dim"], [X, INDEX, LAST_AXIS],
        "the elements along an axis at indices, which broadcast on the other axes", take_along;
    "index_add" [], [X,
        Param::required("index", Kind::Tensor, "whole numbers, from 0 below the size of the axis, one for each part of src"),
        Param::required("src", Kind::Tensor, "what is added, in the shape of x but for the axis"), AXIS],
        "x, and the parts of `src` added at the indices of an axis", index_add;
    "scatter" [], [X, INDEX, Param::required("src", Kind::Operand, "what is written, in the shape of `index`, or a number"),
        AXIS],
        "x, but `src` at `index` along an axis; the mean of what is written where an index comes twice", scatter;
    "meshgrid" [], [Param::required("tensors", Kind::Tensors, "vectors").rest(),
        Param::optional("indexing", Kind::Word(&["ij", "xy"]), Default::Word("ij"),
            "\"ij\": an axis for each vector; \"xy\": the first two exchanged")],
        "a list with each vector along its own axis of a grid", meshgrid;
}

fn split(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let axis = args.axis("axis", b.rank(x))?;
    let (size, mut sizes) = (b.shape(x)[axis].clone(), args.shape("sizes"));
    if let Some(bad) = sizes.iter().find(|d| d.as_const().is_some_and(|c| c < 1)) {
        return Err(args.error("sizes", format!("every size must be at least 1, but one is {bad}")).into());
    }
    if let [one] = &sizes[..]
        && !args.is_list("sizes")
    {
        let (Some(one), Some(all)) = (one.as_const(), size.as_const()) else {
            let message = format!("the number of parts must be known, but axis {axis} has size {size}; list the sizes");
            return Err(args.error("sizes", message).into());
        };
        if all.div_euclid(one) >= MOST {
            return Err(args.error("sizes", format!("{all} elements in parts of {one} are more than {MOST}")).into());
        }
        sizes = (0..all).step_by(one as usize).map(|from| Dim::from(one.min(all - from))).collect();
    }
    let total = sizes.iter().fold(Dim::from(0), |sum, d| sum + d.clone());
    if !b.graph.facts.equal(&total, &size) {
        let message =
            format!("the sizes add up to {total}, but axis {axis} has size {size}: the tensor is {}", b.ty(x));
        return Err(args.error("sizes", message).into());
    }
    let (mut from, mut parts) = (Dim::from(0), vec![]);
    for size in sizes {
        let to = from.clone() + size;
        parts.push(narrow(b, x, axis, from, to.clone())?);
        from = to;
    }
    Ok(parts.into())
}

fn unbind(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let axis = args.axis("axis", b.rank(x))?;
    let size = &b.shape(x)[axis];
    let Some(count) = size.as_const().filter(|c| (1..=MOST).contains(c)) else {
        let message = format!("the number of parts must be known, at most {MOST}, but axis {axis} has size {size}");
        return Err(args.error("axis", message).into());
    };
    let mut parts = vec![];
    for i in 0..count {
        let part = narrow(b, x, axis, Dim::from(i), Dim::from(i + 1))?;
        parts.push(squeeze(b, part, axis)?);
    }
    Ok(parts.into())
}

fn narrow_axis(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let axis = args.axis("axis", b.rank(x))?;
    let (start, length, size) = (args.dim("start"), args.dim("length"), b.shape(x)[axis].clone());
    let from = if start.as_const().is_some_and(|c| c < 0) { size.clone() + start.clone() } else { start.clone() };
    let to = from.clone() + length.clone();
    let below = |d: Dim, least: i64| d.as_const().is_some_and(|c| c < least);
    if below(length.clone(), 1) {
        return Err(args.error("length", format!("`length` must be at least 1, but it is {length}")).into());
    }
    if below(from.clone(), 0) || below(size.clone() - to.clone(), 0) {
        let message = format!("{length} elements from {start} on are not within axis {axis} of size {size}");
        return Err(args.error("start", message).into());
    }
    made(narrow(b, x, axis, from, to))
}

/// Refuses a number of repetitions known to be below one.
fn repeats(args: &Args, counts: &[Dim]) -> Result<(), CallError> {
    match counts.iter().find(|d| d.as_const().is_some_and(|c| c < 1)) {
        Some(bad) => {
            Err(args.error("repeats", format!("every number of repeats must be at least 1, but one is {bad}")).into())
        }
        None => Ok(()),
    }
}

fn tile(b: &mut Builder, args: &Args) -> Made {
    let (mut x, mut counts) = (args.tensor("x"), args.shape("repeats"));
    repeats(args, &counts)?;
    while counts.len() < b.rank(x) {
        counts.insert(0, Dim::ONE);
    }
    while b.rank(x) < counts.len() {
        x = unsqueeze(b, x, 0)?;
    }
    // Each axis gets one before it, along which it is repeated.
    let sizes = b.shape(x).to_vec();
    let pairs = |first: &dyn Fn(usize) -> Dim| -> Vec<Dim> {
        sizes.iter().enumerate().flat_map(|(a, size)| [first(a), size.clone()]).collect()
    };
    let x = b.reshape(x, &pairs(&|_| Dim::ONE))?;
    let x = b.broadcast(x, &pairs(&|a| counts[a].clone()))?;
    let joined: Vec<Dim> = counts.iter().zip(&sizes).map(|(n, size)| n.clone() * size.clone()).collect();
    made(b.reshape(x, &joined))
}

fn repeat_interleave(b: &mut Builder, args: &Args) -> Made {
    let (x, count) = (args.tensor("x"), args.dim("repeats"));
    repeats(args, std::slice::from_ref(&count))?;
    let axis = args.axis("axis", b.rank(x))?;
    let mut joined = b.shape(x).to_vec();
    let x = unsqueeze(b, x, axis + 1)?;
    let mut shape = b.shape(x).to_vec();
    shape[axis + 1] = count.clone();
    let x = b.broadcast(x, &shape)?;
    joined[axis] = joined[axis].clone() * count;
    made(b.reshape(x, &joined))
}

fn movedim(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let rank = b.rank(x);
    let (from, to) = (args.axes_in_order("source", rank)?, args.axes_in_order("destination", rank)?);
    if from.len() != to.len() {
        let message = format!("{} axes are moved to {} places", from.len(), to.len());
        return Err(args.error("destination", message).into());
    }
    let mut rest = (0..rank).filter(|a| !from.contains(a));
    let place = |at: usize| to.iter().position(|&t| t == at).map(|i| from[i]);
    let perm: Vec<usize> = (0..rank).filter_map(|at| place(at).or_else(|| rest.next())).collect();
    made(b.transpose(x, &perm))
}

fn unfold(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let axis = args.axis("axis", b.rank(x))?;
    let (size, step, whole) = (args.int("size"), args.int("step"), b.shape(x)[axis].clone());
    for (name, value) in [("size", size), ("step", step)] {
        if value < 1 {
            return Err(args.error(name, format!("`{name}` must be at least 1, but it is {value}")).into());
        }
    }
    let rest = whole.clone() - Dim::from(size);
    if rest.as_const().is_some_and(|c| c < 0) {
        let message = format!("a window of {size} is longer than axis {axis}, of size {whole}");
        return Err(args.error("size", message).into());
    }
    let windows = rest.floor_div(&Dim::from(step)).unwrap_or(rest) + Dim::ONE;
    let grid = [windows, Dim::from(size)];
    let (window, element) = (iota(b, DType::I64, &grid, 0)?, iota(b, DType::I64, &grid, 1)?);
    let step = b.constant(DType::I64, step as f64);
    let start = b.mul(window, step)?;
    let index = b.add(start, element)?;
    let taken = take(b, x, index, axis)?;
    // The elements of a window go last.
    let mut perm: Vec<usize> = (0..b.rank(taken)).filter(|&a| a != axis + 1).collect();
    perm.push(axis + 1);
    made(b.transpose(taken, &perm))
}

fn take_along(b: &mut Builder, args: &Args) -> Made {
    let (mut x, index) = (args.tensor("x"), args.tensor("index"));
    let axis = args.axis("axis", b.rank(x))?;
    super::index::same_rank(b, x, index)?;
    let mut index = whole_numbers(b, 1, index)?;
    // Both sides as large as each other on all axes but one.
    let flat = |b: &mut Builder, node: NodeId| -> Vec<Dim> { kept(b, node, &[axis]) };
    let (left, right) = (flat(b, x), flat(b, index));
    let mut common = vec![];
    for (a, (l, r)) in left.iter().zip(&right).enumerate() {
        if !l.is(1) && !r.is(1) && !b.graph.facts.equal(l, r) {
            let sentence = format!(
                "{{0}} is {} and {{1}} is {}: but for axis {axis} they must broadcast, and axis {a} does not",
                b.ty(x),
                b.ty(args.tensor("index"))
            );
            return Err(CallError::Inputs(sentence));
        }
        common.push(if l.is(1) { r.clone() } else { l.clone() });
    }
    for node in [&mut x, &mut index] {
        let mut shape = common.clone();
        shape[axis] = b.shape(*node)[axis].clone();
        *node = b.broadcast(*node, &shape)?;
    }
    made(b.push(Op::Gather, &[x, index], Attrs::new().int("axis", axis as i64)))
}

fn index_add(b: &mut Builder, args: &Args) -> Made {
    let (x, index, src) = (args.tensor("x"), args.tensor("index"), args.tensor("src"));
    let axis = args.axis("axis", b.rank(x))?;
    let index = whole_numbers(b, 1, index)?;
    let mut wanted = b.shape(x).to_vec();
    let vector = b.rank(index) == 1;
    if vector {
        wanted[axis] = b.shape(index)[0].clone();
    }
    let found = b.ty(src);
    let equal = |(a, c): (&Dim, &Dim)| b.graph.facts.equal(a, c);
    let fits = found.rank() == wanted.len() && found.shape.iter().zip(&wanted).all(equal);
    if !vector || !fits || found.dtype != b.dtype(x) {
        let sentence = format!(
            "{{0}} is {}, so on axis {axis} there must be an index i64[K] and a part for each, but {{1}} is {} and {{2}} is {found}",
            b.ty(x),
            b.ty(args.tensor("index"))
        );
        return Err(CallError::Inputs(sentence));
    }
    let mut column = vec![Dim::ONE; wanted.len()];
    column[axis] = wanted[axis].clone();
    let index = b.reshape(index, &column)?;
    let index = b.broadcast(index, &wanted)?;
    made(b.push(Op::ScatterAdd, &[x, index, src], Attrs::new().int("axis", axis as i64)))
}

/// Sums and counts of what goes to each place; a sum of one number is that number.
fn scatter(b: &mut Builder, args: &Args) -> Made {
    let (x, index) = (args.tensor("x"), args.tensor("index"));
    let (axis, dtype) = (args.axis("axis", b.rank(x))?, b.dtype(x));
    super::index::same_rank(b, x, index)?;
    let index = whole_numbers(b, 1, index)?;
    if dtype == DType::Bool {
        let (expected, found) = ("numbers".to_string(), b.ty(x).clone());
        let fix = Some("convert it with `.to(i64)`".to_string());
        return Err(CallError::DType { input: 0, expected, found, fix });
    }
    let shape = b.shape(index).to_vec();
    let src = match args.tensor_if("src") {
        Some(src) if b.dtype(src) == dtype && b.shape(src) == shape => src,
        Some(src) => {
            let (wanted, found) = (b.ty(index).with_dtype(dtype), b.ty(src));
            return Err(CallError::Inputs(format!("{{2}}, what is written, must be {wanted}, but it is {found}")));
        }
        None => {
            let value = operand(b, args, "src", dtype)?;
            b.broadcast(value, &shape)?
        }
    };
    let attrs = || Attrs::new().int("axis", axis as i64);
    let (zero, one) = (b.full_like(x, 0.0)?, b.constant(dtype, 1.0));
    let ones = b.broadcast(one, &shape)?;
    let sums = b.push(Op::ScatterAdd, &[zero, index, src], attrs())?;
    let counts = b.push(Op::ScatterAdd, &[zero, index, ones], attrs())?;
    let none = elementwise(b, Op::Eq, &[counts, zero])?;
    let divisor = b.select(none, one, counts)?;
    let means = b.div(sums, divisor)?;
    made(b.select(none, x, means))
}

fn meshgrid(b: &mut Builder, args: &Args) -> Made {
    let vectors = args.tensors("tensors");
    let swapped = args.word("indexing") == "xy" && vectors.len() > 1;
    let place = |i: usize| if swapped && i < 2 { 1 - i } else { i };
    let mut grid = vec![Dim::ONE; vectors.len()];
    for (i, &vector) in vectors.iter().enumerate() {
        if b.rank(vector) != 1 {
            let found = b.ty(vector).clone();
            return Err(CallError::Rank { input: i, expected: "vectors".into(), found, fix: None });
        }
        grid[place(i)] = b.shape(vector)[0].clone();
    }
    let mut parts = vec![];
    for (i, &vector) in vectors.iter().enumerate() {
        let mut along = vec![Dim::ONE; grid.len()];
        along[place(i)] = b.shape(vector)[0].clone();
        let line = b.reshape(vector, &along)?;
        parts.push(b.broadcast(line, &grid)?);
    }
    Ok(parts.into())
}
