//! Normalisation of each image by itself.

use super::args::Args;
use super::common::{Made, X, floats, made, scale, shift, unsqueeze, with_constant};
use super::error::CallError;
use super::layer::{Append, Call, LayerDef};
use super::linear::along_channels;
use super::method::MethodDef;
use super::norm::{affine, check_eps, eps, moments, normalised};
use super::params::{Default, Kind, Param};
use crate::attrs::Attrs;
use crate::build::Builder;
use crate::dim::Dim;
use crate::op::Op;

const PARAMS: &[Param] = &[
    Param::required("channels", Kind::Dim, "channels of x, axis 1"),
    eps(1e-5),
    Param::optional(
        "affine",
        Kind::Bool,
        Default::Bool(false),
        "whether the result is scaled and shifted by trained numbers",
    ),
];

const fn instance_norm(name: &'static str, doc: &'static str, call: Append) -> LayerDef {
    LayerDef::own(
        name,
        doc,
        PARAMS,
        |a| {
            super::linear::positive_dim(a, "channels", &a.dim("channels"))?;
            check_eps(a)?;
            Ok(affine(a, a.dim("channels")))
        },
        call,
    )
}

const LOCAL: MethodDef = MethodDef {
    name: "local_response_norm",
    aliases: &[],
    doc: "x / (k + alpha * the mean of squares over `size` neighbouring channels)^beta (Krizhevsky et al. 2012)",
    params: &[
        X,
        Param::required("size", Kind::Int, "how many channels, axis 1, are neighbours"),
        Param::optional("alpha", Kind::Float, Default::Float(1e-4), "the factor of the mean of squares"),
        Param::optional("beta", Kind::Float, Default::Float(0.75), "the power"),
        Param::optional("k", Kind::Float, Default::Float(1.0), "what is added to it"),
    ],
    build: local_response,
};

/// The methods of this file.
pub const METHODS: &[MethodDef] = &[LOCAL];

/// The layers of this file.
pub const LAYERS: &[LayerDef] = &[
    instance_norm("InstanceNorm1d", "each channel of each element of [N, C, L] to mean 0 and variance 1", |c| {
        call(c, 3, "[N, C, L]")
    }),
    instance_norm("InstanceNorm2d", "each channel of each element of [N, C, H, W] to mean 0 and variance 1", |c| {
        call(c, 4, "[N, C, H, W]")
    }),
    instance_norm("InstanceNorm3d", "each channel of each element of [N, C, D, H, W] to mean 0 and variance 1", |c| {
        call(c, 5, "[N, C, D, H, W]")
    }),
    LayerDef::of("LocalResponseNorm", &LOCAL),
];

fn call(c: &mut Call<'_>, rank: usize, layout: &str) -> Made {
    c.check_dtype()?;
    c.check_rank(rank, layout)?;
    c.check_features("channels", 1, "channels", &c.args().dim("channels"))?;
    let over: Vec<usize> = (2..rank).collect();
    let (centred, var) = moments(c, c.x(), &over)?;
    Ok(normalised(c, "", centred, var, along_channels)?.into())
}

fn local_response(b: &mut Builder, args: &Args) -> Made {
    const MOST: i64 = 1 << 20;
    let x = args.tensor("x");
    floats(b, 0, x)?;
    if b.rank(x) < 3 {
        let expected = "at least 3 axes, [N, C, ..]".to_string();
        return Err(CallError::Rank { input: 0, expected, found: b.ty(x).clone(), fix: None });
    }
    let size = args.int("size");
    if !(1..=MOST).contains(&size) {
        return Err(args.error("size", format!("`size` must be between 1 and {MOST}, but it is {size}")).into());
    }
    // The channels become a spatial axis of one channel, over which windows slide.
    let full = b.shape(x).to_vec();
    let rest = full[2..].iter().fold(Dim::ONE, |n, d| n * d.clone());
    let squares = b.mul(x, x)?;
    let flat = b.reshape(squares, &[full[0].clone(), full[1].clone(), rest])?;
    let image = unsqueeze(b, flat, 1)?;
    let attrs = Attrs::new().ints("kernel", [size, 1]).ints("stride", [1, 1]).ints("lo", [size / 2, 0]);
    let attrs = attrs.ints("hi", [(size - 1) / 2, 0]).ints("dilation", [1, 1]).word("layout", "first");
    let sums = b.push(Op::SumPool, &[image], attrs)?;
    let sums = b.reshape(sums, &full)?;
    let mean = scale(b, sums, args.float("alpha") / size as f64)?;
    let base = shift(b, mean, args.float("k"))?;
    let divisor = with_constant(b, Op::Pow, base, args.float("beta"))?;
    made(b.div(x, divisor))
}
