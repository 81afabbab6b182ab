//! Reading MNIST: the bundled digits, and files that are wrong in every way that files are.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use dl_train::data::{DataError, Dataset, Mnist, Order::Shuffle};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};

const BUNDLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/mnist-10k");

#[test]
fn the_bundled_digits_are_complete_and_scaled() {
    let digits = Mnist::load(BUNDLED).unwrap();
    for (part, samples) in [(&digits.train, 8000), (&digits.test, 2000)] {
        assert_eq!(part.images.dim(), (samples, 1, 28, 28));
        assert_eq!(part.samples(), samples);
        let (low, high) = part.images.iter().fold((1.0_f32, 0.0_f32), |(low, high), &p| (low.min(p), high.max(p)));
        assert_eq!((low, high), (0.0, 1.0));
        assert!((0..10).all(|class| part.labels.iter().any(|&label| label == class)));
    }
    let (x, label) = digits.train.batches(64, Shuffle(0)).next().unwrap();
    assert_eq!((x.dim(), label.len()), ((64, 1, 28, 28), 64));
    assert_eq!(digits.train.batches(64, Shuffle(0)).len(), 125);
    assert_eq!(digits.test.batches(64, Shuffle(0)).last().unwrap().1.len(), 2000 % 64);
}

#[test]
fn plain_and_zipped_files_are_read_whatever_their_names() {
    let dir = Dir::new("plain");
    fs::rename(dir.path(TRAIN_IMAGES), dir.path("train-images-idx3-ubyte")).unwrap();
    dir.write("train-labels-idx1-ubyte.gz", &unzipped(&dir.read("train-labels-idx1-ubyte.gz")));
    let digits = Mnist::load(&dir.0).unwrap();
    assert_eq!(digits.train.labels, ndarray::array![7, 1]);
    assert_eq!(digits.train.images[[1, 0, 27, 27]], (783 % 256) as f32 / 255.0);
}

#[test]
fn a_missing_file_is_named_with_the_places_looked_at() {
    let dir = Dir::new("missing");
    fs::remove_file(dir.path("t10k-labels-idx1-ubyte.gz")).unwrap();
    let message = failure(&dir);
    assert!(message.starts_with("no test labels found; looked for `"), "{message}");
    assert!(message.contains("t10k-labels-idx1-ubyte.gz` and `"), "{message}");
    assert!(message.contains("t10k-labels-idx1-ubyte`;"), "{message}");
}

#[test]
fn a_truncated_archive_is_reported_at_every_length() {
    let dir = Dir::new("truncated");
    let whole = dir.read(TRAIN_IMAGES);
    for length in 0..whole.len() {
        dir.write(TRAIN_IMAGES, &whole[..length]);
        assert!(failure(&dir).contains("train-images-idx3-ubyte.gz` is truncated: "), "{length} bytes");
    }
}

#[test]
fn a_truncated_plain_file_is_reported_with_both_lengths() {
    let dir = Dir::new("short");
    let whole = unzipped(&dir.read(TRAIN_IMAGES));
    dir.write(TRAIN_IMAGES, &whole[..1000]);
    let message = failure(&dir);
    assert!(message.contains("its header asks for 1584 bytes, but it ends after 1000"), "{message}");
    dir.write(TRAIN_IMAGES, &whole[..10]);
    let message = failure(&dir);
    assert!(message.contains("its header asks for 16 bytes, but it ends after 10"), "{message}");
}

#[test]
fn surplus_bytes_are_reported() {
    let dir = Dir::new("surplus");
    let mut bytes = unzipped(&dir.read(TRAIN_IMAGES));
    bytes.push(0);
    dir.write(TRAIN_IMAGES, &zipped(&bytes));
    assert!(failure(&dir).contains("goes on after the 1584 bytes that its header asks for"));
}

