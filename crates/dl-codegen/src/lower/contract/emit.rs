//! Writes the kernels of a planned contraction.

use dl_ir::DType;

use super::copy::{self, copy};
use super::plan::{Blocks, Form, Pack, Plan, Split, operands, plan};
use super::{Contraction, Operand, Source, Writer, at_most, buffer, sum_in_pairs};
use crate::kernel::{
    Access, Affine, Axis, BinOp, BufId, Contract, Expr, IndexExpr, KLoop, Lanes, Place, Stmt, Value, Var,
};
use crate::lower::LowerError;
use crate::lower::cx::{Cx, shape};

/// A part of the kernel that adds up chunks reads about so many elements.
const SUM_PART: u64 = 1 << 16;

/// Writes the kernels of a contraction and of what the group does with its result.
pub(super) fn lower(w: &mut Writer<'_>, c: &Contraction) -> Result<(), LowerError> {
    let sizes: Vec<u64> = shape(w.graph, w.anchor).iter().map(|&s| s as u64).collect();
    let kept = [c.a, c.b].map(|o| w.is_kept(o));
    let Some(mut plan) = plan(c, &sizes, kept) else { return Ok(()) };
    let (mut a, mut b) = operands(c, &plan);
    // How far a block of columns moves in the right operand.
    let mut panel = plan.n.map_or(0, |n| plan.free[n.axis].b * n.size as i64);
    if plan.pack != Pack::No {
        (b, panel) = pack(w, c.dtype, b, &mut plan)?;
    }
    if plan.pack_rows {
        a = pack_rows(w, c.dtype, a, &mut plan)?;
    }
    plan.merge();
    let len: u64 = plan.free.iter().map(|x| x.extent).product();
    let partial = plan.split.map(|s| w.temp(s.chunks() * len));
    let target = Target { anchor: w.anchor, out: &c.out };
    let product = Product { plan: &plan, dtype: c.dtype, a, b, panel, partial, target };
    w.kernel("", plan.parts(), |cx| product.write(cx))?;
    if let (Some(split), Some(partial)) = (plan.split, partial) {
        add_up(w, c.dtype, &plan, split, partial, target)?;
    }
    Ok(())
}

/// Copies the right operand so that vectors are contiguous; returns it with the step from one block of columns to the
/// next, and gives the loops their new strides.
fn pack(w: &mut Writer<'_>, dtype: DType, b: Operand, p: &mut Plan) -> Result<(Operand, i64), LowerError> {
    enum Slot {
        Free(usize),
        Panel,
        Sum(usize),
    }
    let columns = p.n.filter(|_| p.pack == Pack::Columns);
    // Blocks of columns are stored one after the other if they are equally large.
    let panels = columns.filter(|n| n.count > 1 && p.free[n.axis].extent == n.size * n.count);
    let mut axes = vec![];
    let mut slots = vec![];
    for (i, x) in p.free.iter().enumerate() {
        if let Some(n) = panels.filter(|n| n.axis == i) {
            axes.push(copy::Axis::plain(n.count, x.b * n.size as i64));
            slots.push(Slot::Panel);
        } else if x.b != 0 && columns.is_none_or(|n| n.axis != i) {
            axes.push(copy::Axis::plain(x.extent, x.b));
            slots.push(Slot::Free(i));
        }
    }
    for (i, x) in p.sums.iter().enumerate().filter(|(_, x)| x.b != 0) {
        axes.push(copy::Axis::plain(x.extent, x.b));
        slots.push(Slot::Sum(i));
    }
    if let Some(n) = columns {
        let x = &p.free[n.axis];
        axes.push(copy::Axis::plain(if panels.is_some() { n.size } else { x.extent }, x.b));
        slots.push(Slot::Free(n.axis));
    }
    let packed = copy(w, b, dtype, &axes)?;
    let mut stride = 1;
    let mut panel = 0;
    for (axis, slot) in axes.iter().zip(slots).rev() {
        match slot {
            Slot::Free(i) => p.free[i].b = stride,
            Slot::Panel => panel = stride,
            Slot::Sum(i) => p.sums[i].b = stride,
        }
        stride *= axis.full() as i64;
    }
    if panels.is_none() {
        panel = p.n.map_or(0, |n| p.free[n.axis].b * n.size as i64);
    }
    Ok((packed, panel))
}

