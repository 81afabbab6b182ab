//! Reductions: one or several of one domain over the same axes, then an epilogue on the results.
//!
//! The vector loop is over a kept axis (columns are folded side by side) or over a reduced one (lanes are folded at the
//! end), whichever reads neighbours. Where few results are made of much, each part folds a piece to a temporary and a
//! second kernel folds the pieces, always the same ones whatever the number of threads.

use dl_ir::plan::Fused;
use dl_ir::{Class, Graph, NodeId, Op};

use super::cx::{Cx, shape};
use super::nest::{Loop, Probe, coords, probe, run, split};
use super::{LowerError, LoweredKernel};
use crate::kernel::{Access, Affine, BinOp, CmpOp, DType, IndexExpr, ReduceOp, Value};

/// So many iterations of an innermost serial loop are folded as a tree.
const UNROLL: i64 = 4;
/// Work for fewer parts is split along the reduced axes too, into pieces of so many nanoseconds.
const ENOUGH_PARTS: u64 = 8;
const PIECE_NS: f64 = 40_000.0;
const PIECE_ELEMENTS: i64 = 6 * 1024;
const MOST_PIECES: i64 = 256;
/// Fewer neighbouring columns than that are not worth going through all rows for: they touch few lines of each page.
const LEAST_COLUMNS: i64 = 64;

/// The kernels of a reduction.
pub(super) fn lower(graph: &Graph, fused: &Fused, index: usize) -> Result<Vec<LoweredKernel>, LowerError> {
    let group = &fused.groups[index];
    let source = (graph, fused, group);
    let reductions: Vec<NodeId> =
        group.nodes.iter().copied().filter(|&n| graph[n].op.class() == Class::Reduce).collect();
    let operand = graph[reductions[0]].args[0];
    let domain = shape(graph, operand);
    let is_reduced = reduced(graph, reductions[0], domain.len());
    let probe = probe(source, &domain, |cx, at| {
        for (i, &r) in reductions.iter().enumerate() {
            let value = cx.value_at(graph[r].args[0], at);
            // What is folded is used: a place to store it stands for the accumulator.
            let buf = cx.scratch(graph.ty(graph[r].args[0]).dtype, reductions.len() as u64);
            cx.store(buf, i as i64, value);
        }
    })?;
    let folds = Folds::new(graph, reductions, domain, &is_reduced, &probe);
    let name = group.title(graph);
    let pieces = folds.pieces(probe.ns);
    let extents = folds.kept_extents();
    let mut kernels = vec![];
    if pieces == 1 {
        let split = split(&extents, probe.ns * folds.reduced_extent() as f64 + 1.0);
        let mut cx = Cx::new(graph, fused, group, &name, split.parts);
        run(&mut cx, &extents, split, &mut |cx, outer, start, count| {
            folds.each_result(cx, outer, start, count, &mut |cx, kept| {
                let values = folds.fold(cx, kept, None);
                folds.finish(cx, kept, &values);
            });
        });
        kernels.push(cx.finish()?);
        return Ok(kernels);
    }
    let results: i64 = extents.iter().product();
    let first = [&[pieces][..], &extents].concat();
    let share = probe.ns * folds.reduced_extent() as f64 / pieces as f64 + 1.0;
    let first_split = split(&first, share);
    let mut cx = Cx::new(graph, fused, group, &format!("{name}.pieces"), first_split.parts);
    run(&mut cx, &first, first_split, &mut |cx, outer, start, count| {
        let piece = &outer[0];
        folds.each_result(cx, &outer[1..], start, count, &mut |cx, kept| {
            let values = folds.fold(cx, kept, Some((piece, pieces)));
            let at = piece.clone() * results + folds.place(kept);
            for (i, value) in values.into_iter().enumerate() {
                let buf = folds.temp(cx, i, pieces * results, Access::Write);
                cx.store(buf, at.clone(), value);
            }
        });
    });
    kernels.push(cx.finish()?);
    let split = split(&extents, pieces as f64);
    let mut cx = Cx::new(graph, fused, group, &name, split.parts);
    run(&mut cx, &extents, split, &mut |cx, outer, start, count| {
        folds.each_result(cx, outer, start, count, &mut |cx, kept| {
            let values = folds.fold_pieces(cx, kept, pieces, results);
            folds.finish(cx, kept, &values);
        });
    });
    kernels.push(cx.finish()?);
    Ok(kernels)
}

