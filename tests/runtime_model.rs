//! A model through the runtime: calling, training, gradients, saving, resuming, and what it says of wrong use.

#[path = "common/file.rs"]
mod file;

use dl_ir::{
    Builder, DType, Dim, FnKind, Function, Init, InputKind, LayerDecl, Loc, Module, NodeId, ParamDecl, Role, Type,
    autodiff,
};
use dl_runtime::{Adam, AnyArray, Error, IntoArg, Model, Options, Seed, Sgd, Source};
use file::File;
use ndarray::{Array, Array1, Array2, Ix0, Ix1, Ix2, array};

const FORWARD: usize = 0;
const LOSS: usize = 1;
const TRAIN: usize = 2;
const GRAD: usize = 3;

fn params() -> Vec<ParamDecl> {
    let param = |name: &str, shape: [Dim; 2], init, trainable| ParamDecl {
        name: name.into(),
        ty: Type::new(DType::F32, shape),
        init,
        trainable,
    };
    let h = || Dim::sym("H");
    vec![
        param("fc1.weight", [h(), Dim::from(3i64)], Init::FanIn(Dim::from(3i64)), true),
        param("fc1.bias", [Dim::ONE, h()], Init::Zeros, true),
        param("fc2.weight", [Dim::from(4i64), h()], Init::FanIn(h()), true),
        param("seen", [Dim::ONE, Dim::ONE], Init::Zeros, false),
    ]
}

fn logits(b: &mut Builder) -> NodeId {
    let x = b.input(InputKind::Arg, "x", Type::new(DType::F32, [Dim::sym("N"), Dim::from(3i64)]));
    let [w1, b1, w2]: [NodeId; 3] =
        std::array::from_fn(|i| b.input(InputKind::Param, &params()[i].name, params()[i].ty.clone()));
    let hidden = b.dot(x, w1, &[], &[(1, 1)]).unwrap();
    let hidden = b.add(hidden, b1).unwrap();
    let mut hidden = b.tanh(hidden).unwrap();
    if b.training {
        let shape = b.shape(hidden).to_vec();
        let noise = b.random("uniform", DType::F32, &shape).unwrap();
        let (keep, two) = (b.constant(DType::F32, 0.5), b.constant(DType::F32, 2.0));
        let kept = b.lt(noise, keep).unwrap();
        let kept = b.cast(kept, DType::F32).unwrap();
        let scaled = b.mul(hidden, two).unwrap();
        hidden = b.mul(scaled, kept).unwrap();
    }
    b.dot(hidden, w2, &[], &[(1, 1)]).unwrap()
}

/// The mean of -logits[i, label[i]], plus half the squares of the logits.
fn loss(b: &mut Builder) -> NodeId {
    let y = logits(b);
    let label = b.input(InputKind::Arg, "label", Type::new(DType::I64, [Dim::sym("N")]));
    let index = b.reshape(label, &[Dim::sym("N"), Dim::ONE]).unwrap();
    b.loc = Loc(0);
    let picked = b.push(dl_ir::Op::Gather, &[y, index], dl_ir::Attrs::new().int("axis", 1)).unwrap();
    b.loc = Loc::NONE;
    let picked = b.neg(picked).unwrap();
    let picked = b.mean(picked, &[0, 1], false).unwrap();
    let square = b.mul(y, y).unwrap();
    let square = b.mean(square, &[0, 1], false).unwrap();
    b.add(picked, square).unwrap()
}

