//! Functions of single elements that are put together from others.

use super::args::Args;
use super::common::{Made, X, elementwise, floats, made, operand, scale, shift, types, with_constant};
use super::elementwise::{LEFT, RIGHT, at_least, at_most, pair};
use super::error::CallError;
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use super::value::Value;
use crate::build::{Builder, Built};
use crate::graph::NodeId;
use crate::op::Op;
use crate::types::DType;

macro_rules! unary {
    ($name:literal $aliases:tt, $doc:literal, $build:expr) => {
        MethodDef {
            name: $name,
            aliases: &$aliases,
            doc: $doc,
            params: &[X],
            build: |b, a| {
                let x = a.tensor("x");
                floats(b, 0, x)?;
                let f: fn(&mut Builder, NodeId) -> Built = $build;
                made(f(b, x))
            },
        }
    };
}

macro_rules! binary {
    ($name:literal $aliases:tt, $doc:literal, $build:expr) => {
        MethodDef { name: $name, aliases: &$aliases, doc: $doc, params: &[LEFT, RIGHT], build: $build }
    };
}

const fn constant(name: &'static str, default: Default, doc: &'static str) -> Param {
    Param::optional(name, Kind::Float, default, doc)
}

/// The methods of this file.
pub const METHODS: &[MethodDef] = &[
    unary!("trunc"["fix"], "x without what is behind the point; no gradient", trunc),
    unary!("frac" [], "what is behind the point, with x's sign", |b, x| {
        let whole = trunc(b, x)?;
        let whole = b.detach(whole)?;
        b.sub(x, whole)
    }),
    unary!("exp2" [], "2^x", |b, x| {
        let two = b.constant(b.dtype(x), 2.0);
        b.pow(two, x)
    }),
    unary!("log2" [], "the logarithm of base 2", |b, x| logarithm(b, x, std::f64::consts::LN_2)),
    unary!("log10" [], "the logarithm of base 10", |b, x| logarithm(b, x, std::f64::consts::LN_10)),
    unary!("sinh" [], "the hyperbolic sine", |b, x| {
        let minus = b.neg(x)?;
        let (up, down) = (b.expm1(x)?, b.expm1(minus)?);
        let d = b.sub(up, down)?;
        scale(b, d, 0.5)
    }),
    unary!("cosh" [], "the hyperbolic cosine", |b, x| {
        let minus = b.neg(x)?;
        let (up, down) = (b.exp(x)?, b.exp(minus)?);
        let sum = b.add(up, down)?;
        scale(b, sum, 0.5)
    }),
    unary!("asin"["arcsin"], "the angle in radians, between -pi/2 and pi/2, whose sine is x; NaN beyond 1", |b, x| {
        let cosine = other_leg(b, x)?;
        b.atan2(x, cosine)
    }),
    unary!("acos"["arccos"], "the angle in radians, between 0 and pi, whose cosine is x; NaN beyond 1", |b, x| {
        let sine = other_leg(b, x)?;
        b.atan2(sine, x)
    }),
    unary!("asinh"["arcsinh"], "the inverse hyperbolic sine", |b, x| odd(b, x, |b, x| {
        // log(x + sqrt(x^2 + 1)), near 0 as log1p(x + x^2 / (1 + sqrt(x^2 + 1))); of large x as log(2 x).
        const LARGE: f64 = 1e9;
        let near = at_most(b, x, LARGE)?;
        let square = b.mul(near, near)?;
        let more = shift(b, square, 1.0)?;
        let root = b.sqrt(more)?;
        let divisor = shift(b, root, 1.0)?;
        let rest = b.div(square, divisor)?;
        let sum = b.add(near, rest)?;
        let near = b.log1p(sum)?;
        let far = at_least(b, x, LARGE)?;
        let far = b.log(far)?;
        let far = shift(b, far, std::f64::consts::LN_2)?;
        let large = with_constant(b, Op::Lt, x, LARGE)?;
        b.select(large, near, far)
    })),
    unary!("acosh"["arccosh"], "the inverse hyperbolic cosine; NaN below 1", |b, x| {
        // log(x + sqrt(x^2 - 1)), exact near 1.
        let (less, more) = (shift(b, x, -1.0)?, shift(b, x, 1.0)?);
        let (left, right) = (b.sqrt(less)?, b.sqrt(more)?);
        let root = b.mul(left, right)?;
        let sum = b.add(less, root)?;
        b.log1p(sum)
    }),
    unary!("atanh"["arctanh"], "the inverse hyperbolic tangent; NaN beyond 1", |b, x| odd(b, x, |b, x| {
        let one = b.constant(b.dtype(x), 1.0);
        let (rest, twice) = (b.sub(one, x)?, scale(b, x, 2.0)?);
        let quotient = b.div(twice, rest)?;
        let log = b.log1p(quotient)?;
        scale(b, log, 0.5)
    })),
    unary!("isinf"["is_inf"], "whether x is infinite, as bool", infinite),
    unary!("isfinite"["is_finite"], "whether x is neither NaN nor infinite, as bool", |b, x| {
        let size = b.abs(x)?;
        with_constant(b, Op::Lt, size, f64::INFINITY)
    }),
    MethodDef {
        name: "nan_to_num",
        aliases: &[],
        doc: "x with numbers in place of NaN and infinities",
        params: &[
            X,
            constant("nan", Default::Float(0.0), "in place of NaN"),
            constant("posinf", Default::Absent, "in place of infinity; by default the largest number"),
            constant("neginf", Default::Absent, "in place of -infinity; by default the least number"),
        ],
        build: nan_to_num,
    },
    MethodDef {
        name: "logit",
        aliases: &[],
        doc: "log(x / (1 - x)), the inverse of the sigmoid",
        params: &[X, constant("eps", Default::Float(0.0), "x is held between eps and 1 - eps")],
        build: logit,
    },
    binary!("fmod" [], "the remainder of x / y with x's sign, broadcast; see `rem`", fmod),
    binary!("floor_divide"["floor_div"], "x / y rounded down, broadcast; no gradient", floor_divide),
    binary!("hypot" [], "sqrt(x^2 + y^2), broadcast, without overflow", hypot),
    binary!("logaddexp" [], "log(e^x + e^y), broadcast, without overflow", logaddexp),
    binary!("xlogy" [], "x * log(y), broadcast, and 0 where x is 0", xlogy),
    binary!("xor"["logical_xor"], "logical exclusive or, of bool, broadcast", xor),
    MethodDef {
        name: "lerp",
        aliases: &[],
        doc: "x + weight * (end - x), broadcast",
        params: &[
            X,
            Param::required("end", Kind::Operand, "what weight 1 gives"),
            Param::required("weight", Kind::Operand, "how far from x to the end"),
        ],
        build: |b, a| {
            let x = a.tensor("x");
            let dtype = floats(b, 0, x)?;
            let (end, weight) = (operand(b, a, "end", dtype)?, operand(b, a, "weight", dtype)?);
            // x - weight * (x - end), the same number: so errors name the operands in the order of the call.
            let distance = elementwise(b, Op::Sub, &[x, end])?;
            let part = elementwise(b, Op::Mul, &[distance, weight])?;
            elementwise(b, Op::Sub, &[x, part]).map(Value::Tensor)
        },
    },
    MethodDef {
        name: "addcmul",
        aliases: &[],
        doc: "x + value * tensor1 * tensor2, broadcast",
        params: &[X, FIRST, SECOND, constant("value", Default::Float(1.0), "the factor")],
        build: |b, a| add_combined(b, a, Op::Mul),
    },
    MethodDef {
        name: "addcdiv",
        aliases: &[],
        doc: "x + value * tensor1 / tensor2, broadcast",
        params: &[X, FIRST, SECOND, constant("value", Default::Float(1.0), "the factor")],
        build: |b, a| add_combined(b, a, Op::Div),
    },
];

