//! The runtime of dl: binding, memory, worker threads, execution, parameters, optimizers and checkpoints
mod checkpoint;
mod denormals;
mod error;
mod memory;
mod options;
mod pool;
