//! The loops of convolutions and their adjoints, in any layout and with any number of spatial axes.
//!
//! Images that are read beyond their borders are copied with zeros around them first, so that every loop moves by
//! fixed strides. The adjoint to the input of a convolution with strides falls apart into phases: the elements whose
//! position has the same remainder meet the same taps of the kernel.

use dl_ir::DType;

use super::copy::{self, copy};
use super::emit::lower;
use super::winograd::{self, Filters, Images, Winograd};
use super::{Contraction, Loop, Operand, Writer};
use crate::lower::LowerError;
use crate::lower::cx::shape;

/// A row of so many places fills a tile of rows.
const FEW_PLACES: i64 = 12;

/// Weights of so many elements hardly stay in the second-level cache from row to row.
const LARGE_WEIGHT: i64 = 1 << 20;

/// Which axes mean what.
struct Axes {
    /// Channels of images.
    channel: usize,
    /// The first spatial axis of images.
    space: usize,
    /// Output channels of weights.
    w_out: usize,
    /// Input channels of weights.
    w_in: usize,
    /// The first spatial axis of weights.
    w_space: usize,
}

/// A convolution's attributes.
struct Geometry {
    axes: Axes,
    stride: Vec<i64>,
    lo: Vec<i64>,
    dilation: Vec<i64>,
    groups: i64,
    dtype: DType,
}

impl Geometry {
    fn of(w: &Writer<'_>) -> Geometry {
        let node = &w.graph[w.anchor];
        let rank = w.graph.ty(node.args[0]).rank();
        let ints = |name| node.attrs.get_ints(name).to_vec();
        let axes = match node.attrs.get_word("layout") {
            "last" => Axes { channel: rank - 1, space: 1, w_out: rank - 1, w_in: rank - 2, w_space: 0 },
            _ => Axes { channel: 1, space: 2, w_out: 0, w_in: 1, w_space: 2 },
        };
        Geometry {
            axes,
            stride: ints("stride"),
            lo: ints("lo"),
            dilation: ints("dilation"),
            groups: node.attrs.get_int("groups"),
            dtype: node.ty.dtype,
        }
    }

    fn spatial(&self) -> usize {
        self.stride.len()
    }
}

/// A strided array of images.
struct Image {
    start: Operand,
    strides: Vec<i64>,
    shape: Vec<i64>,
}

impl Image {
    fn operand(w: &Writer<'_>, arg: usize) -> Result<Image, LowerError> {
        let (start, view) = w.operand(arg)?;
        Ok(Image { start, strides: view.strides, shape: sizes(w, arg) })
    }

    /// The same images so that spatial positions from `first` to `last` can be read: zeros beyond the borders.
    /// The element at position 0 stays the start.
    fn padded(self, w: &mut Writer<'_>, g: &Geometry, first: &[i64], last: &[i64]) -> Result<Image, LowerError> {
        let space = |axis: usize| axis.checked_sub(g.axes.space).filter(|&s| s < g.spatial());
        let pad = |axis: usize| {
            let Some(s) = space(axis) else { return (0, 0) };
            ((-first[s]).max(0), (last[s] - (self.shape[axis] - 1)).max(0))
        };
        if (0..self.shape.len()).all(|axis| pad(axis) == (0, 0)) {
            return Ok(self);
        }
        let axes: Vec<copy::Axis> = (0..self.shape.len())
            .map(|axis| {
                let (lo, hi) = pad(axis);
                copy::Axis {
                    lo: lo as u64,
                    size: self.shape[axis] as u64,
                    hi: hi as u64,
                    gap: 0,
                    stride: self.strides[axis],
                }
            })
            .collect();
        // Images at multiples of a page would fall into the same few cache sets, where one row of a product is an image.
        let mut axes = axes;
        let page = 4096 / g.dtype.size() as u64;
        let image: u64 = axes[1..].iter().map(copy::Axis::full).product();
        let inner: u64 = axes[2..].iter().map(copy::Axis::full).product();
        if image.is_multiple_of(page) && axes[0].size > 1 && inner < page * 8 {
            axes[1].gap = 1;
        }
        self.copied(w, g, &axes)
    }

