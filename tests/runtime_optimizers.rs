//! Optimizers against PyTorch: ten steps on 0.5 * sum((A w - b)^2), compared after each.

use std::path::{Path, PathBuf};

use dl_ir::{Builder, DType, FnKind, Function, Init, InputKind, Module, ParamDecl, Role, Type, autodiff};
use dl_runtime::{Adam, AdamW, Element, IntoArg, Model, Optimizer, Seed, Sgd, Source};
use ndarray::{Array1, Array2, Ix1, Ix2};
use safetensors::SafeTensors;

/// The least squares problem as a model in `dtype`.
fn model(dtype: DType) -> Model {
    let mut b = Builder::new();
    b.training = true;
    let a = b.input(InputKind::Arg, "a", Type::new(dtype, [8i64, 6]));
    let target = b.input(InputKind::Arg, "b", Type::new(dtype, [8i64]));
    let w = b.input(InputKind::Param, "w", Type::new(dtype, [6i64]));
    let product = b.dot(a, w, &[], &[(1, 0)]).unwrap();
    let error = b.sub(product, target).unwrap();
    let square = b.mul(error, error).unwrap();
    let sum = b.sum(square, &[0], false).unwrap();
    let half = b.constant(dtype, 0.5);
    let loss = b.mul(half, sum).unwrap();
    b.output(Role::Result, loss);
    let gradient = autodiff::gradient(&mut b, loss, &[w]).unwrap()[0].unwrap();
    b.output(Role::Grad("w".into()), gradient);
    let w = ParamDecl { name: "w".into(), ty: Type::new(dtype, [6i64]), init: Init::Zeros, trainable: true };
    let function = Function { name: "loss".into(), kind: FnKind::Train, graph: b.finish(), calls: vec![] };
    let module =
        Module { name: "LeastSquares".into(), params: vec![w], functions: vec![function], ..Module::default() };
    let text = Box::leak(dl_ir::text::print_module(&module).into_boxed_str());
    Model::new(&Source { text, file: file!() }, &[], Seed(0)).unwrap()
}

/// The two files of reference values, without their extensions.
fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/goldens/optimizers")
}

/// The largest relative error over ten steps, in elements of type `T`.
fn error<T: Element + From<f32> + Into<f64>>(case: &str, optimizer: &mut dyn Optimizer) -> f64 {
    let bytes = std::fs::read(goldens().with_extension("safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let floats = |name: &str| -> Vec<T> {
        let tensor = file.tensor(&format!("{case}/{name}")).unwrap();
        tensor.data().as_chunks::<4>().0.iter().map(|b| T::from(f32::from_le_bytes(*b))).collect()
    };
    let a = Array2::from_shape_vec((8, 6), floats("a")).unwrap();
    let (b, w0) = (Array1::from(floats("b")), Array1::from(floats("w0")));
    let mut model = model(T::DTYPE);
    model.set_parameter("w", &w0).unwrap();
    let mut worst = 0.0f64;
    for expected in floats("out0").chunks(6) {
        let args = [IntoArg::<T, Ix2>::into_arg(&a), IntoArg::<T, Ix1>::into_arg(&b)];
        model.train::<T>(0, optimizer, &args).unwrap();
        let w = model.parameter("w").unwrap();
        for (found, &expected) in w.view::<T>().unwrap().iter().zip(expected) {
            let (found, expected): (f64, f64) = ((*found).into(), expected.into());
            worst = worst.max((found - expected).abs() / expected.abs().max(1.0));
        }
    }
    assert_eq!(optimizer.state().steps(), 10);
    worst
}

type Case = (&'static str, fn() -> Box<dyn Optimizer>);

const CASES: &[Case] = &[
    ("sgd", || Box::new(Sgd::new(0.01))),
    ("sgd_momentum", || Box::new(Sgd::new(0.01).momentum(0.9))),
    ("sgd_nesterov", || Box::new(Sgd::new(0.01).momentum(0.9).nesterov(true))),
    ("sgd_weight_decay", || Box::new(Sgd::new(0.01).momentum(0.9).weight_decay(0.1))),
    ("adam", || Box::new(Adam::new(0.05))),
    ("adam_weight_decay", || Box::new(Adam::new(0.05).weight_decay(0.1))),
    ("adamw", || Box::new(AdamW::new(0.05).weight_decay(0.1))),
];

/// Cases of what does not exist yet, optimizers first and then schedules. A case must be here or run.
const LATER: &[&str] = &[
    "adam_amsgrad",
    "rmsprop",
    "rmsprop_centered_momentum",
    "adagrad",
    "adadelta",
    "adamax",
    "nadam",
    "radam",
    "step_lr",
    "multi_step_lr",
    "exponential_lr",
    "cosine_annealing_lr",
    "cosine_warm_restarts",
    "linear_lr",
    "polynomial_lr",
    "one_cycle_lr",
    "cyclic_lr",
];

#[test]
fn every_case_runs_or_is_left_for_later() {
    let list = std::fs::read_to_string(goldens().with_extension("json")).unwrap();
    let list: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    let mut all: Vec<&str> = list.iter().map(|case| case["name"].as_str().unwrap()).collect();
    let mut known: Vec<&str> = CASES.iter().map(|case| case.0).chain(LATER.iter().copied()).collect();
    all.sort_unstable();
    known.sort_unstable();
    assert_eq!(known, all);
}

#[test]
fn optimizers_take_the_steps_of_pytorch() {
    for &(name, make) in CASES {
        // The references are stored in f32, so f64 cannot come closer than its rounding.
        let (single, double) = (error::<f32>(name, &mut make()), error::<f64>(name, &mut make()));
        assert!(single < 3e-6 && double < 2e-7, "{name}: {single:.1e} in f32, {double:.1e} in f64");
    }
}

#[test]
fn the_learning_rate_is_read_at_each_step_and_recompiles_nothing() {
    let (mut model, mut sgd) = (model(DType::F32), Sgd::new(0.0));
    let (a, b) = (Array2::<f32>::ones((8, 6)), Array1::<f32>::ones(8));
    let step = |model: &mut Model, sgd: &mut Sgd| {
        let args = [IntoArg::<f32, Ix2>::into_arg(&a), IntoArg::<f32, Ix1>::into_arg(&b)];
        model.train::<f32>(0, sgd, &args).unwrap();
        model.parameter("w").unwrap().to_array::<f32>().unwrap()[0]
    };
    assert_eq!(step(&mut model, &mut sgd), 0.0);
    sgd.lr = 0.125;
    assert_eq!(step(&mut model, &mut sgd), 1.0, "w - lr * (-8)");
    assert_eq!(model.compilations().len(), 1);
    sgd.momentum = 0.5;
    step(&mut model, &mut sgd);
    let log = model.compilations();
    assert!(log.len() == 2 && log[1].reason.starts_with("the optimizer is Sgd momentum=true"), "{log:?}");
}
