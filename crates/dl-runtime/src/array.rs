//! Arrays at the boundary: ndarray's arrays of any element type and rank, in and out.

use dl_ir::{DType, Order};
use ndarray::{Array, ArrayBase, ArrayD, ArrayRef, ArrayView, CowArray, Data, Dimension, Ix0, IxDyn, aview0};

use crate::error::{Error, Result};
use crate::memory::array_from_bytes;

/// An element type of arrays at the boundary: `f32`, `f64`, `i64`, `i32`, `u8`, `bool`.
pub trait Element: sealed::Sealed + Copy + Default + Send + Sync + std::fmt::Debug + 'static {
    /// The type of such elements in a graph.
    const DTYPE: DType;
}

mod sealed {
    use super::AnyArray;
    use ndarray::{ArrayD, CowArray, IxDyn};

    pub trait Sealed: Sized {
        fn wrap(array: CowArray<'_, Self, IxDyn>) -> AnyArray<'_>;
        fn unwrap(array: AnyArray<'_>) -> Option<ArrayD<Self>>;
    }
}

/// An array of any element type and rank, borrowed or owned: an argument or a result of a model's function.
#[derive(Debug, Clone)]
pub enum AnyArray<'a> {
    /// Of `f32`.
    F32(CowArray<'a, f32, IxDyn>),
    /// Of `f64`.
    F64(CowArray<'a, f64, IxDyn>),
    /// Of `i64`.
    I64(CowArray<'a, i64, IxDyn>),
    /// Of `i32`.
    I32(CowArray<'a, i32, IxDyn>),
    /// Of `u8`.
    U8(CowArray<'a, u8, IxDyn>),
    /// Of `bool`.
    Bool(CowArray<'a, bool, IxDyn>),
}

macro_rules! elements {
    ($($ty:ty => $dtype:ident),*) => { $(
        impl sealed::Sealed for $ty {
            fn wrap(array: CowArray<'_, Self, IxDyn>) -> AnyArray<'_> {
                AnyArray::$dtype(array)
            }

            fn unwrap(array: AnyArray<'_>) -> Option<ArrayD<Self>> {
                match array {
                    AnyArray::$dtype(array) => Some(array.into_owned()),
                    _ => None,
                }
            }
        }

        impl Element for $ty {
            const DTYPE: DType = DType::$dtype;
        }

        impl<'a> IntoArg<'a, $ty, Ix0> for $ty {
            fn into_arg(self) -> AnyArray<'a> {
                AnyArray::$dtype(CowArray::from(aview0(&self).to_owned().into_dyn()))
            }
        }
    )* };
}
elements!(f32 => F32, f64 => F64, i64 => I64, i32 => I32, u8 => U8, bool => Bool);

/// Does `$body` with `$array` being the typed array inside.
macro_rules! each {
    ($any:expr, $array:ident => $body:expr) => {
        match $any {
            AnyArray::F32($array) => $body,
            AnyArray::F64($array) => $body,
            AnyArray::I64($array) => $body,
            AnyArray::I32($array) => $body,
            AnyArray::U8($array) => $body,
            AnyArray::Bool($array) => $body,
        }
    };
}

impl AnyArray<'_> {
    /// The element type.
    pub fn dtype(&self) -> DType {
        match self {
            AnyArray::F32(_) => DType::F32,
            AnyArray::F64(_) => DType::F64,
            AnyArray::I64(_) => DType::I64,
            AnyArray::I32(_) => DType::I32,
            AnyArray::U8(_) => DType::U8,
            AnyArray::Bool(_) => DType::Bool,
        }
    }

    /// The size of each axis.
    pub fn shape(&self) -> &[usize] {
        each!(self, array => array.shape())
    }

    /// The elements as an array of a known element type and rank.
    ///
    /// Errors: [`Error::Internal`] if it has others; the methods that `model!` writes ask for the declared ones.
    pub fn into_array<T: Element, D: Dimension>(self) -> Result<Array<T, D>> {
        let (dtype, rank) = (self.dtype(), self.shape().len());
        let wrong = || {
            let found = format!("an array of {dtype} of rank {rank} was asked for as one of {}", T::DTYPE);
            Error::internal("returning a result", found)
        };
        T::unwrap(self).ok_or_else(wrong)?.into_dimensionality().map_err(|_| wrong())
    }

    /// An array whose axes lie in that order, with its axes as declared, in row-major order.
    pub(crate) fn declared(self, order: &Order) -> AnyArray<'static> {
        let axes = IxDyn(order.inverse().axes());
        each!(self, array => sealed::Sealed::wrap(array.permuted_axes(axes).as_standard_layout().into_owned().into()))
    }

    /// A copy of dense row-major elements. `None` if there are too many or too few.
    pub(crate) fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Option<AnyArray<'static>> {
        Some(match dtype {
            DType::F32 => AnyArray::F32(array_from_bytes(bytes, shape)?.into()),
            DType::F64 => AnyArray::F64(array_from_bytes(bytes, shape)?.into()),
            DType::I64 => AnyArray::I64(array_from_bytes(bytes, shape)?.into()),
            DType::I32 => AnyArray::I32(array_from_bytes(bytes, shape)?.into()),
            DType::U8 => AnyArray::U8(array_from_bytes(bytes, shape)?.into()),
            DType::Bool => AnyArray::Bool(array_from_bytes(bytes, shape)?.into()),
        })
    }

    /// Where the elements begin, if they lie densely in row-major order, so that a kernel can read them in place.
    pub(crate) fn dense_ptr(&self) -> Option<*const u8> {
        each!(self, array => array.as_slice().map(|elements| elements.as_ptr().cast()))
    }

    /// Copies the elements in row-major order to `to`, which holds exactly as many bytes.
    pub(crate) fn copy_to(&self, to: &mut [u8]) {
        match self {
            AnyArray::F32(array) => copy(array, to, |v| v.to_ne_bytes()),
            AnyArray::F64(array) => copy(array, to, |v| v.to_ne_bytes()),
            AnyArray::I64(array) => copy(array, to, |v| v.to_ne_bytes()),
            AnyArray::I32(array) => copy(array, to, |v| v.to_ne_bytes()),
            AnyArray::U8(array) => copy(array, to, |v| [v]),
            AnyArray::Bool(array) => copy(array, to, |v| [u8::from(v)]),
        }
    }
}

fn copy<T: Copy, const BYTES: usize>(array: &CowArray<'_, T, IxDyn>, to: &mut [u8], bytes: impl Fn(T) -> [u8; BYTES]) {
    debug_assert_eq!(array.len() * BYTES, to.len());
    let (chunks, _) = to.as_chunks_mut::<BYTES>();
    for (to, &value) in chunks.iter_mut().zip(array.iter()) {
        *to = bytes(value);
    }
}

/// What can be passed for an argument of element type `T` and rank `D`: a view or a reference to an array, whatever its
/// strides, or a plain number for a scalar.
#[diagnostic::on_unimplemented(
    message = "this argument must be a reference to an ndarray array of `{T}` with dimension `{D}`",
    label = "expected `&Array<{T}, {D}>` or `&ArrayView<{T}, {D}>`, found `{Self}`",
    note = "`.mapv(|v| v as {T})` converts elements; `.insert_axis(Axis(0))` makes a batch of one"
)]
pub trait IntoArg<'a, T: Element, D: Dimension> {
    /// The argument with its type erased.
    fn into_arg(self) -> AnyArray<'a>;
}

impl<'a, T: Element, D: Dimension, S: Data<Elem = T>> IntoArg<'a, T, D> for &'a ArrayBase<S, D, T> {
    fn into_arg(self) -> AnyArray<'a> {
        T::wrap(CowArray::from(self.view().into_dyn()))
    }
}

