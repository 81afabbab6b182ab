//! Training with `dl`: data sets, metrics, progress, learning rates.
//!
//! - [`data`]: sets of samples read in shuffled batches, MNIST and tables (feature `csv`) from their files, text, splits.
//! - [`metrics`]: how good predictions are, by the definitions of scikit-learn.
//! - [`picture`]: images in PNG files.
//! - [`progress`]: a progress bar with the running loss.
//! - [`schedule`]: learning rates that change as training goes on.
//!
//! Everything works on plain [`ndarray`] arrays, so none of it needs a model:
//!
//! ```
//! use dl_train::data::{Dataset, Order::Shuffle};
//! use dl_train::metrics::accuracy;
//! use ndarray::array;
//!
//! let scores = array![[2.0_f32, 1.0], [0.5, 3.0], [4.0, 0.0]];
//! assert_eq!(accuracy(&scores, &array![0, 1, 1]), 2.0 / 3.0);
//! assert_eq!(scores.batches(2, Shuffle(0)).map(|x| x.nrows()).collect::<Vec<_>>(), [2, 1]);
//! ```
//!
//! The errors of this crate become a [`dl_runtime::Error`] by `?`, so that one `Result` serves a whole program.

pub mod data;
pub mod metrics;
pub mod picture;
pub mod progress;
pub mod schedule;
