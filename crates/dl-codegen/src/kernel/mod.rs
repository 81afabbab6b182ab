//! The kernel IR: data types, builder, text form, verifier, reference interpreter, expansion of compound operations.

pub mod affine;
pub mod build;
mod dtype;
pub mod ir;

pub use affine::{Affine, Var};
pub use build::Builder;
pub use dtype::DType;
pub use ir::*;
