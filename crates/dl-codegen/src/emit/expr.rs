//! Expressions: one Cranelift instruction where there is one, the same for scalars and registers of lanes.

use super::lanes::{scalar_type, vector_type};
use super::*;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};

impl Emitter<'_> {
    /// Executes `value = expr`.
    pub fn define(&mut self, value: Value, expr: &Expr) {
        let rep = self.expr(value, expr);
        self.set(value, rep);
    }

    fn expr(&mut self, out: Value, expr: &Expr) -> Rep {
        match expr {
            Expr::Const(lit) => Rep::Const(*lit),
            Expr::Index(at) => self.index_lanes(at),
            Expr::InRange { at, lo, hi } => self.in_range(at, *lo, *hi),
            Expr::Load(place) => self.load(place),
            Expr::LoadIf { place, guard, other } => self.load_if(place, *guard, *other),
            Expr::Un(op, a) => self.unary(*op, *a),
            Expr::Bin(op, a, b) => self.binary(*op, *a, *b),
            Expr::Cmp(op, a, b) => self.compare(*op, *a, *b),
            Expr::Select(cond, a, b) => self.select(*cond, *a, *b),
            Expr::MulAdd(a, b, c) => self.map(self.dtype(out), &[*a, *b, *c], |e, x| e.fused(x[0], x[1], x[2])),
            Expr::Cast(a, to) => self.cast(*a, *to),
            Expr::Bitcast(a, to) => {
                let to = *to;
                self.map(to, &[*a], move |e, x| {
                    let vector = e.b.func.dfg.value_type(x[0]).is_vector();
                    e.recast(if vector { vector_type(to) } else { scalar_type(to) }, x[0])
                })
            }
            Expr::Random { .. } => unreachable!("expanded before"),
        }
    }

    /// Applies `f` to scalars, or to the registers of operands of one width.
    fn map(&mut self, dtype: DType, operands: &[Value], f: impl Fn(&mut Self, &[ir::Value]) -> ir::Value) -> Rep {
        if !operands.iter().any(|v| self.is_lanes(*v)) {
            let scalars: Vec<ir::Value> = operands.iter().map(|v| self.scalar(*v)).collect();
            return Rep::Scalar(f(self, &scalars));
        }
        let registers: Vec<Vec<ir::Value>> = operands.iter().map(|v| self.lanes(*v)).collect();
        Rep::Lanes(
            (0..self.registers(dtype))
                .map(|i| {
                    let row: Vec<ir::Value> = registers.iter().map(|r| r[i]).collect();
                    f(self, &row)
                })
                .collect(),
        )
    }

    /// Applies `f` to scalars, lane by lane if need be.
    fn map_lanes(
        &mut self,
        (from, to): (DType, DType),
        operands: &[Value],
        f: impl Fn(&mut Self, &[ir::Value]) -> ir::Value,
    ) -> Rep {
        if !operands.iter().any(|v| self.is_lanes(*v)) {
            return self.map(to, operands, f);
        }
        let registers: Vec<Vec<ir::Value>> = operands.iter().map(|v| self.lanes(*v)).collect();
        let registers: Vec<&[ir::Value]> = registers.iter().map(Vec::as_slice).collect();
        Rep::Lanes(self.by_lane((from, to), &registers, f))
    }

    /// An index as I64.
    fn index_lanes(&mut self, at: &Affine) -> Rep {
        if !self.varies(at) {
            return Rep::Scalar(self.index_value(at));
        }
        if self.by_lane_index(at) {
            let scalars: Vec<ir::Value> = (0..self.groups * 4).map(|lane| self.lane_value(at, lane)).collect();
            return Rep::Lanes(self.assemble(DType::I64, &scalars));
        }
        let first = self.lane_value(at, 0);
        let first = self.b.ins().splat(types::I64X2, first);
        let step = self.lane_step(at);
        let registers = (0..self.groups as i64 * 2)
            .map(|i| {
                let offsets: Vec<u8> =
                    [2 * i * step, (2 * i + 1) * step].into_iter().flat_map(i64::to_le_bytes).collect();
                let offsets = self.b.func.dfg.constants.insert(offsets.into());
                let offsets = self.b.ins().vconst(types::I64X2, offsets);
                self.b.ins().iadd(first, offsets)
            })
            .collect();
        Rep::Lanes(registers)
    }

    fn in_range(&mut self, at: &Affine, lo: i64, hi: i64) -> Rep {
        let width = hi.saturating_sub(lo).max(0);
        if !self.varies(at) {
            let x = self.index_value(at);
            let x = self.b.ins().iadd_imm_s(x, lo.wrapping_neg());
            return Rep::Scalar(self.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, x, width));
        }
        let (least, greatest) = self.ranges.affine(at);
        let fits = |x: i64| i32::try_from(x).is_ok();
        if self.by_lane_index(at) || !(fits(least) && fits(greatest) && fits(lo) && fits(hi)) {
            let masks: Vec<ir::Value> = (0..self.groups * 4)
                .map(|lane| {
                    let x = self.lane_value(at, lane);
                    let x = self.b.ins().iadd_imm_s(x, lo.wrapping_neg());
                    self.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, x, width)
                })
                .collect();
            return Rep::Lanes(self.assemble(DType::Bool, &masks));
        }
        // All in 32 bits: first lane plus lane number times coefficient.
        let step = self.lane_step(at);
        let first = self.lane_value(at, 0);
        let first = self.b.ins().ireduce(types::I32, first);
        let first = self.b.ins().splat(types::I32X4, first);
        let (lo, hi) = (self.vector_constant(Lit::i32(lo as i32)), self.vector_constant(Lit::i32(hi as i32)));
        let masks = (0..self.groups as i32)
            .map(|group| {
                let numbers = self.lane_numbers(group * 4);
                let step = self.vector_constant(Lit::i32(step as i32));
                let offsets = self.b.ins().imul(numbers, step);
                let x = self.b.ins().iadd(first, offsets);
                let above = self.b.ins().icmp(IntCC::SignedGreaterThanOrEqual, x, lo);
                let below = self.b.ins().icmp(IntCC::SignedLessThan, x, hi);
                self.b.ins().band(above, below)
            })
            .collect();
        Rep::Lanes(masks)
    }

    fn unary(&mut self, op: UnOp, a: Value) -> Rep {
        let dtype = self.dtype(a);
        if let Some(function) = externs::unary(op, dtype) {
            return self.map_lanes((dtype, dtype), &[a], |e, x| e.call(function, x));
        }
        self.map(dtype, &[a], |e, x| e.un(op, dtype, x[0]))
    }

    fn un(&mut self, op: UnOp, dtype: DType, x: ir::Value) -> ir::Value {
        let float = dtype.is_float();
        match op {
            UnOp::Neg if float => self.b.ins().fneg(x),
            UnOp::Neg => self.b.ins().ineg(x),
            UnOp::Abs if float => self.b.ins().fabs(x),
            UnOp::Abs => self.b.ins().iabs(x),
            UnOp::Not if dtype == DType::Bool && !self.b.func.dfg.value_type(x).is_vector() => {
                self.b.ins().bxor_imm_u(x, 1)
            }
            UnOp::Not => self.b.ins().bnot(x),
            UnOp::Sqrt => self.b.ins().sqrt(x),
            UnOp::Rsqrt => {
                let root = self.b.ins().sqrt(x);
                let one = if dtype == DType::F64 { Lit::f64(1.0) } else { Lit::f32(1.0) };
                let one = self.like(x, one);
                self.b.ins().fdiv(one, root)
            }
            UnOp::Floor => self.b.ins().floor(x),
            UnOp::Ceil => self.b.ins().ceil(x),
            UnOp::Round => self.b.ins().nearest(x),
            UnOp::Trunc => self.b.ins().trunc(x),
            UnOp::Exp
            | UnOp::Expm1
            | UnOp::Log
            | UnOp::Log1p
            | UnOp::Tanh
            | UnOp::Sigmoid
            | UnOp::Erf
            | UnOp::Sin
            | UnOp::Cos => unreachable!("expanded, or a call"),
        }
    }

    fn binary(&mut self, op: BinOp, a: Value, b: Value) -> Rep {
        let dtype = self.dtype(a);
        if let Some(function) = externs::binary(op, dtype) {
            return self.map_lanes((dtype, dtype), &[a, b], |e, x| e.call(function, x));
        }
        match op {
            BinOp::Div | BinOp::Rem if !dtype.is_float() => {
                self.map_lanes((dtype, dtype), &[a, b], |e, x| e.divide(op, x[0], x[1]))
            }
            BinOp::Shl | BinOp::Shr | BinOp::Sar => self.shift(op, a, b),
            BinOp::Max | BinOp::Min if dtype.is_float() => {
                let known = |v: Value| matches!(self.values[v.0 as usize], Rep::Const(lit) if !is_nan(lit));
                let (left, right) = (known(a), known(b));
                self.map(dtype, &[a, b], |e, x| e.extreme(op, (x[0], left), (x[1], right)))
            }
            _ => self.map(dtype, &[a, b], |e, x| e.bin(op, dtype, x[0], x[1])),
        }
    }

    /// One instruction on two scalars or registers.
    pub fn bin(&mut self, op: BinOp, dtype: DType, a: ir::Value, b: ir::Value) -> ir::Value {
        let float = dtype.is_float();
        match op {
            BinOp::Add if float => self.b.ins().fadd(a, b),
            BinOp::Sub if float => self.b.ins().fsub(a, b),
            BinOp::Mul if float => self.b.ins().fmul(a, b),
            BinOp::Div => self.b.ins().fdiv(a, b),
            BinOp::Add => self.b.ins().iadd(a, b),
            BinOp::Sub => self.b.ins().isub(a, b),
            BinOp::Mul => self.b.ins().imul(a, b),
            BinOp::Max | BinOp::Min if float => self.extreme(op, (a, false), (b, false)),
            // Masks are 0 or -1 in lanes and 0 or 1 in scalars.
            BinOp::Max if dtype == DType::Bool => self.b.ins().bor(a, b),
            BinOp::Min if dtype == DType::Bool => self.b.ins().band(a, b),
            BinOp::Max | BinOp::Min => {
                let cc = if op == BinOp::Max { IntCC::SignedGreaterThan } else { IntCC::SignedLessThan };
                match (dtype, op) {
                    (DType::I64, _) if self.b.func.dfg.value_type(a).is_vector() => {
                        let mask = self.b.ins().icmp(cc, a, b);
                        self.blend(mask, a, b)
                    }
                    (_, BinOp::Max) => self.b.ins().smax(a, b),
                    _ => self.b.ins().smin(a, b),
                }
            }
            BinOp::And => self.b.ins().band(a, b),
            BinOp::Or => self.b.ins().bor(a, b),
            BinOp::Xor => self.b.ins().bxor(a, b),
            BinOp::MulHiU => self.mul_hi(a, b),
            BinOp::Scale => self.scale(a, b),
            BinOp::Rem | BinOp::Pow | BinOp::Shl | BinOp::Shr | BinOp::Sar => unreachable!("handled before"),
        }
    }

    /// `a * 2^b`: two powers, as one may not be a number, of which the first changes no bit of the mantissa.
    fn scale(&mut self, a: ir::Value, b: ir::Value) -> ir::Value {
        let float = self.b.func.dfg.value_type(a);
        let ints = if float.is_vector() { types::I32X4 } else { types::I32 };
        // Leaves the integer in the low bits.
        let rounder = 12_582_912.0f32;
        let (add, base) = (self.like(a, Lit::f32(rounder)), self.like(a, Lit::i32(rounder.to_bits() as i32)));
        let sum = self.b.ins().fadd(b, add);
        let bits = self.recast(ints, sum);
        let n = self.b.ins().isub(bits, base);
        let first = self.b.ins().sshr_imm_u(n, 1);
        let second = self.b.ins().isub(n, first);
        let bias = self.like(a, Lit::i32(127));
        [first, second].into_iter().fold(a, |product, half| {
            let exponent = self.b.ins().iadd(half, bias);
            let power = self.b.ins().ishl_imm_u(exponent, 23);
            let power = self.recast(float, power);
            self.b.ins().fmul(product, power)
        })
    }

    /// `a * b + c`.
    pub fn fused(&mut self, a: ir::Value, b: ir::Value, c: ir::Value) -> ir::Value {
        if self.isa.has_fma() {
            return self.b.ins().fma(a, b, c);
        }
        let product = self.b.ins().fmul(a, b);
        // The instruction overwrites its first operand: a sum stays in its register.
        self.b.ins().fadd(c, product)
    }

    /// Greater or lesser of floats, NaN if either is. Each operand says whether it is known not to be NaN.
    pub fn extreme(
        &mut self,
        op: BinOp,
        (a, a_known): (ir::Value, bool),
        (b, b_known): (ir::Value, bool),
    ) -> ir::Value {
        if !self.isa.slow_min_max() {
            return if op == BinOp::Max { self.b.ins().fmax(a, b) } else { self.b.ins().fmin(a, b) };
        }
        // `maxps x, y` is `x > y ? x : y`: y if either is NaN. So only a NaN in x gets lost.
        let (x, y) = if b_known && !a_known { (b, a) } else { (a, b) };
        let vector = self.b.func.dfg.value_type(x).is_vector();
        let ty = self.b.func.dfg.value_type(x);
        let better = match op {
            BinOp::Max => self.b.ins().fcmp(FloatCC::LessThan, y, x),
            _ => self.b.ins().fcmp(FloatCC::LessThan, x, y),
        };
        let best = if vector {
            let mask = self.recast(ty, better);
            self.b.ins().bitselect(mask, x, y)
        } else {
            self.b.ins().select(better, x, y)
        };
        if a_known || b_known {
            return best;
        }
        let nan = self.b.ins().fcmp(FloatCC::Unordered, x, x);
        if vector { self.blend(nan, x, best) } else { self.b.ins().select(nan, x, best) }
    }

    fn compare(&mut self, op: CmpOp, a: Value, b: Value) -> Rep {
        let dtype = self.dtype(a);
        let compared = self.map(dtype, &[a, b], |e, x| e.cmp(op, dtype, x[0], x[1]));
        match compared {
            Rep::Lanes(masks) if matches!(dtype, DType::F64 | DType::I64) => Rep::Lanes(self.narrow(&masks)),
            other => other,
        }
    }

    /// Compares two scalars (0 or 1) or registers (0 or -1, as wide as the operands).
    pub fn cmp(&mut self, op: CmpOp, dtype: DType, a: ir::Value, b: ir::Value) -> ir::Value {
        if dtype.is_float() {
            let cc = match op {
                CmpOp::Eq => FloatCC::Equal,
                CmpOp::Ne => FloatCC::NotEqual,
                CmpOp::Lt => FloatCC::LessThan,
                CmpOp::Le => FloatCC::LessThanOrEqual,
                CmpOp::Gt => FloatCC::GreaterThan,
                CmpOp::Ge => FloatCC::GreaterThanOrEqual,
            };
            return self.b.ins().fcmp(cc, a, b);
        }
        let cc = match op {
            CmpOp::Eq => IntCC::Equal,
            CmpOp::Ne => IntCC::NotEqual,
            CmpOp::Lt => IntCC::SignedLessThan,
            CmpOp::Le => IntCC::SignedLessThanOrEqual,
            CmpOp::Gt => IntCC::SignedGreaterThan,
            CmpOp::Ge => IntCC::SignedGreaterThanOrEqual,
        };
        self.b.ins().icmp(cc, a, b)
    }

    fn select(&mut self, cond: Value, a: Value, b: Value) -> Rep {
        let dtype = self.dtype(a);
        if !self.is_lanes(cond) {
            let cond = self.scalar(cond);
            return self.map(dtype, &[a, b], |e, x| e.b.ins().select(cond, x[0], x[1]));
        }
        let (masks, a, b) = (self.lanes(cond), self.lanes(a), self.lanes(b));
        Rep::Lanes(self.blend_all(dtype, &masks, &a, &b))
    }

    /// Shifts by a constant.
    fn shift(&mut self, op: BinOp, a: Value, by: Value) -> Rep {
        let Rep::Const(lit) = self.values[by.0 as usize] else { unreachable!("verified: shifts are by constants") };
        let amount = lit.bits as i64;
        self.map(self.dtype(a), &[a], |e, x| match op {
            BinOp::Shl => e.b.ins().ishl_imm_u(x[0], amount),
            BinOp::Shr => e.b.ins().ushr_imm_u(x[0], amount),
            _ => e.b.ins().sshr_imm_u(x[0], amount),
        })
    }

    /// The high halves of 32-bit unsigned products.
    fn mul_hi(&mut self, a: ir::Value, b: ir::Value) -> ir::Value {
        if !self.b.func.dfg.value_type(a).is_vector() {
            let (a, b) = (self.b.ins().uextend(types::I64, a), self.b.ins().uextend(types::I64, b));
            let product = self.b.ins().imul(a, b);
            let high = self.b.ins().ushr_imm_u(product, 32);
            return self.b.ins().ireduce(types::I32, high);
        }
        let (a0, b0) = (self.b.ins().uwiden_low(a), self.b.ins().uwiden_low(b));
        let (a1, b1) = (self.b.ins().uwiden_high(a), self.b.ins().uwiden_high(b));
        let (low, high) = (self.b.ins().imul(a0, b0), self.b.ins().imul(a1, b1));
        self.shuffle32(low, high, [1, 3, 5, 7], types::I32X4)
    }

    /// Truncating integer division: by 0 gives 0, by -1 wraps. The CPU's instruction traps on both.
    fn divide(&mut self, op: BinOp, a: ir::Value, b: ir::Value) -> ir::Value {
        let ty = self.b.func.dfg.value_type(a);
        let (zero, one) = (self.b.ins().iconst(ty, 0), self.b.ins().iconst(ty, 1));
        let by_zero = self.b.ins().icmp_imm_s(IntCC::Equal, b, 0);
        let by_minus = self.b.ins().icmp_imm_s(IntCC::Equal, b, -1);
        let special = self.b.ins().bor(by_zero, by_minus);
        let divisor = self.b.ins().select(special, one, b);
        if op == BinOp::Rem {
            // Remainders by 1 are 0, as are those by 0 and -1.
            return self.b.ins().srem(a, divisor);
        }
        let quotient = self.b.ins().sdiv(a, divisor);
        let negated = self.b.ins().ineg(a);
        let quotient = self.b.ins().select(by_minus, negated, quotient);
        self.b.ins().select(by_zero, zero, quotient)
    }

    /// A constant as a scalar or register, as `x` is.
    fn like(&mut self, x: ir::Value, lit: Lit) -> ir::Value {
        if self.b.func.dfg.value_type(x).is_vector() { self.vector_constant(lit) } else { self.constant(lit) }
    }
}

fn is_nan(lit: Lit) -> bool {
    match lit.dtype {
        DType::F32 => f32::from_bits(lit.bits as u32).is_nan(),
        DType::F64 => f64::from_bits(lit.bits).is_nan(),
        _ => false,
    }
}
