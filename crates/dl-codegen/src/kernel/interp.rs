//! The meaning of kernels, in the plainest code: the oracle for emitters. One element at a time, in the order written;
//! single-precision functions are computed in double precision and rounded.

use super::*;
use crate::Error;
use crate::abi::Fault;
use std::ops::Range;

/// Runs parts of a kernel on buffers given as bytes in native order. Returns the fault cell.
///
/// # Errors
/// An access out of bounds, a broken `within` promise, or a part that reads scratch memory from before it. These are
/// mistakes of the kernel; an index that fails its check is a fault.
pub fn run(kernel: &Kernel, bufs: &mut [Vec<u8>], parts: Range<u64>) -> Result<Fault, Error> {
    let mut machine = Machine {
        kernel,
        bufs,
        vars: vec![0; kernel.vars as usize],
        values: vec![Lit::bool(false); kernel.values.len()],
        fault: Fault::default(),
    };
    for part in parts {
        machine.poison();
        machine.vars[Var::PART.0 as usize] = part as i64;
        machine.block(&kernel.body)?;
    }
    Ok(machine.fault)
}

struct Machine<'a> {
    kernel: &'a Kernel,
    bufs: &'a mut [Vec<u8>],
    vars: Vec<i64>,
    values: Vec<Lit>,
    fault: Fault,
}

