//! Values of arguments, as the caller has evaluated them.

use std::fmt;

use crate::dim::Dim;
use crate::graph::NodeId;
use crate::types::DType;

/// The value of one argument, or what a method gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A node of the graph being built.
    Tensor(NodeId),
    /// A whole number, possibly symbolic.
    Int(Dim),
    /// A real number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A string: a word such as `"same"`, or a pattern.
    Str(String),
    /// An element type.
    DType(DType),
    /// `a..b`; an open end is absent.
    Range(Option<Dim>, Option<Dim>),
    /// `[a, b]` or `(a, b)`; also several results.
    List(Vec<Value>),
    /// `a => b`.
    Map(Dim, Dim),
    /// `_`: to be worked out.
    Infer,
}

/// An argument as given: by position or by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// The name, if it was given by name.
    pub name: Option<String>,
    /// The value.
    pub value: Value,
}

impl Given {
    /// An argument by position.
    pub fn positional(value: impl Into<Value>) -> Given {
        Given { name: None, value: value.into() }
    }

    /// An argument by name.
    pub fn named(name: &str, value: impl Into<Value>) -> Given {
        Given { name: Some(name.to_string()), value: value.into() }
    }
}

impl Value {
    /// The value in words, for messages that expected something else.
    pub fn describe(&self) -> String {
        match self {
            Value::Tensor(_) => "a tensor".to_string(),
            Value::Int(dim) => format!("the number {dim}"),
            Value::Float(value) => format!("the number {value:?}"),
            Value::Bool(value) => format!("`{value}`"),
            Value::Str(value) => format!("the string {value:?}"),
            Value::DType(dtype) => format!("the element type {dtype}"),
            Value::Range(..) => format!("the range `{self}`"),
            Value::List(items) => format!("a list of {}", items.len()),
            Value::Map(..) => format!("`{self}`"),
            Value::Infer => "`_`".to_string(),
        }
    }
}

impl Value {
    /// How many tensors it holds.
    pub(super) fn tensors(&self) -> usize {
        match self {
            Value::Tensor(_) => 1,
            Value::List(items) => items.iter().map(Value::tensors).sum(),
            _ => 0,
        }
    }
}

impl fmt::Display for Value {
    /// As it would be written in a model; a tensor has no spelling of its own and prints as `..`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |d: &Option<Dim>| d.as_ref().map(Dim::to_string).unwrap_or_default();
        match self {
            Value::Tensor(_) => f.write_str(".."),
            Value::Int(dim) => write!(f, "{dim}"),
            Value::Float(value) => write!(f, "{value:?}"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Str(value) => write!(f, "{value:?}"),
            Value::DType(dtype) => write!(f, "{dtype}"),
            Value::Range(from, to) => write!(f, "{}..{}", end(from), end(to)),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(Value::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Value::Map(from, to) => write!(f, "{from} => {to}"),
            Value::Infer => f.write_str("_"),
        }
    }
}

impl From<NodeId> for Value {
    fn from(node: NodeId) -> Value {
        Value::Tensor(node)
    }
}

impl From<Dim> for Value {
    fn from(dim: Dim) -> Value {
        Value::Int(dim)
    }
}

impl From<i64> for Value {
    fn from(c: i64) -> Value {
        Value::Int(Dim::from(c))
    }
}

impl From<f64> for Value {
    fn from(c: f64) -> Value {
        Value::Float(c)
    }
}

impl From<bool> for Value {
    fn from(c: bool) -> Value {
        Value::Bool(c)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Str(text.to_string())
    }
}

impl From<DType> for Value {
    fn from(dtype: DType) -> Value {
        Value::DType(dtype)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Value {
        Value::List(items.into_iter().map(Into::into).collect())
    }
}
