//! Leaves of vector loops.

use super::alloc::Code;
use super::asm::{Asm, Gpr, Mem, Width};
use super::body::{Body, Own, count};
use super::lir::{Inst, V};
use super::op::{self, Op};
use super::{Arg, Leaf, Outside, Result, Unsupported, is_wide};
use crate::kernel::ranges::Ranges;
use crate::kernel::*;

/// The most arguments whose addresses have a register of their own; with fewer, if others run out.
const PINNED: [usize; 3] = [8, 4, 0];
/// Bytes of the stack that a leaf may use, and those of its pages.
const MOST_FRAME: i32 = 1 << 15;
const PAGE: i32 = 4096;

/// A vector loop as a leaf.
pub fn vector(
    kernel: &Kernel,
    ranges: &Ranges,
    evex: bool,
    outside: &dyn Fn(Value) -> Outside,
    (var, extent, reduces, body): (Var, u64, &[Reduce], &[Stmt]),
) -> Result<Leaf> {
    let lanes = if evex { 16 } else { 8 };
    // A few iterations are not worth a call.
    if extent < lanes / 2 || !(evex || extent.is_multiple_of(lanes) || simple_tail(kernel, body)) {
        return Err(Unsupported);
    }
    let body = &*super::plain::plain(body);
    let whole = extent / lanes;
    let mut groups = groups(kernel, reduces, body).min(whole.max(1));
    loop {
        for most in PINNED {
            let b = Body::new(kernel, ranges, evex, outside, most);
            let mut writer = Writer { b, var, extent, whole, groups, reduces, body, totals: vec![] };
            match writer.write() {
                Ok(()) => return writer.finish(),
                Err(Unsupported) if writer.b.short => {}
                Err(Unsupported) if writer.b.code.short => break,
                Err(Unsupported) => return Err(Unsupported),
            }
        }
        // Fewer iterations at once need fewer registers.
        groups /= 2;
        if groups == 0 {
            return Err(Unsupported);
        }
    }
}

/// The groups that run side by side: enough to hide latencies.
pub(super) fn groups(kernel: &Kernel, reduces: &[Reduce], body: &[Stmt]) -> u64 {
    let statements = count(body);
    let wide = kernel.values.iter().any(|d| is_wide(*d));
    let groups = match statements {
        0..=30 => 4,
        _ if !reduces.is_empty() && statements < 60 => 2,
        _ => 1,
    };
    if wide { (groups / 2).max(1) } else { groups }
}

/// Whether all memory can be masked without AVX-512: no bytes.
pub fn simple_tail(kernel: &Kernel, body: &[Stmt]) -> bool {
    let mut simple = true;
    walk::walk(body, &mut |stmt| {
        simple &= stmt.place().is_none_or(|p| kernel.bufs[p.buf.0 as usize].dtype.size() == 4);
    });
    simple
}

struct Writer<'k> {
    b: Body<'k>,
    var: Var,
    extent: u64,
    /// Groups without a masked one at the end, and how many of them run side by side.
    whole: u64,
    groups: u64,
    reduces: &'k [Reduce],
    body: &'k [Stmt],
    /// The accumulators of each reduction: for each group the registers of a value. Of greatest and least values two,
    /// as NaN is counted apart.
    totals: Vec<Vec<V>>,
}

