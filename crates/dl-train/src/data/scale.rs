use ndarray::{Array1, Array2, ArrayRef2, Axis};

/// Brings columns to mean 0 and standard deviation 1, as seen in the samples to train with.
///
/// A column that is constant there only loses its mean. Computed in `f64`. scikit-learn: `StandardScaler`.
///
/// ```
/// use dl_train::data::StandardScaler;
/// use ndarray::array;
/// let scaler = StandardScaler::fit(&array![[1.0_f32, 5.0], [3.0, 5.0]]);
/// assert_eq!(scaler.transform(&array![[1.0, 5.0], [4.0, 7.0]]), array![[-1.0, 0.0], [2.0, 2.0]]);
/// assert_eq!(scaler.inverse_transform(&array![[-1.0, 0.0], [2.0, 2.0]]), array![[1.0, 5.0], [4.0, 7.0]]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct StandardScaler {
    /// The mean of each column.
    pub mean: Array1<f64>,
    /// The standard deviation of each column, that of a population; 1 if it is 0.
    pub scale: Array1<f64>,
}

impl StandardScaler {
    /// With the means and standard deviations of `x` `[samples, columns]`; NaN without samples.
    pub fn fit(x: &ArrayRef2<f32>) -> Self {
        let x = x.mapv(f64::from);
        let mean = x.sum_axis(Axis(0)) / x.nrows() as f64;
        let variance = (x - &mean).mapv_into(|d| d * d).mean_axis(Axis(0)).unwrap_or_else(|| mean.mapv(|_| f64::NAN));
        // Of a constant column rounding may leave more than 0.
        let constant = |deviation: f64, mean: f64| deviation <= 1e-7 * mean.abs();
        let mut scale = variance.mapv_into(f64::sqrt);
        scale.zip_mut_with(&mean, |deviation, &mean| {
            if constant(*deviation, mean) {
                *deviation = 1.0
            }
        });
        Self { mean, scale }
    }

    /// `(x - mean) / scale` for each column.
    ///
    /// # Panics
    /// If `x` has another number of columns.
    pub fn transform(&self, x: &ArrayRef2<f32>) -> Array2<f32> {
        ((x.mapv(f64::from) - &self.mean) / &self.scale).mapv(|value| value as f32)
    }

    /// `x * scale + mean` for each column: the reverse of [`transform`](Self::transform).
    ///
    /// # Panics
    /// If `x` has another number of columns.
    pub fn inverse_transform(&self, x: &ArrayRef2<f32>) -> Array2<f32> {
        (x.mapv(f64::from) * &self.scale + &self.mean).mapv(|value| value as f32)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{array, s};

    use super::*;

    #[test]
    fn columns_have_mean_0_and_deviation_1_and_come_back() {
        let x =
            Array2::from_shape_fn((50, 3), |(i, j)| ((i * i + 7 * j) % 23) as f32 * 10.0_f32.powi(4 * j as i32 - 4));
        let scaler = StandardScaler::fit(&x);
        let z = scaler.transform(&x);
        for column in z.columns() {
            let (mean, square) = (column.mean().unwrap(), column.mapv(|z| z * z).mean().unwrap());
            assert!(mean.abs() < 1e-6 && (square - 1.0).abs() < 1e-5, "{mean} {square}");
        }
        let back = scaler.inverse_transform(&z);
        for ((_, column), error) in (&back - &x).indexed_iter() {
            assert!(f64::from(error.abs()) <= 1e-6 * scaler.scale[column], "{back} {x}");
        }
        let (backwards, close) =
            (StandardScaler::fit(&x.slice(s![..;-1, ..])), |a: f64, b: f64| (a / b - 1.0).abs() < 1e-12);
        assert!(backwards.mean.iter().zip(&scaler.mean).all(|(&a, &b)| close(a, b)));
    }

    #[test]
    fn constant_columns_become_0() {
        let x = Array2::from_elem((7, 1), 0.1_f32);
        assert_eq!(StandardScaler::fit(&x).transform(&x), Array2::<f32>::zeros((7, 1)));
        let zeros = array![[0.0_f32], [0.0]];
        assert_eq!(StandardScaler::fit(&zeros).scale, array![1.0]);
    }

    #[test]
    fn without_samples_there_is_no_mean() {
        let scaler = StandardScaler::fit(&Array2::<f32>::zeros((0, 2)));
        assert!(scaler.mean.iter().chain(&scaler.scale).all(|value| value.is_nan()));
    }
}
