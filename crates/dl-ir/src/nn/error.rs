//! Why a layer or method refuses its arguments or operands: structured, so that the macro can put it at the right
//! token and say it in the user's own terms.

use std::fmt;
use std::ops::Range;

use crate::dim::Dim;
use crate::error::{OpError, Problem};
use crate::types::Type;

/// An argument that is missing, unknown or makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgError {
    /// The argument's position among those given; `None` for the call as a whole (something is missing).
    pub at: Option<usize>,
    /// The part of a string argument (a pattern) that is wrong, in bytes.
    pub within: Option<Range<usize>>,
    /// A whole sentence.
    pub message: String,
}

impl ArgError {
    /// An error at an argument, or at the call as a whole.
    pub fn new(at: Option<usize>, message: impl Into<String>) -> ArgError {
        ArgError { at, within: None, message: message.into() }
    }

    /// The error at a part of its string.
    pub fn within(mut self, part: Range<usize>) -> ArgError {
        self.within = Some(part);
        self
    }
}

impl fmt::Display for ArgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ArgError {}

/// Why a call is refused. `input` counts the call's tensors from 0 in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// An axis of an operand has another size than the layer was declared with.
    Features {
        /// Which operand.
        input: usize,
        /// What the axis holds: "features", "channels".
        noun: &'static str,
        /// The declared size.
        expected: Dim,
        /// The operand's type.
        found: Type,
        /// A fact `(p, q)`, `p % q == 0`, with which the sizes would be equal.
        needs: Option<Box<(Dim, Dim)>>,
        /// What would accept it: `Linear(1600 => 128)`.
        fix: Option<String>,
    },
    /// An operand has the wrong number of axes.
    Rank {
        /// Which operand.
        input: usize,
        /// What it takes: "4 axes, [N, C, H, W]".
        expected: String,
        /// The operand's type.
        found: Type,
        /// How to mend it.
        fix: Option<String>,
    },
    /// An operand has the wrong element type.
    DType {
        /// Which operand.
        input: usize,
        /// What it takes: "floats", "class numbers (i64)".
        expected: String,
        /// The operand's type.
        found: Type,
        /// How to mend it.
        fix: Option<String>,
    },
    /// Two operands that do not broadcast together.
    Broadcast {
        /// One operand and its type.
        left: (usize, Type),
        /// The other.
        right: (usize, Type),
    },
    /// Anything else about the operands: a sentence with `{0}`, `{1}` … in place of the operands.
    Inputs(String),
    /// An argument that does not fit these operands: of the method, or of the layer's declaration.
    Arg(ArgError),
    /// An argument of a layer's call that does not fit the others.
    Given(ArgError),
    /// An op refused what the layer gave it.
    Op(OpError),
}

impl CallError {
    /// The sentence in the user's terms. `callee` is what was called, e.g. ``"`head.0` (Linear)"``; `inputs` are the
    /// operands' spellings, e.g. ``"`h.flatten()`"``.
    pub fn describe(&self, callee: &str, inputs: &[String]) -> String {
        let name = |i: usize| inputs.get(i).map_or_else(|| format!("operand {i}"), String::clone);
        let mended = |sentence: String, fix: &Option<String>| match fix {
            Some(fix) => format!("{sentence}; {fix}"),
            None => sentence,
        };
        match self {
            CallError::Features { input, noun, expected, found, needs, fix } => {
                let mut text = format!("{callee} takes {expected} {noun}, but {} is {found}", name(*input));
                if let Some((p, q)) = needs.as_deref() {
                    text += &format!("; they are equal with `require {p} % {q} == 0;`");
                } else if let Some(fix) = fix {
                    text += &format!("; `{fix}` would accept it");
                }
                text
            }
            CallError::Rank { input, expected, found, fix } => {
                mended(format!("{callee} takes {expected}, but {} is {found}", name(*input)), fix)
            }
            CallError::DType { input, expected, found, fix } => {
                mended(format!("{callee} takes {expected}, but {} is {found}", name(*input)), fix)
            }
            CallError::Broadcast { left, right } => {
                let mut text = format!("{callee}: {} is {} and {} is {}", name(left.0), left.1, name(right.0), right.1);
                if let Some((axis, a, b)) = clash(&left.1.shape, &right.1.shape) {
                    text += &format!(": axis -{axis} is {a} in one and {b} in the other, and neither is 1");
                }
                text
            }
            CallError::Inputs(sentence) => {
                let filled = (0..inputs.len()).fold(sentence.clone(), |s, i| s.replace(&format!("{{{i}}}"), &name(i)));
                format!("{callee}: {filled}")
            }
            CallError::Arg(error) | CallError::Given(error) => error.message.clone(),
            CallError::Op(error) => format!("{callee}: {}", error.problem),
        }
    }

    /// The error of an op whose operands are those of the call from number `first` on.
    pub(super) fn behind(self, first: usize) -> CallError {
        match self {
            CallError::Broadcast { left, right } => {
                CallError::Broadcast { left: (left.0 + first, left.1), right: (right.0 + first, right.1) }
            }
            CallError::DType { input, expected, found, fix } => {
                let expected = expected.replace("operand 0", &format!("operand {first}"));
                CallError::DType { input: input + first, expected, found, fix }
            }
            other => other,
        }
    }

    /// The error of an op whose operands are the call's own tensors, in the same order.
    pub(super) fn of_operands(error: OpError, types: &[Type]) -> CallError {
        let found = |arg: usize| types.get(arg).cloned();
        match &*error.problem {
            Problem::Broadcast { left, right } => {
                // By shape: between the operands and the op that refuses there may be one that gives another type.
                let l = types.iter().position(|t| t.shape == left.shape).unwrap_or(0);
                let r = types.iter().rposition(|t| t.shape == right.shape).unwrap_or(1);
                let of = |i: usize, ty: &Type| (i, types.get(i).unwrap_or(ty).clone());
                CallError::Broadcast { left: of(l, left), right: of(r, right) }
            }
            Problem::DType { arg, expected, .. } => match found(*arg) {
                Some(found) => {
                    let (expected, fix) = match expected.as_str() {
                        "a float" => ("floats", "convert it with `.to(f32)`"),
                        "a number" => ("numbers", "convert it with `.to(i64)`"),
                        "bool" => ("bool", "compare first: `x != 0`"),
                        other => (other, "convert one of them with `.to(..)`"),
                    };
                    CallError::DType { input: *arg, expected: expected.into(), found, fix: Some(fix.into()) }
                }
                None => CallError::Op(error),
            },
            _ => CallError::Op(error),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe("the call", &[]))
    }
}

impl std::error::Error for CallError {}

impl From<OpError> for CallError {
    fn from(error: OpError) -> CallError {
        CallError::Op(error)
    }
}

impl From<ArgError> for CallError {
    fn from(error: ArgError) -> CallError {
        CallError::Arg(error)
    }
}

/// The last axis, counted from the end, in which two shapes clash.
fn clash<'a>(a: &'a [Dim], b: &'a [Dim]) -> Option<(usize, &'a Dim, &'a Dim)> {
    let mut pairs = a.iter().rev().zip(b.iter().rev()).enumerate();
    pairs.find(|(_, (x, y))| x != y && !x.is(1) && !y.is(1)).map(|(i, (x, y))| (i + 1, x, y))
}
