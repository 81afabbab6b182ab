//! The runtime of `dl`: loading and binding a program, memory, worker threads, execution, parameters, optimizers and
//! checkpoints.

mod array;
mod assemble;
mod bind;
mod cache;
mod checkpoint;
mod compilation;
mod compile;
mod denormals;
mod error;
mod exec;
mod fresh;
mod interpret;
mod kernels;
mod layout;
mod loops;
mod memory;
mod model;
pub mod optim;
mod options;
mod params;
mod pool;
mod profile;
mod program;
mod prologue;
mod rounds;
mod summary;
mod widen;

pub use array::{AnyArray, Element, Gradients, IntoArg, Outputs, spare};
pub use checkpoint::{LoadReport, Misfit};
pub use compilation::{Compilation, Phases};
pub use dl_codegen::cache::CodeCache;
pub use error::{Error, Result};
pub use model::{Model, Parameter, Source};
pub use optim::{Adadelta, Adagrad, Adam, AdamW, Adamax, Groups, Lamb, Lion, NAdam, Optimizer, RAdam, RmsProp, Sgd};
pub use options::{Dump, Isa, Options};
pub use params::Seed;
pub use pool::{Pool, available_threads};
pub use summary::{Summary, SummaryRow};
