//! Pooling: windows that slide over the spatial axes of each channel, and their adjoints.

use super::Kind;
use super::spatial::{Layout, checked, each_tap, spatial_dims, windows};
use crate::attrs::{AttrKind, Attrs};

use crate::error::OpError;
use crate::eval::{each, offset, strides};
use crate::op::{Arity, Class, Eval, Infer, Op, OpDef, Sample, Vjp};
use crate::types::{DType, Type};

/// Maximum over windows.
pub const MAX_POOL: OpDef = OpDef {
    name: "max_pool",
    doc: "Maximum over windows of the spatial axes; padding counts as -inf; NaN if one is",
    arity: Arity::Exact(1),
    class: Class::Window,
    attrs: &[KERNEL, STRIDE, LO, HI, DILATION, LAYOUT],
    infer: max_pool_type,
    eval: |e| {
        let x = e.args[0].to_f64s();
        let maxima = first_maxima(e, &x, &e.args[0].shape, &e.shape()?);
        e.floats(maxima.into_iter().map(|at| at.map_or(f64::NEG_INFINITY, |at| x[at])).collect())
    },
    vjp: Vjp::Rule(|b, v| Ok(vec![Some(b.push(Op::MaxPoolGrad, &[v.args[0], v.cotangent], v.attrs.clone())?)])),
    samples: || pool_samples(Op::MaxPool),
};

/// Adjoint of the maximum over windows.
pub const MAX_POOL_GRAD: OpDef = OpDef {
    name: "max_pool_grad",
    doc: "Adjoint of `max_pool`: operands x, dy; the first maximum of each window receives its cotangent",
    arity: Arity::Exact(2),
    class: Class::Window,
    attrs: &[KERNEL, STRIDE, LO, HI, DILATION, LAYOUT],
    infer: |i| {
        let pooled = max_pool_type(i)?;
        i.want_dtype_of(1, 0)?;
        i.want_rank(1, pooled.rank())?;
        (0..pooled.rank()).try_for_each(|a| i.want_size((1, a), &pooled.shape[a], None))?;
        Ok(i.args[0].clone())
    },
    eval: |e| {
        let (x, dy) = (e.args[0].to_f64s(), e.args[1].to_f64s());
        let mut dx = vec![0.0; x.len()];
        let maxima = first_maxima(e, &x, &e.args[0].shape, &e.args[1].shape);
        maxima.into_iter().zip(dy).for_each(|(at, g)| at.into_iter().for_each(|at| dx[at] += g));
        e.floats(dx)
    },
    vjp: Vjp::None("second derivatives of max pooling are not supported"),
    samples: || pool_samples(Op::MaxPoolGrad),
};

/// Sum over windows.
pub const SUM_POOL: OpDef = OpDef {
    name: "sum_pool",
    doc: "Sum over windows of the spatial axes; padding counts as 0",
    arity: Arity::Exact(1),
    class: Class::Window,
    attrs: &[KERNEL, STRIDE, LO, HI, DILATION, LAYOUT],
    infer: pool_type,
    eval: |e| {
        let (x, shape) = (e.args[0].to_f64s(), e.shape()?);
        let mut y = vec![0.0; shape.iter().product()];
        each_pooled(e, &e.args[0].shape, &shape, |xi, yi| y[yi] += x[xi]);
        e.floats(y)
    },
    vjp: Vjp::Rule(|b, v| {
        let layout = Layout::of(v.attrs, b.rank(v.out));
        let size = spatial_dims(&layout, b.shape(v.args[0]));
        Ok(vec![Some(b.push(Op::SumPoolGrad, &[v.cotangent], v.attrs.clone().dims("size", size))?)])
    }),
    samples: || pool_samples(Op::SumPool),
};

/// Adjoint of the sum over windows.
pub const SUM_POOL_GRAD: OpDef = OpDef {
    name: "sum_pool_grad",
    doc: "Adjoint of `sum_pool` on images with spatial sizes `size`: operand dy",
    arity: Arity::Exact(1),
    class: Class::Window,
    attrs: &[KERNEL, STRIDE, LO, HI, DILATION, LAYOUT, ("size", AttrKind::Dims)],
    infer: |i| {
        i.want(0, Kind::Float)?;
        let layout = checked(i, 0)?;
        let (dy, size) = (i.args[0], i.attrs.get_dims("size"));
        i.want_len("size", size.len(), layout.spatial)?;
        let places = windows(i, &layout, size, i.attrs.get_ints("kernel"))?;
        places.iter().enumerate().try_for_each(|(s, place)| i.want_size((0, layout.image(s)), place, None))?;
        Ok(layout.images(dy.dtype, dy.shape[0].clone(), dy.shape[layout.channel()].clone(), size.to_vec()))
    },
    eval: |e| {
        let (dy, shape) = (e.args[0].to_f64s(), e.shape()?);
        let mut dx = vec![0.0; shape.iter().product()];
        each_pooled(e, &shape, &e.args[0].shape, |xi, yi| dx[xi] += dy[yi]);
        e.floats(dx)
    },
    vjp: Vjp::Rule(|b, v| {
        let attrs = v.attrs.iter().take(SUM_POOL.attrs.len());
        let attrs = attrs.fold(Attrs::new(), |kept, (name, value)| kept.with(name, value.clone()));
        Ok(vec![Some(b.push(Op::SumPool, &[v.cotangent], attrs)?)])
    }),
    samples: || pool_samples(Op::SumPoolGrad),
};

