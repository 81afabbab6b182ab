//! The data types of the kernel IR.
//!
//! A [`Kernel`] is a loop nest over flat buffers. It runs `parts` times; [`Var::PART`] is the number of the running
//! part. Parts are independent: no part reads what another one writes, so the threads that share them out cannot
//! change a result.
//!
//! There are two kinds of names:
//! * index variables ([`Var`], `i3`): loop counters and integers derived from them. Addresses are affine in them.
//! * values ([`Value`], `v7`): typed data, each assigned once by a [`Stmt::Let`] (or as a carry, reduction or
//!   accumulator result) and visible from there to the end of the enclosing block.
//!
//! Values outside a [`Stmt::Vec`] loop are scalars. Inside one, they stand for as many consecutive iterations of the
//! loop as the emitter has lanes; a scalar from outside is broadcast. Nothing in the IR depends on the lane count.
//! The iterations of a vector loop must not touch each other's memory, except by `store +=`.
//!
//! Values have one of five types: `F32`, `F64`, `I64`, `I32`, `Bool`. Bytes are I32 in values: loading a `U8` buffer
//! zero-extends, storing to one keeps the low 8 bits.

use super::{Affine, Contract, DType, Var};

/// The most iterations of a [`Stmt::Vec`]: the numbers of a vector's lanes fit into 32 bits.
pub const MAX_VECTOR_EXTENT: u64 = i32::MAX as u64;

/// A value, an index into [`Kernel::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub u32);

/// A buffer, an index into [`Kernel::bufs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufId(pub u32);

/// What a kernel does with a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Only loads.
    Read,
    /// Only stores.
    Write,
    /// Loads and stores (in place, accumulation).
    ReadWrite,
    /// Private to the running thread, contents undefined at the start of each part. The runtime passes each thread
    /// its own memory.
    Scratch,
}

/// A flat buffer, aligned to its elements only, so vector accesses are unaligned. Two buffers of a kernel may be the same memory only where every element is read
/// before the same iteration writes it (an in-place elementwise kernel).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Buf {
    /// Element type in memory.
    pub dtype: DType,
    /// Number of elements; every access is proved to lie within.
    pub len: u64,
    /// What the kernel does with it.
    pub access: Access,
}

/// A function over buffers, run for each part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// A name for dumps and profiles: letters, digits, `_`, `.`.
    pub name: String,
    /// The buffers, in the order in which their addresses are passed.
    pub bufs: Vec<Buf>,
    /// The number of independent parts; fixed when the program is compiled, whatever the thread count.
    pub parts: u64,
    /// The number of index variables, [`Var::PART`] included.
    pub vars: u32,
    /// The type of each value.
    pub values: Vec<DType>,
    /// The statements of one part.
    pub body: Vec<Stmt>,
}

/// An element of a buffer; in a vector loop, one element per lane: consecutive if the loop variable's coefficient is
/// 1, the same one if it is 0, gathered or scattered lane by lane otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The buffer.
    pub buf: BufId,
    /// The element.
    pub at: Affine,
}

