//! Kernels of dl: loop nests, lowering from fused groups and machine code through Cranelift.
//!
//! [`kernel`] is the second of the two intermediate representations: a kernel is a loop nest over expressions whose
//! lane count is left to the emitter.

pub mod abi;
pub mod cache;
mod emit;
mod error;
pub mod isa;
pub mod jit;
pub mod kernel;
pub mod lower;
mod queue;
#[doc(hidden)]
pub mod x64;

pub use error::Error;
pub use isa::{Isa, Level};
