//! Ops that fold axes.

use super::{Kind, sample, unreduce};
use crate::attrs::{AttrKind, Attrs};
use crate::build::Builder;
use crate::error::OpError;
use crate::eval::{Data, EvalError, Tensor, each, offset, strides};
use crate::op::{Arity, Class, Cotangents, Eval, Infer, OpDef, Sample, Vjp, VjpArgs};
use crate::types::{DType, Type};

/// Sum over axes.
pub const SUM: OpDef = reduction(
    "reduce_sum",
    "Sum over `axes`, which disappear",
    |e| fold(e, 0.0, |a, x| a + x, 0, i64::wrapping_add),
    Vjp::Rule(|b, v| {
        let shape = b.shape(v.args[0]).to_vec();
        Ok(vec![Some(unreduce(b, v.cotangent, &v.attrs.get_axes("axes"), &shape)?)])
    }),
    || samples((-3.0, 3.0)),
);

/// Product over axes.
pub const PROD: OpDef = reduction(
    "reduce_prod",
    "Product over `axes`, which disappear",
    |e| fold(e, 1.0, |a, x| a * x, 1, i64::wrapping_mul),
    Vjp::Rule(prod_vjp),
    || samples((-1.5, 1.5)),
);

/// Maximum over axes.
pub const MAX: OpDef = reduction(
    "reduce_max",
    "Maximum over `axes`, which disappear; NaN if one is. Equal maxima share the gradient",
    |e| fold(e, f64::NEG_INFINITY, |a, x| if a.is_nan() || a > x { a } else { x }, i64::MIN, i64::max),
    Vjp::Rule(extremum_vjp),
    || samples((-3.0, 3.0)),
);

/// Minimum over axes.
pub const MIN: OpDef = reduction(
    "reduce_min",
    "Minimum over `axes`, which disappear; NaN if one is. Equal minima share the gradient",
    |e| fold(e, f64::INFINITY, |a, x| if a.is_nan() || a < x { a } else { x }, i64::MAX, i64::min),
    Vjp::Rule(extremum_vjp),
    || samples((-3.0, 3.0)),
);

/// Index of the first maximum along an axis.
pub const ARGMAX: OpDef = OpDef {
    name: "arg_max",
    doc: "Index (i64) of the first maximum along `axis`, which disappears; NaN counts as the maximum",
    arity: Arity::Exact(1),
    class: Class::Reduce,
    attrs: &[("axis", AttrKind::Int)],
    infer: |i| {
        i.want(0, Kind::Number)?;
        let axis = i.want_axis(0, i.attrs.get_int("axis"))?;
        let mut ty = i.args[0].with_dtype(DType::I64);
        ty.shape.remove(axis);
        Ok(ty)
    },
    eval: |e| {
        let axis = e.attrs.get_int("axis") as usize;
        let (x, strides) = (e.args[0], strides(&e.args[0].shape));
        let mut best = vec![];
        each(&e.shape()?, |index| {
            let mut index = index.to_vec();
            index.insert(axis, 0);
            let at = offset(&index, &strides);
            let beats = |i: usize, j: usize| match &x.data {
                Data::Float(v) => v[j].partial_cmp(&v[i]).map_or(v[i].is_nan() && !v[j].is_nan(), |o| o.is_lt()),
                Data::Int(v) => v[i] > v[j],
            };
            let place = |k: usize| at + k * strides[axis];
            best.push((1..x.shape[axis]).fold(0, |b, k| if beats(place(k), place(b)) { k } else { b }) as i64);
        });
        e.ints(best)
    },
    vjp: Vjp::None("its result is an index"),
    samples: || {
        let of = |dtype, shape: &[i64], axis| sample(dtype, &[shape], Attrs::new().int("axis", axis), (-3.0, 3.0));
        vec![
            of(DType::F32, &[7], 0),
            of(DType::F32, &[3, 10], 1),
            of(DType::I64, &[4, 3, 2], 1),
            of(DType::F32, &[5, 1], 1),
        ]
    },
};