fn source() -> Source {
    let function = |name: &str, kind, build: &dyn Fn(&mut Builder)| {
        let mut b = Builder::new();
        b.training = kind == FnKind::Train;
        build(&mut b);
        Function {
            name: name.into(),
            kind,
            graph: b.finish(),
            calls: vec![(0, Type::new(DType::F32, [Dim::sym("N"), Dim::sym("H")]))],
        }
    };
    let result = |node: fn(&mut Builder) -> NodeId| {
        move |b: &mut Builder| {
            let node = node(b);
            b.output(Role::Result, node);
        }
    };
    let train = |b: &mut Builder| {
        let value = loss(b);
        b.output(Role::Result, value);
        let names: Vec<String> = params().iter().filter(|p| p.trainable).map(|p| p.name.clone()).collect();
        let wrt: Vec<NodeId> = names.iter().map(|name| b.graph.input(name).unwrap().node).collect();
        let gradients = autodiff::gradient(b, value, &wrt).unwrap();
        for (name, gradient) in names.into_iter().zip(gradients) {
            b.output(Role::Grad(name), gradient.unwrap());
        }
        if b.training {
            let seen = b.input(InputKind::Buffer, "seen", Type::new(DType::F32, [1i64, 1]));
            let one = b.constant(DType::F32, 1.0);
            let more = b.add(seen, one).unwrap();
            b.output(Role::Update("seen".into()), more);
        }
    };
    let module = Module {
        name: "Net".into(),
        dims: vec!["H".into()],
        params: params(),
        layers: vec![LayerDecl { name: "fc1".into(), what: "Linear(3 => H)".into() }],
        functions: vec![
            function("forward", FnKind::Eval, &result(logits)),
            function("loss", FnKind::Eval, &result(loss)),
            function("loss", FnKind::Train, &train),
            function("loss", FnKind::Grad, &train),
        ],
        locs: vec![(12, 9)],
        ..Module::default()
    };
    Source { text: Box::leak(dl_ir::text::print_module(&module).into_boxed_str()), file: "src/net.rs" }
}

fn model(seed: u64) -> Model {
    Model::new(&source(), &[("H", 16)], Seed(seed)).unwrap()
}

fn data(n: usize) -> (Array2<f32>, Array1<i64>) {
    let x = Array::from_shape_fn((n, 3), |(i, j)| ((i * 7 + j * 3) % 11) as f32 / 5.0 - 1.0);
    (x, Array::from_shape_fn(n, |i| (i % 4) as i64))
}

fn args<'a>(x: &'a Array2<f32>, label: &'a Array1<i64>) -> [AnyArray<'a>; 2] {
    [IntoArg::<f32, Ix2>::into_arg(x), IntoArg::<i64, Ix1>::into_arg(label)]
}

fn values(model: &Model) -> Vec<u32> {
    model
        .parameters()
        .flat_map(|p| p.to_array::<f32>().unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>())
        .collect()
}

#[test]
fn functions_run_for_any_batch_and_compile_once_for_each() {
    let model = model(1);
    for n in [4, 2, 4] {
        let (x, _) = data(n);
        let mut outputs = model.call(FORWARD, &[IntoArg::<f32, Ix2>::into_arg(&x)]).unwrap();
        let y = outputs.take::<f32, Ix2>().unwrap();
        assert_eq!(y.dim(), (n, 4));
        let weight = |name: &str| {
            model.parameter(name).unwrap().to_array::<f32>().unwrap().into_dimensionality::<Ix2>().unwrap()
        };
        let expected =
            (x.dot(&weight("fc1.weight").t()) + weight("fc1.bias")).mapv(f32::tanh).dot(&weight("fc2.weight").t());
        assert!((&y - &expected).iter().all(|d| d.abs() < 1e-5), "{y} is not {expected}");
    }
    let log = model.compilations();
    let reasons: Vec<&str> = log.iter().map(|c| c.reason.as_str()).collect();
    assert_eq!(reasons, ["first call", "N is 2, was 4"]);
    assert!(log[0].to_string().contains("compiled `forward` for evaluation, H = 16, N = 4: "), "{}", log[0]);
}

