//! Lowered groups against the evaluator: every op on each of its samples, and groups of many shapes.

mod common;
#[path = "common/program.rs"]
mod program;
#[path = "../../../tests/common/random_graph.rs"]
mod random_graph;

use common::Numbers;
use dl_codegen::Isa;
use dl_ir::eval::{self, Inputs, Tensor};
use dl_ir::plan::{GroupKind, fuse};
use dl_ir::{Attrs, Builder, DType, Dim, Graph, InputKind, NodeId, Op, Role, Type};
use program::{Machine, differs, run_graph};

fn tolerance(graph: &Graph) -> f64 {
    let narrow = graph.nodes.iter().any(|n| n.ty.dtype == DType::F32);
    if narrow { 3e-5 } else { 1e-12 }
}

/// Runs a graph interpreted and compiled for every instruction set; returns what is wrong.
fn mismatch(graph: &Graph, inputs: &Inputs) -> Option<String> {
    let expected = eval::run(graph, inputs).unwrap_or_else(|e| panic!("{e:?}\n{graph}"));
    let isas = Isa::all().unwrap();
    let machines = std::iter::once(Machine::Interpreter).chain(isas.iter().map(Machine::Compiled));
    for machine in machines {
        let actual = match run_graph(graph, inputs, machine) {
            Ok(actual) => actual,
            Err(fault) => return Some(format!("fault {fault:?}")),
        };
        for (a, e) in actual.iter().zip(&expected) {
            if let Some(what) = differs(a, e, tolerance(graph)) {
                let name = match machine {
                    Machine::Interpreter => "the interpreter".to_string(),
                    Machine::Compiled(isa) => isa.level().to_string(),
                };
                return Some(format!("on {name}: {what}"));
            }
        }
    }
    None
}

#[test]
fn every_op_on_every_sample() {
    let mut failed = vec![];
    for &op in Op::ALL.iter() {
        for (i, sample) in (op.def().samples)().into_iter().enumerate() {
            let graph = sample.graph(op).unwrap();
            let inputs: Inputs =
                sample.values(7).into_iter().enumerate().map(|(i, value)| (format!("x{i}"), value)).collect();
            let outcome = std::panic::catch_unwind(|| mismatch(&graph, &inputs));
            match outcome {
                Ok(None) => {}
                Ok(Some(what)) => failed.push(format!("{} sample {i}: {what}\n{graph}", op.name())),
                Err(_) => failed.push(format!("{} sample {i} panicked", op.name())),
            }
        }
    }
    assert!(failed.is_empty(), "{} failures\n{}", failed.len(), failed.join("\n"));
}

/// Inputs of a bound graph: floats of a few units, indices 0 and 1.
fn draw(graph: &Graph, seed: u64) -> Inputs {
    let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut tensor = |ty: &Type| {
        let shape = ty.sizes().unwrap();
        let count: usize = shape.iter().product();
        match ty.dtype.is_float() {
            true => Tensor::floats(ty.dtype, &shape, (0..count).map(|_| numbers.unit() * 2.0).collect()),
            false => Tensor::ints(ty.dtype, &shape, (0..count).map(|_| (numbers.next() % 2) as i64).collect()),
        }
    };
    graph.inputs.iter().map(|i| (i.name.clone(), tensor(graph.ty(i.node)))).collect()
}

#[test]
fn random_graphs() {
    let mut numbers = Numbers(12345);
    for case in 0..300 {
        let mut byte = || (numbers.next() >> 32) as u8;
        let sizes = [byte(), byte(), byte()];
        let program: Vec<[u8; 4]> = (0..14).map(|_| [byte(), byte(), byte(), byte()]).collect();
        let graph = random_graph::build(sizes, &program);
        if let Some(what) = mismatch(&graph, &draw(&graph, case)) {
            panic!("case {case}: {what}\n{graph}{}", fuse(&graph).show(&graph, None));
        }
    }
}

/// The graph of a function of one `f32` tensor of that shape.
fn of_tensor(shape: &[i64], f: impl Fn(&mut Builder, NodeId) -> NodeId) -> Graph {
    let mut b = Builder::new();
    let x = b.input(InputKind::Arg, "x", Type::new(DType::F32, shape.iter().copied()));
    let y = f(&mut b, x);
    b.output(Role::Result, y);
    b.finish()
}

fn assert_right(graph: &Graph) {
    if let Some(what) = mismatch(graph, &draw(graph, 3)) {
        panic!("{what}\n{graph}{}", fuse(graph).show(graph, None));
    }
}

fn kinds(graph: &Graph) -> Vec<GroupKind> {
    fuse(graph).groups.iter().map(|g| g.kind).collect()
}

fn softmax(b: &mut Builder, x: NodeId, axes: &[usize]) -> NodeId {
    let most = b.reduce(Op::ReduceMax, x, axes, true).unwrap();
    let shifted = b.sub(x, most).unwrap();
    let exp = b.exp(shifted).unwrap();
    let sum = b.sum(exp, axes, true).unwrap();
    b.div(exp, sum).unwrap()
}

