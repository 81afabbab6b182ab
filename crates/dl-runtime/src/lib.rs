//! The runtime of dl: binding, memory, worker threads, execution, parameters, optimizers and checkpoints
