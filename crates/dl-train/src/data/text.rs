use ndarray::{Array1, Array2, ArrayView1, s};

use super::{DataError, Dataset};

/// The characters of a text, each with a number.
///
/// ```
/// use dl_train::data::Characters;
/// let characters = Characters::of("to be");
/// assert_eq!(characters.len(), 5); // in order: ' ', 'b', 'e', 'o', 't'
/// let tokens = characters.encode("bet")?;
/// assert_eq!(tokens, ndarray::array![1, 2, 4]);
/// assert_eq!(characters.decode(&tokens), "bet");
///
/// let error = characters.encode("bet!").unwrap_err();
/// assert_eq!(error.to_string(), "character 3 of the text, '!', is not one of the 5 that have numbers; make `Characters` of all texts together");
/// # Ok::<(), dl_train::data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Characters {
    sorted: Vec<char>,
}

impl Characters {
    /// Numbers the characters that occur in `text`, in the order of Unicode.
    pub fn of(text: &str) -> Self {
        let mut sorted: Vec<char> = text.chars().collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self { sorted }
    }

    /// How many there are: numbers are below it.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The number of each character.
    ///
    /// # Errors
    /// [`DataError::Character`] for the first that has none.
    pub fn encode(&self, text: &str) -> Result<Array1<i64>, DataError> {
        let number = |(at, character): (usize, char)| match self.sorted.binary_search(&character) {
            Ok(number) => Ok(number as i64),
            Err(_) => Err(DataError::Character { at, character, known: self.len() }),
        };
        text.chars().enumerate().map(number).collect()
    }

    /// The text of numbers; the replacement character U+FFFD for those that stand for none.
    pub fn decode<'a>(&self, tokens: impl IntoIterator<Item = &'a i64>) -> String {
        let character = |&number: &i64| usize::try_from(number).ok().and_then(|number| self.sorted.get(number));
        tokens.into_iter().map(|number| character(number).copied().unwrap_or('\u{fffd}')).collect()
    }
}

/// Pieces of a sequence of numbers, each with the same piece one further on: what to read, and what comes next.
///
/// ```
/// use dl_train::data::{Dataset, Order::InOrder, Windows};
/// let tokens = ndarray::Array1::from_iter(0..8_i64);
/// let windows = Windows::new(&tokens, 3, 2)?; // of 3 numbers, a new one every 2
/// assert_eq!(windows.samples(), 3);
/// let (x, next) = windows.batches(2, InOrder).next().expect("a batch");
/// assert_eq!(x, ndarray::array![[0, 1, 2], [2, 3, 4]]);
/// assert_eq!(next, ndarray::array![[1, 2, 3], [3, 4, 5]]);
/// # Ok::<(), dl_train::data::DataError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Windows<'a> {
    tokens: ArrayView1<'a, i64>,
    length: usize,
    stride: usize,
}

impl<'a> Windows<'a> {
    /// Pieces of `length` numbers, one beginning every `stride` numbers: 1 for all there are, `length` for each number
    /// once.
    ///
    /// # Errors
    /// [`DataError::Window`] if `length` or `stride` is 0, or there are too few numbers for a single piece.
    pub fn new(tokens: impl Into<ArrayView1<'a, i64>>, length: usize, stride: usize) -> Result<Self, DataError> {
        let tokens = tokens.into();
        if length == 0 || stride == 0 || tokens.len() <= length {
            return Err(DataError::Window { length, stride, tokens: tokens.len() });
        }
        Ok(Self { tokens, length, stride })
    }
}

impl Dataset for Windows<'_> {
    type Batch = (Array2<i64>, Array2<i64>);

    fn samples(&self) -> usize {
        (self.tokens.len() - self.length - 1) / self.stride + 1
    }

    fn gather(&self, indices: &[usize]) -> (Array2<i64>, Array2<i64>) {
        let shifted = |shift: usize| {
            let mut batch = Array2::zeros((indices.len(), self.length));
            for (mut row, &index) in batch.outer_iter_mut().zip(indices) {
                let start = index * self.stride + shift;
                row.assign(&self.tokens.slice(s![start..start + self.length]));
            }
            batch
        };
        (shifted(0), shifted(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Order::{InOrder, Shuffle};

    #[test]
    fn windows_end_where_the_next_number_does() {
        let tokens = Array1::from_iter(0..10_i64);
        for (length, stride, expected) in [(3, 1, 7), (3, 3, 3), (9, 1, 1), (4, 4, 2), (1, 8, 2)] {
            let windows = Windows::new(&tokens, length, stride).unwrap();
            let (x, next) = windows.batches(0, InOrder).next().unwrap();
            assert_eq!((x.dim(), next.dim()), ((expected, length), (expected, length)), "{length} {stride}");
            assert_eq!(&x + 1, next);
            assert!(next.iter().all(|&token| token < 10) && next[[expected - 1, length - 1]] + stride as i64 >= 10);
        }
        let windows = Windows::new(tokens.view(), 2, 1).unwrap();
        let firsts: Vec<i64> = windows.batches(3, Shuffle(1)).flat_map(|(x, _)| x.column(0).to_vec()).collect();
        assert!(firsts != (0..8).collect::<Vec<_>>() && firsts.iter().sum::<i64>() == 28, "{firsts:?}");
    }

    #[test]
    fn windows_that_do_not_exist_are_refused() {
        let tokens = Array1::zeros(4);
        let message = |length, stride| Windows::new(&tokens, length, stride).unwrap_err().to_string();
        let expected = "windows of 4 numbers, each with the one that follows, need at least 5, but there are 4; \
                        use shorter ones";
        assert_eq!(message(4, 1), expected);
        let expected = "windows need a length and a stride of at least 1, but these are 0 and 1";
        assert_eq!(message(0, 1), expected);
        assert!(message(1, 0).ends_with("1 and 0"));
        assert!(Windows::new(&tokens, usize::MAX, 1).is_err());
    }

    #[test]
    fn texts_come_back() {
        let text = "été, \u{1f600}\n";
        let characters = Characters::of(text);
        assert_eq!(characters.decode(&characters.encode(text).unwrap()), text);
        assert_eq!(characters.decode(&[-1, 0, 99]), "\u{fffd}\n\u{fffd}");
        assert!(Characters::of("").is_empty() && Characters::of("").encode("").unwrap().is_empty());
    }
}
