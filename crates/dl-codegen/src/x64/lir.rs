//! Vector code over any number of names, before registers are given to them.

use super::asm::{Const, Gpr, Width};
use super::op::Op;

/// A name for the contents of a vector or mask register. Each is defined once, but for accumulators, which an
/// instruction may overwrite with a new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct V(pub u32);

/// What kind of register a name needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Vector,
    Mask,
}

/// Where the contents of a name can be had again without having been saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// Nowhere.
    None,
    /// One element behind the code, in all lanes; whether it has 64 bits.
    Const(Const, bool),
    /// A register's worth behind the code.
    Vector(Const),
    /// One element among the arguments, at that offset, in all lanes; whether it has 64 bits.
    Arg(i32, bool),
}

/// An address in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addr {
    pub base: AddrBase,
    /// A register to be added, times a power of two.
    pub index: Option<(Gpr, u8)>,
    pub disp: i32,
}

/// What an address starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddrBase {
    Gpr(Gpr),
    /// An address among the arguments, at that offset, loaded for each use.
    Arg(i32),
}

/// The last operand of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Src {
    V(V),
    Mem(Addr),
}

impl From<V> for Src {
    fn from(v: V) -> Src {
        Src::V(v)
    }
}

/// An instruction.
#[derive(Clone, Debug)]
pub enum Inst {
    /// `to = op(a, b, immediate)`, for the lanes of `mask` if there is one; the other lanes are those of `merge`, or zero.
    Op { op: Op, width: Width, to: V, a: Option<V>, b: Src, immediate: Option<u8>, mask: Option<V>, merge: Option<V> },
    /// `to = a * b + c`, fused.
    MulAdd { wide: bool, to: V, a: V, b: V, c: V },
    /// `to = mask ? a : b` where masks are vectors.
    Blend { op: Op, to: V, mask: V, a: V, b: V },
    /// `[to] = from` for the lanes of `mask`.
    Store { op: Op, width: Width, to: Addr, from: V, mask: Option<V> },
    /// `to[lane] = [base + lanes[lane]]`, for the lanes of `mask`, which is lost; the others are zero.
    Gather { op: Op, width: Width, to: V, base: Addr, lanes: V, mask: V },
    /// `[base + lanes[lane]] = from[lane]` for the lanes of `mask`, which is lost.
    Scatter { op: Op, width: Width, from: V, base: Addr, lanes: V, mask: V },
    /// `to` = a general register in all lanes (vectors), or its bits (masks).
    Spread { op: Op, width: Width, to: V, from: Gpr },
    /// A general register gets the bits of a mask, or those of the signs of 32-bit lanes.
    Lanes { to: Gpr, from: V },
    /// Of general registers.
    General(General),
    /// A loop around instructions.
    Loop(Box<Loop>),
}

/// Instructions of general registers.
#[derive(Clone, Copy, Debug)]
pub enum General {
    Set(Gpr, i64),
    Load(Gpr, Addr),
    Lea(Gpr, Addr),
    AddReg(Gpr, Gpr),
    /// `to = from * x`.
    Mul(Gpr, Gpr, i32),
    /// `to = -to`, as 0 or -1 from a truth value.
    Negate(Gpr),
}

/// A loop that counts upwards.
#[derive(Clone, Debug)]
pub struct Loop {
    pub counter: Gpr,
    /// What is added to it after each iteration.
    pub by: i32,
    /// Where it ends.
    pub end: End,
    /// Whether there is at least one iteration.
    pub entered: bool,
    /// What is added to registers after each iteration.
    pub steps: Vec<(Gpr, i32)>,
    pub carries: Vec<Carried>,
    pub body: Vec<Inst>,
}

/// The exclusive last value of a loop's counter.
#[derive(Clone, Copy, Debug)]
pub enum End {
    Number(i32),
    Arg(i32),
}

/// A name that changes from iteration to iteration.
#[derive(Clone, Copy, Debug)]
pub struct Carried {
    /// In an iteration, and behind the loop.
    pub now: V,
    /// Before the loop.
    pub init: V,
    /// At the end of an iteration.
    pub next: V,
}

impl Inst {
    /// Calls `f` with each name that is read.
    pub fn reads(&self, f: &mut impl FnMut(V)) {
        let src = |s: &Src| match s {
            Src::V(v) => Some(*v),
            Src::Mem(_) => None,
        };
        match self {
            Inst::Op { a, b, mask, merge, .. } => {
                [*a, src(b), *mask, *merge].into_iter().flatten().for_each(f);
            }
            Inst::MulAdd { a, b, c, .. } => [*a, *b, *c].into_iter().for_each(f),
            Inst::Blend { mask, a, b, .. } => [*mask, *a, *b].into_iter().for_each(f),
            Inst::Store { from, mask, .. } => [Some(*from), *mask].into_iter().flatten().for_each(f),
            Inst::Gather { lanes, mask, .. } => [*lanes, *mask].into_iter().for_each(f),
            Inst::Scatter { from, lanes, mask, .. } => [*from, *lanes, *mask].into_iter().for_each(f),
            Inst::Lanes { from, .. } => f(*from),
            Inst::Spread { .. } | Inst::General(_) => {}
            Inst::Loop(l) => l.carries.iter().for_each(|c| f(c.init)),
        }
    }

    /// The name that is written.
    pub fn writes(&self) -> Option<V> {
        match self {
            Inst::Op { to, .. }
            | Inst::MulAdd { to, .. }
            | Inst::Blend { to, .. }
            | Inst::Gather { to, .. }
            | Inst::Spread { to, .. } => Some(*to),
            Inst::Store { .. } | Inst::Scatter { .. } | Inst::Lanes { .. } | Inst::General(_) | Inst::Loop(_) => None,
        }
    }
}
