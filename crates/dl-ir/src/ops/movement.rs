//! Ops that move elements without computing.

use super::{Kind, sample};
use crate::attrs::{AttrKind, Attrs};
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::error::{OpError, Problem};
use crate::eval::{Data, EvalError, Tensor, offset, strides};
use crate::op::{Arity, Class, Cotangents, Eval, Infer, Op, OpDef, Vjp, VjpArgs};
use crate::types::{DType, Type};

/// Same elements in another shape.
pub const RESHAPE: OpDef = OpDef {
    name: "reshape",
    doc: "The same elements in row-major order in another shape",
    arity: Arity::Exact(1),
    class: Class::Movement,
    attrs: &[("shape", AttrKind::Dims)],
    infer: |i| {
        let ty = Type { dtype: i.args[0].dtype, shape: i.attrs.get_dims("shape").to_vec() };
        refuse_small(i, &ty.shape, "every axis needs at least one element")?;
        let (from, to) = (i.args[0].elements(), ty.elements());
        if i.same(&from, &to) {
            return Ok(ty);
        }
        i.fail(Problem::Elements { from: i.args[0].clone(), to: ty.shape, needs: i.facts.missing(&from, &to) })
    },
    eval: |e| {
        let mut next = 0..;
        e.pick(0, |_| next.next().unwrap_or(0))
    },
    vjp: Vjp::Rule(|b, v| {
        let shape = b.shape(v.args[0]).to_vec();
        one(b.reshape(v.cotangent, &shape))
    }),
    samples: || {
        let of = |from: &[i64], to: &[i64]| sample(DType::F32, &[from], Attrs::new().dims("shape", dims(to)), RANGE);
        vec![of(&[12], &[3, 4]), of(&[2, 3, 5], &[6, 5]), of(&[1, 1], &[]), of(&[], &[1, 1, 1]), of(&[7, 3], &[3, 7])]
    },
};

/// Axes in another order.
pub const TRANSPOSE: OpDef = OpDef {
    name: "transpose",
    doc: "Result axis i is operand axis `perm[i]`",
    arity: Arity::Exact(1),
    class: Class::Movement,
    attrs: &[("perm", AttrKind::Ints)],
    infer: |i| {
        let perm = i.want_axes(0, "perm")?;
        i.want_len("perm", perm.len(), i.args[0].rank())?;
        let shape = perm.iter().map(|&p| i.args[0].shape[p].clone()).collect();
        Ok(Type { dtype: i.args[0].dtype, shape })
    },
    eval: |e| {
        let (perm, strides) = (e.attrs.get_axes("perm"), strides(&e.args[0].shape));
        e.pick(0, |index| perm.iter().zip(index).map(|(&p, i)| i * strides[p]).sum())
    },
    vjp: Vjp::Rule(|b, v| {
        let perm = v.attrs.get_axes("perm");
        let mut inverse = vec![0; perm.len()];
        for (i, &p) in perm.iter().enumerate() {
            inverse[p] = i;
        }
        one(b.transpose(v.cotangent, &inverse))
    }),
    samples: || {
        let of = |shape: &[i64], perm: &[i64]| sample(DType::F32, &[shape], Attrs::new().ints("perm", perm), RANGE);
        vec![
            of(&[3, 5], &[1, 0]),
            of(&[2, 3, 4], &[2, 0, 1]),
            of(&[1, 7, 1], &[1, 2, 0]),
            of(&[2, 3, 4, 5], &[0, 3, 1, 2]),
        ]
    },
};

/// Repeats to a shape.
pub const BROADCAST: OpDef = OpDef {
    name: "broadcast",
    doc: "Repeats axes of size 1 and adds leading axes, to `shape`",
    arity: Arity::Exact(1),
    class: Class::Movement,
    attrs: &[("shape", AttrKind::Dims)],
    infer: broadcast_type,
    eval: |e| {
        let from = &e.args[0].shape;
        let (skip, strides) = (e.ty.rank() - from.len(), strides(from));
        e.pick(0, |index| {
            let axis = |a: usize| if from[a] == 1 { 0 } else { index[skip + a] * strides[a] };
            (0..from.len()).map(axis).sum()
        })
    },
    vjp: Vjp::Rule(|b, v| {
        let (from, to) = (b.shape(v.args[0]).to_vec(), b.shape(v.out).to_vec());
        let skip = to.len() - from.len();
        let repeated = (0..to.len()).filter(|&a| a < skip || (from[a - skip].is(1) && !to[a].is(1)));
        let repeated: Vec<usize> = repeated.collect();
        let sum = b.sum(v.cotangent, &repeated, false)?;
        one(b.reshape(sum, &from))
    }),
    samples: || {
        let of = |from: &[i64], to: &[i64]| sample(DType::F32, &[from], Attrs::new().dims("shape", dims(to)), RANGE);
        vec![
            of(&[], &[3, 5]),
            of(&[5], &[3, 5]),
            of(&[3, 1], &[3, 5]),
            of(&[2, 1, 4, 1], &[2, 3, 4, 2]),
            of(&[1], &[1, 1]),
        ]
    },
};

