//! What depends on parameters alone is computed when they have changed: the same results as without, never stale ones.

use std::path::PathBuf;

use dl::Options;
use dl::prelude::*;
use dl_ir::{Builder, DType, FnKind, Function, Init, InputKind, Module, Op, ParamDecl, Role, Type};
use dl_runtime::{AnyArray, Error, IntoArg, Isa, Model, Source};
use ndarray::{Array, Array1, Array2, Array4};

dl::model! {
    /// Batch norm behind convolutions and a dense layer.
    model Norms {
        let stem = [Conv2d(2 => 8, kernel = 3, padding = 1, bias = false), BatchNorm2d(8), Relu];
        let grouped = [Conv2d(8 => 8, kernel = 3, stride = 2, groups = 2), BatchNorm2d(8)];
        let head = [Linear(8 * 3 * 3 => 20), BatchNorm1d(20), Relu, Linear(20 => 5)];

        pub fn forward(x: f32[N, 2, 7, 7]) -> f32[N, 5] {
            let h = stem(x);
            head((grouped(h)).relu().flatten())
        }

        #[train]
        pub fn loss(x: f32[N, 2, 7, 7], label: i64[N]) -> f32 {
            forward(x).cross_entropy(label)
        }
    }
}

fn images(n: usize) -> Array4<f32> {
    Array::from_shape_fn((n, 2, 7, 7), |(n, c, h, w)| ((n * 29 + c * 17 + h * 7 + w * 3) % 13) as f32 / 4.0 - 1.5)
}

/// A step after which all parameters and buffers are others.
fn step(net: &mut Norms) {
    let label = Array1::from_shape_fn(6, |i| (i % 5) as i64);
    net.train_loss(&mut Sgd::new(0.3), &images(6), &label).unwrap();
}

fn options(change: impl FnOnce(&mut Options)) -> Options {
    let mut options = Options::from_env().unwrap();
    change(&mut options);
    options
}

/// A model whose running statistics are not those of the beginning.
fn trained(options: Options) -> Norms {
    let mut net = Norms::with_options(Seed(3), options).unwrap();
    (0..3).for_each(|_| step(&mut net));
    net
}

fn close(found: &Array2<f32>, expected: &Array2<f32>) {
    let scale = expected.iter().fold(1.0f32, |most, v| most.max(v.abs()));
    let error = (found - expected).iter().fold(0.0f32, |worst, d| worst.max(d.abs()));
    assert!(error < 2e-5 * scale, "off by {error}: {found}\n{expected}");
}

struct File(PathBuf);

