//! Deep learning in Rust: networks declared in `model!`, checked at compile time, compiled for the CPU at hand.
//!
//! [`data`], [`metrics`] and [`progress`] help with training; the [`prelude`] brings in what almost every program uses.

pub use dl_runtime::{Error, Result};
pub use dl_train::{data, metrics, progress};
pub use ndarray;

/// What almost every program uses: `use dl::prelude::*;`.
pub mod prelude {
    pub use dl_train::data::Order::{self, InOrder, Shuffle};
    pub use dl_train::data::{Dataset, Mnist};
    pub use dl_train::metrics::{ConfusionMatrix, accuracy};
    pub use dl_train::progress::Progress;
    pub use ndarray::{Array1, Array2, Array3, Array4};
}