impl Writer<'_> {
    fn write(&mut self) -> Result<()> {
        let lanes = self.b.lanes() as u64;
        if self.reduces.iter().any(|r| !self.b.reduces(r.op, self.b.dtype(r.value))) {
            return Err(Unsupported);
        }
        let (whole, groups) = (self.whole, self.groups);
        let (trips, left, tail) = (whole / groups, whole % groups, self.extent % lanes);
        self.b.define(&[self.var], self.body);
        let counter = self.b.gpr()?;
        let start = Own { reg: (trips > 1).then_some(counter), plus: 0, lanes: true };
        self.b.bind(self.var, start);
        self.b.pin(self.body)?;
        self.accumulators(groups as usize)?;
        if trips > 1 {
            self.b.general(super::lir::General::Set(counter, 0));
        }
        let by = (groups * lanes) as i64;
        let steps = if trips > 1 { self.b.run_pointers(self.var, self.body, by)? } else { vec![] };
        self.b.flush()?;
        if trips > 0 {
            // Written once to see what it needs, with the same names for what comes from outside.
            self.b.masks = vec![None; groups as usize];
            self.b.block(self.body)?;
            self.fold()?;
            let insts = std::mem::take(&mut self.b.insts);
            let held = if trips > 1 { self.b.hold(&insts)? } else { vec![] };
            let top = (trips > 1).then(|| {
                self.b.code.asm.align(32);
                self.b.code.asm.here()
            });
            self.b.code.run(&insts)?;
            if let Some(top) = top {
                for &(reg, step) in &steps {
                    self.b.code.asm.add(reg, step);
                }
                self.b.code.asm.add(counter, by as i32);
                self.b.code.asm.cmp(counter, (by as u64 * trips) as i32);
                self.b.code.asm.jump_if(super::asm::Cond::Less, top);
            }
            held.into_iter().for_each(|v| self.b.code.drop(v));
        }
        // Where the loop ended, everything is at a known distance: the register and the pointers went on.
        if left > 0 {
            self.rest(&start, (trips * groups * lanes) as i64, vec![None; left as usize])?;
        }
        if tail > 0 {
            let mask = self.b.first_lanes(tail as usize);
            self.rest(&start, (whole * lanes) as i64, vec![Some(mask)])?;
        }
        self.results()?;
        self.b.end_pointers(&steps);
        Ok(())
    }

    /// What is left after the loop, from iteration `at` on.
    fn rest(&mut self, start: &Own, at: i64, masks: Vec<Option<V>>) -> Result<()> {
        // A loop has left its register where it ended; the pointers likewise.
        let plus = if start.reg.is_some() { at - self.looped() } else { at };
        self.b.bind(self.var, Own { plus, ..*start });
        self.b.masks = masks;
        self.b.forget();
        self.b.block(self.body)?;
        self.fold()?;
        self.b.flush()?;
        Ok(())
    }

    /// The iterations of the main loop.
    fn looped(&self) -> i64 {
        (self.whole / self.groups * self.groups * self.b.lanes() as u64) as i64
    }

    fn accumulators(&mut self, groups: usize) -> Result<()> {
        for r in self.reduces {
            let dtype = self.b.dtype(r.value);
            let count = groups << usize::from(is_wide(dtype));
            let identity = self.b.constant(crate::kernel::ops::identity(r.op, dtype));
            let mut all = vec![];
            for _ in 0..count {
                let total = self.b.vector();
                self.b.code.hold(total)?;
                self.b.emit(op::MOVAPS, total, None, identity.into(), None);
                all.push(total);
            }
            self.totals.push(all);
        }
        Ok(())
    }

    /// Adds the values of the current groups to the accumulators.
    fn fold(&mut self) -> Result<()> {
        for (at, r) in self.reduces.iter().enumerate() {
            let held = self.b.held(r.value)?;
            let dtype = self.b.dtype(r.value);
            for i in 0..self.b.count(dtype) {
                let (total, x) = (self.totals[at][i], Body::part(&held, i));
                let mask = self.b.mask_of(dtype, i)?;
                let x = match (mask, self.b.evex()) {
                    (Some(mask), false) => {
                        let identity = self.b.constant(crate::kernel::ops::identity(r.op, dtype));
                        self.b.blend(false, mask, x, identity)
                    }
                    _ => x,
                };
                let mask = mask.filter(|_| self.b.evex());
                let op = instruction(r.op, dtype);
                let both = matches!(r.op, ReduceOp::Max | ReduceOp::Min) && dtype.is_float();
                let width = self.b.code.width;
                // `max(x, total)` is `total` if either is NaN: a NaN among the totals stays, one of `x` is put there.
                let (a, b) = if both { (x, total) } else { (total, x) };
                self.b.push(Inst::Op {
                    op,
                    width,
                    to: total,
                    a: Some(a),
                    b: b.into(),
                    immediate: None,
                    mask,
                    merge: mask.map(|_| total),
                });
                if both {
                    self.keep_nan(dtype, total, x, mask)?;
                }
            }
        }
        Ok(())
    }

    /// `total = x` where `x` is NaN.
    fn keep_nan(&mut self, dtype: DType, total: V, x: V, mask: Option<V>) -> Result<()> {
        let wide = is_wide(dtype);
        let width = self.b.code.width;
        let compare = if wide { op::CMPPD } else { op::CMPPS };
        if !self.b.evex() {
            let nan = self.b.vector();
            self.b.emit(compare, nan, Some(x), x.into(), Some(3));
            let op = if wide { op::BLENDVPD } else { op::BLENDVPS };
            self.b.push(Inst::Blend { op, to: total, mask: nan, a: x, b: total });
            return Ok(());
        }
        let nan = self.b.mask_name();
        let (a, b, immediate) = (Some(x), x.into(), Some(3));
        self.b.push(Inst::Op { op: compare, width, to: nan, a, b, immediate, mask, merge: None });
        let op = if wide { op::MOVUPD } else { op::MOVAPS };
        let merge = Some(total);
        let mask = Some(nan);
        self.b.push(Inst::Op { op, width, to: total, a: None, b: x.into(), immediate: None, mask, merge });
        Ok(())
    }

    /// Combines the lanes of the accumulators and stores the results in the table.
    fn results(&mut self) -> Result<()> {
        for (at, r) in self.reduces.iter().enumerate() {
            let dtype = self.b.dtype(r.value);
            let x = self.b.across(r.op, dtype, self.totals[at].clone())?;
            let slot = self.b.arg(Arg::Out(r.out));
            let op = if is_wide(dtype) { op::MOVSD_TO } else { op::MOVSS_TO };
            self.b.push(Inst::Store { op, width: Width::B16, to: super::body::arg_place(slot), from: x, mask: None });
        }
        self.b.flush()?;
        for v in std::mem::take(&mut self.totals).into_iter().flatten() {
            self.b.code.drop(v);
        }
        Ok(())
    }

    fn finish(self) -> Result<Leaf> {
        let args = self.b.args;
        Ok(Leaf { code: framed(self.b.code, &self.b.saved)?, args })
    }
}