/// Copies the left operand to rows along the sum, of a length that spreads them over all cache sets.
fn pack_rows(w: &mut Writer<'_>, dtype: DType, a: Operand, p: &mut Plan) -> Result<Operand, LowerError> {
    let line = 64 / dtype.size() as u64;
    let mut axes: Vec<(usize, copy::Axis)> = vec![];
    for (i, x) in p.free.iter().enumerate().filter(|(_, x)| x.a != 0) {
        axes.push((i, copy::Axis::plain(x.extent, x.a)));
    }
    let sum = copy::Axis { gap: line, ..copy::Axis::plain(p.sums[0].extent, p.sums[0].a) };
    let all: Vec<copy::Axis> = axes.iter().map(|(_, x)| *x).chain([sum]).collect();
    let packed = copy(w, a, dtype, &all)?;
    let mut stride = sum.full() as i64;
    for (i, axis) in axes.into_iter().rev() {
        p.free[i].a = stride;
        stride *= axis.full() as i64;
    }
    p.sums[0].a = 1;
    Ok(packed)
}

/// Where results go.
#[derive(Clone, Copy)]
struct Target<'a> {
    anchor: dl_ir::NodeId,
    out: &'a [i64],
}

impl Target<'_> {
    /// Stores what the group makes of the sum `acc`, where the free loops have the given counters.
    fn store(&self, cx: &mut Cx<'_>, plan: &Plan, counters: &[Affine], acc: Value) {
        let mut at: Vec<Affine> = self.out.iter().map(|&o| Affine::from(o)).collect();
        for (axis, counter) in plan.free.iter().zip(counters) {
            let mut rest = counter.clone();
            for (i, &(out, step, extent)) in axis.outs.iter().enumerate().rev() {
                let here = if i == 0 {
                    rest.clone()
                } else {
                    let (next, here) = cx.div_mod(&rest, extent as i64);
                    rest = next;
                    here
                };
                at[out] = at[out].clone() + here * step;
            }
        }
        super::store(cx, self.anchor, &at, acc);
    }
}

/// The kernel of the product.
struct Product<'a> {
    plan: &'a Plan,
    dtype: DType,
    a: Operand,
    b: Operand,
    panel: i64,
    partial: Option<Source>,
    target: Target<'a>,
}

/// The outer loops' counters, with those of the blocks of `m` and `n`.
type Counters = Vec<(Blocks, Affine)>;

/// The block of the sum that is being added.
#[derive(Clone)]
struct Step {
    /// Which of all chunks.
    chunk: Affine,
    /// Number of the block.
    block: Affine,
    /// Whether the chunk has more than one block.
    add: bool,
}

