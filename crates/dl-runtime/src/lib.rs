//! The runtime of `dl`: loading and binding a program, memory, worker threads, execution, parameters, optimizers and
//! checkpoints.

mod array;
mod checkpoint;
mod denormals;
mod error;
mod memory;
mod options;
mod pool;

pub use array::{AnyArray, Element, Gradients, IntoArg, Outputs};
pub use checkpoint::{LoadReport, Misfit};
pub use error::{Error, Result};
pub use options::{Dump, Isa, Options};
pub use pool::{Aborted, Pool, Task, Worker, available_threads};
