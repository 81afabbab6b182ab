//! Kernels for an architecture that is not the one at hand. All that tests run are compiled for it (`common::run`), so
//! here are only those of a whole training step, and what becomes of such code.

mod common;

use common::compiles_elsewhere;
use dl_codegen::jit::{self, Library};
use dl_codegen::kernel::{Builder as KernelBuilder, Lit};
use dl_codegen::{Isa, lower};
use dl_ir::nn::{self, Given, Value};
use dl_ir::passes::{self, Options};
use dl_ir::plan::fuse;
use dl_ir::{Builder, DType, Graph, InputKind, NodeId, Role, Type, autodiff};

fn layer(b: &mut Builder, prefix: &str, name: &str, given: &[Given], x: NodeId) -> NodeId {
    let layer = nn::layer(name).unwrap().with(given).unwrap();
    layer.apply(b, prefix, x).unwrap_or_else(|e| panic!("{name}: {e:?}"))
}

/// A step of gradient descent of the network that the examples train on digits.
fn lenet() -> Graph {
    let mut b = Builder::new();
    b.training = true;
    let image = b.input(InputKind::Arg, "x", Type::new(DType::F32, [4i64, 1, 28, 28]));
    let label = b.input(InputKind::Arg, "label", Type::new(DType::I64, [4i64]));
    let map = |from: i64, to: i64| Given::positional(Value::Map(from.into(), to.into()));
    let mut h = image;
    for (name, channels) in [("conv1", map(1, 32)), ("conv2", map(32, 64))] {
        let given = [channels, Given::named("kernel", 3), Given::named("padding", 1)];
        h = layer(&mut b, name, "Conv2d", &given, h);
        h = layer(&mut b, "", "Relu", &[], h);
        h = layer(&mut b, "", "MaxPool2d", &[Given::positional(2)], h);
    }
    h = layer(&mut b, "", "Flatten", &[], h);
    h = layer(&mut b, "head.0", "Linear", &[map(64 * 7 * 7, 128)], h);
    h = layer(&mut b, "", "Relu", &[], h);
    h = layer(&mut b, "", "Dropout", &[Given::positional(0.25)], h);
    h = layer(&mut b, "head.3", "Linear", &[map(128, 10)], h);
    let loss = nn::method("cross_entropy").unwrap();
    let args = loss.bind(&[Given::positional(h), Given::positional(label)]).unwrap();
    let Value::Tensor(loss) = loss.build(&mut b, &args).unwrap() else { panic!("a loss is a tensor") };
    b.output(Role::Result, loss);
    let weights: Vec<(String, NodeId)> = b.graph.inputs.iter().map(|i| (i.name.clone(), i.node)).collect();
    let weights: Vec<_> = weights.into_iter().filter(|(name, _)| name.contains('.') && name != "random.key").collect();
    assert_eq!(weights.len(), 8, "{weights:?}");
    let nodes: Vec<NodeId> = weights.iter().map(|(_, node)| *node).collect();
    let gradients = autodiff::gradient(&mut b, loss, &nodes).unwrap();
    for ((name, weight), gradient) in weights.into_iter().zip(gradients) {
        let rate = b.constant(DType::F32, 0.1);
        let step = b.mul(gradient.unwrap(), rate).unwrap();
        let next = b.sub(weight, step).unwrap();
        b.output(Role::Update(name), next);
    }
    passes::simplify(&b.finish(), &mut Options::default()).unwrap()
}

#[test]
fn a_training_step_compiles_elsewhere() {
    let graph = lenet();
    let fused = fuse(&graph);
    for index in 0..fused.groups.len() {
        for lowered in lower::group(&graph, &fused, index).unwrap().kernels {
            compiles_elsewhere(&lowered.kernel);
        }
    }
}

#[test]
fn code_for_elsewhere_is_not_loaded() {
    let mut k = KernelBuilder::new("nothing", 1);
    k.lit(Lit::f32(1.0));
    let kernel = k.finish();
    let (here, elsewhere) = (Isa::new(None).unwrap(), Isa::foreign("aarch64").unwrap());
    let code = jit::compile(&kernel, &elsewhere).unwrap();
    for isa in [&here, &elsewhere] {
        assert!(Library::load(std::slice::from_ref(&code), isa).is_err());
    }
    assert!(Isa::foreign("abacus").unwrap_err().to_string().contains("cannot compile for `abacus`"));
}
