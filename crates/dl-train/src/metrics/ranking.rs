use ndarray::{ArrayRef1, ArrayRef2};

use super::{MetricError, binary, check_lengths};

/// The area under the ROC curve: how probably a random sample of class 1 scores above a random one of class 0, ties
/// counting half. `scores` `[N]` in any unit, `labels` `[N]` 0 or 1.
///
/// # Errors
/// If there are no samples, the lengths differ, a label is not 0 or 1, a score is NaN, or a class does not occur.
///
/// ```
/// use dl_train::metrics::roc_auc;
/// use ndarray::array;
/// assert_eq!(roc_auc(&array![0.1_f32, 0.4, 0.35, 0.8], &array![0, 0, 1, 1])?, 0.75);
/// # Ok::<(), dl_train::metrics::MetricError>(())
/// ```
pub fn roc_auc<T: Copy + Into<f64>>(scores: &ArrayRef1<T>, labels: &ArrayRef1<i64>) -> Result<f64, MetricError> {
    area_under_roc(&Ranking::new(scores, labels, binary)?, 1)
}

/// [`roc_auc`] of each class against all others, averaged over the classes. `scores` `[N, C]`, `labels` `[N]`.
///
/// # Errors
/// As for [`roc_auc`]; every one of the `C` classes must occur among the labels.
///
/// ```
/// use dl_train::metrics::roc_auc_one_vs_rest;
/// use ndarray::array;
/// let scores = array![[0.8_f32, 0.1, 0.1], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4]];
/// assert_eq!(roc_auc_one_vs_rest(&scores, &array![0, 1, 2])?, 1.0);
/// # Ok::<(), dl_train::metrics::MetricError>(())
/// ```
pub fn roc_auc_one_vs_rest<T: Copy + Into<f64>>(
    scores: &ArrayRef2<T>,
    labels: &ArrayRef1<i64>,
) -> Result<f64, MetricError> {
    check_lengths("rows of scores", scores.nrows(), "labels", labels.len())?;
    let classes = scores.ncols();
    let areas = scores.columns().into_iter().enumerate().map(|(class, column)| {
        let is_class = |index, label| match usize::try_from(label) {
            Ok(label) if label < classes => Ok(label == class),
            _ => Err(MetricError::Label { index, label, classes }),
        };
        area_under_roc(&Ranking::new(&column, labels, is_class)?, class)
    });
    Ok(areas.sum::<Result<f64, _>>()? / classes as f64)
}

/// The mean precision over the samples of class 1 when samples are taken by falling score, without interpolation.
/// `scores` `[N]` in any unit, `labels` `[N]` 0 or 1. 0 if no sample is of class 1.
///
/// # Errors
/// If there are no samples, the lengths differ, a label is not 0 or 1, or a score is NaN.
///
/// ```
/// use dl_train::metrics::average_precision;
/// use ndarray::array;
/// let value = average_precision(&array![0.1_f32, 0.4, 0.35, 0.8], &array![0, 0, 1, 1])?;
/// assert!((value - 5.0 / 6.0).abs() < 1e-12);
/// # Ok::<(), dl_train::metrics::MetricError>(())
/// ```
pub fn average_precision<T: Copy + Into<f64>>(
    scores: &ArrayRef1<T>,
    labels: &ArrayRef1<i64>,
) -> Result<f64, MetricError> {
    let ranking = Ranking::new(scores, labels, binary)?;
    let (mut above, mut taken, mut sum) = (0, 0, 0.0);
    for (inside, outside) in ranking.falling() {
        above += inside;
        taken += inside + outside;
        sum += inside as f64 * above as f64 / taken as f64;
    }
    Ok(if above == 0 { 0.0 } else { sum / above as f64 })
}

/// Scores from highest to lowest, each with whether its sample is of the class.
struct Ranking {
    sorted: Vec<(f64, bool)>,
}

