//! Images in files, to look at what a model sees or makes.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use ndarray::{Array3, ArrayRef4, s};

/// Writes images `[N, C, H, W]` with values from 0 (black) to 1 in one PNG file, side by side, so many in a row.
///
/// One channel is grey, three are red, green and blue. Values outside of 0 to 1 are held there, NaN is black. Images
/// lie two black pixels apart. PyTorch: `torchvision.utils.save_image`.
///
/// ```no_run
/// # let images = ndarray::Array4::<f32>::zeros((64, 1, 28, 28));
/// dl_train::picture::save_png("samples.png", &images, 8)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] if there is no pixel, another number of channels, or `columns` is 0; what the
/// operating system says if the file cannot be written.
pub fn save_png(path: impl AsRef<Path>, images: &ArrayRef4<f32>, columns: usize) -> io::Result<()> {
    fs::write(path, png(&grid(images, columns)?)?)
}

/// Space between images, in pixels.
const GAP: usize = 2;

/// One image `[H, W, C]` of all.
fn grid(images: &ArrayRef4<f32>, columns: usize) -> io::Result<Array3<u8>> {
    let (count, channels, height, width) = images.dim();
    let refuse = |message: String| Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    if images.is_empty() || columns == 0 {
        return refuse(format!("there is nothing to show: images {:?}, {columns} in a row", images.shape()));
    }
    if channels != 1 && channels != 3 {
        return refuse(format!(
            "images {:?} have {channels} channels; grey ones have 1, coloured ones 3",
            images.shape()
        ));
    }
    let columns = columns.min(count);
    let (tall, wide) = (height + GAP, width + GAP);
    let mut all = Array3::zeros((count.div_ceil(columns) * tall - GAP, columns * wide - GAP, channels));
    for (i, image) in images.outer_iter().enumerate() {
        let (top, left) = (i / columns * tall, i % columns * wide);
        let mut place = all.slice_mut(s![top..top + height, left..left + width, ..]);
        // Conversion of floats to integers holds them in range and makes 0 of NaN.
        place.assign(&image.permuted_axes([1, 2, 0]).mapv(|value| (255.0 * value).round() as u8));
    }
    Ok(all)
}

/// The bytes of a PNG file of an image `[H, W, C]`.
fn png(image: &Array3<u8>) -> io::Result<Vec<u8>> {
    let (height, width, channels) = image.dim();
    let side = |size: usize| u32::try_from(size).map_err(|_| io::Error::other(format!("{size} pixels are too many")));
    let colour = if channels == 1 { 0 } else { 2 };
    let mut header = [side(width)?.to_be_bytes(), side(height)?.to_be_bytes()].concat();
    header.extend([8, colour, 0, 0, 0]); // bits of a sample, kind of colour, compression, filter, not interlaced
    let mut pixels = ZlibEncoder::new(vec![], Compression::default());
    for row in image.outer_iter() {
        pixels.write_all(&[0])?; // this row is not filtered
        pixels.write_all(&row.iter().copied().collect::<Vec<u8>>())?;
    }
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", header), (b"IDAT", pixels.finish()?), (b"IEND", vec![])] {
        let mut crc = Crc::new();
        crc.update(kind);
        crc.update(&data);
        file.extend(side(data.len())?.to_be_bytes());
        file.extend([&kind[..], &data, &crc.sum().to_be_bytes()].concat());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::ZlibDecoder;
    use ndarray::{Array4, array};

    use super::*;

    #[test]
    fn images_lie_in_rows_with_space_between() {
        let images =
            Array4::from_shape_fn((3, 1, 1, 2), |(i, _, _, x)| [0.0, 1.0, 0.5, 2.0, f32::NAN, -1.0][2 * i + x]);
        let all = grid(&images, 2).unwrap();
        assert_eq!(
            all.slice(s![.., .., 0]),
            array![[0, 255, 0, 0, 128, 255], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0],]
        );
        assert_eq!(grid(&images, 9).unwrap().dim(), (1, 10, 1));
    }

    #[test]
    fn files_hold_what_the_format_asks_for() {
        let image = Array3::from_shape_fn((2, 3, 3), |(y, x, c)| (100 * y + 10 * x + c) as u8);
        let file = png(&image).unwrap();
        assert_eq!(file[..8], *b"\x89PNG\r\n\x1a\n");
        let mut rest = &file[8..];
        let mut chunks = vec![];
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let mut crc = Crc::new();
            crc.update(&tail[..4 + length]);
            assert_eq!(tail[4 + length..][..4], crc.sum().to_be_bytes());
            chunks.push((&tail[..4], &tail[4..4 + length]));
            rest = &tail[8 + length..];
        }
        assert_eq!(chunks[0], (&b"IHDR"[..], &[0, 0, 0, 3, 0, 0, 0, 2, 8, 2, 0, 0, 0][..]));
        let mut pixels = vec![];
        ZlibDecoder::new(chunks[1].1).read_to_end(&mut pixels).unwrap();
        assert_eq!(pixels, [0, 0, 1, 2, 10, 11, 12, 20, 21, 22, 0, 100, 101, 102, 110, 111, 112, 120, 121, 122]);
        // The check value of an end without data is a constant of the format.
        assert_eq!(file[file.len() - 12..], *b"\0\0\0\0IEND\xae\x42\x60\x82");
    }

    #[test]
    fn what_cannot_be_shown_is_refused() {
        let refused = |shape, columns| {
            let error = save_png("unwritten.png", &Array4::zeros(shape), columns).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            error.to_string()
        };
        assert_eq!(refused((0, 1, 2, 2), 1), "there is nothing to show: images [0, 1, 2, 2], 1 in a row");
        assert_eq!(refused((1, 1, 2, 2), 0), "there is nothing to show: images [1, 1, 2, 2], 0 in a row");
        let channels = "images [1, 2, 4, 4] have 2 channels; grey ones have 1, coloured ones 3";
        assert_eq!(refused((1, 2, 4, 4), 1), channels);
    }
}