const FIRST: Param = Param::required("tensor1", Kind::Tensor, "the first tensor");
const SECOND: Param = Param::required("tensor2", Kind::Tensor, "the second tensor");

fn trunc(b: &mut Builder, x: NodeId) -> Built {
    let zero = b.constant(b.dtype(x), 0.0);
    let (negative, up, down) = (b.lt(x, zero)?, b.ceil(x)?, b.floor(x)?);
    b.select(negative, up, down)
}

fn logarithm(b: &mut Builder, x: NodeId, base: f64) -> Built {
    let log = b.log(x)?;
    scale(b, log, 1.0 / base)
}

/// `sqrt(1 - x^2)`
fn other_leg(b: &mut Builder, x: NodeId) -> Built {
    let one = b.constant(b.dtype(x), 1.0);
    let (less, more) = (b.sub(one, x)?, b.add(one, x)?);
    let product = b.mul(less, more)?;
    b.sqrt(product)
}

/// The odd function that is `f` of numbers from 0 on. The gradient at 0 is that of `f`.
fn odd(b: &mut Builder, x: NodeId, f: fn(&mut Builder, NodeId) -> Built) -> Built {
    let zero = b.constant(b.dtype(x), 0.0);
    let (negative, minus) = (b.lt(x, zero)?, b.neg(x)?);
    let size = b.select(negative, minus, x)?;
    let y = f(b, size)?;
    let minus = b.neg(y)?;
    b.select(negative, minus, y)
}

