//! Expressions as vector code.

use super::body::{Body, Held};
use super::lir::{Inst, V};
use super::op::{self, Op};
use super::{Result, Unsupported, is_wide};
use crate::kernel::*;

impl Body<'_> {
    pub fn expr(&mut self, out: Value, expr: &Expr) -> Result<Held> {
        match expr {
            Expr::Const(lit) if lit.dtype == DType::Bool => {
                let ones = self.int(-(lit.bits as i32));
                let zero = self.int(0);
                let reg = match self.evex() {
                    true => self.masking(op::PCMPD, ones, zero, 4),
                    false => ones,
                };
                Ok(Held { regs: vec![reg], uniform: true })
            }
            Expr::Const(lit) => Ok(Held { regs: vec![self.constant(*lit)], uniform: true }),
            Expr::Index(at) => self.index_lanes(at),
            Expr::InRange { at, lo, hi } => self.in_range(at, *lo, *hi),
            Expr::Load(place) => self.load(place),
            Expr::LoadIf { place, guard, other } => self.load_if(place, *guard, *other),
            Expr::Un(op, a) => self.unary(*op, *a),
            Expr::Bin(op, a, b) => self.binary(*op, *a, *b),
            Expr::Cmp(op, a, b) => self.compare(*op, *a, *b),
            Expr::Select(cond, a, b) => self.select(*cond, *a, *b),
            Expr::MulAdd(a, b, c) => {
                let wide = is_wide(self.dtype(out));
                self.map(&[*a, *b, *c], |e, x| {
                    let to = e.vector();
                    e.push(Inst::MulAdd { wide, to, a: x[0], b: x[1], c: x[2] });
                    Ok(to)
                })
            }
            Expr::Cast(a, to) => self.cast(*a, *to),
            Expr::Bitcast(a, _) => self.held(*a),
            Expr::Random { .. } => Err(Unsupported),
        }
    }

    /// Applies `f` to each register of operands of one width.
    pub fn map(&mut self, operands: &[Value], mut f: impl FnMut(&mut Self, &[V]) -> Result<V>) -> Result<Held> {
        let held = operands.iter().map(|v| self.held(*v)).collect::<Result<Vec<_>>>()?;
        let uniform = held.iter().all(|h| h.uniform);
        let count = if uniform { 1 } else { self.count(self.dtype(operands[0])) };
        let regs = (0..count)
            .map(|i| {
                let row: Vec<V> = held.iter().map(|h| Self::part(h, i)).collect();
                f(self, &row)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Held { regs, uniform })
    }

    fn index_lanes(&mut self, at: &Affine) -> Result<Held> {
        if !self.evex() {
            return Err(Unsupported);
        }
        let (first, stride) = self.index(at)?;
        let base = self.vector();
        let (width, to) = (self.code.width, base);
        self.push(Inst::Spread { op: op::PBROADCASTQ_GPR, width, to, from: first });
        if stride == 0 {
            return Ok(Held { regs: vec![base], uniform: true });
        }
        let regs = (0..self.count(DType::I64) as i64)
            .map(|i| {
                let bytes: Vec<u8> = (0..8).flat_map(|lane| ((i * 8 + lane) * stride).to_le_bytes()).collect();
                let offsets = self.lane_constants(&bytes);
                self.op2(op::PADDQ, base, offsets)
            })
            .collect();
        Ok(Held { regs, uniform: false })
    }

    fn in_range(&mut self, at: &Affine, lo: i64, hi: i64) -> Result<Held> {
        let (least, greatest) = self.ranges.affine(at);
        let fits = |x: i64| i32::try_from(x).is_ok();
        if !(self.evex() && [least, greatest, lo, hi].into_iter().all(fits)) {
            return Err(Unsupported);
        }
        let (first, stride) = self.index(&(at.clone() - lo))?;
        let base = self.vector();
        let (width, to) = (self.code.width, base);
        self.push(Inst::Spread { op: op::PBROADCASTD_GPR, width, to, from: first });
        // As an unsigned number the distance from `lo` is small only inside.
        let size = self.int((hi - lo).max(0) as u32 as i32);
        if stride == 0 {
            return Ok(Held { regs: vec![self.masking(op::PCMPUD, base, size, 1)], uniform: true });
        }
        let lanes = self.lanes() as i64;
        let regs = (0..self.masks.len() as i64)
            .map(|i| {
                let offset = |lane: i64| i32::try_from((i * lanes + lane) * stride).map_err(|_| Unsupported);
                let offsets = (0..lanes).map(offset).collect::<Result<Vec<i32>>>()?;
                let bytes: Vec<u8> = offsets.into_iter().flat_map(i32::to_le_bytes).collect();
                let offsets = self.lane_constants(&bytes);
                let x = self.op2(op::PADDD, base, offsets);
                Ok(self.masking(op::PCMPUD, x, size, 1))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Held { regs, uniform: false })
    }

    fn unary(&mut self, op: UnOp, a: Value) -> Result<Held> {
        let dtype = self.dtype(a);
        if dtype == DType::Bool {
            return self.map(&[a], |e, x| Ok(e.not(x[0])));
        }
        self.map(&[a], |e, x| e.un(op, dtype, x[0]))
    }

    fn not(&mut self, mask: V) -> V {
        if self.evex() {
            return self.mask_op(op::KNOTW, None, mask);
        }
        let ones = self.int(-1);
        self.op2(op::PXORD, mask, ones)
    }

    fn un(&mut self, op: UnOp, dtype: DType, x: V) -> Result<V> {
        use DType::{F32, F64, I32, I64};
        let round = |e: &mut Self, mode: u8| match dtype {
            F32 => Ok(e.op1i(op::RNDSCALEPS, x, mode | 8)),
            F64 => Ok(e.op1i(op::RNDSCALEPD, x, mode | 8)),
            _ => Err(Unsupported),
        };
        match (op, dtype) {
            (UnOp::Neg, F32) => self.with_sign(op::PXORD, Lit { dtype: F32, bits: 1 << 31 }, x),
            (UnOp::Neg, F64) => self.with_sign(op::PXORD, Lit { dtype: F64, bits: 1 << 63 }, x),
            (UnOp::Neg, I32) => {
                let zero = self.int(0);
                Ok(self.op2(op::PSUBD, zero, x))
            }
            (UnOp::Neg, I64) => {
                let zero = self.constant(Lit::i64(0));
                Ok(self.op2(op::PSUBQ, zero, x))
            }
            (UnOp::Abs, F32) => self.with_sign(op::PANDD, Lit { dtype: F32, bits: (1 << 31) - 1 }, x),
            (UnOp::Abs, F64) => self.with_sign(op::PANDD, Lit { dtype: F64, bits: (1 << 63) - 1 }, x),
            (UnOp::Abs, I32) => Ok(self.op1(op::PABSD, x)),
            (UnOp::Abs, I64) if self.evex() => Ok(self.op1(op::PABSQ, x)),
            (UnOp::Not, I32 | I64) => {
                let ones = self.int(-1);
                Ok(self.op2(op::PXORD, x, ones))
            }
            (UnOp::Sqrt, F32) => Ok(self.op1(op::SQRTPS, x)),
            (UnOp::Sqrt, F64) => Ok(self.op1(op::SQRTPD, x)),
            (UnOp::Rsqrt, F32) => {
                let (root, one) = (self.op1(op::SQRTPS, x), self.constant(Lit::f32(1.0)));
                Ok(self.op2(op::DIVPS, one, root))
            }
            (UnOp::Rsqrt, F64) => {
                let (root, one) = (self.op1(op::SQRTPD, x), self.constant(Lit::f64(1.0)));
                Ok(self.op2(op::DIVPD, one, root))
            }
            (UnOp::Floor, _) => round(self, 1),
            (UnOp::Ceil, _) => round(self, 2),
            (UnOp::Round, _) => round(self, 0),
            (UnOp::Trunc, _) => round(self, 3),
            _ => Err(Unsupported),
        }
    }

    fn with_sign(&mut self, op: Op, bits: Lit, x: V) -> Result<V> {
        let bits = self.constant(bits);
        Ok(self.op2(op, x, bits))
    }

    fn binary(&mut self, op: BinOp, a: Value, b: Value) -> Result<Held> {
        let dtype = self.dtype(a);
        match op {
            BinOp::Shl | BinOp::Shr | BinOp::Sar => self.shift(op, a, b),
            BinOp::Max | BinOp::Min if dtype.is_float() => {
                let number = |v: Value| self.constant_of(v).is_some_and(|lit| !is_nan(lit));
                let known = (number(a), number(b));
                self.map(&[a, b], |e, x| e.extreme(op, dtype, (x[0], known.0), (x[1], known.1)))
            }
            _ => self.map(&[a, b], |e, x| e.bin(op, dtype, x[0], x[1])),
        }
    }

    /// One operation on two registers.
    pub fn bin(&mut self, op: BinOp, dtype: DType, a: V, b: V) -> Result<V> {
        use DType::{Bool, F32, F64, I32, I64};
        let evex = self.evex();
        let instruction = match (op, dtype) {
            (BinOp::Add, F32) => op::ADDPS,
            (BinOp::Add, F64) => op::ADDPD,
            (BinOp::Add, I32) => op::PADDD,
            (BinOp::Add, I64) => op::PADDQ,
            (BinOp::Sub, F32) => op::SUBPS,
            (BinOp::Sub, F64) => op::SUBPD,
            (BinOp::Sub, I32) => op::PSUBD,
            (BinOp::Sub, I64) => op::PSUBQ,
            (BinOp::Mul, F32) => op::MULPS,
            (BinOp::Mul, F64) => op::MULPD,
            (BinOp::Mul, I32) => op::PMULLD,
            (BinOp::Mul, I64) if evex => op::PMULLQ,
            (BinOp::Div, F32) => op::DIVPS,
            (BinOp::Div, F64) => op::DIVPD,
            (BinOp::Max | BinOp::Min, F32 | F64) => return self.extreme(op, dtype, (a, false), (b, false)),
            (BinOp::Max, I32) => op::PMAXSD,
            (BinOp::Min, I32) => op::PMINSD,
            (BinOp::Max, I64) if evex => op::PMAXSQ,
            (BinOp::Min, I64) if evex => op::PMINSQ,
            (BinOp::And | BinOp::Min, Bool) if evex => return Ok(self.mask_op(op::KANDW, Some(a), b)),
            (BinOp::Or | BinOp::Max, Bool) if evex => return Ok(self.mask_op(op::KORW, Some(a), b)),
            (BinOp::Xor, Bool) if evex => return Ok(self.mask_op(op::KXORW, Some(a), b)),
            (BinOp::And, Bool | I32 | I64) | (BinOp::Min, Bool) => op::PANDD,
            (BinOp::Or, Bool | I32 | I64) | (BinOp::Max, Bool) => op::PORD,
            (BinOp::Xor, Bool | I32 | I64) => op::PXORD,
            (BinOp::MulHiU, I32) => return Ok(self.mul_hi(a, b)),
            (BinOp::Scale, F32) if evex => op::SCALEFPS,
            (BinOp::Scale, F32) => return Ok(self.scale(a, b)),
            _ => return Err(Unsupported),
        };
        Ok(self.op2(instruction, a, b))
    }

    /// Greater or lesser of floats, NaN if either is. Each operand says whether it is known to be a number.
    fn extreme(&mut self, op: BinOp, dtype: DType, a: (V, bool), b: (V, bool)) -> Result<V> {
        let wide = is_wide(dtype);
        let instruction = match (op, wide) {
            (BinOp::Max, false) => op::MAXPS,
            (BinOp::Max, true) => op::MAXPD,
            (_, false) => op::MINPS,
            (_, true) => op::MINPD,
        };
        // The instruction gives its second operand if either is NaN: only a NaN in the first one gets lost.
        let ((first, known), (second, other)) = if b.1 && !a.1 { (b, a) } else { (a, b) };
        let best = self.op2(instruction, first, second);
        if known || other {
            return Ok(best);
        }
        let compare = if wide { op::CMPPD } else { op::CMPPS };
        Ok(match self.evex() {
            true => {
                let nan = self.masking(compare, first, first, 3);
                self.masked(if wide { op::MOVUPD } else { op::MOVAPS }, None, first, nan, Some(best))
            }
            false => {
                let nan = self.vector();
                self.emit(compare, nan, Some(first), first.into(), Some(3));
                self.blend(wide, nan, first, best)
            }
        })
    }

    fn compare(&mut self, op: CmpOp, a: Value, b: Value) -> Result<Held> {
        let dtype = self.dtype(a);
        let evex = self.evex();
        if dtype == DType::Bool {
            return self.map(&[a, b], |e, x| {
                let differ = match evex {
                    true => e.mask_op(op::KXORW, Some(x[0]), x[1]),
                    false => e.op2(op::PXORD, x[0], x[1]),
                };
                Ok(if op == CmpOp::Ne { differ } else { e.not(differ) })
            });
        }
        if !evex {
            if is_wide(dtype) {
                return Err(Unsupported);
            }
            return self.map(&[a, b], |e, x| Ok(e.compare_vectors(op, dtype, x[0], x[1])));
        }
        let masks = self.map(&[a, b], |e, x| Ok(e.cmp(op, dtype, x[0], x[1])))?;
        Ok(if is_wide(dtype) { self.join(masks) } else { masks })
    }

    /// Compares two registers of AVX-512.
    pub fn cmp(&mut self, op: CmpOp, dtype: DType, a: V, b: V) -> V {
        let instruction = match dtype {
            DType::F32 => op::CMPPS,
            DType::F64 => op::CMPPD,
            DType::I64 => op::PCMPQ,
            _ => op::PCMPD,
        };
        let predicate = if dtype.is_float() { float_predicate(op) } else { int_predicate(op) };
        self.masking(instruction, a, b, predicate)
    }

    /// Masks of 64-bit lanes as masks of groups.
    pub fn join(&mut self, masks: Held) -> Held {
        if masks.uniform {
            // Eight lanes as sixteen.
            let m = masks.regs[0];
            return Held { regs: vec![self.mask_op(op::KUNPCKBW, Some(m), m)], uniform: true };
        }
        let pairs = masks.regs.chunks(2).map(|p| self.mask_op(op::KUNPCKBW, Some(p[1]), p[0])).collect();
        Held { regs: pairs, uniform: false }
    }

    /// Compares two registers of AVX2.
    fn compare_vectors(&mut self, op: CmpOp, dtype: DType, a: V, b: V) -> V {
        if dtype.is_float() {
            let to = self.vector();
            self.emit(op::CMPPS, to, Some(a), b.into(), Some(float_predicate(op)));
            return to;
        }
        let (negate, compared) = match op {
            CmpOp::Eq => (false, self.op2(op::PCMPEQD, a, b)),
            CmpOp::Ne => (true, self.op2(op::PCMPEQD, a, b)),
            CmpOp::Gt => (false, self.op2(op::PCMPGTD, a, b)),
            CmpOp::Le => (true, self.op2(op::PCMPGTD, a, b)),
            CmpOp::Lt => (false, self.op2(op::PCMPGTD, b, a)),
            CmpOp::Ge => (true, self.op2(op::PCMPGTD, b, a)),
        };
        if negate { self.not(compared) } else { compared }
    }

    fn select(&mut self, cond: Value, a: Value, b: Value) -> Result<Held> {
        let dtype = self.dtype(a);
        let (cond, a, b) = (self.held(cond)?, self.held(a)?, self.held(b)?);
        let uniform = cond.uniform && a.uniform && b.uniform;
        let wide = is_wide(dtype);
        let count = if uniform { 1 } else { self.count(dtype) };
        let regs = (0..count)
            .map(|i| {
                let mask = Self::part(&cond, i >> usize::from(wide));
                let (a, b) = (Self::part(&a, i), Self::part(&b, i));
                if dtype == DType::Bool && self.evex() {
                    // cond & a | !cond & b
                    let chosen = self.mask_op(op::KANDW, Some(mask), a);
                    let not = self.mask_op(op::KNOTW, None, mask);
                    let other = self.mask_op(op::KANDW, Some(not), b);
                    return Ok(self.mask_op(op::KORW, Some(chosen), other));
                }
                let mask = if wide { self.half_mask(mask, i & 1)? } else { mask };
                Ok(self.blend(wide, mask, a, b))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Held { regs, uniform })
    }

    /// Shifts by a constant.
    fn shift(&mut self, op: BinOp, a: Value, by: Value) -> Result<Held> {
        let amount = self.constant_of(by).ok_or(Unsupported)?.bits as u8;
        let instruction = match (op, is_wide(self.dtype(a))) {
            (BinOp::Shl, false) => op::PSLLD,
            (BinOp::Shl, true) => op::PSLLQ,
            (BinOp::Shr, false) => op::PSRLD,
            (BinOp::Shr, true) => op::PSRLQ,
            (_, false) => op::PSRAD,
            (_, true) if self.evex() => op::PSRAQ,
            (_, true) => return Err(Unsupported),
        };
        self.map(&[a], |e, x| Ok(e.op1i(instruction, x[0], amount)))
    }

    /// `a * 2^b` without AVX-512: two powers, as one may not be a number.
    fn scale(&mut self, a: V, b: V) -> V {
        let n = self.op1(op::CVTPS2DQ, b);
        let first = self.op1i(op::PSRAD, n, 1);
        let second = self.op2(op::PSUBD, n, first);
        let bias = self.int(127);
        [first, second].into_iter().fold(a, |product, half| {
            let exponent = self.op2(op::PADDD, half, bias);
            let power = self.op1i(op::PSLLD, exponent, 23);
            self.op2(op::MULPS, product, power)
        })
    }

    /// The high halves of 32-bit unsigned products.
    fn mul_hi(&mut self, a: V, b: V) -> V {
        let even = self.op2(op::PMULUDQ, a, b);
        let (odd_a, odd_b) = (self.op1i(op::PSRLQ, a, 32), self.op1i(op::PSRLQ, b, 32));
        let odd = self.op2(op::PMULUDQ, odd_a, odd_b);
        let even = self.op1i(op::PSRLQ, even, 32);
        let high = self.constant(Lit::i64(-1 << 32));
        let odd = self.op2(op::PANDD, odd, high);
        self.op2(op::PORD, even, odd)
    }
}

fn is_nan(lit: Lit) -> bool {
    match lit.dtype {
        DType::F32 => f32::from_bits(lit.bits as u32).is_nan(),
        DType::F64 => f64::from_bits(lit.bits).is_nan(),
        _ => false,
    }
}

fn float_predicate(op: CmpOp) -> u8 {
    match op {
        CmpOp::Eq => 0x00,
        CmpOp::Ne => 0x04,
        CmpOp::Lt => 0x11,
        CmpOp::Le => 0x12,
        CmpOp::Gt => 0x1e,
        CmpOp::Ge => 0x1d,
    }
}

fn int_predicate(op: CmpOp) -> u8 {
    match op {
        CmpOp::Eq => 0,
        CmpOp::Lt => 1,
        CmpOp::Le => 2,
        CmpOp::Ne => 4,
        CmpOp::Ge => 5,
        CmpOp::Gt => 6,
    }
}
