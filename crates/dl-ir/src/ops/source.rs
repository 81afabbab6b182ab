//! Ops that make values from attributes: inputs, constants, indices, dimensions, random numbers.

use super::Kind;
use crate::attrs::{AttrKind, Attrs};
use crate::dim::Dim;
use crate::error::{OpError, Problem};
use crate::eval::{EvalError, Tensor};
use crate::op::{Arity, Class, Infer, OpDef, Sample, Vjp};
use crate::random;
use crate::types::{DType, Scalar, Type};

/// An input of the graph.
pub const INPUT: OpDef = OpDef {
    name: "input",
    doc: "An input of the graph",
    arity: Arity::Exact(0),
    class: Class::Input,
    attrs: &[],
    infer: |i| i.bad_attr("input", "has the type it is declared with, which no rule derives"),
    eval: |e| Err(EvalError::MissingInput(e.ty.to_string())),
    vjp: NO_OPERANDS,
    samples: Vec::new,
};

/// Constant elements.
pub const CONST: OpDef = OpDef {
    name: "const",
    doc: "Constant elements, a scalar or a list",
    arity: Arity::Exact(0),
    class: Class::Source,
    attrs: &[("dtype", AttrKind::DType), ("shape", AttrKind::Dims), ("values", AttrKind::Scalars)],
    infer: const_type,
    eval: |e| {
        let values = e.attrs.get_scalars("values");
        match e.ty.dtype.is_float() {
            true => e.floats(values.iter().map(|v| v.as_f64()).collect()),
            false => e.ints(values.iter().map(|v| v.as_i64()).collect()),
        }
    },
    vjp: NO_OPERANDS,
    samples: const_samples,
};

/// The index along an axis.
pub const IOTA: OpDef = OpDef {
    name: "iota",
    doc: "The index along `axis`",
    arity: Arity::Exact(0),
    class: Class::Source,
    attrs: &[("dtype", AttrKind::DType), ("shape", AttrKind::Dims), ("axis", AttrKind::Int)],
    infer: |i| {
        let ty = made(i)?;
        match i.attrs.get_int("axis") {
            axis if axis < 0 || axis as usize >= ty.rank() => i.fail(Problem::Axis { axis, of: ty }),
            _ if ty.dtype == DType::Bool => i.bad_attr("dtype", "must be a number type"),
            _ => Ok(ty),
        }
    },
    eval: |e| {
        let (axis, shape) = (e.attrs.get_int("axis") as usize, e.shape()?);
        let mut values = vec![];
        crate::eval::each(&shape, |index| values.push(index[axis] as i64));
        Ok(Tensor::ints(DType::I64, &shape, values).cast(e.ty.dtype))
    },
    vjp: NO_OPERANDS,
    samples: || {
        let of = |dtype, shape: &[i64], axis| {
            sourced(Attrs::new().dtype("dtype", dtype).dims("shape", dims(shape)).int("axis", axis))
        };
        vec![of(DType::F32, &[5], 0), of(DType::I64, &[3, 4], 1), of(DType::I32, &[7, 1, 2], 0)]
    },
};

/// A dimension as a number.
pub const DIM_VALUE: OpDef = OpDef {
    name: "dim_value",
    doc: "A dimension as a scalar number",
    arity: Arity::Exact(0),
    class: Class::Source,
    attrs: &[("dtype", AttrKind::DType), ("dim", AttrKind::Dims)],
    infer: |i| match (i.attrs.get_dims("dim").len(), i.attrs.get_dtype("dtype")) {
        (1, DType::Bool) => i.bad_attr("dtype", "must be a number type"),
        (1, dtype) => Ok(Type::scalar(dtype)),
        (n, _) => i.bad_attr("dim", format!("must be one dimension, but there are {n}")),
    },
    eval: |e| match e.attrs.get_dims("dim")[0].as_const() {
        Some(value) => Ok(Tensor::ints(DType::I64, &[], vec![value]).cast(e.ty.dtype)),
        None => Err(EvalError::Symbolic(Type::new(e.ty.dtype, e.attrs.get_dims("dim").to_vec()))),
    },
    vjp: NO_OPERANDS,
    samples: || {
        let of = |dtype| sourced(Attrs::new().dtype("dtype", dtype).dims("dim", dims(&[12])));
        vec![of(DType::F32), of(DType::I64)]
    },
};