/// For each axis of the domain whether the reduction folds it.
pub(super) fn reduced(graph: &Graph, reduction: NodeId, rank: usize) -> Vec<bool> {
    let n = &graph[reduction];
    let axes = if n.op == Op::ArgMax { vec![n.attrs.get_int("axis") as usize] } else { n.attrs.get_axes("axes") };
    (0..rank).map(|a| axes.contains(&a)).collect()
}

/// How a reduction node folds in the kernel IR.
pub(super) fn reduce_op(op: Op) -> ReduceOp {
    match op {
        Op::ReduceProd => ReduceOp::Prod,
        Op::ReduceMax => ReduceOp::Max,
        Op::ReduceMin => ReduceOp::Min,
        Op::ArgMax => ReduceOp::ArgMax,
        _ => ReduceOp::Sum,
    }
}

/// The result of folding nothing.
pub(super) fn identity(cx: &mut Cx<'_>, op: ReduceOp, dtype: DType) -> Value {
    let least = |cx: &mut Cx<'_>, sign: f64| match dtype {
        DType::F32 | DType::F64 => cx.number(dtype, sign * f64::INFINITY),
        DType::I64 => cx.number(dtype, if sign < 0.0 { i64::MIN as f64 } else { i64::MAX as f64 }),
        DType::I32 | DType::U8 => {
            cx.number(DType::I32, if sign < 0.0 { f64::from(i32::MIN) } else { f64::from(i32::MAX) })
        }
        DType::Bool => cx.number(dtype, f64::from(u8::from(sign > 0.0))),
    };
    match op {
        ReduceOp::Sum => cx.zero(dtype),
        ReduceOp::Prod => cx.number(dtype, 1.0),
        ReduceOp::Max | ReduceOp::ArgMax => least(cx, -1.0),
        ReduceOp::Min | ReduceOp::ArgMin => least(cx, 1.0),
    }
}

/// Two folded values as one.
pub(super) fn combine(cx: &mut Cx<'_>, op: ReduceOp, a: Value, b: Value) -> Value {
    let op = match op {
        ReduceOp::Sum => BinOp::Add,
        ReduceOp::Prod => BinOp::Mul,
        ReduceOp::Max | ReduceOp::ArgMax => BinOp::Max,
        ReduceOp::Min | ReduceOp::ArgMin => BinOp::Min,
    };
    cx.bin(op, a, b)
}

/// The loops of reductions.
struct Folds<'g> {
    graph: &'g Graph,
    reductions: Vec<NodeId>,
    ops: Vec<ReduceOp>,
    rank: usize,
    is_reduced: Vec<bool>,
    /// Loops over kept axes; the last one is the vector loop if that is over a kept axis.
    kept: Vec<Loop>,
    /// Loops over reduced axes; the last one is the vector loop if that is over a reduced axis.
    reduced: Vec<Loop>,
    /// Whether the vector loop is over a reduced axis.
    across: bool,
}