#[test]
fn a_header_that_announces_far_too_much_is_only_a_truncated_file() {
    let dir = Dir::new("huge");
    dir.write("train-labels-idx1-ubyte.gz", &[0, 0, 8, 1, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
    assert!(failure(&dir).contains("asks for 4294967303 bytes, but it ends after 11"));
}

#[test]
fn a_damaged_archive_is_reported() {
    let dir = Dir::new("damaged");
    let mut bytes = dir.read(TRAIN_IMAGES);
    let checksum = bytes.len() - 8;
    bytes[checksum] ^= 1;
    dir.write(TRAIN_IMAGES, &bytes);
    let message = failure(&dir);
    assert!(message.starts_with("cannot read `") && message.contains("gzip"), "{message}");
}

#[test]
fn files_of_another_kind_are_told_apart() {
    let dir = Dir::new("kind");
    let labels = dir.read("train-labels-idx1-ubyte.gz");
    dir.write(TRAIN_IMAGES, &labels);
    let message = failure(&dir);
    assert!(message.contains("begins with 0x00000801, but an IDX file of images"), "{message}");
    assert!(message.ends_with("the file is an IDX file of labels (bytes, 1 axis)"), "{message}");
    dir.write(TRAIN_IMAGES, b"<html>404</html>");
    assert!(failure(&dir).ends_with("the file is something else"));
}

#[test]
fn images_of_another_size_are_refused() {
    let dir = Dir::new("size");
    dir.write(TRAIN_IMAGES, &idx(&[2, 32, 28], vec![0; 2 * 32 * 28]));
    assert!(failure(&dir).ends_with("holds images of 32x28 pixels, expected 28x28"));
}

#[test]
fn counts_must_agree_and_labels_must_be_digits() {
    let dir = Dir::new("counts");
    dir.write("train-labels-idx1-ubyte.gz", &idx(&[3], vec![1, 2, 3]));
    let message = failure(&dir);
    assert!(message.contains("ubyte.gz` has 2,") && message.ends_with("ubyte.gz` has 3"), "{message}");
    dir.write("train-labels-idx1-ubyte.gz", &idx(&[2], vec![9, 10]));
    let error = Mnist::load(&dir.0).unwrap_err();
    assert!(matches!(error, DataError::Label { index: 1, label: 10, classes: 10, .. }), "{error}");
    assert!(error.to_string().ends_with("is out of range: the 10 classes are 0 to 9"));
}

#[test]
fn a_set_without_samples_is_refused() {
    let dir = Dir::new("empty");
    dir.write(TRAIN_IMAGES, &idx(&[0, 28, 28], vec![]));
    dir.write("train-labels-idx1-ubyte.gz", &idx(&[0], vec![]));
    let message = failure(&dir);
    assert!(message.contains("train-images-idx3-ubyte.gz` holds no samples, at least one is needed"), "{message}");
}

#[test]
fn errors_pass_through_the_result_of_the_runtime() {
    fn load() -> dl_runtime::Result<Mnist> {
        Ok(Mnist::load("no/such/place")?)
    }
    assert!(load().unwrap_err().to_string().starts_with("no training images found"));
}

const TRAIN_IMAGES: &str = "train-images-idx3-ubyte.gz";

/// A directory with a valid set of two training and two test images, removed when dropped.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = Self(std::env::temp_dir().join(format!("dl-train-mnist-{name}-{}", std::process::id())));
        fs::create_dir_all(&dir.0).unwrap();
        for prefix in ["train", "t10k"] {
            let pixels = (0..2 * 784).map(|i| (i % 784 % 256) as u8).collect();
            dir.write(&format!("{prefix}-images-idx3-ubyte.gz"), &idx(&[2, 28, 28], pixels));
            dir.write(&format!("{prefix}-labels-idx1-ubyte.gz"), &idx(&[2], vec![7, 1]));
        }
        dir
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn failure(dir: &Dir) -> String {
    Mnist::load(AsRef::<Path>::as_ref(&dir.0)).unwrap_err().to_string()
}

fn idx(shape: &[u32], elements: Vec<u8>) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    bytes.extend(shape.iter().flat_map(|axis| axis.to_be_bytes()));
    bytes.extend(elements);
    zipped(&bytes)
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn unzipped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}
