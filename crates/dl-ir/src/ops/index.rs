//! Ops that read and write at indices which are data. An index outside its axis fails; negative ones do not wrap.

use super::Kind;
use crate::attrs::{AttrKind, Attrs};
use crate::error::OpError;
use crate::eval::{Data, EvalError, Tensor, each, offset, strides};
use crate::op::{Arity, Class, Infer, Op, OpDef, Sample, Vjp};
use crate::types::{DType, Type};

/// Elements at indices.
pub const GATHER: OpDef = OpDef {
    name: "gather",
    doc: "Result index (…, i, …) is operand 0 at (…, index[…, i, …], …) along `axis`; \
          on the other axes the index (operand 1) is at most as large as operand 0",
    arity: Arity::Exact(2),
    class: Class::Index,
    attrs: &[("axis", AttrKind::Int)],
    infer: |i| {
        indexed(i)?;
        Ok(Type { dtype: i.args[0].dtype, shape: i.args[1].shape.clone() })
    },
    eval: |e| {
        let axis = e.attrs.get_int("axis") as usize;
        let from = places(e.args[0], e.args[1], axis)?;
        let mut next = from.into_iter();
        e.pick(0, |_| next.next().unwrap_or(0))
    },
    vjp: Vjp::Rule(|b, v| {
        let zero = b.full_like(v.args[0], 0.0)?;
        let to_x = b.push(Op::ScatterAdd, &[zero, v.args[1], v.cotangent], v.attrs.clone())?;
        Ok(vec![Some(to_x), None])
    }),
    samples: || {
        let of = |dtype, index_type, x: &[i64], index: &[i64], axis| {
            let args = vec![Type::new(dtype, x.iter().copied()), Type::new(index_type, index.iter().copied())];
            let ranges = vec![(-3.0, 3.0), (0.0, x[axis as usize] as f64 - 1.0)];
            Sample { args, attrs: Attrs::new().int("axis", axis), ranges }
        };
        vec![
            of(DType::F32, DType::I64, &[5], &[9], 0),
            of(DType::F32, DType::I64, &[3, 10], &[3, 1], 1),
            of(DType::F32, DType::I32, &[7, 4], &[6, 4], 0),
            of(DType::F32, DType::I64, &[3, 1, 5], &[2, 4, 3], 1),
            of(DType::I64, DType::I64, &[6], &[3], 0),
        ]
    },
};

/// Adds at indices.
pub const SCATTER_ADD: OpDef = OpDef {
    name: "scatter_add",
    doc: "Operand 0 plus operand 2 added at operand 1's indices along `axis`, in row-major order of the indices",
    arity: Arity::Exact(3),
    class: Class::Index,
    attrs: &[("axis", AttrKind::Int)],
    infer: |i| {
        i.want(0, Kind::Number)?;
        indexed(i)?;
        i.want_dtype_of(2, 0)?;
        i.want_shape_of(2, 1)?;
        Ok(i.args[0].clone())
    },
    eval: |e| {
        let to = places(e.args[0], e.args[1], e.attrs.get_int("axis") as usize)?;
        match (&e.args[0].data, &e.args[2].data) {
            (Data::Float(x), Data::Float(add)) => {
                let mut y = x.clone();
                to.into_iter().zip(add).for_each(|(at, v)| y[at] += v);
                e.floats(y)
            }
            _ => {
                let mut y = e.args[0].to_i64s();
                to.into_iter().zip(e.args[2].to_i64s()).for_each(|(at, v)| y[at] = y[at].wrapping_add(v));
                e.ints(y)
            }
        }
    },
    vjp: Vjp::Rule(|b, v| {
        let to_added = b.push(Op::Gather, &[v.cotangent, v.args[1]], v.attrs.clone())?;
        Ok(vec![Some(v.cotangent), None, Some(to_added)])
    }),
    samples: || {
        let of = |dtype, index_type, x: &[i64], index: &[i64], axis| {
            let index = || index.iter().copied();
            let args =
                vec![Type::new(dtype, x.iter().copied()), Type::new(index_type, index()), Type::new(dtype, index())];
            let ranges = vec![(-3.0, 3.0), (0.0, x[axis as usize] as f64 - 1.0), (-3.0, 3.0)];
            Sample { args, attrs: Attrs::new().int("axis", axis), ranges }
        };
        vec![
            of(DType::F32, DType::I64, &[5], &[9], 0),
            of(DType::F32, DType::I64, &[3, 10], &[3, 1], 1),
            of(DType::F32, DType::I32, &[7, 4], &[6, 4], 0),
            of(DType::F32, DType::I64, &[3, 2, 5], &[2, 4, 3], 1),
            of(DType::I64, DType::I64, &[6], &[13], 0),
        ]
    },
};

/// Checks operand 0 against the index, operand 1. Sizes in symbols must be equal, as "at most" cannot be proved.
fn indexed(i: &Infer<'_>) -> Result<(), OpError> {
    i.want(1, Kind::Index)?;
    i.want_rank(1, i.args[0].rank())?;
    let axis = i.want_axis(0, i.attrs.get_int("axis"))?;
    for a in (0..i.args[0].rank()).filter(|&a| a != axis) {
        let (x, index) = (i.args[0].shape[a].as_const(), i.args[1].shape[a].as_const());
        let fits = index == Some(1) || x.zip(index).is_some_and(|(x, index)| index <= x);
        if !fits {
            i.want_equal((1, a), (0, a))?;
        }
    }
    Ok(())
}

/// For each index in row-major order, the position in `x` it points at.
fn places(x: &Tensor, index: &Tensor, axis: usize) -> Result<Vec<usize>, EvalError> {
    let (indices, strides, size) = (index.to_i64s(), strides(&x.shape), x.shape[axis]);
    let wrong = indices.iter().find(|&&i| usize::try_from(i).map_or(true, |i| i >= size));
    if let Some(&index) = wrong {
        return Err(EvalError::Index { axis, index, size });
    }
    let mut places = Vec::with_capacity(indices.len());
    each(&index.shape, |at| {
        let mut at = at.to_vec();
        at[axis] = indices[places.len()] as usize;
        places.push(offset(&at, &strides));
    });
    Ok(places)
}
