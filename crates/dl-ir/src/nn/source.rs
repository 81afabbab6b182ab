//! Tensors made from a shape alone.

use super::args::Args;
use super::common::{Made, X, iota, made};
use super::layer::LayerDef;
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use super::value::Value;
use crate::build::Builder;
use crate::dim::Dim;
use crate::types::DType;

const SHAPE: Param = Param::required("shape", Kind::Shape, "the shape").rest();
const F32: Param = Param::optional("dtype", Kind::DType, Default::DType(DType::F32), "the element type");
const IDENTITY: MethodDef =
    MethodDef { name: "identity", aliases: &[], doc: "x itself", params: &[X], build: |_, a| Ok(a.tensor("x").into()) };

/// The layers of this file.
pub const LAYERS: &[LayerDef] = &[LayerDef::of("Identity", &IDENTITY)];

/// The methods and functions of this file.
pub const METHODS: &[MethodDef] = &[
    IDENTITY,
    MethodDef {
        name: "zeros",
        aliases: &[],
        doc: "zeros of a shape",
        params: &[SHAPE, F32],
        build: |b, a| filled(b, a, 0.0),
    },
    MethodDef {
        name: "ones",
        aliases: &[],
        doc: "ones of a shape",
        params: &[SHAPE, F32],
        build: |b, a| filled(b, a, 1.0),
    },
    MethodDef {
        name: "full",
        aliases: &[],
        doc: "one value in a shape",
        params: &[
            Param::required("shape", Kind::Shape, "the shape"),
            Param::required("value", Kind::Float, "the value of every element"),
            F32,
        ],
        build: |b, a| filled(b, a, a.float("value")),
    },
    MethodDef {
        name: "arange",
        aliases: &[],
        doc: "0, 1, .. below a size",
        params: &[
            Param::required("size", Kind::Dim, "how many"),
            Param::optional("dtype", Kind::DType, Default::DType(DType::I64), "the element type"),
        ],
        build: |b, a| {
            let size = a.dim("size");
            sizes(a, "size", std::slice::from_ref(&size))?;
            made(iota(b, a.dtype("dtype").unwrap_or(DType::I64), &[size], 0))
        },
    },
    MethodDef {
        name: "eye",
        aliases: &[],
        doc: "the identity matrix of a size",
        params: &[Param::required("size", Kind::Dim, "rows and columns"), F32],
        build: eye,
    },
    MethodDef {
        name: "randn",
        aliases: &[],
        doc: "independent normal numbers of mean 0 and standard deviation 1, new in every call",
        params: &[SHAPE, F32],
        build: |b, a| random(b, a, "normal"),
    },
    MethodDef {
        name: "rand",
        aliases: &["uniform"],
        doc: "independent numbers uniform in [0, 1), new in every call",
        params: &[SHAPE, F32],
        build: |b, a| random(b, a, "uniform"),
    },
    MethodDef {
        name: "size",
        aliases: &["dim"],
        doc: "the size of an axis, as a number",
        params: &[X, Param::required("axis", Kind::Axis, "the axis; -1 is the last")],
        build: |b, a| {
            let x = a.tensor("x");
            Ok(Value::Int(b.shape(x)[a.axis("axis", b.rank(x))?].clone()))
        },
    },
    MethodDef {
        name: "rank",
        aliases: &["ndim"],
        doc: "the number of axes",
        params: &[X],
        build: |b, a| Ok(Value::Int(Dim::from(b.rank(a.tensor("x"))))),
    },
];

/// Refuses sizes known to be below one.
fn sizes(args: &Args, name: &str, shape: &[Dim]) -> Result<(), super::error::ArgError> {
    match shape.iter().find(|d| d.as_const().is_some_and(|c| c < 1)) {
        Some(bad) => Err(args.error(name, format!("every size must be at least 1, but one is {bad}"))),
        None => Ok(()),
    }
}

fn filled(b: &mut Builder, args: &Args, value: f64) -> Made {
    let shape = args.shape("shape");
    sizes(args, "shape", &shape)?;
    let c = b.constant(args.dtype("dtype").unwrap_or(DType::F32), value);
    made(b.broadcast(c, &shape))
}

fn eye(b: &mut Builder, args: &Args) -> Made {
    let shape = [args.dim("size"), args.dim("size")];
    sizes(args, "size", &shape)?;
    let (row, column) = (iota(b, DType::I64, &shape, 0)?, iota(b, DType::I64, &shape, 1)?);
    let same = b.eq(row, column)?;
    made(b.cast(same, args.dtype("dtype").unwrap_or(DType::F32)))
}

fn random(b: &mut Builder, args: &Args, dist: &str) -> Made {
    let shape = args.shape("shape");
    sizes(args, "shape", &shape)?;
    let dtype = args.dtype("dtype").unwrap_or(DType::F32);
    if !dtype.is_float() {
        return Err(args.error("dtype", format!("random numbers are f32 or f64, not {dtype}")).into());
    }
    made(b.random(dist, dtype, &shape))
}
