//! The IDX format: a magic number (0, 0, element type, number of axes), each axis as a big-endian u32, then the elements.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;

use super::DataError;

/// Magic number of unsigned bytes with three axes.
pub(super) const IMAGES: u32 = 0x0803;
/// Magic number of unsigned bytes with one axis.
pub(super) const LABELS: u32 = 0x0801;

/// The header and elements of one file.
pub(super) struct Idx<const AXES: usize> {
    pub path: PathBuf,
    pub shape: [usize; AXES],
    pub bytes: Vec<u8>,
}

/// Reads `dir/name.gz` or `dir/name`, whichever exists, compressed or not whatever its name says. `check` sees the
/// shape before the elements are read.
pub(super) fn read<const AXES: usize>(
    dir: &Path,
    name: &str,
    what: &'static str,
    check: impl Fn(&Path, [usize; AXES]) -> Result<(), DataError>,
) -> Result<Idx<AXES>, DataError> {
    let tried = vec![dir.join(format!("{name}.gz")), dir.join(name)];
    for path in &tried {
        match File::open(path) {
            Ok(file) => return decode(path, file, check),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(DataError::Read { path: path.clone(), source });
            }
        }
    }
    Err(DataError::Missing { what, tried })
}

fn decode<const AXES: usize>(
    path: &Path,
    file: File,
    check: impl Fn(&Path, [usize; AXES]) -> Result<(), DataError>,
) -> Result<Idx<AXES>, DataError> {
    let failed = |source| DataError::Read { path: path.to_owned(), source };
    let mut file = BufReader::new(file);
    let zipped = io::BufRead::fill_buf(&mut file).map_err(failed)?.starts_with(&[0x1f, 0x8b]);
    let mut input: Box<dyn Read> = if zipped { Box::new(GzDecoder::new(file)) } else { Box::new(file) };

    // `take` bounds what a damaged header or an endless archive can make us read.
    let mut take = |limit: u64| {
        let mut bytes = Vec::new();
        input.by_ref().take(limit).read_to_end(&mut bytes).map_err(failed).map(|_| bytes)
    };
    let length = |expected, found: usize| DataError::Length { path: path.to_owned(), expected, found: found as u64 };

    let header_bytes = 4 + 4 * AXES;
    let header = take(header_bytes as u64)?;
    let words: Vec<u32> = header.as_chunks().0.iter().map(|&word| u32::from_be_bytes(word)).collect();
    let expected = 0x0800 + AXES as u32;
    match words.first() {
        Some(&found) if found != expected => {
            return Err(DataError::Magic { path: path.to_owned(), expected, found });
        }
        Some(_) if words.len() == 1 + AXES => {}
        _ => return Err(length(header_bytes as u64, header.len())),
    }
    let shape: [usize; AXES] = std::array::from_fn(|axis| words[1 + axis] as usize);
    check(path, shape)?;

    let elements = shape.iter().fold(1_u64, |product, &axis| product.saturating_mul(axis as u64));
    let bytes = take(elements.saturating_add(1))?;
    if bytes.len() as u64 != elements {
        return Err(length(elements.saturating_add(header_bytes as u64), header_bytes + bytes.len()));
    }
    Ok(Idx { path: path.to_owned(), shape, bytes })
}
