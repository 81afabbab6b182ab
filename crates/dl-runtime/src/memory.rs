//! Aligned memory and dense tensors of any element type.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::borrow::Cow;
use std::ptr::NonNull;

use dl_ir::{DType, Order};
use ndarray::{ArrayD, ArrayViewD, IxDyn};

use crate::array::Element;
use crate::error::{Error, Result};

/// Tensors begin on a cache line, which is also the widest vector.
pub(crate) const ALIGN: usize = 64;

/// The size and alignment of huge pages on x86-64 and, mostly, on AArch64.
const HUGE: usize = 2 << 20;

/// A zeroed block of memory, aligned to [`ALIGN`] and of a multiple of it.
pub(crate) struct Buffer {
    start: NonNull<u8>,
    size: usize,
    /// What was allocated: `start` lies in it.
    block: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a buffer owns its memory alone, as a Vec<u8> does.
unsafe impl Send for Buffer {}
// SAFETY: a shared buffer can only be read.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// At least `bytes` bytes of zeros; `what` is named when there is no memory.
    pub(crate) fn zeroed(bytes: usize, what: &str) -> Result<Buffer> {
        let no_memory = || Error::OutOfMemory { what: what.to_string(), bytes };
        let (size, layout) = Buffer::layout(bytes).ok_or_else(no_memory)?;
        // SAFETY: the layout's size is at least ALIGN, so not zero.
        let block = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(no_memory)?;
        let ahead = layout.size() - size;
        let start = match ahead {
            0 => block,
            // SAFETY: at most `ahead` bytes on, `size` bytes before the end of the block.
            _ => unsafe { block.add(block.as_ptr().align_offset(HUGE).min(ahead)) },
        };
        prefer_huge_pages(start.as_ptr(), size);
        Ok(Buffer { start, size, block, layout })
    }

    /// Fails as [`Buffer::zeroed`] would, without touching the memory.
    pub(crate) fn check(bytes: usize, what: &str) -> Result<()> {
        let no_memory = || Error::OutOfMemory { what: what.to_string(), bytes };
        let (_, layout) = Buffer::layout(bytes).ok_or_else(no_memory)?;
        // SAFETY: as above.
        let block = NonNull::new(unsafe { alloc(layout) }).ok_or_else(no_memory)?;
        // SAFETY: allocated just now with this layout.
        unsafe { dealloc(block.as_ptr(), layout) };
        Ok(())
    }

    /// The size of a buffer of so many bytes, and what to allocate for it. A large one is aligned here: an allocator
    /// that is asked for an alignment writes the zeros, which fresh pages have already.
    fn layout(bytes: usize) -> Option<(usize, Layout)> {
        let size = bytes.max(1).checked_next_multiple_of(ALIGN)?;
        let layout = match size < 2 * HUGE {
            true => Layout::from_size_align(size, ALIGN),
            false => Layout::from_size_align(size.checked_add(HUGE)?, 1),
        };
        Some((size, layout.ok()?))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the block is allocated, initialised (zeroed) and not written while `self` is shared.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.size) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.size) }
    }

    /// The same memory as addresses, which it holds from now on.
    pub(crate) fn pointers_mut(&mut self) -> &mut [*mut u8] {
        // SAFETY: as above; the block is aligned to more than an address is, and bytes of any value are one.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.size / size_of::<*mut u8>()) }
    }

    /// The address of the first byte. Writing through it needs exclusive access to the buffer.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this layout.
        unsafe { dealloc(self.block.as_ptr(), self.layout) }
    }
}

