//! Results which kernels write straight into the arrays that the caller gets.

use std::mem::MaybeUninit;

use dl_ir::DType;
use ndarray::{ArrayD, IxDyn};

use crate::array::AnyArray;
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
    /// Memory for a result of `function`.
    pub(crate) fn new(dtype: DType, shape: &[usize], function: &str) -> Result<Fresh> {
        Ok(match dtype {
            DType::F32 => Fresh::F32(unwritten(shape, function)?),
            DType::F64 => Fresh::F64(unwritten(shape, function)?),
            DType::I64 => Fresh::I64(unwritten(shape, function)?),
            DType::I32 => Fresh::I32(unwritten(shape, function)?),
            DType::U8 => Fresh::U8(unwritten(shape, function)?),
            DType::Bool => Fresh::Bool(unwritten(shape, function)?),
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

fn unwritten<T>(shape: &[usize], function: &str) -> Result<ArrayD<MaybeUninit<T>>> {
    let len: usize = shape.iter().product();
    let no_memory = || Error::OutOfMemory { what: format!("a result of `{function}`"), bytes: len * size_of::<T>() };
    let mut elements: Vec<MaybeUninit<T>> = Vec::new();
    elements.try_reserve_exact(len).map_err(|_| no_memory())?;
    prefer_huge_pages(elements.as_mut_ptr().cast(), len * size_of::<T>());
    elements.resize_with(len, MaybeUninit::uninit);
    ArrayD::from_shape_vec(IxDyn(shape), elements).map_err(|_| no_memory())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_written_in_place() {
        let mut fresh = Fresh::new(DType::I32, &[2, 3], "f").unwrap();
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
    fn impossible_results_are_errors() {
        assert!(matches!(Fresh::new(DType::F32, &[1 << 60], "f"), Err(Error::OutOfMemory { .. })));
        assert!(Fresh::new(DType::Bool, &[3, 0], "f").is_ok());
    }
}