impl File {
    fn new(name: &str) -> File {
        File(std::env::temp_dir().join(format!("dl-prologue-{name}-{}.safetensors", std::process::id())))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn folded_norms_give_what_the_evaluator_gives() {
    let (net, file) = (trained(options(|_| {})), File::new("folded"));
    net.save(&file.0).unwrap();
    let mut reference = Norms::with_options(Seed(0), options(|o| o.isa = Isa::Interpreter)).unwrap();
    reference.load(&file.0).unwrap();
    for n in [1, 3] {
        close(&net.forward(&images(n)).unwrap(), &reference.forward(&images(n)).unwrap());
    }
}

#[test]
fn nothing_of_a_norm_is_left_in_a_call() {
    let net = trained(options(|o| o.isa = Isa::Native));
    let text = net.explain_forward(&images(4)).unwrap();
    let (call, before) = text.split_once("when parameters have changed, before the next call:\n").unwrap();
    assert!(before.contains("rsqrt") && before.contains("new stem.0.weight~"), "{text}");
    assert!(!call.contains("rsqrt") && !call.contains("running_var"), "{text}");
    assert_eq!(call.lines().filter(|line| line.contains("contract(")).count(), 4, "{text}");
    assert!(net.compilations().last().unwrap().kept >= 4 * (8 * 2 * 9 + 8 * 4 * 9 + 20 * 72));
}

#[test]
fn every_change_of_a_parameter_is_seen() {
    let mut net = trained(options(|_| {}));
    let (x, file) = (images(4), File::new("seen"));
    let mut before = net.forward(&x).unwrap();
    let mut check = |net: &Norms, what: &str| {
        let now = net.forward(&x).unwrap();
        assert_ne!(now, before, "{what} changed nothing");
        net.save(&file.0).unwrap();
        let mut fresh = Norms::new(Seed(77)).unwrap();
        fresh.load(&file.0).unwrap();
        assert_eq!(now, fresh.forward(&x).unwrap(), "{what}");
        assert_eq!(now, net.forward(&x).unwrap());
        before = now;
    };
    step(&mut net);
    check(&net, "a step");
    let scales = Array1::from_elem(8, 2.5f32);
    net.set_parameter("stem.1.weight", &scales).unwrap();
    check(&net, "a new value");
    let other = File::new("other");
    trained(options(|_| {})).save(&other.0).unwrap();
    net.load(&other.0).unwrap();
    check(&net, "a file");
    step(&mut net);
    check(&net, "another step");
}

#[test]
fn threads_that_call_at_once_get_the_same() {
    let mut net = trained(options(|_| {}));
    let x = images(4);
    for _ in 0..5 {
        step(&mut net);
        let results: Vec<Array2<f32>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| net.forward(&x).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(results.iter().all(|result| *result == results[0]));
        assert_eq!(results[0], net.forward(&x).unwrap());
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let of = |threads| trained(options(|o| o.threads = threads)).forward(&images(5)).unwrap();
    assert_eq!(of(1), of(2));
    assert_eq!(of(1), of(3));
}

/// A row of a table, chosen by a buffer.
fn lookup() -> Model {
    let (mut b, row) = (Builder::new(), Type::new(DType::I64, [1i64, 3]));
    let table = b.input(InputKind::Param, "table", Type::new(DType::F32, [4i64, 3]));
    let index = b.input(InputKind::Buffer, "row", row.clone());
    let x = b.input(InputKind::Arg, "x", Type::new(DType::F32, [1i64, 3]));
    let found = b.push(Op::Gather, &[table, index], dl_ir::Attrs::new().int("axis", 0)).unwrap();
    let y = b.add(found, x).unwrap();
    b.output(Role::Result, y);
    let param = |name: &str, ty, init, trainable| ParamDecl { name: name.into(), ty, init, trainable };
    let module = Module {
        name: "Lookup".into(),
        params: vec![
            param("table", Type::new(DType::F32, [4i64, 3]), Init::Normal(0.0, 1.0), true),
            param("row", row, Init::Full(9.0), false),
        ],
        functions: vec![Function { name: "f".into(), kind: FnKind::Eval, graph: b.finish(), calls: vec![] }],
        ..Module::default()
    };
    let text = Box::leak(dl_ir::text::print_module(&module).into_boxed_str());
    Model::new(&Source { text, file: "src/lookup.rs" }, &[], Seed(0)).unwrap()
}

#[test]
fn an_index_out_of_range_in_a_buffer_is_an_error_until_it_is_put_right() {
    let mut model = lookup();
    let x = Array2::<f32>::zeros((1, 3));
    let call = |model: &Model| model.call(0, &[IntoArg::<f32, ndarray::Ix2>::into_arg(&x)]);
    for _ in 0..2 {
        assert!(matches!(call(&model), Err(Error::IndexOutOfRange { index: 9, size: 4, .. })));
    }
    let row = AnyArray::I64(Array2::from_elem((1, 3), 2i64).into_dyn().into());
    model.set_any_parameter("row", &row).unwrap();
    let found = call(&model).unwrap().take::<f32, ndarray::Ix2>().unwrap();
    let table = model.parameter("table").unwrap().to_array::<f32>().unwrap();
    assert_eq!(found.into_dyn(), table.slice_axis(ndarray::Axis(0), (2..3).into()));
}
