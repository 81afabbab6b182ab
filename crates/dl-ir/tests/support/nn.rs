//! Calls layers and methods by name on concrete tensors.

#![allow(dead_code, reason = "each test file uses a part")]

use dl_ir::autodiff::gradient;
use dl_ir::eval::{EvalError, Inputs, Tensor, run};
use dl_ir::nn::{self, ArgError, CallError, Given, Layer, Value};
use dl_ir::{Builder, DType, Dim, InputKind, NodeId, Role, Type};

/// A tensor whose elements count up from 0.
pub fn count(shape: &[usize]) -> Tensor {
    let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| i as f32).collect();
    Tensor::f32s(shape, &values)
}

/// Whole numbers.
pub fn ints(values: &[i64]) -> Tensor {
    Tensor::ints(DType::I64, &[values.len()], values.to_vec())
}

/// A type by its text, such as "f32[N, 10]".
pub fn ty(text: &str) -> Type {
    let (dtype, dims) = text.trim_end_matches(']').split_once('[').unwrap();
    let dims = dims.split(", ").filter(|d| !d.is_empty()).map(dim);
    Type::new(DType::from_name(dtype).unwrap(), dims)
}

/// A number, a symbol, or a product of them.
pub fn dim(text: &str) -> Dim {
    let factor = |t: &str| t.parse::<i64>().map_or_else(|_| Dim::sym(t), Dim::from);
    text.split('*').map(factor).fold(Dim::ONE, |a, b| a * b)
}

/// `name(inputs.., args..)` in a builder whose inputs are called `a`, `b`, `c`.
pub fn build(b: &mut Builder, name: &str, types: &[Type], args: &[Given]) -> Result<Value, CallError> {
    let tensors = types.iter().zip("abcdef".chars()).map(|(t, c)| b.input(InputKind::Arg, &c.to_string(), t.clone()));
    let mut given: Vec<Given> = tensors.map(Given::positional).collect();
    // A pattern comes before the tensors in `einsum`.
    given.splice(if name == "einsum" { 0..0 } else { given.len()..given.len() }, args.iter().cloned());
    let method = nn::method(name).unwrap_or_else(|| panic!("no method {name}"));
    let args = method.bind(&given).map_err(|e| CallError::Arg(e[0].clone()))?;
    method.build(b, &args)
}

/// The type that `name(types.., args..)` has.
pub fn type_of(name: &str, types: &[&str], args: &[Given]) -> Result<String, CallError> {
    let mut b = Builder::new();
    let types: Vec<Type> = types.iter().map(|t| ty(t)).collect();
    match build(&mut b, name, &types, args)? {
        Value::Tensor(node) => Ok(b.ty(node).to_string()),
        other => Ok(other.to_string()),
    }
}

/// The sentence with which `name(types.., args..)` is refused.
pub fn refusal(name: &str, types: &[&str], args: &[Given]) -> String {
    match type_of(name, types, args) {
        Ok(ty) => panic!("`{name}` gives {ty}"),
        Err(error) => error.describe(&format!("`{name}`"), &["`a`", "`b`", "`c`"].map(String::from)),
    }
}

/// The value of `name(inputs.., args..)`.
pub fn eval(name: &str, inputs: &[Tensor], args: &[Given]) -> Result<Tensor, EvalError> {
    let mut b = Builder::new();
    let types: Vec<Type> = inputs.iter().map(Tensor::ty).collect();
    let node = tensor(build(&mut b, name, &types, args).unwrap_or_else(|e| panic!("{name}: {e}")));
    b.output(Role::Result, node);
    let named: Inputs = "abcdef".chars().map(String::from).zip(inputs.iter().cloned()).collect();
    Ok(run(&b.finish(), &named)?.remove(0))
}

/// The gradient of the sum of `name(x, args..)` with respect to `x`.
pub fn grad(name: &str, x: &[f32], args: &[Given]) -> Vec<f64> {
    let mut b = Builder::new();
    let x = Tensor::f32s(&[x.len()], x);
    let y = tensor(build(&mut b, name, &[x.ty()], args).unwrap());
    let all: Vec<usize> = (0..b.rank(y)).collect();
    let loss = b.sum(y, &all, false).unwrap();
    let node = b.graph.input("a").unwrap().node;
    let grads = gradient(&mut b, loss, &[node]).unwrap();
    b.output(Role::Result, grads[0].unwrap());
    run(&b.finish(), &Inputs::from([("a".to_string(), x)])).unwrap().remove(0).to_f64s()
}

/// The node of a result.
pub fn tensor(value: Value) -> NodeId {
    match value {
        Value::Tensor(node) => node,
        other => panic!("{other:?} is no tensor"),
    }
}

/// The layer of that name.
pub fn layer(name: &str, args: &[Given]) -> Result<Layer, Vec<ArgError>> {
    nn::layer(name).unwrap_or_else(|| panic!("no layer {name}")).with(args)
}

/// `from => to`.
pub fn map(from: i64, to: i64) -> Given {
    Given::positional(Value::Map(from.into(), to.into()))
}

/// An argument by position.
pub fn pos(value: impl Into<Value>) -> Given {
    Given::positional(value)
}

/// An argument by name.
pub fn named(name: &str, value: impl Into<Value>) -> Given {
    Given::named(name, value)
}