/// Asks for huge pages in a large block of memory which has not been touched: a page costs a fault when it is first
/// written and an entry of the TLB ever after. Only advice; the content does not change.
pub(crate) fn prefer_huge_pages(start: *mut u8, bytes: usize) {
    #[cfg(target_os = "linux")]
    if bytes >= 2 * HUGE {
        let ahead = start.align_offset(HUGE);
        let whole = (bytes - ahead) / HUGE * HUGE;
        // SAFETY: the range lies in the block, and this advice leaves content and access as they are.
        let _ = unsafe { libc::madvise(start.wrapping_add(ahead).cast(), whole, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, bytes);
}

/// A dense array of any element type. Its axes may lie in memory in another order than that in which they are declared
/// and shown to users.
pub(crate) struct Tensor {
    pub(crate) dtype: DType,
    /// As declared.
    pub(crate) shape: Vec<usize>,
    order: Order,
    data: Buffer,
}

impl Tensor {
    /// A tensor of zeros, whose axes lie as declared; `name` is named when there is no memory.
    pub(crate) fn zeros(dtype: DType, shape: &[usize], name: &str) -> Result<Tensor> {
        Tensor::zeros_in(dtype, shape, Order::declared(shape.len()), name)
    }

    /// A tensor of zeros, of that declared shape, whose axes lie in that order.
    pub(crate) fn zeros_in(dtype: DType, shape: &[usize], order: Order, name: &str) -> Result<Tensor> {
        let bytes = byte_len(dtype, shape)
            .ok_or_else(|| Error::OutOfMemory { what: format!("`{name}`"), bytes: usize::MAX })?;
        Ok(Tensor { dtype, shape: shape.to_vec(), order, data: Buffer::zeroed(bytes, &format!("`{name}`"))? })
    }

    /// The same elements, their axes lying in that order.
    pub(crate) fn reordered(&self, order: &Order, name: &str) -> Result<Tensor> {
        let mut tensor = Tensor::zeros_in(self.dtype, &self.shape, order.clone(), name)?;
        tensor.set_declared_bytes(&self.declared_bytes());
        Ok(tensor)
    }

    /// The order in which the axes lie.
    pub(crate) fn order(&self) -> &Order {
        &self.order
    }

    /// The size of each axis, as they lie in memory.
    pub(crate) fn stored_shape(&self) -> Vec<usize> {
        self.order.permuted(&self.shape)
    }

    /// Whether that is the size of each axis, as they lie in memory.
    pub(crate) fn lies_as(&self, shape: &[usize]) -> bool {
        self.order.axes().iter().map(|&axis| &self.shape[axis]).eq(shape)
    }

    /// The elements' bytes with the axes as declared.
    pub(crate) fn declared_bytes(&self) -> Cow<'_, [u8]> {
        if self.order.is_declared() {
            return self.bytes().into();
        }
        let mut bytes = vec![0; self.bytes().len()];
        permute(self.bytes(), &self.stored_shape(), &self.order.inverse(), self.dtype.size(), &mut bytes);
        bytes.into()
    }

    /// Sets the elements from as many bytes with the axes as declared.
    pub(crate) fn set_declared_bytes(&mut self, bytes: &[u8]) {
        let (shape, order, size) = (self.shape.clone(), self.order.clone(), self.dtype.size());
        permute(bytes, &shape, &order, size, self.bytes_mut());
    }

    /// The number of elements.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The type as text: `f32[32, 1, 3, 3]`.
    pub(crate) fn type_name(&self) -> String {
        type_name(self.dtype, &self.shape)
    }

    /// The elements' bytes, as they lie.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.data.bytes()[..self.len() * self.dtype.size()]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.len() * self.dtype.size();
        &mut self.data.bytes_mut()[..len]
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.data.as_ptr()
    }

    /// The elements as they lie, if they are of type `T`.
    pub(crate) fn as_slice<T: Element>(&self) -> Option<&[T]> {
        let valid = T::DTYPE == self.dtype && (T::DTYPE != DType::Bool || self.bytes().iter().all(|&byte| byte <= 1));
        // SAFETY: the type is that of the tensor, whose buffer is aligned to 64 and holds `len` initialised elements;
        // every bit pattern is a valid number, and bools were just checked.
        valid.then(|| unsafe { std::slice::from_raw_parts(self.data.as_ptr().cast::<T>(), self.len()) })
    }

    /// The elements as they lie, if they are of type `T`.
    pub(crate) fn as_slice_mut<T: Element>(&mut self) -> Option<&mut [T]> {
        self.as_slice::<T>()?;
        // SAFETY: as for `as_slice`, which has just checked it, and `self` is borrowed exclusively.
        Some(unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr().cast::<T>(), self.len()) })
    }

    /// Sets every element of a tensor of floats.
    pub(crate) fn fill(&mut self, value: f64) {
        if let Some(elements) = self.as_slice_mut::<f32>() {
            elements.fill(value as f32);
        } else if let Some(elements) = self.as_slice_mut::<f64>() {
            elements.fill(value);
        }
    }

    /// The elements with the axes as declared, if they are of type `T`.
    pub(crate) fn view<T: Element>(&self) -> Option<ArrayViewD<'_, T>> {
        let stored = ArrayViewD::from_shape(IxDyn(&self.stored_shape()), self.as_slice()?).ok()?;
        Some(stored.permuted_axes(IxDyn(self.order.inverse().axes())))
    }
}

