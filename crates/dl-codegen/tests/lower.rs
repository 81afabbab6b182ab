//! Lowered groups against the evaluator: every op on each of its samples, and groups of many shapes.

mod common;
#[path = "common/program.rs"]
mod program;
#[path = "../../../tests/common/random_graph.rs"]
mod random_graph;

use common::Numbers;
use dl_codegen::Isa;
use dl_ir::eval::{self, Inputs, Tensor};
use dl_ir::plan::{GroupKind, fuse, memory};
use dl_ir::text::parse_graph;
use dl_ir::{Attrs, Builder, DType, Dim, Graph, InputKind, NodeId, Op, Role, Type, autodiff};
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
    for &op in Op::ALL {
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
fn epilogues_of_sums_over_an_axis_of_one() {
    let graph = of_tensor(&[1, 5, 7], |b, x| {
        let dims = |shape: &[i64]| shape.iter().map(|&d| Dim::from(d)).collect::<Vec<_>>();
        let sum = b.push(Op::ReduceSum, &[x], Attrs::new().ints("axes", [0])).unwrap();
        let sum = b.reshape(sum, &dims(&[1, 5, 7])).unwrap();
        let sum = b.add(sum, sum).unwrap();
        let sum = b.reshape(sum, &dims(&[5, 7])).unwrap();
        b.push(Op::Tanh, &[sum], Attrs::new()).unwrap()
    });
    if let Some(what) = mismatch(&graph, &draw(&graph, 3)) {
        panic!("{what}\n{graph}{}", fuse(&graph).show(&graph, None));
    }
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

#[test]
fn updates_are_written_over_what_they_replace() {
    // Momentum: the gradient reads the parameter, which the update must not overwrite before.
    let graph = parse_graph(
        "%0 = input arg \"x\" f32[70, 33]\n%1 = input param \"w\" f32[70, 33]\n%2 = input state \"w.m\" f32[70, 33]\n\
         %3 = mul %1 %0\n%4 = add %2 %3\n%5 = sub %1 %4\n%6 = transpose %1 perm=[1, 0]\n%7 = exp %6\n\
         %8 = reduce_sum %7 axes=[0, 1]\nresult %8\nupdate \"w\" %5\nupdate \"w.m\" %4",
    )
    .unwrap();
    let fused = fuse(&graph);
    assert!(memory(&graph, &fused).copies.is_empty(), "{}", fused.show(&graph, None));
    assert_right(&graph);
    // The new value is the old one turned around: it cannot be written in place.
    let turned =
        parse_graph("%0 = input param \"w\" f32[40, 40]\n%1 = transpose %0 perm=[1, 0]\n%2 = neg %1\nupdate \"w\" %2")
            .unwrap();
    assert_eq!(memory(&turned, &fuse(&turned)).copies.len(), 1);
    assert_right(&turned);
}

#[test]
fn outputs_of_every_kind() {
    for text in [
        // An input, an alias of one, a constant, a value twice.
        "%0 = input arg \"x\" f32[4, 6]\nresult %0",
        "%0 = input arg \"x\" f32[4, 6]\n%1 = reshape %0 shape=[24]\nresult %1\nresult %0",
        "%0 = const dtype=f32 shape=[] values=[2.5]\n%1 = broadcast %0 shape=[3, 5]\nresult %1\nresult %0",
        "%0 = const dtype=i64 shape=[11] values=[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]\n%1 = neg %0\nresult %0\nresult %1\nresult %1",
        "%0 = iota dtype=f32 shape=[3, 7] axis=1\n%1 = exp %0\n%2 = reshape %1 shape=[21]\nresult %2\nresult %1",
        // An alias of what is computed, used further.
        "%0 = input arg \"x\" f32[4, 6]\n%1 = exp %0\n%2 = reshape %1 shape=[8, 3]\n%3 = reduce_sum %2 axes=[1]\n\
         %4 = transpose %2 perm=[1, 0]\n%5 = reshape %4 shape=[4, 6]\n%6 = add %5 %0\nresult %3\nresult %6",
        // Padding and joining what is computed, and slices of it.
        "%0 = input arg \"x\" f32[4, 6]\n%1 = tanh %0\n%2 = const dtype=f32 shape=[] values=[-1.0]\n\
         %3 = pad %1 %2 lo=[1, 0] hi=[0, 3]\n%4 = flip %3 axes=[0]\n%5 = slice %4 start=[1, 2] stop=[5, 9] step=[2, 3]\n\
         %6 = concat %5 %5 axis=1\n%7 = neg %6\nresult %7",
        // A scalar chain that many groups use, and bytes.
        "%0 = input arg \"x\" f32[40]\n%1 = reduce_sum %0 axes=[0]\n%2 = tanh %1\n%3 = broadcast %2 shape=[40]\n\
         %4 = mul %3 %0\n%5 = reduce_max %4 axes=[0]\n%6 = add %5 %2\n%7 = cast %0 dtype=u8\n%8 = add %7 %7\n\
         %9 = reduce_sum %8 axes=[0]\nresult %6\nresult %4\nresult %8\nresult %9",
    ] {
        assert_right(&parse_graph(text).unwrap_or_else(|e| panic!("{e}\n{text}")));
    }
}

#[test]
fn poolings_take_epilogues() {
    for (layout, shape) in [("last", [2i64, 7, 9, 5]), ("first", [2, 5, 7, 9])] {
        for (kernel, stride, lo) in [(2, 2, 0), (3, 2, 1), (2, 3, 0), (6, 6, 0), (7, 1, 2)] {
            let twice = |v: i64| vec![v, v];
            let attrs = Attrs::new().ints("kernel", twice(kernel)).ints("stride", twice(stride));
            let attrs =
                attrs.ints("lo", twice(lo)).ints("hi", twice(lo)).ints("dilation", twice(1)).word("layout", layout);
            for op in [Op::MaxPool, Op::SumPool] {
                // The pooling, an activation, and the gradient of both.
                let mut b = Builder::new();
                let x = b.input(InputKind::Arg, "x", Type::new(DType::F32, shape));
                let h = b.tanh(x).unwrap();
                let y = b.push(op, &[h], attrs.clone()).unwrap();
                let y = b.sigmoid(y).unwrap();
                let axes: Vec<usize> = (0..4).collect();
                let loss = b.sum(y, &axes, false).unwrap();
                let grads = autodiff::gradient(&mut b, loss, &[x]).unwrap();
                b.output(Role::Result, y);
                b.output(Role::Grad("x".into()), grads[0].unwrap());
                assert_right(&b.finish());
            }
        }
    }
}

#[test]
fn epilogues_read_by_row_and_by_column() {
    // Biases along either axis of the product, one of them by a derived index, for every shape of tile.
    for (m, n) in [(2, 3), (7, 4), (5, 19), (13, 33)] {
        let text = format!(
            "%0 = input arg \"a\" f32[{m}, 6]\n%1 = input arg \"b\" f32[6, {n}]\n%2 = input arg \"r\" f32[{m}, 1]\n\
             %3 = input arg \"c\" f32[{n}]\n%4 = dot %0 %1 batch_a=[] batch_b=[] sum_a=[1] sum_b=[0]\n\
             %5 = broadcast %2 shape=[{m}, {n}]\n%6 = broadcast %3 shape=[{m}, {n}]\n%7 = flip %5 axes=[0]\n\
             %8 = add %4 %5\n%9 = add %8 %6\n%10 = mul %9 %7\nresult %10"
        );
        let graph = parse_graph(&text).unwrap();
        assert_eq!(kinds(&graph), [GroupKind::Contract]);
        assert_right(&graph);
    }
}

/// Without AVX, instructions with an operand in memory need it at a multiple of 16 bytes.
#[test]
fn comparisons_with_unaligned_elements() {
    for (dtype, op) in
        [DType::F32, DType::F64].into_iter().flat_map(|t| [Op::Lt, Op::Le, Op::Eq, Op::Ne].map(|op| (t, op)))
    {
        let mut b = Builder::new();
        let x = b.input(InputKind::Arg, "x", Type::new(dtype, [38]));
        let unaligned = b.slice(x, &[Dim::from(1)], &[Dim::from(38)], &[1]).unwrap();
        let bound = b.constant(dtype, 0.5);
        let compared = b.elementwise(op, &[bound, unaligned]).unwrap();
        let one = b.constant(dtype, 1.0);
        let chosen = b.select(compared, one, bound).unwrap();
        b.output(Role::Result, chosen);
        let graph = b.finish();
        assert_eq!(mismatch(&graph, &draw(&graph, 3)), None);
    }
}
