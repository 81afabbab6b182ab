//! Serial loops inside of leaves.

use super::body::{Body, Held, Own, arg_place, count};
use super::lir::{Carried, End, General, Home, Inst, Kind, Loop, V};
use super::op;
use super::{Arg, Result, Unsupported};
use crate::kernel::*;

/// Loops of so many iterations are written out, if that gives at most so many statements.
const UNROLL_TRIPS: i64 = 4;
const UNROLL_STATEMENTS: usize = 48;

impl Body<'_> {
    /// A serial loop inside of a leaf: short ones are written out.
    pub fn serial(&mut self, var: Var, (lo, hi): (&Affine, &Affine), carries: &[Carry], body: &[Stmt]) -> Result<()> {
        if self.own_terms(lo) || self.own_terms(hi) {
            return Err(Unsupported);
        }
        let bounds = lo.as_const().zip(hi.as_const());
        if let Some((lo, hi)) = bounds
            && (hi <= lo
                || hi - lo <= UNROLL_TRIPS && count(body).saturating_mul((hi - lo) as usize) <= UNROLL_STATEMENTS)
        {
            let mut now = carries.iter().map(|c| self.held(c.init)).collect::<Result<Vec<_>>>()?;
            for i in lo..hi {
                self.bind(var, Own { reg: None, plus: i, lanes: false });
                carries.iter().zip(&now).for_each(|(c, held)| self.set(c.param, held.clone()));
                self.block(body)?;
                now = carries.iter().map(|c| self.held(c.next)).collect::<Result<Vec<_>>>()?;
            }
            carries.iter().zip(now).for_each(|(c, held)| self.set(c.out, held));
            self.own.remove(&var);
            return Ok(());
        }
        let counter = self.gpr()?;
        match lo.as_const() {
            Some(lo) => self.general(General::Set(counter, lo)),
            None => {
                let at = self.arg(Arg::Index(lo.clone()));
                self.general(General::Load(counter, arg_place(at)));
            }
        }
        self.bind(var, Own { reg: Some(counter), plus: 0, lanes: false });
        let steps = self.run_pointers(var, body, 1)?;
        let mut carried = vec![];
        for c in carries {
            let (init, kind) = (self.held(c.init)?, self.kind_of(c.init));
            let count = self.count(self.dtype(c.init));
            let now: Vec<V> = (0..count).map(|_| self.code.name(kind, Home::None)).collect();
            carried.push((init, now.clone()));
            self.set(c.param, Held { regs: now, uniform: false });
        }
        let outer = std::mem::take(&mut self.insts);
        self.block(body)?;
        let mut names = vec![];
        for (c, (init, now)) in carries.iter().zip(carried) {
            let next = self.held(c.next)?;
            for (i, &now) in now.iter().enumerate() {
                names.push(Carried { now, init: Self::part(&init, i), next: Self::part(&next, i) });
            }
            self.set(c.out, Held { regs: now, uniform: false });
        }
        let body = std::mem::replace(&mut self.insts, outer);
        let end = match hi.as_const() {
            Some(hi) => End::Number(i32::try_from(hi).map_err(|_| Unsupported)?),
            None => End::Arg(self.arg(Arg::Index(hi.clone()))),
        };
        let entered = bounds.is_some();
        let inner = Loop { counter, by: 1, end, entered, steps: steps.clone(), carries: names, body };
        self.push(Inst::Loop(Box::new(inner)));
        self.end_pointers(&steps);
        self.free_gpr(counter);
        self.own.remove(&var);
        Ok(())
    }

    /// What is skipped if no lane needs it: a loop of one iteration at most.
    pub fn rarely(&mut self, cond: Value, picks: &[Pick], body: &[Stmt]) -> Result<()> {
        let masks = self.held(cond)?;
        let all = masks.regs[1..].iter().fold(masks.regs[0], |all, &mask| match self.evex() {
            true => self.mask_op(op::KORW, Some(all), mask),
            false => self.op2(op::PORD, all, mask),
        });
        // Minus the mask of the lanes is below zero until something large has been added.
        let counter = self.gpr()?;
        self.push(Inst::Lanes { to: counter, from: all });
        self.general(General::Negate(counter));
        let others = picks.iter().map(|p| self.held(p.other)).collect::<Result<Vec<_>>>()?;
        let uniform = masks.uniform && others.iter().all(|held| held.uniform);
        let count = if uniform { 1 } else { self.masks.len() };
        let names: Vec<Vec<V>> = picks.iter().map(|_| (0..count).map(|_| self.vector()).collect()).collect();
        let outer = std::mem::take(&mut self.insts);
        self.block(body)?;
        let mut carries = vec![];
        for ((p, other), now) in picks.iter().zip(&others).zip(&names) {
            let inside = self.held(p.inside)?;
            if uniform && !inside.uniform {
                return Err(Unsupported);
            }
            for (i, &now) in now.iter().enumerate() {
                let next = self.blend(false, Self::part(&masks, i), Self::part(&inside, i), now);
                carries.push(Carried { now, init: Self::part(other, i), next });
            }
        }
        let body = std::mem::replace(&mut self.insts, outer);
        let (end, steps) = (End::Number(0), vec![(counter, 1 << 20)]);
        self.push(Inst::Loop(Box::new(Loop { counter, by: 1, end, entered: false, steps, carries, body })));
        for (p, regs) in picks.iter().zip(names) {
            self.set(p.out, Held { regs, uniform });
        }
        self.free_gpr(counter);
        Ok(())
    }

    fn kind_of(&self, v: Value) -> Kind {
        if self.dtype(v) == DType::Bool && self.evex() { Kind::Mask } else { Kind::Vector }
    }

    fn own_terms(&self, a: &Affine) -> bool {
        a.terms().iter().any(|(v, _)| self.mine.contains(v))
    }
}
