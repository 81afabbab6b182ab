use std::fmt;

use ndarray::{Array2, ArrayRef1, ArrayRef2};

use super::{MetricError, check_lengths, predictions};

/// How often each class was taken for each other: everything that can be said about predicted classes.
///
/// Ratios without a case (the precision of a class that was never predicted) are 0, as in scikit-learn.
/// It prints as a table, labels down and predictions across:
///
/// ```
/// use dl_train::metrics::ConfusionMatrix;
/// use ndarray::array;
/// let confusion = ConfusionMatrix::from_classes(&array![0, 0, 1, 2, 2, 2], &array![0, 1, 1, 2, 2, 0], 3)?;
/// assert_eq!(confusion.to_string(), "\
/// label \\ predicted   0   1   2  recall
///                 0   1   .   1   50.0%
///                 1   1   1   .   50.0%
///                 2   .   .   2  100.0%
///       precision %  50 100  67   66.7% accuracy");
/// # Ok::<(), dl_train::metrics::MetricError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfusionMatrix {
    counts: Array2<u64>,
}

/// How the values of the classes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// The mean over the classes that occur among labels or predictions, each counting the same.
    Macro,
    /// Over all samples as one binary problem; for classes that exclude each other this is the accuracy.
    Micro,
    /// The mean over the classes, each counting as often as it occurs among the labels.
    Weighted,
}

impl ConfusionMatrix {
    /// Of scores `[N, C]` (logits or probabilities), each row's largest being the prediction, against labels `[N]`.
    ///
    /// # Errors
    /// If there are no rows, not one label for each, or a label is not below `C`.
    pub fn from_scores<T: Copy + Into<f64>>(
        scores: &ArrayRef2<T>,
        labels: &ArrayRef1<i64>,
    ) -> Result<Self, MetricError> {
        check_lengths("rows of scores", scores.nrows(), "labels", labels.len())?;
        Self::from_classes(&predictions(scores), labels, scores.ncols())
    }

    /// Of predicted classes `[N]` against labels `[N]`, both from 0 to `classes - 1`.
    ///
    /// # Errors
    /// If there are no samples, the lengths differ, or a class is out of range.
    pub fn from_classes(
        predicted: &ArrayRef1<i64>,
        labels: &ArrayRef1<i64>,
        classes: usize,
    ) -> Result<Self, MetricError> {
        check_lengths("predictions", predicted.len(), "labels", labels.len())?;
        let mut counts = Array2::zeros((classes, classes));
        for (index, (&predicted, &label)) in predicted.iter().zip(labels).enumerate() {
            let class = |label: i64| {
                let class = usize::try_from(label).ok().filter(|&class| class < classes);
                class.ok_or(MetricError::Label { index, label, classes })
            };
            counts[[class(label)?, class(predicted)?]] += 1;
        }
        Ok(Self { counts })
    }

    /// The counts, `[C, C]`: row is label, column is prediction.
    pub fn counts(&self) -> &Array2<u64> {
        &self.counts
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.counts.nrows()
    }

    /// The share of right predictions.
    pub fn accuracy(&self) -> f64 {
        ratio(self.counts.diag().sum(), self.counts.sum())
    }

    /// The mean recall of the classes that occur among the labels.
    pub fn balanced_accuracy(&self) -> f64 {
        mean((0..self.classes()).filter(|&class| self.support_of(class) > 0).map(|class| (self.recall_of(class), 1.0)))
    }

    /// How many samples have this label. 0 for a class that does not exist, as with the next four.
    pub fn support_of(&self, class: usize) -> u64 {
        if class < self.classes() { self.counts.row(class).sum() } else { 0 }
    }

    /// Of the samples predicted as `class`, the share that is of it.
    pub fn precision_of(&self, class: usize) -> f64 {
        ratio(self.hits(class), self.predicted(class))
    }

    /// Of the samples of `class`, the share predicted as it.
    pub fn recall_of(&self, class: usize) -> f64 {
        ratio(self.hits(class), self.support_of(class))
    }

    /// The harmonic mean of precision and recall of `class`.
    pub fn f1_of(&self, class: usize) -> f64 {
        ratio(2 * self.hits(class), self.support_of(class) + self.predicted(class))
    }