impl<'a, T: Element, D: Dimension> IntoArg<'a, T, D> for &'a ArrayRef<T, D> {
    fn into_arg(self) -> AnyArray<'a> {
        T::wrap(CowArray::from(self.view().into_dyn()))
    }
}

impl<'a, T: Element, D: Dimension> IntoArg<'a, T, D> for ArrayView<'a, T, D> {
    fn into_arg(self) -> AnyArray<'a> {
        T::wrap(CowArray::from(self.into_dyn()))
    }
}

/// The memory of an array that is about to be replaced, for [`Model::call_with`](crate::Model::call_with); an empty array
/// is left.
pub fn spare<T: Element, D: Dimension>(array: &mut Array<T, D>) -> Option<AnyArray<'static>> {
    Some(T::wrap(CowArray::from(std::mem::take(array).into_dyn())))
}

/// The results of a function, in order.
#[derive(Debug, Clone)]
pub struct Outputs(pub(crate) Vec<AnyArray<'static>>);

impl Outputs {
    /// The number of results.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the next result, the first at first, as an array of its declared element type and rank.
    pub fn take<T: Element, D: Dimension>(&mut self) -> Result<Array<T, D>> {
        if self.0.is_empty() {
            return Err(Error::internal("returning a result", "the function has fewer results"));
        }
        self.0.remove(0).into_array()
    }
}

/// Gradients of a loss, one for each trainable parameter that it depends on.
#[derive(Debug, Clone)]
pub struct Gradients(pub(crate) Vec<(String, AnyArray<'static>)>);

impl Gradients {
    /// The parameters' names, in the order of declaration.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The gradient of the parameter `name`, in its shape. `None` if the loss does not depend on it, or if it is not of
    /// element type `T`.
    pub fn get<T: Element>(&self, name: &str) -> Option<ArrayD<T>> {
        self.0.iter().find(|(n, _)| n == name).and_then(|(_, array)| T::unwrap(array.clone()))
    }

    /// All names and gradients.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &AnyArray<'static>)> {
        self.0.iter().map(|(name, array)| (name.as_str(), array))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Ix1, Ix2, array, s};

    fn arg<'a, T: Element, D: Dimension>(value: impl IntoArg<'a, T, D>) -> AnyArray<'a> {
        value.into_arg()
    }

    #[test]
    fn dense_arrays_are_used_in_place_and_others_copied() {
        let a = array![[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
        assert_eq!(arg::<f32, Ix2>(&a).dense_ptr(), Some(a.as_ptr().cast()));
        for (view, expected) in
            [(a.slice(s![.., 1..]), [2.0f32, 3.0, 5.0, 6.0]), (a.slice(s![..;-1, ..2]), [4.0, 5.0, 1.0, 2.0])]
        {
            let any = arg::<f32, Ix2>(&view);
            assert_eq!(any.dense_ptr(), None);
            let mut bytes = [0; 16];
            any.copy_to(&mut bytes);
            let back = AnyArray::from_bytes(DType::F32, &[2, 2], &bytes).unwrap().into_array::<f32, Ix2>().unwrap();
            assert_eq!(back.into_raw_vec_and_offset().0, expected);
        }
    }

    #[test]
    fn scalars_and_every_element_type_pass() {
        assert!(arg::<f32, Ix0>(2.5).shape().is_empty());
        for (any, dtype) in [
            (arg::<f64, Ix1>(&array![1.0]), DType::F64),
            (arg::<i64, Ix1>(&array![1]), DType::I64),
            (arg::<i32, Ix1>(&array![1]), DType::I32),
            (arg::<u8, Ix1>(&array![1]), DType::U8),
            (arg::<bool, Ix1>(&array![true]), DType::Bool),
        ] {
            assert_eq!(any.dtype(), dtype);
            let mut bytes = vec![0; dtype.size()];
            any.copy_to(&mut bytes);
            assert_eq!(format!("{any:?}"), format!("{:?}", AnyArray::from_bytes(dtype, &[1], &bytes).unwrap()));
        }
    }

    #[test]
    fn results_are_checked() {
        let mut outputs = Outputs(vec![AnyArray::F32(Array2::<f32>::zeros((2, 3)).into_dyn().into())]);
        assert!(outputs.clone().take::<i64, Ix2>().is_err());
        assert!(outputs.clone().take::<f32, Ix1>().is_err());
        assert_eq!(outputs.take::<f32, Ix2>().unwrap().dim(), (2, 3));
        assert!(outputs.take::<f32, Ix2>().is_err());
        assert!(AnyArray::from_bytes(DType::F32, &[2], &[0; 7]).is_none());
    }
}
