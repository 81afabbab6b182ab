//! Index variables and addresses.

use super::*;
use cranelift_codegen::ir::condcodes::IntCC;

/// How an index variable is held.
#[derive(Clone, Debug)]
pub(super) enum Ix {
    Unset,
    /// The same in all lanes: `base + plus`.
    Uniform {
        base: Option<ir::Value>,
        plus: i64,
    },
    /// The variable of the vector loop: `base + plus + lane`.
    Vector {
        base: Option<ir::Value>,
        plus: i64,
    },
    /// Any, by lane.
    Lanes(Vec<ir::Value>),
}

impl Ix {
    pub fn constant(x: i64) -> Ix {
        Ix::Uniform { base: None, plus: x }
    }

    pub fn of(base: ir::Value) -> Ix {
        Ix::Uniform { base: Some(base), plus: 0 }
    }

    /// The same start, consecutive across lanes.
    pub fn vector(self) -> Ix {
        match self {
            Ix::Uniform { base, plus } => Ix::Vector { base, plus },
            other => other,
        }
    }

    /// `self + x`, for a uniform index.
    pub fn offset(&self, x: i64) -> Ix {
        match self {
            Ix::Uniform { base, plus } => Ix::Uniform { base: *base, plus: plus + x },
            other => other.clone(),
        }
    }
}

/// An address computed once for a scope: a buffer plus terms (what a variable is based on, bytes). Not the variable
/// itself: the rows of a contraction bind one again and again.
pub(super) struct Pointer {
    buf: BufId,
    terms: Vec<(Option<ir::Value>, i64)>,
    value: ir::Value,
}

/// Where the lanes of a place are.
pub(super) enum Address {
    /// Lane `l` at `pointer + disp + l * stride` bytes; stride 0 if the place is the same for all lanes.
    Strided { pointer: ir::Value, disp: i32, stride: i64 },
    /// Each lane at its own address.
    Lanes(Vec<ir::Value>),
}

