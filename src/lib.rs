//! Deep learning in Rust: networks declared in [`model!`], checked at compile time, compiled for the CPU at hand.
//!
//! [`data`], [`metrics`] and [`progress`] help with training; the [`prelude`] brings in what almost every program uses.

pub use dl_runtime::{
    Adam, AdamW, AnyArray, Compilation, Element, Error, Gradients, IntoArg, LoadReport, Model, Optimizer,
    OptimizerState, Options, Parameter, Pool, Result, Seed, Sgd, Summary, Update,
};
pub use dl_train::{data, metrics, progress};
pub use ndarray;

/// Declares models: layers, and functions that are checked when the program is compiled.
///
/// ```ignore
/// dl::model! {
///     /// Two layers.
///     pub model Classifier {
///         let net = [Linear(784 => 128), Relu, Linear(128 => 10)];
///
///         pub fn forward(x: f32[N, 784]) -> f32[N, 10] {
///             net(x)
///         }
///
///         #[train]
///         pub fn loss(x: f32[N, 784], label: i64[N]) -> f32 {
///             forward(x).cross_entropy(label)
///         }
///     }
/// }
/// ```
///
/// Each model becomes a struct that dereferences to [`Model`]. Its `new` takes a value for each `dim` and a [`Seed`];
/// each `pub fn` becomes a method; for one marked `#[train]` there are also `train_NAME`, one step of training with an
/// [`Optimizer`], and `grad_NAME`, which returns the [`Gradients`].
#[macro_export]
macro_rules! model {
    ($($tokens:tt)*) => {
        $crate::__private::model! { [$crate] $($tokens)* }
    };
}

/// What expansions of [`model!`] name. Not for direct use: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use dl_runtime::{Error, Gradients, IntoArg, Model, Optimizer, Seed, Source};
    pub use ndarray;
}

/// What almost every program uses: `use dl::prelude::*;`.
pub mod prelude {
    pub use dl_runtime::{Adam, AdamW, Gradients, Optimizer, Seed, Sgd};
    pub use dl_train::data::Order::{self, InOrder, Shuffle};
    pub use dl_train::data::{Dataset, Mnist};
    pub use dl_train::metrics::{ConfusionMatrix, accuracy};
    pub use dl_train::progress::Progress;
    pub use ndarray::{Array1, Array2, Array3, Array4};
}
