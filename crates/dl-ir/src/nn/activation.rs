//! Activations: each is a method and a layer, from one entry.

use super::args::Args;
use super::common::{LAST_AXIS, Made, X, floats, iota, made, narrow, positive, scale, shift, unsqueeze, with_constant};
use super::elementwise::{at_least, at_most};
use super::error::CallError;
use super::layer::LayerDef;
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use crate::attrs::Attrs;
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::op::Op;
use crate::types::DType;

macro_rules! activations {
    ($($id:ident $layer:literal, $name:literal $aliases:tt, [$($param:expr),*], $doc:literal, $build:expr;)*) => {
        $(const $id: MethodDef = MethodDef {
            name: $name,
            aliases: &$aliases,
            doc: $doc,
            params: &[X, $($param),*],
            build: $build,
        };)*
        /// The activations as methods.
        pub const METHODS: &[MethodDef] = &[$($id),*];
        /// The activations as layers.
        pub const LAYERS: &[LayerDef] = &[$(LayerDef::of($layer, &$id)),*];
    };
}

const fn number(name: &'static str, default: f64, doc: &'static str) -> Param {
    Param::optional(name, Kind::Float, Default::Float(default), doc)
}

const APPROXIMATE: Param = Param::optional(
    "approximate",
    Kind::Word(&["none", "tanh"]),
    Default::Word("none"),
    "\"tanh\" for the approximation of GPT-2",
);

