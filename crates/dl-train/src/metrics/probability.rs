use ndarray::{ArrayRef1, ArrayRef2};

use super::{MetricError, binary, check_lengths};

/// The mean negative logarithm of the probability given to what happened, in nats. `probabilities` `[N]` of class 1,
/// `labels` `[N]` 0 or 1.
///
/// Probabilities are first brought into [ε, 1 - ε] with ε = [`f64::EPSILON`], so that a certain mistake costs 36 nats
/// and not an infinity.
///
/// # Errors
/// If there are no samples, the lengths differ, a label is not 0 or 1, or a probability is NaN.
///
/// ```
/// use dl_train::metrics::log_loss;
/// use ndarray::array;
/// assert_eq!(log_loss(&array![0.5_f32, 0.5], &array![0, 1])?, f64::ln(2.0));
/// # Ok::<(), dl_train::metrics::MetricError>(())
/// ```
pub fn log_loss<T: Copy + Into<f64>>(
    probabilities: &ArrayRef1<T>,
    labels: &ArrayRef1<i64>,
) -> Result<f64, MetricError> {
    mean_binary(probabilities, labels, |p, happened| nats(if happened { p } else { 1.0 - p }))
}

/// [`log_loss`] of more than two classes: `probabilities` `[N, C]`, each row adding up to 1, `labels` `[N]`.
///
/// # Errors
/// If there are no samples, the lengths differ, a label is not below `C`, or the probability of a label is NaN.
///
/// ```
/// use dl_train::metrics::multiclass_log_loss;
/// use ndarray::array;
/// let value = multiclass_log_loss(&array![[0.5_f64, 0.3, 0.2], [0.0, 0.0, 1.0]], &array![0, 2])?;
/// assert!((value - 0.5 * f64::ln(2.0)).abs() < 1e-12);
/// # Ok::<(), dl_train::metrics::MetricError>(())
/// ```
pub fn multiclass_log_loss<T: Copy + Into<f64>>(
    probabilities: &ArrayRef2<T>,
    labels: &ArrayRef1<i64>,
) -> Result<f64, MetricError> {
    check_lengths("rows of probabilities", probabilities.nrows(), "labels", labels.len())?;
    let mut sum = 0.0;
    for (index, (row, &label)) in probabilities.rows().into_iter().zip(labels).enumerate() {
        let own = usize::try_from(label).ok().and_then(|label| row.get(label));
        let p: f64 = (*own.ok_or(MetricError::Label { index, label, classes: row.len() })?).into();
        if p.is_nan() {
            return Err(MetricError::NotANumber { index });
        }
        sum += nats(p);
    }
    Ok(sum / labels.len() as f64)
}

/// The mean squared difference of probability and what happened, 0 to 1. `probabilities` `[N]` of class 1, `labels`
/// `[N]` 0 or 1.
///
/// # Errors
/// As for [`log_loss`].
///
/// ```
/// use dl_train::metrics::brier;
/// use ndarray::array;
/// assert_eq!(brier(&array![0.5_f32, 1.0], &array![0, 1])?, 0.125);
/// # Ok::<(), dl_train::metrics::MetricError>(())
/// ```
pub fn brier<T: Copy + Into<f64>>(probabilities: &ArrayRef1<T>, labels: &ArrayRef1<i64>) -> Result<f64, MetricError> {
    mean_binary(probabilities, labels, |p, happened| (p - f64::from(happened)).powi(2))
}

fn mean_binary<T: Copy + Into<f64>>(
    probabilities: &ArrayRef1<T>,
    labels: &ArrayRef1<i64>,
    cost: impl Fn(f64, bool) -> f64,
) -> Result<f64, MetricError> {
    check_lengths("probabilities", probabilities.len(), "labels", labels.len())?;
    let mut sum = 0.0;
    for (index, (&p, &label)) in probabilities.iter().zip(labels).enumerate() {
        let p = p.into();
        if p.is_nan() {
            return Err(MetricError::NotANumber { index });
        }
        sum += cost(p, binary(index, label)?);
    }
    Ok(sum / labels.len() as f64)
}

fn nats(p: f64) -> f64 {
    -p.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2, array};

    use super::*;

    #[test]
    fn certain_mistakes_cost_a_lot_but_not_everything() {
        let value = log_loss(&array![0.0_f32, 1.0], &array![1, 0]).unwrap();
        assert!((value - 52.0 * f64::ln(2.0)).abs() < 1e-9, "{value}");
        assert_eq!(brier(&array![0.0_f32, 1.0], &array![1, 0]), Ok(1.0));
    }

    #[test]
    fn two_columns_are_the_binary_case() {
        let p = array![0.1, 0.7, 0.4];
        let both = Array2::from_shape_fn((3, 2), |(i, class)| if class == 1 { p[i] } else { 1.0 - p[i] });
        let labels = array![0, 1, 1];
        assert_eq!(multiclass_log_loss(&both, &labels), log_loss(&p, &labels));
    }

    #[test]
    fn bad_input_is_told() {
        assert_eq!(log_loss(&Array1::<f32>::zeros(0), &array![]), Err(MetricError::Empty));
        assert_eq!(brier(&array![f32::NAN], &array![0]), Err(MetricError::NotANumber { index: 0 }));
        let label = MetricError::Label { index: 1, label: -1, classes: 2 };
        assert_eq!(log_loss(&array![0.5_f32, 0.5], &array![1, -1]), Err(label));
        let label = MetricError::Label { index: 0, label: 2, classes: 2 };
        assert_eq!(multiclass_log_loss(&array![[0.5_f32, 0.5]], &array![2]), Err(label));
        let nan = multiclass_log_loss(&array![[0.5, f32::NAN]], &array![1]);
        assert_eq!(nan, Err(MetricError::NotANumber { index: 0 }));
    }
}
