//! A whole model: parameters and functions, as the macro embeds it and the runtime loads it.

use crate::dim::{Dim, Facts};
use crate::graph::Graph;
use crate::types::Type;

/// The version of the text form.
pub const VERSION: u32 = 1;

/// A model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Module {
    /// Its name in the source.
    pub name: String,
    /// Dimensions bound when the model is made, in the order of declaration.
    pub dims: Vec<String>,
    /// What is required of the dimensions.
    pub facts: Facts,
    /// Parameters and buffers, in the order of declaration.
    pub params: Vec<ParamDecl>,
    /// The layers, in the order of declaration, for summaries.
    pub layers: Vec<LayerDecl>,
    /// The functions; those of kind [`FnKind::Train`] and [`FnKind::Grad`] come after the one they differentiate.
    pub functions: Vec<Function>,
    /// Places in the source: line and column (both from 1), indexed by [`Loc`](crate::graph::Loc).
    pub locs: Vec<(u32, u32)>,
}

/// A parameter or buffer of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamDecl {
    /// The name in the state dict: `conv1.weight`.
    pub name: String,
    /// Element type and shape; may use the module's dims.
    pub ty: Type,
    /// How it starts.
    pub init: Init,
    /// Whether an optimizer trains it.
    pub trainable: bool,
}

/// How a parameter starts.
#[derive(Clone, Debug, PartialEq)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// Every element this value.
    Full(f64),
    /// Uniform in ±1/sqrt(fan_in): PyTorch's default for weights and biases of linear and convolution layers.
    FanIn(Dim),
    /// Uniform in ±sqrt(6 / fans), where fans = fan_in + fan_out (Glorot and Bengio 2010; PyTorch's `xavier_uniform_`).
    Xavier(Dim),
    /// Normal with this mean and standard deviation.
    Normal(f64, f64),
    /// Uniform between these bounds.
    Uniform(f64, f64),
}

/// A layer of a model, for summaries.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerDecl {
    /// The name, which prefixes its parameters: `conv1`.
    pub name: String,
    /// What it is, as written: `Conv2d(1 => 32, kernel = 3)`.
    pub what: String,
}

/// In which mode a function is run, and whether for its gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FnKind {
    /// Evaluation mode; outputs are results.
    Eval,
    /// Training mode; outputs are the loss, gradients and updates of buffers.
    Train,
    /// Evaluation mode; outputs are the loss and gradients. Left out where the mode makes no difference: the function
    /// of kind [`FnKind::Train`] then serves for both.
    Grad,
}

/// A function of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Its name in the source.
    pub name: String,
    /// How it is run.
    pub kind: FnKind,
    /// What it computes.
    pub graph: Graph,
    /// What each layer's call gave, for summaries: index into [`Module::layers`] and the type of the result.
    pub calls: Vec<(u32, Type)>,
}

impl Module {
    /// The parameter or buffer of that name.
    pub fn param(&self, name: &str) -> Option<&ParamDecl> {
        self.params.iter().find(|p| p.name == name)
    }

    /// The function of that name and kind.
    pub fn function(&self, name: &str, kind: FnKind) -> Option<usize> {
        self.functions.iter().position(|f| f.name == name && f.kind == kind)
    }
}