const fn reduction(
    name: &'static str,
    doc: &'static str,
    eval: fn(&Eval<'_>) -> Result<Tensor, EvalError>,
    vjp: Vjp,
    samples: fn() -> Vec<Sample>,
) -> OpDef {
    let attrs = &[("axes", AttrKind::Ints)];
    OpDef { name, doc, arity: Arity::Exact(1), class: Class::Reduce, attrs, infer: reduced, eval, vjp, samples }
}

fn reduced(i: &Infer<'_>) -> Result<Type, OpError> {
    i.want(0, Kind::Number)?;
    let axes = i.want_axes(0, "axes")?;
    if !axes.is_sorted() {
        return i.bad_attr("axes", "must be in ascending order");
    }
    let kept = (0..i.args[0].rank()).filter(|a| !axes.contains(a));
    Ok(Type { dtype: i.args[0].dtype, shape: kept.map(|a| i.args[0].shape[a].clone()).collect() })
}

fn fold(
    e: &Eval<'_>,
    float: f64,
    add_float: fn(f64, f64) -> f64,
    int: i64,
    add_int: fn(i64, i64) -> i64,
) -> Result<Tensor, EvalError> {
    let (axes, out) = (e.attrs.get_axes("axes"), e.shape()?);
    let strides = strides(&out);
    // The place in the result to which each element of the operand goes.
    let mut places = vec![];
    each(&e.args[0].shape, |index| {
        let kept = (0..index.len()).filter(|a| !axes.contains(a));
        places.push(kept.zip(&strides).map(|(a, s)| index[a] * s).sum::<usize>());
    });
    let n = out.iter().product();
    match &e.args[0].data {
        Data::Float(v) => {
            let mut result = vec![float; n];
            places.iter().zip(v).for_each(|(&p, &x)| result[p] = add_float(result[p], x));
            e.floats(result)
        }
        Data::Int(v) => {
            let mut result = vec![int; n];
            places.iter().zip(v).for_each(|(&p, &x)| result[p] = add_int(result[p], x));
            e.ints(result)
        }
    }
}

/// The product of the others: by division where no factor is zero, and the product of the rest at a lone zero.
fn prod_vjp(b: &mut Builder, v: &VjpArgs<'_>) -> Cotangents {
    let (x, axes) = (v.args[0], v.attrs.get_axes("axes"));
    let shape = b.shape(x).to_vec();
    let (zero, unit) = (b.full_like(x, 0.0)?, b.full_like(x, 1.0)?);
    let is_zero = b.eq(x, zero)?;
    let factors = b.select(is_zero, unit, x)?;
    let rest = b.reduce(crate::op::Op::ReduceProd, factors, &axes, false)?;
    let counts = b.select(is_zero, unit, zero)?;
    let zeros = b.sum(counts, &axes, false)?;
    let (rest, zeros) = (unreduce(b, rest, &axes, &shape)?, unreduce(b, zeros, &axes, &shape)?);
    let others = b.div(rest, factors)?;
    // An element counts if all zeros are its own.
    let alone = b.eq(zeros, counts)?;
    let slope = b.select(alone, others, zero)?;
    let g = unreduce(b, v.cotangent, &axes, &shape)?;
    Ok(vec![Some(b.mul(g, slope)?)])
}

fn extremum_vjp(b: &mut Builder, v: &VjpArgs<'_>) -> Cotangents {
    let (x, axes) = (v.args[0], v.attrs.get_axes("axes"));
    let shape = b.shape(x).to_vec();
    let out = unreduce(b, v.out, &axes, &shape)?;
    let (hit, dtype) = (b.eq(x, out)?, b.dtype(x));
    let hit = b.cast(hit, dtype)?;
    let count = b.sum(hit, &axes, false)?;
    let share = b.div(v.cotangent, count)?;
    let share = unreduce(b, share, &axes, &shape)?;
    Ok(vec![Some(b.mul(share, hit)?)])
}

fn samples(range: (f64, f64)) -> Vec<Sample> {
    let of = |dtype, shape: &[i64], axes: &[i64]| sample(dtype, &[shape], Attrs::new().ints("axes", axes), range);
    vec![
        of(DType::F32, &[37], &[0]),
        of(DType::F32, &[3, 5], &[0]),
        of(DType::F32, &[3, 5], &[1]),
        of(DType::F32, &[2, 3, 4], &[0, 2]),
        of(DType::F32, &[2, 1, 7], &[1]),
        of(DType::F64, &[4, 3], &[0, 1]),
        of(DType::F32, &[], &[]),
        of(DType::I64, &[3, 4], &[1]),
        of(DType::I32, &[9], &[0]),
        of(DType::U8, &[2, 5], &[0]),
    ]
}