#[test]
fn a_call_like_the_last_one_is_still_checked_and_counts_as_a_use() {
    let mut options = Options::default();
    options.programs = 2;
    let model = Model::with_options(&source(), &[("H", 16)], Seed(1), options).unwrap();
    let forward = |x: AnyArray<'_>| model.call(FORWARD, &[x]).map(|_| model.compilations().len());
    let (x, label) = data(4);
    let good = || IntoArg::<f32, Ix2>::into_arg(&x);
    assert_eq!(forward(good()).unwrap(), 1);
    let (wide, double) = (Array::zeros((4, 5)), x.mapv(f64::from));
    assert!(matches!(forward(IntoArg::<f32, Ix2>::into_arg(&wide)), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(forward(IntoArg::<f64, Ix2>::into_arg(&double)), Err(Error::ElementType { .. })));
    assert!(matches!(model.call(FORWARD, &[good(), good()]), Err(Error::ArgumentCount { .. })));
    let evaluate = |n: usize| model.call(LOSS, &args(&data(n).0, &data(n).1)).map(|_| model.compilations().len());
    assert_eq!(model.call(LOSS, &args(&x, &label)).map(|_| model.compilations().len()).unwrap(), 2);
    assert_eq!(forward(good()).unwrap(), 2);
    assert_eq!(evaluate(3).unwrap(), 3, "in the place of the loss of 4");
    assert_eq!(forward(good()).unwrap(), 3);
    assert_eq!(evaluate(4).unwrap(), 4);
}

#[test]
fn views_of_any_layout_are_accepted() {
    let model = model(1);
    let wide = Array::from_shape_fn((3, 10), |(i, j)| (i + j) as f32 / 4.0);
    let view = wide.t();
    let strided = view.slice(ndarray::s![..;-2, ..]);
    let call = |x: AnyArray<'_>| model.call(FORWARD, &[x]).unwrap().take::<f32, Ix2>().unwrap();
    let dense = strided.as_standard_layout().into_owned();
    assert_eq!(call(IntoArg::<f32, Ix2>::into_arg(&strided)), call(IntoArg::<f32, Ix2>::into_arg(&dense)));
}

#[test]
fn training_lowers_the_loss_and_updates_buffers() {
    let mut model = model(2);
    let (x, label) = data(12);
    let evaluate =
        |model: &Model| model.call(LOSS, &args(&x, &label)).unwrap().take::<f32, Ix0>().unwrap().into_scalar();
    let before = evaluate(&model);
    let mut adam = Adam::new(0.05);
    for _ in 0..20 {
        model.train::<f32>(TRAIN, &mut adam, &args(&x, &label)).unwrap();
    }
    assert!(evaluate(&model) < before - 0.05, "{} is not below {before}", evaluate(&model));
    assert_eq!(model.parameter("seen").unwrap().to_array::<f32>().unwrap(), array![[20.0f32]].into_dyn());
    assert_eq!(
        adam.state_names(),
        [
            "fc1.bias.exp_avg",
            "fc1.bias.exp_avg_sq",
            "fc1.weight.exp_avg",
            "fc1.weight.exp_avg_sq",
            "fc2.weight.exp_avg",
            "fc2.weight.exp_avg_sq"
        ]
    );
}

/// The names of what an optimizer keeps.
trait StateNames {
    fn state_names(&self) -> Vec<&str>;
}

impl StateNames for Adam {
    fn state_names(&self) -> Vec<&str> {
        dl_runtime::Optimizer::state(self).names().collect()
    }
}

#[test]
fn gradients_are_those_that_a_step_follows_and_change_nothing() {
    let mut model = model(3);
    let (x, label) = data(5);
    let before = values(&model);
    let (loss, gradients) = model.grad::<f32>(TRAIN, &args(&x, &label)).unwrap();
    assert_eq!(values(&model), before);
    assert_eq!(gradients.names().collect::<Vec<_>>(), ["fc1.weight", "fc1.bias", "fc2.weight"]);
    let old = model.parameter("fc2.weight").unwrap().to_array::<f32>().unwrap();
    let stepped = model.train::<f32>(TRAIN, &mut Sgd::new(0.5), &args(&x, &label)).unwrap();
    assert_eq!(loss, stepped, "the same key gives the same dropout");
    let expected = old - gradients.get::<f32>("fc2.weight").unwrap() * 0.5;
    let new = model.parameter("fc2.weight").unwrap().to_array::<f32>().unwrap();
    assert!((new - expected).iter().all(|d| d.abs() < 1e-6));
    assert!(gradients.get::<f32>("seen").is_none() && gradients.get::<f64>("fc2.weight").is_none());
}

/// The parameters after `steps` steps with `threads` threads.
fn trained(threads: usize, steps: usize) -> Vec<u32> {
    let mut options = Options::from_env().unwrap();
    options.threads = threads;
    trained_with(options, steps)
}

fn trained_with(options: Options, steps: usize) -> Vec<u32> {
    let mut model = Model::with_options(&source(), &[("H", 16)], Seed(5), options).unwrap();
    let (mut adam, (x, label)) = (Adam::new(0.01), data(33));
    for _ in 0..steps {
        model.train::<f32>(TRAIN, &mut adam, &args(&x, &label)).unwrap();
    }
    values(&model)
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let one = trained(1, 10);
    for threads in [2, 3, 8] {
        assert!(trained(threads, 10) == one, "{threads} threads");
    }
}

#[test]
fn profiling_changes_no_bit() {
    let mut options = Options::from_env().unwrap();
    (options.threads, options.profile) = (2, true);
    assert!(trained_with(options, 10) == trained(2, 10));
}

#[test]
fn resuming_from_files_changes_no_bit() {
    let (net, optimizer) = (File::new("resume"), File::new("resume-adam"));
    let (x, label) = data(9);
    let (mut model, mut adam) = (model(6), Adam::new(0.01));
    for step in 0..8 {
        if step == 4 {
            model.save(&net.0).unwrap();
            dl_runtime::Optimizer::save(&adam, &optimizer.0).unwrap();
        }
        model.train::<f32>(TRAIN, &mut adam, &args(&x, &label)).unwrap();
    }
    let (mut again, mut adam) = (self::model(99), Adam::new(0.01));
    again.load(&net.0).unwrap();
    dl_runtime::Optimizer::load(&mut adam, &optimizer.0).unwrap();
    for _ in 4..8 {
        again.train::<f32>(TRAIN, &mut adam, &args(&x, &label)).unwrap();
    }
    assert!(values(&again) == values(&model));
}

#[test]
fn models_are_shared_between_threads() {
    let model = model(7);
    let (x, _) = data(6);
    let call = || model.call(FORWARD, &[IntoArg::<f32, Ix2>::into_arg(&x)]).unwrap().take::<f32, Ix2>().unwrap();
    let expected = call();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(|| (0..20).all(|_| call() == expected))).collect();
        assert!(workers.into_iter().all(|worker| worker.join().unwrap()));
    });
    assert_eq!(model.compilations().len(), 1);
}

