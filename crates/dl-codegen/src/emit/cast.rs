//! Conversions.

use super::*;

impl Emitter<'_> {
    /// Converts a value to `to` (to `U8`: an I32 in 0..=255).
    pub fn cast(&mut self, value: Value, to: DType) -> Rep {
        let from = self.dtype(value);
        if from == to {
            return self.values[value.0 as usize].clone();
        }
        if self.is_lanes(value) {
            let registers = self.lanes(value);
            Rep::Lanes(self.cast_lanes(from, to, &registers))
        } else {
            let x = self.scalar(value);
            Rep::Scalar(self.cast_scalar(from, to, x))
        }
    }

    fn cast_scalar(&mut self, from: DType, to: DType, x: ir::Value) -> ir::Value {
        use DType::*;
        match (from, to) {
            (F32, F64) => self.b.ins().fpromote(types::F64, x),
            (F64, F32) => self.b.ins().fdemote(types::F32, x),
            (F32 | F64, I32) => self.b.ins().fcvt_to_sint_sat(types::I32, x),
            (F32 | F64, I64) => self.b.ins().fcvt_to_sint_sat(types::I64, x),
            (F32 | F64, U8) => {
                let wide = self.b.ins().fcvt_to_sint_sat(types::I32, x);
                let (zero, top) = (self.constant(Lit::i32(0)), self.constant(Lit::i32(255)));
                let x = self.b.ins().smax(wide, zero);
                self.b.ins().smin(x, top)
            }
            (F32, Bool) => {
                let zero = self.constant(Lit::f32(0.0));
                self.b.ins().fcmp(ir::condcodes::FloatCC::NotEqual, x, zero)
            }
            (F64, Bool) => {
                let zero = self.constant(Lit::f64(0.0));
                self.b.ins().fcmp(ir::condcodes::FloatCC::NotEqual, x, zero)
            }
            (I64 | I32 | U8, F32) => self.b.ins().fcvt_from_sint(types::F32, x),
            (I64 | I32 | U8, F64) => self.b.ins().fcvt_from_sint(types::F64, x),
            (I32 | U8, I64) => self.b.ins().sextend(types::I64, x),
            (I64, I32) => self.b.ins().ireduce(types::I32, x),
            (I64, U8) => {
                let x = self.b.ins().ireduce(types::I32, x);
                self.b.ins().band_imm_u(x, 255)
            }
            (I32, U8) => self.b.ins().band_imm_u(x, 255),
            (I64 | I32 | U8, Bool) => self.truth(x),
            (Bool, F32 | F64) => {
                let x = self.b.ins().uextend(types::I32, x);
                self.cast_scalar(I32, to, x)
            }
            (Bool, I64) => self.b.ins().uextend(types::I64, x),
            (Bool, I32 | U8) => self.b.ins().uextend(types::I32, x),
            (F32, F32) | (F64, F64) | (I64, I64) | (I32 | U8, I32) | (U8, U8) | (Bool, Bool) => x,
        }
    }

    fn cast_lanes(&mut self, from: DType, to: DType, x: &[ir::Value]) -> Vec<ir::Value> {
        use DType::*;
        match (from, to) {
            (F32, F64) => self.widen(x, |e, x| e.b.ins().fvpromote_low(x)),
            (F64, F32) => x
                .chunks(2)
                .map(|pair| {
                    let (low, high) = (self.b.ins().fvdemote(pair[0]), self.b.ins().fvdemote(pair[1]));
                    self.shuffle32(low, high, [0, 1, 4, 5], types::F32X4)
                })
                .collect(),
            (F32, I32) => self.each(x, |e, x| e.b.ins().fcvt_to_sint_sat(types::I32X4, x)),
            (I32 | U8, F32) => self.each(x, |e, x| e.b.ins().fcvt_from_sint(types::F32X4, x)),
            (I32 | U8, F64) => self.widen(x, |e, x| {
                let wide = e.b.ins().swiden_low(x);
                e.b.ins().fcvt_from_sint(types::F64X2, wide)
            }),
            (I32 | U8, I64) => self.widen(x, |e, x| e.b.ins().swiden_low(x)),
            (I64, I32) => self.narrow(x),
            (I64, U8) => {
                let narrow = self.narrow(x);
                self.cast_lanes(I32, U8, &narrow)
            }
            (I32, U8) => {
                let keep = self.vector_constant(Lit::i32(255));
                self.each(x, |e, x| e.b.ins().band(x, keep))
            }
            (F32, U8) => {
                let ints = self.cast_lanes(F32, I32, x);
                let (zero, top) = (self.vector_constant(Lit::i32(0)), self.vector_constant(Lit::i32(255)));
                self.each(&ints, |e, x| {
                    let x = e.b.ins().smax(x, zero);
                    e.b.ins().smin(x, top)
                })
            }
            (F32 | I32 | F64 | I64, Bool) => {
                let zero = self.vector_constant(Lit { dtype: from, bits: 0 });
                let masks = self.each(x, |e, x| e.cmp(CmpOp::Ne, from, x, zero));
                if matches!(from, F64 | I64) { self.narrow(&masks) } else { masks }
            }
            (Bool, I32 | U8) => {
                let one = self.vector_constant(Lit::i32(1));
                self.each(x, |e, x| e.b.ins().band(x, one))
            }
            (Bool, F32) => {
                let one = self.vector_constant(Lit::f32(1.0));
                let one = self.recast(types::I32X4, one);
                self.each(x, |e, x| {
                    let bits = e.b.ins().band(x, one);
                    e.recast(types::F32X4, bits)
                })
            }
            (Bool, F64 | I64) => {
                let ints = self.cast_lanes(Bool, I32, x);
                self.cast_lanes(I32, to, &ints)
            }
            (F32, I64) | (F64, I64 | I32 | U8) | (I64, F32 | F64) => {
                self.by_lane((from, value_type(to)), &[x], |e, x| e.cast_scalar(from, to, x[0]))
            }
            (F32, F32) | (F64, F64) | (I64, I64) | (I32 | U8, I32) | (U8, U8 | Bool) | (Bool, Bool) => x.to_vec(),
        }
    }

    fn each(&mut self, x: &[ir::Value], f: impl Fn(&mut Self, ir::Value) -> ir::Value) -> Vec<ir::Value> {
        x.iter().map(|x| f(self, *x)).collect()
    }

    /// Applies an operation on the two low lanes of 32 bits to the low and the high half of each register.
    fn widen(&mut self, x: &[ir::Value], f: impl Fn(&mut Self, ir::Value) -> ir::Value) -> Vec<ir::Value> {
        let mut wide = Vec::with_capacity(x.len() * 2);
        for x in x {
            let ty = self.b.func.dfg.value_type(*x);
            wide.push(f(self, *x));
            let high = self.shuffle32(*x, *x, [2, 3, 2, 3], ty);
            wide.push(f(self, high));
        }
        wide
    }
}
