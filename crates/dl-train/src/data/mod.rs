//! Sets of samples, read in batches.
//!
//! A [`Dataset`] is anything whose samples can be gathered by index: an array (along its first axis), several arrays
//! [zipped](zip), or a set of one's own such as [`Digits`]. [`Dataset::batches`] goes over it once:
//!
//! ```
//! use dl_train::data::{Dataset, Order::Shuffle, zip};
//! use ndarray::{Array1, Array2};
//!
//! let (features, targets) = (Array2::<f32>::zeros((10, 3)), Array1::<f32>::zeros(10));
//! let samples = zip((features, targets))?;
//! for epoch in 0..2 {
//!     for (x, y) in samples.batches(4, Shuffle(epoch)) {
//!         assert_eq!(x.nrows(), y.len()); // 4, 4, 2
//!     }
//! }
//! # Ok::<(), dl_train::data::DataError>(())
//! ```

mod batches;
mod error;
mod idx;
mod mnist;
mod scale;
mod split;
#[cfg(feature = "csv")]
mod table;
mod text;

pub use batches::{Batches, Dataset, Order, Zip, Zippable, zip};
pub use error::DataError;
pub use mnist::{Digits, Mnist};
pub use scale::StandardScaler;
pub use split::{Split, stratified_folds, stratified_split};
#[cfg(feature = "csv")]
pub use table::Table;
pub use text::{Characters, Windows};
