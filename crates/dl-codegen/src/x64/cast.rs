//! Conversions as vector code.

use super::asm::Width;
use super::body::{Body, Held};
use super::lir::{Inst, V};
use super::op::{self, Op};
use super::{Result, Unsupported, is_wide};
use crate::kernel::*;

impl Body<'_> {
    /// Converts a value to `to` (to `U8`: an I32 in 0..=255).
    pub fn cast(&mut self, value: Value, to: DType) -> Result<Held> {
        use DType::{Bool, F32, F64, I32, I64, U8};
        let from = self.dtype(value);
        let held = self.held(value)?;
        if from == to || (from, to) == (U8, I32) {
            return Ok(held);
        }
        let each = |e: &mut Self, held: &Held, f: &dyn Fn(&mut Self, V) -> V| Held {
            regs: held.regs.iter().map(|x| f(e, *x)).collect(),
            uniform: held.uniform,
        };
        Ok(match (from, to) {
            (F32, I32) => each(self, &held, &Self::truncate),
            (F32, U8) => each(self, &held, &|e, x| {
                let x = e.truncate(x);
                let (zero, most) = (e.int(0), e.int(255));
                let x = e.op2(op::PMAXSD, x, zero);
                e.op2(op::PMINSD, x, most)
            }),
            (I32 | U8, F32) => each(self, &held, &|e, x| e.op1(op::CVTDQ2PS, x)),
            (I32, U8) => each(self, &held, &|e, x| {
                let keep = e.int(255);
                e.op2(op::PANDD, x, keep)
            }),
            (F32 | I32 | U8, Bool) => {
                let zero = self.int(0);
                each(self, &held, &|e, x| match (from, e.evex()) {
                    (_, true) => e.cmp(CmpOp::Ne, from, x, zero),
                    (F32, false) => {
                        let to = e.vector();
                        e.emit(op::CMPPS, to, Some(x), zero.into(), Some(4));
                        to
                    }
                    (_, false) => {
                        let (equal, ones) = (e.op2(op::PCMPEQD, x, zero), e.int(-1));
                        e.op2(op::PXORD, equal, ones)
                    }
                })
            }
            (Bool, F32 | I32 | U8) => {
                let one = self.constant(if to == F32 { Lit::f32(1.0) } else { Lit::i32(1) });
                each(self, &held, &|e, x| match e.evex() {
                    true => e.masked(op::MOVAPS, None, one, x, None),
                    false => e.op2(op::PANDD, x, one),
                })
            }
            (F32, F64) => self.widen(&held, op::CVTPS2PD),
            (I32 | U8, F64) => self.widen(&held, op::CVTDQ2PD),
            (I32 | U8, I64) => self.widen(&held, op::PMOVSXDQ),
            _ if !self.evex() => return Err(Unsupported),
            (F64, F32) => self.narrow(&held, op::CVTPD2PS),
            (I64, I32) => self.narrow(&held, op::PMOVQD),
            (I64, F32) => self.narrow(&held, op::CVTQQ2PS),
            (I64, F64) => each(self, &held, &|e, x| e.op1(op::CVTQQ2PD, x)),
            (F64 | I64, Bool) => {
                let zero = self.constant(Lit { dtype: from, bits: 0 });
                let masks = each(self, &held, &|e, x| e.cmp(CmpOp::Ne, from, x, zero));
                self.join(masks)
            }
            (Bool, F64 | I64) => {
                let one = self.constant(if to == F64 { Lit::f64(1.0) } else { Lit::i64(1) });
                let mut regs = vec![];
                for &mask in &held.regs {
                    for half in 0..if held.uniform { 1 } else { 2 } {
                        let mask = self.half_mask(mask, half)?;
                        regs.push(self.masked(op::MOVUPD, None, one, mask, None));
                    }
                }
                Held { regs, uniform: held.uniform }
            }
            _ => return Err(Unsupported),
        })
    }

    /// F32 to I32, saturating, NaN to 0: the instruction gives the least integer for all that does not fit.
    fn truncate(&mut self, x: V) -> V {
        let (most, limit) = (self.int(i32::MAX), self.constant(Lit::f32(2_147_483_648.0)));
        let ints = self.op1(op::CVTTPS2DQ, x);
        if self.evex() {
            let large = self.masking(op::CMPPS, x, limit, 0x1d);
            let ints = self.masked(op::MOVAPS, None, most, large, Some(ints));
            let number = self.masking(op::CMPPS, x, x, 7);
            return self.masked(op::MOVAPS, None, ints, number, None);
        }
        let (large, number) = (self.vector(), self.vector());
        self.emit(op::CMPPS, large, Some(x), limit.into(), Some(0x1d));
        let ints = self.blend(false, large, most, ints);
        self.emit(op::CMPPS, number, Some(x), x.into(), Some(7));
        self.op2(op::PANDD, ints, number)
    }

    /// Half of a register, as the low half of another one.
    fn half(&mut self, x: V, half: usize) -> V {
        if half == 0 {
            return x;
        }
        let op = if self.evex() { op::EXTRACTF64X4 } else { op::EXTRACTF32X4 };
        let to = self.vector();
        let width = self.code.width;
        self.push(Inst::Op { op, width, to, a: None, b: x.into(), immediate: Some(1), mask: None, merge: None });
        to
    }

    /// Each register of 32-bit lanes as two of 64-bit lanes.
    fn widen(&mut self, held: &Held, op: Op) -> Held {
        let mut regs = vec![];
        for &x in &held.regs {
            for half in 0..if held.uniform { 1 } else { 2 } {
                let half = self.half(x, half);
                regs.push(self.op1(op, half));
            }
        }
        Held { regs, uniform: held.uniform }
    }

    /// Each two registers of 64-bit lanes as one of 32-bit lanes.
    fn narrow(&mut self, held: &Held, op: Op) -> Held {
        debug_assert!(is_wide(DType::F64));
        let pairs: Vec<(V, V)> = match held.uniform {
            true => vec![(held.regs[0], held.regs[0])],
            false => held.regs.chunks(2).map(|p| (p[0], p[1])).collect(),
        };
        let regs = pairs
            .into_iter()
            .map(|(low, high)| {
                let (low, high) = (self.op1(op, low), self.op1(op, high));
                let to = self.vector();
                let (width, a, b) = (Width::B64, Some(low), high.into());
                let op = op::INSERTF64X4;
                self.push(Inst::Op { op, width, to, a, b, immediate: Some(1), mask: None, merge: None });
                to
            })
            .collect();
        Held { regs, uniform: held.uniform }
    }
}
