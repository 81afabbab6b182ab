//! Wide vectors on x86-64: machine code for vector loops and products, with AVX-512 or with AVX2 and FMA.
//!
//! Cranelift compiles a kernel down to its innermost vector loops and contractions, as its vectors have 128 bits. Each
//! of those becomes a *leaf*, a function that Cranelift's code calls with a table of addresses and scalars; what a leaf
//! cannot do stays with Cranelift.
//!
//! * `asm` and `op`: instructions and their encoding.
//! * `lir` and `alloc` with `liveness` and `loops`: vector code over names, and registers for them.
//! * `body`, `expr`, `access`, `address`, `cast`: the statements of a loop's body as vector code; `plain` is what is
//!   simplified first.
//! * `vector`, `nest`, `contract` and `transpose`: the kinds of leaves; `tile` and `epilogue` belong to contractions.

mod access;
mod address;
mod alloc;
pub mod asm;
mod body;
mod cast;
mod contract;
mod epilogue;
mod expr;
mod fetch;
mod general;
mod lir;
mod liveness;
mod loops;
mod nest;
pub mod op;
mod plain;
mod reduce;
mod serial;
mod tile;
mod transpose;
mod vector;

use crate::kernel::{Affine, BufId, DType, Lit, Value};

/// What a leaf is given in its table, eight bytes each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arg {
    /// The address of an element: the terms of variables from outside the leaf.
    Pointer(BufId, Affine),
    /// A scalar from outside; truth values as 0 or 1.
    Value(Value),
    /// An index from outside.
    Index(Affine),
    /// Room for a scalar that the leaf computes.
    Out(Value),
}

/// The machine code of a leaf: position independent, to be placed at a multiple of 64 and called by the System V
/// convention with the address of its table.
#[derive(Clone, Debug)]
pub struct Leaf {
    pub code: Vec<u8>,
    pub args: Vec<Arg>,
}

/// What the leaf cannot do: Cranelift does it.
#[derive(Clone, Copy, Debug)]
pub struct Unsupported;

type Result<T> = std::result::Result<T, Unsupported>;

/// What is known of a value from outside of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    Const(Lit),
    Scalar,
}

/// Whether the elements of a value have 64 bits.
fn is_wide(dtype: DType) -> bool {
    matches!(dtype, DType::F64 | DType::I64)
}

pub use contract::contract;
pub use nest::nest;
pub use transpose::transpose;
pub use vector::vector;