    /// A copy, whose axes have zeros around them.
    fn copied(self, w: &mut Writer<'_>, g: &Geometry, axes: &[copy::Axis]) -> Result<Image, LowerError> {
        let mut start = copy(w, self.start, g.dtype, axes)?;
        let mut strides = vec![1; axes.len()];
        for axis in (1..axes.len()).rev() {
            strides[axis - 1] = strides[axis] * axes[axis].full() as i64;
        }
        start.offset += axes.iter().zip(&strides).map(|(a, s)| a.lo as i64 * s).sum::<i64>();
        Ok(Image { start, strides, shape: self.shape })
    }

    fn from(mut self, positions: &[i64], space: usize) -> Image {
        let strides = &self.strides[space..];
        self.start.offset += positions.iter().zip(strides).map(|(p, s)| p * s).sum::<i64>();
        self
    }
}

fn sizes(w: &Writer<'_>, arg: usize) -> Vec<i64> {
    shape(w.graph, w.graph[w.anchor].args[arg])
}

fn result(w: &Writer<'_>) -> Vec<i64> {
    shape(w.graph, w.anchor)
}

fn free(extent: i64, a: i64, b: i64, out: (usize, i64)) -> Loop {
    Loop { extent: extent as u64, a, b, out: Some(out) }
}

fn sum(extent: i64, a: i64, b: i64) -> Loop {
    Loop { extent: extent as u64, a, b, out: None }
}

impl Geometry {
    /// Whether it slides windows of 3x3 in steps of one over images with channels last.
    fn is_plain(&self, kernel: &[i64]) -> bool {
        let ones = |of: &[i64]| of.iter().all(|&x| x == 1);
        let (rank, taps) = (self.spatial() + 2, &kernel[self.axes.w_space..][..self.spatial()]);
        self.dtype == DType::F32
            && taps == [3, 3]
            && ones(&self.stride)
            && ones(&self.dilation)
            && self.groups == 1
            && self.axes.channel + 1 == rank
    }
}

/// The images of an operand with `lo` zeros before them, copied if channels do not lie together.
fn tiled(w: &mut Writer<'_>, g: &Geometry, arg: usize, lo: [i64; 2]) -> Result<Images, LowerError> {
    let mut image = Image::operand(w, arg)?;
    if image.strides[3] != 1 {
        let axes = image.shape.iter().zip(&image.strides).map(|(&size, &step)| copy::Axis::plain(size as u64, step));
        let axes: Vec<copy::Axis> = axes.collect();
        image = image.copied(w, g, &axes)?;
    }
    let Image { start, strides, shape } = image;
    let strides = [strides[0], strides[1], strides[2], strides[3]];
    Ok(Images { start, strides, size: [shape[1], shape[2]], lo })
}

/// Writes a convolution by minimal filtering, if it is one for which that is worth it: of the images of the first
/// operand, with `lo` zeros before their first position, to images of the sizes `to`. The `channels` of filters are
/// their axes of input and output; taps that go backwards are `flipped`.
fn minimal(
    w: &mut Writer<'_>,
    g: &Geometry,
    (lo, to): ([i64; 2], &[i64]),
    channels: [usize; 2],
    flipped: bool,
) -> Result<bool, LowerError> {
    let (start, weights) = w.operand(1)?;
    let inputs = sizes(w, 1)[channels[0]];
    let shape = Winograd { images: to[0], height: to[1], width: to[2], inputs, outputs: to[3] };
    if !shape.is_worth_it(w.is_kept(start)) {
        return Ok(false);
    }
    let images = tiled(w, g, 0, lo)?;
    let axes = [g.axes.w_space, g.axes.w_space + 1, channels[0], channels[1]];
    let filters = Filters { start, strides: axes.map(|axis| weights.strides[axis]), flipped };
    winograd::results(w, &shape, images, filters)?;
    Ok(true)
}