#[test]
fn a_label_out_of_range_names_the_line_and_changes_nothing() {
    let mut model = model(8);
    let (x, mut label) = data(6);
    let mut adam = Adam::new(0.01);
    model.train::<f32>(TRAIN, &mut adam, &args(&x, &label)).unwrap();
    let before = values(&model);
    for wrong in [4, -1, i64::MIN, i64::MAX] {
        label[3] = wrong;
        let error = model.train::<f32>(TRAIN, &mut adam, &args(&x, &label)).unwrap_err();
        assert!(matches!(error, Error::IndexOutOfRange { index, size: 4, .. } if index == wrong), "{error}");
        let message = error.to_string();
        assert!(
            message.starts_with(&format!(
                "`loss`: an index in `label` is {wrong}, but what it selects from at src/net.rs:12:9 has 4 entries"
            )),
            "{message}"
        );
        assert!(model.call(LOSS, &args(&x, &label)).is_err());
    }
    assert!(values(&model) == before, "a refused step changed a parameter");
    assert_eq!(dl_runtime::Optimizer::state(&adam).steps(), 1);
    label[3] = 0;
    model.train::<f32>(TRAIN, &mut adam, &args(&x, &label)).unwrap();
}

#[test]
fn nan_in_the_data_is_no_error_and_comes_out() {
    let model = model(9);
    let (mut x, _) = data(2);
    x[[1, 2]] = f32::NAN;
    let y = model.call(FORWARD, &[IntoArg::<f32, Ix2>::into_arg(&x)]).unwrap().take::<f32, Ix2>().unwrap();
    assert!(y.row(0).iter().all(|v| v.is_finite()) && y.row(1).iter().all(|v| v.is_nan()), "{y}");
}

