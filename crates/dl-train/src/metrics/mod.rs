//! How good predictions are. Definitions and edge cases are those of scikit-learn unless a function says otherwise.
//!
//! Scores are arrays of `f32` or `f64`, computed with in `f64`; labels are `i64` classes counted from 0. [`accuracy`]
//! and [`top_k_accuracy`] return a plain number for the training loop; everything else returns a [`MetricError`] for
//! input on which it is not defined.
//!
//! ```
//! use dl_train::metrics::{Average, ConfusionMatrix, accuracy, roc_auc};
//! use ndarray::array;
//!
//! let scores = array![[2.0_f32, 1.0], [0.5, 3.0], [4.0, 0.0]];
//! let labels = array![0_i64, 1, 1];
//! assert_eq!(accuracy(&scores, &labels), 2.0 / 3.0);
//! assert_eq!(roc_auc(&scores.column(1), &labels)?, 0.5);
//!
//! let confusion = ConfusionMatrix::from_scores(&scores, &labels)?;
//! assert_eq!(confusion.recall_of(1), 0.5);
//! assert_eq!(confusion.f1(Average::Micro), 2.0 / 3.0);
//! println!("{confusion}");
//! # Ok::<(), dl_train::metrics::MetricError>(())
//! ```

mod confusion;
mod error;
mod probability;
mod ranking;
mod regression;

use std::cmp::Ordering;

use ndarray::{Array1, ArrayRef1, ArrayRef2, ArrayView1};

pub use confusion::{Average, ConfusionMatrix};
pub use error::MetricError;
pub use probability::{brier, log_loss, multiclass_log_loss};
pub use ranking::{average_precision, roc_auc, roc_auc_one_vs_rest};
pub use regression::{explained_variance, mae, mse, r2};

/// The share of rows of `scores` `[N, C]` whose largest element stands at its label: [`predictions`] that are right.
///
/// Scores may be logits or probabilities. NaN if there are no rows, or if `labels` has not one element for each;
/// [`ConfusionMatrix::from_scores`] says which. A label that is not a column counts as wrong.
///
/// ```
/// use dl_train::metrics::accuracy;
/// use ndarray::array;
/// let logits = array![[1.0_f32, 2.0], [3.0, -1.0], [0.0, 4.0], [0.0, 4.0]];
/// assert_eq!(accuracy(&logits, &array![1, 0, 1, 0]), 0.75);
/// assert!(accuracy(&logits, &array![1, 0]).is_nan());
/// ```
pub fn accuracy<T: Copy + Into<f64>>(scores: &ArrayRef2<T>, labels: &ArrayRef1<i64>) -> f64 {
    top_k_accuracy(scores, labels, 1)
}

/// The share of rows of `scores` `[N, C]` whose label is among the `k` largest elements.
///
/// Of equal scores the lower column goes first and NaN ranks above every number, so that `k = 1` agrees with
/// [`predictions`]. NaN as for [`accuracy`].
///
/// ```
/// use dl_train::metrics::top_k_accuracy;
/// use ndarray::array;
/// let scores = array![[0.5_f32, 0.3, 0.2], [0.1, 0.2, 0.7]];
/// let labels = array![1, 0];
/// assert_eq!([1, 2, 3].map(|k| top_k_accuracy(&scores, &labels, k)), [0.0, 0.5, 1.0]);
/// ```
pub fn top_k_accuracy<T: Copy + Into<f64>>(scores: &ArrayRef2<T>, labels: &ArrayRef1<i64>, k: usize) -> f64 {
    if scores.nrows() != labels.len() {
        return f64::NAN;
    }
    let hit = |(row, &label)| place(row, label).is_some_and(|place| place < k);
    let hits = scores.rows().into_iter().zip(labels).filter(|&pair| hit(pair)).count();
    hits as f64 / labels.len() as f64
}