activations! {
    RELU "Relu", "relu" [], [], "x where positive, else 0", |b, a| on_floats(b, a, relu);
    RELU6 "Relu6", "relu6" [], [], "x held between 0 and 6", |b, a| on_floats(b, a, relu6);
    LEAKY_RELU "LeakyRelu", "leaky_relu" [], [number("slope", 0.01, "the slope below 0")],
        "x where positive, else slope * x", leaky_relu;
    ELU "Elu", "elu" [], [number("alpha", 1.0, "the distance of the lower limit from 0")],
        "x where positive, else alpha * (e^x - 1)", |b, a| elu(b, a, 1.0, a.float("alpha"), 1.0);
    CELU "Celu", "celu" [], [number("alpha", 1.0, "the distance of the lower limit from 0")],
        "x where positive, else alpha * (e^(x / alpha) - 1)", celu;
    SELU "Selu", "selu" [], [],
        "1.0507 * (x where positive, else 1.6733 * (e^x - 1)), which keeps mean 0 and variance 1 (Klambauer et al. 2017)", |b, a| elu(b, a, SELU_SCALE, SELU_ALPHA, 1.0);
    GELU "Gelu", "gelu" [], [APPROXIMATE],
        "x * Phi(x), with the distribution function of normal numbers: x / 2 * (1 + erf(x / sqrt(2)))", gelu_of;
    SILU "Silu", "silu" ["swish"], [], "x * sigmoid(x)", |b, a| on_floats(b, a, silu);
    MISH "Mish", "mish" [], [], "x * tanh(softplus(x))", |b, a| on_floats(b, a, mish);
    SOFTPLUS "Softplus", "softplus" [], [], "log(1 + e^x)", |b, a| on_floats(b, a, softplus);
    SOFTSIGN "Softsign", "softsign" [], [], "x / (1 + |x|)", |b, a| on_floats(b, a, softsign);
    SIGMOID "Sigmoid", "sigmoid" [], [], "1 / (1 + e^-x)", |b, a| on_floats(b, a, Builder::sigmoid);
    LOG_SIGMOID "LogSigmoid", "log_sigmoid" ["logsigmoid"], [], "log(sigmoid(x))", |b, a| on_floats(b, a, log_sigmoid);
    TANH "Tanh", "tanh" [], [], "the hyperbolic tangent", |b, a| on_floats(b, a, Builder::tanh);
    HARD_TANH "HardTanh", "hard_tanh" ["hardtanh"], [], "x held between -1 and 1", |b, a| on_floats(b, a, hard_tanh);
    HARD_SIGMOID "HardSigmoid", "hard_sigmoid" ["hardsigmoid"], [],
        "(x + 3) / 6 held between 0 and 1", |b, a| on_floats(b, a, hard_sigmoid);
    HARD_SWISH "HardSwish", "hard_swish" ["hardswish"], [], "x * hard_sigmoid(x)", |b, a| on_floats(b, a, hard_swish);
    SOFTMAX "Softmax", "softmax" [], [LAST_AXIS], "e^x / sum of e^x along the axis", |b, a| along_axis(b, a, softmax);
    LOG_SOFTMAX "LogSoftmax", "log_softmax" [], [LAST_AXIS],
        "log(softmax(x)) along the axis", |b, a| along_axis(b, a, log_softmax);
    SOFTMIN "Softmin", "softmin" [], [LAST_AXIS], "softmax(-x) along the axis", |b, a| along_axis(b, a, |b, x, axis| {
        let minus = b.neg(x)?;
        softmax(b, minus, axis)
    });
    SOFTMAX2D "Softmax2d", "softmax2d" [], [], "softmax over the channels of [.., C, H, W]", softmax2d;
    GUMBEL "GumbelSoftmax", "gumbel_softmax" [], [
        number("tau", 1.0, "the temperature: the lower, the nearer to one element alone"),
        Param::optional("hard", Kind::Bool, Default::Bool(false),
            "whether the result is 1 for one element and 0 for the others, with the gradient of the soft one"),
        LAST_AXIS],
        "a draw from the distribution with logits x, new in every call, by Gumbel noise (Jang et al. 2017)", gumbel;
    THRESHOLD "Threshold", "threshold" [], [
        Param::required("threshold", Kind::Float, "what x must be above"),
        Param::required("value", Kind::Float, "what it is elsewhere")],
        "x where above the threshold, else the value", |b, a| {
            let (x, least) = (a.tensor("x"), a.float("threshold"));
            let (least, value) = (b.constant(floats(b, 0, x)?, least), b.constant(b.dtype(x), a.float("value")));
            let above = b.lt(least, x)?;
            made(b.select(above, x, value))
        };
    SOFT_SHRINK "Softshrink", "soft_shrink" ["softshrink"], [number("lambda", 0.5, "how far x moves towards 0")],
        "x moved towards 0 by lambda, at most to 0", |b, a| shrink(b, a, true);
    HARD_SHRINK "Hardshrink", "hard_shrink" ["hardshrink"], [number("lambda", 0.5, "the size up to which x is 0")],
        "x where larger in size than lambda, else 0", |b, a| shrink(b, a, false);
    TANH_SHRINK "Tanhshrink", "tanh_shrink" ["tanhshrink"], [], "x - tanh(x)", |b, a| on_floats(b, a, |b, x| {
        let bent = b.tanh(x)?;
        b.sub(x, bent)
    });
    GLU "Glu", "glu" [], [LAST_AXIS], "the first half of the axis times the sigmoid of the second", |b, a| glu(b, a);
}

const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

fn on_floats(b: &mut Builder, args: &Args, f: fn(&mut Builder, NodeId) -> Built) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    made(f(b, x))
}

fn along_axis(b: &mut Builder, args: &Args, f: fn(&mut Builder, NodeId, usize) -> Built) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    let axis = args.axis("axis", b.rank(x))?;
    made(f(b, x, axis))
}

/// `max(x, 0)` with gradient 0 at 0.
pub fn relu(b: &mut Builder, x: NodeId) -> Built {
    let zero = b.constant(b.dtype(x), 0.0);
    let off = b.le(x, zero)?;
    b.select(off, zero, x)
}

fn relu6(b: &mut Builder, x: NodeId) -> Built {
    let x = relu(b, x)?;
    at_most(b, x, 6.0)
}

fn leaky_relu(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    let (on, below) = (positive(b, x)?, scale(b, x, args.float("slope"))?);
    made(b.select(on, x, below))
}