/// Random numbers.
pub const RANDOM: OpDef = OpDef {
    name: "random",
    doc: "Random numbers by counter from a key (seed, step), of f32 precision: uniform in [0, 1) or standard normal",
    arity: Arity::Exact(1),
    class: Class::Source,
    attrs: &[
        ("dist", AttrKind::Word),
        ("stream", AttrKind::Int),
        ("dtype", AttrKind::DType),
        ("shape", AttrKind::Dims),
    ],
    infer: random_type,
    eval: |e| {
        let key = e.args[0].to_i64s();
        let (key, stream) = ([key[0], key[1]], e.attrs.get_int("stream") as u32);
        let draw = if e.attrs.get_word("dist") == "normal" { random::normal } else { random::uniform };
        let n = e.shape()?.iter().product::<usize>() as u64;
        e.floats((0..n).map(|i| f64::from(draw(key, stream, i))).collect())
    },
    vjp: Vjp::Rule(|_, _| Ok(vec![None])),
    samples: || {
        let of = |dist: &str, stream, shape: &[i64]| Sample {
            args: vec![Type::new(DType::I64, [2i64])],
            attrs: Attrs::new()
                .word("dist", dist)
                .int("stream", stream)
                .dtype("dtype", DType::F32)
                .dims("shape", dims(shape)),
            ranges: vec![(0.0, 1000.0)],
        };
        vec![of("uniform", 0, &[37]), of("uniform", 3, &[]), of("normal", 1, &[5, 13]), of("normal", 2, &[1])]
    },
};

const NO_OPERANDS: Vjp = Vjp::Rule(|_, _| Ok(vec![]));

/// The type that `dtype` and `shape` declare.
fn made(i: &Infer<'_>) -> Result<Type, OpError> {
    let ty = Type { dtype: i.attrs.get_dtype("dtype"), shape: i.attrs.get_dims("shape").to_vec() };
    match ty.shape.iter().position(|d| d.as_const().is_some_and(|c| c < 1)) {
        Some(axis) => i.fail(Problem::TooSmall {
            axis,
            size: ty.shape[axis].clone(),
            why: "every axis needs at least one element".to_string(),
        }),
        None => Ok(ty),
    }
}

fn const_type(i: &Infer<'_>) -> Result<Type, OpError> {
    let ty = made(i)?;
    let values = i.attrs.get_scalars("values");
    let count = match ty.sizes() {
        Some(sizes) if sizes.len() < 2 => sizes.iter().product::<usize>(),
        _ => return i.bad_attr("shape", "must be that of a scalar or a list of known length"),
    };
    if values.len() != count {
        return i.bad_attr("values", format!("must have {count} elements for {ty}, but there are {}", values.len()));
    }
    let fits = |v: &Scalar| match v {
        Scalar::Float(_) => ty.dtype.is_float(),
        Scalar::Int(_) => ty.dtype.is_int(),
        Scalar::Bool(_) => ty.dtype == DType::Bool,
    };
    if !values.iter().all(fits) {
        return i.bad_attr("values", format!("must all be of type {}", ty.dtype));
    }
    Ok(ty)
}

fn random_type(i: &Infer<'_>) -> Result<Type, OpError> {
    i.want(0, Kind::Is(DType::I64))?;
    i.want_rank(0, 1)?;
    i.want_size((0, 0), &Dim::from(2), None)?;
    if !matches!(i.attrs.get_word("dist"), "uniform" | "normal") {
        return i.bad_attr("dist", "must be `uniform` or `normal`");
    }
    if u32::try_from(i.attrs.get_int("stream")).is_err() {
        return i.bad_attr("stream", "must be between 0 and 2^32 - 1");
    }
    if !i.attrs.get_dtype("dtype").is_float() {
        return i.bad_attr("dtype", "must be a float type");
    }
    made(i)
}

fn const_samples() -> Vec<Sample> {
    let of = |dtype, shape: &[i64], values: &[f64]| {
        let values = values.iter().map(|&v| Scalar::of(dtype, v)).collect();
        sourced(Attrs::new().dtype("dtype", dtype).dims("shape", dims(shape)).scalars("values", values))
    };
    vec![
        of(DType::F32, &[], &[0.1]),
        of(DType::F64, &[3], &[1.0, -0.0, f64::INFINITY]),
        of(DType::I64, &[2], &[-5.0, 7.0]),
        of(DType::I32, &[], &[3.0]),
        of(DType::U8, &[1], &[255.0]),
        of(DType::Bool, &[2], &[1.0, 0.0]),
    ]
}

fn sourced(attrs: Attrs) -> Sample {
    Sample { args: vec![], attrs, ranges: vec![] }
}

fn dims(shape: &[i64]) -> Vec<Dim> {
    shape.iter().map(|&d| Dim::from(d)).collect()
}