/// A part of every axis.
pub const SLICE: OpDef = OpDef {
    name: "slice",
    doc: "Per axis the elements `start`, `start + step`, … below `stop`",
    arity: Arity::Exact(1),
    class: Class::Movement,
    attrs: &[("start", AttrKind::Dims), ("stop", AttrKind::Dims), ("step", AttrKind::Ints)],
    infer: slice_type,
    eval: |e| {
        let (start, step) = (numbers(e, "start")?, e.attrs.get_ints("step"));
        let strides = strides(&e.args[0].shape);
        e.pick(0, |index| (0..index.len()).map(|a| (start[a] + index[a] * step[a] as usize) * strides[a]).sum())
    },
    vjp: Vjp::Rule(slice_vjp),
    samples: || {
        let of = |shape: &[i64], start: &[i64], stop: &[i64], step: &[i64]| {
            let attrs = Attrs::new().dims("start", dims(start)).dims("stop", dims(stop)).ints("step", step);
            sample(DType::F32, &[shape], attrs, RANGE)
        };
        vec![
            of(&[9], &[2], &[7], &[1]),
            of(&[9], &[1], &[9], &[3]),
            of(&[4, 5], &[0, 4], &[4, 5], &[2, 1]),
            of(&[2, 7, 3], &[1, 0, 0], &[2, 6, 3], &[1, 4, 2]),
        ]
    },
};

/// Elements around.
pub const PAD: OpDef = OpDef {
    name: "pad",
    doc: "Per axis `lo` elements before and `hi` after, filled with operand 1, a scalar",
    arity: Arity::Exact(2),
    class: Class::Movement,
    attrs: &[("lo", AttrKind::Dims), ("hi", AttrKind::Dims)],
    infer: pad_type,
    eval: |e| {
        let (x, lo, strides) = (e.args[0], numbers(e, "lo")?, strides(&e.args[0].shape));
        let joined = join(&[x, e.args[1]]);
        Eval { args: &[&joined], ..*e }.pick(0, |index| {
            let inside = (0..index.len()).all(|a| index[a] >= lo[a] && index[a] < lo[a] + x.shape[a]);
            let at = || (0..index.len()).map(|a| (index[a] - lo[a]) * strides[a]).sum();
            if inside { at() } else { x.len() }
        })
    },
    vjp: Vjp::Rule(pad_vjp),
    samples: || {
        let of = |shape: &[i64], lo: &[i64], hi: &[i64]| {
            sample(DType::F32, &[shape, &[]], Attrs::new().dims("lo", dims(lo)).dims("hi", dims(hi)), RANGE)
        };
        vec![
            of(&[5], &[2], &[0]),
            of(&[3, 4], &[1, 0], &[0, 3]),
            of(&[1, 1], &[0, 0], &[0, 0]),
            of(&[2, 1, 3], &[1, 1, 1], &[1, 2, 1]),
        ]
    },
};

/// Operands one after the other.
pub const CONCAT: OpDef = OpDef {
    name: "concat",
    doc: "Joins the operands along `axis`",
    arity: Arity::AtLeast(1),
    class: Class::Movement,
    attrs: &[("axis", AttrKind::Int)],
    infer: |i| {
        let axis = i.want_axis(0, i.attrs.get_int("axis"))?;
        let mut ty = i.args[0].clone();
        for arg in 1..i.args.len() {
            i.want_dtype_of(arg, 0)?;
            i.want_rank(arg, ty.rank())?;
            (0..ty.rank()).filter(|&a| a != axis).try_for_each(|a| i.want_equal((arg, a), (0, a)))?;
            ty.shape[axis] = ty.shape[axis].clone() + i.args[arg].shape[axis].clone();
        }
        Ok(ty)
    },
    eval: |e| {
        let axis = e.attrs.get_int("axis") as usize;
        let joined = join(e.args);
        Eval { args: &[&joined], ..*e }.pick(0, |index| {
            let (mut index, mut before, mut part) = (index.to_vec(), 0, 0);
            while index[axis] >= e.args[part].shape[axis] {
                index[axis] -= e.args[part].shape[axis];
                before += e.args[part].len();
                part += 1;
            }
            before + offset(&index, &strides(&e.args[part].shape))
        })
    },
    vjp: Vjp::Rule(|b, v| {
        let axis = v.attrs.get_int("axis") as usize;
        let mut from = Dim::from(0);
        let mut cotangents = vec![];
        for &arg in v.args {
            let mut stop = b.shape(arg).to_vec();
            let mut start = vec![Dim::from(0); stop.len()];
            let to = from.clone() + stop[axis].clone();
            (start[axis], stop[axis]) = (from, to.clone());
            from = to;
            cotangents.push(Some(b.slice(v.cotangent, &start, &stop, &vec![1; stop.len()])?));
        }
        Ok(cotangents)
    }),
    samples: || {
        let of = |shapes: &[&[i64]], axis| sample(DType::F32, shapes, Attrs::new().int("axis", axis), RANGE);
        vec![
            of(&[&[3], &[4]], 0),
            of(&[&[2, 3], &[2, 1], &[2, 5]], 1),
            of(&[&[2, 1, 3]], 2),
            of(&[&[1, 2, 3], &[4, 2, 3]], 0),
        ]
    },
};

