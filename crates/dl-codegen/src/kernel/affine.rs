//! Index variables and affine index expressions.

use std::fmt;
use std::ops::{Add, Mul, Sub};

/// An index variable: a loop counter, the part number or a derived index. Always a signed 64-bit integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(pub u32);

impl Var {
    /// The number of the part which is being executed, in `0..kernel.parts`.
    pub const PART: Var = Var(0);
}

impl fmt::Display for Var {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0)
    }
}

/// `base + sum(coefficient * variable)`, in elements. Terms are sorted by variable and have no zero coefficient, so
/// that equality is structural.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Affine {
    base: i64,
    terms: Vec<(Var, i64)>,
}

impl Affine {
    /// The constant part.
    pub fn base(&self) -> i64 {
        self.base
    }

    /// The variables with their coefficients.
    pub fn terms(&self) -> &[(Var, i64)] {
        &self.terms
    }

    /// The coefficient of `var`, 0 if it does not occur.
    pub fn coeff(&self, var: Var) -> i64 {
        self.terms.iter().find(|(v, _)| *v == var).map_or(0, |(_, c)| *c)
    }

    /// The value, if there is no variable.
    pub fn as_const(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.base)
    }

    /// The expression without the term of `var`.
    pub fn without(&self, var: Var) -> Affine {
        let terms = self.terms.iter().copied().filter(|(v, _)| *v != var).collect();
        Affine { base: self.base, terms }
    }

    /// The value where `var` has the value `lookup(var)`.
    pub fn eval(&self, mut lookup: impl FnMut(Var) -> i64) -> i64 {
        self.terms.iter().fold(self.base, |sum, (v, c)| sum.wrapping_add(c.wrapping_mul(lookup(*v))))
    }

    /// `self + coefficient * var`.
    pub fn plus(mut self, var: Var, coefficient: i64) -> Affine {
        match self.terms.binary_search_by_key(&var, |(v, _)| *v) {
            Ok(at) => {
                self.terms[at].1 += coefficient;
                if self.terms[at].1 == 0 {
                    self.terms.remove(at);
                }
            }
            Err(at) if coefficient != 0 => self.terms.insert(at, (var, coefficient)),
            Err(_) => {}
        }
        self
    }
}

impl From<i64> for Affine {
    fn from(base: i64) -> Affine {
        Affine { base, terms: Vec::new() }
    }
}

impl From<Var> for Affine {
    fn from(var: Var) -> Affine {
        Affine { base: 0, terms: vec![(var, 1)] }
    }
}

impl<T: Into<Affine>> Add<T> for Affine {
    type Output = Affine;
    fn add(mut self, other: T) -> Affine {
        let other = other.into();
        self.base += other.base;
        other.terms.into_iter().fold(self, |sum, (v, c)| sum.plus(v, c))
    }
}

impl<T: Into<Affine>> Sub<T> for Affine {
    type Output = Affine;
    fn sub(self, other: T) -> Affine {
        self + other.into() * -1
    }
}

impl Mul<i64> for Affine {
    type Output = Affine;
    fn mul(mut self, factor: i64) -> Affine {
        self.base *= factor;
        self.terms.iter_mut().for_each(|(_, c)| *c *= factor);
        self.terms.retain(|(_, c)| *c != 0);
        self
    }
}

impl<T: Into<Affine>> Add<T> for Var {
    type Output = Affine;
    fn add(self, other: T) -> Affine {
        Affine::from(self) + other
    }
}

impl<T: Into<Affine>> Sub<T> for Var {
    type Output = Affine;
    fn sub(self, other: T) -> Affine {
        Affine::from(self) - other
    }
}

impl Mul<i64> for Var {
    type Output = Affine;
    fn mul(self, factor: i64) -> Affine {
        Affine::from(self) * factor
    }
}

impl fmt::Display for Affine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (var, c) in &self.terms {
            let sign = match (first, *c < 0) {
                (true, true) => "-",
                (true, false) => "",
                (false, true) => " - ",
                (false, false) => " + ",
            };
            match c.unsigned_abs() {
                1 => write!(f, "{sign}{var}")?,
                c => write!(f, "{sign}{var}*{c}")?,
            }
            first = false;
        }
        match self.base {
            base if first => write!(f, "{base}"),
            0 => Ok(()),
            base => write!(f, " {} {}", if base < 0 { '-' } else { '+' }, base.unsigned_abs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_cancel_and_print() {
        let (i, j) = (Var(1), Var(2));
        let a = i * 12 + j - 3;
        assert_eq!(a.to_string(), "i1*12 + i2 - 3");
        assert_eq!(a.coeff(i), 12);
        assert_eq!((a.clone() - j + 3).to_string(), "i1*12");
        assert_eq!((a - i * 12 - j).as_const(), Some(-3));
    }
}