fn infinite(b: &mut Builder, x: NodeId) -> Built {
    let size = b.abs(x)?;
    with_constant(b, Op::Eq, size, f64::INFINITY)
}

fn nan_to_num(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let dtype = floats(b, 0, x)?;
    let largest = if dtype == DType::F32 { f64::from(f32::MAX) } else { f64::MAX };
    let given = |name, default| if args.get(name).is_some() { args.float(name) } else { default };
    let (nan, high, low) = (args.float("nan"), given("posinf", largest), given("neginf", -largest));
    let (nan, high, low) = (b.constant(dtype, nan), b.constant(dtype, high), b.constant(dtype, low));
    let (is_nan, is_infinite) = (b.ne(x, x)?, infinite(b, x)?);
    let positive = with_constant(b, Op::Eq, x, f64::INFINITY)?;
    let end = b.select(positive, high, low)?;
    let y = b.select(is_infinite, end, x)?;
    made(b.select(is_nan, nan, y))
}

fn logit(b: &mut Builder, args: &Args) -> Made {
    let mut x = args.tensor("x");
    let dtype = floats(b, 0, x)?;
    let eps = args.float("eps");
    if !(0.0..0.5).contains(&eps) {
        return Err(args.error("eps", format!("`eps` must be from 0 to below 0.5, but it is {eps}")).into());
    }
    if eps > 0.0 {
        x = at_least(b, x, eps)?;
        x = at_most(b, x, 1.0 - eps)?;
    }
    let one = b.constant(dtype, 1.0);
    let rest = b.sub(one, x)?;
    let odds = b.div(x, rest)?;
    made(b.log(odds))
}

fn fmod(b: &mut Builder, args: &Args) -> Made {
    let (x, y) = pair(b, args)?;
    let zero = b.constant(b.dtype(x), 0.0);
    let rest = |b: &mut Builder, x: NodeId| -> Result<NodeId, CallError> {
        let size = b.abs(y)?;
        elementwise(b, Op::Rem, &[x, size])
    };
    if b.dtype(x) == DType::U8 {
        return elementwise(b, Op::Rem, &[x, y]).map(Value::Tensor);
    }
    let (negative, minus) = (b.lt(x, zero)?, b.neg(x)?);
    let size = b.select(negative, minus, x)?;
    let r = rest(b, size)?;
    let minus = b.neg(r)?;
    made(b.select(negative, minus, r))
}