impl Emitter<'_> {
    pub fn bind(&mut self, var: Var, ix: Ix) {
        self.bound += 1;
        self.order[var.0 as usize] = self.bound;
        self.ix[var.0 as usize] = ix;
    }

    pub fn unbind(&mut self, var: Var) {
        self.ix[var.0 as usize] = Ix::Unset;
    }

    /// Whether an expression differs between lanes.
    pub fn varies(&self, a: &Affine) -> bool {
        a.terms().iter().any(|(v, _)| matches!(self.ix[v.0 as usize], Ix::Vector { .. } | Ix::Lanes(_)))
    }

    /// Whether an expression has a variable held lane by lane.
    pub fn by_lane_index(&self, a: &Affine) -> bool {
        a.terms().iter().any(|(v, _)| matches!(self.ix[v.0 as usize], Ix::Lanes(_)))
    }

    /// The difference of an expression from lane to lane, where no variable is held lane by lane.
    pub fn lane_step(&self, a: &Affine) -> i64 {
        let vector = a.terms().iter().filter(|(v, _)| matches!(self.ix[v.0 as usize], Ix::Vector { .. }));
        vector.map(|(_, c)| c).sum()
    }

    /// The value of an expression which does not vary, as `base + plus`.
    pub fn uniform(&mut self, a: &Affine) -> Ix {
        let mut plus = a.base();
        let mut base = None;
        for (var, c) in a.terms() {
            if let Ix::Uniform { base: term, plus: p } = self.ix[var.0 as usize] {
                plus += p * c;
                if let Some(term) = term {
                    let term = self.times(term, *c);
                    base = Some(self.plus(base, term));
                }
            }
        }
        Ix::Uniform { base, plus }
    }

    /// The value of an expression which does not vary.
    pub fn index_value(&mut self, a: &Affine) -> ir::Value {
        self.lane_value(a, 0)
    }

    /// The value of an expression in one lane.
    pub fn lane_value(&mut self, a: &Affine, lane: usize) -> ir::Value {
        let mut plus = a.base();
        let mut base = None;
        for (var, c) in a.terms() {
            let (term, p) = match &self.ix[var.0 as usize] {
                Ix::Uniform { base, plus } => (*base, *plus),
                Ix::Vector { base, plus } => (*base, plus + lane as i64),
                Ix::Lanes(lanes) => (lanes.get(lane).copied(), 0),
                Ix::Unset => unreachable!("verified: {var} is defined"),
            };
            plus += p * c;
            if let Some(term) = term {
                let term = self.times(term, *c);
                base = Some(self.plus(base, term));
            }
        }
        match base {
            None => self.iconst(plus),
            Some(base) if plus == 0 => base,
            Some(base) => self.b.ins().iadd_imm_s(base, plus),
        }
    }

    /// Executes a derived index.
    pub fn define_index(&mut self, var: Var, expr: &IndexExpr) {
        let (first, second) = match expr {
            IndexExpr::Affine(a) | IndexExpr::Div(a, _) | IndexExpr::Mod(a, _) | IndexExpr::Within(a, ..) => (a, None),
            IndexExpr::Min(a, b) | IndexExpr::Max(a, b) => (a, Some(b)),
        };
        let varies = self.varies(first) || second.is_some_and(|b| self.varies(b));
        if !varies && let IndexExpr::Affine(a) | IndexExpr::Within(a, ..) = expr {
            let ix = self.uniform(a);
            return self.bind(var, ix);
        }
        let lanes = if varies { self.groups * 4 } else { 1 };
        let values: Vec<ir::Value> = (0..lanes)
            .map(|lane| {
                let a = self.lane_value(first, lane);
                match expr {
                    IndexExpr::Affine(_) | IndexExpr::Within(..) => a,
                    IndexExpr::Div(affine, d) => self.floor_div(a, affine, *d),
                    IndexExpr::Mod(affine, d) => {
                        let q = self.floor_div(a, affine, *d);
                        let whole = self.times(q, *d as i64);
                        self.b.ins().isub(a, whole)
                    }
                    IndexExpr::Min(_, b) => {
                        let b = self.lane_value(b, lane);
                        self.b.ins().smin(a, b)
                    }
                    IndexExpr::Max(_, b) => {
                        let b = self.lane_value(b, lane);
                        self.b.ins().smax(a, b)
                    }
                }
            })
            .collect();
        let ix = if varies { Ix::Lanes(values) } else { Ix::of(values[0]) };
        self.bind(var, ix);
    }

    /// The address of a place in each lane.
    pub fn address(&mut self, place: &Place) -> Address {
        let size = self.kernel.bufs[place.buf.0 as usize].dtype.size() as i64;
        if self.by_lane_index(&place.at) {
            let addresses = (0..self.groups * 4)
                .map(|lane| {
                    let element = self.lane_value(&place.at, lane);
                    let bytes = self.times(element, size);
                    self.b.ins().iadd(self.bases[place.buf.0 as usize], bytes)
                })
                .collect();
            return Address::Lanes(addresses);
        }
        let (terms, disp, stride) = self.split(&place.at, size);
        let pointer = self.pointer(place.buf, &terms);
        match i32::try_from(disp) {
            // Room for the lanes' displacements.
            Ok(small) if disp.abs() < 1 << 30 && stride.abs() < 1 << 20 => {
                Address::Strided { pointer, disp: small, stride }
            }
            _ => {
                let pointer = self.b.ins().iadd_imm_s(pointer, disp);
                Address::Strided { pointer, disp: 0, stride }
            }
        }
    }

    /// Computes now the addresses that `body` needs, as far as they depend on what is bound now.
    pub fn hoist(&mut self, body: &[Stmt]) {
        // A body that is emitted more than once has left its own variables bound.
        crate::kernel::walk::walk(body, &mut |stmt| {
            if let Stmt::Index(var, _) | Stmt::Check { var, .. } = stmt {
                self.unbind(*var);
            }
        });
        crate::kernel::walk::walk(body, &mut |stmt| match stmt {
            Stmt::Sort { from, to, .. } => [from, to].into_iter().for_each(|place| self.hoist_place(place)),
            Stmt::Contract(c) => [&c.a, &c.b].into_iter().for_each(|place| self.hoist_place(place)),
            stmt => stmt.place().into_iter().for_each(|place| self.hoist_place(place)),
        });
    }

    /// Computes now the address of a place, as far as it depends on what is bound now.
    pub fn hoist_place(&mut self, place: &Place) {
        let known = |(var, _): &&(Var, i64)| matches!(self.ix[var.0 as usize], Ix::Uniform { .. });
        let at = place.at.terms().iter().filter(known).fold(Affine::from(0), |a, (v, c)| a.plus(*v, *c));
        let size = self.kernel.bufs[place.buf.0 as usize].dtype.size() as i64;
        let (terms, ..) = self.split(&at, size);
        self.pointer(place.buf, &terms);
    }

    /// The parts of a byte offset: terms to add at run time, constant, bytes from lane to lane.
    fn split(&self, at: &Affine, size: i64) -> (Vec<(Var, i64)>, i64, i64) {
        let (mut terms, mut disp, mut stride) = (Vec::new(), at.base() * size, 0);
        for (var, c) in at.terms() {
            let bytes = c * size;
            let (base, plus) = match self.ix[var.0 as usize] {
                Ix::Uniform { base, plus } => (base, plus),
                Ix::Vector { base, plus } => {
                    stride += bytes;
                    (base, plus)
                }
                Ix::Lanes(_) | Ix::Unset => unreachable!("verified: {var} is defined, and not by lane here"),
            };
            disp += plus * bytes;
            if base.is_some() {
                terms.push((*var, bytes));
            }
        }
        terms.sort_by_key(|(var, _)| self.order[var.0 as usize]);
        (terms, disp, stride)
    }

    /// `buffer + terms`, computed at most once in a scope.
    fn pointer(&mut self, buf: BufId, terms: &[(Var, i64)]) -> ir::Value {
        let Some(((var, bytes), outer)) = terms.split_last() else {
            return self.bases[buf.0 as usize];
        };
        let base = |var: Var| match self.ix[var.0 as usize] {
            Ix::Uniform { base, .. } | Ix::Vector { base, .. } => base,
            Ix::Lanes(_) | Ix::Unset => None,
        };
        let key: Vec<(Option<ir::Value>, i64)> = terms.iter().map(|(var, bytes)| (base(*var), *bytes)).collect();
        if let Some(known) = self.pointers.iter().rev().find(|p| p.buf == buf && p.terms == key) {
            return known.value;
        }
        let outer = self.pointer(buf, outer);
        let value = match self.ix[var.0 as usize] {
            Ix::Uniform { base: Some(base), .. } | Ix::Vector { base: Some(base), .. } => {
                let offset = self.times(base, *bytes);
                self.b.ins().iadd(outer, offset)
            }
            _ => outer,
        };
        self.pointers.push(Pointer { buf, terms: key, value });
        value
    }

    /// `x * c`.
    pub fn times(&mut self, x: ir::Value, c: i64) -> ir::Value {
        match c {
            1 => x,
            c if c > 1 && c.count_ones() == 1 => self.b.ins().ishl_imm_u(x, i64::from(c.trailing_zeros())),
            c => self.b.ins().imul_imm_s(x, c),
        }
    }

    fn plus(&mut self, a: Option<ir::Value>, b: ir::Value) -> ir::Value {
        match a {
            Some(a) => self.b.ins().iadd(a, b),
            None => b,
        }
    }

    /// `floor(x / d)`, where `x` is the value of `a`.
    fn floor_div(&mut self, x: ir::Value, a: &Affine, d: u64) -> ir::Value {
        if d.is_power_of_two() {
            return self.b.ins().sshr_imm_u(x, i64::from(d.trailing_zeros()));
        }
        let (lo, hi) = self.ranges.affine(a);
        if lo >= 0 && hi < 1 << 31 && d < 1 << 31 {
            // Exact for 31-bit dividends: the multiplier exceeds 2^shift / d by less than 1, shift = 31 + ceil(log2 d).
            let shift = 31 + (64 - (d - 1).leading_zeros());
            let multiplier = (1u128 << shift).div_ceil(u128::from(d)) as i64;
            let wide = self.b.ins().imul_imm_s(x, multiplier);
            return self.b.ins().ushr_imm_u(wide, i64::from(shift));
        }
        let divisor = self.iconst(d as i64);
        let q = self.b.ins().sdiv(x, divisor);
        let whole = self.b.ins().imul(q, divisor);
        let short = self.b.ins().icmp(IntCC::SignedLessThan, x, whole);
        let short = self.b.ins().uextend(types::I64, short);
        self.b.ins().isub(q, short)
    }
}
