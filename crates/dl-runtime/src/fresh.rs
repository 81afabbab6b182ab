//! Results which kernels write straight into the arrays that the caller gets.

use std::mem::{ManuallyDrop, MaybeUninit};

use dl_ir::DType;
use ndarray::{ArrayD, IxDyn};

use crate::array::{AnyArray, Element};
use crate::error::{Error, Result};
use crate::memory::prefer_huge_pages;

/// An array of a result, not yet written: zeros would cost a pass over memory.
pub(crate) enum Fresh {
    F32(ArrayD<MaybeUninit<f32>>),
    F64(ArrayD<MaybeUninit<f64>>),
    I64(ArrayD<MaybeUninit<i64>>),
    I32(ArrayD<MaybeUninit<i32>>),
    U8(ArrayD<MaybeUninit<u8>>),
    Bool(ArrayD<MaybeUninit<bool>>),
}

macro_rules! each {
    ($fresh:expr, $array:ident => $body:expr) => {
        match $fresh {
            Fresh::F32($array) => $body,
            Fresh::F64($array) => $body,
            Fresh::I64($array) => $body,
            Fresh::I32($array) => $body,
            Fresh::U8($array) => $body,
            Fresh::Bool($array) => $body,
        }
    };
}

impl Fresh {
    /// Memory for a result of `function`: that of `spare`, if it has the same type and as many elements.
    pub(crate) fn new(
        dtype: DType,
        shape: &[usize],
        function: &str,
        spare: Option<AnyArray<'static>>,
    ) -> Result<Fresh> {
        Ok(match dtype {
            DType::F32 => Fresh::F32(unwritten(shape, function, spare)?),
            DType::F64 => Fresh::F64(unwritten(shape, function, spare)?),
            DType::I64 => Fresh::I64(unwritten(shape, function, spare)?),
            DType::I32 => Fresh::I32(unwritten(shape, function, spare)?),
            DType::U8 => Fresh::U8(unwritten(shape, function, spare)?),
            DType::Bool => Fresh::Bool(unwritten(shape, function, spare)?),
        })
    }

    /// Where the elements are written, in row-major order.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        each!(self, array => array.as_mut_ptr().cast())
    }

    /// The array.
    ///
    /// # Safety
    /// Every element has been written; those of bools as 0 or 1.
    pub(crate) unsafe fn written(self) -> AnyArray<'static> {
        // SAFETY: by this function's contract.
        unsafe {
            match self {
                Fresh::F32(array) => AnyArray::F32(array.assume_init().into()),
                Fresh::F64(array) => AnyArray::F64(array.assume_init().into()),
                Fresh::I64(array) => AnyArray::I64(array.assume_init().into()),
                Fresh::I32(array) => AnyArray::I32(array.assume_init().into()),
                Fresh::U8(array) => AnyArray::U8(array.assume_init().into()),
                Fresh::Bool(array) => AnyArray::Bool(array.assume_init().into()),
            }
        }
    }
}

fn unwritten<T: Element>(
    shape: &[usize],
    function: &str,
    spare: Option<AnyArray<'static>>,
) -> Result<ArrayD<MaybeUninit<T>>> {
    let len: usize = shape.iter().product();
    let no_memory = || Error::OutOfMemory { what: format!("a result of `{function}`"), bytes: len * size_of::<T>() };
    let elements = match spare.and_then(|spare| reuse::<T>(spare, len)) {
        Some(elements) => elements,
        None => {
            let mut elements: Vec<MaybeUninit<T>> = Vec::new();
            elements.try_reserve_exact(len).map_err(|_| no_memory())?;
            prefer_huge_pages(elements.as_mut_ptr().cast(), len * size_of::<T>());
            elements.resize_with(len, MaybeUninit::uninit);
            elements
        }
    };
    ArrayD::from_shape_vec(IxDyn(shape), elements).map_err(|_| no_memory())
}

/// The memory of an array of `len` elements of that type.
fn reuse<T: Element>(spare: AnyArray<'static>, len: usize) -> Option<Vec<MaybeUninit<T>>> {
    if spare.dtype() != T::DTYPE {
        return None;
    }
    let (elements, _) = spare.into_array::<T, IxDyn>().ok()?.into_raw_vec_and_offset();
    if elements.len() != len {
        return None;
    }
    let mut elements = ManuallyDrop::new(elements);
    // SAFETY: the parts of a vector that is not dropped; `MaybeUninit<T>` has the layout of `T`, and every value of `T` is
    // one of it. Elements have no destructor.
    Some(unsafe { Vec::from_raw_parts(elements.as_mut_ptr().cast(), len, elements.capacity()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_written_in_place() {
        let mut fresh = Fresh::new(DType::I32, &[2, 3], "f", None).unwrap();
        let at = fresh.as_mut_ptr().cast::<i32>();
        // SAFETY: room for six elements, all of which are written.
        let array = unsafe {
            (0..6).for_each(|i| at.add(i).write(i as i32));
            fresh.written()
        };
        assert_eq!(array.dense_ptr(), Some(at.cast_const().cast()));
        assert_eq!(array.into_array::<i32, ndarray::Ix2>().unwrap(), ndarray::array![[0, 1, 2], [3, 4, 5]]);
    }

    #[test]
    fn memory_of_an_array_as_long_is_used_again() {
        let spare = |len: usize| -> AnyArray<'static> { AnyArray::F32(ndarray::Array1::zeros(len).into_dyn().into()) };
        let twelve = spare(12);
        let at = twelve.dense_ptr();
        let mut fresh = Fresh::new(DType::F32, &[3, 4], "f", Some(twelve)).unwrap();
        assert_eq!(Some(fresh.as_mut_ptr().cast_const()), at);
        // SAFETY: it held zeros before.
        assert_eq!(unsafe { fresh.written() }.shape(), [3, 4]);
        for (dtype, len) in [(DType::F32, 11), (DType::F32, 13), (DType::I32, 12), (DType::F32, 0)] {
            let other = spare(len);
            let mut fresh = Fresh::new(dtype, &[3, 4], "f", Some(other)).unwrap();
            let start = fresh.as_mut_ptr();
            // SAFETY: room for twelve elements of four bytes.
            unsafe { start.write_bytes(0, 48) };
        }
    }

    #[test]
    fn impossible_results_are_errors() {
        assert!(matches!(Fresh::new(DType::F32, &[1 << 60], "f", None), Err(Error::OutOfMemory { .. })));
        assert!(Fresh::new(DType::Bool, &[3, 0], "f", None).is_ok());
    }
}