    /// Intersection over union: of the samples that are of `class` or predicted as it, the share that is both.
    ///
    /// With a sample for each pixel, what segmentations are judged by. scikit-learn: `jaccard_score`.
    #[doc(alias = "jaccard")]
    pub fn iou_of(&self, class: usize) -> f64 {
        let hits = self.hits(class);
        ratio(hits, self.support_of(class) + self.predicted(class) - hits)
    }

    /// The mean of [`iou_of`](Self::iou_of) over the classes.
    pub fn mean_iou(&self) -> f64 {
        self.average(Average::Macro, Self::iou_of)
    }

    /// [`precision_of`](Self::precision_of), averaged over the classes.
    pub fn precision(&self, average: Average) -> f64 {
        self.average(average, Self::precision_of)
    }

    /// [`recall_of`](Self::recall_of), averaged over the classes.
    pub fn recall(&self, average: Average) -> f64 {
        self.average(average, Self::recall_of)
    }

    /// [`f1_of`](Self::f1_of), averaged over the classes.
    pub fn f1(&self, average: Average) -> f64 {
        self.average(average, Self::f1_of)
    }

    /// Matthews' correlation coefficient of labels and predictions, -1 to 1; 0 if either is constant.
    pub fn mcc(&self) -> f64 {
        let (n, hits, chance) = self.agreement();
        let squares =
            |count: &dyn Fn(usize) -> u64| (0..self.classes()).map(|c| (count(c) as f64).powi(2)).sum::<f64>();
        let labels = n * n - squares(&|class| self.support_of(class));
        let predicted = n * n - squares(&|class| self.predicted(class));
        let scale = (labels * predicted).sqrt();
        if scale == 0.0 { 0.0 } else { (hits * n - chance) / scale }
    }

    /// Cohen's kappa: agreement beyond what the frequencies of the classes explain, at most 1. NaN if labels and
    /// predictions are all of one and the same class.
    pub fn cohen_kappa(&self) -> f64 {
        let (n, hits, chance) = self.agreement();
        (hits * n - chance) / (n * n - chance)
    }

    fn hits(&self, class: usize) -> u64 {
        self.counts.get((class, class)).copied().unwrap_or(0)
    }

    fn predicted(&self, class: usize) -> u64 {
        if class < self.classes() { self.counts.column(class).sum() } else { 0 }
    }

    /// Samples; right predictions; right predictions by chance, times samples.
    fn agreement(&self) -> (f64, f64, f64) {
        let by_chance = |class| self.support_of(class) as f64 * self.predicted(class) as f64;
        let chance = (0..self.classes()).map(by_chance).sum();
        (self.counts.sum() as f64, self.counts.diag().sum() as f64, chance)
    }

    fn average(&self, average: Average, of: fn(&Self, usize) -> f64) -> f64 {
        let occurs = |&class: &usize| self.support_of(class) + self.predicted(class) > 0;
        let classes = (0..self.classes()).filter(occurs);
        match average {
            Average::Macro => mean(classes.map(|class| (of(self, class), 1.0))),
            Average::Weighted => mean(classes.map(|class| (of(self, class), self.support_of(class) as f64))),
            Average::Micro => self.accuracy(),
        }
    }
}

