//! Values of the evaluator.

use crate::types::{DType, Scalar, Type};

/// A dense tensor in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The element type.
    pub dtype: DType,
    /// The size of each axis.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Data,
}

/// Elements, each representable in the tensor's element type.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Of f32 and f64.
    Float(Vec<f64>),
    /// Of the integer types and bool (0 or 1).
    Int(Vec<i64>),
}

impl Tensor {
    /// A tensor of floats, rounded to `dtype`.
    ///
    /// # Panics
    /// If `dtype` is not a float or the number of values is not that of the shape.
    pub fn floats(dtype: DType, shape: &[usize], mut values: Vec<f64>) -> Tensor {
        assert!(dtype.is_float(), "floats for a tensor of {dtype}");
        assert_eq!(shape.iter().product::<usize>(), values.len(), "values for a tensor of shape {shape:?}");
        if dtype == DType::F32 {
            values.iter_mut().for_each(|v| *v = f64::from(*v as f32));
        }
        Tensor { dtype, shape: shape.to_vec(), data: Data::Float(values) }
    }

    /// A tensor of integers, wrapped to `dtype`, or of truth values.
    ///
    /// # Panics
    /// If `dtype` is a float or the number of values is not that of the shape.
    pub fn ints(dtype: DType, shape: &[usize], mut values: Vec<i64>) -> Tensor {
        assert!(!dtype.is_float(), "integers for a tensor of {dtype}");
        assert_eq!(shape.iter().product::<usize>(), values.len(), "values for a tensor of shape {shape:?}");
        for v in &mut values {
            *v = match dtype {
                DType::I32 => i64::from(*v as i32),
                DType::U8 => i64::from(*v as u8),
                DType::Bool => i64::from(*v != 0),
                _ => *v,
            };
        }
        Tensor { dtype, shape: shape.to_vec(), data: Data::Int(values) }
    }

    /// A tensor from f32 values.
    ///
    /// # Panics
    /// If their number is not that of the shape.
    pub fn f32s(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::floats(DType::F32, shape, values.iter().map(|&v| f64::from(v)).collect())
    }

    /// A tensor with every element `value`.
    pub fn full(dtype: DType, shape: &[usize], value: Scalar) -> Tensor {
        let n = shape.iter().product();
        match dtype.is_float() {
            true => Tensor::floats(dtype, shape, vec![value.as_f64(); n]),
            false => Tensor::ints(dtype, shape, vec![value.as_i64(); n]),
        }
    }

