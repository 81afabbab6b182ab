//! Element types, tensor types and scalar constants.

use std::fmt;

use crate::dim::{Bindings, Dim, DimError};

/// The type of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// 32-bit IEEE float.
    F32,
    /// 64-bit IEEE float.
    F64,
    /// 64-bit signed integer.
    I64,
    /// 32-bit signed integer.
    I32,
    /// 8-bit unsigned integer.
    U8,
    /// One byte, 0 or 1.
    Bool,
}

impl DType {
    /// Every element type.
    pub const ALL: [DType; 6] = [DType::F32, DType::F64, DType::I64, DType::I32, DType::U8, DType::Bool];

    /// The name as written in a model: `f32`.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::I64 => "i64",
            DType::I32 => "i32",
            DType::U8 => "u8",
            DType::Bool => "bool",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|t| t.name() == name)
    }

    /// Bytes an element.
    pub fn size(self) -> usize {
        match self {
            DType::F64 | DType::I64 => 8,
            DType::F32 | DType::I32 => 4,
            DType::U8 | DType::Bool => 1,
        }
    }

    /// Whether the type has fractions (and so gradients).
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64)
    }

    /// Whether the type holds whole numbers (`bool` does not).
    pub fn is_int(self) -> bool {
        matches!(self, DType::I64 | DType::I32 | DType::U8)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Element type and shape of a tensor; printed `f32[N, 10]`, a scalar as `f32[]`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Type {
    /// The element type.
    pub dtype: DType,
    /// The size of each axis, outermost first; empty for a scalar.
    pub shape: Vec<Dim>,
}

impl Type {
    /// A type from its parts.
    pub fn new(dtype: DType, shape: impl IntoIterator<Item = impl Into<Dim>>) -> Type {
        Type { dtype, shape: shape.into_iter().map(Into::into).collect() }
    }

    /// A rank-0 type.
    pub fn scalar(dtype: DType) -> Type {
        Type { dtype, shape: vec![] }
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The product of all axes.
    pub fn elements(&self) -> Dim {
        self.shape.iter().fold(Dim::ONE, |n, d| n * d.clone())
    }

    /// The same shape with another element type.
    pub fn with_dtype(&self, dtype: DType) -> Type {
        Type { dtype, shape: self.shape.clone() }
    }

    /// The sizes, if every axis is a number.
    pub fn sizes(&self) -> Option<Vec<usize>> {
        self.shape.iter().map(|d| d.as_const().and_then(|c| usize::try_from(c).ok())).collect()
    }

    /// The type with every symbol replaced by its value.
    ///
    /// # Errors
    /// If a symbol is unbound or a size overflows.
    pub fn bind(&self, bindings: &Bindings) -> Result<Type, DimError> {
        let shape = self.shape.iter().map(|d| d.eval(bindings).map(Dim::from)).collect::<Result<_, _>>()?;
        Ok(Type { dtype: self.dtype, shape })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (i, d) in self.shape.iter().enumerate() {
            write!(f, "{}{d}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One constant element; compared by its bits, so that NaN equals itself.
#[derive(Clone, Copy, Debug)]
pub enum Scalar {
    /// A float, whatever its width.
    Float(f64),
    /// A whole number, whatever its width.
    Int(i64),
    /// A truth value.
    Bool(bool),
}

impl Scalar {
    /// The value as a float.
    pub fn as_f64(self) -> f64 {
        match self {
            Scalar::Float(v) => v,
            Scalar::Int(v) => v as f64,
            Scalar::Bool(v) => v as u8 as f64,
        }
    }

    /// The value as an integer; floats are truncated.
    pub fn as_i64(self) -> i64 {
        match self {
            Scalar::Float(v) => v as i64,
            Scalar::Int(v) => v,
            Scalar::Bool(v) => v as i64,
        }
    }

    /// `value` in the representation of `dtype`: rounded to f32, truncated to an integer, or compared with zero.
    pub fn of(dtype: DType, value: f64) -> Scalar {
        match dtype {
            DType::F32 => Scalar::Float(value as f32 as f64),
            DType::F64 => Scalar::Float(value),
            DType::I64 => Scalar::Int(value as i64),
            DType::I32 => Scalar::Int(value as i32 as i64),
            DType::U8 => Scalar::Int(value as u8 as i64),
            DType::Bool => Scalar::Bool(value != 0.0),
        }
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Scalar) -> bool {
        match (self, other) {
            (Scalar::Float(a), Scalar::Float(b)) => a.to_bits() == b.to_bits(),
            (Scalar::Int(a), Scalar::Int(b)) => a == b,
            (Scalar::Bool(a), Scalar::Bool(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Scalar {}

impl std::hash::Hash for Scalar {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self {
            Scalar::Float(v) => v.to_bits().hash(state),
            Scalar::Int(v) => v.hash(state),
            Scalar::Bool(v) => v.hash(state),
        }
    }
}