/// Axes backwards.
pub const FLIP: OpDef = OpDef {
    name: "flip",
    doc: "Reverses `axes`",
    arity: Arity::Exact(1),
    class: Class::Movement,
    attrs: &[("axes", AttrKind::Ints)],
    infer: |i| i.want_axes(0, "axes").map(|_| i.args[0].clone()),
    eval: |e| {
        let (axes, shape) = (e.attrs.get_axes("axes"), &e.args[0].shape);
        let strides = strides(shape);
        e.pick(0, |index| {
            let at = |a: usize| if axes.contains(&a) { shape[a] - 1 - index[a] } else { index[a] };
            (0..index.len()).map(|a| at(a) * strides[a]).sum()
        })
    },
    vjp: Vjp::Rule(|b, v| one(b.push(Op::Flip, &[v.cotangent], v.attrs.clone()))),
    samples: || {
        let of = |shape: &[i64], axes: &[i64]| sample(DType::F32, &[shape], Attrs::new().ints("axes", axes), RANGE);
        vec![of(&[7], &[0]), of(&[2, 3, 5], &[2]), of(&[2, 3], &[0, 1]), of(&[], &[])]
    },
};

const RANGE: (f64, f64) = (-3.0, 3.0);

fn one(cotangent: Built) -> Cotangents {
    Ok(vec![Some(cotangent?)])
}

fn dims(sizes: &[i64]) -> Vec<Dim> {
    sizes.iter().map(|&d| Dim::from(d)).collect()
}

/// Refuses a shape with an axis that is known to be empty.
fn refuse_small(i: &Infer<'_>, shape: &[Dim], why: &str) -> Result<(), OpError> {
    match shape.iter().position(|d| d.as_const().is_some_and(|c| c < 1)) {
        Some(axis) => i.fail(Problem::TooSmall { axis, size: shape[axis].clone(), why: why.to_string() }),
        None => Ok(()),
    }
}

fn broadcast_type(i: &Infer<'_>) -> Result<Type, OpError> {
    let (from, to) = (i.args[0], i.attrs.get_dims("shape"));
    refuse_small(i, to, "every axis needs at least one element")?;
    let ty = Type { dtype: from.dtype, shape: to.to_vec() };
    let fits = |a: &Dim, b: &Dim| a.is(1) || i.same(a, b);
    if from.rank() <= to.len() && from.shape.iter().zip(&to[to.len() - from.rank()..]).all(|(a, b)| fits(a, b)) {
        return Ok(ty);
    }
    i.fail(Problem::Broadcast { left: from.clone(), right: ty })
}

fn slice_type(i: &Infer<'_>) -> Result<Type, OpError> {
    let (x, step) = (i.args[0], i.attrs.get_ints("step"));
    let (start, stop) = (i.attrs.get_dims("start"), i.attrs.get_dims("stop"));
    i.want_len("start", start.len(), x.rank())?;
    i.want_len("stop", stop.len(), x.rank())?;
    i.want_len("step", step.len(), x.rank())?;
    let mut ty = x.clone();
    for axis in 0..x.rank() {
        let (from, to, size) = (&start[axis], &stop[axis], &x.shape[axis]);
        if from.as_const().is_some_and(|c| c < 0) {
            return i.bad_attr("start", format!("must not be negative, but on axis {axis} it is {from}"));
        }
        if (size.clone() - to.clone()).as_const().is_some_and(|c| c < 0) {
            return i.bad_attr("stop", format!("is {to} on axis {axis}, which has size {size}"));
        }
        if step[axis] < 1 {
            return i.bad_attr("step", format!("must be positive, but on axis {axis} it is {}", step[axis]));
        }
        let span = to.clone() - from.clone() + Dim::from(step[axis] - 1);
        let size = span.floor_div(&Dim::from(step[axis])).map_err(|e| attr_error(i, "step", e))?;
        if size.as_const().is_some_and(|c| c < 1) {
            return i.fail(Problem::TooSmall { axis, size, why: format!("the slice {from}..{to} is empty") });
        }
        ty.shape[axis] = size;
    }
    Ok(ty)
}

