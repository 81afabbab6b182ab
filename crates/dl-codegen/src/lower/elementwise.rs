//! Elementwise ops as expressions of the kernel IR.

use dl_ir::{NodeId, Op};

use super::cx::Cx;
use crate::kernel::{BinOp, CmpOp, DType, Expr, UnOp, Value, value_type};

impl Cx<'_> {
    /// The value of an elementwise node from those of its operands.
    pub(super) fn elementwise(&mut self, node: NodeId, args: &[Value]) -> Value {
        let graph = self.graph;
        let dtype = graph.ty(node).dtype;
        let un = |cx: &mut Self, op| cx.un(op, args[0]);
        let bin = |cx: &mut Self, op| cx.bin(op, args[0], args[1]);
        let cmp = |cx: &mut Self, op| cx.cmp(op, args[0], args[1]);
        match graph[node].op {
            Op::Neg => {
                let value = un(self, UnOp::Neg);
                self.wrap(dtype, value)
            }
            Op::Abs => un(self, UnOp::Abs),
            Op::Sign => self.sign(dtype, args[0]),
            Op::Floor => un(self, UnOp::Floor),
            Op::Ceil => un(self, UnOp::Ceil),
            Op::Round => un(self, UnOp::Round),
            Op::Sqrt => un(self, UnOp::Sqrt),
            Op::Rsqrt => un(self, UnOp::Rsqrt),
            Op::Exp => un(self, UnOp::Exp),
            Op::Expm1 => un(self, UnOp::Expm1),
            Op::Log => un(self, UnOp::Log),
            Op::Log1p => un(self, UnOp::Log1p),
            Op::Sin => un(self, UnOp::Sin),
            Op::Cos => un(self, UnOp::Cos),
            Op::Tanh => un(self, UnOp::Tanh),
            Op::Sigmoid => un(self, UnOp::Sigmoid),
            Op::Erf => un(self, UnOp::Erf),
            Op::Not => un(self, UnOp::Not),
            Op::Cast => self.convert(args[0], graph.ty(graph[node].args[0]).dtype, dtype),
            Op::Detach => args[0],
            Op::Add => self.arith(BinOp::Add, dtype, args[0], args[1]),
            Op::Sub => self.arith(BinOp::Sub, dtype, args[0], args[1]),
            Op::Mul => self.arith(BinOp::Mul, dtype, args[0], args[1]),
            Op::Div => bin(self, BinOp::Div),
            Op::Rem => self.rem(dtype, args[0], args[1]),
            Op::Pow => bin(self, BinOp::Pow),
            Op::Max => bin(self, BinOp::Max),
            Op::Min => bin(self, BinOp::Min),
            Op::Atan2 => self.atan2(dtype, args[0], args[1]),
            Op::Lt => cmp(self, CmpOp::Lt),
            Op::Le => cmp(self, CmpOp::Le),
            Op::Eq => cmp(self, CmpOp::Eq),
            Op::Ne => cmp(self, CmpOp::Ne),
            Op::And => bin(self, BinOp::And),
            Op::Or => bin(self, BinOp::Or),
            Op::Select => self.select(args[0], args[1], args[2]),
            _ => self.fail(node, "is not elementwise"),
        }
    }

    /// Sum, difference or product of two values of a graph type.
    pub(super) fn arith(&mut self, op: BinOp, dtype: DType, a: Value, b: Value) -> Value {
        let value = self.bin(op, a, b);
        self.wrap(dtype, value)
    }

    /// Bytes are computed as I32: back into 0..=255.
    pub(super) fn wrap(&mut self, dtype: DType, value: Value) -> Value {
        if dtype != DType::U8 {
            return value;
        }
        let mask = self.number(DType::I32, 255.0);
        self.bin(BinOp::And, value, mask)
    }

    /// A value of graph type `from` as one of `to`.
    pub(super) fn convert(&mut self, value: Value, from: DType, to: DType) -> Value {
        if from == to || (from == DType::U8 && to == DType::I32) {
            return value;
        }
        self.let_(Expr::Cast(value, to))
    }

    fn sign(&mut self, dtype: DType, x: Value) -> Value {
        let zero = self.zero(dtype);
        let (up, down) = (self.number(dtype, 1.0), self.number(value_type(dtype), -1.0));
        let (above, below) = (self.cmp(CmpOp::Gt, x, zero), self.cmp(CmpOp::Lt, x, zero));
        // x + 0 keeps NaN and makes -0 a 0.
        let rest = self.bin(BinOp::Add, x, zero);
        let rest = self.select(below, down, rest);
        self.select(above, up, rest)
    }

    /// The remainder of a truncated division, moved to the divisor's side of zero; of integers by zero the dividend.
    fn rem(&mut self, dtype: DType, x: Value, y: Value) -> Value {
        let zero = self.zero(dtype);
        let r = self.bin(BinOp::Rem, x, y);
        let differs = self.cmp(CmpOp::Ne, r, zero);
        let (r_below, y_below) = (self.cmp(CmpOp::Lt, r, zero), self.cmp(CmpOp::Lt, y, zero));
        let crossed = self.bin(BinOp::Xor, r_below, y_below);
        let crossed = self.bin(BinOp::And, differs, crossed);
        let moved = self.bin(BinOp::Add, r, y);
        let r = self.select(crossed, moved, r);
        if dtype.is_float() {
            return r;
        }
        let by_zero = self.cmp(CmpOp::Eq, y, zero);
        self.select(by_zero, x, r)
    }

    /// Cephes' arc tangent of the smaller of |x| and |y| over the larger, turned into the quadrant.
    fn atan2(&mut self, dtype: DType, y: Value, x: Value) -> Value {
        let c = |cx: &mut Self, v: f64| cx.number(dtype, v);
        let (zero, one) = (c(self, 0.0), c(self, 1.0));
        let (ax, ay) = (self.un(UnOp::Abs, x), self.un(UnOp::Abs, y));
        let (low, high) = (self.bin(BinOp::Min, ax, ay), self.bin(BinOp::Max, ax, ay));
        let ratio = self.bin(BinOp::Div, low, high);
        // inf / inf and 0 / 0.
        let same = self.cmp(CmpOp::Eq, low, high);
        let ratio = self.select(same, one, ratio);
        let flat = self.cmp(CmpOp::Eq, high, zero);
        let ratio = self.select(flat, zero, ratio);
        // Above tan(pi / 8): atan(a) = pi / 4 + atan((a - 1) / (a + 1)).
        let turn = c(self, std::f64::consts::FRAC_PI_8.tan());
        let steep = self.cmp(CmpOp::Gt, ratio, turn);
        let (less, more) = (self.bin(BinOp::Sub, ratio, one), self.bin(BinOp::Add, ratio, one));
        let reduced = self.bin(BinOp::Div, less, more);
        let r = self.select(steep, reduced, ratio);
        let quarter = c(self, std::f64::consts::FRAC_PI_4);
        let start = self.select(steep, quarter, zero);
        let z = self.bin(BinOp::Mul, r, r);
        let p = match dtype {
            DType::F64 => {
                let p = self.horner(dtype, z, &ATAN_P);
                let q = self.horner(dtype, z, &ATAN_Q);
                let p = self.bin(BinOp::Mul, p, z);
                self.bin(BinOp::Div, p, q)
            }
            _ => {
                let p = self.horner(dtype, z, &ATAN_F32);
                self.bin(BinOp::Mul, p, z)
            }
        };
        let rest = self.let_(Expr::MulAdd(p, r, r));
        let angle = self.bin(BinOp::Add, start, rest);
        // Into the octant, then the half plane, then the sign of y.
        let half = c(self, std::f64::consts::FRAC_PI_2);
        let tall = self.cmp(CmpOp::Gt, ay, ax);
        let other = self.bin(BinOp::Sub, half, angle);
        let angle = self.select(tall, other, angle);
        let pi = c(self, std::f64::consts::PI);
        let left = self.is_negative(dtype, x);
        let other = self.bin(BinOp::Sub, pi, angle);
        let angle = self.select(left, other, angle);
        let below = self.is_negative(dtype, y);
        let other = self.un(UnOp::Neg, angle);
        self.select(below, other, angle)
    }

    /// Whether the sign bit is set, as it is of -0.
    fn is_negative(&mut self, dtype: DType, x: Value) -> Value {
        let bits = if dtype == DType::F64 { DType::I64 } else { DType::I32 };
        let (x, zero) = (self.let_(Expr::Bitcast(x, bits)), self.zero(bits));
        self.cmp(CmpOp::Lt, x, zero)
    }

    /// The polynomial of `x` with these coefficients, of the highest power first.
    fn horner(&mut self, dtype: DType, x: Value, coefficients: &[f64]) -> Value {
        let mut sum = self.number(dtype, coefficients[0]);
        for &c in &coefficients[1..] {
            let c = self.number(dtype, c);
            sum = self.let_(Expr::MulAdd(sum, x, c));
        }
        sum
    }
}

const ATAN_F32: [f64; 4] = [8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1];
const ATAN_P: [f64; 5] =
    [-0.8750608600031904, -16.157537187333652, -75.00855792314705, -122.88666844901361, -64.85021904942025];
const ATAN_Q: [f64; 6] =
    [1.0, 24.858464901423062, 165.02700983169885, 432.88106049129027, 485.3903996359137, 194.5506571482614];
