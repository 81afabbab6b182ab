//! Symbolic dimensions: canonical polynomials with floor division.
//!
//! A dimension is a constant, or a polynomial with integer coefficients over atoms; an atom is a symbol (`N`) or a
//! floor division that could not be carried out (`floor(H / 2)`). Two dimensions are equal if their canonical forms are.

mod facts;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use facts::Facts;

/// The size of one axis: a number, or an expression in symbols which are bound later.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dim(Repr);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    Const(i64),
    /// Sorted by monomial, without zero coefficients, never only a constant.
    Poly(Arc<[Term]>),
}

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Term {
    /// Sorted atoms, repeated for powers; empty for the constant term.
    atoms: Vec<Atom>,
    coeff: i64,
}

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Atom {
    Sym(Arc<str>),
    Div(Arc<(Dim, Dim)>),
}

/// Values of symbols.
pub type Bindings = BTreeMap<String, i64>;

/// Why a dimension has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DimError {
    /// The symbol has no value in the bindings.
    Unbound(String),
    /// The value does not fit in 64 bits.
    Overflow,
    /// A division by zero.
    DivisionByZero,
}

impl fmt::Display for DimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DimError::Unbound(name) => write!(f, "dimension `{name}` has no value"),
            DimError::Overflow => f.write_str("a dimension overflows 64 bits"),
            DimError::DivisionByZero => f.write_str("a dimension divides by zero"),
        }
    }
}

impl std::error::Error for DimError {}

impl Dim {
    /// The dimension of one element.
    pub const ONE: Dim = Dim(Repr::Const(1));

    /// A symbol, by convention in upper case.
    pub fn sym(name: &str) -> Dim {
        Dim::from_terms(vec![Term { atoms: vec![Atom::Sym(name.into())], coeff: 1 }])
    }

    /// The number, if the dimension is one.
    pub fn as_const(&self) -> Option<i64> {
        match self.0 {
            Repr::Const(c) => Some(c),
            Repr::Poly(_) => None,
        }
    }

    /// The symbol's name, if the dimension is a lone symbol.
    pub fn as_sym(&self) -> Option<&str> {
        match &self.0 {
            Repr::Poly(terms) => match &terms[..] {
                [Term { atoms, coeff: 1 }] => match &atoms[..] {
                    [Atom::Sym(name)] => Some(name),
                    _ => None,
                },
                _ => None,
            },
            Repr::Const(_) => None,
        }
    }

    /// Whether this is the constant `c`.
    pub fn is(&self, c: i64) -> bool {
        self.as_const() == Some(c)
    }

    /// The largest integer not above `self / divisor`, carried out as far as the terms allow.
    ///
    /// # Errors
    /// If `divisor` is zero.
    pub fn floor_div(&self, divisor: &Dim) -> Result<Dim, DimError> {
        if let (Some(a), Some(b)) = (self.as_const(), divisor.as_const()) {
            return floor_div(a, b).map(Dim::from);
        }
        if divisor.is(0) {
            return Err(DimError::DivisionByZero);
        }
        let divisor_terms = divisor.terms();
        if let [d] = &divisor_terms[..] {
            // floor((d*q + r) / d) = q + floor(r / d) for an integer q.
            let (mut quotient, mut rest) = (vec![], vec![]);
            for term in self.terms() {
                match divide_term(&term, d) {
                    Some(q) => quotient.push(q),
                    None => rest.push(term),
                }
            }
            let rest = Dim::from_terms(rest);
            let rest = match (rest.as_const(), divisor.as_const()) {
                (Some(0), _) => Dim::from(0),
                (Some(r), Some(d)) => Dim::from(floor_div(r, d)?),
                _ => Dim::div_atom(rest, divisor.clone()),
            };
            return Ok(Dim::from_terms(quotient) + rest);
        }
        if self == divisor {
            return Ok(Dim::ONE);
        }
        Ok(Dim::div_atom(self.clone(), divisor.clone()))
    }

    /// The value under `bindings`.
    ///
    /// # Errors
    /// If a symbol is unbound, a division is by zero, or the value overflows.
    pub fn eval(&self, bindings: &Bindings) -> Result<i64, DimError> {
        let Repr::Poly(terms) = &self.0 else {
            return Ok(self.as_const().unwrap_or(0));
        };
        let mut sum = 0i64;
        for term in terms.iter() {
            let mut product = term.coeff;
            for atom in &term.atoms {
                let value = match atom {
                    Atom::Sym(name) => *bindings.get(&**name).ok_or_else(|| DimError::Unbound(name.to_string()))?,
                    Atom::Div(pair) => floor_div(pair.0.eval(bindings)?, pair.1.eval(bindings)?)?,
                };
                product = product.checked_mul(value).ok_or(DimError::Overflow)?;
            }
            sum = sum.checked_add(product).ok_or(DimError::Overflow)?;
        }
        Ok(sum)
    }

