//! Layers: parameters of their own, and the call that uses them.

use super::args::{Args, bind};
use super::common::X;
use super::error::{ArgError, CallError};
use super::method::MethodDef;
use super::params::Param;
use super::value::{Given, Value};
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::graph::{InputKind, NodeId, Role};
use crate::module::{Init, ParamDecl};
use crate::types::{DType, Type};

/// What the call of most layers takes: one tensor.
pub const ONE_TENSOR: &[Param] = &[X];

/// A kind of layer.
pub struct LayerDef {
    /// Its name.
    pub name: &'static str,
    /// What it computes, in a line.
    pub doc: &'static str,
    /// The arguments of its declaration.
    pub params: &'static [Param],
    /// The arguments of its calls; the first is a tensor.
    pub takes: &'static [Param],
    /// What a sequence passes on, where a call gives several results.
    pub passes: Passes,
    /// How it is built.
    pub body: Body,
}

/// What a layer with several results passes on in a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    /// The result if it is one tensor; a layer with several results is called by itself.
    One,
    /// The first of its results, which its documentation says.
    First,
}

/// How a layer is built.
pub enum Body {
    /// With parameters of its own.
    Own {
        /// Its parameters and buffers, under local names (`weight`), in the order of the state dict.
        declare: Declare,
        /// Appends a call.
        call: Append,
    },
    /// The method, with the layer's arguments after those of the call.
    Method(&'static MethodDef),
}

/// The parameters of a layer by its arguments.
pub type Declare = fn(&Args) -> Result<Vec<ParamDecl>, ArgError>;

/// Appends a call of a layer: a tensor, or a list of several results.
pub type Append = fn(&mut Call<'_>) -> Result<Value, CallError>;

impl LayerDef {
    /// A layer with parameters of its own, called with one tensor.
    pub const fn own(
        name: &'static str,
        doc: &'static str,
        params: &'static [Param],
        declare: Declare,
        call: Append,
    ) -> LayerDef {
        LayerDef { name, doc, params, takes: ONE_TENSOR, passes: Passes::One, body: Body::Own { declare, call } }
    }

    /// The method as a layer without parameters.
    pub const fn of(name: &'static str, method: &'static MethodDef) -> LayerDef {
        LayerDef::of_first(name, method, 1)
    }

    /// The method as a layer without parameters, whose call takes the first `operands` of its arguments.
    pub const fn of_first(name: &'static str, method: &'static MethodDef, operands: usize) -> LayerDef {
        let (takes, params) = method.params.split_at(operands);
        LayerDef { name, doc: method.doc, params, takes, passes: Passes::One, body: Body::Method(method) }
    }

    /// The layer, called with these arguments.
    pub const fn taking(self, takes: &'static [Param]) -> LayerDef {
        LayerDef { takes, ..self }
    }

    /// The layer, of whose several results a sequence passes on the first.
    pub const fn passing_first(self) -> LayerDef {
        LayerDef { passes: Passes::First, ..self }
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
        Ok(Layer { def: self, args, params, dtype: DType::F32 })
    }
}

/// A layer with its arguments.
#[derive(Clone)]
pub struct Layer {
    /// What it is.
    pub def: &'static LayerDef,
    /// Its arguments.
    pub args: Args,
    /// Its parameters and buffers, under local names.
    pub params: Vec<ParamDecl>,
    /// The element type of its parameters and operands.
    pub dtype: DType,
}

impl Layer {
    /// The layer as written: `Conv2d(1 => 32, kernel = 3)`.
    pub fn written(&self) -> String {
        self.args.written(&[])
    }

    /// The layer with parameters, buffers and operands of `dtype`, a float; layers are declared with `f32`.
    pub fn of_dtype(mut self, dtype: DType) -> Layer {
        for param in self.params.iter_mut().filter(|p| p.ty.dtype == self.dtype) {
            param.ty.dtype = dtype;
        }
        self.dtype = dtype;
        self
    }

    /// Binds the arguments of a call; `callee` is what it is called by.
    ///
    /// # Errors
    /// Every argument that is unknown, missing, given twice, one too many, or of another kind.
    pub fn bind(&self, callee: &str, given: &[Given]) -> Result<Args, Vec<ArgError>> {
        bind(callee, self.def.takes, given)
    }

    /// Appends a call with arguments bound by [`Layer::bind`]; the result is a tensor, or a list of several. `prefix`
    /// is the layer's name in the model (`head.0`): the parameters in use become inputs of the graph under
    /// `prefix.weight` and so on. New values of buffers become [`Role::Update`] outputs; a second call of the same
    /// layer continues from them.
    ///
    /// # Errors
    /// If the operands do not fit the layer. [`CallError::Arg`] is about an argument of the declaration,
    /// [`CallError::Given`] about one of the call.
    pub fn call(&self, b: &mut Builder, prefix: &str, given: &Args) -> Result<Value, CallError> {
        match &self.def.body {
            Body::Own { call, .. } => call(&mut Call { b, layer: self, prefix, given }),
            Body::Method(method) => method.build(b, &given.followed_by(&self.args)).map_err(|error| match error {
                CallError::Arg(mut error) => match error.at.map(|at| at.checked_sub(given.count())) {
                    Some(None) => CallError::Given(error),
                    at => {
                        error.at = at.flatten();
                        CallError::Arg(error)
                    }
                },
                error => error,
            }),
        }
    }

    /// Appends a call on one tensor that gives one tensor.
    ///
    /// # Errors
    /// As [`Layer::call`]; also if the layer takes or gives more.
    pub fn apply(&self, b: &mut Builder, prefix: &str, x: NodeId) -> Result<NodeId, CallError> {
        let given = self.bind(prefix, &[Given::positional(x)]);
        let given = given.map_err(|mut errors| CallError::Given(errors.remove(0)))?;
        match self.call(b, prefix, &given)? {
            Value::Tensor(node) => Ok(node),
            other => Err(CallError::Inputs(format!("gives {}, not a tensor", other.describe()))),
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
    /// The arguments of the call.
    pub given: &'a Args,
}

impl Call<'_> {
    /// The layer's arguments.
    pub fn args(&self) -> &Args {
        &self.layer.args
    }

    /// The first operand.
    pub fn x(&self) -> NodeId {
        self.given.tensor(self.layer.def.takes[0].name)
    }

    /// The first operand's type.
    pub fn ty(&self) -> Type {
        self.b.ty(self.x()).clone()
    }

    fn full_name(&self, local: &str) -> String {
        match (self.prefix, local) {
            ("", local) => local.to_string(),
            (prefix, "") => prefix.to_string(),
            (prefix, local) => format!("{prefix}.{local}"),
        }
    }

    /// The parameter or buffer of that local name, if the layer has it with its arguments.
    pub fn param(&mut self, local: &str) -> Option<NodeId> {
        let decl = self.layer.params.iter().find(|p| p.name == local)?;
        let (name, ty) = (self.full_name(local), decl.ty.clone());
        let kind = if decl.trainable { InputKind::Param } else { InputKind::Buffer };
        let updated = self.b.graph.outputs.iter().find(|o| o.role == Role::Update(name.clone())).map(|o| o.node);
        Some(updated.unwrap_or_else(|| self.b.input(kind, &name, ty)))
    }

    /// `x * weight^T + bias` with the parameters `{name}weight` and, if the layer has it, `{name}bias`.
    ///
    /// # Errors
    /// What the product refuses.
    pub fn linear(&mut self, name: &str, x: NodeId) -> Built {
        let Some(weight) = self.param(&format!("{name}weight")) else { return Ok(x) };
        let last = self.b.rank(x) - 1;
        let product = self.b.dot(x, weight, &[], &[(last, 1)])?;
        match self.param(&format!("{name}bias")) {
            Some(bias) => self.b.add(product, bias),
            None => Ok(product),
        }
    }

    /// Gives the buffer of that local name a new value.
    pub fn update(&mut self, local: &str, value: NodeId) {
        let role = Role::Update(self.full_name(local));
        match self.b.graph.outputs.iter_mut().find(|o| o.role == role) {
            Some(output) => output.node = value,
            None => self.b.output(role, value),
        }
    }

    /// The element type of the layer's parameters and operands.
    pub fn dtype(&self) -> DType {
        self.layer.dtype
    }

    /// Requires the first operand to be of the element type of the parameters.
    ///
    /// # Errors
    /// [`CallError::DType`].
    pub fn check_dtype(&self) -> Result<(), CallError> {
        self.check_dtype_of(self.layer.def.takes[0].name)
    }

    /// Requires the operand of that name, if it was given, to be of the element type of the parameters.
    ///
    /// # Errors
    /// [`CallError::DType`].
    pub fn check_dtype_of(&self, name: &str) -> Result<(), CallError> {
        let Some(node) = self.given.tensor_if(name) else { return Ok(()) };
        let (found, dtype) = (self.b.ty(node).clone(), self.dtype());
        if found.dtype == dtype {
            return Ok(());
        }
        let fix = match found.dtype.is_float() {
            true => format!("convert it with `.to({dtype})`, or write `dtype {};` in the model", found.dtype),
            false => format!("convert it with `.to({dtype})`"),
        };
        Err(CallError::DType { input: self.given.input(name), expected: dtype.to_string(), found, fix: Some(fix) })
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
        self.check_features_of(self.layer.def.takes[0].name, arg, axis, noun, expected)
    }

    /// As [`Call::check_features`], of the operand of that name.
    ///
    /// # Errors
    /// [`CallError::Features`].
    pub fn check_features_of(
        &self,
        operand: &str,
        arg: &str,
        axis: usize,
        noun: &'static str,
        expected: &Dim,
    ) -> Result<(), CallError> {
        let found = self.b.ty(self.given.tensor(operand)).clone();
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
        let input = self.given.input(operand);
        Err(CallError::Features { input, noun, expected: expected.clone(), found, needs, fix })
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

#[cfg(test)]
mod tests {
    use super::super::params::{Default, Kind};
    use super::*;

    /// The sum and the difference of its operands, of which the second may be left out.
    static BOTH: LayerDef = LayerDef::own(
        "Both",
        "",
        &[],
        |_| Ok(vec![]),
        |c| {
            let (x, y) = (c.x(), c.given.tensor_if("y").unwrap_or(c.x()));
            if c.given.bool("even") && !c.ty().shape[0].is(2) {
                return Err(CallError::Given(c.given.error("even", "not even")));
            }
            Ok(vec![c.b.add(x, y)?, c.b.sub(x, y)?].into())
        },
    )
    .taking(&[
        X,
        Param::optional("y", Kind::Tensor, Default::Absent, "another"),
        Param::optional("even", Kind::Bool, Default::Bool(false), "whether the size must be 2"),
    ])
    .passing_first();

    #[test]
    fn a_call_takes_several_tensors_and_gives_several_results() {
        let mut b = Builder::new();
        let [x, y] = ["x", "y"].map(|name| b.input(InputKind::Arg, name, Type::new(DType::F32, [3i64])));
        let layer = BOTH.with(&[]).unwrap();
        let mut call = |given: &[Given]| layer.call(&mut b, "both", &layer.bind("both", given).unwrap());
        let (one, two, named) = (Given::positional(x), Given::positional(y), Given::named("y", y));
        let results = |value: Value| if let Value::List(items) = value { items.len() } else { 0 };
        for given in [&[one.clone()][..], &[one.clone(), two], &[one.clone(), named]] {
            assert_eq!(results(call(given).unwrap()), 2);
        }
        let refused = call(&[one.clone(), Given::named("even", true)]).unwrap_err();
        assert!(matches!(&refused, CallError::Given(e) if e.at == Some(1)), "{refused:?}");
        let unknown = layer.bind("both", &[one.clone(), Given::named("evn", true)]).unwrap_err();
        assert_eq!(unknown[0].message, "`both` has no argument `evn`; did you mean `even`?");
        let missing = layer.bind("both", &[]).unwrap_err();
        assert_eq!(missing[0].message, "`both` needs `x`, the tensor: it is `both(x, y = .., even = false)`");
        assert!(layer.apply(&mut b, "both", x).unwrap_err().to_string().contains("gives a list of 2"));
    }
}
