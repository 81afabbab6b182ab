//! Reductions over axes.

use super::args::Args;
use super::common::{LAST_AXIS, Made, X, at_nothing, floats, kept, length, made, shift, with_constant};
use super::error::CallError;
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use crate::attrs::Attrs;
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::op::Op;
use crate::types::DType;

const AXES: Param = Param::optional("axis", Kind::Axes, Default::Absent, "an axis or a list of axes; all if left out");
const AXIS: Param =
    Param::optional("axis", Kind::Axis, Default::Absent, "the axis; of all elements in order if left out");
const KEEP: Param = Param::optional("keep", Kind::Bool, Default::Bool(false), "whether the axes stay, with size 1");
const CORRECTION: Param = Param::optional(
    "correction",
    Kind::Int,
    Default::Int(1),
    "taken from the count: 1 for the unbiased estimate, 0 for none",
);

macro_rules! reductions {
    ($($name:literal $aliases:tt, [$($param:expr),*], $doc:literal, $build:expr;)*) => {
        /// The methods of this file.
        pub const METHODS: &[MethodDef] = &[
            $(MethodDef { name: $name, aliases: &$aliases, doc: $doc, params: &[X, $($param),*], build: $build }),*
        ];
    };
}

reductions! {
    "sum" [], [AXES, KEEP], "the sum over axes; of bool, how many are true", sum;
    "prod" [], [AXES, KEEP], "the product over axes", |b, a| fold(b, a, Op::ReduceProd);
    "max" ["amax"], [AXES, KEEP], "the largest over axes; NaN if there is one", |b, a| fold(b, a, Op::ReduceMax);
    "min" ["amin"], [AXES, KEEP], "the smallest over axes; NaN if there is one", |b, a| fold(b, a, Op::ReduceMin);
    "mean" [], [AXES, KEEP], "the mean over axes", |b, a| on_floats(b, a, |b, x, over, keep| b.mean(x, over, keep));
    "var" [], [AXES, CORRECTION, KEEP], "the variance over axes: sum((x - mean)^2) / (count - correction)", |b, a| {
        let correction = a.int("correction");
        on_floats(b, a, |b, x, over, keep| variance(b, x, over, correction, keep))
    };
    "std" [], [AXES, CORRECTION, KEEP], "the standard deviation over axes, sqrt(var(x))", |b, a| {
        let correction = a.int("correction");
        on_floats(b, a, |b, x, over, keep| {
            let var = variance(b, x, over, correction, keep)?;
            b.sqrt(var)
        })
    };
    "norm" [], [AXES,
        Param::optional("p", Kind::FloatOr(&["fro", "inf", "-inf"]), Default::Float(2.0),
            "the order: a number from 0 on, \"inf\" for the largest size, \"-inf\" for the least, or \"fro\" for 2"), KEEP],
        "the p-norm over axes: (sum of |x|^p)^(1/p), of order 0 how many elements are not 0", norm;
    "logsumexp" [], [AXES, KEEP], "log(sum of e^x) over axes, without overflow", |b, a| on_floats(b, a, logsumexp);
    "argmax" [], [AXIS, KEEP],
        "the index (i64) of the first largest element", |b, a| arg_extreme(b, a, false);
    "argmin" [], [AXIS, KEEP],
        "the index (i64) of the first smallest element", |b, a| arg_extreme(b, a, true);
    "count_nonzero" [], [AXES, KEEP], "how many elements are not 0 (i64)", count_nonzero;
    "var_mean" [], [AXES, CORRECTION, KEEP], "the variance and the mean over axes", |b, a| with_mean(b, a, false);
    "std_mean" [], [AXES, CORRECTION, KEEP], "the standard deviation and the mean over axes",
        |b, a| with_mean(b, a, true);
    "all" [], [AXES, KEEP], "whether all are true", |b, a| truth(b, a, Op::ReduceMin);
    "any" [], [AXES, KEEP], "whether any is true", |b, a| truth(b, a, Op::ReduceMax);
    "normalize" [], [LAST_AXIS,
        Param::optional("eps", Kind::Float, Default::Float(1e-12), "the least length divided by"),
        Param::optional("p", Kind::Float, Default::Float(2.0), "the order of the length, above 0")],
        "x divided by its length along an axis", normalize;
}