/// A constant, as the bits of its type (floats as IEEE bits, so NaNs and signed zeros stay apart).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lit {
    /// Type of the value.
    pub dtype: DType,
    /// Bits, zero-extended.
    pub bits: u64,
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stmt {
    /// `value = expr`.
    Let(Value, Expr),
    /// `var = index expression`.
    Index(Var, IndexExpr),
    /// `var = value` where `0 <= value < limit` (value: I64 or I32). Otherwise the fault `site` with the value is
    /// recorded and `var = 0`, so that the accesses that follow stay in bounds. `limit >= 1`.
    Check {
        /// The index that is defined.
        var: Var,
        /// The computed index.
        value: Value,
        /// Exclusive upper bound.
        limit: u64,
        /// What the runtime tells the user: an opaque number.
        site: u32,
    },
    /// `place = value`, or `place += value` with `add`; skipped in lanes where `guard` is false. In a vector loop a
    /// place whose coefficient is not 1 is stored lane by lane, in order, so that `+=` may hit an element twice.
    Store {
        /// Where to.
        place: Place,
        /// What; I32 for a U8 buffer.
        value: Value,
        /// Accumulate instead of overwrite (not into Bool).
        add: bool,
        /// Bool value.
        guard: Option<Value>,
    },
    /// Serial loop over `lo <= var < hi`, carrying values from iteration to iteration. Inside a vector loop the
    /// carried values have lanes: this is how columns are reduced.
    For {
        /// The loop counter.
        var: Var,
        /// First value.
        lo: Affine,
        /// Exclusive last value; no iteration if `hi <= lo`. Neither bound may vary by lane.
        hi: Affine,
        /// The carried values.
        carries: Vec<Carry>,
        /// Statements.
        body: Vec<Stmt>,
    },
    /// Vector loop over `0 <= var < extent`. Not nested in another one.
    Vec {
        /// The loop counter, consecutive across lanes.
        var: Var,
        /// Number of iterations.
        extent: u64,
        /// Reductions over the iterations.
        reduces: Vec<Reduce>,
        /// Statements.
        body: Vec<Stmt>,
    },
    /// `body` if the Bool value is true. The condition must not vary by lane.
    If {
        /// The condition.
        cond: Value,
        /// Statements; values assigned inside are not visible after it.
        body: Vec<Stmt>,
    },
    /// For each of `picks` `out = cond ? inside : other`. What is inside is computed by `body`, which is skipped where
    /// `cond` holds in no lane, and so consists of definitions without loads.
    Rarely {
        /// The condition.
        cond: Value,
        /// The values.
        picks: Vec<Pick>,
        /// Statements.
        body: Vec<Stmt>,
    },
    /// The order of `len` numbers from `from` on: the positions (I64) of the elements, least first, go to `to` and what
    /// follows it. NaN is greater than all; equal elements keep their order, with `descending` too. Both rows are dense,
    /// and the statement is not inside a vector loop.
    Sort {
        /// The first element of the row.
        from: Place,
        /// Where the first position goes.
        to: Place,
        /// The number of elements.
        len: u64,
        /// Greatest first.
        descending: bool,
    },
    /// A register-tiled product. Not inside a vector loop.
    Contract(Box<Contract>),
}

/// A value that a [`Stmt::Rarely`] defines: F32 or I32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pick {
    /// The value where the condition holds, one of the body (or from outside).
    pub inside: Value,
    /// The value elsewhere.
    pub other: Value,
    /// The result, defined for what follows.
    pub out: Value,
}

/// A value carried around a [`Stmt::For`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Carry {
    /// The value at the start of an iteration, defined for the body.
    pub param: Value,
    /// Before the first iteration.
    pub init: Value,
    /// At the end of an iteration, a value of the body (or from outside).
    pub next: Value,
    /// After the loop, defined for what follows it.
    pub out: Value,
}

/// A reduction over a [`Stmt::Vec`]: several accumulators, combined in an order which depends on the extent and the
/// lane count only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reduce {
    /// The operation.
    pub op: ReduceOp,
    /// The value in each iteration.
    pub value: Value,
    /// The result, a scalar defined after the loop: of the type of `value`, or I64 for `ArgMax`, `ArgMin`.
    pub out: Value,
}

/// What a [`Reduce`] computes. The result of no iterations is the identity (the least value for `Max`, 0 for
/// `ArgMax`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// Sum (numbers).
    Sum,
    /// Product (numbers).
    Prod,
    /// Greatest; NaN if there is one. Of Bool: any.
    Max,
    /// Least; NaN if there is one. Of Bool: all.
    Min,
    /// The first iteration with the greatest value, where NaN is greater than all (numbers).
    ArgMax,
    /// The first iteration with the least value, where NaN is less than all (numbers).
    ArgMin,
}

/// A derived index. Divisors are positive and division rounds down.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IndexExpr {
    /// The expression itself.
    Affine(Affine),
    /// `floor(a / d)`.
    Div(Affine, u64),
    /// `a - d * floor(a / d)`.
    Mod(Affine, u64),
    /// The lesser.
    Min(Affine, Affine),
    /// The greater.
    Max(Affine, Affine),
    /// `a`, promised to satisfy `lo <= a < hi` where interval analysis cannot see it (after trimmed loop bounds, or
    /// inside an `if` that tests it). The interpreter checks it; verifier and emitter trust it, so whoever makes one has to
    /// prove it: a wrong promise is an access out of bounds.
    Within(Affine, i64, i64),
}

