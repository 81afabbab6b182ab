use std::path::Path;

use ndarray::{Array1, Array4, Axis};

use super::{DataError, Dataset, idx};

const SIDE: usize = 28;
const CLASSES: u8 = 10;

/// The MNIST database of handwritten digits, or any set in its format (Fashion-MNIST, KMNIST).
#[derive(Clone, Debug)]
pub struct Mnist {
    /// The images to train with.
    pub train: Digits,
    /// The images to test with.
    pub test: Digits,
}

/// Images with their classes. As a [`Dataset`] its batches are `(Array4<f32>, Array1<i64>)`.
#[derive(Clone, Debug)]
pub struct Digits {
    /// `[samples, 1, 28, 28]`: one channel of 28x28 pixels, scaled from bytes to 0 (background) to 1 (ink); the mean
    /// is not taken away.
    pub images: Array4<f32>,
    /// `[samples]`: classes 0 to 9.
    pub labels: Array1<i64>,
}

impl Mnist {
    /// Reads the four files `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
    /// `t10k-labels-idx1-ubyte` of a directory, each with or without `.gz`.
    ///
    /// # Errors
    /// A [`DataError`] that names the file: missing, unreadable, not of this format, of another image size, shorter or
    /// longer than its header says, without images, with a label above 9, or with more images than labels or the
    /// reverse.
    ///
    /// ```
    /// use dl_train::data::Mnist;
    /// let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/mnist-10k");
    /// let digits = Mnist::load(directory)?;
    /// assert_eq!(digits.train.images.dim(), (8000, 1, 28, 28));
    /// assert_eq!(digits.test.labels.len(), 2000);
    ///
    /// let error = Mnist::load("no/such/place").unwrap_err();
    /// assert!(error.to_string().starts_with("no training images found; looked for `no/such/place"));
    /// # Ok::<(), dl_train::data::DataError>(())
    /// ```
    pub fn load(directory: impl AsRef<Path>) -> Result<Self, DataError> {
        let directory = directory.as_ref();
        Ok(Self {
            train: Digits::load(directory, "train", ["training images", "training labels"])?,
            test: Digits::load(directory, "t10k", ["test images", "test labels"])?,
        })
    }
}

impl Digits {
    fn load(directory: &Path, prefix: &str, what: [&'static str; 2]) -> Result<Self, DataError> {
        let images = idx::read(directory, &format!("{prefix}-images-idx3-ubyte"), what[0], |path, [_, h, w]| {
            let (expected, found) = ((SIDE, SIDE), (h, w));
            if found == expected {
                return Ok(());
            }
            Err(DataError::ImageSize { path: path.to_owned(), expected, found })
        })?;
        let labels = idx::read::<1>(directory, &format!("{prefix}-labels-idx1-ubyte"), what[1], |_, _| Ok(()))?;

        let [samples, ..] = images.shape;
        if samples != labels.shape[0] {
            let part = |path: &Path, samples| (format!("`{}`", path.display()), samples);
            let parts = vec![part(&images.path, samples), part(&labels.path, labels.shape[0])];
            return Err(DataError::Samples { parts });
        }
        if samples == 0 {
            return Err(DataError::Empty { path: images.path });
        }
        if let Some(index) = labels.bytes.iter().position(|&label| label >= CLASSES) {
            let label = labels.bytes[index];
            return Err(DataError::Label { path: labels.path, index, label, classes: CLASSES });
        }
        let pixels = images.bytes.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
        Ok(Self {
            images: Array4::from_shape_vec((samples, 1, SIDE, SIDE), pixels).expect("as many pixels as were read"),
            labels: labels.bytes.iter().map(|&label| i64::from(label)).collect(),
        })
    }
}

impl Dataset for Digits {
    type Batch = (Array4<f32>, Array1<i64>);

    /// As many as there are images with a label.
    fn samples(&self) -> usize {
        self.images.len_of(Axis(0)).min(self.labels.len())
    }

    fn gather(&self, indices: &[usize]) -> Self::Batch {
        (self.images.gather(indices), self.labels.gather(indices))
    }
}
