//! Floats of fewer bits, such as weights that were saved in half precision, as floats of more: no value changes.

use std::borrow::Cow;

use dl_ir::DType;
use safetensors::tensor::Dtype;

/// The little-endian elements of a file as those of a tensor: as they are, or as wider floats; `None` if some values
/// might change.
pub(crate) fn widened(bytes: &[u8], from: Dtype, to: DType) -> Option<Cow<'_, [u8]>> {
    Some(match (from, to) {
        (Dtype::F32, DType::F32)
        | (Dtype::F64, DType::F64)
        | (Dtype::I64, DType::I64)
        | (Dtype::I32, DType::I32)
        | (Dtype::U8, DType::U8)
        | (Dtype::BOOL, DType::Bool) => bytes.into(),
        (Dtype::F16, DType::F32) => each(bytes, |b| from_half(u16::from_le_bytes(b)).to_le_bytes()),
        (Dtype::F16, DType::F64) => each(bytes, |b| f64::from(from_half(u16::from_le_bytes(b))).to_le_bytes()),
        (Dtype::BF16, DType::F32) => each(bytes, |b| from_brain(u16::from_le_bytes(b)).to_le_bytes()),
        (Dtype::BF16, DType::F64) => each(bytes, |b| f64::from(from_brain(u16::from_le_bytes(b))).to_le_bytes()),
        (Dtype::F32, DType::F64) => each(bytes, |b| f64::from(f32::from_le_bytes(b)).to_le_bytes()),
        _ => return None,
    })
}

fn each<const FROM: usize, const TO: usize>(bytes: &[u8], wide: impl Fn([u8; FROM]) -> [u8; TO]) -> Cow<'static, [u8]> {
    bytes.as_chunks().0.iter().flat_map(|&element| wide(element)).collect::<Vec<u8>>().into()
}

/// IEEE's binary16: a sign, 5 bits of exponent, 10 of fraction.
fn from_half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (u32::from(bits >> 15) << 31, u32::from(bits >> 10 & 31), u32::from(bits & 0x3ff));
    match exponent {
        // Multiples of 2^-24, all of them normal numbers here.
        0 => f32::from_bits((fraction as f32 * 2f32.powi(-24)).to_bits() | sign),
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 127 - 15) << 23 | fraction << 13),
    }
}

/// The upper half of an `f32`.
fn from_brain(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_f32(bits: &[u16], from: Dtype) -> Vec<f32> {
        let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        let wide = widened(&bytes, from, DType::F32).unwrap();
        let doubles = widened(&bytes, from, DType::F64).unwrap();
        let singles: Vec<f32> = wide.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        for (single, &double) in singles.iter().zip(doubles.as_chunks().0) {
            let double = f64::from_le_bytes(double);
            assert!(double == f64::from(*single) || double.is_nan() && single.is_nan());
        }
        singles
    }

    #[test]
    fn halves_keep_their_values() {
        // From the table of IEEE 754: 1, -2, the largest, the least normal, the largest and the least subnormal, zeros.
        let bits = [0x3c00, 0xc000, 0x7bff, 0x0400, 0x03ff, 0x0001, 0x0000, 0x8000, 0x3555, 0x7c00, 0xfc00];
        let expected = [
            1.0,
            -2.0,
            65504.0,
            2f32.powi(-14),
            2f32.powi(-14) - 2f32.powi(-24),
            2f32.powi(-24),
            0.0,
            -0.0,
            0.333_251_95,
            f32::INFINITY,
            f32::NEG_INFINITY,
        ];
        let found = to_f32(&bits, Dtype::F16);
        assert_eq!(found.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), expected.map(f32::to_bits));
        assert!(to_f32(&[0x7e00, 0xfc01], Dtype::F16).iter().all(|v| v.is_nan()));
    }

    #[test]
    fn brain_floats_keep_their_values() {
        let found = to_f32(&[0x3f80, 0xc049, 0x0001, 0x7f80], Dtype::BF16);
        assert_eq!(found, [1.0, -3.140_625, 2f32.powi(-133), f32::INFINITY]);
        assert!(to_f32(&[0x7fc0], Dtype::BF16)[0].is_nan());
    }

    #[test]
    fn nothing_is_rounded() {
        let refused = |from, to| widened(&[0; 8], from, to).is_none();
        assert!(refused(Dtype::F64, DType::F32) && refused(Dtype::I64, DType::F32) && refused(Dtype::F16, DType::I32));
        assert!(refused(Dtype::I32, DType::I64), "integers keep their type");
        let wide = widened(&0.1f32.to_le_bytes(), Dtype::F32, DType::F64).unwrap().into_owned();
        assert_eq!(f64::from_le_bytes(wide.try_into().unwrap()), f64::from(0.1f32));
    }
}