impl Clone for Tensor {
    /// Ends the program if there is no memory, as a `Vec` does.
    fn clone(&self) -> Tensor {
        let Tensor { dtype, ref shape, ref order, .. } = *self;
        let mut copy = Tensor::zeros_in(dtype, shape, order.clone(), "a copy").unwrap_or_else(|_| {
            let layout = Layout::from_size_align(self.bytes().len(), ALIGN).unwrap_or(Layout::new::<u8>());
            std::alloc::handle_alloc_error(layout)
        });
        copy.bytes_mut().copy_from_slice(self.bytes());
        copy
    }
}

/// Copies a dense array of elements of `size` bytes so that axis i of the copy is axis `order[i]` of the array.
pub(crate) fn permute(from: &[u8], shape: &[usize], order: &Order, size: usize, to: &mut [u8]) {
    debug_assert_eq!((from.len(), shape.len()), (to.len(), order.axes().len()));
    if order.is_declared() {
        return to.copy_from_slice(from);
    }
    match size {
        1 => permute_elements::<1>(from, shape, order, to),
        4 => permute_elements::<4>(from, shape, order, to),
        _ => permute_elements::<8>(from, shape, order, to),
    }
}

fn permute_elements<const SIZE: usize>(from: &[u8], shape: &[usize], order: &Order, to: &mut [u8]) {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    let (shape, strides) = (order.permuted(shape), order.permuted(&strides));
    let (Some((&row, outer)), Some((&step, _))) = (shape.split_last(), strides.split_last()) else { return };
    let ((from, _), (to, _)) = (from.as_chunks::<SIZE>(), to.as_chunks_mut::<SIZE>());
    let (mut index, mut start) = (vec![0; outer.len()], 0);
    for row in to.chunks_exact_mut(row.max(1)) {
        let elements = from[start..].iter().step_by(step);
        row.iter_mut().zip(elements).for_each(|(to, from)| *to = *from);
        for axis in (0..outer.len()).rev() {
            index[axis] += 1;
            start += strides[axis];
            if index[axis] < outer[axis] {
                break;
            }
            start -= outer[axis] * strides[axis];
            index[axis] = 0;
        }
    }
}

/// The size in bytes of a dense array, unless it overflows.
pub(crate) fn byte_len(dtype: DType, shape: &[usize]) -> Option<usize> {
    let bytes = shape.iter().try_fold(dtype.size(), |bytes, &size| bytes.checked_mul(size))?;
    isize::try_from(bytes).is_ok().then_some(bytes)
}

/// `f32[2, 3]`.
pub(crate) fn type_name(dtype: DType, shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("{dtype}[{}]", sizes.join(", "))
}

