//! Random kernels: the compiled code must equal the interpreter bit for bit, so only exact operations take part.

mod common;

use common::{EXACT, Numbers, check, fill};
use dl_codegen::kernel::*;

const TYPES: [DType; 6] = DType::ALL;

struct Generator {
    numbers: Numbers,
    k: Builder,
    /// Values in scope.
    pool: Vec<Value>,
    inputs: Vec<BufId>,
}

impl Generator {
    fn below(&mut self, n: usize) -> usize {
        (self.numbers.next() >> 8) as usize % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn of_type(&mut self, dtype: DType) -> Option<Value> {
        let all: Vec<Value> = self.pool.iter().copied().filter(|v| self.k.dtype(*v) == dtype).collect();
        if all.is_empty() { None } else { Some(self.pick(&all)) }
    }

    /// A load at one of several strides, or of an element that is the same in all lanes.
    fn load(&mut self, j: Option<Var>) {
        let buf = self.pick(&self.inputs.clone());
        let (stride, base) = (self.pick(&[1, 1, 1, 0, 2, 3, -1]), self.below(5) as i64);
        let at = Var::PART * 150 + base;
        let at = match j {
            Some(j) if stride < 0 => at + 48 - j,
            Some(j) => at + j * stride,
            None => at,
        };
        let guarded = self.below(5) == 0;
        let value = match (guarded, j) {
            (true, Some(j)) => {
                let (lo, hi) = (self.below(9) as i64, self.below(60) as i64);
                let guard = self.k.let_(Expr::InRange { at: j.into(), lo, hi });
                let loaded = self.k.load(buf, Var::PART * 150);
                self.k.load_if(buf, at, guard, loaded)
            }
            _ => self.k.load(buf, at),
        };
        self.pool.push(value);
    }

    fn expr(&mut self, j: Option<Var>) {
        let a = self.pick(&self.pool.clone());
        let dtype = self.k.dtype(a);
        let (float, truth) = (dtype.is_float(), dtype == DType::Bool);
        let b = self.of_type(dtype).unwrap_or(a);
        let value = match self.below(9) {
            0 => return self.load(j),
            1 => {
                let to = self.pick(&TYPES);
                self.k.cast(a, to)
            }
            2 => {
                let ops: &[CmpOp] = if truth {
                    &[CmpOp::Eq, CmpOp::Ne]
                } else {
                    &[CmpOp::Eq, CmpOp::Ne, CmpOp::Lt, CmpOp::Le, CmpOp::Gt, CmpOp::Ge]
                };
                let op = self.pick(ops);
                self.k.cmp(op, a, b)
            }
            3 => match self.of_type(DType::Bool) {
                Some(cond) => self.k.select(cond, a, b),
                None => return,
            },
            4 => {
                let ops: &[UnOp] = match dtype {
                    DType::Bool => &[UnOp::Not],
                    _ if float => {
                        &[UnOp::Neg, UnOp::Abs, UnOp::Sqrt, UnOp::Floor, UnOp::Ceil, UnOp::Round, UnOp::Trunc]
                    }
                    _ => &[UnOp::Neg, UnOp::Abs, UnOp::Not],
                };
                let op = self.pick(ops);
                self.k.un(op, a)
            }
            5 if j.is_some() => {
                let at = Var::PART * 3 + j.map_or(0.into(), Affine::from) * 2 - 7;
                self.k.let_(Expr::Index(at))
            }
            6 => self.k.lit(Lit { dtype, bits: if truth { 1 } else { Lit::f32(0.0).bits } }),
            _ => {
                let ops: &[BinOp] = match dtype {
                    DType::Bool => &[BinOp::And, BinOp::Or, BinOp::Xor, BinOp::Max, BinOp::Min],
                    _ if float => &[BinOp::Add, BinOp::Sub, BinOp::Mul, BinOp::Max, BinOp::Min],
                    _ => &[
                        BinOp::Add,
                        BinOp::Sub,
                        BinOp::Mul,
                        BinOp::Div,
                        BinOp::Rem,
                        BinOp::Max,
                        BinOp::Min,
                        BinOp::And,
                        BinOp::Or,
                        BinOp::Xor,
                    ],
                };
                let op = self.pick(ops);
                self.k.bin(op, a, b)
            }
        };
        self.pool.push(value);
    }

    /// Stores a value of each type, some of them added.
    fn stores(&mut self, j: Var, parts: u64) {
        for dtype in TYPES {
            let Some(value) = self.of_type(value_type(dtype)) else { continue };
            let buf = self.k.buf(dtype, parts * 150, Access::ReadWrite);
            let stride = self.pick(&[1, 1, 2]);
            let add = dtype != DType::Bool && self.below(4) == 0;
            let guard = if self.below(4) == 0 { self.of_type(DType::Bool) } else { None };
            let place = Place { buf, at: Var::PART * 150 + j * stride + 1 };
            self.k.push(Stmt::Store { place, value, add, guard });
        }
    }

    fn reductions(&mut self) -> Vec<(ReduceOp, Value)> {
        let values: Vec<Value> = (0..self.below(3)).map(|_| self.pick(&self.pool.clone())).collect();
        let op = |g: &mut Self, v: Value| match g.k.dtype(v) {
            DType::Bool => g.pick(&[ReduceOp::Max, ReduceOp::Min]),
            DType::F32 | DType::F64 => g.pick(&[ReduceOp::Max, ReduceOp::Min, ReduceOp::ArgMax, ReduceOp::ArgMin]),
            _ => g.pick(&[ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min, ReduceOp::ArgMax]),
        };
        values.into_iter().map(|v| (op(self, v), v)).collect()
    }

    /// A vector loop over values of this scope, with a serial loop inside now and then.
    fn vector(&mut self, parts: u64) {
        let extent = self.pick(&[0, 1, 3, 4, 6, 8, 13, 16, 21, 32, 37, 45]);
        let outer = self.pool.len();
        let var = self.k.fresh_var();
        let (body, reduces) = self.in_block(|g| {
            g.load(Some(var));
            for _ in 0..2 + g.below(12) {
                g.expr(Some(var));
            }
            if g.below(3) == 0 {
                g.serial(Some(var));
            }
            g.stores(var, parts);
            g.reductions()
        });
        self.pool.truncate(outer);
        let reduces: Vec<Reduce> = reduces
            .into_iter()
            .map(|(op, value)| {
                let arg = matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin);
                let dtype = if arg { DType::I64 } else { self.k.dtype(value) };
                Reduce { op, value, out: self.k.fresh_value(dtype) }
            })
            .collect();
        self.pool.extend(reduces.iter().map(|r| r.out));
        self.k.push(Stmt::Vec { var, extent, reduces, body });
    }