impl Machine<'_> {
    /// Scratch memory starts as NaN.
    fn poison(&mut self) {
        for (buf, bytes) in self.kernel.bufs.iter().zip(self.bufs.iter_mut()) {
            if buf.access == Access::Scratch {
                bytes.fill(0xFF);
            }
        }
    }

    fn block(&mut self, body: &[Stmt]) -> Result<(), Error> {
        body.iter().try_for_each(|stmt| self.stmt(stmt))
    }

    fn stmt(&mut self, stmt: &Stmt) -> Result<(), Error> {
        match stmt {
            Stmt::Let(value, expr) => self.values[value.0 as usize] = self.expr(expr)?,
            Stmt::Index(var, expr) => self.vars[var.0 as usize] = self.index(expr)?,
            Stmt::Check { var, value, limit, site } => {
                let x = ops::int(self.get(*value));
                let good = (0..*limit as i64).contains(&x);
                if !good && self.fault.site == 0 {
                    self.fault = Fault { site: u64::from(*site) + 1, value: x };
                }
                self.vars[var.0 as usize] = if good { x } else { 0 };
            }
            Stmt::Store { place, value, add, guard } => {
                if guard.is_none_or(|g| self.get(g).bits != 0) {
                    let x = self.get(*value);
                    let x = if *add { ops::binary(BinOp::Add, self.load(place)?, x) } else { x };
                    self.store(place, x)?;
                }
            }
            Stmt::For { var, lo, hi, carries, body } => {
                let mut now: Vec<Lit> = carries.iter().map(|c| self.get(c.init)).collect();
                for i in self.affine(lo)..self.affine(hi) {
                    self.vars[var.0 as usize] = i;
                    carries.iter().zip(&now).for_each(|(c, x)| self.values[c.param.0 as usize] = *x);
                    self.block(body)?;
                    now = carries.iter().map(|c| self.get(c.next)).collect();
                }
                carries.iter().zip(&now).for_each(|(c, x)| self.values[c.out.0 as usize] = *x);
            }
            Stmt::Vec { var, extent, reduces, body } => {
                let mut best: Vec<Option<Lit>> = vec![None; reduces.len()];
                let mut at = vec![0; reduces.len()];
                for i in 0..*extent as i64 {
                    self.vars[var.0 as usize] = i;
                    self.block(body)?;
                    for ((r, best), at) in reduces.iter().zip(&mut best).zip(&mut at) {
                        let x = self.get(r.value);
                        let (next, taken) = ops::reduce(r.op, *best, x);
                        *best = Some(next);
                        *at = if taken { i } else { *at };
                    }
                }
                for ((r, best), at) in reduces.iter().zip(best).zip(at) {
                    let dtype = self.kernel.values[r.value.0 as usize];
                    self.values[r.out.0 as usize] = match r.op {
                        ReduceOp::ArgMax | ReduceOp::ArgMin => Lit::i64(at),
                        _ => best.unwrap_or_else(|| ops::identity(r.op, dtype)),
                    };
                }
            }
            Stmt::If { cond, body } => {
                if self.get(*cond).bits != 0 {
                    self.block(body)?;
                }
            }
            Stmt::Rarely { cond, picks, body } => {
                let holds = self.get(*cond).bits != 0;
                if holds {
                    self.block(body)?;
                }
                for p in picks {
                    self.values[p.out.0 as usize] = self.get(if holds { p.inside } else { p.other });
                }
            }
            Stmt::Sort { from, to, len, descending } => self.sort(from, to, *len, *descending)?,
            Stmt::Contract(c) => self.contract(c)?,
        }
        Ok(())
    }

    fn sort(&mut self, from: &Place, to: &Place, len: u64, descending: bool) -> Result<(), Error> {
        let after = |place: &Place, i: i64| Place { buf: place.buf, at: place.at.clone() + i };
        let row: Vec<Lit> = (0..len as i64).map(|i| self.load(&after(from, i))).collect::<Result<_, _>>()?;
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| {
            let (a, b) = if descending { (b, a) } else { (a, b) };
            ops::order(row[a], row[b])
        });
        let mut place = (0..len as i64).map(|i| after(to, i));
        order.into_iter().zip(&mut place).try_for_each(|(i, place)| self.store(&place, Lit::i64(i as i64)))
    }

    fn contract(&mut self, c: &Contract) -> Result<(), Error> {
        for m in 0..c.m.extent as i64 {
            for n in 0..c.n.extent as i64 {
                self.vars[c.m.var.0 as usize] = m;
                self.vars[c.n.var.0 as usize] = n;
                let zero = Lit { dtype: self.kernel.values[c.acc.0 as usize], bits: 0 };
                let sum = self.sum(c, 0, zero)?;
                self.values[c.acc.0 as usize] = sum;
                self.block(&c.epilogue)?;
            }
        }
        Ok(())
    }

    fn sum(&mut self, c: &Contract, level: usize, mut sum: Lit) -> Result<Lit, Error> {
        let Some(k) = c.k.get(level) else {
            let (a, b) = (self.load(&c.a)?, self.load(&c.b)?);
            return Ok(if a.dtype.is_float() {
                ops::mul_add(a, b, sum)
            } else {
                ops::binary(BinOp::Add, ops::binary(BinOp::Mul, a, b), sum)
            });
        };
        for i in self.affine(&k.lo)..self.affine(&k.hi) {
            self.vars[k.var.0 as usize] = i;
            sum = self.sum(c, level + 1, sum)?;
        }
        Ok(sum)
    }

    fn expr(&mut self, expr: &Expr) -> Result<Lit, Error> {
        Ok(match expr {
            Expr::Const(lit) => *lit,
            Expr::Index(at) => Lit::i64(self.affine(at)),
            Expr::InRange { at, lo, hi } => Lit::bool((*lo..*hi).contains(&self.affine(at))),
            Expr::Load(place) => self.load(place)?,
            Expr::LoadIf { place, guard, other } => {
                if self.get(*guard).bits != 0 {
                    self.load(place)?
                } else {
                    self.get(*other)
                }
            }
            Expr::Un(op, a) => ops::unary(*op, self.get(*a)),
            Expr::Bin(op, a, b) => ops::binary(*op, self.get(*a), self.get(*b)),
            Expr::Cmp(op, a, b) => Lit::bool(ops::compare(*op, self.get(*a), self.get(*b))),
            Expr::Select(cond, a, b) => self.get(if self.get(*cond).bits != 0 { *a } else { *b }),
            Expr::MulAdd(a, b, c) => ops::mul_add(self.get(*a), self.get(*b), self.get(*c)),
            Expr::Cast(a, to) => ops::cast(self.get(*a), *to),
            Expr::Bitcast(a, to) => Lit { dtype: *to, bits: self.get(*a).bits },
            Expr::Random { dist, seed, step, stream, index } => {
                let seed = [ops::int(self.get(*seed)), ops::int(self.get(*step))];
                let draw = match dist {
                    Dist::Uniform => dl_ir::random::uniform,
                    Dist::Normal => dl_ir::random::normal,
                };
                Lit::f32(draw(seed, *stream, self.affine(index) as u64))
            }
        })
    }

    fn index(&self, expr: &IndexExpr) -> Result<i64, Error> {
        Ok(match expr {
            IndexExpr::Affine(a) => self.affine(a),
            IndexExpr::Div(a, d) => self.affine(a).div_euclid(*d as i64),
            IndexExpr::Mod(a, d) => self.affine(a).rem_euclid(*d as i64),
            IndexExpr::Min(a, b) => self.affine(a).min(self.affine(b)),
            IndexExpr::Max(a, b) => self.affine(a).max(self.affine(b)),
            IndexExpr::Within(a, lo, hi) => {
                let x = self.affine(a);
                if !(*lo..*hi).contains(&x) {
                    return Err(self.fail(a, format!("{x} is not in {lo}..{hi} as promised")));
                }
                x
            }
        })
    }

    fn get(&self, value: Value) -> Lit {
        self.values[value.0 as usize]
    }

    fn affine(&self, a: &Affine) -> i64 {
        a.eval(|var| self.vars[var.0 as usize])
    }

    /// The bytes of an element.
    fn element(&self, place: &Place) -> Result<Range<usize>, Error> {
        let buf = &self.kernel.bufs[place.buf.0 as usize];
        let at = self.affine(&place.at);
        let size = buf.dtype.size();
        match usize::try_from(at) {
            Ok(at) if (at as u64) < buf.len => Ok(at * size..(at + 1) * size),
            _ => Err(self.fail(&place.at, format!("element {at} of b{}, which has {}", place.buf.0, buf.len))),
        }
    }

    fn load(&self, place: &Place) -> Result<Lit, Error> {
        let range = self.element(place)?;
        let memory = self.kernel.bufs[place.buf.0 as usize].dtype;
        let mut bits = [0; 8];
        bits[..range.len()].copy_from_slice(&self.bufs[place.buf.0 as usize][range]);
        let bits = u64::from_le_bytes(bits);
        let bits = if memory == DType::Bool { u64::from(bits != 0) } else { bits };
        Ok(Lit { dtype: value_type(memory), bits })
    }

    fn store(&mut self, place: &Place, x: Lit) -> Result<(), Error> {
        let range = self.element(place)?;
        let size = range.len();
        self.bufs[place.buf.0 as usize][range].copy_from_slice(&x.bits.to_le_bytes()[..size]);
        Ok(())
    }

    fn fail(&self, at: &Affine, message: String) -> Error {
        Error::Verify { kernel: self.kernel.name.clone(), at: at.to_string(), message }
    }
}
