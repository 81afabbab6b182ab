//! Visiting what statements mention.

use super::*;

impl Stmt {
    /// The blocks inside the statement.
    pub fn blocks(&self) -> &[Stmt] {
        match self {
            Stmt::For { body, .. } | Stmt::Vec { body, .. } | Stmt::If { body, .. } | Stmt::Rarely { body, .. } => body,
            Stmt::Contract(c) => &c.epilogue,
            Stmt::Let(..) | Stmt::Index(..) | Stmt::Check { .. } | Stmt::Store { .. } | Stmt::Sort { .. } => &[],
        }
    }

    /// The place that the statement itself loads from or stores to; the operands of a contraction and the rows of a sort are
    /// not among them.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Stmt::Store { place, .. } => Some(place),
            Stmt::Let(_, Expr::Load(place) | Expr::LoadIf { place, .. }) => Some(place),
            _ => None,
        }
    }

    /// Calls `f` with each value that the statement itself reads (not those of its blocks).
    pub fn operands(&self, mut f: impl FnMut(Value)) {
        match self {
            Stmt::Let(_, expr) => expr.operands(f),
            Stmt::Check { value, .. } => f(*value),
            Stmt::Store { value, guard, .. } => {
                f(*value);
                guard.iter().copied().for_each(f);
            }
            Stmt::For { carries, .. } => carries.iter().for_each(|c| {
                f(c.init);
                f(c.next);
            }),
            Stmt::Vec { reduces, .. } => reduces.iter().for_each(|r| f(r.value)),
            Stmt::If { cond, .. } => f(*cond),
            Stmt::Rarely { cond, picks, .. } => {
                f(*cond);
                picks.iter().for_each(|p| {
                    f(p.inside);
                    f(p.other);
                });
            }
            Stmt::Index(..) | Stmt::Sort { .. } | Stmt::Contract(_) => {}
        }
    }
}

impl Expr {
    /// Calls `f` with each value that the expression reads.
    pub fn operands(&self, mut f: impl FnMut(Value)) {
        match self {
            Expr::Const(_) | Expr::Index(_) | Expr::InRange { .. } | Expr::Load(_) => {}
            Expr::LoadIf { guard, other, .. } => [*guard, *other].into_iter().for_each(f),
            Expr::Un(_, a) | Expr::Cast(a, _) | Expr::Bitcast(a, _) => f(*a),
            Expr::Bin(_, a, b) | Expr::Cmp(_, a, b) => [*a, *b].into_iter().for_each(f),
            Expr::Select(a, b, c) | Expr::MulAdd(a, b, c) => [*a, *b, *c].into_iter().for_each(f),
            Expr::Random { seed, step, .. } => [*seed, *step].into_iter().for_each(f),
        }
    }
}

/// Calls `f` with each statement of `body` and of the blocks inside it, in order.
pub fn walk<'k>(body: &'k [Stmt], f: &mut impl FnMut(&'k Stmt)) {
    for stmt in body {
        f(stmt);
        walk(stmt.blocks(), f);
    }
}