/// Copies dense elements out of raw bytes. A byte of a bool that is not 0 counts as true.
pub(crate) fn array_from_bytes<T: Element>(bytes: &[u8], shape: &[usize]) -> Option<ArrayD<T>> {
    let len: usize = shape.iter().product();
    if len.checked_mul(size_of::<T>())? != bytes.len() {
        return None;
    }
    let mut out = vec![T::default(); len];
    if T::DTYPE == DType::Bool {
        let bools: Vec<u8> = bytes.iter().map(|&byte| u8::from(byte != 0)).collect();
        // SAFETY: `T` is bool, of one byte, and every source byte is 0 or 1; both hold `len` bytes and do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(bools.as_ptr(), out.as_mut_ptr().cast::<u8>(), len) };
    } else {
        // SAFETY: `T` is a number type, for which every bit pattern is valid; both hold `bytes.len()` bytes.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), out.as_mut_ptr().cast::<u8>(), bytes.len()) };
    }
    ArrayD::from_shape_vec(IxDyn(shape), out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_aligned_zeroed_and_typed() {
        let mut t = Tensor::zeros(DType::F32, &[3, 5], "t").unwrap();
        assert_eq!(t.as_ptr() as usize % ALIGN, 0);
        assert_eq!((t.len(), t.bytes().len(), t.type_name().as_str()), (15, 60, "f32[3, 5]"));
        t.as_slice_mut::<f32>().unwrap()[7] = 2.5;
        assert_eq!(t.view::<f32>().unwrap()[[1, 2]], 2.5);
        assert!(t.as_slice::<i32>().is_none());
    }

    #[test]
    fn axes_may_lie_in_another_order_than_declared() {
        let mut declared = Tensor::zeros(DType::F32, &[2, 3, 4], "t").unwrap();
        let values = declared.as_slice_mut::<f32>().unwrap();
        values.iter_mut().enumerate().for_each(|(i, v)| *v = i as f32);
        let (bytes, array) = (declared.bytes().to_vec(), declared.view::<f32>().unwrap().to_owned());
        let order = Order::new(vec![2, 0, 1]).unwrap();
        let mut stored = declared.reordered(&order, "t").unwrap();
        assert_eq!((stored.type_name().as_str(), stored.stored_shape()), ("f32[2, 3, 4]", vec![4, 2, 3]));
        assert_eq!(stored.as_slice::<f32>().unwrap()[..4], [0.0, 4.0, 8.0, 12.0]);
        assert_eq!(stored.view::<f32>().unwrap(), array);
        assert_eq!(stored.declared_bytes(), bytes);
        stored.bytes_mut().fill(0);
        stored.set_declared_bytes(&bytes);
        assert_eq!(stored.view::<f32>().unwrap(), array);
        let again = stored.reordered(&Order::declared(3), "t").unwrap();
        assert_eq!(again.bytes(), bytes);
        for (dtype, order) in [(DType::U8, &[1, 0]), (DType::F64, &[1, 0])] {
            let mut wide = Tensor::zeros_in(dtype, &[3, 2], Order::new(order.to_vec()).unwrap(), "t").unwrap();
            let bytes: Vec<u8> = (0..6 * dtype.size() as u8).collect();
            wide.set_declared_bytes(&bytes);
            assert_eq!(wide.declared_bytes(), bytes);
            assert_eq!(wide.bytes()[dtype.size()], 2 * dtype.size() as u8);
        }
    }

    #[test]
    fn large_buffers_are_aligned_and_zeroed() {
        for size in [2 * HUGE - 1, 2 * HUGE, 5 * HUGE + 3] {
            let mut buffer = Buffer::zeroed(size, "b").unwrap();
            assert_eq!((buffer.as_ptr() as usize % ALIGN, buffer.bytes().len()), (0, size.next_multiple_of(ALIGN)));
            assert!(buffer.bytes().iter().all(|&byte| byte == 0));
            buffer.bytes_mut().fill(1);
        }
        assert!(Buffer::check(HUGE, "b").is_ok() && Buffer::check(usize::MAX, "b").is_err());
    }

    #[test]
    fn empty_and_scalar_tensors_work() {
        assert_eq!(Tensor::zeros(DType::I64, &[], "s").unwrap().as_slice::<i64>().unwrap(), [0]);
        assert!(Tensor::zeros(DType::I64, &[4, 0], "e").unwrap().as_slice::<i64>().unwrap().is_empty());
    }

    #[test]
    fn impossible_sizes_are_errors() {
        let error = Tensor::zeros(DType::F64, &[usize::MAX / 4, 9], "big").err().unwrap();
        assert!(matches!(error, Error::OutOfMemory { .. }));
        assert!(matches!(Tensor::zeros(DType::F32, &[1 << 60], "big"), Err(Error::OutOfMemory { .. })));
    }

    #[test]
    fn bools_from_bytes_are_bools() {
        assert_eq!(
            array_from_bytes::<bool>(&[0, 2, 1], &[3]).unwrap().into_raw_vec_and_offset().0,
            [false, true, true]
        );
        let mut t = Tensor::zeros(DType::Bool, &[1], "t").unwrap();
        t.bytes_mut()[0] = 7;
        assert!(t.as_slice::<bool>().is_none(), "7 is no bool");
    }
}
