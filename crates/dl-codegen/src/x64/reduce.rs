//! Reductions of vector loops: over the lanes of a register, and in loops inside of leaves.

use super::asm::Width;
use super::body::{Body, Held, Own};
use super::lir::{Carried, End, General, Home, Inst, Kind, Loop, V};
use super::op;
use super::vector::groups;
use super::{Result, Unsupported, is_wide};
use crate::kernel::*;

impl Body<'_> {
    /// Whether there are vectors for a reduction.
    pub fn reduces(&self, op: ReduceOp, dtype: DType) -> bool {
        let fine = match op {
            ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min => {
                dtype.is_float() || dtype == DType::I32 || dtype == DType::I64 && op == ReduceOp::Sum
            }
            ReduceOp::ArgMax | ReduceOp::ArgMin => false,
        };
        fine && (self.evex() || !is_wide(dtype))
    }

    /// Combines two partial results.
    pub fn combine(&mut self, op: ReduceOp, dtype: DType, a: V, b: V) -> Result<V> {
        let op = match op {
            ReduceOp::Sum => BinOp::Add,
            ReduceOp::Prod => BinOp::Mul,
            ReduceOp::Max | ReduceOp::ArgMax => BinOp::Max,
            ReduceOp::Min | ReduceOp::ArgMin => BinOp::Min,
        };
        self.bin(op, dtype, a, b)
    }

    /// Combines partial results, and their lanes, to one in the first lane.
    pub fn across(&mut self, op: ReduceOp, dtype: DType, mut all: Vec<V>) -> Result<V> {
        while all.len() > 1 {
            let half = all.len().div_ceil(2);
            for i in 0..all.len() - half {
                all[i] = self.combine(op, dtype, all[i], all[i + half])?;
            }
            all.truncate(half);
        }
        let mut x = all[0];
        if self.evex() {
            let high = self.upper(op::EXTRACTF64X4, Width::B64, x);
            x = self.combine(op, dtype, x, high)?;
        }
        let high = self.upper(op::EXTRACTF32X4, Width::B32, x);
        x = self.combine(op, dtype, x, high)?;
        let swaps: &[u8] = if is_wide(dtype) { &[0xee] } else { &[0xee, 0x55] };
        for &swap in swaps {
            let high = self.op1i(op::PSHUFD, x, swap);
            x = self.combine(op, dtype, x, high)?;
        }
        Ok(x)
    }

    fn upper(&mut self, op: op::Op, width: Width, x: V) -> V {
        let to = self.vector();
        self.push(Inst::Op { op, width, to, a: None, b: x.into(), immediate: Some(1), mask: None, merge: None });
        to
    }

    /// A vector loop inside of a leaf as a loop; what it reduces is then the same in all lanes.
    pub fn looped(&mut self, var: Var, extent: u64, reduces: &[Reduce], body: &[Stmt]) -> Result<()> {
        if reduces.iter().any(|r| !self.reduces(r.op, self.dtype(r.value))) {
            return Err(Unsupported);
        }
        let lanes = self.lanes() as u64;
        let (whole, tail) = (extent / lanes, (extent % lanes) as usize);
        let groups = groups(self.kernel, reduces, body).min(whole.max(1));
        let (trips, left) = (whole / groups, whole % groups);
        let outer = std::mem::take(&mut self.masks);
        let mut totals: Vec<Vec<V>> = vec![];
        for r in reduces {
            let dtype = self.dtype(r.value);
            let identity = self.constant(ops::identity(r.op, dtype));
            totals.push(vec![identity; (groups as usize) << usize::from(is_wide(dtype))]);
        }
        let counter = if trips > 1 { Some(self.gpr()?) } else { None };
        if let Some(counter) = counter {
            let by = (groups * lanes) as i64;
            self.general(General::Set(counter, 0));
            self.bind(var, Own { reg: Some(counter), plus: 0, lanes: true });
            let pointers = self.run_pointers(var, body, by)?;
            self.masks = vec![None; groups as usize];
            let inits = totals.clone();
            for all in &mut totals {
                all.iter_mut().for_each(|total| *total = self.code.name(Kind::Vector, Home::None));
            }
            let before = std::mem::take(&mut self.insts);
            let now = totals.clone();
            self.block(body)?;
            self.fold(reduces, &mut totals)?;
            let inner = std::mem::replace(&mut self.insts, before);
            let names = now.iter().flatten().zip(inits.iter().flatten()).zip(totals.iter().flatten());
            let carries = names.map(|((&now, &init), &next)| Carried { now, init, next }).collect();
            let end = End::Number(i32::try_from(by as u64 * trips).map_err(|_| Unsupported)?);
            let inner =
                Loop { counter, by: by as i32, end, entered: true, steps: pointers.clone(), carries, body: inner };
            self.push(Inst::Loop(Box::new(inner)));
            totals = now;
            self.end_pointers(&pointers);
            self.free_gpr(counter);
        }
        // What is left is at known places.
        let mut at = if trips > 1 { trips * groups } else { 0 };
        while at < whole {
            let here = (whole - at).min(groups);
            debug_assert!(trips <= 1 || here == left);
            self.masks = vec![None; here as usize];
            self.bind(var, Own { reg: None, plus: (at * lanes) as i64, lanes: true });
            self.block(body)?;
            self.fold(reduces, &mut totals)?;
            at += here;
        }
        if tail > 0 {
            let mask = self.first_lanes(tail);
            self.masks = vec![Some(mask)];
            self.bind(var, Own { reg: None, plus: (whole * lanes) as i64, lanes: true });
            self.block(body)?;
            self.fold(reduces, &mut totals)?;
        }
        self.masks = outer;
        self.bind(var, Own { reg: None, plus: 0, lanes: true });
        for (r, all) in reduces.iter().zip(totals) {
            let dtype = self.dtype(r.value);
            let first = self.across(r.op, dtype, all)?;
            let all = self.op1(if is_wide(dtype) { op::BROADCASTSD } else { op::BROADCASTSS }, first);
            self.set(r.out, Held { regs: vec![all], uniform: true });
        }
        Ok(())
    }

    /// Combines the values of the current groups with those of the groups before.
    fn fold(&mut self, reduces: &[Reduce], totals: &mut [Vec<V>]) -> Result<()> {
        for (r, all) in reduces.iter().zip(totals) {
            let held = self.held(r.value)?;
            let dtype = self.dtype(r.value);
            let count = self.count(dtype);
            for (i, total) in all.iter_mut().enumerate().take(count) {
                let mut x = Self::part(&held, i);
                if let Some(mask) = self.mask_of(dtype, i)? {
                    let identity = self.constant(ops::identity(r.op, dtype));
                    x = self.blend(is_wide(dtype), mask, x, identity);
                }
                // The first operand is looked at for NaN: not the one that all iterations wait for.
                *total = self.combine(r.op, dtype, x, *total)?;
            }
        }
        Ok(())
    }
}
