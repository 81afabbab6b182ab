//! Tensors made from a shape alone.

use super::args::Args;
use super::common::{Made, X, floats, iota, made, operand, scale, shift};
use super::layer::LayerDef;
use super::method::MethodDef;
use super::order::permutation;
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
        name: "zeros_like",
        aliases: &[],
        doc: "zeros in the shape and element type of x",
        params: &[X],
        build: |b, a| made(b.full_like(a.tensor("x"), 0.0)),
    },
    MethodDef {
        name: "ones_like",
        aliases: &[],
        doc: "ones in the shape and element type of x",
        params: &[X],
        build: |b, a| made(b.full_like(a.tensor("x"), 1.0)),
    },
    MethodDef {
        name: "full_like",
        aliases: &[],
        doc: "one value in the shape and element type of x",
        params: &[X, Param::required("value", Kind::Operand, "the value of every element")],
        build: |b, a| {
            let x = a.tensor("x");
            let (value, shape) = (operand(b, a, "value", b.dtype(x))?, b.shape(x).to_vec());
            made(b.broadcast(value, &shape))
        },
    },
    MethodDef {
        name: "arange",
        aliases: &[],
        doc: "the numbers from `start` to below `end` in steps; from 0 to below the first argument if there is no other",
        params: &[
            Param::required("start", Kind::Dim, "the first number, or how many"),
            Param::optional("end", Kind::Dim, Default::Absent, "below which the numbers end"),
            Param::optional("step", Kind::Int, Default::Int(1), "from one number to the next, not 0"),
            Param::optional("dtype", Kind::DType, Default::DType(DType::I64), "the element type"),
        ],
        build: arange,
    },
    MethodDef {
        name: "linspace",
        aliases: &[],
        doc: "numbers from `start` to `end`, both included, equally far apart",
        params: &[
            Param::required("start", Kind::Float, "the first number"),
            Param::required("end", Kind::Float, "the last number"),
            Param::required("steps", Kind::Dim, "how many"),
            F32,
        ],
        build: linspace,
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
        name: "randint",
        aliases: &[],
        doc: "independent whole numbers from `low` to below `high`, each as likely, new in every call",
        params: &[
            Param::required("low", Kind::Int, "the least number"),
            Param::required("high", Kind::Int, "below which the numbers end, at most 2^24 above the least"),
            SHAPE,
            Param::optional("dtype", Kind::DType, Default::DType(DType::I64), "the element type"),
        ],
        build: randint,
    },
    MethodDef {
        name: "bernoulli",
        aliases: &[],
        doc: "1 with probability x and otherwise 0, new in every call; no gradient",
        params: &[X],
        build: |b, a| {
            let x = a.tensor("x");
            let dtype = floats(b, 0, x)?;
            let shape = b.shape(x).to_vec();
            let (draw, p) = (b.random("uniform", dtype, &shape)?, b.detach(x)?);
            let hit = b.lt(draw, p)?;
            made(b.cast(hit, dtype))
        },
    },
    MethodDef {
        name: "randperm",
        aliases: &[],
        doc: "the numbers from 0 to below `size` (i64) in random order, another one in every call",
        params: &[Param::required("size", Kind::Dim, "how many")],
        build: permutation,
    },
    MethodDef {
        name: "size",
        aliases: &[],
        doc: "the size of an axis, as a number",
        params: &[X, Param::required("axis", Kind::Axis, "the axis; -1 is the last")],
        build: |b, a| {
            let x = a.tensor("x");
            Ok(Value::Int(b.shape(x)[a.axis("axis", b.rank(x))?].clone()))
        },
    },
    MethodDef {
        name: "rank",
        aliases: &["dim", "ndim", "ndimension"],
        doc: "the number of axes",
        params: &[X],
        build: |b, a| Ok(Value::Int(Dim::from(b.rank(a.tensor("x"))))),
    },
    MethodDef {
        name: "numel",
        aliases: &["nelement"],
        doc: "the number of elements",
        params: &[X],
        build: |b, a| Ok(Value::Int(b.ty(a.tensor("x")).elements())),
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

fn arange(b: &mut Builder, args: &Args) -> Made {
    let (mut start, step) = (args.dim("start"), args.int("step"));
    let mut end = start.clone();
    if args.get("end").is_some() {
        end = args.dim("end");
    } else {
        start = Dim::from(0);
    }
    if step == 0 {
        return Err(args.error("step", "`step` must not be 0").into());
    }
    let (from, to) = if step > 0 { (&start, &end) } else { (&end, &start) };
    let width = step.saturating_abs();
    let span = to.clone() - from.clone() + Dim::from(width - 1);
    let size = span.floor_div(&Dim::from(width)).unwrap_or(span);
    if size.as_const().is_some_and(|c| c < 1) {
        let message = format!("there is no number from {start} to {end} in steps of {step}");
        return Err(args.error(if args.is_given("end") { "end" } else { "start" }, message).into());
    }
    let dtype = args.dtype("dtype").unwrap_or(DType::I64);
    let mut number = iota(b, DType::I64, &[size], 0)?;
    if step != 1 {
        number = scale(b, number, step as f64)?;
    }
    if !start.is(0) {
        let start = b.dim_value(&start, DType::I64)?;
        number = b.add(number, start)?;
    }
    made(b.cast(number, dtype))
}

/// From both ends to the middle, so that both are exact.
fn linspace(b: &mut Builder, args: &Args) -> Made {
    let (start, end, steps) = (args.float("start"), args.float("end"), args.dim("steps"));
    sizes(args, "steps", std::slice::from_ref(&steps))?;
    let dtype = args.dtype("dtype").unwrap_or(DType::F32);
    if !dtype.is_float() {
        return Err(args.error("dtype", format!("these numbers are f32 or f64, not {dtype}")).into());
    }
    let place = iota(b, dtype, std::slice::from_ref(&steps), 0)?;
    let last = b.dim_value(&(steps - Dim::ONE), dtype)?;
    // One number alone is the start.
    let (one, distance) = (b.constant(dtype, 1.0), b.constant(dtype, end - start));
    let parts = b.max(last, one)?;
    let step = b.div(distance, parts)?;
    let (back, half) = (b.sub(last, place)?, scale(b, last, 0.5)?);
    let (up, down) = (b.mul(place, step)?, b.mul(back, step)?);
    let (first, end) = (b.constant(dtype, start), b.constant(dtype, end));
    let (low, high) = (b.add(first, up)?, b.sub(end, down)?);
    let alone = b.le(last, half)?;
    let upper = b.lt(half, place)?;
    let far = b.select(upper, high, low)?;
    made(b.select(alone, low, far))
}

fn randint(b: &mut Builder, args: &Args) -> Made {
    let (low, high, shape) = (args.int("low"), args.int("high"), args.shape("shape"));
    sizes(args, "shape", &shape)?;
    const MOST: i64 = 1 << 24;
    let count = high.saturating_sub(low);
    if !(1..=MOST).contains(&count) {
        let message = format!("`high` must be above `low`, {low}, by at most {MOST}, but it is {high}");
        return Err(args.error("high", message).into());
    }
    let draw = b.random("uniform", DType::F64, &shape)?;
    let number = scale(b, draw, count as f64)?;
    let number = b.floor(number)?;
    let number = shift(b, number, low as f64)?;
    made(b.cast(number, args.dtype("dtype").unwrap_or(DType::I64)))
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
