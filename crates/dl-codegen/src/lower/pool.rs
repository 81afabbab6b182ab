//! Pooling and its adjoints.

use dl_ir::plan::{Fused, Group, windows_tile};
use dl_ir::{Attrs, DType, Graph, NodeId, Op};

use super::cx::{Cx, shape};
use super::map::{nest, store_outputs};
use super::nest::{run, split};
use super::reduce::{beats, combine, identity};
use super::{LowerError, LoweredKernel};
use crate::kernel::{Affine, BinOp, CmpOp, ReduceOp, UnOp, Value};

/// Windows of up to so many elements are unrolled.
const MOST_UNROLLED: i64 = 32;

/// The kernels of a pooling.
pub(super) fn lower(graph: &Graph, fused: &Fused, index: usize) -> Result<Vec<LoweredKernel>, LowerError> {
    let group = &fused.groups[index];
    let source = (graph, fused, group);
    let node = group.anchor.unwrap_or(group.outputs[0]);
    let windows = Windows::new(graph, node);
    let name = group.title(graph);
    let one = |kernel: Result<LoweredKernel, LowerError>| kernel.map(|k| vec![k]);
    match graph[node].op {
        Op::SumPoolGrad => one(nest(source, &name, &shape(graph, node), |cx, at| {
            let value = windows.spread(cx, at);
            cx.bind(node, at, value);
            store_outputs(cx, at);
        })),
        Op::MaxPoolGrad if windows_tile(graph, node) => windows.tiled_max_grad(source, &name),
        Op::MaxPoolGrad => one(windows.max_grad(source, &name)),
        op => one(nest(source, &name, &shape(graph, node), |cx, at| {
            let value = windows.fold(cx, at, if op == Op::MaxPool { ReduceOp::Max } else { ReduceOp::Sum });
            cx.bind(node, at, value);
            store_outputs(cx, at);
        })),
    }
}

/// The geometry of a pooling.
struct Windows<'g> {
    graph: &'g Graph,
    node: NodeId,
    dtype: DType,
    /// The axes of images on which windows slide.
    axes: Vec<usize>,
    channel: usize,
    attrs: &'g Attrs,
}

/// An element of a window: its number in row-major order, and its place on each spatial axis.
struct Tap {
    number: Affine,
    at: Vec<Affine>,
}

/// Folds one tap into what has been carried from those before, `None` for the first.
type Fold<'a, 'g> = &'a mut dyn FnMut(&mut Cx<'g>, &Tap, Option<&[Value]>) -> Vec<Value>;