#[test]
fn wrong_use_is_an_error() {
    let mut model = model(10);
    let (x, label) = data(4);
    let train =
        |model: &mut Model, args: &[AnyArray<'_>]| model.train::<f32>(TRAIN, &mut Sgd::new(0.1), args).unwrap_err();
    assert!(matches!(train(&mut model, &args(&x, &label)[..1]), Error::ArgumentCount { .. }));
    assert!(matches!(train(&mut model, &args(&x, &data(3).1)), Error::DimConflict { .. }));
    assert!(matches!(train(&mut model, &args(&Array2::zeros((0, 3)), &Array1::zeros(0))), Error::EmptyBatch { .. }));
    assert!(matches!(train(&mut model, &args(&Array2::zeros((4, 2)), &label)), Error::ShapeMismatch { .. }));
    let error = model.grad::<f32>(LOSS, &args(&x, &label)).unwrap_err();
    assert_eq!(error.to_string(), "`loss` has no gradient program; mark it `#[train]` in the model");
    for evaluates in [LOSS, GRAD] {
        let error = model.train::<f32>(evaluates, &mut Sgd::new(0.1), &args(&x, &label)).unwrap_err();
        assert!(matches!(error, Error::NotTrainable { .. }));
    }
    let error = model.train::<f32>(TRAIN, &mut Sgd::new(f64::NAN), &args(&x, &label)).unwrap_err();
    assert!(matches!(error, Error::BadHyperparameter { .. }));
    assert!(matches!(model.call(17, &[]), Err(Error::Internal { .. })));
    let other = |dims: &[(&str, usize)]| Model::new(&source(), dims, Seed(0)).unwrap_err().to_string();
    assert_eq!(other(&[]), "`Net::new`: dimension `H` was given no value");
    assert_eq!(other(&[("H", 0)]), "`Net::new`: dimension `H` is 0, but must be at least 1");
    assert_eq!(other(&[("G", 1)]), "`Net::new`: dimension `G` is not one of the model's; it declares `H`");
}

#[test]
fn an_optimizer_of_another_model_is_refused() {
    let (mut small, mut large) = (model(1), Model::new(&source(), &[("H", 20)], Seed(1)).unwrap());
    let (x, label) = data(4);
    let mut adam = Adam::new(0.1);
    small.train::<f32>(TRAIN, &mut adam, &args(&x, &label)).unwrap();
    let before = values(&large);
    let error = large.train::<f32>(TRAIN, &mut adam, &args(&x, &label)).unwrap_err();
    assert!(matches!(error, Error::OptimizerState { .. }), "{error}");
    assert!(values(&large) == before);
}

#[test]
fn parameters_are_read_written_saved_and_loaded() {
    let (mut model, file) = (model(1), File::new("parameters"));
    assert_eq!(model.num_parameters(), 16 * 3 + 16 + 4 * 16);
    let names: Vec<&str> = model.parameters().map(|p| p.name()).collect();
    assert_eq!(names, ["fc1.weight", "fc1.bias", "fc2.weight", "seen"]);
    let bias = Array2::from_elem((1, 16), 0.5f32);
    model.set_parameter("fc1.bias", &bias).unwrap();
    assert_eq!(model.parameter("fc1.bias").unwrap().view::<f32>().unwrap(), bias.view().into_dyn());
    let wrong = model.set_parameter("fc1.bias", &Array2::<f32>::zeros((16, 1))).unwrap_err();
    assert_eq!(wrong.to_string(), "parameter `fc1.bias` is f32[1, 16], but the array given is f32[16, 1]");
    assert!(model.parameter("fc1.bais").unwrap_err().to_string().contains("did you mean `fc1.bias`?"));
    model.save(&file.0).unwrap();
    let mut other = Model::new(&source(), &[("H", 16)], Seed(3)).unwrap();
    assert!(values(&other) != values(&model));
    other.load(&file.0).unwrap();
    assert!(values(&other) == values(&model));
    let mut larger = Model::new(&source(), &[("H", 20)], Seed(3)).unwrap();
    let before = values(&larger);
    let error = larger.load(&file.0).unwrap_err().to_string();
    assert!(error.contains("fc2.weight: the model has f32[4, 20], the file f32[4, 16]"), "{error}");
    assert!(values(&larger) == before);
    let report = larger.load_partial(&file.0).unwrap();
    assert_eq!((report.loaded.len(), report.misshapen.len()), (1, 3));
}

#[test]
fn summary_lists_the_layers() {
    let text = model(1).summary().to_string();
    assert!(text.contains("fc1") && text.contains("Linear(3 => H)") && text.contains("f32[N, H]"), "{text}");
    assert!(text.contains("parameters: 128"), "{text}");
}
