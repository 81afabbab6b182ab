//! Attributes of ops: data, so that printing, parsing, hashing and comparing them needs no code per op.

use crate::dim::Dim;
use crate::graph::Graph;
use crate::types::{DType, Scalar};

/// What kind of value an attribute has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttrKind {
    /// One integer.
    Int,
    /// Integers: axes, kernel sizes.
    Ints,
    /// Dimensions, possibly symbolic: shapes, slice bounds.
    Dims,
    /// An element type.
    DType,
    /// One of a few words.
    Word,
    /// Constant elements.
    Scalars,
    /// A graph of its own: the body of a loop.
    Graph,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Attr {
    /// See [`AttrKind::Int`].
    Int(i64),
    /// See [`AttrKind::Ints`].
    Ints(Vec<i64>),
    /// See [`AttrKind::Dims`].
    Dims(Vec<Dim>),
    /// See [`AttrKind::DType`].
    DType(DType),
    /// See [`AttrKind::Word`].
    Word(String),
    /// See [`AttrKind::Scalars`].
    Scalars(Vec<Scalar>),
    /// See [`AttrKind::Graph`].
    Graph(Box<Graph>),
}

impl Attr {
    /// The kind of this value.
    pub fn kind(&self) -> AttrKind {
        match self {
            Attr::Int(_) => AttrKind::Int,
            Attr::Ints(_) => AttrKind::Ints,
            Attr::Dims(_) => AttrKind::Dims,
            Attr::DType(_) => AttrKind::DType,
            Attr::Word(_) => AttrKind::Word,
            Attr::Scalars(_) => AttrKind::Scalars,
            Attr::Graph(_) => AttrKind::Graph,
        }
    }
}

/// The attributes of one node, in the order of its op's schema.
///
/// The getters return an empty or zero value for an attribute that is absent or of another kind;
/// `Builder::push` and the verifier refuse such nodes, so rules need not check again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attrs(Vec<(&'static str, Attr)>);

impl Attrs {
    /// No attributes.
    pub fn new() -> Attrs {
        Attrs::default()
    }

    /// With one more attribute.
    pub fn with(mut self, name: &'static str, value: Attr) -> Attrs {
        self.0.push((name, value));
        self
    }

    /// With an integer.
    pub fn int(self, name: &'static str, value: i64) -> Attrs {
        self.with(name, Attr::Int(value))
    }

    /// With integers.
    pub fn ints(self, name: &'static str, value: impl Into<Vec<i64>>) -> Attrs {
        self.with(name, Attr::Ints(value.into()))
    }

    /// With dimensions.
    pub fn dims(self, name: &'static str, value: impl Into<Vec<Dim>>) -> Attrs {
        self.with(name, Attr::Dims(value.into()))
    }

    /// With an element type.
    pub fn dtype(self, name: &'static str, value: DType) -> Attrs {
        self.with(name, Attr::DType(value))
    }

    /// With a word.
    pub fn word(self, name: &'static str, value: &str) -> Attrs {
        self.with(name, Attr::Word(value.to_string()))
    }

    /// With constant elements.
    pub fn scalars(self, name: &'static str, value: Vec<Scalar>) -> Attrs {
        self.with(name, Attr::Scalars(value))
    }

    /// With a graph.
    pub fn graph(self, name: &'static str, value: Graph) -> Attrs {
        self.with(name, Attr::Graph(Box::new(value)))
    }

    /// All attributes in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(&'static str, Attr)> {
        self.0.iter()
    }

    /// All attributes in order, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut (&'static str, Attr)> {
        self.0.iter_mut()
    }

    /// The attribute of that name.
    pub fn get(&self, name: &str) -> Option<&Attr> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, a)| a)
    }

    /// The integer of that name.
    pub fn get_int(&self, name: &str) -> i64 {
        match self.get(name) {
            Some(Attr::Int(v)) => *v,
            _ => 0,
        }
    }

    /// The integers of that name.
    pub fn get_ints(&self, name: &str) -> &[i64] {
        match self.get(name) {
            Some(Attr::Ints(v)) => v,
            _ => &[],
        }
    }

    /// The integers of that name as axis numbers.
    pub fn get_axes(&self, name: &str) -> Vec<usize> {
        self.get_ints(name).iter().map(|&a| a.max(0) as usize).collect()
    }

    /// The dimensions of that name.
    pub fn get_dims(&self, name: &str) -> &[Dim] {
        match self.get(name) {
            Some(Attr::Dims(v)) => v,
            _ => &[],
        }
    }

    /// The element type of that name.
    pub fn get_dtype(&self, name: &str) -> DType {
        match self.get(name) {
            Some(Attr::DType(v)) => *v,
            _ => DType::F32,
        }
    }

    /// The word of that name.
    pub fn get_word(&self, name: &str) -> &str {
        match self.get(name) {
            Some(Attr::Word(v)) => v,
            _ => "",
        }
    }

    /// The graph of that name.
    pub fn get_graph(&self, name: &str) -> Option<&Graph> {
        match self.get(name) {
            Some(Attr::Graph(v)) => Some(v),
            _ => None,
        }
    }

    /// The constant elements of that name.
    pub fn get_scalars(&self, name: &str) -> &[Scalar] {
        match self.get(name) {
            Some(Attr::Scalars(v)) => v,
            _ => &[],
        }
    }
}