const KERNEL: (&str, AttrKind) = ("kernel", AttrKind::Ints);
const STRIDE: (&str, AttrKind) = ("stride", AttrKind::Ints);
const LO: (&str, AttrKind) = ("lo", AttrKind::Ints);
const HI: (&str, AttrKind) = ("hi", AttrKind::Ints);
const DILATION: (&str, AttrKind) = ("dilation", AttrKind::Ints);
const LAYOUT: (&str, AttrKind) = ("layout", AttrKind::Word);

fn pool_type(i: &Infer<'_>) -> Result<Type, OpError> {
    i.want(0, Kind::Float)?;
    let layout = checked(i, 0)?;
    let x = i.args[0];
    let places = windows(i, &layout, &spatial_dims(&layout, &x.shape), i.attrs.get_ints("kernel"))?;
    Ok(layout.images(x.dtype, x.shape[0].clone(), x.shape[layout.channel()].clone(), places))
}

/// Windows that lie in the padding altogether would have no maximum, so the padding must be smaller than they are.
fn max_pool_type(i: &Infer<'_>) -> Result<Type, OpError> {
    let ty = pool_type(i)?;
    for name in ["lo", "hi"] {
        for (s, &pad) in i.attrs.get_ints(name).iter().enumerate() {
            let reach = i.attrs.get_ints("dilation")[s] * (i.attrs.get_ints("kernel")[s] - 1) + 1;
            if pad >= reach {
                return i.bad_attr(name, format!("is {pad}, which must be less than the window's reach of {reach}"));
            }
        }
    }
    Ok(ty)
}

/// Calls `f` with the positions in the images and in the pooled images of each element of each window; the windows
/// of a channel in order, and each window's elements in order.
fn each_pooled(e: &Eval<'_>, x: &[usize], y: &[usize], mut f: impl FnMut(usize, usize)) {
    let layout = Layout::of(e.attrs, x.len());
    let spatial = |shape: &[usize]| (0..layout.spatial).map(|s| shape[layout.image(s)]).collect::<Vec<_>>();
    let (sx, sy) = (strides(x), strides(y));
    each(&[x[0], x[layout.channel()]], |outer| {
        let at = |i: &[usize], strides: &[usize]| offset(&layout.image_index(outer[0], outer[1], i), strides);
        each_tap(e, &spatial(y), &e.attrs.get_axes("kernel"), &spatial(x), |place, _, image| {
            f(at(image, &sx), at(place, &sy));
        });
    });
}

/// The position in the images of each window's first maximum; NaN counts as the maximum.
fn first_maxima(e: &Eval<'_>, x: &[f64], image: &[usize], pooled: &[usize]) -> Vec<Option<usize>> {
    let mut best: Vec<Option<usize>> = vec![None; pooled.iter().product()];
    each_pooled(e, image, pooled, |xi, yi| {
        let beats = |b: usize| x[xi] > x[b] || (x[xi].is_nan() && !x[b].is_nan());
        if best[yi].is_none_or(beats) {
            best[yi] = Some(xi);
        }
    });
    best
}

/// Pools of many geometries, as operands of `op`.
fn pool_samples(op: Op) -> Vec<Sample> {
    let mut samples = vec![];
    let mut add = |x: &[i64], kernel: &[i64], [stride, lo, hi, dilation]: [&[i64]; 4], layout: &str| {
        let attrs = Attrs::new().ints("kernel", kernel).ints("stride", stride).ints("lo", lo).ints("hi", hi);
        let attrs = attrs.ints("dilation", dilation).word("layout", layout);
        let facts = crate::dim::Facts::new();
        let x = Type::new(DType::F32, x.iter().copied());
        let Ok(y) = crate::build::infer(Op::SumPool, &[&x], &attrs, &facts) else { return };
        let size = spatial_dims(&Layout::of(&attrs, x.rank()), &x.shape);
        let (args, attrs) = match op {
            Op::MaxPoolGrad => (vec![x, y], attrs),
            Op::SumPoolGrad => (vec![y], attrs.dims("size", size)),
            _ => (vec![x], attrs),
        };
        let ranges = vec![(-3.0, 3.0); args.len()];
        samples.push(Sample { args, attrs, ranges });
    };
    let (one, two, zero) = (&[1i64, 1][..], &[2i64, 2][..], &[0i64, 0][..]);
    add(&[2, 3, 6, 4], two, [two, zero, zero, one], "first");
    add(&[2, 6, 4, 3], two, [two, zero, zero, one], "last");
    add(&[1, 2, 7, 7], &[3, 3], [two, one, one, one], "first");
    add(&[1, 5, 6, 2], &[3, 2], [one, &[1, 0], &[0, 1], &[1, 2]], "last");
    add(&[1, 1, 4, 4], &[4, 4], [one, zero, zero, one], "first");
    add(&[2, 3, 9], &[3], [&[2], &[0], &[2], &[2]], "first");
    add(&[1, 2, 3, 4, 5], &[2, 2, 3], [&[1, 2, 2], &[0, 0, 1], &[1, 0, 1], &[1, 1, 1]], "first");
    samples
}