/// The right-hand side of a [`Stmt::Let`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// A constant.
    Const(Lit),
    /// An index as an I64 value.
    Index(Affine),
    /// Bool: `lo <= at < hi`.
    InRange {
        /// The index.
        at: Affine,
        /// Inclusive lower bound.
        lo: i64,
        /// Exclusive upper bound.
        hi: i64,
    },
    /// Load of an element (U8 as I32).
    Load(Place),
    /// Load where `guard` (Bool) is true, `other` elsewhere; memory is not touched there, so the place may be out of
    /// bounds (padding).
    LoadIf {
        /// Where from.
        place: Place,
        /// Which lanes.
        guard: Value,
        /// The other lanes' value.
        other: Value,
    },
    /// Unary operation, of the operand's type.
    Un(UnOp, Value),
    /// Binary operation on two values of one type, which is the result's.
    Bin(BinOp, Value, Value),
    /// Comparison of two numbers of one type (`Eq`, `Ne` also of Bool), a Bool.
    Cmp(CmpOp, Value, Value),
    /// `cond ? a : b`, bit by bit copies.
    Select(Value, Value, Value),
    /// `a * b + c` (floats), with one rounding where the CPU has fused multiply-add and two elsewhere.
    MulAdd(Value, Value, Value),
    /// Conversion. Float to integer truncates and saturates, NaN becomes 0; wider to narrower integers wrap (to `U8`:
    /// an I32 in 0..=255); to Bool: `!= 0` (true for NaN); from Bool: 0 or 1.
    Cast(Value, DType),
    /// Same bits, between F32 and I32 or F64 and I64.
    Bitcast(Value, DType),
    /// A random F32, a function of its operands only: see `dl_ir::random`.
    Random {
        /// The distribution.
        dist: Dist,
        /// Seed, I64.
        seed: Value,
        /// Step, I64.
        step: Value,
        /// Distinguishes the draws of one program.
        stream: u32,
        /// The number of the element.
        index: Affine,
    },
}

/// Distributions of [`Expr::Random`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dist {
    /// Uniform in [0, 1), a multiple of 2^-24.
    Uniform,
    /// Standard normal.
    Normal,
}

/// Unary operations; on floats unless noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnOp {
    /// Negation (numbers; integers wrap).
    Neg,
    /// Absolute value (numbers; integers wrap).
    Abs,
    /// Logical (Bool) or bitwise (integers) complement.
    Not,
    /// Square root.
    Sqrt,
    /// `1 / sqrt(x)`.
    Rsqrt,
    /// Round down.
    Floor,
    /// Round up.
    Ceil,
    /// Round to nearest, ties to even.
    Round,
    /// Round towards zero.
    Trunc,
    /// `e^x`.
    Exp,
    /// `e^x - 1`.
    Expm1,
    /// Natural logarithm.
    Log,
    /// `ln(1 + x)`.
    Log1p,
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// Error function.
    Erf,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
}

/// Binary operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinOp {
    /// Sum (integers wrap).
    Add,
    /// Difference (integers wrap).
    Sub,
    /// Product (integers wrap).
    Mul,
    /// Quotient. Integers truncate; by zero gives 0 and the least value by -1 wraps.
    Div,
    /// Remainder with the sign of the dividend, as `fmod`. Integers: by zero gives 0.
    Rem,
    /// Lesser; NaN if either is.
    Min,
    /// Greater; NaN if either is.
    Max,
    /// Power of floats.
    Pow,
    /// Bitwise (integers) or logical (Bool) and.
    And,
    /// Bitwise or logical or.
    Or,
    /// Bitwise or logical exclusive or.
    Xor,
    /// Shift left (integers); the amount is a constant value less than the width.
    Shl,
    /// Logical shift right.
    Shr,
    /// Arithmetic shift right.
    Sar,
    /// The high half of the product of two I32 taken as unsigned.
    MulHiU,
    /// `a * 2^b` of F32, rounded once, where `1/4 <= |a| <= 4` and `b` is an integer from -200 to 200, or `a` is NaN.
    /// What else it gives is not specified.
    Scale,
}

/// Comparisons: signed for integers, ordered for floats except `Ne`, which is true if an operand is NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CmpOp {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

impl Lit {
    /// An F32 constant.
    pub fn f32(x: f32) -> Lit {
        Lit { dtype: DType::F32, bits: u64::from(x.to_bits()) }
    }

    /// An F64 constant.
    pub fn f64(x: f64) -> Lit {
        Lit { dtype: DType::F64, bits: x.to_bits() }
    }

    /// An I32 constant.
    pub fn i32(x: i32) -> Lit {
        Lit { dtype: DType::I32, bits: u64::from(x as u32) }
    }

    /// An I64 constant.
    pub fn i64(x: i64) -> Lit {
        Lit { dtype: DType::I64, bits: x as u64 }
    }

    /// A Bool constant.
    pub fn bool(x: bool) -> Lit {
        Lit { dtype: DType::Bool, bits: u64::from(x) }
    }
}

/// The type that a value has after a load from memory of type `memory`: bytes widen to I32.
pub fn value_type(memory: DType) -> DType {
    if memory == DType::U8 { DType::I32 } else { memory }
}