    /// A serial loop which carries two values.
    fn serial(&mut self, lanes: Option<Var>) {
        let inits: Vec<Value> = (0..2).map(|_| self.pick(&self.pool.clone())).collect();
        let trips = self.pick(&[0, 1, 2, 5, 9]);
        let outer = self.pool.len();
        let params: Vec<Value> = inits.iter().map(|v| self.k.fresh_value(self.k.dtype(*v))).collect();
        let var = self.k.fresh_var();
        let (body, next) = self.in_block(|g| {
            g.pool.extend(&params);
            let index = g.k.let_(Expr::Index(var * 3 - 2));
            g.pool.push(index);
            for _ in 0..1 + g.below(5) {
                g.expr(lanes);
            }
            params.iter().map(|p| g.of_type(g.k.dtype(*p)).unwrap_or(*p)).collect::<Vec<_>>()
        });
        self.pool.truncate(outer);
        let outs: Vec<Value> = inits.iter().map(|v| self.k.fresh_value(self.k.dtype(*v))).collect();
        self.pool.extend(&outs);
        let carries = (0..2).map(|i| Carry { param: params[i], init: inits[i], next: next[i], out: outs[i] }).collect();
        self.k.push(Stmt::For { var, lo: 0.into(), hi: trips.into(), carries, body });
    }

    fn in_block<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> (Vec<Stmt>, T) {
        // The builder collects statements; the generator that holds it is passed through.
        let mut inner = Generator {
            numbers: Numbers(self.numbers.next() | 1),
            k: std::mem::replace(&mut self.k, Builder::new("", 1)),
            pool: self.pool.clone(),
            inputs: self.inputs.clone(),
        };
        let outer = inner.k.take();
        let result = f(&mut inner);
        let body = inner.k.take();
        outer.into_iter().for_each(|s| inner.k.push(s));
        self.k = inner.k;
        (body, result)
    }
}

fn random(seed: u64) -> Kernel {
    let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let parts = 1 + numbers.next() % 3;
    let mut k = Builder::new(format!("random_{seed}"), parts);
    let inputs = TYPES.map(|t| k.buf(t, parts * 150, Access::Read)).to_vec();
    let mut g = Generator { numbers, k, pool: Vec::new(), inputs };
    g.load(None);
    for _ in 0..g.below(4) {
        g.expr(None);
    }
    for _ in 0..1 + g.below(2) {
        g.vector(parts);
        if g.below(2) == 0 {
            g.serial(None);
        }
    }
    g.vector(parts);
    g.k.finish()
}

#[test]
fn random_kernels() {
    for seed in 0..400 {
        let kernel = random(seed);
        check(&kernel, &fill(&kernel, seed), EXACT);
    }
}
