//! Indices that are affine in others, put in their place.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::kernel::*;

/// The body without variables that only name an affine expression of others.
pub fn plain(body: &[Stmt]) -> Cow<'_, [Stmt]> {
    let mut names = false;
    walk::walk(body, &mut |s| names |= matches!(s, Stmt::Index(_, IndexExpr::Affine(_) | IndexExpr::Within(..))));
    if names { Cow::Owned(Names::default().block(body)) } else { Cow::Borrowed(body) }
}

#[derive(Default)]
struct Names(HashMap<Var, Affine>);

impl Names {
    fn block(&mut self, body: &[Stmt]) -> Vec<Stmt> {
        body.iter().filter_map(|stmt| self.stmt(stmt)).collect()
    }

    fn stmt(&mut self, stmt: &Stmt) -> Option<Stmt> {
        Some(match stmt {
            Stmt::Index(var, IndexExpr::Affine(a) | IndexExpr::Within(a, ..)) => {
                let a = self.affine(a);
                self.0.insert(*var, a);
                return None;
            }
            Stmt::Index(var, expr) => Stmt::Index(
                *var,
                match expr {
                    IndexExpr::Div(a, d) => IndexExpr::Div(self.affine(a), *d),
                    IndexExpr::Mod(a, d) => IndexExpr::Mod(self.affine(a), *d),
                    IndexExpr::Min(a, b) => IndexExpr::Min(self.affine(a), self.affine(b)),
                    IndexExpr::Max(a, b) => IndexExpr::Max(self.affine(a), self.affine(b)),
                    other => other.clone(),
                },
            ),
            Stmt::Let(value, expr) => Stmt::Let(*value, self.expr(expr)),
            Stmt::Store { place, value, add, guard } => {
                Stmt::Store { place: self.place(place), value: *value, add: *add, guard: *guard }
            }
            Stmt::For { var, lo, hi, carries, body } => Stmt::For {
                var: *var,
                lo: self.affine(lo),
                hi: self.affine(hi),
                carries: carries.clone(),
                body: self.block(body),
            },
            Stmt::Vec { var, extent, reduces, body } => {
                Stmt::Vec { var: *var, extent: *extent, reduces: reduces.clone(), body: self.block(body) }
            }
            Stmt::If { cond, body } => Stmt::If { cond: *cond, body: self.block(body) },
            Stmt::Rarely { cond, picks, body } => {
                Stmt::Rarely { cond: *cond, picks: picks.clone(), body: self.block(body) }
            }
            Stmt::Check { .. } | Stmt::Sort { .. } | Stmt::Contract(_) => stmt.clone(),
        })
    }

    fn expr(&self, expr: &Expr) -> Expr {
        match expr {
            Expr::Index(at) => Expr::Index(self.affine(at)),
            Expr::InRange { at, lo, hi } => Expr::InRange { at: self.affine(at), lo: *lo, hi: *hi },
            Expr::Load(place) => Expr::Load(self.place(place)),
            Expr::LoadIf { place, guard, other } => {
                Expr::LoadIf { place: self.place(place), guard: *guard, other: *other }
            }
            other => other.clone(),
        }
    }

    fn place(&self, place: &Place) -> Place {
        Place { buf: place.buf, at: self.affine(&place.at) }
    }

    fn affine(&self, a: &Affine) -> Affine {
        a.terms().iter().fold(Affine::from(a.base()), |sum, &(var, c)| match self.0.get(&var) {
            Some(meaning) => sum + meaning.clone() * c,
            None => sum.plus(var, c),
        })
    }
}
