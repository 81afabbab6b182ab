//! The graph of `dl`: symbolic dimensions, types, the op table, autodiff, passes, layers and the evaluator.

mod attrs;
pub mod autodiff;
mod build;
mod dim;
mod error;
pub mod eval;
mod graph;
mod module;
#[cfg(feature = "nn")]
pub mod nn;
mod op;
mod ops;
pub mod passes;
pub mod plan;
pub mod random;
pub mod scan;
mod storage;
pub mod suggest;
pub mod text;
mod types;
mod verify;

pub use attrs::{Attr, AttrKind, Attrs};
pub use build::{Builder, Built, infer};
pub use dim::{Bindings, Dim, DimError, Facts};
pub use error::{OpError, Problem, shape};
pub use graph::{Graph, Input, InputKind, Loc, Node, NodeId, Output, Role};
pub use module::{FnKind, Function, Init, LayerDecl, Module, ParamDecl, VERSION};
pub use op::{Arity, Class, Cotangents, Eval, Infer, Op, OpDef, Sample, Vjp, VjpArgs};
pub use storage::{Order, Storage};
pub use types::{DType, Scalar, Type};
pub use verify::{VerifyError, verify};