/// `scale * (x where positive, else alpha * (e^(x / width) - 1))`. The exponent sees no positive x, which could
/// overflow and turn the unused branch's gradient into NaN.
fn elu(b: &mut Builder, args: &Args, factor: f64, alpha: f64, width: f64) -> Made {
    let x = args.tensor("x");
    let zero = b.constant(floats(b, 0, x)?, 0.0);
    let on = positive(b, x)?;
    let negative = b.select(on, zero, x)?;
    let narrowed = if width == 1.0 { negative } else { with_constant(b, Op::Div, negative, width)? };
    let below = b.expm1(narrowed)?;
    let below = scale(b, below, alpha)?;
    let y = b.select(on, x, below)?;
    Ok(if factor == 1.0 { y } else { scale(b, y, factor)? }.into())
}

fn celu(b: &mut Builder, args: &Args) -> Made {
    let alpha = args.float("alpha");
    if alpha == 0.0 {
        return Err(args.error("alpha", "`alpha` must not be 0, because x is divided by it").into());
    }
    elu(b, args, 1.0, alpha, alpha)
}

fn gelu_of(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    if args.word("approximate") != "tanh" {
        return made(gelu(b, x));
    }
    let square = b.mul(x, x)?;
    let cubic = scale(b, square, 0.044715)?;
    let cubic = shift(b, cubic, 1.0)?;
    let inner = b.mul(x, cubic)?;
    let inner = scale(b, inner, (2.0 / std::f64::consts::PI).sqrt())?;
    let bell = b.tanh(inner)?;
    made(half_of_bell(b, x, bell))
}

/// `x * Phi(x)`
pub fn gelu(b: &mut Builder, x: NodeId) -> Built {
    let scaled = scale(b, x, std::f64::consts::FRAC_1_SQRT_2)?;
    let bell = b.erf(scaled)?;
    half_of_bell(b, x, bell)
}

/// `x / 2 * (1 + bell)`
fn half_of_bell(b: &mut Builder, x: NodeId, bell: NodeId) -> Built {
    let half = scale(b, x, 0.5)?;
    let bell = shift(b, bell, 1.0)?;
    b.mul(half, bell)
}

fn silu(b: &mut Builder, x: NodeId) -> Built {
    let gate = b.sigmoid(x)?;
    b.mul(x, gate)
}

fn mish(b: &mut Builder, x: NodeId) -> Built {
    let gate = softplus(b, x)?;
    let gate = b.tanh(gate)?;
    b.mul(x, gate)
}

/// `log(1 + e^x)` as `max(x, 0) + log1p(e^-|x|)`, which cannot overflow. Written with selects so that the gradient at 0
/// is 1/2, where that of `|x|` would be lost.
pub fn softplus(b: &mut Builder, x: NodeId) -> Built {
    let zero = b.constant(b.dtype(x), 0.0);
    let on = positive(b, x)?;
    let minus = b.neg(x)?;
    let (upper, small) = (b.select(on, x, zero)?, b.select(on, minus, x)?);
    let small = b.exp(small)?;
    let rest = b.log1p(small)?;
    b.add(upper, rest)
}

/// `-log(1 + e^-x)`
pub fn log_sigmoid(b: &mut Builder, x: NodeId) -> Built {
    let minus = b.neg(x)?;
    let y = softplus(b, minus)?;
    b.neg(y)
}

fn softsign(b: &mut Builder, x: NodeId) -> Built {
    let size = b.abs(x)?;
    let size = shift(b, size, 1.0)?;
    b.div(x, size)
}

fn hard_tanh(b: &mut Builder, x: NodeId) -> Built {
    let x = at_least(b, x, -1.0)?;
    at_most(b, x, 1.0)
}

fn hard_sigmoid(b: &mut Builder, x: NodeId) -> Built {
    let x = shift(b, x, 3.0)?;
    let x = relu6(b, x)?;
    with_constant(b, Op::Div, x, 6.0)
}

fn hard_swish(b: &mut Builder, x: NodeId) -> Built {
    let gate = hard_sigmoid(b, x)?;
    b.mul(x, gate)
}

/// `x` less its largest value along `axis`, which changes no softmax but keeps `e^x` finite. No gradient need pass
/// through the maximum, as it cancels.
fn shifted(b: &mut Builder, x: NodeId, axis: usize) -> Built {
    let max = b.reduce(Op::ReduceMax, x, &[axis], true)?;
    let max = b.detach(max)?;
    b.sub(x, max)
}

