//! Products summed over axes: dot, convolution and its adjoints.

use super::spatial::{Layout, checked, each_tap, spatial_dims, windows};
use super::{Kind, sample};
use crate::attrs::{Attr, AttrKind, Attrs};
use crate::build::Builder;
use crate::dim::Dim;
use crate::error::{OpError, Problem};
use crate::eval::{EvalError, Tensor, each, offset, strides};
use crate::graph::NodeId;
use crate::op::{Arity, Class, Cotangents, Eval, Infer, Op, OpDef, Sample, Vjp, VjpArgs};
use crate::types::{DType, Type};

/// Sum of products.
pub const DOT: OpDef = OpDef {
    name: "dot",
    doc: "Sum of products: axes `batch_a` and `batch_b` go together, `sum_a` and `sum_b` are summed; \
          the result has the batch axes, the rest of a, the rest of b",
    arity: Arity::Exact(2),
    class: Class::Contract,
    attrs: &[
        ("batch_a", AttrKind::Ints),
        ("batch_b", AttrKind::Ints),
        ("sum_a", AttrKind::Ints),
        ("sum_b", AttrKind::Ints),
    ],
    infer: dot_type,
    eval: dot_eval,
    vjp: Vjp::Rule(dot_vjp),
    samples: dot_samples,
};

/// Convolution.
pub const CONV: OpDef = OpDef {
    name: "conv",
    doc: "Cross-correlation of images x with weights w",
    arity: Arity::Exact(2),
    class: Class::Contract,
    attrs: &[STRIDE, LO, HI, DILATION, GROUPS, LAYOUT],
    infer: conv_type,
    eval: |e| {
        let parts = Parts::of(e, e.args[0].shape.clone(), e.args[1].shape.clone(), e.shape()?);
        let (x, w) = (e.args[0].to_f64s(), e.args[1].to_f64s());
        let mut y = vec![0.0; e.shape()?.iter().product()];
        parts.each(e, |xi, wi, yi| y[yi] += x[xi] * w[wi]);
        e.floats(y)
    },
    vjp: Vjp::Rule(|b, v| {
        let (x, w, g) = (v.args[0], v.args[1], v.cotangent);
        Ok(vec![Some(input_grad(b, g, w, x, v.attrs)?), Some(weight_grad(b, x, g, w, v.attrs)?)])
    }),
    samples: || conv_samples(Op::Conv),
};

/// Adjoint of convolution to the images.
pub const CONV_INPUT_GRAD: OpDef = OpDef {
    name: "conv_input_grad",
    doc: "Adjoint of `conv` to x, which has spatial sizes `size`: operands dy, w. Also the transposed convolution",
    arity: Arity::Exact(2),
    class: Class::Contract,
    attrs: &[STRIDE, LO, HI, DILATION, GROUPS, LAYOUT, ("size", AttrKind::Dims)],
    infer: input_grad_type,
    eval: |e| {
        let parts = Parts::of(e, e.shape()?, e.args[1].shape.clone(), e.args[0].shape.clone());
        let (dy, w) = (e.args[0].to_f64s(), e.args[1].to_f64s());
        let mut dx = vec![0.0; e.shape()?.iter().product()];
        parts.each(e, |xi, wi, yi| dx[xi] += dy[yi] * w[wi]);
        e.floats(dx)
    },
    vjp: Vjp::Rule(|b, v| {
        let (dy, w, g) = (v.args[0], v.args[1], v.cotangent);
        let to_dy = b.push(Op::Conv, &[g, w], geometry(v.attrs))?;
        Ok(vec![Some(to_dy), Some(weight_grad(b, g, dy, w, v.attrs)?)])
    }),
    samples: || conv_samples(Op::ConvInputGrad),
};

/// Adjoint of convolution to the weights.
pub const CONV_WEIGHT_GRAD: OpDef = OpDef {
    name: "conv_weight_grad",
    doc: "Adjoint of `conv` to w, which has spatial sizes `kernel`: operands x, dy",
    arity: Arity::Exact(2),
    class: Class::Contract,
    attrs: &[STRIDE, LO, HI, DILATION, GROUPS, LAYOUT, ("kernel", AttrKind::Ints)],
    infer: weight_grad_type,
    eval: |e| {
        let parts = Parts::of(e, e.args[0].shape.clone(), e.shape()?, e.args[1].shape.clone());
        let (x, dy) = (e.args[0].to_f64s(), e.args[1].to_f64s());
        let mut dw = vec![0.0; e.shape()?.iter().product()];
        parts.each(e, |xi, wi, yi| dw[wi] += x[xi] * dy[yi]);
        e.floats(dw)
    },
    vjp: Vjp::Rule(|b, v| {
        let (x, dy, g) = (v.args[0], v.args[1], v.cotangent);
        let to_x = input_grad(b, dy, g, x, v.attrs)?;
        Ok(vec![Some(to_x), Some(b.push(Op::Conv, &[x, g], geometry(v.attrs))?)])
    }),
    samples: || conv_samples(Op::ConvWeightGrad),
};

