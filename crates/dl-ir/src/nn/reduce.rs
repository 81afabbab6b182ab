//! Reductions over axes.

use super::args::Args;
use super::common::{LAST_AXIS, Made, X, floats, iota, kept, made};
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
    "var" [], [AXES, CORRECTION, KEEP], "the variance over axes", |b, a| {
        let correction = a.int("correction");
        on_floats(b, a, |b, x, over, keep| variance(b, x, over, correction, keep))
    };
    "std" [], [AXES, CORRECTION, KEEP], "the standard deviation over axes", |b, a| {
        let correction = a.int("correction");
        on_floats(b, a, |b, x, over, keep| {
            let var = variance(b, x, over, correction, keep)?;
            b.sqrt(var)
        })
    };
    "norm" [], [AXES,
        Param::optional("p", Kind::Float, Default::Float(2.0), "the order: 1, 2 or any other positive number"), KEEP],
        "the p-norm over axes: (sum of |x|^p)^(1/p)", norm;
    "logsumexp" [], [AXES, KEEP], "log(sum of e^x) over axes, without overflow", |b, a| on_floats(b, a, logsumexp);
    "argmax" [], [AXIS, KEEP],
        "the index (i64) of the first largest element", |b, a| arg_extreme(b, a, false);
    "argmin" [], [AXIS, KEEP],
        "the index (i64) of the first smallest element", |b, a| arg_extreme(b, a, true);
    "all" [], [AXES, KEEP], "whether all are true", |b, a| truth(b, a, Op::ReduceMin);
    "any" [], [AXES, KEEP], "whether any is true", |b, a| truth(b, a, Op::ReduceMax);
    "cumsum" [], [LAST_AXIS], "the running sum along an axis, as a product with a triangular matrix", cumsum;
    "normalize" [], [LAST_AXIS,
        Param::optional("eps", Kind::Float, Default::Float(1e-12), "the least length divided by")],
        "x divided by its Euclidean length along an axis", normalize;
}

/// The mean of squared distances from the mean, with `count - correction` for the count.
pub fn variance(b: &mut Builder, x: NodeId, over: &[usize], correction: i64, keep: bool) -> Built {
    let mean = b.mean(x, over, true)?;
    let centred = b.sub(x, mean)?;
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

fn fold(b: &mut Builder, args: &Args, op: Op) -> Made {
    let x = args.tensor("x");
    if b.dtype(x) == DType::Bool {
        let fix = Some("see `all`, `any` and `sum`".to_string());
        return Err(CallError::DType { input: 0, expected: "numbers".into(), found: b.ty(x).clone(), fix });
    }
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
    let p = args.float("p");
    if p.is_nan() || p <= 0.0 || p.is_infinite() {
        return Err(args.error("p", format!("`p` must be a positive number, but it is {p}")).into());
    }
    on_floats(b, args, |b, x, over, keep| length(b, x, over, keep, p))
}

/// The norm of power `p` over axes.
pub fn length(b: &mut Builder, x: NodeId, over: &[usize], keep: bool, p: f64) -> Built {
    if p == 2.0 {
        let squares = b.mul(x, x)?;
        let sum = b.sum(squares, over, keep)?;
        return b.sqrt(sum);
    }
    let size = b.abs(x)?;
    if p == 1.0 {
        return b.sum(size, over, keep);
    }
    let (p_node, inverse) = (b.constant(b.dtype(x), p), b.constant(b.dtype(x), 1.0 / p));
    let powers = b.pow(size, p_node)?;
    let sum = b.sum(powers, over, keep)?;
    b.pow(sum, inverse)
}

/// The maximum is taken out before the exponential, unless it is infinite: then nothing need be, and
/// `inf - inf` is NaN.
fn logsumexp(b: &mut Builder, x: NodeId, over: &[usize], keep: bool) -> Built {
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
    let all = args.get("axis").is_none();
    let axis = if all { 0 } else { args.axis("axis", b.rank(x))? };
    let kept = if all { vec![Dim::ONE; b.rank(x)] } else { kept(b, x, &[axis]) };
    if all {
        let elements = b.ty(x).elements();
        x = b.reshape(x, &[elements])?;
    }
    if smallest {
        x = b.neg(x)?;
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

fn cumsum(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let dtype = floats(b, 0, x)?;
    let rank = b.rank(x);
    let axis = args.axis("axis", rank)?;
    let n = b.shape(x)[axis].clone();
    let square = [n.clone(), n];
    let (row, column) = (iota(b, DType::I64, &square, 0)?, iota(b, DType::I64, &square, 1)?);
    let triangle = b.le(row, column)?;
    let triangle = b.cast(triangle, dtype)?;
    let sums = b.dot(x, triangle, &[], &[(axis, 0)])?;
    // The summed axis comes out last; it goes back to its place.
    let perm: Vec<usize> = (0..rank).map(|a| if a == axis { rank - 1 } else { a - usize::from(a > axis) }).collect();
    made(b.transpose(sums, &perm))
}

fn normalize(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let dtype = floats(b, 0, x)?;
    let axis = args.axis("axis", b.rank(x))?;
    let squares = b.mul(x, x)?;
    let sum = b.sum(squares, &[axis], true)?;
    let least = b.constant(dtype, args.float("eps").powi(2));
    let sum = b.max(sum, least)?;
    let length = b.sqrt(sum)?;
    made(b.div(x, length))
}
