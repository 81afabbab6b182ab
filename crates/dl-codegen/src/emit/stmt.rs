//! Statements, except vector loops and contractions.

use super::*;
use crate::abi::Fault;
use cranelift_codegen::ir::MemFlagsData;
use cranelift_codegen::ir::condcodes::IntCC;

/// A serial loop of at most that many iterations is unrolled,
const UNROLL_TRIPS: i64 = 4;
/// if this bounds the number of statements that it becomes.
const UNROLL_STATEMENTS: usize = 48;

impl Emitter<'_> {
    /// Executes statements.
    pub fn block(&mut self, body: &[Stmt]) {
        for stmt in body {
            self.stmt(stmt);
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Let(value, expr) => self.define(*value, expr),
            Stmt::Index(var, expr) => self.define_index(*var, expr),
            Stmt::Check { var, value, limit, site } => self.check(*var, *value, *limit, *site),
            Stmt::Store { place, value, add, guard } => self.store(place, *value, *add, *guard),
            Stmt::For { .. } if self.nest_leaf(stmt) => {}
            Stmt::For { var, lo, hi, carries, body } => self.serial(*var, (lo, hi), carries, body),
            Stmt::Vec { var, extent, reduces, body } => self.vector(*var, *extent, reduces, body),
            Stmt::If { cond, body } => {
                let cond = self.scalar(*cond);
                self.branch(cond, &[], |e| {
                    e.block(body);
                    Vec::new()
                });
            }
            Stmt::Rarely { cond, picks, body } => self.rarely(*cond, picks, body),
            Stmt::Sort { from, to, len, descending } => self.sort(from, to, *len, *descending),
            Stmt::Contract(contract) => self.contract(contract),
        }
    }

    fn rarely(&mut self, cond: Value, picks: &[Pick], body: &[Stmt]) {
        let others: Vec<Vec<ir::Value>> = picks.iter().map(|p| self.carried(p.other)).collect();
        let widths: Vec<usize> = others.iter().map(Vec::len).collect();
        let by_lane = self.is_lanes(cond);
        let masks = if by_lane { self.lanes(cond) } else { vec![self.scalar(cond)] };
        let any = match by_lane {
            true => {
                let all = masks[1..].iter().fold(masks[0], |all, mask| self.b.ins().bor(all, *mask));
                self.b.ins().vany_true(all)
            }
            false => masks[0],
        };
        let outs = self.branch(any, &others.concat(), |e| {
            e.block(body);
            let pick = |e: &mut Self, (p, other): (&Pick, &Vec<ir::Value>)| {
                let inside = e.carried(p.inside);
                if by_lane { e.blend_all(e.dtype(p.inside), &masks, &inside, other) } else { inside }
            };
            picks.iter().zip(&others).flat_map(|p| pick(e, p)).collect()
        });
        self.unpack(picks.iter().map(|p| p.out), &widths, &outs);
    }

    fn check(&mut self, var: Var, value: Value, limit: u64, site: u32) {
        let dtype = self.dtype(value);
        let ix = if self.is_lanes(value) {
            let registers = self.lanes(value);
            let lanes = (0..self.groups * 4)
                .map(|lane| {
                    let x = self.extract(dtype, &registers, lane);
                    self.checked(dtype, x, limit, site)
                })
                .collect();
            Ix::Lanes(lanes)
        } else {
            let x = self.scalar(value);
            Ix::of(self.checked(dtype, x, limit, site))
        };
        self.bind(var, ix);
    }

    /// `x` if it is below `limit`; 0, and a fault, if not.
    fn checked(&mut self, dtype: DType, x: ir::Value, limit: u64, site: u32) -> ir::Value {
        let flags = MemFlagsData::trusted();
        let x = if dtype == DType::I32 { self.b.ins().sextend(types::I64, x) } else { x };
        let good = self.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, x, limit as i64);
        let (bad, record, after) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let index = self.b.append_block_param(after, types::I64);
        let zero = self.iconst(0);
        self.b.ins().brif(good, after, &[x.into()], bad, &[]);
        self.b.switch_to_block(bad);
        self.b.set_cold_block(bad);
        self.b.seal_block(bad);
        let earlier = self.b.ins().load(types::I64, flags, self.fault, Fault::SITE);
        self.b.ins().brif(earlier, after, &[zero.into()], record, &[]);
        self.b.switch_to_block(record);
        self.b.set_cold_block(record);
        self.b.seal_block(record);
        let site = self.iconst(i64::from(site) + 1);
        self.b.ins().store(flags, site, self.fault, Fault::SITE);
        self.b.ins().store(flags, x, self.fault, Fault::VALUE);
        self.b.ins().jump(after, &[zero.into()]);
        self.b.switch_to_block(after);
        self.b.seal_block(after);
        index
    }

    fn serial(&mut self, var: Var, (lo, hi): (&Affine, &Affine), carries: &[Carry], body: &[Stmt]) {
        if self.transpose_leaf((var, lo, hi), carries, body) {
            return;
        }
        if let (Some(lo), Some(hi)) = (lo.as_const(), hi.as_const())
            && (hi <= lo || hi - lo <= UNROLL_TRIPS && unrollable(body, (hi - lo) as usize))
        {
            return self.unrolled(var, lo..hi, carries, body);
        }
        let inits: Vec<Vec<ir::Value>> = carries.iter().map(|c| self.carried(c.init)).collect();
        let widths: Vec<usize> = inits.iter().map(Vec::len).collect();
        let init = inits.concat();
        self.hoist(body);
        self.broadcast(body);
        let iteration = |e: &mut Self, ix: Ix, params: &[ir::Value]| {
            e.bind(var, ix);
            e.unpack(carries.iter().map(|c| c.param), &widths, params);
            e.block(body);
            e.unbind(var);
            carries.iter().flat_map(|c| e.carried(c.next)).collect()
        };
        let outs = match (lo.as_const(), hi.as_const()) {
            (Some(lo), Some(hi)) => self.repeat((lo, 1, (hi - lo) as u64), &init, iteration),
            _ => {
                let (lo, hi) = (self.index_value(lo), self.index_value(hi));
                self.counted(lo, hi, &init, |e, counter, params| iteration(e, Ix::of(counter), params))
            }
        };
        self.unpack(carries.iter().map(|c| c.out), &widths, &outs);
    }

    fn unrolled(&mut self, var: Var, range: std::ops::Range<i64>, carries: &[Carry], body: &[Stmt]) {
        let mut now: Vec<Rep> = carries.iter().map(|c| self.values[c.init.0 as usize].clone()).collect();
        for i in range {
            self.scope(|e| {
                e.bind(var, Ix::constant(i));
                carries.iter().zip(&now).for_each(|(c, rep)| e.set(c.param, rep.clone()));
                e.block(body);
                e.unbind(var);
            });
            now = carries.iter().map(|c| self.values[c.next.0 as usize].clone()).collect();
        }
        carries.iter().zip(now).for_each(|(c, rep)| self.set(c.out, rep));
    }

    /// The Cranelift values that carry a value around a loop: by lane inside a vector loop.
    fn carried(&mut self, value: Value) -> Vec<ir::Value> {
        if self.groups > 0 { self.lanes(value) } else { vec![self.scalar(value)] }
    }

    fn unpack(&mut self, values: impl Iterator<Item = Value>, widths: &[usize], mut flat: &[ir::Value]) {
        for (value, width) in values.zip(widths) {
            let (now, rest) = flat.split_at(*width);
            flat = rest;
            self.set(value, if self.groups > 0 { Rep::Lanes(now.to_vec()) } else { Rep::Scalar(now[0]) });
        }
    }

    /// Broadcasts now the scalars from outside that `body` uses by lane.
    pub fn broadcast(&mut self, body: &[Stmt]) {
        if self.groups == 0 {
            return;
        }
        let mut used = Vec::new();
        crate::kernel::walk::walk(body, &mut |stmt| stmt.operands(|v| used.push(v)));
        for value in used {
            if matches!(self.values[value.0 as usize], Rep::Scalar(_)) && self.dtype(value) != DType::Bool {
                self.lanes(value);
            }
        }
    }
}

/// Whether `trips` copies of a block are few enough statements.
fn unrollable(body: &[Stmt], trips: usize) -> bool {
    fn count(body: &[Stmt]) -> Option<usize> {
        body.iter().try_fold(0usize, |sum, stmt| match stmt {
            Stmt::Let(..) | Stmt::Store { .. } | Stmt::Index(..) => Some(sum + 1),
            Stmt::For { lo, hi, body, .. } => {
                let trips = (hi.as_const()? - lo.as_const()?).max(0);
                Some(sum + count(body)? * usize::try_from(trips).ok()?)
            }
            Stmt::Check { .. } | Stmt::If { .. } | Stmt::Rarely { .. } | Stmt::Vec { .. } => None,
            Stmt::Sort { .. } | Stmt::Contract(_) => None,
        })
    }
    count(body).is_some_and(|n| n * trips <= UNROLL_STATEMENTS)
}