const STRIDE: (&str, AttrKind) = ("stride", AttrKind::Ints);
const LO: (&str, AttrKind) = ("lo", AttrKind::Ints);
const HI: (&str, AttrKind) = ("hi", AttrKind::Ints);
const DILATION: (&str, AttrKind) = ("dilation", AttrKind::Ints);
const GROUPS: (&str, AttrKind) = ("groups", AttrKind::Int);
const LAYOUT: (&str, AttrKind) = ("layout", AttrKind::Word);

/// Axes of an operand that are in none of the lists, in order.
fn rest(rank: usize, batch: &[usize], sum: &[usize]) -> Vec<usize> {
    (0..rank).filter(|a| !batch.contains(a) && !sum.contains(a)).collect()
}

fn dot_type(i: &Infer<'_>) -> Result<Type, OpError> {
    i.want(0, Kind::Float)?;
    i.want_dtype_of(1, 0)?;
    let (batch_a, sum_a) = (i.want_axes(0, "batch_a")?, i.want_axes(0, "sum_a")?);
    let (batch_b, sum_b) = (i.want_axes(1, "batch_b")?, i.want_axes(1, "sum_b")?);
    for (left, right, batch, sum, names) in [
        (&batch_a, &batch_b, &batch_a, &sum_a, ("batch_a", "sum_a")),
        (&sum_a, &sum_b, &batch_b, &sum_b, ("sum_a", "sum_b")),
    ] {
        if left.len() != right.len() {
            return i.bad_attr(names.0, format!("has {} axes for a and {} for b", left.len(), right.len()));
        }
        if let Some(axis) = batch.iter().find(|a| sum.contains(a)) {
            return i.bad_attr(names.1, format!("has axis {axis}, which goes together already"));
        }
    }
    let pairs = batch_a.iter().chain(&sum_a).zip(batch_b.iter().chain(&sum_b));
    pairs.clone().try_for_each(|(&a, &b)| i.want_equal((0, a), (1, b)))?;
    let (a, b) = (i.args[0], i.args[1]);
    let mut shape: Vec<Dim> = batch_a.iter().map(|&x| a.shape[x].clone()).collect();
    shape.extend(rest(a.rank(), &batch_a, &sum_a).into_iter().map(|x| a.shape[x].clone()));
    shape.extend(rest(b.rank(), &batch_b, &sum_b).into_iter().map(|x| b.shape[x].clone()));
    Ok(Type { dtype: a.dtype, shape })
}

fn dot_eval(e: &Eval<'_>) -> Result<Tensor, EvalError> {
    let (a, b) = (e.args[0], e.args[1]);
    let axes = |name| e.attrs.get_axes(name);
    let (batch_a, batch_b, sum_a, sum_b) = (axes("batch_a"), axes("batch_b"), axes("sum_a"), axes("sum_b"));
    let (rest_a, rest_b) = (rest(a.shape.len(), &batch_a, &sum_a), rest(b.shape.len(), &batch_b, &sum_b));
    let (strides_a, strides_b) = (strides(&a.shape), strides(&b.shape));
    let take = |axes: &[usize], strides: &[usize]| axes.iter().map(|&x| strides[x]).collect::<Vec<_>>();
    // How far a step along each axis of the result, or of the sum, moves in each operand; 0 where it does not.
    let none = |axes: &[usize]| vec![0; axes.len()];
    let in_a = [take(&batch_a, &strides_a), take(&rest_a, &strides_a), none(&rest_b)].concat();
    let in_b = [take(&batch_b, &strides_b), none(&rest_a), take(&rest_b, &strides_b)].concat();
    let (step_a, step_b) = (take(&sum_a, &strides_a), take(&sum_b, &strides_b));
    let summed: Vec<usize> = sum_a.iter().map(|&x| a.shape[x]).collect();
    let (a, b) = (a.to_f64s(), b.to_f64s());
    let mut result = vec![];
    each(&e.shape()?, |index| {
        let (at_a, at_b, mut sum) = (offset(index, &in_a), offset(index, &in_b), 0.0);
        each(&summed, |k| sum += a[at_a + offset(k, &step_a)] * b[at_b + offset(k, &step_b)]);
        result.push(sum);
    });
    e.floats(result)
}

