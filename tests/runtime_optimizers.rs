//! Optimizers against PyTorch: ten steps on 0.5 * sum((A w - b)^2), compared after each.

use std::path::{Path, PathBuf};

use dl::optim::{Adadelta, Adagrad, Adamax, Lamb, Lion, NAdam, RAdam, RmsProp};
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

/// The largest relative error over ten steps, in elements of type `T`, against the references of that type.
fn error<T: Element + Into<f64>>(
    case: &str,
    optimizer: &mut dyn Optimizer,
    extension: &str,
    elements: fn(&[u8]) -> Vec<T>,
) -> f64 {
    let bytes = std::fs::read(goldens().with_extension(extension)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let floats = |name: &str| -> Vec<T> { elements(file.tensor(&format!("{case}/{name}")).unwrap().data()) };
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
    ("adam_amsgrad", || Box::new(Adam::new(0.05).amsgrad(true))),
    ("adamw", || Box::new(AdamW::new(0.05).weight_decay(0.1))),
    ("rmsprop", || Box::new(RmsProp::new(0.01))),
    ("rmsprop_centered_momentum", || Box::new(RmsProp::new(0.01).centered(true).momentum(0.9))),
    ("adagrad", || Box::new(Adagrad::new(0.1))),
    ("adadelta", || Box::new(Adadelta::new(1.0))),
    ("adamax", || Box::new(Adamax::new(0.05))),
    ("nadam", || Box::new(NAdam::new(0.05))),
    ("radam", || Box::new(RAdam::new(0.05))),
];

/// The schedules are tested in dl-train.
#[test]
fn every_case_of_an_optimizer_runs() {
    let list = std::fs::read_to_string(goldens().with_extension("json")).unwrap();
    let list: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    let of_optimizers = list.iter().filter(|case| case["inputs"][0] == "a");
    let mut all: Vec<&str> = of_optimizers.map(|case| case["name"].as_str().unwrap()).collect();
    let mut known: Vec<&str> = CASES.iter().map(|case| case.0).collect();
    all.sort_unstable();
    known.sort_unstable();
    assert_eq!(known, all);
}

#[test]
fn optimizers_take_the_steps_of_pytorch() {
    for &(name, make) in CASES {
        let single = error(name, &mut make(), "safetensors", |bytes| {
            bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        });
        let double = error(name, &mut make(), "f64.safetensors", |bytes| {
            bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect()
        });
        assert!(single < 3e-6 && double < 1e-9, "{name}: {single:.1e} in f32, {double:.1e} in f64");
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

/// A rule in plain Rust: the weights, their gradient and the number of the step.
type Plain = Box<dyn FnMut(&mut [f64], &[f64], i32)>;

/// `keep * old + (1 - keep) * new`, which becomes `old`.
fn average(old: &mut f64, keep: f64, new: f64) -> f64 {
    *old = keep * *old + (1.0 - keep) * new;
    *old
}

/// Settings that no reference value of PyTorch covers, and their rules.
fn plain() -> Vec<(&'static str, Box<dyn Optimizer>, Plain)> {
    let (mut m, mut v) = ([0.0; 6], [0.0; 6]);
    let lion: Plain = Box::new(move |w, g, _| {
        for i in 0..6 {
            w[i] -= 0.02 * (f64::signum(0.9 * m[i] + (1.0 - 0.9) * g[i]) + 0.5 * w[i]);
            average(&mut m[i], 0.99, g[i]);
        }
    });
    let mut m = [0.0; 6];
    let lamb: Plain = Box::new(move |w, g, t| {
        let update: Vec<f64> = (0..6)
            .map(|i| {
                let m = average(&mut m[i], 0.9, g[i]) / (1.0 - 0.9f64.powi(t));
                let v = average(&mut v[i], 0.999, g[i] * g[i]) / (1.0 - 0.999f64.powi(t));
                m / (v.sqrt() + 1e-6) + 0.1 * w[i]
            })
            .collect();
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let ratio = if norm(w) > 0.0 && norm(&update) > 0.0 { norm(w) / norm(&update) } else { 1.0 };
        w.iter_mut().zip(update).for_each(|(w, u)| *w -= 0.05 * ratio * u);
    });
    let mut b = [0.0; 6];
    let damped: Plain = Box::new(move |w, g, t| {
        for i in 0..6 {
            b[i] = 0.9 * b[i] + if t == 1 { g[i] } else { 0.75 * g[i] };
            w[i] -= 0.01 * b[i];
        }
    });
    let mut sum = [0.5; 6];
    let adagrad: Plain = Box::new(move |w, g, t| {
        for i in 0..6 {
            let g = g[i] + 0.1 * w[i];
            sum[i] += g * g;
            w[i] -= 0.1 / (1.0 + f64::from(t - 1) * 0.2) * g / (f64::sqrt(sum[i]) + 1e-10);
        }
    });
    let (mut m, mut v, mut product) = ([0.0; 6], [0.0; 6], 1.0);
    let nadam: Plain = Box::new(move |w, g, t| {
        let mu = |t: i32| 0.9 * (1.0 - 0.5 * 0.96f64.powf(f64::from(t) * 0.1));
        product *= mu(t);
        for i in 0..6 {
            w[i] *= 1.0 - 0.05 * 0.2;
            let (m, v) = (average(&mut m[i], 0.9, g[i]), average(&mut v[i], 0.999, g[i] * g[i]));
            let divisor = (v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8;
            w[i] -= 0.05 * (1.0 - mu(t)) / (1.0 - product) * g[i] / divisor;
            w[i] -= 0.05 * mu(t + 1) / (1.0 - product * mu(t + 1)) * m / divisor;
        }
    });
    let (mut m, mut v, mut most) = ([0.0; 6], [0.0; 6], [0.0f64; 6]);
    let amsgrad: Plain = Box::new(move |w, g, t| {
        for i in 0..6 {
            w[i] *= 1.0 - 0.05 * 0.01;
            let (m, v) = (average(&mut m[i], 0.5, g[i]), average(&mut v[i], 0.5, g[i] * g[i]));
            most[i] = most[i].max(v);
            let divisor = (most[i] / (1.0 - 0.5f64.powi(t))).sqrt() + 1e-8;
            w[i] -= 0.05 * m / (1.0 - 0.5f64.powi(t)) / divisor;
        }
    });
    // Without beta2 below 0.9 nothing is rectified within ten steps.
    let (mut m, mut v) = ([0.0; 6], [0.0; 6]);
    let radam: Plain = Box::new(move |w, g, t| {
        let (most, power, t) = (2.0 / (1.0 - 0.9) - 1.0, 0.9f64.powi(t), f64::from(t));
        let rho = most - 2.0 * t * power / (1.0 - power);
        for i in 0..6 {
            w[i] *= 1.0 - 0.05 * 0.1;
            let m = average(&mut m[i], 0.5, g[i]) / (1.0 - 0.5f64.powf(t));
            let v = average(&mut v[i], 0.9, g[i] * g[i]);
            let ratio = ((rho - 4.0) * (rho - 2.0) * most / ((most - 4.0) * (most - 2.0) * rho)).sqrt();
            w[i] -= 0.05 * m * if rho > 5.0 { ratio * (1.0 - power).sqrt() / (v.sqrt() + 1e-8) } else { 1.0 };
        }
    });
    let clipped: Plain = Box::new(|w, g, _| {
        let norm = g.iter().map(|g| g * g).sum::<f64>().sqrt();
        (0..6).for_each(|i| w[i] -= 0.05 * g[i] * f64::min(1.0, 1.5 / (norm + 1e-6)));
    });
    let up: Plain = Box::new(|w, g, _| (0..6).for_each(|i| w[i] += 1e-3 * g[i]));
    vec![
        ("lion", Box::new(Lion::new(0.02).weight_decay(0.5)), lion),
        ("lamb", Box::new(Lamb::new(0.05).weight_decay(0.1)), lamb),
        ("sgd with dampening", Box::new(Sgd::new(0.01).momentum(0.9).dampening(0.25)), damped),
        (
            "adagrad",
            Box::new(Adagrad::new(0.1).weight_decay(0.1).lr_decay(0.2).initial_accumulator_value(0.5)),
            adagrad,
        ),
        ("nadam", Box::new(NAdam::new(0.05).weight_decay(0.2).decoupled_weight_decay(true).momentum_decay(0.1)), nadam),
        ("adamw with amsgrad", Box::new(AdamW::new(0.05).betas(0.5, 0.5).amsgrad(true)), amsgrad),
        ("radam", Box::new(RAdam::new(0.05).betas(0.5, 0.9).weight_decay(0.1).decoupled_weight_decay(true)), radam),
        ("sgd with clipping", Box::new(Sgd::new(0.05).clip_norm(1.5)), clipped),
        ("maximize", Box::new(Sgd::new(1e-3).maximize()), up),
    ]
}

/// The largest difference from a plain rule over ten steps from the start of the references, in elements of type `T`.
fn difference<T: Element + From<f32> + Into<f64>>(optimizer: &mut dyn Optimizer, mut rule: Plain) -> f64 {
    let bytes = std::fs::read(goldens().with_extension("safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let floats = |name: &str| -> Vec<f32> {
        let tensor = file.tensor(&format!("sgd/{name}")).unwrap();
        tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    let (a, b, w0) = (floats("a"), floats("b"), floats("w0"));
    let typed = |values: &[f32]| values.iter().map(|&v| T::from(v)).collect::<Vec<T>>();
    let mut model = model(T::DTYPE);
    model.set_parameter("w", &Array1::from(typed(&w0))).unwrap();
    let mut w: Vec<f64> = w0.iter().map(|&w| f64::from(w)).collect();
    let mut worst = 0.0f64;
    for t in 1..=10 {
        let mut gradient = [0.0; 6];
        for (row, &b) in a.chunks(6).zip(&b) {
            let error = row.iter().zip(&w).map(|(&a, w)| f64::from(a) * w).sum::<f64>() - f64::from(b);
            gradient.iter_mut().zip(row).for_each(|(g, &a)| *g += error * f64::from(a));
        }
        rule(&mut w, &gradient, t);
        let (a, b) = (Array2::from_shape_vec((8, 6), typed(&a)).unwrap(), Array1::from(typed(&b)));
        let args = [IntoArg::<T, Ix2>::into_arg(&a), IntoArg::<T, Ix1>::into_arg(&b)];
        model.train::<T>(0, optimizer, &args).unwrap();
        for (found, expected) in model.parameter("w").unwrap().view::<T>().unwrap().iter().zip(&w) {
            worst = worst.max((Into::<f64>::into(*found) - expected).abs() / expected.abs().max(1.0));
        }
    }
    worst
}

#[test]
fn optimizers_take_the_steps_of_their_papers() {
    for ((name, mut single, rule), (_, mut double, same)) in plain().into_iter().zip(plain()) {
        let (single, double) = (difference::<f32>(&mut single, rule), difference::<f64>(&mut double, same));
        assert!(single < 3e-6 && double < 1e-13, "{name}: {single:.1e} in f32, {double:.1e} in f64");
    }
}

#[test]
fn parameters_of_two_types_have_one_norm() {
    let mut b = Builder::new();
    b.training = true;
    let types = [("single", DType::F32, 3.0), ("double", DType::F64, 4.0)];
    let mut loss = b.constant(DType::F64, 0.0);
    let params = types.map(|(name, dtype, slope)| {
        let param = b.input(InputKind::Param, name, Type::new(dtype, [1i64]));
        let (wide, slope) = (b.cast(param, DType::F64).unwrap(), b.constant(DType::F64, slope));
        let product = b.mul(wide, slope).unwrap();
        let sum = b.sum(product, &[0], false).unwrap();
        loss = b.add(loss, sum).unwrap();
        param
    });
    b.output(Role::Result, loss);
    let gradients = autodiff::gradient(&mut b, loss, &params).unwrap();
    types.iter().zip(gradients).for_each(|(ty, gradient)| b.output(Role::Grad(ty.0.into()), gradient.unwrap()));
    let function = Function { name: "loss".into(), kind: FnKind::Train, graph: b.finish(), calls: vec![] };
    let params = types.map(|(name, dtype, _)| ParamDecl {
        name: name.into(),
        ty: Type::new(dtype, [1i64]),
        init: Init::Zeros,
        trainable: true,
    });
    let module = Module { name: "Two".into(), params: params.into(), functions: vec![function], ..Module::default() };
    let text = Box::leak(dl_ir::text::print_module(&module).into_boxed_str());
    let mut model = Model::new(&Source { text, file: file!() }, &[], Seed(0)).unwrap();
    let mut sgd = Sgd::new(1.0).clip_norm(0.5).accumulate(2).ema(0.5);
    (0..2).for_each(|_| _ = model.train::<f64>(0, &mut sgd, &[]).unwrap());
    assert_eq!(sgd.total_norm(), Some(5.0));
    let single = f64::from(model.parameter("single").unwrap().to_array::<f32>().unwrap()[0]);
    let double = model.parameter("double").unwrap().to_array::<f64>().unwrap()[0];
    assert!((single + 0.3).abs() < 1e-6 && (double + 0.4).abs() < 1e-6, "{single} {double}");
    assert_eq!(sgd.average::<f64>("double").unwrap()[0], double);
}

#[test]
fn zeros_stop_no_optimizer() {
    let first = |optimizer: &mut dyn Optimizer, a: f32| {
        let (mut model, a, b) = (model(DType::F32), Array2::from_elem((8, 6), a), Array1::<f32>::ones(8));
        let args = [IntoArg::<f32, Ix2>::into_arg(&a), IntoArg::<f32, Ix1>::into_arg(&b)];
        model.train::<f32>(0, optimizer, &args).unwrap();
        model.parameter("w").unwrap().to_array::<f32>().unwrap()[0]
    };
    // Weights of length zero: the ratio is 1, and the direction that of the sign.
    assert!((first(&mut Lamb::new(0.1), 1.0) - 0.1).abs() < 1e-5);
    assert_eq!(first(&mut Lamb::new(0.1), 0.0), 0.0);
    // Nothing is divided in the first steps, so there is no 0 / 0.
    assert_eq!(first(&mut RAdam::new(0.1).eps(0.0), 0.0), 0.0);
    assert_eq!(first(&mut Sgd::new(0.1).clip_norm(1.0), 0.0), 0.0);
}
