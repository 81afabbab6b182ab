//! The least and greatest values of index variables and expressions.
//!
//! Each variable has an interval, and affine bounds by variables defined before it: of `for kh in lo..hi` with
//! `lo = max(pad - row, 0)` it is known that `row + kh - pad >= 0`, though the intervals alone do not show it.

use super::*;

/// The ranges of the index variables of a kernel, which must define each one before it is used.
#[derive(Clone, Debug)]
pub struct Ranges(Vec<Known>);

#[derive(Clone, Debug)]
struct Known {
    /// Inclusive; empty for the variable of a loop without iterations.
    interval: (i64, i64),
    /// The variable is at least each of these,
    lower: Vec<Affine>,
    /// and at most each of these.
    upper: Vec<Affine>,
    /// Definitions before it.
    order: u32,
}

/// Substitutions of bounds in one expression.
const DEPTH: u32 = 6;

impl Ranges {
    /// Analyses a kernel.
    pub fn of(kernel: &Kernel) -> Ranges {
        let unknown = Known { interval: (i64::MIN, i64::MAX), lower: Vec::new(), upper: Vec::new(), order: 0 };
        let mut ranges = Ranges(vec![unknown; kernel.vars as usize]);
        let mut order = 0;
        ranges.set(Var::PART, (0, kernel.parts as i64 - 1), [Vec::new(), Vec::new()], &mut order);
        ranges.block(&kernel.body, &mut order);
        ranges
    }

    /// The range of a variable, both ends inclusive.
    pub fn var(&self, var: Var) -> (i64, i64) {
        self.0.get(var.0 as usize).map_or((i64::MIN, i64::MAX), |k| k.interval)
    }

    /// The range of an expression, saturating.
    pub fn affine(&self, a: &Affine) -> (i64, i64) {
        (saturate(-self.greatest(&(a.clone() * -1), DEPTH)), saturate(self.greatest(a, DEPTH)))
    }

    /// An upper bound: by intervals, or with the variable defined last replaced by its bounds.
    fn greatest(&self, a: &Affine, depth: u32) -> i128 {
        let plain = a.terms().iter().fold(i128::from(a.base()), |sum, (var, c)| {
            let (lo, hi) = self.var(*var);
            sum + i128::from(if *c > 0 { hi } else { lo }) * i128::from(*c)
        });
        let last = a.terms().iter().filter_map(|(v, c)| Some((self.0.get(v.0 as usize)?, *v, *c)));
        let Some((known, var, c)) = last.max_by_key(|(k, ..)| k.order).filter(|_| depth > 0) else { return plain };
        let (constant, bounds) =
            if c > 0 { (known.interval.1, &known.upper) } else { (known.interval.0, &known.lower) };
        let replaced = bounds.iter().map(|b| self.greatest(&(a.without(var) + b.clone() * c), depth - 1));
        let least = replaced.fold(plain, i128::min);
        match constant.checked_mul(c).filter(|x| x.abs() < 1 << 60) {
            Some(_) => least.min(self.greatest(&(a.without(var) + constant * c), depth)),
            None => least,
        }
    }

    fn set(&mut self, var: Var, interval: (i64, i64), [lower, upper]: [Vec<Affine>; 2], order: &mut u32) {
        *order += 1;
        if let Some(slot) = self.0.get_mut(var.0 as usize) {
            *slot = Known { interval, lower, upper, order: *order };
        }
    }

    fn extent(&mut self, axis: Var, extent: u64, order: &mut u32) {
        self.set(axis, (0, extent as i64 - 1), [Vec::new(), Vec::new()], order);
    }

    fn loop_(&mut self, var: Var, lo: &Affine, hi: &Affine, order: &mut u32) {
        let interval = (self.affine(lo).0, self.affine(hi).1.saturating_sub(1));
        self.set(var, interval, [vec![lo.clone()], vec![hi.clone() - 1]], order);
    }

    fn index(&mut self, var: Var, expr: &IndexExpr, order: &mut u32) {
        let none = || [Vec::new(), Vec::new()];
        let (interval, bounds) = match expr {
            IndexExpr::Affine(a) => (self.affine(a), [vec![a.clone()], vec![a.clone()]]),
            IndexExpr::Div(a, d) => {
                let ((lo, hi), d) = (self.affine(a), (*d).max(1) as i64);
                ((lo.div_euclid(d), hi.div_euclid(d)), none())
            }
            IndexExpr::Mod(a, d) => {
                let ((lo, hi), d) = (self.affine(a), (*d).max(1) as i64);
                let one_round = lo.div_euclid(d) == hi.div_euclid(d);
                (if one_round { (lo.rem_euclid(d), hi.rem_euclid(d)) } else { (0, d - 1) }, none())
            }
            IndexExpr::Min(a, b) => {
                let (x, y) = (self.affine(a), self.affine(b));
                ((x.0.min(y.0), x.1.min(y.1)), [Vec::new(), vec![a.clone(), b.clone()]])
            }
            IndexExpr::Max(a, b) => {
                let (x, y) = (self.affine(a), self.affine(b));
                ((x.0.max(y.0), x.1.max(y.1)), [vec![a.clone(), b.clone()], Vec::new()])
            }
            IndexExpr::Within(_, lo, hi) => ((*lo, hi - 1), none()),
        };
        self.set(var, interval, bounds, order);
    }

    fn block(&mut self, body: &[Stmt], order: &mut u32) {
        for stmt in body {
            match stmt {
                Stmt::Index(var, expr) => self.index(*var, expr, order),
                Stmt::Check { var, limit, .. } => self.extent(*var, *limit, order),
                Stmt::For { var, lo, hi, .. } => self.loop_(*var, lo, hi, order),
                Stmt::Vec { var, extent, .. } => self.extent(*var, *extent, order),
                Stmt::Contract(c) => {
                    self.extent(c.m.var, c.m.extent, order);
                    self.extent(c.n.var, c.n.extent, order);
                    c.k.iter().for_each(|k| self.loop_(k.var, &k.lo, &k.hi, order));
                }
                Stmt::If { .. } | Stmt::Rarely { .. } | Stmt::Let(..) | Stmt::Store { .. } | Stmt::Sort { .. } => {}
            }
            self.block(stmt.blocks(), order);
        }
    }
}

fn saturate(x: i128) -> i64 {
    x.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trimmed_loops_stay_inside() {
        let mut k = Builder::new("rows", 9);
        let lo = k.index(IndexExpr::Max(Affine::from(2) - Var::PART, 0.into()));
        let hi = k.index(IndexExpr::Min(Affine::from(11) - Var::PART, 5.into()));
        let mut inside = None;
        k.for_(lo, hi, |_, tap| inside = Some(Var::PART + tap - 2));
        let q = k.div_index(Var::PART * 7 + 3, 4);
        let r = k.mod_index(Var::PART * 7 + 3, 4);
        let ranges = Ranges::of(&k.finish());
        assert_eq!(ranges.affine(&inside.unwrap()), (0, 8));
        assert_eq!(ranges.var(q), (0, 14));
        assert_eq!(ranges.var(r), (0, 3));
        assert_eq!(ranges.affine(&(q * -2 + 1)), (-27, 1));
    }
}
