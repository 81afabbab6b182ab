//! The kernel IR: data types, builder, text form, verifier, reference interpreter, expansion of compound operations.

pub mod affine;
pub mod build;
pub mod expand;
pub mod interp;
pub mod ir;
pub mod math;
pub mod ops;
pub mod parse;
mod philox;
pub mod product;
pub mod ranges;
pub mod text;
mod trig;
mod vecmath;
pub mod verify;
pub mod walk;

pub use affine::{Affine, Var};
pub use build::Builder;
pub use dl_ir::DType;
pub use ir::*;
pub use product::*;