/// y[n, p, o] = sum over taps t and channels i of x[n, p * stride - lo + t * dilation, i] * w[t, i, o].
pub(super) fn forward(w: &mut Writer<'_>) -> Result<(), LowerError> {
    let g = Geometry::of(w);
    let (weights, in_w) = w.operand(1)?;
    let (kernel, y) = (sizes(w, 1), result(w));
    let (inputs, outputs) = (kernel[g.axes.w_in], kernel[g.axes.w_out] / g.groups);
    let taps = |s: usize| kernel[g.axes.w_space + s];
    if g.is_plain(&kernel) && minimal(w, &g, ([g.lo[0], g.lo[1]], &y), [g.axes.w_in, g.axes.w_out], false)? {
        return Ok(());
    }
    let first: Vec<i64> = g.lo.iter().map(|lo| -lo).collect();
    let last: Vec<i64> = (0..g.spatial())
        .map(|s| (y[g.axes.space + s] - 1) * g.stride[s] - g.lo[s] + (taps(s) - 1) * g.dilation[s])
        .collect();
    let mut x = Image::operand(w, 0)?.padded(w, &g, &first, &last)?.from(&first, g.axes.space);
    let channel = g.axes.channel;
    let along = |f: &[i64]| (0..g.spatial()).map(|s| x.strides[g.axes.space + s] * f[s]).collect::<Vec<i64>>();
    let (mut places, mut reach) = (along(&g.stride), along(&g.dilation));
    let weight = inputs * outputs * (0..g.spatial()).map(taps).product::<i64>();
    let inner = g.spatial().saturating_sub(1);
    let few = inner > 0 && y[g.axes.space + inner] < FEW_PLACES;
    let rows_apart = g.stride[..inner].iter().any(|&s| s != 1);
    let apart = inner > 0 && (taps(inner) > 1 || rows_apart);
    if few && apart && weight >= LARGE_WEIGHT && g.groups == 1 && channel + 1 == y.len() {
        // The places of a row are too few to use what is read of the weights. Where each has its taps beside it, the
        // rows of an image are one: those of the last axis, or all where rows are apart.
        let unrolled = |s: usize| s == inner || rows_apart;
        let mut axes = vec![copy::Axis::plain(y[0] as u64, x.strides[0])];
        for s in 0..g.spatial() {
            let size = (y[g.axes.space + s] - 1) * g.stride[s] + (taps(s) - 1) * g.dilation[s] + 1;
            axes.push(match unrolled(s) {
                true => copy::Axis::plain(y[g.axes.space + s] as u64, places[s]),
                false => copy::Axis::plain(size as u64, x.strides[g.axes.space + s]),
            });
        }
        let kernel = (0..g.spatial()).filter(|&s| unrolled(s));
        axes.extend(kernel.map(|s| copy::Axis::plain(taps(s) as u64, reach[s])));
        axes.push(copy::Axis::plain(inputs as u64, x.strides[channel]));
        x.start = copy(w, x.start, g.dtype, &axes)?;
        x.strides[channel] = 1;
        let mut step = inputs;
        for s in (0..g.spatial()).rev().filter(|&s| unrolled(s)) {
            reach[s] = step;
            step *= taps(s);
        }
        for s in (0..g.spatial()).rev() {
            if unrolled(s) {
                places[s] = step;
            } else {
                (places[s], reach[s]) = (step * g.stride[s], step * g.dilation[s]);
            }
            step *= axes[s + 1].size as i64;
        }
        x.strides[0] = step;
    }
    let mut loops = vec![
        free(y[0], x.strides[0], 0, (0, 1)),
        free(g.groups, x.strides[channel] * inputs, in_w.strides[g.axes.w_out] * outputs, (channel, outputs)),
        free(outputs, 0, in_w.strides[g.axes.w_out], (channel, 1)),
        sum(inputs, x.strides[channel], in_w.strides[g.axes.w_in]),
    ];
    for s in 0..g.spatial() {
        let axis = g.axes.space + s;
        loops.push(free(y[axis], places[s], 0, (axis, 1)));
        loops.push(sum(taps(s), reach[s], in_w.strides[g.axes.w_space + s]));
    }
    let out = vec![0; y.len()];
    lower(w, &Contraction { dtype: g.dtype, a: x.start, b: weights, loops, out, again: false })
}

