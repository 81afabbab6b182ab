use ndarray::{Array, ArrayBase, ArrayRef, Axis, Data, RemoveAxis};

use super::DataError;

/// Samples that can be gathered by index.
///
/// Implemented by arrays and views (samples lie along the first axis), by [`Zip`] and by references to data sets.
pub trait Dataset {
    /// What several samples together are, such as `(Array4<f32>, Array1<i64>)`.
    type Batch;

    /// The number of samples.
    fn samples(&self) -> usize;

    /// The samples at `indices`, in that order; an index may occur more than once.
    ///
    /// # Panics
    /// May panic, as indexing does, if an index is not below [`samples`](Self::samples). [`batches`](Self::batches)
    /// never asks for such a one.
    fn gather(&self, indices: &[usize]) -> Self::Batch;

    /// Goes once over all samples in batches of `size`; the last one holds what is left and may be smaller.
    ///
    /// A `size` of 0 stands for the whole set in one batch, as does any size beyond it. An empty set has no batches.
    ///
    /// ```
    /// use dl_train::data::{Dataset, Order::{InOrder, Shuffle}};
    /// let letters = ndarray::array!['a', 'b', 'c', 'd', 'e'];
    /// let text = |batch: ndarray::Array1<char>| batch.iter().collect::<String>();
    /// assert_eq!(letters.batches(2, InOrder).map(text).collect::<Vec<_>>(), ["ab", "cd", "e"]);
    /// assert_eq!(letters.batches(2, Shuffle(1)).len(), 3);
    /// ```
    fn batches(&self, size: usize, order: Order) -> Batches<'_, Self> {
        let samples = self.samples();
        let size = if size == 0 { samples } else { size };
        Batches { set: self, indices: order.indices(samples), size: size.max(1), next: 0 }
    }
}

/// The order in which samples come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they are stored.
    InOrder,
    /// Shuffled. The number, usually that of the epoch, decides the permutation: the same number and the same set
    /// size give the same order on every machine and in every run.
    Shuffle(u64),
}

impl Order {
    /// The numbers from 0 to `samples - 1` in this order.
    ///
    /// Shuffling is Fisher-Yates from the last element down: element `i` changes places with element
    /// `floor(r * (i + 1) / 2^64)`, where `r` runs through the SplitMix64 generator started at the given number.
    ///
    /// ```
    /// use dl_train::data::Order;
    /// assert_eq!(Order::InOrder.indices(4), [0, 1, 2, 3]);
    /// assert_eq!(Order::Shuffle(7).indices(4), Order::Shuffle(7).indices(4));
    /// ```
    pub fn indices(self, samples: usize) -> Vec<usize> {
        let mut indices: Vec<usize> = (0..samples).collect();
        if let Order::Shuffle(mut state) = self {
            for i in (1..samples).rev() {
                let other = (u128::from(split_mix(&mut state)) * (i as u128 + 1)) >> 64;
                indices.swap(i, other as usize);
            }
        }
        indices
    }
}

/// One pass over a data set; see [`Dataset::batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a, D: ?Sized> {
    set: &'a D,
    indices: Vec<usize>,
    size: usize,
    next: usize,
}

impl<D: Dataset + ?Sized> Iterator for Batches<'_, D> {
    type Item = D::Batch;

    fn next(&mut self) -> Option<D::Batch> {
        let batch = self.indices.get(self.next..).filter(|rest| !rest.is_empty())?;
        let batch = &batch[..batch.len().min(self.size)];
        self.next += batch.len();
        Some(self.set.gather(batch))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.indices.len() - self.next).div_ceil(self.size);
        (left, Some(left))
    }
}

impl<D: Dataset + ?Sized> ExactSizeIterator for Batches<'_, D> {}
impl<D: Dataset + ?Sized> std::iter::FusedIterator for Batches<'_, D> {}

impl<D: Dataset + ?Sized> Dataset for &D {
    type Batch = D::Batch;

    fn samples(&self) -> usize {
        (**self).samples()
    }

    fn gather(&self, indices: &[usize]) -> D::Batch {
        (**self).gather(indices)
    }
}

impl<A: Clone, D: RemoveAxis> Dataset for ArrayRef<A, D> {
    type Batch = Array<A, D>;

    fn samples(&self) -> usize {
        self.len_of(Axis(0))
    }

    fn gather(&self, indices: &[usize]) -> Array<A, D> {
        self.select(Axis(0), indices)
    }
}

impl<A: Clone, S: Data<Elem = A>, D: RemoveAxis> Dataset for ArrayBase<S, D> {
    type Batch = Array<A, D>;

    fn samples(&self) -> usize {
        (**self).samples()
    }

    fn gather(&self, indices: &[usize]) -> Array<A, D> {
        (**self).gather(indices)
    }
}

/// Data sets side by side, made by [`zip`]: sample `i` of the whole is sample `i` of each part.
#[derive(Clone, Debug)]
pub struct Zip<T> {
    parts: T,
}