impl fmt::Display for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        const HEAD: &str = "label \\ predicted";
        let head = HEAD.len();
        let classes = 0..self.classes();
        let percent = |ratio: f64| format!("{:.0}", 100.0 * ratio);
        let digits = self.counts.iter().map(|count| count.to_string().len()).max().unwrap_or(1);
        // A column is never narrower than its precision, three digits at most.
        let width = 1 + digits.max(3).max(self.classes().to_string().len());

        write!(f, "{HEAD}")?;
        classes.clone().try_for_each(|class| write!(f, "{class:>width$}"))?;
        writeln!(f, "  recall")?;
        for label in classes.clone() {
            write!(f, "{label:>head$}")?;
            for &count in self.counts.row(label) {
                let count = if count == 0 { ".".to_owned() } else { count.to_string() };
                write!(f, "{count:>width$}")?;
            }
            writeln!(f, "{:>7.1}%", 100.0 * self.recall_of(label))?;
        }
        write!(f, "{:>head$}", "precision %")?;
        classes.clone().try_for_each(|class| write!(f, "{:>width$}", percent(self.precision_of(class))))?;
        write!(f, "{:>7.1}% accuracy", 100.0 * self.accuracy())
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The mean of `(value, weight)` pairs, 0 where the weights are.
fn mean(values: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (sum, weights) =
        values.fold((0.0, 0.0), |(sum, weights), (value, weight)| (sum + value * weight, weights + weight));
    if weights == 0.0 { 0.0 } else { sum / weights }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, array};

    use super::*;

    #[test]
    fn classes_that_do_not_occur_do_not_count() {
        let (predicted, labels) = (array![0, 1, 1, 0], array![0, 1, 0, 0]);
        let two = ConfusionMatrix::from_classes(&predicted, &labels, 2).unwrap();
        let five = ConfusionMatrix::from_classes(&predicted, &labels, 5).unwrap();
        for average in [Average::Macro, Average::Micro, Average::Weighted] {
            assert_eq!(two.precision(average), five.precision(average));
            assert_eq!(two.f1(average), five.f1(average));
        }
        assert_eq!(two.balanced_accuracy(), five.balanced_accuracy());
        assert_eq!((five.precision_of(4), five.recall_of(4), five.f1_of(4), five.recall_of(99)), (0.0, 0.0, 0.0, 0.0));
    }

    #[test]
    fn intersection_over_union_counts_each_pixel_once() {
        // Class 0: 2 in both, 4 in either; class 1: 1 in both, 3 in either; class 2 does not occur.
        let confusion = ConfusionMatrix::from_classes(&array![0, 1, 1, 0, 0], &array![0, 1, 0, 0, 1], 3).unwrap();
        assert_eq!([0, 1, 2, 9].map(|class| confusion.iou_of(class)), [0.5, 1.0 / 3.0, 0.0, 0.0]);
        assert_eq!(confusion.mean_iou(), (0.5 + 1.0 / 3.0) / 2.0);
    }

    #[test]
    fn constant_predictions_correlate_with_nothing() {
        let confusion = ConfusionMatrix::from_classes(&array![0, 0, 0], &array![0, 1, 0], 2).unwrap();
        assert_eq!(confusion.mcc(), 0.0);
        assert_eq!(confusion.cohen_kappa(), 0.0);
        let same = ConfusionMatrix::from_classes(&array![1, 1], &array![1, 1], 2).unwrap();
        assert!(same.cohen_kappa().is_nan());
    }

    #[test]
    fn bad_input_is_told() {
        let message = |predicted: Array1<i64>, labels: Array1<i64>, classes| {
            ConfusionMatrix::from_classes(&predicted, &labels, classes).unwrap_err().to_string()
        };
        let lengths = message(array![0, 1], array![0], 2);
        assert_eq!(lengths, "there are 2 predictions, but 1 labels; each sample needs one of both");
        assert_eq!(message(array![], array![], 2), "there are no samples to judge");
        let range = message(array![0, 1], array![0, 2], 2);
        assert_eq!(range, "class 2 of sample 1 is out of range: the 2 classes are 0 to 1");
        assert!(message(array![0, -1], array![0, 0], 2).starts_with("class -1 of sample 1"));
        assert!(message(array![0], array![0], 0).ends_with("there are no classes"));
        let rows = ConfusionMatrix::from_scores(&array![[1.0_f32, 0.0]], &array![0, 1]).unwrap_err();
        assert!(rows.to_string().starts_with("there are 1 rows of scores, but 2 labels"));
    }

    #[test]
    fn columns_stay_aligned_for_large_counts() {
        let mut confusion = ConfusionMatrix { counts: Array2::zeros((10, 10)) };
        confusion.counts[[3, 9]] = 123_456;
        let table = confusion.to_string();
        let mut lines = table.lines();
        let head = lines.next().unwrap().trim_end_matches("  recall").len();
        assert_eq!(table.lines().count(), 12);
        for line in lines.take(10) {
            assert_eq!(line.len(), head + "  100.0%".len(), "{table}");
        }
    }
}