fn dot_vjp(b: &mut Builder, v: &VjpArgs<'_>) -> Cotangents {
    let (x, y, g) = (v.args[0], v.args[1], v.cotangent);
    let axes = |name| v.attrs.get_axes(name);
    let (batch_a, batch_b, sum_a, sum_b) = (axes("batch_a"), axes("batch_b"), axes("sum_a"), axes("sum_b"));
    let (rest_a, rest_b) = (rest(b.rank(x), &batch_a, &sum_a), rest(b.rank(y), &batch_b, &sum_b));
    let n = batch_a.len();
    let go = |from: usize, axes: &[usize]| axes.iter().enumerate().map(|(i, &a)| (from + i, a)).collect::<Vec<_>>();

    // g . b over the rest of b gives: batch, rest of a, summed axes in the order they have in b.
    let dx = b.dot(g, y, &go(0, &batch_b), &go(n + rest_a.len(), &rest_b))?;
    let mut order = sum_b.clone();
    order.sort_unstable();
    let mut perm = vec![0; b.rank(x)];
    batch_a.iter().enumerate().for_each(|(i, &a)| perm[a] = i);
    rest_a.iter().enumerate().for_each(|(i, &a)| perm[a] = n + i);
    for (&a, s) in sum_a.iter().zip(&sum_b) {
        perm[a] = n + rest_a.len() + order.partition_point(|o| o < s);
    }
    let dx = b.transpose(dx, &perm)?;

    // a . g over the rest of a gives: batch, summed axes in the order they have in a, rest of b.
    let flip = |pairs: Vec<(usize, usize)>| pairs.into_iter().map(|(g, a)| (a, g)).collect::<Vec<_>>();
    let dy = b.dot(x, g, &flip(go(0, &batch_a)), &flip(go(n, &rest_a)))?;
    let mut order = sum_a.clone();
    order.sort_unstable();
    let mut perm = vec![0; b.rank(y)];
    batch_b.iter().enumerate().for_each(|(i, &a)| perm[a] = i);
    for (s, &a) in sum_a.iter().zip(&sum_b) {
        perm[a] = n + order.partition_point(|o| o < s);
    }
    rest_b.iter().enumerate().for_each(|(i, &a)| perm[a] = n + sum_a.len() + i);
    let dy = b.transpose(dy, &perm)?;
    Ok(vec![Some(dx), Some(dy)])
}

fn dot_samples() -> Vec<Sample> {
    let of = |a: &[i64], b: &[i64], batch: [&[i64]; 2], sum: [&[i64]; 2]| {
        let attrs = Attrs::new().ints("batch_a", batch[0]).ints("batch_b", batch[1]);
        sample(DType::F32, &[a, b], attrs.ints("sum_a", sum[0]).ints("sum_b", sum[1]), (-2.0, 2.0))
    };
    vec![
        of(&[3, 5], &[5, 4], [&[], &[]], [&[1], &[0]]),
        of(&[3, 5], &[4, 5], [&[], &[]], [&[1], &[1]]),
        of(&[5, 3], &[5, 4], [&[], &[]], [&[0], &[0]]),
        of(&[5], &[5], [&[], &[]], [&[0], &[0]]),
        of(&[3], &[4], [&[], &[]], [&[], &[]]),
        of(&[2, 3, 5], &[2, 5, 4], [&[0], &[0]], [&[2], &[1]]),
        of(&[2, 3, 4, 5], &[5, 2, 3, 3], [&[0], &[1]], [&[3, 1], &[0, 2]]),
        of(&[1, 17], &[17, 33], [&[], &[]], [&[1], &[0]]),
        of(&[19, 9], &[9, 1], [&[], &[]], [&[1], &[0]]),
        of(&[], &[3], [&[], &[]], [&[], &[]]),
    ]
}

/// The attributes that all convolutions have.
fn geometry(attrs: &Attrs) -> Attrs {
    attrs.iter().take(CONV.attrs.len()).fold(Attrs::new(), |kept, (name, value)| kept.with(name, value.clone()))
}

fn input_grad(b: &mut Builder, dy: NodeId, w: NodeId, x: NodeId, attrs: &Attrs) -> Result<NodeId, OpError> {
    let layout = Layout::of(attrs, b.rank(x));
    let size = spatial_dims(&layout, b.shape(x));
    b.push(Op::ConvInputGrad, &[dy, w], geometry(attrs).dims("size", size))
}

