//! Index arithmetic: ranges, quotients and remainders, and what cancels when they are put together again.

use dl_ir::NodeId;

use super::cx::{Cx, Key, VarInfo};
use crate::kernel::{Affine, IndexExpr, Stmt, Value, Var};

impl Cx<'_> {
    /// The least and greatest value of an index expression.
    pub fn range(&self, a: &Affine) -> (i64, i64) {
        a.terms().iter().fold((a.base(), a.base()), |(lo, hi), &(var, c)| {
            let info = &self.vars[var.0 as usize];
            let (x, y) = (info.lo.saturating_mul(c), info.hi.saturating_mul(c));
            (lo.saturating_add(x.min(y)), hi.saturating_add(x.max(y)))
        })
    }

    /// `floor(a / d)` and `a mod d`, simplified where ranges tell.
    pub fn div_mod(&mut self, a: &Affine, d: i64) -> (Affine, Affine) {
        if d == 1 {
            return (a.clone(), Affine::from(0));
        }
        let a = &self.joined_up(a);
        // a = d * quotient + rest, where the rest holds the terms that d does not divide.
        let mut quotient = Affine::from(a.base().div_euclid(d));
        let mut rest = Affine::from(a.base().rem_euclid(d));
        for &(var, c) in a.terms() {
            if c % d == 0 {
                quotient = quotient.plus(var, c / d);
            } else {
                rest = rest.plus(var, c);
            }
        }
        let (lo, hi) = self.range(&rest);
        if lo.div_euclid(d) == hi.div_euclid(d) {
            let whole = lo.div_euclid(d);
            return (quotient + whole, rest - whole * d);
        }
        let div = self.index(IndexExpr::Div(rest.clone(), d as u64));
        let modulo = self.index(IndexExpr::Mod(rest, d as u64));
        (quotient + div, Affine::from(modulo))
    }

    /// The same expression with `d * (a / d) + a % d` as `a`: what is taken apart into axes and put together again.
    pub fn joined_up(&self, a: &Affine) -> Affine {
        for &(quotient, c) in a.terms() {
            let Some(IndexExpr::Div(of, d)) = &self.vars[quotient.0 as usize].def else { continue };
            for &(rest, unit) in a.terms() {
                let pair = matches!(&self.vars[rest.0 as usize].def, Some(IndexExpr::Mod(a, m)) if a == of && m == d);
                if pair && c == unit * *d as i64 {
                    return self.joined_up(&(a.without(quotient).without(rest) + of.clone() * unit));
                }
            }
        }
        a.clone()
    }

    /// The element of a row-major buffer of that shape at `coords`.
    pub fn at(&self, shape: &[i64], coords: &[Affine]) -> Affine {
        self.joined_up(&row_major_at(shape, coords))
    }

    /// A derived index variable, in the outermost block where its operands are defined.
    pub fn index(&mut self, expr: IndexExpr) -> Var {
        let key = Key::Index(expr);
        if let Some(&var) = self.memo.get(&key) {
            return Var(var);
        }
        let Key::Index(expr) = key.clone() else { return Var::PART };
        let (level, (lo, hi)) = match &expr {
            IndexExpr::Affine(a) => (self.affine_level(a), self.range(a)),
            IndexExpr::Div(a, d) => {
                let (lo, hi) = self.range(a);
                (self.affine_level(a), (lo.div_euclid(*d as i64), hi.div_euclid(*d as i64)))
            }
            IndexExpr::Mod(a, d) => (self.affine_level(a), (0, *d as i64 - 1)),
            IndexExpr::Min(a, b) => {
                let (x, y) = (self.range(a), self.range(b));
                (self.affine_level(a).max(self.affine_level(b)), (x.0.min(y.0), x.1.min(y.1)))
            }
            IndexExpr::Max(a, b) => {
                let (x, y) = (self.range(a), self.range(b));
                (self.affine_level(a).max(self.affine_level(b)), (x.0.max(y.0), x.1.max(y.1)))
            }
            IndexExpr::Within(a, lo, hi) => (self.affine_level(a), (*lo, *hi - 1)),
        };
        let var = self.k.fresh_var();
        self.vars.push(VarInfo { level, lo, hi, def: Some(expr.clone()) });
        self.place_at(level, Stmt::Index(var, expr));
        self.remember(level, key, var.0);
        var
    }

    /// Uses a computed value as an index in `0..limit`; otherwise the fault is reported at `node`.
    pub fn check(&mut self, value: Value, limit: u64, node: NodeId) -> Var {
        let level = self.value_level[value.0 as usize].max(self.floor());
        let var = self.k.fresh_var();
        self.vars.push(VarInfo::new(level, (0, limit as i64 - 1)));
        self.place_at(level, Stmt::Check { var, value, limit, site: node.0 });
        var
    }
}

/// The element of a row-major buffer at `coords`.
pub fn row_major_at(shape: &[i64], coords: &[Affine]) -> Affine {
    let mut at = Affine::from(0);
    for (size, c) in shape.iter().zip(coords) {
        at = at * *size + c.clone();
    }
    at
}