impl Ranking {
    fn new<T: Copy + Into<f64>>(
        scores: &ArrayRef1<T>,
        labels: &ArrayRef1<i64>,
        is_class: impl Fn(usize, i64) -> Result<bool, MetricError>,
    ) -> Result<Self, MetricError> {
        check_lengths("scores", scores.len(), "labels", labels.len())?;
        let pairs = scores.iter().zip(labels).enumerate().map(|(index, (&score, &label))| {
            let score = score.into();
            if score.is_nan() { Err(MetricError::NotANumber { index }) } else { Ok((score, is_class(index, label)?)) }
        });
        let mut sorted = pairs.collect::<Result<Vec<_>, _>>()?;
        // No NaN is left, and adding 0 makes both zeros one.
        sorted.sort_by(|a, b| (b.0 + 0.0).total_cmp(&(a.0 + 0.0)));
        Ok(Self { sorted })
    }

    /// How many samples of the class, and how many others, have each distinct score, highest first.
    fn falling(&self) -> impl Iterator<Item = (usize, usize)> {
        self.sorted.chunk_by(|a, b| a.0 == b.0).map(|ties| {
            let inside = ties.iter().filter(|(_, is_class)| *is_class).count();
            (inside, ties.len() - inside)
        })
    }
}

fn area_under_roc(ranking: &Ranking, class: usize) -> Result<f64, MetricError> {
    let (mut above, mut others, mut doubled) = (0_u128, 0_u128, 0_u128);
    for (inside, outside) in ranking.falling() {
        let (inside, outside) = (inside as u128, outside as u128);
        doubled += outside * (2 * above + inside);
        above += inside;
        others += outside;
    }
    if above == 0 || others == 0 {
        return Err(MetricError::OneSided { class, all: others == 0 });
    }
    Ok(doubled as f64 / 2.0 / (above * others) as f64)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, array};

    use super::*;

    #[test]
    fn ties_count_half_and_infinities_are_scores() {
        let labels = array![0, 1, 0, 1];
        assert_eq!(roc_auc(&array![1.0_f32, 1.0, 1.0, 1.0], &labels).unwrap(), 0.5);
        assert_eq!(roc_auc(&array![-0.0_f32, 0.0, 0.0, -0.0], &labels).unwrap(), 0.5);
        assert_eq!(roc_auc(&array![f64::NEG_INFINITY, f64::INFINITY, 0.0, 1.0], &labels).unwrap(), 1.0);
        assert_eq!(average_precision(&array![1.0_f32, 1.0, 1.0, 1.0], &labels).unwrap(), 0.5);
        assert_eq!(average_precision(&array![1.0_f32, 2.0], &array![0, 0]).unwrap(), 0.0);
    }

    #[test]
    fn bad_input_is_told() {
        let scores = array![0.1_f32, 0.2];
        let message = |labels: Array1<i64>| roc_auc(&scores, &labels).unwrap_err().to_string();
        assert!(message(array![1]).starts_with("there are 2 scores, but 1 labels"));
        assert_eq!(message(array![0, 2]), "class 2 of sample 1 is out of range: the 2 classes are 0 to 1");
        assert!(message(array![1, 1]).starts_with("all samples are of class 1;"));
        assert!(message(array![0, 0]).starts_with("no sample is of class 1;"));
        assert_eq!(roc_auc(&array![0.0, f32::NAN], &array![0, 1]), Err(MetricError::NotANumber { index: 1 }));
        let absent = roc_auc_one_vs_rest(&array![[0.5_f32, 0.3, 0.2], [0.1, 0.8, 0.1]], &array![0, 1]);
        assert_eq!(absent, Err(MetricError::OneSided { class: 2, all: false }));
        let out = roc_auc_one_vs_rest(&array![[0.5_f32, 0.5]], &array![-1]);
        assert_eq!(out, Err(MetricError::Label { index: 0, label: -1, classes: 2 }));
        assert_eq!(roc_auc(&Array1::<f32>::zeros(0), &array![]), Err(MetricError::Empty));
    }
}