/// dw[t, i, o] = sum over images n and places p of x[n, p * stride - lo + t * dilation, i] * dy[n, p, o].
pub(super) fn weight_grad(w: &mut Writer<'_>) -> Result<(), LowerError> {
    let g = Geometry::of(w);
    let dy = Image::operand(w, 1)?;
    let kernel = result(w);
    let (inputs, outputs) = (kernel[g.axes.w_in], kernel[g.axes.w_out] / g.groups);
    if g.is_plain(&kernel) {
        let shape = Winograd { images: dy.shape[0], height: dy.shape[1], width: dy.shape[2], inputs, outputs };
        if shape.is_worth_it_for_weights() {
            let (images, gradients) = (tiled(w, &g, 0, [g.lo[0], g.lo[1]])?, tiled(w, &g, 1, [0, 0])?);
            return winograd::weights(w, &shape, images, gradients);
        }
    }
    let taps = |s: usize| kernel[g.axes.w_space + s];
    let first: Vec<i64> = g.lo.iter().map(|lo| -lo).collect();
    let last: Vec<i64> = (0..g.spatial())
        .map(|s| (dy.shape[g.axes.space + s] - 1) * g.stride[s] - g.lo[s] + (taps(s) - 1) * g.dilation[s])
        .collect();
    let x = Image::operand(w, 0)?.padded(w, &g, &first, &last)?.from(&first, g.axes.space);
    let channel = g.axes.channel;
    let mut loops = vec![
        sum(dy.shape[0], x.strides[0], dy.strides[0]),
        free(g.groups, x.strides[channel] * inputs, dy.strides[channel] * outputs, (g.axes.w_out, outputs)),
        free(outputs, 0, dy.strides[channel], (g.axes.w_out, 1)),
        free(inputs, x.strides[channel], 0, (g.axes.w_in, 1)),
    ];
    for s in 0..g.spatial() {
        let axis = g.axes.space + s;
        loops.push(sum(dy.shape[axis], x.strides[axis] * g.stride[s], dy.strides[axis]));
        loops.push(free(taps(s), x.strides[axis] * g.dilation[s], 0, (g.axes.w_space + s, 1)));
    }
    let out = vec![0; kernel.len()];
    lower(w, &Contraction { dtype: g.dtype, a: x.start, b: dy.start, loops, out, again: true })
}

/// Of the positions `phase + q * stride` of an image along one axis: which taps reach them, and from where.
#[derive(Clone, Copy)]
struct Phase {
    /// The first position.
    at: i64,
    /// The number of positions.
    count: i64,
    /// The first tap, the distance of taps and their number.
    tap: i64,
    tap_step: i64,
    taps: i64,
    /// Position 0 of this phase meets the first tap at this place of dy; each further tap comes from so much before.
    place: i64,
    place_step: i64,
}

