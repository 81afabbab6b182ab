//! Training with `dl`: data sets, batches.
//!
//! - [`data`]: sets of samples read in shuffled batches, and MNIST from its files.

pub mod data;
