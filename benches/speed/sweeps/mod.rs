//! Single operations over many sizes.

mod convolutions;
mod products;
mod rows;

use crate::task::Task;

/// A name, and what it stands for.
pub type Sweep = (&'static str, fn() -> Vec<Task>);

/// All sweeps.
pub const SWEEPS: [Sweep; 3] =
    [("products", products::tasks), ("convolutions", convolutions::tasks), ("rows", rows::tasks)];