impl Product<'_> {
    fn write(&self, cx: &mut Cx<'_>) {
        let p = self.plan;
        let count = p.outer_count();
        let portions = count.div_ceil(p.group);
        let (chunk, portion) = cx.div_mod(&Affine::from(Var::PART), portions as i64);
        let each = |cx: &mut Cx<'_>, f: &mut dyn FnMut(&mut Cx<'_>, Affine)| {
            if p.group == 1 {
                return f(cx, portion.clone());
            }
            let lo = portion.clone() * p.group as i64;
            let hi = at_most(cx, lo.clone() + p.group as i64, count);
            cx.for_(lo, hi, |cx, t| f(cx, t.into()));
        };
        let Some(split) = p.split else {
            return each(cx, &mut |cx, t| self.tile(cx, t, None));
        };
        if split.group == 1 {
            let step = Step { block: chunk.clone(), chunk, add: false };
            return each(cx, &mut |cx, t| self.tile(cx, t, Some(&step)));
        }
        each(cx, &mut |cx, t| {
            let counters = self.counters(cx, t);
            self.variants(cx, counters, &mut |cx, counters, m, n| self.clear(cx, &chunk, counters, m, n));
        });
        let lo = chunk.clone() * split.group as i64;
        let hi = at_most(cx, lo.clone() + split.group as i64, split.blocks);
        cx.for_(lo, hi, |cx, block| {
            let step = Step { chunk: chunk.clone(), block: block.into(), add: true };
            each(cx, &mut |cx, t| self.tile(cx, t, Some(&step)));
        });
    }

    /// One iteration of the outer loops.
    fn tile(&self, cx: &mut Cx<'_>, t: Affine, step: Option<&Step>) {
        let counters = self.counters(cx, t);
        self.variants(cx, counters, &mut |cx, counters, m, n| self.statement(cx, counters, m, n, step));
    }

    /// The counters of the outer loops in their iteration `t`.
    fn counters(&self, cx: &mut Cx<'_>, t: Affine) -> Counters {
        let mut rest = t;
        let mut counters: Counters = vec![];
        for (i, &o) in self.plan.outer.iter().enumerate().rev() {
            let here = if i == 0 {
                rest.clone()
            } else {
                let (next, here) = cx.div_mod(&rest, o.count as i64);
                rest = next;
                here
            };
            counters.push((o, here));
        }
        counters
    }

    /// Calls `f` with the counters and the numbers of rows and columns: for whole blocks, and where the last block is
    /// smaller for that one too, each under its condition.
    fn variants(&self, cx: &mut Cx<'_>, counters: Counters, f: &mut dyn FnMut(&mut Cx<'_>, &Counters, u64, u64)) {
        self.blocks(cx, self.plan.m, counters, &mut |cx, counters, m| {
            self.blocks(cx, self.plan.n, counters.clone(), &mut |cx, counters, n| f(cx, counters, m, n));
        });
    }

    fn blocks(
        &self,
        cx: &mut Cx<'_>,
        blocks: Option<Blocks>,
        counters: Counters,
        f: &mut dyn FnMut(&mut Cx<'_>, &Counters, u64),
    ) {
        let Some(b) = blocks else { return f(cx, &counters, 1) };
        let tail = self.plan.free[b.axis].extent % b.size;
        let Some(at) = counters.iter().position(|(o, _)| *o == b).filter(|_| tail != 0) else {
            return f(cx, &counters, b.size);
        };
        let here = counters[at].1.clone();
        let last = b.count as i64 - 1;
        let whole = cx.let_(Expr::InRange { at: here.clone(), lo: 0, hi: last });
        cx.if_(whole, |cx| {
            let mut counters = counters.clone();
            counters[at].1 = cx.index(IndexExpr::Within(here.clone(), 0, last)).into();
            f(cx, &counters, b.size);
        });
        let rest = cx.let_(Expr::InRange { at: here, lo: last, hi: last + 1 });
        cx.if_(rest, |cx| {
            let mut counters = counters.clone();
            counters[at].1 = Affine::from(last);
            f(cx, &counters, tail);
        });
    }

    /// Sets the sums of a block to 0.
    fn clear(&self, cx: &mut Cx<'_>, chunk: &Affine, counters: &Counters, m: u64, n: u64) {
        cx.for_(0, m as i64, |cx, row| {
            cx.vec(n, |cx, column| {
                let free = self.free(counters, row.into(), column.into());
                let zero = cx.zero(self.dtype);
                self.keep(cx, chunk, &free, zero, false);
            });
        });
    }

    /// The statement which computes a block of the product, or adds a block of the sum to it.
    fn statement(&self, cx: &mut Cx<'_>, counters: &Counters, m: u64, n: u64, step: Option<&Step>) {
        let p = self.plan;
        let read = |cx: &mut Cx<'_>, o: Operand| buffer(cx, o.source, self.dtype, Access::Read);
        let (a_buf, b_buf) = (read(cx, self.a), read(cx, self.b));
        let (mut a, mut b) = (Affine::from(self.a.offset), Affine::from(self.b.offset));
        for (o, counter) in counters {
            let panel = p.n.is_some_and(|n| n.axis == o.axis);
            let x = &p.free[o.axis];
            a = a + counter.clone() * (x.a * o.size as i64);
            b = b + counter.clone() * if panel { self.panel } else { x.b * o.size as i64 };
        }
        let bounds = self.bounds(cx, step, (&mut a, &mut b));
        let stride = |blocks: Option<Blocks>| blocks.map_or((0, 0), |x| (p.free[x.axis].a, p.free[x.axis].b));
        let ((a_m, _), (a_n, b_n)) = (stride(p.m), stride(p.n));
        let store = |cx: &mut Cx<'_>, row: Affine, column: Affine, acc: Value| {
            let free = self.free(counters, row, column);
            match step {
                Some(step) => self.keep(cx, &step.chunk, &free, acc, step.add),
                None => self.target.store(cx, p, &free, acc),
            }
        };
        if p.form == Form::Both {
            return cx.vec(n, |cx, column| {
                let (a, b) = (a + column * a_n, b + column * b_n);
                let zero = cx.zero(self.dtype);
                let acc = self.sum(cx, &bounds, (a_buf, a), (b_buf, b), zero);
                store(cx, Affine::from(0), column.into(), acc);
            });
        }
        let (epilogue, (m, n, k, a, b, acc)) = cx.block(|cx| {
            let m = Axis { var: cx.fresh_var(0, m as i64 - 1), extent: m };
            let n = Axis { var: cx.fresh_var(0, n as i64 - 1), extent: n };
            let (mut a, mut b) = (a + m.var * a_m, b + n.var * b_n);
            let mut k = vec![];
            for (x, (lo, hi)) in p.sums.iter().zip(bounds) {
                let var = cx.fresh_var(cx.range(&lo).0, cx.range(&hi).1 - 1);
                (a, b) = (a + var * x.a, b + var * x.b);
                k.push(KLoop { var, lo, hi });
            }
            let acc = cx.fresh_value(self.dtype);
            store(cx, m.var.into(), n.var.into(), acc);
            (m, n, k, Place { buf: a_buf, at: a }, Place { buf: b_buf, at: b }, acc)
        });
        let lanes = if p.form == Form::Sums { Lanes::K } else { Lanes::N };
        cx.push(Stmt::Contract(Box::new(Contract { m, n, k, a, b, lanes, acc, epilogue })));
    }

    /// The sum for the lanes of a vector loop.
    fn sum(
        &self,
        cx: &mut Cx<'_>,
        bounds: &[(Affine, Affine)],
        a: (BufId, Affine),
        b: (BufId, Affine),
        acc: Value,
    ) -> Value {
        let done = self.plan.sums.len() - bounds.len();
        let Some(((lo, hi), inner)) = bounds.split_first() else {
            let (x, y) = (cx.load(a.0, a.1), cx.load(b.0, b.1));
            return if self.dtype.is_float() {
                cx.let_(Expr::MulAdd(x, y, acc))
            } else {
                let product = cx.bin(BinOp::Mul, x, y);
                cx.bin(BinOp::Add, acc, product)
            };
        };
        let axis = &self.plan.sums[done];
        let sums = cx.for_carry(lo.clone(), hi.clone(), &[acc], |cx, k, acc| {
            vec![self.sum(cx, inner, (a.0, a.1 + k * axis.a), (b.0, b.1 + k * axis.b), acc[0])]
        });
        sums[0]
    }

    /// The bounds of the summed loops. For a block of a split sum the operands move to where it starts, so that bounds
    /// are numbers, which the emitter unrolls, wherever blocks are equally large.
    fn bounds(
        &self,
        cx: &mut Cx<'_>,
        step: Option<&Step>,
        (a, b): (&mut Affine, &mut Affine),
    ) -> Vec<(Affine, Affine)> {
        let sums = &self.plan.sums;
        let mut bounds: Vec<_> = sums.iter().map(|x| (Affine::from(0), Affine::from(x.extent as i64))).collect();
        let (Some(split), Some(step)) = (self.plan.split, step) else { return bounds };
        let mut start = |i: usize, first: Affine| {
            *a = a.clone() + first.clone() * sums[i].a;
            *b = b.clone() + first * sums[i].b;
        };
        let extent = sums[split.at].extent;
        let (mut rest, block) = cx.div_mod(&step.block, extent.div_ceil(split.size) as i64);
        let lo = block * split.size as i64;
        bounds[split.at] = if extent.is_multiple_of(split.size) {
            start(split.at, lo);
            (Affine::from(0), Affine::from(split.size as i64))
        } else {
            let hi = at_most(cx, lo.clone() + split.size as i64, extent);
            (lo, hi)
        };
        for i in (0..split.at).rev() {
            let (next, here) = cx.div_mod(&rest, sums[i].extent as i64);
            start(i, here);
            bounds[i] = (Affine::from(0), Affine::from(1));
            rest = next;
        }
        bounds
    }

    /// The counters of the free loops at a row and a column of a block.
    fn free(&self, counters: &Counters, row: Affine, column: Affine) -> Vec<Affine> {
        let mut free = vec![Affine::from(0); self.plan.free.len()];
        for (o, counter) in counters {
            free[o.axis] = counter.clone() * o.size as i64;
        }
        for (blocks, inner) in [(self.plan.m, row), (self.plan.n, column)] {
            if let Some(b) = blocks {
                free[b.axis] = free[b.axis].clone() + inner;
            }
        }
        free
    }

    /// Stores a sum among the partial sums, or adds it.
    fn keep(&self, cx: &mut Cx<'_>, chunk: &Affine, free: &[Affine], value: Value, add: bool) {
        let Some(partial) = self.partial else { return };
        let buf = buffer(cx, partial, self.dtype, if add { Access::ReadWrite } else { Access::Write });
        let at = partial_at(self.plan, chunk.clone(), free);
        cx.push(Stmt::Store { place: Place { buf, at }, value, add, guard: None });
    }
}

