//! Vector loops and their reductions.

use super::lanes::{lanes_of, vector_type};
use super::*;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};

/// The accumulators of one reduction: registers of lanes, or one scalar; `ArgMax` and `ArgMin` have the iteration
/// numbers besides the values (I32 lanes, or an I64 scalar).
#[derive(Clone)]
struct Accumulator {
    values: Vec<ir::Value>,
    numbers: Vec<ir::Value>,
}

impl Emitter<'_> {
    /// Emits `for var in 0..extent`: a loop of several lane groups at once, a block of the groups that remain, and a
    /// scalar tail.
    pub fn vector(&mut self, var: Var, extent: u64, reduces: &[Reduce], body: &[Stmt]) {
        if self.vector_leaf(var, extent, reduces, body) {
            return;
        }
        self.hoist(body);
        let groups = unroll(reduces, body, extent, |v| self.dtype(v));
        let width = 4 * groups as u64;
        let (main, left) = (extent / width, (extent % width / 4) as usize);
        let mut accumulators: Option<Vec<Accumulator>> = None;
        self.scope(|e| {
            if main > 0 {
                e.groups = groups;
                e.broadcast(body);
                let init: Vec<Accumulator> = reduces.iter().map(|r| e.identity(r)).collect();
                let flat: Vec<ir::Value> = init.iter().flat_map(Accumulator::flat).collect();
                let outs = e.repeat((0, width as i64, main), &flat, |e, ix, params| {
                    let now = unflatten(&init, params);
                    e.lane_group(var, ix, reduces, &now, body).iter().flat_map(Accumulator::flat).collect()
                });
                accumulators = Some(unflatten(&init, &outs));
            }
            if left > 0 {
                // Fewer groups than the loop had: fold the accumulators into as many.
                let (had, start) = (e.groups, (main * width) as i64);
                e.groups = left;
                let now: Vec<Accumulator> = match accumulators.take() {
                    Some(all) => reduces.iter().zip(all).map(|(r, a)| e.fold(r, a, had)).collect(),
                    None => reduces.iter().map(|r| e.identity(r)).collect(),
                };
                accumulators = Some(e.lane_group(var, Ix::constant(start), reduces, &now, body));
            }
        });
        let mut totals: Vec<Accumulator> = match accumulators {
            Some(all) => reduces.iter().zip(all).map(|(r, a)| self.horizontal(r, &a)).collect(),
            None => {
                self.groups = 0;
                reduces.iter().map(|r| self.identity(r)).collect()
            }
        };
        self.groups = 0;
        let tail = extent % 4;
        if tail > 0 {
            let flat: Vec<ir::Value> = totals.iter().flat_map(Accumulator::flat).collect();
            let outs = self.repeat(((extent - tail) as i64, 1, tail), &flat, |e, ix, params| {
                let now = unflatten(&totals, params);
                e.lane_group(var, ix, reduces, &now, body).iter().flat_map(Accumulator::flat).collect()
            });
            totals = unflatten(&totals, &outs);
        }
        for (reduce, total) in reduces.iter().zip(totals) {
            let result = total.numbers.first().or(total.values.first()).copied();
            self.set(reduce.out, result.map_or(Rep::Unset, Rep::Scalar));
        }
    }

    /// One execution of the body, for all lanes of the current group; returns the accumulators after it.
    fn lane_group(
        &mut self,
        var: Var,
        ix: Ix,
        reduces: &[Reduce],
        now: &[Accumulator],
        body: &[Stmt],
    ) -> Vec<Accumulator> {
        self.scope(|e| {
            let scalar = e.groups == 0;
            e.bind(var, if scalar { ix.clone() } else { ix.clone().vector() });
            e.block(body);
            let after = reduces
                .iter()
                .zip(now)
                .map(|(r, a)| {
                    let values = if scalar { vec![e.scalar(r.value)] } else { e.lanes(r.value) };
                    let numbers = if a.numbers.is_empty() { Vec::new() } else { e.iteration_numbers(var) };
                    e.combine(r, a, &Accumulator { values, numbers })
                })
                .collect();
            e.unbind(var);
            after
        })
    }

    /// The numbers of the current iterations: I32 lanes, or an I64 scalar.
    fn iteration_numbers(&mut self, var: Var) -> Vec<ir::Value> {
        let first = self.lane_value(&var.into(), 0);
        if self.groups == 0 {
            return vec![first];
        }
        let first = self.b.ins().ireduce(types::I32, first);
        let first = self.b.ins().splat(types::I32X4, first);
        (0..self.groups as i32)
            .map(|group| {
                let numbers = self.lane_numbers(group * 4);
                self.b.ins().iadd(first, numbers)
            })
            .collect()
    }

    /// The accumulator of no iterations.
    fn identity(&mut self, reduce: &Reduce) -> Accumulator {
        let lit = crate::kernel::ops::identity(reduce.op, self.dtype(reduce.value));
        let arg = matches!(reduce.op, ReduceOp::ArgMax | ReduceOp::ArgMin);
        if self.groups == 0 {
            let values = vec![self.constant(lit)];
            let numbers = if arg { vec![self.iconst(0)] } else { Vec::new() };
            return Accumulator { values, numbers };
        }
        let values = vec![self.vector_constant(lit); self.registers(lit.dtype)];
        let numbers = if arg { vec![self.vector_constant(Lit::i32(0)); self.groups] } else { Vec::new() };
        Accumulator { values, numbers }
    }

    /// Combines two accumulators of the same shape; of equals, an `ArgMax` keeps `a`.
    fn combine(&mut self, reduce: &Reduce, a: &Accumulator, b: &Accumulator) -> Accumulator {
        let dtype = self.dtype(reduce.value);
        let op = match reduce.op {
            ReduceOp::Sum => BinOp::Add,
            ReduceOp::Prod => BinOp::Mul,
            ReduceOp::Max => BinOp::Max,
            ReduceOp::Min => BinOp::Min,
            ReduceOp::ArgMax | ReduceOp::ArgMin => return self.combine_arg(reduce, a, b),
        };
        let values = a.values.iter().zip(&b.values).map(|(a, b)| self.bin(op, dtype, *a, *b)).collect();
        Accumulator { values, numbers: Vec::new() }
    }

    fn combine_arg(&mut self, reduce: &Reduce, a: &Accumulator, b: &Accumulator) -> Accumulator {
        let dtype = self.dtype(reduce.value);
        let better: Vec<ir::Value> =
            a.values.iter().zip(&b.values).map(|(a, b)| self.better(reduce.op, dtype, *b, *a)).collect();
        if self.groups == 0 {
            let pick = |e: &mut Self, a: &[ir::Value], b: &[ir::Value]| vec![e.b.ins().select(better[0], b[0], a[0])];
            return Accumulator {
                values: pick(self, &a.values, &b.values),
                numbers: pick(self, &a.numbers, &b.numbers),
            };
        }
        let values = (0..better.len()).map(|i| self.blend(better[i], b.values[i], a.values[i])).collect();
        let masks = if lanes_of(dtype) == 2 { self.narrow(&better) } else { better };
        let numbers = (0..masks.len()).map(|i| self.blend(masks[i], b.numbers[i], a.numbers[i])).collect();
        Accumulator { values, numbers }
    }

    /// Whether `x` beats `best`: beyond it, or the first NaN.
    fn better(&mut self, op: ReduceOp, dtype: DType, x: ir::Value, best: ir::Value) -> ir::Value {
        let cmp = if op == ReduceOp::ArgMax { CmpOp::Gt } else { CmpOp::Lt };
        let beyond = self.cmp(cmp, dtype, x, best);
        if !dtype.is_float() {
            return beyond;
        }
        let nan = self.b.ins().fcmp(FloatCC::Unordered, x, x);
        let number = self.b.ins().fcmp(FloatCC::Equal, best, best);
        let first = self.b.ins().band(nan, number);
        self.b.ins().bor(beyond, first)
    }

    /// Combines an accumulator of `had` groups into one of the current, smaller number.
    fn fold(&mut self, reduce: &Reduce, all: Accumulator, had: usize) -> Accumulator {
        let groups = self.groups;
        let per = 4 / lanes_of(self.dtype(reduce.value));
        let part = |group: usize| Accumulator {
            values: all.values[group * per..(group + 1) * per].to_vec(),
            numbers: all.numbers.get(group..group + 1).unwrap_or(&[]).to_vec(),
        };
        let mut kept: Vec<Accumulator> = (0..groups).map(part).collect();
        for group in groups..had {
            kept[group % groups] = self.combine(reduce, &kept[group % groups].clone(), &part(group));
        }
        Accumulator {
            values: kept.iter().flat_map(|a| a.values.clone()).collect(),
            numbers: kept.iter().flat_map(|a| a.numbers.clone()).collect(),
        }
    }

    /// Combines the lanes of an accumulator into a scalar.
    fn horizontal(&mut self, reduce: &Reduce, all: &Accumulator) -> Accumulator {
        let dtype = self.dtype(reduce.value);
        if all.numbers.is_empty() {
            let op = match reduce.op {
                ReduceOp::Sum => BinOp::Add,
                ReduceOp::Prod => BinOp::Mul,
                ReduceOp::Max | ReduceOp::ArgMax => BinOp::Max,
                ReduceOp::Min | ReduceOp::ArgMin => BinOp::Min,
            };
            let values = vec![self.across(op, dtype, &all.values)];
            return Accumulator { values, numbers: Vec::new() };
        }
        let lanes = self.groups * 4;
        let scalars = |e: &mut Self, lane: usize| {
            let value = e.extract(dtype, &all.values, lane);
            let number = e.extract(DType::I32, &all.numbers, lane);
            (value, e.b.ins().sextend(types::I64, number))
        };
        let first = scalars(self, 0);
        let (value, number) = (1..lanes).fold(first, |(best, at), lane| {
            let (x, n) = scalars(self, lane);
            // Of equals (or NaNs) in different lanes the earlier iteration wins.
            let better = self.better(reduce.op, dtype, x, best);
            let worse = self.better(reduce.op, dtype, best, x);
            let earlier = self.b.ins().icmp(IntCC::SignedLessThan, n, at);
            let tied = self.b.ins().bxor_imm_u(worse, 1);
            let earlier = self.b.ins().band(tied, earlier);
            let take = self.b.ins().bor(better, earlier);
            (self.b.ins().select(take, x, best), self.b.ins().select(take, n, at))
        });
        Accumulator { values: vec![value], numbers: vec![number] }
    }

    /// Combines all lanes of registers with an operation into a scalar.
    pub fn across(&mut self, op: BinOp, dtype: DType, registers: &[ir::Value]) -> ir::Value {
        let mut level = registers.to_vec();
        while level.len() > 1 {
            let half = level.len().div_ceil(2);
            level = (0..half)
                .map(|i| match level.get(i + half) {
                    Some(other) => self.bin(op, dtype, level[i], *other),
                    None => level[i],
                })
                .collect();
        }
        let mut x = level[0];
        let ty = vector_type(dtype);
        let swaps: &[[u8; 4]] = if lanes_of(dtype) == 4 { &[[2, 3, 2, 3], [1, 1, 1, 1]] } else { &[[2, 3, 2, 3]] };
        for swap in swaps {
            let other = self.shuffle32(x, x, *swap, ty);
            x = self.bin(op, dtype, x, other);
        }
        self.extract(dtype, &[x], 0)
    }
}

