//! Layers as functions, with weights that are tensors like any other: computed, shared or fixed.

use super::args::Args;
use super::common::{Made, X, floats, made, rank};
use super::conv::{DILATION, GROUPS, Geometry, PADDING, STRIDE};
use super::error::CallError;
use super::linear::before_space;
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use super::pool::{LAYOUTS, too_small};
use crate::build::Builder;
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::op::Op;

const BIAS: Param = Param::optional("bias", Kind::Tensor, Default::Absent, "what is added, [out]");

const fn convolution(name: &'static str, doc: &'static str, build: fn(&mut Builder, &Args) -> Made) -> MethodDef {
    MethodDef { name, aliases: &[], doc, params: &[X, WEIGHT, BIAS, STRIDE, PADDING, DILATION, GROUPS], build }
}

const WEIGHT: Param = Param::required("weight", Kind::Tensor, "the filters, [out, in / groups, kernel..]");

/// The methods of this file.
pub const METHODS: &[MethodDef] = &[
    MethodDef {
        name: "linear",
        aliases: &[],
        doc: "x * weight^T + bias over the last axis, as the layer `Linear`",
        params: &[X, Param::required("weight", Kind::Tensor, "the matrix, [out, in]"), BIAS],
        build: linear,
    },
    convolution("conv1d", "convolution of [N, C, L], as the layer `Conv1d`", |b, a| convolve(b, a, 1)),
    convolution("conv2d", "convolution of [N, C, H, W], as the layer `Conv2d`", |b, a| convolve(b, a, 2)),
    convolution("conv3d", "convolution of [N, C, D, H, W], as the layer `Conv3d`", |b, a| convolve(b, a, 3)),
];

/// The operand of that name, of the rank of `layout` and of the type of `x`.
fn operand(b: &Builder, args: &Args, name: &str, layout: &str) -> Result<Option<NodeId>, CallError> {
    let Some(node) = args.tensor_if(name) else { return Ok(None) };
    let (input, found, rank) = (args.input(name), b.ty(node).clone(), layout.split(',').count());
    let dtype = b.dtype(args.tensor("x"));
    if found.rank() != rank {
        return Err(CallError::Rank { input, expected: format!("a {name} {layout}"), found, fix: None });
    }
    if found.dtype != dtype {
        let fix = Some(format!("convert it with `.to({dtype})`"));
        return Err(CallError::DType { input, expected: format!("a {name} of {dtype}, as x is"), found, fix });
    }
    Ok(Some(node))
}

/// Refuses operands unless two of their sizes are equal; `what` says how they should be.
fn equal(
    b: &Builder,
    args: &Args,
    (left, a): (&str, &Dim),
    (right, c): (&str, &Dim),
    what: &str,
) -> Result<(), CallError> {
    if b.graph.facts.equal(a, c) {
        return Ok(());
    }
    let shown = |name: &str| (args.input(name), b.ty(args.tensor(name)).clone());
    let ((i, x), (j, y)) = (shown(left), shown(right));
    Err(CallError::Inputs(format!("{{{i}}} is {x} and {{{j}}} is {y}: {what}, but there are {a} and {c}")))
}

fn linear(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    floats(b, args.input("x"), x)?;
    let Some(last) = b.rank(x).checked_sub(1) else {
        let expected = "at least 1 axis, the features".to_string();
        return Err(CallError::Rank { input: args.input("x"), expected, found: b.ty(x).clone(), fix: None });
    };
    let Some(weight) = operand(b, args, "weight", "[out, in]")? else { return Ok(x.into()) };
    let (features, sizes) = (b.shape(x)[last].clone(), b.shape(weight).to_vec());
    equal(b, args, ("x", &features), ("weight", &sizes[1]), "the last axes of both must agree")?;
    let y = b.dot(x, weight, &[], &[(last, 1)])?;
    let Some(bias) = operand(b, args, "bias", "[out]")? else { return Ok(y.into()) };
    equal(b, args, ("weight", &sizes[0]), ("bias", &b.shape(bias)[0].clone()), "each result has one bias")?;
    made(b.add(y, bias))
}

fn convolve(b: &mut Builder, args: &Args, spatial: usize) -> Made {
    let x = args.tensor("x");
    floats(b, args.input("x"), x)?;
    rank(b, x, spatial + 2, LAYOUTS[spatial - 1])?;
    let layout = ["[out, in, kernel]", "[out, in, kernel, kernel]", "[out, in, kernel, kernel, kernel]"][spatial - 1];
    let Some(weight) = operand(b, args, "weight", layout)? else { return Ok(x.into()) };
    let sizes = b.shape(weight).to_vec();
    let window = |size: &Dim| size.as_const().filter(|&size| size > 0);
    let Some(kernel) = sizes[2..].iter().map(window).collect::<Option<Vec<i64>>>() else {
        let expected = "a weight whose last axes, the window, are known numbers from 1 on".to_string();
        return Err(CallError::Rank { input: args.input("weight"), expected, found: b.ty(weight).clone(), fix: None });
    };
    let groups = super::conv::groups(args, &b.shape(x)[1].clone(), &sizes[0])?;
    let channels = sizes[1].clone() * groups;
    equal(b, args, ("x", &b.shape(x)[1].clone()), ("weight", &channels), "channels must agree")?;
    let attrs = Geometry::of(args, kernel)?.attrs().int("groups", args.int("groups")).word("layout", "first");
    let y = b.push(Op::Conv, &[x, weight], attrs).map_err(too_small)?;
    let Some(bias) = operand(b, args, "bias", "[out]")? else { return Ok(y.into()) };
    equal(b, args, ("weight", &sizes[0]), ("bias", &b.shape(bias)[0].clone()), "each channel has one bias")?;
    let bias = before_space(b, bias, spatial)?;
    made(b.add(y, bias))
}