    /// Calls `f` with each symbol in the expression, repeats included.
    pub fn for_each_sym(&self, f: &mut impl FnMut(&str)) {
        for term in self.terms() {
            for atom in &term.atoms {
                match atom {
                    Atom::Sym(name) => f(name),
                    Atom::Div(pair) => {
                        pair.0.for_each_sym(f);
                        pair.1.for_each_sym(f);
                    }
                }
            }
        }
    }

    /// The expression with symbols replaced where `with` gives a dimension for them.
    pub fn substitute(&self, with: &impl Fn(&str) -> Option<Dim>) -> Dim {
        let Repr::Poly(terms) = &self.0 else { return self.clone() };
        let mut sum = Dim::from(0);
        for term in terms.iter() {
            let mut product = Dim::from(term.coeff);
            for atom in &term.atoms {
                let factor = match atom {
                    Atom::Sym(name) => with(name).unwrap_or_else(|| Dim::sym(name)),
                    Atom::Div(pair) => {
                        let (a, b) = (pair.0.substitute(with), pair.1.substitute(with));
                        a.floor_div(&b).unwrap_or_else(|_| Dim::div_atom(a, b))
                    }
                };
                product = product * factor;
            }
            sum = sum + product;
        }
        sum
    }

    /// Solves `self = value` for its only unbound symbol, where that occurs linearly: `2*N + 1 = 9` gives `N = 4`.
    /// `None` if there is no such symbol or no integer solution.
    pub fn solve(&self, value: i64, bindings: &Bindings) -> Option<(String, i64)> {
        let Repr::Poly(terms) = &self.0 else { return None };
        let (mut unknown, mut slope, mut offset) = (None::<Arc<str>>, 0i64, 0i64);
        for term in terms.iter() {
            let (mut product, mut here) = (term.coeff, None);
            for atom in &term.atoms {
                match atom {
                    Atom::Sym(name) if !bindings.contains_key(&**name) => {
                        if here.replace(name.clone()).is_some() {
                            return None;
                        }
                    }
                    Atom::Sym(name) => product = product.checked_mul(bindings[&**name])?,
                    Atom::Div(pair) => {
                        let quotient = floor_div(pair.0.eval(bindings).ok()?, pair.1.eval(bindings).ok()?).ok()?;
                        product = product.checked_mul(quotient)?;
                    }
                }
            }
            match here {
                Some(name) if unknown.as_ref().is_none_or(|u| *u == name) => {
                    unknown = Some(name);
                    slope = slope.checked_add(product)?;
                }
                Some(_) => return None,
                None => offset = offset.checked_add(product)?,
            }
        }
        let rest = value.checked_sub(offset)?;
        (slope != 0 && rest % slope == 0)
            .then(|| (unknown.map(|u| u.to_string()), rest / slope))
            .and_then(|(u, v)| Some((u?, v)))
    }

    fn div_atom(a: Dim, b: Dim) -> Dim {
        Dim::from_terms(vec![Term { atoms: vec![Atom::Div(Arc::new((a, b)))], coeff: 1 }])
    }

    fn terms(&self) -> Vec<Term> {
        match &self.0 {
            Repr::Const(0) => vec![],
            Repr::Const(c) => vec![Term { atoms: vec![], coeff: *c }],
            Repr::Poly(terms) => terms.to_vec(),
        }
    }

    fn from_terms(mut terms: Vec<Term>) -> Dim {
        terms.sort_by(|a, b| a.atoms.cmp(&b.atoms));
        let mut merged: Vec<Term> = Vec::with_capacity(terms.len());
        for term in terms {
            match merged.last_mut() {
                Some(last) if last.atoms == term.atoms => last.coeff = last.coeff.saturating_add(term.coeff),
                _ => merged.push(term),
            }
        }
        merged.retain(|t| t.coeff != 0);
        match &merged[..] {
            [] => Dim(Repr::Const(0)),
            [only] if only.atoms.is_empty() => Dim(Repr::Const(only.coeff)),
            _ => Dim(Repr::Poly(merged.into())),
        }
    }
}

fn floor_div(a: i64, b: i64) -> Result<i64, DimError> {
    if b == 0 {
        return Err(DimError::DivisionByZero);
    }
    let q = a.checked_div(b).ok_or(DimError::Overflow)?;
    Ok(if a % b != 0 && (a < 0) != (b < 0) { q - 1 } else { q })
}

/// `term / by` if it is a term with an integer coefficient.
fn divide_term(term: &Term, by: &Term) -> Option<Term> {
    if term.coeff % by.coeff != 0 {
        return None;
    }
    let mut atoms = term.atoms.clone();
    for atom in &by.atoms {
        let at = atoms.iter().position(|a| a == atom)?;
        atoms.remove(at);
    }
    Some(Term { atoms, coeff: term.coeff / by.coeff })
}

impl From<i64> for Dim {
    fn from(c: i64) -> Dim {
        Dim(Repr::Const(c))
    }
}

impl From<i32> for Dim {
    fn from(c: i32) -> Dim {
        Dim::from(i64::from(c))
    }
}