impl<'g> Windows<'g> {
    fn new(graph: &'g Graph, node: NodeId) -> Windows<'g> {
        let n = &graph[node];
        let rank = n.ty.rank();
        let last = n.attrs.get_word("layout") == "last";
        let axes = if last { (1..rank - 1).collect() } else { (2..rank).collect() };
        Windows { graph, node, dtype: n.ty.dtype, axes, channel: if last { rank - 1 } else { 1 }, attrs: &n.attrs }
    }

    fn ints(&self, name: &str, s: usize) -> i64 {
        self.attrs.get_ints(name)[s]
    }

    fn arg(&self, i: usize) -> NodeId {
        self.graph[self.node].args[i]
    }

    fn size(&self) -> i64 {
        self.attrs.get_ints("kernel").iter().product()
    }

    fn is_unrolled(&self) -> bool {
        self.size() <= MOST_UNROLLED
    }

    /// All taps of an unrolled window.
    fn taps(&self) -> impl Iterator<Item = Tap> {
        (0..self.size()).map(|number| {
            let (mut rest, mut at) = (number, vec![Affine::from(0); self.axes.len()]);
            for s in (0..self.axes.len()).rev() {
                at[s] = Affine::from(rest % self.ints("kernel", s));
                rest /= self.ints("kernel", s);
            }
            Tap { number: number.into(), at }
        })
    }

    /// Folds over all taps in order: one after the other in a small window, in loops that start from `init` in a large
    /// one.
    fn each_tap(&self, cx: &mut Cx<'g>, init: &[Value], f: Fold<'_, 'g>) -> Vec<Value> {
        if !self.is_unrolled() {
            return self.tap_loops(cx, init, &mut vec![], f);
        }
        let mut carried: Option<Vec<Value>> = None;
        for tap in self.taps() {
            carried = Some(f(cx, &tap, carried.as_deref()));
        }
        carried.unwrap_or_else(|| init.to_vec())
    }

    fn tap_loops(&self, cx: &mut Cx<'g>, carried: &[Value], at: &mut Vec<Affine>, f: Fold<'_, 'g>) -> Vec<Value> {
        if at.len() == self.axes.len() {
            let number =
                at.iter().enumerate().fold(Affine::from(0), |n, (s, i)| n * self.ints("kernel", s) + i.clone());
            return f(cx, &Tap { number, at: at.clone() }, Some(carried));
        }
        cx.for_carry(0, self.ints("kernel", at.len()), carried, |cx, var, carried| {
            at.push(var.into());
            let next = self.tap_loops(cx, carried, at, f);
            at.pop();
            next
        })
    }

    /// The image element at a tap of the window at `window`, and whether it lies inside of the image, if not always.
    fn element(&self, cx: &mut Cx<'g>, image: &[i64], window: &[Affine], tap: &Tap) -> (Vec<Affine>, Option<Value>) {
        let mut at = window.to_vec();
        let mut inside = None;
        for (s, &axis) in self.axes.iter().enumerate() {
            let first = window[axis].clone() * self.ints("stride", s) - self.ints("lo", s);
            at[axis] = first + tap.at[s].clone() * self.ints("dilation", s);
            let here = cx.inside(&at[axis], 0, image[axis]);
            inside = cx.and(inside, here);
        }
        (at, inside)
    }

    /// The sum or maximum of a window.
    fn fold(&self, cx: &mut Cx<'g>, window: &[Affine], op: ReduceOp) -> Value {
        let x = self.arg(0);
        let image = shape(self.graph, x);
        let init = identity(cx, op, self.dtype);
        self.each_tap(cx, &[init], &mut |cx, tap, carried| {
            let (at, inside) = self.element(cx, &image, window, tap);
            let value = cx.guarded(x, &at, inside);
            let value = inside.map_or(value, |inside| cx.select(inside, value, init));
            vec![carried.map_or(value, |carried| combine(cx, op, carried[0], value))]
        })[0]
    }

    /// The sum of the cotangents of all windows that contain an image element.
    fn spread(&self, cx: &mut Cx<'g>, image: &[Affine]) -> Value {
        let dy = self.arg(0);
        let places = shape(self.graph, dy);
        let zero = cx.zero(self.dtype);
        self.each_tap(cx, &[zero], &mut |cx, tap, carried| {
            let mut window = image.to_vec();
            let mut inside = None;
            for (s, &axis) in self.axes.iter().enumerate() {
                let first = image[axis].clone() + self.ints("lo", s) - tap.at[s].clone() * self.ints("dilation", s);
                let (place, rest) = cx.div_mod(&first, self.ints("stride", s));
                let (exact, here) = (cx.inside(&rest, 0, 1), cx.inside(&place, 0, places[axis]));
                inside = cx.and(inside, exact);
                inside = cx.and(inside, here);
                window[axis] = place;
            }
            let value = cx.guarded(dy, &window, inside);
            let value = inside.map_or(value, |inside| cx.select(inside, value, zero));
            vec![carried.map_or(value, |carried| cx.bin(BinOp::Add, carried[0], value))]
        })[0]
    }

    /// The number of the first maximum of a window.
    fn first_max(&self, cx: &mut Cx<'g>, window: &[Affine]) -> Value {
        let x = self.arg(0);
        let image = shape(self.graph, x);
        let padded = ["lo", "hi"].iter().any(|side| self.attrs.get_ints(side).iter().any(|&p| p > 0));
        // The best value and its tap; where windows may begin outside of the image, also whether there is one yet.
        let none = cx.number(DType::Bool, 0.0);
        let least = identity(cx, ReduceOp::Max, self.dtype);
        let mut init = vec![least, self.number(cx, &Affine::from(0))];
        init.extend(padded.then_some(none));
        self.each_tap(cx, &init, &mut |cx, tap, carried| {
            let (at, inside) = self.element(cx, &image, window, tap);
            let value = cx.guarded(x, &at, inside);
            let this = self.number(cx, &tap.number);
            let inside = padded.then(|| inside.unwrap_or_else(|| cx.number(DType::Bool, 1.0)));
            let Some(carried) = carried else {
                return [value, this].into_iter().chain(inside).collect();
            };
            let mut wins = beats(cx, self.dtype, value, carried[0]);
            let mut found = None;
            if let Some(inside) = inside {
                let first = cx.un(UnOp::Not, carried[2]);
                wins = cx.bin(BinOp::Or, wins, first);
                wins = cx.bin(BinOp::And, wins, inside);
                found = Some(cx.bin(BinOp::Or, carried[2], inside));
            }
            let best = [cx.select(wins, value, carried[0]), cx.select(wins, this, carried[1])];
            best.into_iter().chain(found).collect()
        })[1]
    }

    /// A tap's number as a value, for small windows of the width of the elements.
    fn number(&self, cx: &mut Cx<'g>, number: &Affine) -> Value {
        match number.as_const().filter(|_| self.is_unrolled() && self.dtype != DType::F64) {
            Some(n) => cx.number(DType::I32, n as f64),
            None => cx.index_value(number.clone()),
        }
    }

    /// The cotangent if the first maximum is this tap, else 0.
    fn share(&self, cx: &mut Cx<'g>, first: Value, tap: &Tap, cotangent: Value) -> Value {
        let (this, zero) = (self.number(cx, &tap.number), cx.zero(self.dtype));
        let hit = cx.cmp(CmpOp::Eq, first, this);
        cx.select(hit, cotangent, zero)
    }

    /// The adjoint of the maximum where windows lie side by side: each window writes its elements, and what is left at
    /// the far edges is zero.
    fn tiled_max_grad(
        &self,
        source: (&'g Graph, &'g Fused, &'g Group),
        name: &str,
    ) -> Result<Vec<LoweredKernel>, LowerError> {
        let (image, places) = (shape(self.graph, self.node), shape(self.graph, self.arg(1)));
        let mut kernels = vec![nest(source, name, &places, |cx, window| {
            let first = self.first_max(cx, window);
            let cotangent = cx.value_at(self.arg(1), window);
            self.each_tap(cx, &[], &mut |cx, tap, _| {
                let (at, _) = self.element(cx, &image, window, tap);
                let share = self.share(cx, first, tap, cotangent);
                cx.bind(self.node, &at, share);
                store_outputs(cx, &at);
                vec![]
            });
        })?];
        for (s, &axis) in self.axes.iter().enumerate() {
            let covered = |s: usize| places[self.axes[s]] * self.ints("stride", s);
            let mut rest = image.clone();
            (0..s).for_each(|s| rest[self.axes[s]] = covered(s));
            rest[axis] -= covered(s);
            if rest[axis] == 0 {
                continue;
            }
            kernels.push(nest(source, &format!("{name}.edge"), &rest, |cx, at| {
                let mut at = at.to_vec();
                at[axis] = at[axis].clone() + covered(s);
                let zero = cx.zero(self.dtype);
                cx.bind(self.node, &at, zero);
                store_outputs(cx, &at);
            })?);
        }
        Ok(kernels)
    }

    /// The adjoint of the maximum in general: each part clears some channels of an image and then adds window by window.
    fn max_grad(&self, source: (&'g Graph, &'g Fused, &'g Group), name: &str) -> Result<LoweredKernel, LowerError> {
        let (graph, fused, group) = source;
        let (image, places) = (shape(graph, self.node), shape(graph, self.arg(1)));
        let last = self.channel == image.len() - 1;
        let channels = image[self.channel];
        let extents = if last { vec![image[0], channels] } else { vec![image[0], channels, 1] };
        let ns: i64 = self.axes.iter().map(|&a| places[a]).product::<i64>() * self.size();
        let split = split(&extents, ns as f64);
        let mut cx = Cx::new(graph, fused, group, name, split.parts);
        run(&mut cx, &extents, split, &mut |cx, outer, start, count| {
            let mut at = vec![Affine::from(0); image.len()];
            at[0] = outer[0].clone();
            if !last {
                at[self.channel] = outer[1].clone();
            }
            // The vector loop: over channels if they are neighbours, else over the last spatial axis.
            let vector = if last { self.channel } else { image.len() - 1 };
            let serial: Vec<usize> = self.axes.iter().copied().filter(|&a| a != vector).collect();
            let counts = |sizes: &[i64]| if last { count } else { sizes[vector] as u64 };
            let first = if last { start } else { Affine::from(0) };
            each_place(cx, &image, &serial, &mut at.clone(), &mut |cx, at| {
                cx.vec(counts(&image), |cx, var| {
                    at[vector] = first.clone() + var;
                    let zero = cx.zero(self.dtype);
                    cx.store_node(self.node, at, zero);
                });
            });
            each_place(cx, &places, &serial, &mut at, &mut |cx, window| {
                cx.vec(counts(&places), |cx, var| {
                    window[vector] = first.clone() + var;
                    self.add_shares(cx, &image, window);
                });
            });
        });
        cx.finish()
    }

    fn add_shares(&self, cx: &mut Cx<'g>, image: &[i64], window: &[Affine]) {
        let first = self.first_max(cx, window);
        let cotangent = cx.value_at(self.arg(1), window);
        self.each_tap(cx, &[], &mut |cx, tap, _| {
            let (at, inside) = self.element(cx, image, window, tap);
            let share = self.share(cx, first, tap, cotangent);
            cx.add_to_node(self.node, &at, share, inside);
            vec![]
        });
    }
}

/// Serial loops over some axes.
fn each_place<'g>(
    cx: &mut Cx<'g>,
    sizes: &[i64],
    axes: &[usize],
    at: &mut Vec<Affine>,
    f: &mut dyn FnMut(&mut Cx<'g>, &mut Vec<Affine>),
) {
    match axes.split_first() {
        None => f(cx, at),
        Some((&axis, rest)) => cx.for_(0, sizes[axis], |cx, var| {
            at[axis] = var.into();
            each_place(cx, sizes, rest, at, f);
        }),
    }
}