/// Where the sum of a chunk is kept: row-major in the chunk and the free loops.
fn partial_at(plan: &Plan, chunk: Affine, free: &[Affine]) -> Affine {
    plan.free.iter().zip(free).fold(chunk, |at, (x, counter)| at * x.extent as i64 + counter.clone())
}

/// The kernel which adds up the chunks of a split sum, in pairs, and goes on from there.
fn add_up(
    w: &mut Writer<'_>,
    dtype: DType,
    plan: &Plan,
    split: Split,
    partial: Source,
    target: Target<'_>,
) -> Result<(), LowerError> {
    let (lanes, outer) = plan.free.split_last().map_or((1, &[][..]), |(last, outer)| (last.extent, outer));
    let rows: u64 = outer.iter().map(|x| x.extent).product();
    let group = (SUM_PART / (lanes * split.chunks())).clamp(1, rows);
    w.kernel("_sum", rows.div_ceil(group), |cx| {
        let buf = buffer(cx, partial, dtype, Access::Read);
        let lo = Var::PART * group as i64;
        let hi = at_most(cx, lo.clone() + group as i64, rows);
        cx.for_(lo, hi, |cx, row| {
            cx.vec(lanes, |cx, lane| {
                let mut free = vec![];
                let mut rest = Affine::from(row);
                for x in outer.iter().rev() {
                    let (next, here) = cx.div_mod(&rest, x.extent as i64);
                    free.insert(0, here);
                    rest = next;
                }
                if !plan.free.is_empty() {
                    free.push(lane.into());
                }
                let len = plan.free.iter().map(|x| x.extent as i64).product::<i64>();
                let at = row * lanes as i64 + lane;
                let sums = (0..split.chunks() as i64).map(|chunk| cx.load(buf, at.clone() + chunk * len)).collect();
                let sum = sum_in_pairs(cx, sums);
                target.store(cx, plan, &free, sum);
            });
        });
    })
}