impl From<usize> for Dim {
    fn from(c: usize) -> Dim {
        Dim(Repr::Const(i64::try_from(c).unwrap_or(i64::MAX)))
    }
}

impl From<&str> for Dim {
    fn from(name: &str) -> Dim {
        Dim::sym(name)
    }
}

// Sums and products saturate: a dimension near 2^63 is refused by `eval` and by every shape rule long before.
impl std::ops::Add for Dim {
    type Output = Dim;
    fn add(self, other: Dim) -> Dim {
        if let (Some(a), Some(b)) = (self.as_const(), other.as_const()) {
            return Dim::from(a.saturating_add(b));
        }
        let mut terms = self.terms();
        terms.extend(other.terms());
        Dim::from_terms(terms)
    }
}

impl std::ops::Mul for Dim {
    type Output = Dim;
    fn mul(self, other: Dim) -> Dim {
        match (self.as_const(), other.as_const()) {
            (Some(a), Some(b)) => return Dim::from(a.saturating_mul(b)),
            (Some(1), _) => return other,
            (_, Some(1)) => return self,
            _ => {}
        }
        let mut terms = vec![];
        let right = other.terms();
        for a in self.terms() {
            for b in &right {
                let mut atoms = a.atoms.clone();
                atoms.extend(b.atoms.iter().cloned());
                atoms.sort();
                terms.push(Term { atoms, coeff: a.coeff.saturating_mul(b.coeff) });
            }
        }
        Dim::from_terms(terms)
    }
}

impl std::ops::Sub for Dim {
    type Output = Dim;
    fn sub(self, other: Dim) -> Dim {
        self + Dim::from(-1) * other
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repr::Poly(terms) = &self.0 else {
            return write!(f, "{}", self.as_const().unwrap_or(0));
        };
        // The constant term sorts first and reads best last: `N + 1`.
        let constant_first = terms[0].atoms.is_empty() as usize;
        let ordered = terms[constant_first..].iter().chain(&terms[..constant_first]);
        for (i, term) in ordered.enumerate() {
            match (i, term.coeff < 0) {
                (0, false) => {}
                (0, true) => f.write_str("-")?,
                (_, false) => f.write_str(" + ")?,
                (_, true) => f.write_str(" - ")?,
            }
            let coeff = term.coeff.unsigned_abs();
            let mut star = coeff != 1 || term.atoms.is_empty();
            if star {
                write!(f, "{coeff}")?;
            }
            for atom in &term.atoms {
                if star {
                    f.write_str("*")?;
                }
                star = true;
                match atom {
                    Atom::Sym(name) => f.write_str(name)?,
                    Atom::Div(pair) => {
                        let (p, q) = &**pair;
                        f.write_str("floor(")?;
                        if p.terms().len() > 1 {
                            write!(f, "({p})")?
                        } else {
                            write!(f, "{p}")?
                        }
                        f.write_str("/")?;
                        if q.as_const().is_some() || q.as_sym().is_some() {
                            write!(f, "{q})")?
                        } else {
                            write!(f, "({q}))")?
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n() -> Dim {
        Dim::sym("N")
    }

    #[test]
    fn canonical_forms() {
        assert_eq!((n() + Dim::from(1)) * (n() - Dim::from(1)), n() * n() - Dim::from(1));
        assert_eq!(n() - n(), Dim::from(0));
        assert_eq!((n() * Dim::from(2) + Dim::from(3)).to_string(), "2*N + 3");
        assert_eq!((n() * Dim::from(4) + Dim::from(3)).floor_div(&Dim::from(2)).unwrap().to_string(), "2*N + 1");
        assert_eq!((n() + Dim::from(1)).floor_div(&Dim::from(2)).unwrap().to_string(), "floor((N + 1)/2)");
        assert_eq!((n() * Dim::sym("H")).floor_div(&n()).unwrap(), Dim::sym("H"));
    }

    #[test]
    fn division_that_is_not_exact_needs_a_fact() {
        let (d, h) = (Dim::sym("DIM"), Dim::sym("HEADS"));
        let back = d.floor_div(&h).unwrap() * h.clone();
        let mut facts = Facts::new();
        assert!(!facts.equal(&back, &d));
        assert_eq!(facts.missing(&back, &d), Some((d.clone(), h.clone())));
        facts.add_divides(d.clone(), h);
        assert!(facts.equal(&back, &d));
        assert!(facts.differ(&d, &(d.clone() + Dim::ONE)));
    }

    #[test]
    fn values() {
        let bindings = Bindings::from([("N".to_string(), 7)]);
        let d = n().floor_div(&Dim::from(2)).unwrap() * Dim::from(3) - Dim::ONE;
        assert_eq!(d.eval(&bindings), Ok(8));
        assert_eq!(Dim::sym("M").eval(&bindings), Err(DimError::Unbound("M".into())));
        assert_eq!((n() * Dim::from(2) + Dim::ONE).solve(9, &Bindings::new()), Some(("N".into(), 4)));
        assert_eq!((n() * Dim::from(2)).solve(9, &Bindings::new()), None);
    }
}