fn weight_grad(b: &mut Builder, x: NodeId, dy: NodeId, w: NodeId, attrs: &Attrs) -> Result<NodeId, OpError> {
    let layout = Layout::of(attrs, b.rank(x));
    let kernel = (0..layout.spatial).filter_map(|s| b.shape(w)[layout.w_kernel(s)].as_const()).collect();
    b.push(Op::ConvWeightGrad, &[x, dy], geometry(attrs).with("kernel", Attr::Ints(kernel)))
}

/// The layout, after the checks that all convolutions share.
fn images(i: &Infer<'_>) -> Result<Layout, OpError> {
    i.want(0, Kind::Float)?;
    i.want_dtype_of(1, 0)?;
    let layout = checked(i, 0)?;
    i.want_rank(1, i.args[0].rank())?;
    if i.attrs.get_int("groups") < 1 {
        return i.bad_attr("groups", "must be at least 1");
    }
    Ok(layout)
}

fn groups(i: &Infer<'_>) -> Dim {
    Dim::from(i.attrs.get_int("groups"))
}

/// The kernel sizes of weights `arg`, which must be numbers.
fn kernel_of(i: &Infer<'_>, layout: &Layout, arg: usize) -> Result<Vec<i64>, OpError> {
    let size = |s| &i.args[arg].shape[layout.w_kernel(s)];
    let number = |s| match size(s).as_const() {
        Some(k) if k <= i64::from(i32::MAX) => Ok(k),
        _ => i.bad_attr("kernel", format!("sizes must be known numbers, but one is {}", size(s))),
    };
    (0..layout.spatial).map(number).collect()
}

/// Refuses result channels `out` of weights that do not fall into the groups evenly.
fn want_groups(i: &Infer<'_>, out: &Dim) -> Result<(), OpError> {
    let divides = out.floor_div(&groups(i)).is_ok_and(|q| i.same(&(q * groups(i)), out));
    if divides {
        return Ok(());
    }
    i.bad_attr("groups", format!("is {}, which does not divide the {out} result channels", groups(i)))
}

fn conv_type(i: &Infer<'_>) -> Result<Type, OpError> {
    let layout = images(i)?;
    let (x, w) = (i.args[0], i.args[1]);
    let inner = w.shape[layout.w_in()].clone() * groups(i);
    i.want_size((0, layout.channel()), &inner, Some((1, layout.w_in())))?;
    let out = w.shape[layout.w_out()].clone();
    want_groups(i, &out)?;
    let kernel = kernel_of(i, &layout, 1)?;
    let places = windows(i, &layout, &spatial_dims(&layout, &x.shape), &kernel)?;
    Ok(layout.images(x.dtype, x.shape[0].clone(), out, places))
}

/// Refuses cotangents `arg` whose spatial axes are not the places of the windows.
fn want_places(i: &Infer<'_>, layout: &Layout, arg: usize, places: &[Dim]) -> Result<(), OpError> {
    places.iter().enumerate().try_for_each(|(s, place)| i.want_size((arg, layout.image(s)), place, None))
}

fn input_grad_type(i: &Infer<'_>) -> Result<Type, OpError> {
    let layout = images(i)?;
    let (dy, w, size) = (i.args[0], i.args[1], i.attrs.get_dims("size"));
    i.want_equal((0, layout.channel()), (1, layout.w_out()))?;
    want_groups(i, &w.shape[layout.w_out()])?;
    i.want_len("size", size.len(), layout.spatial)?;
    let places = windows(i, &layout, size, &kernel_of(i, &layout, 1)?)?;
    want_places(i, &layout, 0, &places)?;
    let channels = w.shape[layout.w_in()].clone() * groups(i);
    Ok(layout.images(dy.dtype, dy.shape[0].clone(), channels, size.to_vec()))
}

fn weight_grad_type(i: &Infer<'_>) -> Result<Type, OpError> {
    let layout = images(i)?;
    let (x, dy, kernel) = (i.args[0], i.args[1], i.attrs.get_ints("kernel"));
    i.want_equal((1, 0), (0, 0))?;
    let (channels, out) = (&x.shape[layout.channel()], dy.shape[layout.channel()].clone());
    want_groups(i, &out)?;
    let inner = channels.floor_div(&groups(i)).unwrap_or(Dim::ONE);
    if !i.same(&(inner.clone() * groups(i)), channels) {
        return i.fail(Problem::Attr {
            name: "groups",
            why: format!("is {}, which does not divide the {channels} channels of operand 0", groups(i)),
        });
    }
    let places = windows(i, &layout, &spatial_dims(&layout, &x.shape), kernel)?;
    want_places(i, &layout, 1, &places)?;
    Ok(layout.weights(x.dtype, out, inner, kernel.iter().map(|&k| Dim::from(k)).collect()))
}