/// The mean of squared distances from the mean, with `count - correction` for the count. The mean passes no gradient
/// on: it would be the sum of all distances from it, which is 0.
pub fn variance(b: &mut Builder, x: NodeId, over: &[usize], correction: i64, keep: bool) -> Built {
    let mean = b.mean(x, over, true)?;
    let fixed = b.detach(mean)?;
    let centred = b.sub(x, fixed)?;
    let squares = b.mul(centred, centred)?;
    if correction == 0 {
        return b.mean(squares, over, keep);
    }
    let count = over.iter().fold(Dim::ONE, |n, &a| n * b.shape(x)[a].clone()) - Dim::from(correction);
    let (sum, count) = (b.sum(squares, over, keep)?, b.dim_value(&count, b.dtype(x))?);
    b.div(sum, count)
}

fn sum(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let axes = args.axes("axis", b.rank(x))?;
    let x = if b.dtype(x) == DType::Bool { b.cast(x, DType::I64)? } else { x };
    made(b.sum(x, &axes, args.bool("keep")))
}

/// Refuses bools, which have no order and no product.
fn numbers(b: &Builder, x: NodeId) -> Result<(), CallError> {
    if b.dtype(x) != DType::Bool {
        return Ok(());
    }
    let fix = Some("see `all`, `any` and `sum`".to_string());
    Err(CallError::DType { input: 0, expected: "numbers".into(), found: b.ty(x).clone(), fix })
}

fn fold(b: &mut Builder, args: &Args, op: Op) -> Made {
    let x = args.tensor("x");
    numbers(b, x)?;
    let axes = args.axes("axis", b.rank(x))?;
    made(b.reduce(op, x, &axes, args.bool("keep")))
}

fn on_floats(b: &mut Builder, args: &Args, f: impl Fn(&mut Builder, NodeId, &[usize], bool) -> Built) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    let axes = args.axes("axis", b.rank(x))?;
    made(f(b, x, &axes, args.bool("keep")))
}

fn norm(b: &mut Builder, args: &Args) -> Made {
    let p = match args.word("p") {
        "inf" => f64::INFINITY,
        "-inf" => f64::NEG_INFINITY,
        "fro" => 2.0,
        _ => args.float("p"),
    };
    if p.is_nan() || (p < 0.0 && p.is_finite()) {
        let message = format!("`p` must be a number from 0 on, \"inf\", \"-inf\" or \"fro\", but it is {p}");
        return Err(args.error("p", message).into());
    }
    on_floats(b, args, |b, x, over, keep| p_norm(b, x, p, over, keep))
}

/// The p-norm over axes, with gradient 0 where all is 0.
pub fn p_norm(b: &mut Builder, x: NodeId, p: f64, over: &[usize], keep: bool) -> Built {
    if p == 2.0 {
        return length(b, x, over, keep);
    }
    if p == 0.0 {
        let there = with_constant(b, Op::Ne, x, 0.0)?;
        let counts = b.cast(there, b.dtype(x))?;
        return b.sum(counts, over, keep);
    }
    let size = b.abs(x)?;
    if p.is_infinite() {
        return b.reduce(if p > 0.0 { Op::ReduceMax } else { Op::ReduceMin }, size, over, keep);
    }
    if p == 1.0 {
        return b.sum(size, over, keep);
    }
    let powers = at_nothing(b, size, |b, size| with_constant(b, Op::Pow, size, p))?;
    let sum = b.sum(powers, over, keep)?;
    at_nothing(b, sum, |b, sum| with_constant(b, Op::Pow, sum, 1.0 / p))
}

fn count_nonzero(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let axes = args.axes("axis", b.rank(x))?;
    let there = b.cast(x, DType::Bool)?;
    let counts = b.cast(there, DType::I64)?;
    made(b.sum(counts, &axes, args.bool("keep")))
}