impl<'g> Folds<'g> {
    fn new(
        graph: &'g Graph,
        reductions: Vec<NodeId>,
        domain: Vec<i64>,
        is_reduced: &[bool],
        probe: &Probe,
    ) -> Folds<'g> {
        let loops = probe.loops(|axis| is_reduced[axis]);
        let vector = probe.best_vector(&loops).map(|at| loops[at].clone());
        let of = |folded: bool| {
            let mut class: Vec<Loop> = loops.iter().filter(|l| is_reduced[l.axes[0].0] == folded).cloned().collect();
            if let Some(at) = class.iter().position(|l| Some(l) == vector.as_ref()) {
                let vector = class.remove(at);
                class.push(vector);
            }
            class
        };
        let ops = reductions.iter().map(|&r| reduce_op(graph[r].op)).collect();
        let (kept, reduced) = (of(false), of(true));
        let across = vector.is_some_and(|l| is_reduced[l.axes[0].0]);
        Folds { graph, reductions, ops, rank: domain.len(), is_reduced: is_reduced.to_vec(), kept, reduced, across }
    }

    fn reduced_extent(&self) -> i64 {
        self.reduced.iter().map(|l| l.extent).product()
    }

    /// The kept loops, behind them one for the single result where the vector loop is over a reduced axis.
    fn kept_extents(&self) -> Vec<i64> {
        let mut extents: Vec<i64> = self.kept.iter().map(|l| l.extent).collect();
        if self.across || self.kept.is_empty() {
            extents.push(1);
        }
        extents
    }

    /// Into how many pieces to split the first reduced loop.
    fn pieces(&self, ns: f64) -> i64 {
        let extents = self.kept_extents();
        let work = ns * self.reduced_extent() as f64;
        let total = work * extents.iter().product::<i64>() as f64;
        let mut alone = split(&extents, work + 1.0).parts as i64;
        if !self.across && !self.kept.is_empty() {
            let (all, width) = (extents.iter().product::<i64>(), extents[extents.len() - 1]);
            if all / alone < LEAST_COLUMNS.min(width) {
                alone = all / width;
            }
        }
        let first = self.reduced.first().map_or(1, |l| l.extent);
        if alone >= ENOUGH_PARTS as i64 || total < 2.0 * PIECE_NS || self.ops.contains(&ReduceOp::ArgMax) {
            return 1;
        }
        let by_time = (total / PIECE_NS / alone as f64) as i64;
        let (most, wanted) = match self.across && self.reduced.len() == 1 {
            // A piece of a vector loop is worth it from a few hundred elements on.
            true => (first / 512, by_time),
            // Columns are folded a few at a time: a piece should stay in the first-level cache.
            false => {
                let width = extents.last().copied().unwrap_or(1);
                (first / 4, by_time.max(self.reduced_extent() * width / PIECE_ELEMENTS))
            }
        };
        let pieces = wanted.clamp(1, MOST_PIECES).min(most).max(1);
        // None of them is empty.
        let size = (first + pieces - 1) / pieces;
        (first + size - 1) / size
    }

    /// Runs `f` with the counters of the kept loops for each result of a part.
    fn each_result(
        &self,
        cx: &mut Cx<'g>,
        outer: &[Affine],
        start: Affine,
        count: u64,
        f: &mut dyn FnMut(&mut Cx<'g>, &[Affine]),
    ) {
        if self.across || self.kept.is_empty() {
            return f(cx, outer);
        }
        cx.vec(count, |cx, var| f(cx, &[outer, &[start + var]].concat()));
    }

    /// The number of a result in temporaries.
    fn place(&self, kept: &[Affine]) -> Affine {
        self.kept.iter().zip(kept).fold(Affine::from(0), |at, (l, c)| at * l.extent + c.clone())
    }

    /// Temporary number `i`; truth values and bytes are folded as they are.
    fn temp(&self, cx: &mut Cx<'g>, i: usize, len: i64, access: Access) -> crate::kernel::BufId {
        cx.temp(i as u32, self.graph.ty(self.reductions[i]).dtype, len as u64, access)
    }

    /// The types of the values that are folded.
    fn dtype(&self, i: usize) -> DType {
        self.graph.ty(self.graph[self.reductions[i]].args[0]).dtype
    }

    /// Folds everything, or one of so many pieces of the first reduced loop.
    fn fold(&self, cx: &mut Cx<'g>, kept: &[Affine], piece: Option<(&Affine, i64)>) -> Vec<Value> {
        if self.ops.contains(&ReduceOp::ArgMax) {
            return vec![self.argmax(cx, kept)];
        }
        let values = self.level(cx, kept, &mut vec![], piece);
        values.into_iter().enumerate().map(|(i, v)| cx.wrap(self.dtype(i), v)).collect()
    }

    /// The values to be folded where all loops have counters.
    fn values(&self, cx: &mut Cx<'g>, kept: &[Affine], inner: &[Affine]) -> Vec<Value> {
        let at = self.domain_coords(cx, kept, inner);
        self.reductions.iter().map(|&r| cx.value_at(self.graph[r].args[0], &at)).collect()
    }

    fn domain_coords(&self, cx: &mut Cx<'g>, kept: &[Affine], inner: &[Affine]) -> Vec<Affine> {
        let loops = [&self.kept[..], &self.reduced[..]].concat();
        let counters = [kept, inner].concat();
        coords(cx, self.rank, &loops, &counters)
    }

    fn level(
        &self,
        cx: &mut Cx<'g>,
        kept: &[Affine],
        inner: &mut Vec<Affine>,
        piece: Option<(&Affine, i64)>,
    ) -> Vec<Value> {
        let depth = inner.len();
        let Some(extent) = self.reduced.get(depth).map(|l| l.extent) else {
            return self.values(cx, kept, inner);
        };
        let innermost = depth + 1 == self.reduced.len();
        let size = piece.map_or(extent, |(_, pieces)| (extent + pieces - 1) / pieces);
        let lo = piece.map_or(Affine::from(0), |(piece, _)| piece.clone() * size);
        if innermost && self.across {
            let even = piece.is_none_or(|(_, pieces)| size * pieces == extent);
            return cx.vec_reduce(size as u64, |cx, var| {
                let at = lo + var;
                let inside = (!even).then(|| cx.inside(&at, 0, extent)).flatten();
                let coords = self.domain_coords(cx, kept, &[&inner[..], &[at]].concat());
                let fold = |(i, &r): (usize, &NodeId)| {
                    let value = cx.guarded(self.graph[r].args[0], &coords, inside);
                    let value = match inside {
                        None => value,
                        Some(inside) => {
                            let other = identity(cx, self.ops[i], self.dtype(i));
                            cx.select(inside, value, other)
                        }
                    };
                    (self.ops[i], value)
                };
                self.reductions.iter().enumerate().map(fold).collect()
            });
        }
        let hi: Affine = match piece {
            None => extent.into(),
            Some((_, pieces)) if size * pieces == extent => lo.clone() + size,
            Some(_) => cx.index(IndexExpr::Min(lo.clone() + size, extent.into())).into(),
        };
        let start: Vec<Value> = (0..self.ops.len()).map(|i| identity(cx, self.ops[i], self.dtype(i))).collect();
        if !innermost || size < 2 * UNROLL {
            return self.serial(cx, kept, inner, (lo, hi), &start);
        }
        // Several at a time as a tree, so that additions do not wait for each other; then the rest.
        let length = hi.clone() - lo.clone();
        let count = match length.as_const() {
            Some(n) => Affine::from(n / UNROLL),
            None => cx.index(IndexExpr::Div(length, UNROLL as u64)).into(),
        };
        let whole = cx.for_carry(0, count.clone(), &start, |cx, var, carried| {
            let first = lo.clone() + var * UNROLL;
            let first: Affine = match piece {
                None => first,
                Some(_) => cx.index(IndexExpr::Within(first, 0, extent - UNROLL + 1)).into(),
            };
            let mut each: Vec<Vec<Value>> = vec![];
            for i in 0..UNROLL {
                inner.push(first.clone() + i);
                each.push(self.values(cx, kept, inner));
                inner.pop();
            }
            let mut tree = |i: usize| {
                let op = self.ops[i];
                let left = combine(cx, op, each[0][i], each[1][i]);
                let right = combine(cx, op, each[2][i], each[3][i]);
                let both = combine(cx, op, left, right);
                combine(cx, op, carried[i], both)
            };
            (0..self.ops.len()).map(&mut tree).collect()
        });
        if count.as_const().is_some_and(|n| n * UNROLL == extent) && piece.is_none() {
            return whole;
        }
        self.serial(cx, kept, inner, (lo + count * UNROLL, hi), &whole)
    }

    fn serial(
        &self,
        cx: &mut Cx<'g>,
        kept: &[Affine],
        inner: &mut Vec<Affine>,
        (lo, hi): (Affine, Affine),
        start: &[Value],
    ) -> Vec<Value> {
        let extent = self.reduced[inner.len()].extent;
        cx.for_carry(lo, hi, start, |cx, var, carried| {
            let (least, greatest) = cx.range(&var.into());
            let at = match least >= 0 && greatest < extent {
                true => var,
                false => cx.index(IndexExpr::Within(var.into(), 0, extent)),
            };
            inner.push(at.into());
            let values = self.level(cx, kept, inner, None);
            inner.pop();
            (0..self.ops.len()).map(|i| combine(cx, self.ops[i], carried[i], values[i])).collect()
        })
    }

    /// Folds the pieces of a result.
    fn fold_pieces(&self, cx: &mut Cx<'g>, kept: &[Affine], pieces: i64, results: i64) -> Vec<Value> {
        let place = self.place(kept);
        let load = |cx: &mut Cx<'g>, i: usize, piece: Affine| {
            let buf = self.temp(cx, i, pieces * results, Access::Read);
            cx.load(buf, piece * results + place.clone())
        };
        let count = self.ops.len();
        let values = if self.across || self.kept.is_empty() {
            cx.vec_reduce(pieces as u64, |cx, piece| {
                (0..count).map(|i| (self.ops[i], load(cx, i, piece.into()))).collect()
            })
        } else {
            let start: Vec<Value> = (0..count).map(|i| identity(cx, self.ops[i], self.dtype(i))).collect();
            cx.for_carry(0, pieces, &start, |cx, piece, carried| {
                let mut fold = |i: usize| {
                    let value = load(cx, i, piece.into());
                    combine(cx, self.ops[i], carried[i], value)
                };
                (0..count).map(&mut fold).collect()
            })
        };
        values.into_iter().enumerate().map(|(i, v)| cx.wrap(self.dtype(i), v)).collect()
    }

    fn argmax(&self, cx: &mut Cx<'g>, kept: &[Affine]) -> Value {
        let Some(extent) = self.reduced.first().map(|l| l.extent) else {
            return cx.zero(DType::I64);
        };
        if self.across {
            let op = |cx: &mut Cx<'g>, var: Affine| vec![(ReduceOp::ArgMax, self.values(cx, kept, &[var])[0])];
            return cx.vec_reduce(extent as u64, |cx, var| op(cx, var.into()))[0];
        }
        let start = [self.values(cx, kept, &[0.into()])[0], cx.zero(DType::I64)];
        cx.for_carry(1, extent, &start, |cx, var, best| {
            let value = self.values(cx, kept, &[var.into()])[0];
            let beats = beats(cx, self.dtype(0), value, best[0]);
            let at = cx.index_value(var.into());
            vec![cx.select(beats, value, best[0]), cx.select(beats, at, best[1])]
        })[1]
    }

    /// Stores the outputs at one place, given the folded values.
    fn finish(&self, cx: &mut Cx<'g>, kept: &[Affine], values: &[Value]) {
        let zeros = vec![Affine::from(0); self.reduced.len()];
        let all = self.domain_coords(cx, kept, &zeros);
        let at: Vec<Affine> = (0..self.rank).filter(|&a| !self.is_reduced[a]).map(|a| all[a].clone()).collect();
        for (&r, &value) in self.reductions.iter().zip(values) {
            cx.bind(r, &at, value);
        }
        let outputs = &cx.group.outputs;
        let values: Vec<Value> = outputs.iter().map(|&o| cx.value_at(o, &at)).collect();
        for (&output, value) in outputs.iter().zip(values) {
            cx.store_node(output, &at, value);
        }
    }
}

/// Whether `x` is a greater maximum than `best`: greater, or the first NaN.
pub(super) fn beats(cx: &mut Cx<'_>, dtype: DType, x: Value, best: Value) -> Value {
    let greater = cx.cmp(CmpOp::Gt, x, best);
    if !dtype.is_float() {
        return greater;
    }
    let (nan, ordered) = (cx.cmp(CmpOp::Ne, x, x), cx.cmp(CmpOp::Eq, best, best));
    let first_nan = cx.bin(BinOp::And, nan, ordered);
    cx.bin(BinOp::Or, greater, first_nan)
}
