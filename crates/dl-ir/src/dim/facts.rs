//! Facts about symbols, and what follows from them.

use super::{Atom, Dim};

/// What is known of symbols beyond their names: `p % q == 0`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Facts(Vec<(Dim, Dim)>);

impl Facts {
    /// Nothing known.
    pub fn new() -> Facts {
        Facts::default()
    }

    /// Adds that `q` divides `p` without remainder.
    pub fn add_divides(&mut self, p: Dim, q: Dim) {
        if !self.0.contains(&(p.clone(), q.clone())) {
            self.0.push((p, q));
        }
    }

    /// The facts as pairs `(p, q)`, each saying `p % q == 0`.
    pub fn divides(&self) -> &[(Dim, Dim)] {
        &self.0
    }

    /// Whether `a == b` follows from the canonical forms and the facts.
    pub fn equal(&self, a: &Dim, b: &Dim) -> bool {
        a == b || (!self.0.is_empty() && self.normal(a) == self.normal(b))
    }

    /// Whether `a` and `b` differ whatever the symbols are.
    pub fn differ(&self, a: &Dim, b: &Dim) -> bool {
        (self.normal(a) - self.normal(b)).as_const().is_some_and(|c| c != 0)
    }

    /// A fact `(p, q)`, meaning `p % q == 0`, with which `a == b` would hold.
    pub fn missing(&self, a: &Dim, b: &Dim) -> Option<(Dim, Dim)> {
        let mut candidates = vec![];
        collect_divisions(a, &mut candidates);
        collect_divisions(b, &mut candidates);
        candidates.into_iter().find(|(p, q)| {
            let mut with = self.clone();
            with.add_divides(p.clone(), q.clone());
            with.equal(a, b)
        })
    }

    /// `d` with `p` written as `q * floor(p / q)` for each fact on a lone symbol `p`.
    fn normal(&self, d: &Dim) -> Dim {
        let mut d = d.clone();
        for (p, q) in &self.0 {
            if let Some(name) = p.as_sym() {
                // A fresh symbol stands for the quotient, so that `floor(p / q)` itself becomes it.
                let quotient = Dim::sym(&format!("{name}/{q}"));
                let whole = quotient * q.clone();
                d = d.substitute(&|s| (s == name).then(|| whole.clone()));
            }
        }
        d
    }
}

fn collect_divisions(d: &Dim, out: &mut Vec<(Dim, Dim)>) {
    for term in d.terms() {
        for atom in &term.atoms {
            if let Atom::Div(pair) = atom {
                out.push((pair.0.clone(), pair.1.clone()));
                collect_divisions(&pair.0, out);
                collect_divisions(&pair.1, out);
            }
        }
    }
}
