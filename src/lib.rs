//! Deep learning in Rust: networks declared in [`model!`], checked at compile time, compiled for the CPU at hand.
//!
//! The [`guide`] is the reference of the language: its items and expressions, [layers](guide::layers),
//! [methods and functions of tensors](guide::tensors), [losses](guide::losses), [optimizers and
//! schedules](guide::training), and what is what [coming from PyTorch](guide::from_pytorch).
//!
//! [`data`], [`metrics`], [`picture`], [`progress`] and [`schedule`] help with training, [`optim`] holds the optimizers and
//! says how to
//! write one; the [`prelude`] brings in what almost every program uses.

pub use dl_runtime::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, AnyArray, CodeCache, Compilation, Dump, Element, Error, Gradients, Groups,
    IntoArg, Isa, Lamb, Lion, LoadReport, Misfit, Model, NAdam, Optimizer, Options, Parameter, Phases, Pool, RAdam,
    Result, RmsProp, Seed, Sgd, Summary, SummaryRow, optim,
};
pub use dl_train::{data, metrics, picture, progress, schedule};
pub use ndarray;

/// Declares models: a struct with typed methods for each, checked as a whole at compile time.
///
/// ```no_run
/// use dl::prelude::*;
///
/// dl::model! {
///     /// Classifies 28x28 grey digits.
///     pub model Net {
///         let hidden = Linear(28 * 28 => 128);
///         let head = [Relu, Dropout(0.2), Linear(128 => 10)];
///
///         pub fn forward(x: f32[N, 1, 28, 28]) -> f32[N, 10] {
///             head(hidden(x.flatten()))
///         }
///
///         #[train]
///         pub fn loss(x: f32[N, 1, 28, 28], label: i64[N]) -> f32 {
///             forward(x).cross_entropy(label)
///         }
///     }
/// }
///
/// fn main() -> dl::Result<()> {
///     let mut net = Net::new(Seed(0))?;
///     let mut adam = Adam::new(1e-3);
///     let (x, label) = (Array4::<f32>::zeros((8, 1, 28, 28)), Array1::<i64>::zeros(8));
///     let loss: f32 = net.train_loss(&mut adam, &x, &label)?; // one step: forward, backward, update
///     let logits: Array2<f32> = net.forward(&x)?;
///     println!("{loss} {logits}");
///     net.save("net.safetensors")
/// }
/// ```
///
/// # Items of a model
///
/// | item | meaning |
/// | --- | --- |
/// | `let name = Layer(..);` | a [layer](guide::layers), a sequence `[A, B(..), C]` or a repetition `[Layer(..); 4]` |
/// | `const NAME = 8;` | a number |
/// | `dim NAME;` | a size that is an argument of `new`, under its name in lower case, before the seed |
/// | `dtype f64;` | the element type of all parameters and buffers, `f32` if left out |
/// | `require DIM % HEADS == 0;` | a fact that shapes may rely on; sizes that break it are an `Err` |
/// | `block Name(DIM, HEADS = 8) { .. }` | a reusable module with `let`s of its own and a `fn forward`, declared like a layer |
/// | `fn name(x: f32[N, 10]) -> f32[N] { .. }` | a function; with `pub` it is a method of the struct, without it only other functions call it |
/// | `#[train] pub fn loss(..) -> f32 { .. }` | also makes `train_loss(&mut optimizer, ..)`, in training mode, and `grad_loss(..)`, in evaluation mode |
/// | `#[train(only = head)]` | updates only the parameters of `head`; several names are separated by commas |
///
/// Parameters are named as in PyTorch: `name.weight`, `name.0.weight`. Upper-case names in shapes that are not declared are
/// symbolic dimensions, bound by the arguments of each call. Bodies are Rust expressions: operators broadcast as in
/// NumPy, [methods and functions](guide::tensors) and [losses](guide::losses) take arguments by position or by name
/// (`x.max_pool2d(2, stride = 1)`), and calling a layer twice shares its weights.
/// `scan(init, xs, axis = 1, |state, x| ..)` is a loop along an axis; the [`guide`] says more of it and of everything else.
///
/// # Methods of the struct
///
/// `new(sizes.., seed)` and `with_options(sizes.., seed, options)`; for each public function `f` a method `f`, `f_into`,
/// which writes over arrays that are there, and `explain_f`, which tells what it was compiled to; for those with
/// `#[train]` also `train_f`, `grad_f` and `explain_train_f(&optimizer, ..)`; and those of [`Model`], to which the struct
/// dereferences: `save`, `load`, `summary`, `parameters`. Arguments are references to `ndarray` arrays or views of the
/// declared rank and element type, scalars are plain numbers.
#[macro_export]
macro_rules! model {
    ($($tokens:tt)*) => {
        $crate::__private::model! { [$crate] $($tokens)* }
    };
}

/// What expansions of [`model!`] name. Not for direct use: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use dl_macros::model;
    pub use dl_runtime::{Error, Gradients, IntoArg, Model, Optimizer, Options, Seed, Source, spare};
    pub use ndarray;
}

/// What almost every program uses: `use dl::prelude::*;`.
pub mod prelude {
    pub use dl_runtime::{
        Adadelta, Adagrad, Adam, AdamW, Adamax, Gradients, Groups, Lamb, Lion, NAdam, Optimizer, RAdam, RmsProp, Seed,
        Sgd,
    };
    pub use dl_train::data::Order::{self, InOrder, Shuffle};
    pub use dl_train::data::{Dataset, Mnist};
    pub use dl_train::metrics::{ConfusionMatrix, accuracy};
    pub use dl_train::progress::Progress;
    pub use dl_train::schedule::{CosineAnnealingLr, LinearLr, OneCycleLr, ReduceLrOnPlateau, Schedule, StepLr};
    pub use ndarray::{Array1, Array2, Array3, Array4};
}

pub mod guide;

/// The program of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
