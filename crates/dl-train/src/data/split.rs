use ndarray::ArrayRef1;

use super::Order;

/// Which samples to train with and which to keep for a test; for [`Dataset::gather`](super::Dataset::gather).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// To train with.
    pub train: Vec<usize>,
    /// To test with: none of those above.
    pub test: Vec<usize>,
}

/// Splits samples at random so that each class has the same share `test` of its samples in the test set.
///
/// Of a class with `n` samples, `round(test * n)` are kept for the test. The same labels and seed give the same split.
/// scikit-learn: `train_test_split(.., stratify = labels)`.
///
/// ```
/// use dl_train::data::{Dataset, stratified_split};
/// let labels = ndarray::array![0_i64, 1, 0, 1, 1, 0, 0, 0];
/// let split = stratified_split(&labels, 0.4, 0);
/// let sorted = |indices| { let mut labels = labels.gather(indices).to_vec(); labels.sort(); labels };
/// assert_eq!((sorted(&split.train), sorted(&split.test)), (vec![0, 0, 0, 1, 1], vec![0, 0, 1]));
/// ```
///
/// # Panics
/// If `test` is not between 0 and 1.
pub fn stratified_split(labels: &ArrayRef1<i64>, test: f64, seed: u64) -> Split {
    assert!((0.0..=1.0).contains(&test), "the share of the test set is between 0 and 1, but it is {test}");
    let mut counts = std::collections::BTreeMap::<i64, usize>::new();
    labels.iter().for_each(|&label| *counts.entry(label).or_default() += 1);
    let mut wanted = counts;
    wanted.values_mut().for_each(|count| *count = (test * *count as f64).round() as usize);
    let (test, train) = Order::Shuffle(seed).indices(labels.len()).into_iter().partition(|&i| {
        let left = wanted.get_mut(&labels[i]).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    });
    Split { train, test }
}

/// Splits samples at random into `folds` parts, each with the same share of each class, and returns for each part the
/// split that tests with it and trains with the others: every sample is tested once.
///
/// Parts differ by one sample at most, also within a class. The same labels and seed give the same parts. scikit-learn:
/// `StratifiedKFold(folds, shuffle = True)`.
///
/// ```
/// use dl_train::data::stratified_folds;
/// let labels = ndarray::array![0_i64, 1, 0, 1, 0, 0];
/// for split in stratified_folds(&labels, 2, 0) {
///     assert_eq!((split.train.len(), split.test.len()), (3, 3));
///     assert_eq!(split.test.iter().filter(|&&i| labels[i] == 1).count(), 1);
/// }
/// ```
///
/// # Panics
/// If `folds` is below 2: nothing would be left to train with.
pub fn stratified_folds(labels: &ArrayRef1<i64>, folds: usize, seed: u64) -> Vec<Split> {
    assert!(folds >= 2, "there must be at least 2 folds, but it is {folds}");
    let mut order = Order::Shuffle(seed).indices(labels.len());
    order.sort_by_key(|&i| labels[i]);
    let mut splits = vec![Split { train: vec![], test: vec![] }; folds];
    for (place, &sample) in order.iter().enumerate() {
        for (fold, split) in splits.iter_mut().enumerate() {
            let part = if place % folds == fold { &mut split.test } else { &mut split.train };
            part.push(sample);
        }
    }
    splits
}

#[cfg(test)]
mod tests {
    use ndarray::Array1;

    use super::*;

    #[test]
    fn every_sample_is_in_one_part_and_classes_keep_their_shares() {
        let labels = Array1::from_iter((0..1000).map(|i| i64::from(i % 10 == 0) - i64::from(i % 4 == 1)));
        let split = stratified_split(&labels, 0.25, 3);
        let mut all = [split.train.clone(), split.test.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
        for class in [-1, 0, 1] {
            let of = |part: &[usize]| part.iter().filter(|&&i| labels[i] == class).count();
            let whole = of(&all) as f64;
            assert_eq!(of(&split.test), (0.25 * whole).round() as usize, "class {class}");
        }
        assert_ne!(split, stratified_split(&labels, 0.25, 4));
        assert_eq!(split, stratified_split(&labels, 0.25, 3));
    }

    #[test]
    fn folds_test_every_sample_once() {
        let labels = Array1::from_iter((0..103).map(|i| i64::from(i % 5 == 0)));
        let folds = stratified_folds(&labels, 4, 1);
        let mut tested: Vec<usize> = folds.iter().flat_map(|split| split.test.clone()).collect();
        tested.sort_unstable();
        assert_eq!(tested, (0..103).collect::<Vec<_>>());
        for split in &folds {
            assert!((25..=26).contains(&split.test.len()));
            assert!((5..=6).contains(&split.test.iter().filter(|&&i| labels[i] == 1).count()));
            assert!(split.train.len() + split.test.len() == 103);
            assert!(split.train.iter().all(|i| !split.test.contains(i)));
        }
        assert_ne!(folds, stratified_folds(&labels, 4, 2));
    }

    #[test]
    #[should_panic(expected = "at least 2 folds, but it is 1")]
    fn one_fold_is_none() {
        stratified_folds(&Array1::from_elem(5, 0), 1, 0);
    }

    #[test]
    fn either_part_may_be_empty() {
        let labels = Array1::from_elem(5, 7);
        assert_eq!(stratified_split(&labels, 0.0, 0).train.len(), 5);
        assert_eq!(stratified_split(&labels, 1.0, 0).test.len(), 5);
    }

    #[test]
    #[should_panic(expected = "between 0 and 1, but it is 20")]
    fn shares_are_not_percents() {
        stratified_split(&Array1::from_elem(5, 0), 20.0, 0);
    }
}