/// Code as a function: with a stack frame, and the registers of the caller put back at the end.
pub fn framed(code: Code, saved: &[Gpr]) -> Result<Vec<u8>> {
    let frame = code.frame();
    if frame > MOST_FRAME {
        return Err(Unsupported);
    }
    let mut asm = code.asm;
    let mut start = Asm::new(asm.evex);
    saved.iter().for_each(|r| start.push(*r));
    // Page by page, so that a stack that is too small ends at its guard page.
    for _ in 0..frame / PAGE {
        start.add(Gpr::RSP, -PAGE);
        start.add_mem(Mem::at(Gpr::RSP, 0), 0);
    }
    if frame % PAGE > 0 {
        start.add(Gpr::RSP, -(frame % PAGE));
    }
    if frame > 0 {
        asm.add(Gpr::RSP, frame);
    }
    saved.iter().rev().for_each(|r| asm.pop(*r));
    asm.vzeroupper();
    asm.ret();
    Ok(asm.finish(start))
}

pub fn count_uses(insts: &[Inst], f: &mut impl FnMut(V)) {
    for inst in insts {
        inst.reads(f);
        if let Inst::Loop(l) = inst {
            count_uses(&l.body, f);
        }
    }
}

fn instruction(op: ReduceOp, dtype: DType) -> Op {
    match (op, dtype) {
        (ReduceOp::Sum, DType::F32) => op::ADDPS,
        (ReduceOp::Sum, DType::F64) => op::ADDPD,
        (ReduceOp::Sum, DType::I64) => op::PADDQ,
        (ReduceOp::Sum, _) => op::PADDD,
        (ReduceOp::Prod, DType::F32) => op::MULPS,
        (ReduceOp::Prod, DType::F64) => op::MULPD,
        (ReduceOp::Prod, _) => op::PMULLD,
        (ReduceOp::Max | ReduceOp::ArgMax, DType::F32) => op::MAXPS,
        (ReduceOp::Max | ReduceOp::ArgMax, DType::F64) => op::MAXPD,
        (ReduceOp::Max | ReduceOp::ArgMax, _) => op::PMAXSD,
        (_, DType::F32) => op::MINPS,
        (_, DType::F64) => op::MINPD,
        (..) => op::PMINSD,
    }
}
