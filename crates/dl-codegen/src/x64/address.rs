//! Addresses and indices of vector code.

use super::Arg;
use super::alloc::TEMP;
use super::asm::Gpr;
use super::body::{Body, Key, TEMP2, arg_place};
use super::lir::{Addr, AddrBase, General};
use super::{Result, Unsupported};
use crate::kernel::*;

impl Body<'_> {
    /// The parts of a place: what is from outside, the terms of variables in registers, constant bytes, and the step
    /// from lane to lane.
    fn split(&self, place: &Place) -> (Affine, Vec<(Var, i64)>, i64, i64) {
        let size = self.memory(place.buf).size() as i64;
        let (mut outer, mut terms) = (Affine::from(0), vec![]);
        let (mut disp, mut stride) = (place.at.base() * size, 0);
        for &(var, c) in place.at.terms() {
            match self.own.get(&var) {
                None if self.mine.contains(&var) => {}
                None => outer = outer.plus(var, c),
                Some(own) => {
                    disp += own.plus * c * size;
                    if own.reg.is_some() {
                        terms.push((var, c));
                    }
                    if own.lanes {
                        stride = c;
                    }
                }
            }
        }
        (outer, terms, disp, stride)
    }

    /// The register that counts the lanes, if the place moves by one element with it, and the other terms.
    fn lane(&self, mut terms: Vec<(Var, i64)>) -> (Option<Gpr>, Vec<(Var, i64)>) {
        let at = terms.iter().position(|(var, c)| *c == 1 && self.own[var].lanes);
        let reg = at.and_then(|at| self.own[&terms.remove(at).0].reg);
        (reg, terms)
    }

    /// The elements from lane to lane of a place.
    pub fn stride(&self, place: &Place) -> i64 {
        self.split(place).3
    }

    /// The address of a place in its first lane.
    pub fn address(&mut self, place: &Place) -> Result<Addr> {
        let (outer, terms, disp, _) = self.split(place);
        let disp = i32::try_from(disp).ok().filter(|d| d.abs() < 1 << 30).ok_or(Unsupported)?;
        let shift = self.memory(place.buf).size().trailing_zeros() as u8;
        let (lane, terms) = self.lane(terms);
        let index = lane.map(|reg| (reg, shift));
        if !terms.is_empty() {
            let key = Key { buf: place.buf, outer, terms };
            let known = self.running.iter().rev().find(|(k, _)| *k == key).ok_or(Unsupported)?;
            return Ok(Addr { base: AddrBase::Gpr(known.1), index, disp });
        }
        let arg = self.arg(Arg::Pointer(place.buf, outer));
        let at = arg as usize / 8;
        let base = match self.pinned.iter().find(|(a, _)| *a == at) {
            Some((_, reg)) => AddrBase::Gpr(*reg),
            None => AddrBase::Arg(arg),
        };
        Ok(Addr { base, index, disp })
    }

    /// Loads the addresses of a body into registers, as far as these go. To be called where the leaf begins, with its
    /// variables bound.
    pub fn pin(&mut self, body: &[Stmt]) -> Result<()> {
        let mut places = vec![];
        walk::walk(body, &mut |stmt| places.extend(stmt.place().cloned()));
        for place in places {
            let outer = self.split(&place).0;
            let arg = self.arg(Arg::Pointer(place.buf, outer));
            let at = arg as usize / 8;
            if self.pinned.len() < self.most_pinned && self.pinned.iter().all(|(a, _)| *a != at) {
                let reg = self.gpr()?;
                self.pinned.push((at, reg));
                self.general(General::Load(reg, arg_place(arg)));
            }
        }
        Ok(())
    }

    /// Makes the pointers which a loop over `var`, now at its first iteration, moves for the places of its body.
    /// Returns them with their steps in bytes, for each step of `by` iterations.
    pub fn run_pointers(&mut self, var: Var, body: &[Stmt], by: i64) -> Result<Vec<(Gpr, i32)>> {
        let mut places = vec![];
        walk::walk(body, &mut |stmt| places.extend(stmt.place().cloned()));
        let mut steps = vec![];
        for place in places {
            let (outer, terms, ..) = self.split(&place);
            let c = place.at.coeff(var);
            let (_, terms) = self.lane(terms);
            let contiguous = terms.iter().all(|(v, _)| *v != var);
            let key = Key { buf: place.buf, outer, terms };
            let inner = place.at.terms().iter().any(|(v, _)| self.mine.contains(v) && !self.own.contains_key(v));
            if c == 0 || contiguous || inner || self.running.iter().any(|(k, _)| *k == key) {
                continue;
            }
            let size = self.memory(place.buf).size() as i64;
            let step = i32::try_from(c * size * by).map_err(|_| Unsupported)?;
            let reg = self.gpr()?;
            let arg = self.arg(Arg::Pointer(key.buf, key.outer.clone()));
            self.general(General::Load(reg, arg_place(arg)));
            for &(var, c) in &key.terms {
                let from = self.own[&var].reg.ok_or(Unsupported)?;
                let bytes = i32::try_from(c * size).map_err(|_| Unsupported)?;
                self.general(General::Mul(TEMP, from, bytes));
                self.general(General::AddReg(reg, TEMP));
            }
            self.running.push((key, reg));
            steps.push((reg, step));
        }
        Ok(steps)
    }

    /// Gives back the pointers of a loop.
    pub fn end_pointers(&mut self, steps: &[(Gpr, i32)]) {
        self.running.retain(|(_, reg)| steps.iter().all(|(r, _)| r != reg));
        steps.iter().for_each(|(reg, _)| self.free_gpr(*reg));
    }

    /// The value of an index in its first lane, in a temporary register; and its step from lane to lane.
    pub fn index(&mut self, at: &Affine) -> Result<(Gpr, i64)> {
        let (mut outer, mut plus, mut stride) = (Affine::from(at.base()), 0, 0);
        let mut terms = vec![];
        for &(var, c) in at.terms() {
            match self.own.get(&var) {
                None => outer = outer.plus(var, c),
                Some(own) => {
                    plus += own.plus * c;
                    stride += if own.lanes { c } else { 0 };
                    terms.extend(own.reg.map(|reg| (reg, c)));
                }
            }
        }
        match outer.as_const() {
            Some(x) => self.general(General::Set(TEMP, x + plus)),
            None => {
                let outer = outer + plus;
                let at = self.arg(Arg::Index(outer));
                self.general(General::Load(TEMP, arg_place(at)));
            }
        }
        for (reg, c) in terms {
            let c = i32::try_from(c).map_err(|_| Unsupported)?;
            self.general(General::Mul(TEMP2, reg, c));
            self.general(General::AddReg(TEMP, TEMP2));
        }
        Ok((TEMP, stride))
    }
}
