use ndarray::{ArrayRef, ArrayRef1, Dimension};

use super::{MetricError, check_lengths};

/// The mean squared error over all elements of two arrays of one shape, in the square of their unit. NaN propagates.
///
/// # Errors
/// If the shapes differ or there are no elements.
///
/// ```
/// use dl_train::metrics::mse;
/// use ndarray::array;
/// assert_eq!(mse(&array![1.0_f32, 2.0], &array![1.0, 4.0])?, 2.0);
/// # Ok::<(), dl_train::metrics::MetricError>(())
/// ```
pub fn mse<T: Copy + Into<f64>, D: Dimension>(
    predicted: &ArrayRef<T, D>,
    target: &ArrayRef<T, D>,
) -> Result<f64, MetricError> {
    mean_over(predicted, target, |difference| difference * difference)
}

/// The mean absolute error over all elements of two arrays of one shape, in their unit. NaN propagates.
///
/// # Errors
/// As for [`mse`].
///
/// ```
/// use dl_train::metrics::mae;
/// use ndarray::array;
/// assert_eq!(mae(&array![1.0_f32, 2.0], &array![1.0, 4.0])?, 1.0);
/// # Ok::<(), dl_train::metrics::MetricError>(())
/// ```
pub fn mae<T: Copy + Into<f64>, D: Dimension>(
    predicted: &ArrayRef<T, D>,
    target: &ArrayRef<T, D>,
) -> Result<f64, MetricError> {
    mean_over(predicted, target, f64::abs)
}

/// The coefficient of determination of predictions `[N]`: the share of the targets' variance that they explain, at
/// most 1. A constant offset counts against them. For constant targets 1 if all are met, otherwise 0.
///
/// # Errors
/// If the lengths differ or there are no elements.
///
/// ```
/// use dl_train::metrics::r2;
/// use ndarray::array;
/// assert_eq!(r2(&array![2.0_f32, 3.0, 4.0], &array![1.0, 2.0, 3.0])?, -0.5);
/// # Ok::<(), dl_train::metrics::MetricError>(())
/// ```
pub fn r2<T: Copy + Into<f64>>(predicted: &ArrayRef1<T>, target: &ArrayRef1<T>) -> Result<f64, MetricError> {
    check_lengths("predictions", predicted.len(), "targets", target.len())?;
    Ok(explained(mse(predicted, target)?, variance(target.iter().map(|&t| t.into()))))
}

/// As [`r2`], but a constant offset of the predictions does not count.
///
/// # Errors
/// As for [`r2`].
///
/// ```
/// use dl_train::metrics::explained_variance;
/// use ndarray::array;
/// assert_eq!(explained_variance(&array![2.0_f32, 3.0, 4.0], &array![1.0, 2.0, 3.0])?, 1.0);
/// # Ok::<(), dl_train::metrics::MetricError>(())
/// ```
pub fn explained_variance<T: Copy + Into<f64>>(
    predicted: &ArrayRef1<T>,
    target: &ArrayRef1<T>,
) -> Result<f64, MetricError> {
    check_lengths("predictions", predicted.len(), "targets", target.len())?;
    let differences = predicted.iter().zip(target).map(|(&p, &t)| p.into() - t.into());
    Ok(explained(variance(differences), variance(target.iter().map(|&t| t.into()))))
}

fn mean_over<T: Copy + Into<f64>, D: Dimension>(
    predicted: &ArrayRef<T, D>,
    target: &ArrayRef<T, D>,
    cost: impl Fn(f64) -> f64,
) -> Result<f64, MetricError> {
    if predicted.shape() != target.shape() {
        let (predicted, target) = (predicted.shape().to_vec(), target.shape().to_vec());
        return Err(MetricError::Shapes { predicted, target });
    }
    if predicted.is_empty() {
        return Err(MetricError::Empty);
    }
    let sum: f64 = predicted.iter().zip(target).map(|(&p, &t)| cost(p.into() - t.into())).sum();
    Ok(sum / predicted.len() as f64)
}

fn variance(values: impl ExactSizeIterator<Item = f64> + Clone) -> f64 {
    let n = values.len() as f64;
    let mean = values.clone().sum::<f64>() / n;
    values.map(|value| (value - mean).powi(2)).sum::<f64>() / n
}

fn explained(left: f64, variance: f64) -> f64 {
    match (left == 0.0, variance == 0.0) {
        (true, true) => 1.0,
        (false, true) => 0.0,
        _ => 1.0 - left / variance,
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, array};

    use super::*;

    #[test]
    fn constant_targets_have_nothing_to_explain() {
        let constant = array![2.0_f32, 2.0];
        assert_eq!(r2(&constant, &constant), Ok(1.0));
        assert_eq!(r2(&array![1.0, 3.0], &constant), Ok(0.0));
        assert_eq!(explained_variance(&array![1.0, 1.0], &constant), Ok(1.0));
    }

    #[test]
    fn any_rank_will_do_but_shapes_must_agree() {
        let (wide, tall) = (array![[1.0_f64, 2.0, 3.0]], array![[1.0], [2.0], [3.0]]);
        assert_eq!(mse(&wide.t(), &tall.view()), Ok(0.0));
        let error = mse(&wide, &tall).unwrap_err();
        assert_eq!(error.to_string(), "predictions have shape [1, 3], but targets have [3, 1]; they must be the same");
        assert_eq!(mae(&Array1::<f32>::zeros(0), &array![]), Err(MetricError::Empty));
        assert!(r2(&array![1.0_f32], &array![]).is_err());
        assert!(mse(&array![f32::NAN], &array![0.0]).unwrap().is_nan());
    }
}