/// `e^x / sum of e^x` along `axis`.
pub fn softmax(b: &mut Builder, x: NodeId, axis: usize) -> Built {
    let shifted = shifted(b, x, axis)?;
    let exp = b.exp(shifted)?;
    let sum = b.sum(exp, &[axis], true)?;
    b.div(exp, sum)
}

/// `x - log(sum of e^x)` along `axis`.
pub fn log_softmax(b: &mut Builder, x: NodeId, axis: usize) -> Built {
    let shifted = shifted(b, x, axis)?;
    let exp = b.exp(shifted)?;
    let sum = b.sum(exp, &[axis], true)?;
    let log = b.log(sum)?;
    b.sub(shifted, log)
}

fn softmax2d(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    match b.rank(x) {
        rank @ 3.. => made(softmax(b, x, rank - 3)),
        _ => {
            let expected = "at least 3 axes, [.., C, H, W]".to_string();
            Err(CallError::Rank { input: 0, expected, found: b.ty(x).clone(), fix: None })
        }
    }
}

/// `softmax((x + noise) / tau)`, where noise is `-log(-log(u))` of uniform numbers u.
fn gumbel(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let dtype = floats(b, 0, x)?;
    let (axis, tau) = (args.axis("axis", b.rank(x))?, args.float("tau"));
    if !(tau > 0.0 && tau.is_finite()) {
        return Err(args.error("tau", format!("`tau` must be a positive number, but it is {tau}")).into());
    }
    let shape = b.shape(x).to_vec();
    let draw = b.random("uniform", dtype, &shape)?;
    // -log(1 - u), which is 0 only where the draw is: held above, so that its logarithm is finite.
    let minus = b.neg(draw)?;
    let waiting = b.log1p(minus)?;
    let waiting = b.neg(waiting)?;
    let waiting = at_least(b, waiting, 1e-30)?;
    let noise = b.log(waiting)?;
    let noisy = b.sub(x, noise)?;
    let noisy = with_constant(b, Op::Div, noisy, tau)?;
    let soft = softmax(b, noisy, axis)?;
    if !args.bool("hard") {
        return Ok(soft.into());
    }
    let best = b.push(Op::ArgMax, &[soft], Attrs::new().int("axis", axis as i64))?;
    let best = unsqueeze(b, best, axis)?;
    let places = iota(b, DType::I64, &shape, axis)?;
    let chosen = b.eq(places, best)?;
    let chosen = b.cast(chosen, dtype)?;
    let step = b.sub(chosen, soft)?;
    let step = b.detach(step)?;
    made(b.add(soft, step))
}

fn shrink(b: &mut Builder, args: &Args, soft: bool) -> Made {
    let (x, lambda) = (args.tensor("x"), args.float("lambda"));
    let dtype = floats(b, 0, x)?;
    if lambda.is_nan() || lambda < 0.0 {
        return Err(args.error("lambda", format!("`lambda` must not be negative, but it is {lambda}")).into());
    }
    let (size, limit, zero) = (b.abs(x)?, b.constant(dtype, lambda), b.constant(dtype, 0.0));
    let on = b.lt(limit, size)?;
    if !soft {
        return made(b.select(on, x, zero));
    }
    let sign = b.sign(x)?;
    let step = b.mul(sign, limit)?;
    let moved = b.sub(x, step)?;
    made(b.select(on, moved, zero))
}

fn glu(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    let axis = args.axis("axis", b.rank(x))?;
    let size = b.shape(x)[axis].clone();
    let half = size.floor_div(&Dim::from(2)).unwrap_or(size.clone());
    if !b.graph.facts.equal(&(half.clone() * Dim::from(2)), &size) {
        return Err(CallError::Inputs(format!(
            "axis {axis} of {{0}}, {}, must have an even size to be halved",
            b.ty(x)
        )));
    }
    let value = narrow(b, x, axis, Dim::from(0), half.clone())?;
    let gate = narrow(b, x, axis, half, size)?;
    let gate = b.sigmoid(gate)?;
    made(b.mul(value, gate))
}