/// The column of the largest element in each row of `scores` `[N, C]`: the predicted classes, `[N]`.
///
/// The first of equal elements; NaN counts as the largest, as in PyTorch. 0 for rows without elements.
///
/// ```
/// use dl_train::metrics::predictions;
/// use ndarray::array;
/// assert_eq!(predictions(&array![[0.1_f32, 0.9], [0.5, 0.5]]), array![1, 0]);
/// ```
pub fn predictions<T: Copy + Into<f64>>(scores: &ArrayRef2<T>) -> Array1<i64> {
    let largest = |row: ArrayView1<T>| {
        let ranks = row.iter().map(|&score| rank(score)).enumerate();
        ranks.reduce(|best, other| if other.1.total_cmp(&best.1).is_gt() { other } else { best })
    };
    scores.rows().into_iter().map(|row| largest(row).map_or(0, |(column, _)| column as i64)).collect()
}

/// How many columns of a row rank above that of the label; none if it has no column.
fn place<T: Copy + Into<f64>>(row: ArrayView1<T>, label: i64) -> Option<usize> {
    let label = usize::try_from(label).ok()?;
    let own = rank(*row.get(label)?);
    let above = row.iter().enumerate().filter(|&(column, &score)| match rank(score).total_cmp(&own) {
        Ordering::Equal => column < label,
        order => order.is_gt(),
    });
    Some(above.count())
}

/// The score as a number that [`f64::total_cmp`] orders as PyTorch does: zeros equal, NaN of either sign on top.
fn rank<T: Into<f64>>(score: T) -> f64 {
    let score = score.into();
    if score.is_nan() { f64::NAN } else { score + 0.0 }
}

/// The binary label as `true` or `false`.
fn binary(index: usize, label: i64) -> Result<bool, MetricError> {
    match label {
        0 | 1 => Ok(label == 1),
        _ => Err(MetricError::Label { index, label, classes: 2 }),
    }
}

/// Refuses inputs of different lengths or without elements.
fn check_lengths(what: &'static str, len: usize, other: &'static str, other_len: usize) -> Result<(), MetricError> {
    if len != other_len {
        return Err(MetricError::Lengths { what, len, other, other_len });
    }
    if len == 0 { Err(MetricError::Empty) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array, s};

    use super::*;

    #[test]
    fn accuracy_takes_views_and_refuses_to_guess() {
        let scores = array![[0.1_f64, 0.9, 0.0], [0.8, 0.1, 0.1], [0.2, 0.3, 0.5]];
        let labels = array![1, 0, 0];
        assert_eq!(accuracy(&scores, &labels), 2.0 / 3.0);
        assert_eq!(accuracy(&scores.slice(s![..2, ..]), &labels.slice(s![..2])), 1.0);
        assert_eq!(accuracy(&scores, &array![-1, 3, i64::MAX]), 0.0);
        assert!(accuracy(&scores, &array![1]).is_nan());
        assert!(accuracy(&Array2::<f32>::zeros((0, 3)), &array![]).is_nan());
        assert_eq!(accuracy(&Array2::<f32>::zeros((2, 0)), &array![0, 0]), 0.0);
    }

    #[test]
    fn ties_and_nan_go_as_in_pytorch() {
        let nan = f32::NAN;
        let scores = array![[1.0, 1.0, 0.0], [0.0, nan, f32::INFINITY], [-nan, nan, 9.0], [-0.0, 0.0, -1.0]];
        assert_eq!(predictions(&scores), array![0, 1, 0, 0]);
        assert_eq!(accuracy(&scores, &predictions(&scores)), 1.0);
        assert_eq!(accuracy(&scores, &array![1, 2, 1, 1]), 0.0);
    }

    #[test]
    fn top_k_grows_with_k_up_to_one() {
        let scores = array![[3.0_f32, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]];
        let shares = [0, 1, 2, 3, 99].map(|k| top_k_accuracy(&scores, &array![0, 1, 2], k));
        assert_eq!(shares, [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0, 1.0]);
    }
}