#[test]
fn softmax_is_one_kernel() {
    for shape in [&[3i64, 10][..], &[1, 7], &[2, 3, 33], &[129, 4]] {
        let graph = of_tensor(shape, |b, x| softmax(b, x, &[shape.len() - 1]));
        assert_eq!(kinds(&graph), [GroupKind::Row], "{shape:?}");
        assert_right(&graph);
    }
    assert_right(&of_tensor(&[4, 5, 6], |b, x| softmax(b, x, &[1, 2])));
    assert_right(&of_tensor(&[4, 5, 6], |b, x| softmax(b, x, &[1])));
    assert_right(&of_tensor(&[3, 20_000], |b, x| softmax(b, x, &[1])));
}

#[test]
fn moments_share_a_pass_or_a_row() {
    let variance = |b: &mut Builder, x: NodeId, axes: &[usize]| {
        let mean = b.mean(x, axes, true).unwrap();
        let d = b.sub(x, mean).unwrap();
        let square = b.mul(d, d).unwrap();
        let variance = b.mean(square, axes, true).unwrap();
        let scale = b.rsqrt(variance).unwrap();
        b.mul(d, scale).unwrap()
    };
    let graph = of_tensor(&[6, 40], |b, x| variance(b, x, &[1]));
    assert_eq!(kinds(&graph), [GroupKind::Row]);
    assert_right(&graph);
    // Batch statistics: the axes are not trailing.
    assert_right(&of_tensor(&[6, 5, 4, 3], |b, x| variance(b, x, &[0, 2, 3])));
    let sums = of_tensor(&[9, 50], |b, x| {
        let square = b.mul(x, x).unwrap();
        let (a, c) = (b.sum(x, &[0], false).unwrap(), b.sum(square, &[0], false).unwrap());
        b.add(a, c).unwrap()
    });
    assert_eq!(kinds(&sums), [GroupKind::Reduce]);
    assert_right(&sums);
}

#[test]
fn reductions_of_every_layout() {
    for (shape, axes) in [
        (&[70_000i64][..], &[0usize][..]),
        (&[3001, 8], &[0]),
        (&[400, 3, 64], &[0, 2]),
        (&[64, 5, 7, 9], &[0, 2, 3]),
        (&[50, 7, 33], &[0, 1]),
        (&[50, 7, 33], &[1]),
        (&[2, 20_011], &[1]),
        (&[1, 6, 1], &[0, 1, 2]),
        (&[4096, 31], &[0]),
        (&[7001, 19], &[0]),
        (&[331, 3, 1009], &[0, 2]),
        (&[97, 5, 1009], &[0, 2]),
    ] {
        for op in [Op::ReduceSum, Op::ReduceMax] {
            assert_right(&of_tensor(shape, |b, x| {
                let x = b.tanh(x).unwrap();
                let y = b.reduce(op, x, axes, false).unwrap();
                b.neg(y).unwrap()
            }));
        }
    }
}

#[test]
fn elementwise_groups_of_many_shapes() {
    // Tails of vector loops and parts, outer loops, transposed reads.
    for shape in [&[1i64][..], &[300_001], &[17, 4099], &[3, 5, 7, 11], &[513, 65]] {
        assert_right(&of_tensor(shape, |b, x| {
            let y = b.sigmoid(x).unwrap();
            b.mul(x, y).unwrap()
        }));
        let reversed: Vec<usize> = (0..shape.len()).rev().collect();
        assert_right(&of_tensor(shape, |b, x| {
            let y = b.transpose(x, &reversed).unwrap();
            b.exp(y).unwrap()
        }));
    }
    assert_right(&of_tensor(&[5, 64, 6], |b, x| {
        let y = b.reshape(x, &[Dim::from(320), Dim::from(6)]).unwrap();
        let y = b.tanh(y).unwrap();
        let y = b.reshape(y, &[Dim::from(5), Dim::from(384)]).unwrap();
        b.neg(y).unwrap()
    }));
}

#[test]
fn an_index_out_of_range_is_a_fault_at_its_node() {
    let mut b = Builder::new();
    let x = b.input(InputKind::Arg, "x", Type::new(DType::F32, [6i64, 5]));
    let index = b.input(InputKind::Arg, "index", Type::new(DType::I64, [6i64, 1]));
    let y = b.push(Op::Gather, &[x, index], Attrs::new().int("axis", 1)).unwrap();
    let y = b.sum(y, &[0, 1], false).unwrap();
    b.output(Role::Result, y);
    let graph = b.finish();
    let mut inputs = draw(&graph, 1);
    inputs.insert("index".into(), Tensor::ints(DType::I64, &[6, 1], vec![0, 4, 5, -1, 2, 3]));
    let isa = Isa::new(None).unwrap();
    let fault = run_graph(&graph, &inputs, Machine::Compiled(&isa)).unwrap_err();
    let gather = graph.ids().find(|&n| graph[n].op == Op::Gather).unwrap();
    assert_eq!((fault.site, fault.value), (u64::from(gather.0) + 1, 5));
}
