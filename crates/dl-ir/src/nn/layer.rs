//! Layers: parameters of their own, and the call that uses them.

use super::args::{Args, bind};
use super::error::{ArgError, CallError};
use super::method::MethodDef;
use super::params::Param;
use super::value::{Given, Value};
use crate::build::Builder;
use crate::dim::Dim;
use crate::graph::{InputKind, NodeId, Role};
use crate::module::{Init, ParamDecl};
use crate::types::{DType, Type};

/// A kind of layer.
pub struct LayerDef {
    /// Its name.
    pub name: &'static str,
    /// What it computes, in a line.
    pub doc: &'static str,
    /// Its arguments.
    pub params: &'static [Param],
    /// How it is built.
    pub body: Body,
}

/// How a layer is built.
pub enum Body {
    /// With parameters of its own.
    Own {
        /// Its parameters and buffers, under local names (`weight`), in the order of the state dict.
        declare: fn(&Args) -> Result<Vec<ParamDecl>, ArgError>,
        /// Appends a call.
        call: fn(&mut Call<'_>) -> Result<NodeId, CallError>,
    },
    /// The method, with the layer's arguments after the receiver.
    Method(&'static MethodDef),
}

impl LayerDef {
    /// The method as a layer without parameters.
    pub const fn of(name: &'static str, method: &'static MethodDef) -> LayerDef {
        let (_, params) = method.params.split_at(1);
        LayerDef { name, doc: method.doc, params, body: Body::Method(method) }
    }

    /// The layer with arguments.
    ///
    /// # Errors
    /// Every argument that is unknown, missing, of another kind, or makes no sense.
    pub fn with(&'static self, given: &[Given]) -> Result<Layer, Vec<ArgError>> {
        let args = bind(self.name, self.params, given)?;
        let params = match self.body {
            Body::Own { declare, .. } => declare(&args).map_err(|e| vec![e])?,
            Body::Method(_) => vec![],
        };
        Ok(Layer { def: self, args, given: given.to_vec(), params })
    }
}

/// A layer with its arguments.
#[derive(Clone)]
pub struct Layer {
    /// What it is.
    pub def: &'static LayerDef,
    /// Its arguments.
    pub args: Args,
    given: Vec<Given>,
    /// Its parameters and buffers, under local names.
    pub params: Vec<ParamDecl>,
}

impl Layer {
    /// The layer as written: `Conv2d(1 => 32, kernel = 3)`.
    pub fn written(&self) -> String {
        self.args.written(&[])
    }

    /// Appends a call on `inputs`. `prefix` is the layer's name in the model (`head.0`): the parameters in use become
    /// inputs of the graph under `prefix.weight` and so on. New values of buffers become [`Role::Update`] outputs; a
    /// second call of the same layer continues from them.
    ///
    /// # Errors
    /// If the operands do not fit the layer.
    pub fn call(&self, b: &mut Builder, prefix: &str, inputs: &[NodeId]) -> Result<NodeId, CallError> {
        if inputs.len() != 1 {
            return Err(CallError::Inputs(format!("takes one tensor, but {} are given", inputs.len())));
        }
        match &self.def.body {
            Body::Own { call, .. } => call(&mut Call { b, layer: self, prefix, inputs }),
            Body::Method(method) => {
                let mut given: Vec<Given> = inputs.iter().map(|&x| Given::positional(x)).collect();
                given.extend(self.given.iter().cloned());
                let shift = |mut e: ArgError| {
                    e.at = e.at.and_then(|at| at.checked_sub(inputs.len()));
                    CallError::Arg(e)
                };
                let first = |errors: Vec<ArgError>| {
                    errors.into_iter().next().map_or_else(|| CallError::Inputs(String::new()), shift)
                };
                let args = method.bind(&given).map_err(first)?;
                match method.build(b, &args) {
                    Ok(Value::Tensor(node)) => Ok(node),
                    Ok(other) => Err(CallError::Inputs(format!("gives {}, not a tensor", other.describe()))),
                    Err(CallError::Arg(e)) => Err(shift(e)),
                    Err(e) => Err(e),
                }
            }
        }
    }
}

/// What the call of a layer sees.
pub struct Call<'a> {
    /// The graph being built.
    pub b: &'a mut Builder,
    /// The layer.
    pub layer: &'a Layer,
    prefix: &'a str,
    /// The operands.
    pub inputs: &'a [NodeId],
}

impl Call<'_> {
    /// The layer's arguments.
    pub fn args(&self) -> &Args {
        &self.layer.args
    }

