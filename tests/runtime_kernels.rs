//! Compiled programs against the evaluator, through the runtime: every kernel of a step, its memory and its rounds.

use dl_ir::text::{parse_graph, print_module};
use dl_ir::{
    Attrs, Builder, DType, Dim, FnKind, Function, Init, InputKind, Module, Op, ParamDecl, Role, Type, autodiff,
};
use dl_runtime::{Adam, AnyArray, Error, IntoArg, Isa, Model, Options, Seed, Source};
use ndarray::{Array1, Array2, Ix1, Ix2};

/// What the environment asks to compile for.
fn env_isa() -> Isa {
    Options::from_env().unwrap().isa
}

fn model(graph: &str, isa: Isa, threads: usize) -> Model {
    let function = Function { name: "f".into(), kind: FnKind::Eval, graph: parse_graph(graph).unwrap(), calls: vec![] };
    let module = Module { name: "M".into(), functions: vec![function], locs: vec![(3, 5)], ..Module::default() };
    of_module(&module, isa, threads)
}

fn of_module(module: &Module, isa: Isa, threads: usize) -> Model {
    let text = Box::leak(print_module(module).into_boxed_str());
    let mut options = Options::from_env().unwrap();
    (options.isa, options.threads) = (isa, threads);
    Model::with_options(&Source { text, file: "src/m.rs" }, &[], Seed(1), options).unwrap()
}

const CHAIN: &str = "%0 = input arg \"x\" f32[N, M]\n%1 = input arg \"label\" i64[N]\n%2 = exp %0\n%3 = transpose %2 perm=[1, 0]\n\
    %4 = reshape %3 shape=[N*M]\n%5 = mul %4 %4\n%6 = gather %5 %1 axis=0 @0\n%7 = reshape %4 shape=[M, N]\n\
    %8 = transpose %7 perm=[1, 0]\n%9 = add %8 %0\nresult %9\nresult %6\nresult %5";

fn call(model: &Model, x: &Array2<f32>, label: &Array1<i64>) -> Result<Vec<Vec<f32>>, Error> {
    let args = [IntoArg::<f32, Ix2>::into_arg(x), IntoArg::<i64, Ix1>::into_arg(label)];
    let mut outputs = model.call(0, &args)?;
    let first = outputs.take::<f32, Ix2>()?.into_raw_vec_and_offset().0;
    let mut rest = || Ok(outputs.take::<f32, Ix1>()?.into_raw_vec_and_offset().0);
    Ok(vec![first, rest()?, rest()?])
}

#[test]
fn kernels_agree_with_the_evaluator_on_any_number_of_threads() {
    let reference = model(CHAIN, Isa::Interpreter, 1);
    for threads in [1, 2, 3] {
        let compiled = model(CHAIN, env_isa(), threads);
        for (n, m) in [(1, 1), (5, 3), (64, 50), (301, 7)] {
            let x = Array2::from_shape_fn((n, m), |(i, j)| ((i * 31 + j * 17) % 23) as f32 / 10.0 - 1.0);
            let label = Array1::from_shape_fn(n, |i| ((i * 7) % (n * m)) as i64);
            let (a, b) = (call(&compiled, &x, &label).unwrap(), call(&reference, &x, &label).unwrap());
            for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
                assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{a} is not {b} at {n} x {m}");
            }
        }
        assert_eq!(compiled.compilations().len(), 4);
        assert!(compiled.compilations()[2].kernels > 0);
    }
}

#[test]
fn an_index_out_of_range_is_found_whichever_thread_meets_it() {
    for threads in [1, 3] {
        let compiled = model(CHAIN, env_isa(), threads);
        let x = Array2::zeros((500, 2));
        for wrong in [0, 250, 499] {
            let mut label = Array1::zeros(500);
            label[wrong] = 1000;
            label[499] = if wrong == 499 { 1000 } else { -7 };
            let error = call(&compiled, &x, &label).unwrap_err();
            let Error::IndexOutOfRange { index, size, location, .. } = &error else { panic!("{error}") };
            assert_eq!((*index, *size, location.as_str()), (1000, 1000, "src/m.rs:3:5"));
        }
        assert!(call(&compiled, &x, &Array1::zeros(500)).is_ok(), "a fault of an earlier call is forgotten");
    }
}

