//! Dropout: what training leaves out at random.

use super::args::Args;
use super::common::{Made, X, floats, made, scale, shift, with_constant};
use super::error::{ArgError, CallError};
use super::layer::LayerDef;
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::op::Op;

const P: Param = Param::optional("p", Kind::Float, Default::Float(0.5), "the share that is left out");

const fn dropout(
    name: &'static str,
    doc: &'static str,
    build: fn(&mut Builder, &Args) -> Result<super::value::Value, CallError>,
) -> MethodDef {
    MethodDef { name, aliases: &[], doc, params: &[X, P], build }
}

const DROPOUT: MethodDef = dropout(
    "dropout",
    "in training sets each element to 0 with probability p and divides the others by 1 - p; otherwise x",
    |b, a| drop(b, a, |_| true),
);
const DROPOUT1: MethodDef =
    dropout("dropout1d", "dropout of whole channels of [N, C, L]", |b, a| channels(b, a, 3, "[N, C, L]"));
const DROPOUT2: MethodDef =
    dropout("dropout2d", "dropout of whole channels of [N, C, H, W]", |b, a| channels(b, a, 4, "[N, C, H, W]"));
const DROPOUT3: MethodDef =
    dropout("dropout3d", "dropout of whole channels of [N, C, D, H, W]", |b, a| channels(b, a, 5, "[N, C, D, H, W]"));
const DROP_PATH: MethodDef = MethodDef {
    name: "drop_path",
    aliases: &["stochastic_depth"],
    doc: "dropout of whole elements of the batch (axis 0), for the branch of a residual (Huang et al. 2016)",
    params: &[X, P],
    build: |b, a| drop(b, a, |axis| axis == 0),
};
const ALPHA: MethodDef = dropout(
    "alpha_dropout",
    "dropout that keeps mean 0 and variance 1 behind `selu` (Klambauer et al. 2017)",
    alpha_dropout,
);

/// The methods of this file.
pub const METHODS: &[MethodDef] = &[DROPOUT, DROPOUT1, DROPOUT2, DROPOUT3, DROP_PATH, ALPHA];

/// The layers of this file.
pub const LAYERS: &[LayerDef] = &[
    LayerDef::of("Dropout", &DROPOUT),
    LayerDef::of("Dropout1d", &DROPOUT1),
    LayerDef::of("Dropout2d", &DROPOUT2),
    LayerDef::of("Dropout3d", &DROPOUT3),
    LayerDef::of("DropPath", &DROP_PATH),
    LayerDef::of("AlphaDropout", &ALPHA),
];

/// The probability of that name.
///
/// # Errors
/// If it is not between 0 and 1.
pub fn probability(args: &Args, name: &str) -> Result<f64, ArgError> {
    match args.float(name) {
        p if (0.0..=1.0).contains(&p) => Ok(p),
        p => Err(args.error(name, format!("`{name}` is a probability, between 0 and 1, but it is {p}"))),
    }
}

/// In training, `x` with a share `p` of it set to 0 and the rest divided by `1 - p`: one draw for each element of
/// `shape`, which broadcasts to that of `x`.
pub fn dropped(b: &mut Builder, x: NodeId, p: f64, shape: &[Dim]) -> Built {
    if !b.training || p == 0.0 {
        return Ok(x);
    }
    if p == 1.0 {
        return b.full_like(x, 0.0);
    }
    let dtype = b.dtype(x);
    let draw = b.random("uniform", dtype, shape)?;
    let dropped = with_constant(b, Op::Lt, draw, p)?;
    let (zero, scaled) = (b.constant(dtype, 0.0), scale(b, x, 1.0 / (1.0 - p))?);
    b.select(dropped, zero, scaled)
}

/// Dropout with a draw of its own along the axes that `own` names.
fn drop(b: &mut Builder, args: &Args, own: fn(usize) -> bool) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    let p = probability(args, "p")?;
    let size = |(axis, d): (usize, &Dim)| if own(axis) { d.clone() } else { Dim::ONE };
    let shape: Vec<Dim> = b.shape(x).iter().enumerate().map(size).collect();
    made(dropped(b, x, p, &shape))
}

fn channels(b: &mut Builder, args: &Args, rank: usize, layout: &str) -> Made {
    super::common::rank(b, args.tensor("x"), rank, layout)?;
    drop(b, args, |axis| axis < 2)
}

/// What is left out becomes the lower limit of `selu`, and the result is scaled and shifted to mean 0 and variance 1.
fn alpha_dropout(b: &mut Builder, args: &Args) -> Made {
    const LIMIT: f64 = -1.758_099_340_847_376_6;
    let x = args.tensor("x");
    let dtype = floats(b, 0, x)?;
    let p = probability(args, "p")?;
    if !b.training || p == 0.0 {
        return Ok(x.into());
    }
    if p == 1.0 {
        return made(b.full_like(x, 0.0));
    }
    let shape = b.shape(x).to_vec();
    let draw = b.random("uniform", dtype, &shape)?;
    let dropped = with_constant(b, Op::Lt, draw, p)?;
    let limit = b.constant(dtype, LIMIT);
    let y = b.select(dropped, limit, x)?;
    let factor = 1.0 / ((1.0 - p) * (1.0 + p * LIMIT * LIMIT)).sqrt();
    let y = scale(b, y, factor)?;
    made(shift(b, y, -factor * p * LIMIT))
}
