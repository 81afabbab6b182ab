//! Removal of what nothing uses: index variables that cancelled, operands that an address did not need.

use std::collections::HashSet;

use crate::kernel::{Affine, Expr, IndexExpr, Stmt, Value, Var};

/// The statements whose results are used, or which store or check.
pub(super) fn remove(body: Vec<Stmt>) -> Vec<Stmt> {
    Live::default().block(body)
}

#[derive(Default)]
struct Live {
    vars: HashSet<Var>,
    values: HashSet<Value>,
}

impl Live {
    fn block(&mut self, body: Vec<Stmt>) -> Vec<Stmt> {
        let mut kept: Vec<Stmt> = body.into_iter().rev().filter_map(|stmt| self.stmt(stmt)).collect();
        kept.reverse();
        kept
    }

    fn stmt(&mut self, stmt: Stmt) -> Option<Stmt> {
        match &stmt {
            Stmt::Let(value, _) if !self.values.contains(value) => return None,
            Stmt::Index(var, _) if !self.vars.contains(var) => return None,
            _ => {}
        }
        stmt.operands(|v| _ = self.values.insert(v));
        Some(match stmt {
            Stmt::For { var, lo, hi, carries, body } => {
                self.affine(&lo);
                self.affine(&hi);
                Stmt::For { var, lo, hi, carries, body: self.block(body) }
            }
            Stmt::Vec { var, extent, reduces, body } => Stmt::Vec { var, extent, reduces, body: self.block(body) },
            Stmt::If { cond, body } => Stmt::If { cond, body: self.block(body) },
            Stmt::Rarely { cond, picks, body } => Stmt::Rarely { cond, picks, body: self.block(body) },
            Stmt::Contract(mut c) => {
                c.epilogue = self.block(std::mem::take(&mut c.epilogue));
                for k in &c.k {
                    self.affine(&k.lo);
                    self.affine(&k.hi);
                }
                self.affine(&c.a.at);
                self.affine(&c.b.at);
                Stmt::Contract(c)
            }
            other => {
                affines(&other, |a| self.affine(a));
                other
            }
        })
    }

    fn affine(&mut self, a: &Affine) {
        self.vars.extend(a.terms().iter().map(|(v, _)| *v));
    }
}

/// Calls `f` with each index expression of a statement without blocks.
pub(super) fn affines<'s>(stmt: &'s Stmt, mut f: impl FnMut(&'s Affine)) {
    match stmt {
        Stmt::Let(_, Expr::Index(at) | Expr::InRange { at, .. } | Expr::Random { index: at, .. }) => f(at),
        Stmt::Index(
            _,
            IndexExpr::Affine(a) | IndexExpr::Div(a, _) | IndexExpr::Mod(a, _) | IndexExpr::Within(a, ..),
        ) => f(a),
        Stmt::Index(_, IndexExpr::Min(a, b) | IndexExpr::Max(a, b)) => {
            f(a);
            f(b);
        }
        Stmt::Sort { from, to, .. } => {
            f(&from.at);
            f(&to.at);
        }
        other => other.place().into_iter().for_each(|p| f(&p.at)),
    }
}