fn floor_divide(b: &mut Builder, args: &Args) -> Made {
    let (x, y) = pair(b, args)?;
    if b.dtype(x).is_float() {
        let quotient = elementwise(b, Op::Div, &[x, y])?;
        return made(b.floor(quotient));
    }
    let rest = elementwise(b, Op::Rem, &[x, y])?;
    let whole = b.sub(x, rest)?;
    made(b.div(whole, y))
}

/// The larger side is taken out, so that no square overflows; no gradient need pass through it.
fn hypot(b: &mut Builder, args: &Args) -> Made {
    let (x, y) = pair(b, args)?;
    let dtype = floats(b, 0, x)?;
    let (wide, high) = (b.abs(x)?, b.abs(y)?);
    let side = elementwise(b, Op::Max, &[wide, high])?;
    let side = b.detach(side)?;
    let (zero, one) = (b.constant(dtype, 0.0), b.constant(dtype, 1.0));
    let (finite, there) = (with_constant(b, Op::Lt, side, f64::INFINITY)?, b.lt(zero, side)?);
    let usable = b.and(finite, there)?;
    let side = b.select(usable, side, one)?;
    let (x, y) = (b.div(x, side)?, b.div(y, side)?);
    let (xx, yy) = (b.mul(x, x)?, b.mul(y, y)?);
    let sum = b.add(xx, yy)?;
    let root = b.sqrt(sum)?;
    made(b.mul(root, side))
}

/// The larger is taken out before the exponential, unless it is infinite.
fn logaddexp(b: &mut Builder, args: &Args) -> Made {
    let (x, y) = pair(b, args)?;
    let dtype = floats(b, 0, x)?;
    let larger = elementwise(b, Op::Max, &[x, y])?;
    let larger = b.detach(larger)?;
    let zero = b.constant(dtype, 0.0);
    let infinite = infinite(b, larger)?;
    let larger = b.select(infinite, zero, larger)?;
    let (x, y) = (b.sub(x, larger)?, b.sub(y, larger)?);
    let (x, y) = (b.exp(x)?, b.exp(y)?);
    let sum = b.add(x, y)?;
    let log = b.log(sum)?;
    made(b.add(log, larger))
}

fn xlogy(b: &mut Builder, args: &Args) -> Made {
    let (x, y) = pair(b, args)?;
    let dtype = floats(b, 0, x)?;
    let (zero, one) = (b.constant(dtype, 0.0), b.constant(dtype, 1.0));
    // Where the logarithm is finite the gradient is it, so only the others are kept away.
    let (none, low, high) = (b.eq(x, zero)?, b.le(y, zero)?, with_constant(b, Op::Eq, y, f64::INFINITY)?);
    let end = b.or(low, high)?;
    let flat = b.elementwise(Op::And, &[none, end]).map_err(|e| CallError::of_operands(e, &types(b, &[x, y])))?;
    let safe = b.select(flat, one, y)?;
    let log = b.log(safe)?;
    made(b.mul(x, log))
}

fn xor(b: &mut Builder, args: &Args) -> Made {
    let (x, y) = pair(b, args)?;
    for (input, node) in [(0, x), (1, y)] {
        if b.dtype(node) != DType::Bool {
            let fix = Some("compare first: `x != 0`".to_string());
            return Err(CallError::DType { input, expected: "bool".into(), found: b.ty(node).clone(), fix });
        }
    }
    elementwise(b, Op::Ne, &[x, y]).map(Value::Tensor)
}

fn add_combined(b: &mut Builder, args: &Args, op: Op) -> Made {
    let (x, left, right) = (args.tensor("x"), args.tensor("tensor1"), args.tensor("tensor2"));
    floats(b, 0, x)?;
    let combined = elementwise(b, op, &[left, right]).map_err(|e| e.behind(1))?;
    let combined = scale(b, combined, args.float("value"))?;
    elementwise(b, Op::Add, &[x, combined]).map(Value::Tensor)
}