fn attr_error(i: &Infer<'_>, name: &'static str, error: crate::dim::DimError) -> OpError {
    OpError::new(i.op, Problem::Attr { name, why: error.to_string() })
}

fn pad_type(i: &Infer<'_>) -> Result<Type, OpError> {
    let mut ty = i.args[0].clone();
    i.want(0, Kind::Any)?;
    i.want_dtype_of(1, 0)?;
    i.want_rank(1, 0)?;
    for name in ["lo", "hi"] {
        let pads = i.attrs.get_dims(name);
        i.want_len(name, pads.len(), ty.rank())?;
        for (axis, pad) in pads.iter().enumerate() {
            if pad.as_const().is_some_and(|c| c < 0) {
                return i.bad_attr(name, format!("must not be negative, but on axis {axis} it is {pad}"));
            }
            ty.shape[axis] = ty.shape[axis].clone() + pad.clone();
        }
    }
    Ok(ty)
}

/// The cotangent put back at the places it was read from, zero elsewhere.
fn slice_vjp(b: &mut Builder, v: &VjpArgs<'_>) -> Cotangents {
    let (full, start, step) = (b.shape(v.args[0]).to_vec(), v.attrs.get_dims("start"), v.attrs.get_ints("step"));
    let rank = full.len();
    let zero = b.constant(b.dtype(v.cotangent), 0.0);
    let mut g = v.cotangent;
    for axis in (0..rank).filter(|&a| step[a] > 1) {
        // `step - 1` zeros after each element, by an axis of their own; those after the last are cut off again.
        let shape = b.shape(g).to_vec();
        let mut split = shape.clone();
        split.insert(axis + 1, Dim::ONE);
        g = b.reshape(g, &split)?;
        let mut hi = vec![Dim::from(0); rank + 1];
        hi[axis + 1] = Dim::from(step[axis] - 1);
        g = b.pad(g, zero, &vec![Dim::from(0); rank + 1], &hi)?;
        let mut wide = shape;
        wide[axis] = wide[axis].clone() * Dim::from(step[axis]);
        g = b.reshape(g, &wide)?;
        wide[axis] = wide[axis].clone() - Dim::from(step[axis] - 1);
        g = b.slice(g, &vec![Dim::from(0); rank], &wide, &vec![1; rank])?;
    }
    let inner = b.shape(g).to_vec();
    let hi: Vec<Dim> = (0..rank).map(|a| full[a].clone() - start[a].clone() - inner[a].clone()).collect();
    one(b.pad(g, zero, start, &hi))
}

/// The inside of the cotangent for the operand, the sum of the outside for the filling.
fn pad_vjp(b: &mut Builder, v: &VjpArgs<'_>) -> Cotangents {
    let (lo, inner) = (v.attrs.get_dims("lo"), b.shape(v.args[0]).to_vec());
    let rank = inner.len();
    let stop: Vec<Dim> = (0..rank).map(|a| lo[a].clone() + inner[a].clone()).collect();
    let inside = b.slice(v.cotangent, lo, &stop, &vec![1; rank])?;
    let (no, yes) = (b.constant(DType::Bool, 0.0), b.constant(DType::Bool, 1.0));
    let no = b.broadcast(no, &inner)?;
    let outside = b.pad(no, yes, lo, v.attrs.get_dims("hi"))?;
    let zero = b.full_like(v.cotangent, 0.0)?;
    let rest = b.select(outside, v.cotangent, zero)?;
    let filling = b.sum(rest, &(0..rank).collect::<Vec<_>>(), false)?;
    Ok(vec![Some(inside), Some(filling)])
}

/// The dims named `name` as numbers.
fn numbers(e: &Eval<'_>, name: &str) -> Result<Vec<usize>, EvalError> {
    let ty = Type { dtype: DType::I64, shape: e.attrs.get_dims(name).to_vec() };
    ty.sizes().ok_or(EvalError::Symbolic(ty))
}

/// All elements of the parts, one part after the other.
fn join(parts: &[&Tensor]) -> Tensor {
    let shape = [parts.iter().map(|p| p.len()).sum()];
    match parts[0].data {
        Data::Float(_) => Tensor::floats(parts[0].dtype, &shape, parts.iter().flat_map(|p| p.to_f64s()).collect()),
        Data::Int(_) => Tensor::ints(parts[0].dtype, &shape, parts.iter().flat_map(|p| p.to_i64s()).collect()),
    }
}