/// The three tensors of a convolution: images x, weights w, result y.
struct Parts {
    layout: Layout,
    x: Vec<usize>,
    w: Vec<usize>,
    y: Vec<usize>,
    groups: usize,
}

impl Parts {
    fn of(e: &Eval<'_>, x: Vec<usize>, w: Vec<usize>, y: Vec<usize>) -> Parts {
        Parts { layout: Layout::of(e.attrs, x.len()), x, w, y, groups: e.attrs.get_int("groups") as usize }
    }

    /// Calls `f` with the positions in x, w and y of each product of the convolution.
    fn each(&self, e: &Eval<'_>, mut f: impl FnMut(usize, usize, usize)) {
        let layout = &self.layout;
        let images = |shape: &[usize]| (0..layout.spatial).map(|s| shape[layout.image(s)]).collect::<Vec<_>>();
        let kernel: Vec<usize> = (0..layout.spatial).map(|s| self.w[layout.w_kernel(s)]).collect();
        let (inner, out) = (self.w[layout.w_in()], self.w[layout.w_out()]);
        let (sx, sw, sy) = (strides(&self.x), strides(&self.w), strides(&self.y));
        each_tap(e, &images(&self.y), &kernel, &images(&self.x), |place, tap, at| {
            let (tap, at, place) = (
                offset(&layout.weight_index(0, 0, tap), &sw),
                offset(&layout.image_index(0, 0, at), &sx),
                offset(&layout.image_index(0, 0, place), &sy),
            );
            each(&[self.x[0], out, inner], |index| {
                let (n, o, c) = (index[0], index[1], index[2]);
                let channel = o / (out / self.groups) * inner + c;
                f(
                    at + n * sx[0] + channel * sx[layout.channel()],
                    tap + o * sw[layout.w_out()] + c * sw[layout.w_in()],
                    place + n * sy[0] + o * sy[layout.channel()],
                );
            });
        });
    }
}

/// Convolutions of many geometries, as operands of `op`.
fn conv_samples(op: Op) -> Vec<Sample> {
    let mut samples = vec![];
    let mut add = |x: &[i64], w: &[i64], [stride, lo, hi, dilation]: [&[i64]; 4], groups: i64, layout: &str| {
        let attrs = Attrs::new().ints("stride", stride).ints("lo", lo).ints("hi", hi).ints("dilation", dilation);
        let attrs = attrs.int("groups", groups).word("layout", layout);
        let (x, w) = (Type::new(DType::F32, x.iter().copied()), Type::new(DType::F32, w.iter().copied()));
        let parts = Layout::of(&attrs, x.rank());
        let facts = crate::dim::Facts::new();
        let Ok(y) = crate::build::infer(Op::Conv, &[&x, &w], &attrs, &facts) else { return };
        let kernel: Vec<i64> = (0..parts.spatial).filter_map(|s| w.shape[parts.w_kernel(s)].as_const()).collect();
        let size = spatial_dims(&parts, &x.shape);
        let (args, attrs) = match op {
            Op::ConvInputGrad => (vec![y, w], attrs.dims("size", size)),
            Op::ConvWeightGrad => (vec![x, y], attrs.ints("kernel", kernel)),
            _ => (vec![x, w], attrs),
        };
        samples.push(Sample { args, attrs, ranges: vec![(-2.0, 2.0); 2] });
    };
    let (one, two, zero) = (&[1i64, 1][..], &[2i64, 2][..], &[0i64, 0][..]);
    add(&[2, 3, 6, 5], &[4, 3, 3, 3], [one, one, one, one], 1, "first");
    add(&[2, 6, 5, 3], &[3, 3, 3, 4], [one, one, one, one], 1, "last");
    add(&[1, 1, 5, 5], &[1, 1, 1, 1], [one, zero, zero, one], 1, "first");
    add(&[2, 4, 7, 6], &[6, 2, 3, 2], [two, one, zero, one], 2, "first");
    add(&[2, 4, 7, 7], &[4, 1, 3, 3], [two, one, one, one], 4, "first");
    add(&[1, 7, 7, 4], &[3, 3, 2, 6], [&[2, 1], &[0, 2], &[1, 0], &[1, 2]], 2, "last");
    add(&[1, 2, 9, 8], &[3, 2, 3, 2], [&[3, 1], &[2, 0], &[0, 1], &[2, 3]], 1, "first");
    add(&[2, 3, 11], &[5, 3, 4], [&[2], &[1], &[2], &[1]], 1, "first");
    add(&[1, 2, 4, 5, 3], &[3, 2, 2, 3, 2], [&[1, 2, 1], &[0, 1, 1], &[1, 0, 0], &[1, 1, 1]], 1, "first");
    samples
}
