//! The graph of `dl`: symbolic dimensions, types, the op table, autodiff, passes, layers and the evaluator.

mod dim;
mod types;

pub use dim::{Bindings, Dim, DimError, Facts};
pub use types::{DType, Scalar, Type};
