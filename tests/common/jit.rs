//! Graphs through the whole compiler: printed as a module, loaded, compiled and run.

use std::sync::Arc;

use dl_ir::eval::{Data, Inputs, Tensor};
use dl_ir::text::print_module;
use dl_ir::{DType, FnKind, Function, Graph, Init, Input, InputKind, Module, ParamDecl};
use dl_runtime::{AnyArray, Model, Options, Pool, Result, Seed, Source};
use ndarray::{ArrayD, IxDyn};

/// The options of the environment, with one pool for all models of a test.
pub fn options(threads: usize) -> Options {
    let mut options = Options::from_env().expect("the environment's settings are valid");
    options.threads = threads;
    options.pool = Some(Arc::new(Pool::new(threads).expect("threads can be started")));
    options
}

/// The results of `graph`, whose inputs are all arguments of the call.
pub fn call(graph: &Graph, inputs: &Inputs, options: &Options) -> Result<Vec<Tensor>> {
    run(graph, inputs, options, |_| InputKind::Arg)
}

/// The results of `graph`, of whose inputs every second is a parameter of the model.
pub fn call_with_parameters(graph: &Graph, inputs: &Inputs, options: &Options) -> Result<Vec<Tensor>> {
    run(graph, inputs, options, |i| if i % 2 == 0 { InputKind::Param } else { InputKind::Arg })
}

fn run(graph: &Graph, inputs: &Inputs, options: &Options, kind: fn(usize) -> InputKind) -> Result<Vec<Tensor>> {
    let mut graph = graph.clone();
    graph.inputs.iter_mut().enumerate().for_each(|(i, input)| input.kind = kind(i));
    let (params, args): (Vec<_>, Vec<_>) =
        graph.inputs.clone().into_iter().partition(|input| input.kind == InputKind::Param);
    let declare = |input: &Input| ParamDecl {
        name: input.name.clone(),
        ty: graph.ty(input.node).clone(),
        init: Init::Zeros,
        trainable: true,
    };
    let params: Vec<ParamDecl> = params.iter().map(declare).collect();
    let args: Vec<AnyArray<'_>> = args.iter().map(|input| to_array(&inputs[&input.name])).collect();
    let types: Vec<_> = graph.results().map(|id| graph.ty(id).clone()).collect();
    let function = Function { name: "forward".into(), kind: FnKind::Eval, graph, calls: vec![] };
    let module = Module { name: "Test".into(), params: params.clone(), functions: vec![function], ..Module::default() };
    // A source lives as long as the program, as it does in a model's expansion.
    let source = Source { text: print_module(&module).leak(), file: file!() };
    let mut model = Model::with_options(&source, &[], Seed(0), options.clone())?;
    for param in params {
        model.set_any_parameter(&param.name, &to_array(&inputs[&param.name]))?;
    }
    let mut outputs = model.call(0, &args)?;
    types.iter().map(|ty| take(&mut outputs, ty.dtype)).collect()
}

fn to_array(tensor: &Tensor) -> AnyArray<'static> {
    fn array<T>(shape: &[usize], values: impl Iterator<Item = T>) -> ArrayD<T> {
        ArrayD::from_shape_vec(IxDyn(shape), values.collect()).expect("a tensor has as many values as its shape")
    }
    let shape = &tensor.shape;
    let (floats, ints) = (tensor.to_f64s().into_iter(), tensor.to_i64s().into_iter());
    match tensor.dtype {
        DType::F32 => AnyArray::F32(array(shape, floats.map(|v| v as f32)).into()),
        DType::F64 => AnyArray::F64(array(shape, floats).into()),
        DType::I64 => AnyArray::I64(array(shape, ints).into()),
        DType::I32 => AnyArray::I32(array(shape, ints.map(|v| v as i32)).into()),
        DType::U8 => AnyArray::U8(array(shape, ints.map(|v| v as u8)).into()),
        DType::Bool => AnyArray::Bool(array(shape, ints.map(|v| v != 0)).into()),
    }
}

fn take(outputs: &mut dl_runtime::Outputs, dtype: DType) -> Result<Tensor> {
    macro_rules! take {
        ($ty:ty, $variant:ident, $value:ident => $convert:expr) => {{
            let array = outputs.take::<$ty, IxDyn>()?;
            let data = Data::$variant(array.iter().map(|&$value| $convert).collect());
            Tensor { dtype, shape: array.shape().to_vec(), data }
        }};
    }
    Ok(match dtype {
        DType::F32 => take!(f32, Float, v => f64::from(v)),
        DType::F64 => take!(f64, Float, v => v),
        DType::I64 => take!(i64, Int, v => v),
        DType::I32 => take!(i32, Int, v => i64::from(v)),
        DType::U8 => take!(u8, Int, v => i64::from(v)),
        DType::Bool => take!(bool, Int, v => i64::from(v)),
    })
}

/// The largest difference between the elements, relative to the largest expected one (at least 1).
/// Equal infinities and NaNs in the same places do not differ; others do infinitely.
pub fn difference(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.ty(), expected.ty());
    let (found, expected) = (found.to_f64s(), expected.to_f64s());
    let scale = expected.iter().filter(|v| v.is_finite()).fold(1.0, |m: f64, v| m.max(v.abs()));
    let each = found.iter().zip(&expected).map(|(a, b)| match a == b || (a.is_nan() && b.is_nan()) {
        true => 0.0,
        false if a.is_finite() && b.is_finite() => (a - b).abs() / scale,
        false => f64::INFINITY,
    });
    each.fold(0.0, f64::max)
}
