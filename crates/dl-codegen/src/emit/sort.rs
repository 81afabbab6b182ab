//! Sorting of rows: a library function of each element type, which kernels call.
//!
//! A key is an integer that orders as its number does: equal numbers have equal keys whatever their sign of zero, also
//! where the CPU takes denormals for zeros. Of equal keys the lower position comes first, so that no two elements are
//! equal and an unstable sort in place, without further memory, is a stable one.

use super::*;

/// An element that can be sorted.
pub(super) trait Key: Copy {
    /// An integer in the same order.
    fn key(self) -> i64;
}

impl Key for f32 {
    fn key(self) -> i64 {
        let size = i64::from(self.to_bits() & (u32::MAX >> 1));
        match size {
            _ if size > i64::from(f32::INFINITY.to_bits()) => i64::MAX,
            _ if self.to_bits() >> 31 == 1 => -size,
            _ => size,
        }
    }
}

impl Key for f64 {
    fn key(self) -> i64 {
        let size = (self.to_bits() & (u64::MAX >> 1)) as i64;
        match size {
            _ if size > f64::INFINITY.to_bits() as i64 => i64::MAX,
            _ if self.to_bits() >> 63 == 1 => -size,
            _ => size,
        }
    }
}

impl Key for i64 {
    fn key(self) -> i64 {
        self
    }
}

impl Key for i32 {
    fn key(self) -> i64 {
        i64::from(self)
    }
}

impl Key for u8 {
    fn key(self) -> i64 {
        i64::from(self)
    }
}

/// Writes the positions of `len` elements from `from` on, in order, to `to` and what follows it.
pub(super) extern "C" fn sort<T: Key>(from: *const T, to: *mut i64, len: i64, descending: i64) {
    let len = len as usize;
    // SAFETY: the kernel's verifier has proved that `len` elements from here on lie in one buffer, and a kernel that sorts
    // never writes to what it reads. Every bit pattern is an element of these types.
    let row = unsafe { std::slice::from_raw_parts(from, len) };
    // SAFETY: as above, and nobody else touches the row that this part writes.
    let order = unsafe { std::slice::from_raw_parts_mut(to, len) };
    order.iter_mut().zip(0..).for_each(|(place, i)| *place = i);
    let key = |i: i64| row[i as usize].key();
    match descending {
        0 => order.sort_unstable_by(|&a, &b| key(a).cmp(&key(b)).then(a.cmp(&b))),
        _ => order.sort_unstable_by(|&a, &b| key(b).cmp(&key(a)).then(a.cmp(&b))),
    }
}

impl Emitter<'_> {
    /// Sorts a row.
    pub fn sort(&mut self, from: &Place, to: &Place, len: u64, descending: bool) {
        let dtype = self.kernel.bufs[from.buf.0 as usize].dtype;
        let args = [from, to].map(|place| {
            let Address::Strided { pointer, disp, .. } = self.address(place) else {
                unreachable!("scalar code has no lanes")
            };
            self.b.ins().iadd_imm_s(pointer, i64::from(disp))
        });
        let args = [args[0], args[1], self.iconst(len as i64), self.iconst(i64::from(descending))];
        self.invoke(externs::sort(dtype), &args);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order<T: Key>(row: &[T], descending: bool) -> Vec<i64> {
        let mut order = vec![-1; row.len()];
        sort(row.as_ptr(), order.as_mut_ptr(), row.len() as i64, i64::from(descending));
        order
    }

    #[test]
    fn equal_numbers_keep_their_order_and_nan_is_greatest() {
        let row = [0.0f32, f32::NAN, -1.0, -0.0, f32::INFINITY, 0.0, f32::NEG_INFINITY, -f32::NAN];
        assert_eq!(order(&row, false), [6, 2, 0, 3, 5, 4, 1, 7]);
        assert_eq!(order(&row, true), [1, 7, 4, 0, 3, 5, 2, 6]);
        let row = row.map(f64::from);
        assert_eq!(order(&row, false), [6, 2, 0, 3, 5, 4, 1, 7]);
        assert_eq!(order(&row, true), [1, 7, 4, 0, 3, 5, 2, 6]);
    }

    #[test]
    fn whole_numbers_are_sorted_to_their_ends() {
        assert_eq!(order(&[3i64, i64::MIN, i64::MAX, 3], false), [1, 0, 3, 2]);
        assert_eq!(order(&[3i32, i32::MIN, i32::MAX, 3], true), [2, 0, 3, 1]);
        assert_eq!(order(&[3u8, 0, 255, 3], true), [2, 0, 3, 1]);
    }
}