    /// A tensor from the bytes of its elements in native order; `None` if their number is wrong.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Option<Tensor> {
        let n: usize = shape.iter().product();
        if bytes.len() != n * dtype.size() {
            return None;
        }
        Some(match dtype {
            DType::F32 => Tensor::floats(dtype, shape, read(bytes, |b| f64::from(f32::from_ne_bytes(b)))),
            DType::F64 => Tensor::floats(dtype, shape, read(bytes, f64::from_ne_bytes)),
            DType::I64 => Tensor::ints(dtype, shape, read(bytes, i64::from_ne_bytes)),
            DType::I32 => Tensor::ints(dtype, shape, read(bytes, |b| i64::from(i32::from_ne_bytes(b)))),
            DType::U8 | DType::Bool => Tensor::ints(dtype, shape, read(bytes, |b: [u8; 1]| i64::from(b[0]))),
        })
    }

    /// The bytes of the elements in native order.
    pub fn to_bytes(&self) -> Vec<u8> {
        match (&self.data, self.dtype) {
            (Data::Float(v), DType::F32) => v.iter().flat_map(|&v| (v as f32).to_ne_bytes()).collect(),
            (Data::Float(v), _) => v.iter().flat_map(|v| v.to_ne_bytes()).collect(),
            (Data::Int(v), DType::I64) => v.iter().flat_map(|v| v.to_ne_bytes()).collect(),
            (Data::Int(v), DType::I32) => v.iter().flat_map(|&v| (v as i32).to_ne_bytes()).collect(),
            (Data::Int(v), _) => v.iter().map(|&v| v as u8).collect(),
        }
    }

    /// Part `at` along the first axis, which disappears.
    ///
    /// # Panics
    /// If there is none.
    pub fn part(&self, at: usize) -> Tensor {
        let shape = self.shape[1..].to_vec();
        let len: usize = shape.iter().product();
        let range = at * len..(at + 1) * len;
        let data = match &self.data {
            Data::Float(v) => Data::Float(v[range].to_vec()),
            Data::Int(v) => Data::Int(v[range].to_vec()),
        };
        Tensor { dtype: self.dtype, shape, data }
    }

    /// Tensors of one type joined along a new first axis.
    ///
    /// # Panics
    /// If there are none or they differ in type.
    pub fn stack(parts: &[Tensor]) -> Tensor {
        let mut stacked = parts[0].clone();
        for part in &parts[1..] {
            assert_eq!(part.ty(), parts[0].ty(), "parts of different types");
            match (&mut stacked.data, &part.data) {
                (Data::Float(all), Data::Float(part)) => all.extend(part),
                (Data::Int(all), Data::Int(part)) => all.extend(part),
                _ => {}
            }
        }
        stacked.shape.insert(0, parts.len());
        stacked
    }

    /// The type.
    pub fn ty(&self) -> Type {
        Type::new(self.dtype, self.shape.iter().copied())
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at position `i` in row-major order.
    ///
    /// # Panics
    /// If there is none.
    pub fn get(&self, i: usize) -> Scalar {
        match &self.data {
            Data::Float(v) => Scalar::Float(v[i]),
            Data::Int(v) if self.dtype == DType::Bool => Scalar::Bool(v[i] != 0),
            Data::Int(v) => Scalar::Int(v[i]),
        }
    }

    /// All elements as f64; exact but for large i64.
    pub fn to_f64s(&self) -> Vec<f64> {
        match &self.data {
            Data::Float(v) => v.clone(),
            Data::Int(v) => v.iter().map(|&v| v as f64).collect(),
        }
    }

    /// All elements as i64; floats are truncated.
    pub fn to_i64s(&self) -> Vec<i64> {
        match &self.data {
            Data::Float(v) => v.iter().map(|&v| v as i64).collect(),
            Data::Int(v) => v.clone(),
        }
    }

    /// The elements in another element type, converted as by the op `cast`.
    pub fn cast(&self, dtype: DType) -> Tensor {
        match (&self.data, dtype) {
            (Data::Float(v), DType::F32 | DType::F64) => Tensor::floats(dtype, &self.shape, v.clone()),
            (Data::Float(v), _) => {
                let values = v.iter().map(|&v| Scalar::of(dtype, v).as_i64()).collect();
                Tensor::ints(dtype, &self.shape, values)
            }
            // An i64 is rounded once, straight to f32.
            (Data::Int(v), DType::F32) => {
                Tensor::floats(dtype, &self.shape, v.iter().map(|&v| f64::from(v as f32)).collect())
            }
            (Data::Int(v), DType::F64) => Tensor::floats(dtype, &self.shape, v.iter().map(|&v| v as f64).collect()),
            (Data::Int(v), _) => Tensor::ints(dtype, &self.shape, v.clone()),
        }
    }
}

fn read<const N: usize, T>(bytes: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&b| value(b)).collect()
}

/// How many elements apart neighbours along each axis lie.
pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// The position of `index` under `strides`.
pub(crate) fn offset(index: &[usize], strides: &[usize]) -> usize {
    index.iter().zip(strides).map(|(i, s)| i * s).sum()
}

/// Calls `f` with each index of `shape` in row-major order.
pub(crate) fn each(shape: &[usize], mut f: impl FnMut(&[usize])) {
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0; shape.len()];
    loop {
        f(&index);
        let Some(axis) = (0..shape.len()).rev().find(|&a| index[a] + 1 < shape[a]) else { return };
        index[axis] += 1;
        index[axis + 1..].fill(0);
    }
}