/// The phases of an axis: position i meets tap t at place (i + lo - t * dilation) / stride where that is whole.
fn phases(size: i64, taps: i64, stride: i64, lo: i64, dilation: i64) -> Vec<Phase> {
    let tap_step = stride / gcd(stride, dilation);
    let reach = |at: i64| (0..tap_step.min(taps)).find(|t| (at + lo - t * dilation).rem_euclid(stride) == 0);
    (0..stride.min(size))
        .map(|at| {
            let (tap, taps) = reach(at).map_or((0, 0), |tap| (tap, (taps - tap + tap_step - 1) / tap_step));
            Phase {
                at,
                count: (size - at + stride - 1) / stride,
                tap,
                tap_step,
                taps,
                place: (at + lo - tap * dilation).div_euclid(stride),
                place_step: tap_step * dilation / stride,
            }
        })
        .collect()
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// dx[n, i] = sum over taps t and channels o of dy[n, (i + lo - t * dilation) / stride, o] * w[t, i, o].
pub(super) fn input_grad(w: &mut Writer<'_>) -> Result<(), LowerError> {
    let g = Geometry::of(w);
    let (weights, in_w) = w.operand(1)?;
    let (kernel, x) = (sizes(w, 1), result(w));
    if g.is_plain(&kernel) && g.lo.iter().all(|&lo| lo <= 2) {
        // The taps of a result meet places before it: backwards, it is a convolution with the rest of the border.
        let lo = [2 - g.lo[0], 2 - g.lo[1]];
        if minimal(w, &g, (lo, &x), [g.axes.w_out, g.axes.w_in], true)? {
            return Ok(());
        }
    }
    let axes: Vec<Vec<Phase>> = (0..g.spatial())
        .map(|s| {
            let (size, taps) = (x[g.axes.space + s], kernel[g.axes.w_space + s]);
            phases(size, taps, g.stride[s], g.lo[s], g.dilation[s])
        })
        .collect();
    let reached = |axis: &[Phase], f: fn(&Phase) -> i64, g: fn(i64, i64) -> i64| {
        axis.iter().filter(|p| p.taps > 0).map(f).reduce(g).unwrap_or(0)
    };
    let first: Vec<i64> =
        axes.iter().map(|a| reached(a, |p| p.place - (p.taps - 1) * p.place_step, i64::min)).collect();
    let last: Vec<i64> = axes.iter().map(|a| reached(a, |p| p.place + p.count - 1, i64::max)).collect();
    let dy = Image::operand(w, 0)?.padded(w, &g, &first, &last)?;
    let mut chosen = vec![];
    each_phase(&axes, &mut chosen, &mut |phase| {
        let channel = g.axes.channel;
        let (inputs, outputs) = (kernel[g.axes.w_in], kernel[g.axes.w_out] / g.groups);
        let mut loops = vec![
            free(x[0], dy.strides[0], 0, (0, 1)),
            free(g.groups, dy.strides[channel] * outputs, in_w.strides[g.axes.w_out] * outputs, (channel, inputs)),
            free(inputs, 0, in_w.strides[g.axes.w_in], (channel, 1)),
            sum(outputs, dy.strides[channel], in_w.strides[g.axes.w_out]),
        ];
        let (mut a, mut b, mut out) = (dy.start, weights, vec![0; x.len()]);
        for (s, p) in phase.iter().enumerate() {
            let axis = g.axes.space + s;
            let (step, tap) = (dy.strides[axis], in_w.strides[g.axes.w_space + s]);
            loops.push(free(p.count, step, 0, (axis, g.stride[s])));
            loops.push(sum(p.taps, -step * p.place_step, tap * p.tap_step));
            out[axis] = p.at;
            if p.taps > 0 {
                a.offset += p.place * step;
                b.offset += p.tap * tap;
            }
        }
        lower(w, &Contraction { dtype: g.dtype, a, b, loops, out, again: false })
    })
}

fn each_phase(
    axes: &[Vec<Phase>],
    chosen: &mut Vec<Phase>,
    f: &mut dyn FnMut(&[Phase]) -> Result<(), LowerError>,
) -> Result<(), LowerError> {
    let Some((axis, rest)) = axes.split_first() else { return f(chosen) };
    for &phase in axis {
        chosen.push(phase);
        each_phase(rest, chosen, f)?;
        chosen.pop();
    }
    Ok(())
}