/// A training function with every kind of input: mean(y[i, label[i]]) + mean(y^2) of y = x * w, and a running mean.
fn trained(isa: Isa, threads: usize) -> Model {
    let mut b = Builder::new();
    let (n, m) = (Dim::sym("N"), Dim::from(12i64));
    let x = b.input(InputKind::Arg, "x", Type::new(DType::F32, [n.clone(), m.clone()]));
    let label = b.input(InputKind::Arg, "label", Type::new(DType::I64, [n.clone()]));
    let w = b.input(InputKind::Param, "w", Type::new(DType::F32, [m.clone()]));
    let mean = b.input(InputKind::Buffer, "mean", Type::new(DType::F32, [m.clone()]));
    let y = b.mul(x, w).unwrap();
    let index = b.reshape(label, &[n, Dim::ONE]).unwrap();
    let picked = b.push(Op::Gather, &[y, index], Attrs::new().int("axis", 1)).unwrap();
    let picked = b.mean(picked, &[0, 1], false).unwrap();
    let square = b.mul(y, y).unwrap();
    let square = b.mean(square, &[0, 1], false).unwrap();
    let loss = b.add(picked, square).unwrap();
    b.output(Role::Result, loss);
    let gradient = autodiff::gradient(&mut b, loss, &[w]).unwrap()[0].unwrap();
    b.output(Role::Grad("w".into()), gradient);
    let now = b.mean(y, &[0], false).unwrap();
    let half = b.constant(DType::F32, 0.5);
    let sum = b.add(mean, now).unwrap();
    let next = b.mul(half, sum).unwrap();
    b.output(Role::Update("mean".into()), next);
    let function = Function { name: "loss".into(), kind: FnKind::Train, graph: b.finish(), calls: vec![] };
    let param = |name: &str, trainable| ParamDecl {
        name: name.into(),
        ty: Type::new(DType::F32, [m.clone()]),
        init: Init::Normal(0.0, 1.0),
        trainable,
    };
    let params = vec![param("w", true), param("mean", false)];
    of_module(&Module { name: "M".into(), params, functions: vec![function], ..Module::default() }, isa, threads)
}

fn steps(model: &mut Model, count: usize) -> Vec<f32> {
    let mut adam = Adam::new(0.1).weight_decay(0.01);
    let x = Array2::from_shape_fn((77, 12), |(i, j)| ((i * 5 + j * 13) % 17) as f32 / 8.0 - 1.0);
    let mut label = Array1::from_shape_fn(77, |i| (i % 12) as i64);
    for step in 0..count {
        label[76] = 12;
        let args = [IntoArg::<f32, Ix2>::into_arg(&x), IntoArg::<i64, Ix1>::into_arg(&label)];
        let before = values(model);
        let error = model.train::<f32>(0, &mut adam, &args).unwrap_err();
        assert!(matches!(error, Error::IndexOutOfRange { index: 12, size: 12, .. }), "{error}");
        assert!(values(model) == before, "step {step} changed the model before it failed");
        label[76] = 3;
        let args = [IntoArg::<f32, Ix2>::into_arg(&x), IntoArg::<i64, Ix1>::into_arg(&label)];
        model.train::<f32>(0, &mut adam, &args).unwrap();
    }
    values(model)
}

fn values(model: &Model) -> Vec<f32> {
    model.parameters().flat_map(|p| p.to_array::<f32>().unwrap().into_raw_vec_and_offset().0).collect()
}

#[test]
fn whole_steps_agree_with_the_evaluator_and_change_nothing_when_they_fail() {
    let expected = steps(&mut trained(Isa::Interpreter, 1), 4);
    let mut one = trained(env_isa(), 1);
    let found = steps(&mut one, 4);
    assert!(one.compilations()[0].kernels > 0, "{:?}", one.compilations());
    for (a, b) in found.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-5, "{found:?} is not {expected:?}");
    }
    for threads in [2, 5] {
        assert!(steps(&mut trained(env_isa(), threads), 4) == found, "{threads} threads");
    }
}

#[test]
fn sizes_at_which_an_operation_fails_are_an_error() {
    let slice = "%0 = input arg \"x\" f32[N]\n%1 = slice %0 start=[0] stop=[3] step=[1] @0\nresult %1";
    let model = model(slice, env_isa(), 1);
    let x = Array1::<f32>::zeros(2);
    let error = model.call(0, &[IntoArg::<f32, Ix1>::into_arg(&x)]).unwrap_err().to_string();
    assert_eq!(
        error,
        "`f` does not work at the sizes N = 2: `slice`: `stop` is 3 on axis 0, which has size 2, at src/m.rs:3:5"
    );
}

#[test]
fn sizes_that_do_not_follow_from_the_arguments_are_an_error() {
    let model = model("%0 = input arg \"x\" f32[N*M]\n%1 = exp %0\nresult %1", env_isa(), 1);
    let x = Array1::<f32>::zeros(6);
    let error = model.call(0, &[IntoArg::<f32, Ix1>::into_arg(&x)]).unwrap_err().to_string();
    assert!(error.contains("the size `M` does not follow from the shapes of the arguments"), "{error}");
}

#[test]
fn explain_tells_kernels_and_memory() {
    let model = model(CHAIN, env_isa(), 1);
    let (x, label) = (Array2::<f32>::zeros((4, 4)), Array1::<i64>::zeros(4));
    let args: [AnyArray<'_>; 2] = [IntoArg::<f32, Ix2>::into_arg(&x), IntoArg::<i64, Ix1>::into_arg(&label)];
    let text = model.explain(0, &args).unwrap();
    for part in ["compiled `f` for evaluation, M = 4, N = 4", "0: map(", "arena ", " kernels for ", "machine code"] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}