impl Accumulator {
    fn flat(&self) -> Vec<ir::Value> {
        [self.values.as_slice(), &self.numbers].concat()
    }
}

fn unflatten(like: &[Accumulator], mut flat: &[ir::Value]) -> Vec<Accumulator> {
    let mut take = |n: usize| {
        let (now, rest) = flat.split_at(n);
        flat = rest;
        now.to_vec()
    };
    like.iter().map(|a| Accumulator { values: take(a.values.len()), numbers: take(a.numbers.len()) }).collect()
}

/// How many lane groups to run at once: enough independent work to hide latencies, little enough code.
fn unroll(reduces: &[Reduce], body: &[Stmt], extent: u64, dtype: impl Fn(Value) -> DType) -> usize {
    let (mut statements, mut narrow) = (0usize, false);
    crate::kernel::walk::walk(body, &mut |stmt| {
        statements += 1;
        narrow |= match stmt {
            Stmt::Check { .. } | Stmt::Index(..) | Stmt::If { .. } => true,
            Stmt::Let(value, expr) => {
                let wide = lanes_of(dtype(*value)) == 2;
                statements += usize::from(wide);
                matches!(expr, Expr::LoadIf { .. }) || wide && !matches!(expr, Expr::Load(_) | Expr::Const(_))
            }
            Stmt::Store { guard, .. } => guard.is_some(),
            _ => false,
        };
    });
    let arg = reduces.iter().any(|r| matches!(r.op, ReduceOp::ArgMax | ReduceOp::ArgMin));
    let wanted = match statements {
        _ if narrow || arg => 1,
        0..=10 => 4,
        11..=24 => 2,
        _ if !reduces.is_empty() => 2,
        _ => 1,
    };
    // Not more than there is to do.
    wanted.min((extent / 4).max(1) as usize)
}