fn with_mean(b: &mut Builder, args: &Args, root: bool) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    let (axes, keep) = (args.axes("axis", b.rank(x))?, args.bool("keep"));
    let mut spread = variance(b, x, &axes, args.int("correction"), keep)?;
    if root {
        spread = b.sqrt(spread)?;
    }
    let mean = b.mean(x, &axes, keep)?;
    Ok(vec![spread, mean].into())
}

/// The maximum is taken out before the exponential, unless it is infinite: then nothing need be, and
/// `inf - inf` is NaN.
pub fn logsumexp(b: &mut Builder, x: NodeId, over: &[usize], keep: bool) -> Built {
    let max = b.reduce(Op::ReduceMax, x, over, true)?;
    let max = b.detach(max)?;
    let (size, zero, infinity) = (b.abs(max)?, b.constant(b.dtype(x), 0.0), b.constant(b.dtype(x), f64::INFINITY));
    let infinite = b.eq(size, infinity)?;
    let max = b.select(infinite, zero, max)?;
    let shifted = b.sub(x, max)?;
    let exp = b.exp(shifted)?;
    let sum = b.sum(exp, over, true)?;
    let log = b.log(sum)?;
    let y = b.add(log, max)?;
    if keep {
        return Ok(y);
    }
    let rest: Vec<Dim> = (0..b.rank(x)).filter(|a| !over.contains(a)).map(|a| b.shape(x)[a].clone()).collect();
    b.reshape(y, &rest)
}

fn arg_extreme(b: &mut Builder, args: &Args, smallest: bool) -> Made {
    let mut x = args.tensor("x");
    numbers(b, x)?;
    let all = args.get("axis").is_none();
    let axis = if all { 0 } else { args.axis("axis", b.rank(x))? };
    let kept = if all { vec![Dim::ONE; b.rank(x)] } else { kept(b, x, &[axis]) };
    if all {
        let elements = b.ty(x).elements();
        x = b.reshape(x, &[elements])?;
    }
    if smallest {
        // Whole numbers as -1 - x, which is there for the least one too.
        if b.dtype(x) == DType::U8 {
            x = b.cast(x, DType::I64)?;
        }
        let float = b.dtype(x).is_float();
        x = b.neg(x)?;
        if !float {
            x = shift(b, x, -1.0)?;
        }
    }
    let index = b.push(Op::ArgMax, &[x], Attrs::new().int("axis", axis as i64))?;
    made(if args.bool("keep") { b.reshape(index, &kept) } else { Ok(index) })
}

fn truth(b: &mut Builder, args: &Args, op: Op) -> Made {
    let x = args.tensor("x");
    if b.dtype(x) != DType::Bool {
        let fix = Some("compare first: `x != 0`".to_string());
        return Err(CallError::DType { input: 0, expected: "bool".into(), found: b.ty(x).clone(), fix });
    }
    let axes = args.axes("axis", b.rank(x))?;
    let numbers = b.cast(x, DType::I64)?;
    let folded = b.reduce(op, numbers, &axes, args.bool("keep"))?;
    made(b.cast(folded, DType::Bool))
}

fn normalize(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let dtype = floats(b, 0, x)?;
    let axis = args.axis("axis", b.rank(x))?;
    let (p, eps) = (args.float("p"), args.float("eps"));
    if p.is_nan() || p <= 0.0 {
        return Err(args.error("p", format!("`p` must be above 0, but it is {p}")).into());
    }
    let size = if p == 2.0 {
        // The square root never sees less, so that its gradient stays finite.
        let squares = b.mul(x, x)?;
        let sum = b.sum(squares, &[axis], true)?;
        let least = b.constant(dtype, eps.powi(2));
        let sum = b.max(sum, least)?;
        b.sqrt(sum)?
    } else {
        let (norm, least) = (p_norm(b, x, p, &[axis], true)?, b.constant(dtype, eps));
        b.max(norm, least)?
    };
    made(b.div(x, size))
}