    /// The first operand.
    pub fn x(&self) -> NodeId {
        self.inputs[0]
    }

    /// The first operand's type.
    pub fn ty(&self) -> Type {
        self.b.ty(self.inputs[0]).clone()
    }

    fn full_name(&self, local: &str) -> String {
        if self.prefix.is_empty() { local.to_string() } else { format!("{}.{local}", self.prefix) }
    }

    /// The parameter or buffer of that local name, if the layer has it with its arguments.
    pub fn param(&mut self, local: &str) -> Option<NodeId> {
        let decl = self.layer.params.iter().find(|p| p.name == local)?;
        let (name, ty) = (self.full_name(local), decl.ty.clone());
        let kind = if decl.trainable { InputKind::Param } else { InputKind::Buffer };
        let updated = self.b.graph.outputs.iter().find(|o| o.role == Role::Update(name.clone())).map(|o| o.node);
        Some(updated.unwrap_or_else(|| self.b.input(kind, &name, ty)))
    }

    /// Gives the buffer of that local name a new value.
    pub fn update(&mut self, local: &str, value: NodeId) {
        let role = Role::Update(self.full_name(local));
        match self.b.graph.outputs.iter_mut().find(|o| o.role == role) {
            Some(output) => output.node = value,
            None => self.b.output(role, value),
        }
    }

    /// Requires an operand of `f32`, the type of parameters.
    ///
    /// # Errors
    /// [`CallError::DType`].
    pub fn check_f32(&self) -> Result<(), CallError> {
        let found = self.ty();
        if found.dtype == DType::F32 {
            return Ok(());
        }
        let fix = Some("convert it with `.to(f32)`".to_string());
        Err(CallError::DType { input: 0, expected: "f32".into(), found, fix })
    }

    /// Requires a number of axes; `layout` shows them: "[N, C, H, W]".
    ///
    /// # Errors
    /// [`CallError::Rank`].
    pub fn check_rank(&self, rank: usize, layout: &str) -> Result<(), CallError> {
        super::common::rank(self.b, self.x(), rank, layout)
    }

    /// Checks that axis `axis` of the operand has the size declared as the left side of `=>` in argument `arg`.
    ///
    /// # Errors
    /// [`CallError::Features`] with the layer rewritten so that it would accept the operand.
    pub fn check_features(&self, arg: &str, axis: usize, noun: &'static str, expected: &Dim) -> Result<(), CallError> {
        let found = self.ty();
        let size = found.shape[axis].clone();
        let facts = &self.b.graph.facts;
        if facts.equal(&size, expected) {
            return Ok(());
        }
        let accepting = match self.args().get(arg) {
            Some(Value::Map(_, out)) => Value::Map(size.clone(), out.clone()),
            _ => Value::Int(size.clone()),
        };
        let needs = facts.missing(&size, expected).map(Box::new);
        let fix = Some(self.args().written(&[(arg, accepting)]));
        Err(CallError::Features { input: 0, noun, expected: expected.clone(), found, needs, fix })
    }
}

/// A parameter that an optimizer trains.
pub fn trainable(name: &str, dtype: DType, shape: Vec<Dim>, init: Init) -> ParamDecl {
    ParamDecl { name: name.to_string(), ty: Type { dtype, shape }, init, trainable: true }
}

/// A tensor of the layer that is not trained.
pub fn buffer(name: &str, dtype: DType, shape: Vec<Dim>, init: Init) -> ParamDecl {
    ParamDecl { trainable: false, ..trainable(name, dtype, shape, init) }
}
