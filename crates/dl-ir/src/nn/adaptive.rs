//! Pooling to a given size, and over whole axes.

use super::args::Args;
use super::common::{Made, X, floats, iota, made, narrow, shift};
use super::error::CallError;
use super::layer::LayerDef;
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use super::pool::images;
use super::resample::along;
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::op::Op;
use crate::types::DType;

const OUTPUT: Param = Param::optional("output", Kind::Sizes, Default::Int(1), "the size of the result");

macro_rules! pools {
    ($($id:ident $layer:literal, $name:literal, [$($param:expr),*], $doc:literal, $build:expr;)*) => {
        $(const $id: MethodDef =
            MethodDef { name: $name, aliases: &[], doc: $doc, params: &[X, $($param),*], build: $build };)*
        /// The methods of this file.
        pub const METHODS: &[MethodDef] = &[$($id),*];
        /// The layers of this file.
        pub const LAYERS: &[LayerDef] = &[$(LayerDef::of($layer, &$id)),*];
    };
}

pools! {
    AVG1 "AdaptiveAvgPool1d", "adaptive_avg_pool1d", [OUTPUT],
        "[N, C, L] as means of parts as equal as can be", |b, a| average(b, a, 1);
    AVG2 "AdaptiveAvgPool2d", "adaptive_avg_pool2d", [OUTPUT],
        "[N, C, H, W] as means of parts as equal as can be", |b, a| average(b, a, 2);
    AVG3 "AdaptiveAvgPool3d", "adaptive_avg_pool3d", [OUTPUT],
        "[N, C, D, H, W] as means of parts as equal as can be", |b, a| average(b, a, 3);
    MAX1 "AdaptiveMaxPool1d", "adaptive_max_pool1d", [OUTPUT],
        "[N, C, L] as maxima of parts as equal as can be", |b, a| maximum(b, a, 1);
    MAX2 "AdaptiveMaxPool2d", "adaptive_max_pool2d", [OUTPUT],
        "[N, C, H, W] as maxima of parts as equal as can be", |b, a| maximum(b, a, 2);
    MAX3 "AdaptiveMaxPool3d", "adaptive_max_pool3d", [OUTPUT],
        "[N, C, D, H, W] as maxima of parts as equal as can be", |b, a| maximum(b, a, 3);
    GLOBAL_AVG "GlobalAvgPool", "global_avg_pool", [],
        "the mean over all spatial axes: [N, C, ..] to [N, C]", |b, a| global(b, a, Builder::mean);
    GLOBAL_MAX "GlobalMaxPool", "global_max_pool", [],
        "the largest of all spatial axes: [N, C, ..] to [N, C]",
        |b, a| global(b, a, |b, x, over, keep| b.reduce(Op::ReduceMax, x, over, keep));
}

/// Part `i` of an axis goes from `floor(i * size / parts)` to `ceil((i + 1) * size / parts)`.
fn bounds(size: i64, parts: i64, i: i64) -> (i64, i64) {
    let (size, parts, i) = (i128::from(size), i128::from(parts), i128::from(i));
    ((i * size / parts) as i64, (((i + 1) * size + parts - 1) / parts) as i64)
}

/// Reduces equal parts at once where all axes divide; the axes of `x` that do not are left as they are.
fn equal_parts(
    b: &mut Builder,
    x: NodeId,
    output: &[i64],
    reduce: fn(&mut Builder, NodeId, &[usize], bool) -> Built,
) -> Result<(NodeId, Vec<usize>), CallError> {
    let full = b.shape(x).to_vec();
    let (mut split, mut over, mut left) = (full[..2].to_vec(), vec![], vec![]);
    for (axis, &parts) in (2..).zip(output) {
        let (size, parts) = (&full[axis], Dim::from(parts));
        let part = size.floor_div(&parts).unwrap_or(Dim::ONE);
        if b.graph.facts.equal(&(part.clone() * parts.clone()), size) {
            split.push(parts);
            over.push(split.len());
            split.push(part);
        } else {
            split.push(size.clone());
            left.push(axis);
        }
    }
    let x = b.reshape(x, &split)?;
    Ok((reduce(b, x, &over, false)?, left))
}

fn average(b: &mut Builder, args: &Args, spatial: usize) -> Made {
    let x = images(b, args, spatial)?;
    let output = args.sizes("output", spatial, 1)?;
    let (mut x, left) = equal_parts(b, x, &output, Builder::mean)?;
    for axis in left {
        let matrix = shares(b, &b.shape(x)[axis].clone(), output[axis - 2], b.dtype(x))?;
        x = along(b, x, axis, matrix)?;
    }
    Ok(x.into())
}

/// The matrix `[parts, size]` that takes the mean of each part: one over its length for the elements in it.
fn shares(b: &mut Builder, size: &Dim, parts: i64, dtype: DType) -> Built {
    // Whole numbers below 2^53, divided with one rounding: the floors are exact.
    let wide = DType::F64;
    let row = iota(b, wide, &[Dim::from(parts), Dim::ONE], 0)?;
    let column = iota(b, wide, &[Dim::ONE, size.clone()], 1)?;
    let (length, count) = (b.dim_value(size, wide)?, b.constant(wide, parts as f64));
    let start = b.mul(row, length)?;
    let start = b.div(start, count)?;
    let start = b.floor(start)?;
    let next = shift(b, row, 1.0)?;
    let stop = b.mul(next, length)?;
    let stop = b.div(stop, count)?;
    let stop = b.ceil(stop)?;
    let (from, to) = (b.le(start, column)?, b.lt(column, stop)?);
    let inside = b.and(from, to)?;
    let width = b.sub(stop, start)?;
    let one = b.constant(wide, 1.0);
    let share = b.div(one, width)?;
    let zero = b.constant(wide, 0.0);
    let matrix = b.select(inside, share, zero)?;
    b.cast(matrix, dtype)
}

fn maximum(b: &mut Builder, args: &Args, spatial: usize) -> Made {
    const MOST: i64 = 512;
    let x = images(b, args, spatial)?;
    let output = args.sizes("output", spatial, 1)?;
    let (mut x, left) = equal_parts(b, x, &output, |b, x, over, keep| b.reduce(Op::ReduceMax, x, over, keep))?;
    for axis in left {
        let (size, parts) = (b.shape(x)[axis].clone(), output[axis - 2]);
        let Some(size) = size.as_const() else {
            let message = format!(
                "an axis of size {size} is not known to divide into {parts} equal parts; maxima of parts that are not \
                 equal need a size known at compile time"
            );
            return Err(args.error("output", message).into());
        };
        if parts > MOST {
            let message = format!("`output` must be at most {MOST} where it does not divide the size {size}");
            return Err(args.error("output", message).into());
        }
        let mut maxima = vec![];
        for i in 0..parts {
            let (from, to) = bounds(size, parts, i);
            let part = narrow(b, x, axis, from.into(), to.into())?;
            maxima.push(b.reduce(Op::ReduceMax, part, &[axis], true)?);
        }
        x = b.concat(&maxima, axis)?;
    }
    Ok(x.into())
}

fn global(b: &mut Builder, args: &Args, reduce: fn(&mut Builder, NodeId, &[usize], bool) -> Built) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    let rank = b.rank(x);
    if rank < 3 {
        let expected = "at least 3 axes, [N, C, ..]".to_string();
        return Err(CallError::Rank { input: 0, expected, found: b.ty(x).clone(), fix: None });
    }
    made(reduce(b, x, &(2..rank).collect::<Vec<_>>(), false))
}