/// Puts data sets side by side: a pair of arrays `(inputs, targets)`, or up to four of them. References do too.
///
/// ```
/// use dl_train::data::{Dataset, Order::InOrder, zip};
/// use ndarray::{Array2, array};
/// let x = Array2::<f32>::zeros((3, 2));
/// let pairs = zip((&x, array![1_i64, 0, 1]))?;
/// let (inputs, labels) = pairs.batches(2, InOrder).next().expect("three samples");
/// assert_eq!((inputs.dim(), labels), ((2, 2), array![1, 0]));
///
/// let error = zip((&x, array![1_i64, 0])).unwrap_err();
/// assert_eq!(error.to_string(), "parts of one data set differ in their number of samples: part 0 has 3, part 1 has 2");
/// # Ok::<(), dl_train::data::DataError>(())
/// ```
///
/// # Errors
/// [`DataError::Samples`] if the parts differ in their number of samples.
pub fn zip<T: Zippable>(parts: T) -> Result<Zip<T>, DataError> {
    let samples = parts.part_samples();
    if samples.windows(2).all(|pair| pair[0] == pair[1]) {
        return Ok(Zip { parts });
    }
    let parts = samples.into_iter().enumerate().map(|(i, samples)| (format!("part {i}"), samples)).collect();
    Err(DataError::Samples { parts })
}

/// Tuples of two to four data sets; what [`zip`] takes.
pub trait Zippable {
    /// The tuple of the parts' batches.
    type Batch;

    /// The number of samples of each part.
    fn part_samples(&self) -> Vec<usize>;

    /// [`Dataset::gather`] of each part.
    fn gather_parts(&self, indices: &[usize]) -> Self::Batch;
}

impl<T: Zippable> Dataset for Zip<T> {
    type Batch = T::Batch;

    fn samples(&self) -> usize {
        self.parts.part_samples()[0]
    }

    fn gather(&self, indices: &[usize]) -> T::Batch {
        self.parts.gather_parts(indices)
    }
}

macro_rules! zippable {
    ($($part:ident $index:tt),+) => {
        impl<$($part: Dataset),+> Zippable for ($($part,)+) {
            type Batch = ($($part::Batch,)+);

            fn part_samples(&self) -> Vec<usize> {
                vec![$(self.$index.samples()),+]
            }

            fn gather_parts(&self, indices: &[usize]) -> Self::Batch {
                ($(self.$index.gather(indices),)+)
            }
        }
    };
}
zippable!(A 0, B 1);
zippable!(A 0, B 1, C 2);
zippable!(A 0, B 1, C 2, D 3);

/// The SplitMix64 generator of Steele, Lea and Flood.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2, Array3, array, s};

    use super::Order::{InOrder, Shuffle};
    use super::*;

    #[test]
    fn the_generator_is_split_mix_64() {
        // The first values of the reference implementation started at 1234567.
        let mut state = 1_234_567;
        let first: Vec<u64> = (0..3).map(|_| split_mix(&mut state)).collect();
        assert_eq!(first, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn shuffles_are_permutations_and_stay_as_they_are() {
        let mut order = Shuffle(3).indices(1000);
        assert_ne!(order, Shuffle(4).indices(1000));
        order.sort_unstable();
        assert_eq!(order, InOrder.indices(1000));
        // A change here changes every training run: it must be deliberate.
        assert_eq!(Shuffle(0).indices(10), [4, 9, 2, 5, 1, 7, 6, 0, 3, 8]);
    }

    #[test]
    fn shuffles_put_every_sample_everywhere_equally_often() {
        let mut hits = Array2::<u32>::zeros((5, 5));
        for seed in 0..5000 {
            for (place, sample) in Shuffle(seed).indices(5).into_iter().enumerate() {
                hits[[sample, place]] += 1;
            }
        }
        // 1000 expected; five standard deviations are 141.
        assert!(hits.iter().all(|&n| (859..=1141).contains(&n)), "{hits}");
    }

    #[test]
    fn batches_cover_the_set_and_know_their_number() {
        let set = Array1::from_iter(0..10);
        for (size, sizes) in [(3, vec![3, 3, 3, 1]), (5, vec![5, 5]), (10, vec![10]), (99, vec![10]), (0, vec![10])] {
            let mut batches = set.batches(size, Shuffle(1));
            let mut seen = Vec::new();
            for (i, expected) in sizes.iter().enumerate() {
                assert_eq!(batches.len(), sizes.len() - i);
                let batch = batches.next().unwrap();
                assert_eq!(batch.len(), *expected);
                seen.extend(batch);
            }
            assert_eq!(batches.len(), 0);
            assert!(batches.next().is_none() && batches.next().is_none());
            seen.sort_unstable();
            assert_eq!(seen, (0..10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn empty_sets_have_no_batches() {
        let set = Array3::<f32>::zeros((0, 2, 2));
        for size in [0, 1, 64] {
            assert_eq!(set.batches(size, Shuffle(0)).count(), 0);
        }
    }

    #[test]
    fn views_and_parts_keep_samples_together() {
        let x = Array2::from_shape_fn((8, 3), |(i, j)| 10 * i + j);
        let label = Array1::from_iter(0..8_usize);
        let reversed = x.slice(s![..;-1, ..;-1]);
        let set = zip((&x, reversed, label.view())).unwrap();
        assert_eq!(set.samples(), 8);
        for (x, reversed, label) in set.batches(3, Shuffle(9)) {
            for i in 0..label.len() {
                let first = 10 * label[i];
                assert_eq!(x.row(i), array![first, first + 1, first + 2]);
                assert_eq!(reversed[[i, 2]], 10 * (7 - label[i]));
            }
        }
    }

    #[test]
    fn parts_must_have_the_same_number_of_samples() {
        let (x, y) = (array![1, 2, 3], array![1, 2]);
        assert!(zip((&x, &x, &x, &x)).is_ok());
        assert!(zip((&x, &x, &y)).unwrap_err().to_string().ends_with("part 0 has 3, part 1 has 3, part 2 has 2"));
    }
}
