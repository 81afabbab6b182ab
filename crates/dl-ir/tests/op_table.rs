//! The op table against itself: every gradient against central differences, special values against IEEE and PyTorch.

use dl_ir::autodiff::gradient;
use dl_ir::eval::{Data, Inputs, Tensor, run, to_f64};
use dl_ir::{Attrs, Builder, DType, InputKind, NodeId, Op, Role, Sample, Type, Vjp, verify};

/// Every op with a gradient, on each of its samples: the loss is the sum of the result times fixed random weights.
#[test]
fn every_gradient_equals_central_differences() {
    let mut compared = 0;
    for &op in Op::ALL {
        if matches!(op.def().vjp, Vjp::Rule(_)) {
            for sample in (op.def().samples)() {
                compared += compare_gradient(op, &sample);
            }
        }
    }
    assert!(compared > 4000, "only {compared} partial derivatives compared");
}

fn compare_gradient(op: Op, sample: &Sample) -> usize {
    let mut b = Builder::on(sample.graph(op).unwrap());
    let result = b.graph.outputs.remove(0).node;
    let wrt: Vec<NodeId> = b.graph.inputs.iter().map(|i| i.node).filter(|&n| b.dtype(n).is_float()).collect();
    if !b.dtype(result).is_float() || wrt.is_empty() {
        return 0;
    }
    let weights = b.input(InputKind::Arg, "weights", b.ty(result).clone());
    let weighted = b.mul(result, weights).unwrap();
    let axes: Vec<usize> = (0..b.rank(weighted)).collect();
    let loss = b.sum(weighted, &axes, false).unwrap();
    let gradients = gradient(&mut b, loss, &wrt).unwrap();
    b.output(Role::Result, loss);
    gradients.into_iter().for_each(|g| b.output(Role::Result, g.unwrap()));
    let graph = to_f64(&b.finish());
    verify(&graph).unwrap_or_else(|e| panic!("{}: {e}", op.name()));

    let mut inputs = Inputs::new();
    for (i, value) in sample.values(11).into_iter().enumerate() {
        let dtype = if value.dtype == DType::F32 { DType::F64 } else { value.dtype };
        inputs.insert(format!("x{i}"), value.cast(dtype));
    }
    let ty = graph.ty(graph.input("weights").unwrap().node);
    let weights = Sample { args: vec![ty.clone()], attrs: Attrs::new(), ranges: vec![(-1.0, 1.0)] };
    inputs.insert("weights".into(), weights.values(12).remove(0));

    let outputs = run(&graph, &inputs).unwrap_or_else(|e| panic!("{}: {e}", op.name()));
    let mut compared = 0;
    for (gradient, node) in outputs[1..].iter().zip(wrt) {
        let name = graph.inputs.iter().find(|i| i.node == node).unwrap().name.clone();
        for (i, &found) in gradient.to_f64s().iter().enumerate() {
            let expected = difference(&graph, &mut inputs, &name, i);
            assert!(
                (found - expected).abs() <= 1e-6 * (1.0 + expected.abs()),
                "{}, {name} element {i}: gradient {found}, central difference {expected}, on {sample:?}",
                op.name()
            );
            compared += 1;
        }
    }
    compared
}

fn difference(graph: &dl_ir::Graph, inputs: &mut Inputs, name: &str, i: usize) -> f64 {
    let step = 1e-5;
    let mut loss_at = |shift: f64| {
        let original = inputs[name].clone();
        let mut values = original.to_f64s();
        values[i] += shift;
        inputs.insert(name.to_string(), Tensor::floats(DType::F64, &original.shape, values));
        let loss = run(graph, inputs).unwrap()[0].to_f64s()[0];
        inputs.insert(name.to_string(), original);
        loss
    };
    (loss_at(step) - loss_at(-step)) / (2.0 * step)
}

/// `op` of f32 lists.
fn apply(op: Op, args: &[&[f32]]) -> Vec<f64> {
    apply_with(op, args, Attrs::new())
}

fn apply_with(op: Op, args: &[&[f32]], attrs: Attrs) -> Vec<f64> {
    let types = args.iter().map(|a| Type::new(DType::F32, [a.len()])).collect();
    let sample = Sample { args: types, attrs, ranges: vec![] };
    let graph = sample.graph(op).unwrap();
    let inputs = args.iter().enumerate().map(|(i, a)| (format!("x{i}"), Tensor::f32s(&[a.len()], a)));
    run(&graph, &inputs.collect()).unwrap()[0].to_f64s()
}

fn same(found: &[f64], expected: &[f64]) {
    let equal = |a: &f64, b: &f64| (a.is_nan() && b.is_nan()) || a == b;
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| equal(a, b)),
        "{found:?} != {expected:?}"
    );
}

const NAN: f32 = f32::NAN;
const INF: f32 = f32::INFINITY;

#[test]
fn special_values_of_elementwise_ops() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let tiny = f32::from_bits(1);
    same(&apply(Op::Max, &[&[NAN, 1.0, INF, -INF], &[1.0, NAN, 2.0, -1.0]]), &[nan, nan, inf, -1.0]);
    same(&apply(Op::Min, &[&[NAN, 1.0, INF, -INF], &[1.0, NAN, 2.0, -1.0]]), &[nan, nan, 2.0, -inf]);
    same(&apply(Op::Sign, &[&[-0.0, NAN, -INF, tiny]]), &[0.0, nan, -1.0, 1.0]);
    same(&apply(Op::Sqrt, &[&[-1.0, 0.0, INF, NAN]]), &[nan, 0.0, inf, nan]);
    same(&apply(Op::Rsqrt, &[&[0.0, INF, -1.0]]), &[inf, 0.0, nan]);
    same(&apply(Op::Log, &[&[0.0, -1.0, INF]]), &[-inf, nan, inf]);
    same(&apply(Op::Exp, &[&[-INF, INF, 100.0, -200.0, NAN]]), &[0.0, inf, inf, 0.0, nan]);
    same(&apply(Op::Tanh, &[&[INF, -INF, NAN, tiny]]), &[1.0, -1.0, nan, f64::from(tiny)]);
    same(&apply(Op::Sigmoid, &[&[INF, -INF, 0.0, NAN]]), &[1.0, 0.0, 0.5, nan]);
    same(&apply(Op::Erf, &[&[INF, -INF, 0.0, NAN, 7.0]]), &[1.0, -1.0, 0.0, nan, 1.0]);
    same(&apply(Op::Round, &[&[0.5, 1.5, 2.5, -0.5, INF]]), &[0.0, 2.0, 2.0, 0.0, inf]);
    same(&apply(Op::Div, &[&[1.0, -1.0, 0.0, tiny], &[0.0, 0.0, 0.0, 2.0]]), &[inf, -inf, nan, 0.0]);
    same(&apply(Op::Rem, &[&[5.5, -5.5, 5.5, -1.0, 1.0], &[2.0, 2.0, -2.0, INF, 0.0]]), &[1.5, 0.5, -0.5, inf, nan]);
    same(&apply(Op::Pow, &[&[0.0, NAN, -2.0, -2.0], &[0.0, 0.0, 3.0, 0.5]]), &[1.0, 1.0, -8.0, nan]);
    same(
        &apply(Op::Atan2, &[&[0.0, 1.0, NAN], &[-1.0, 0.0, 1.0]]),
        &[f64::from(std::f32::consts::PI), f64::from(std::f32::consts::FRAC_PI_2), nan],
    );
    same(&apply(Op::Eq, &[&[NAN, 0.0, INF], &[NAN, -0.0, INF]]), &[0.0, 1.0, 1.0]);
    same(&apply(Op::Ne, &[&[NAN, 0.0], &[NAN, -0.0]]), &[1.0, 0.0]);
    same(&apply(Op::Lt, &[&[NAN, 1.0], &[1.0, NAN]]), &[0.0, 0.0]);
    assert!(apply(Op::Neg, &[&[0.0]])[0].is_sign_negative());
}

#[test]
fn erf_is_exact_to_double_precision() {
    for (x, expected) in
        [(0.5, 0.520_499_877_813_046_5), (1.0, 0.842_700_792_949_714_9), (3.0, 0.999_977_909_503_001_4)]
    {
        let sample = Sample { args: vec![Type::scalar(DType::F64)], attrs: Attrs::new(), ranges: vec![] };
        let inputs = [("x0".to_string(), Tensor::floats(DType::F64, &[], vec![x]))].into();
        let found = run(&sample.graph(Op::Erf).unwrap(), &inputs).unwrap()[0].to_f64s()[0];
        assert!((found - expected).abs() < 4e-16, "erf({x}) = {found}");
    }
}

#[test]
fn special_values_of_reductions() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let over = || Attrs::new().ints("axes", [0i64]);
    same(&apply_with(Op::ReduceSum, &[&[INF, -INF, 1.0]], over()), &[nan]);
    same(&apply_with(Op::ReduceMax, &[&[1.0, NAN, INF]], over()), &[nan]);
    same(&apply_with(Op::ReduceMin, &[&[NAN, 1.0, -INF]], over()), &[nan]);
    same(&apply_with(Op::ReduceMax, &[&[-INF, -INF]], over()), &[-inf]);
    same(&apply_with(Op::ReduceProd, &[&[INF, 0.0]], over()), &[nan]);
    same(&apply_with(Op::ArgMax, &[&[1.0, 3.0, 3.0]], Attrs::new().int("axis", 0)), &[1.0]);
    same(&apply_with(Op::ArgMax, &[&[INF, NAN, 1.0, NAN]], Attrs::new().int("axis", 0)), &[1.0]);
}

#[test]
fn casts_saturate_and_integers_wrap() {
    let cast = |to| apply_with(Op::Cast, &[&[NAN, INF, -INF, -1.9, 300.0]], Attrs::new().dtype("dtype", to));
    same(&cast(DType::U8), &[0.0, 255.0, 0.0, 0.0, 255.0]);
    same(&cast(DType::I32), &[0.0, f64::from(i32::MAX), f64::from(i32::MIN), -1.0, 300.0]);
    same(&cast(DType::Bool), &[1.0, 1.0, 1.0, 1.0, 1.0]);
    let ints = |op, dtype: DType, x: &[i64], y: &[i64]| {
        let sample = Sample { args: vec![Type::new(dtype, [x.len()]); 2], attrs: Attrs::new(), ranges: vec![] };
        let tensor = |v: &[i64]| Tensor::ints(dtype, &[v.len()], v.to_vec());
        let inputs = [("x0".to_string(), tensor(x)), ("x1".to_string(), tensor(y))].into();
        run(&sample.graph(op).unwrap(), &inputs).unwrap().remove(0).data
    };
    assert_eq!(ints(Op::Add, DType::U8, &[250], &[10]), Data::Int(vec![4]));
    assert_eq!(ints(Op::Mul, DType::I32, &[i64::from(i32::MAX)], &[2]), Data::Int(vec![-2]));
    assert_eq!(ints(Op::Div, DType::I64, &[-7, 7, 5], &[2, -2, 0]), Data::Int(vec![-3, -3, 0]));
    assert_eq!(ints(Op::Rem, DType::I64, &[-7, 7, 5], &[2, -2, 0]), Data::Int(vec![1, -1, 5]));
}

/// The gradient of `sum(op(p, …))` with respect to the first list.
fn gradient_of(op: Op, attrs: Attrs, args: &[&[f32]]) -> Vec<f64> {
    let mut b = Builder::new();
    let inputs = args.iter().enumerate();
    let nodes: Vec<NodeId> =
        inputs.map(|(i, a)| b.input(InputKind::Param, &format!("x{i}"), Type::new(DType::F32, [a.len()]))).collect();
    let y = b.push(op, &nodes, attrs).unwrap();
    let axes: Vec<usize> = (0..b.rank(y)).collect();
    let loss = b.sum(y, &axes, false).unwrap();
    let g = gradient(&mut b, loss, &nodes[..1]).unwrap()[0].unwrap();
    b.output(Role::Grad("x0".into()), g);
    let graph = b.finish();
    verify(&graph).unwrap();
    let inputs = args.iter().enumerate().map(|(i, a)| (format!("x{i}"), Tensor::f32s(&[a.len()], a)));
    run(&graph, &inputs.collect()).unwrap()[0].to_f64s()
}

/// As in PyTorch: `maximum` halves, `amax` shares, `prod` looks past zeros, `abs` and `pow` are 0 at 0.
#[test]
fn gradients_at_ties_and_zeros() {
    let over = || Attrs::new().ints("axes", [0i64]);
    same(&gradient_of(Op::Max, Attrs::new(), &[&[0.0, 1.0, -1.0], &[0.0, 0.0, 0.0]]), &[0.5, 1.0, 0.0]);
    same(&gradient_of(Op::Min, Attrs::new(), &[&[0.0, 1.0, -1.0], &[0.0, 0.0, 0.0]]), &[0.5, 0.0, 1.0]);
    same(&gradient_of(Op::ReduceMax, over(), &[&[2.0, 1.0, 2.0, 2.0]])[1..2], &[0.0]);
    same(&gradient_of(Op::ReduceMin, over(), &[&[2.0, 1.0, 1.0, 2.0]]), &[0.0, 0.5, 0.5, 0.0]);
    same(&gradient_of(Op::ReduceProd, over(), &[&[2.0, 0.0, 3.0]]), &[0.0, 6.0, 0.0]);
    same(&gradient_of(Op::ReduceProd, over(), &[&[0.0, 0.0, 3.0]]), &[0.0, 0.0, 0.0]);
    same(&gradient_of(Op::Abs, Attrs::new(), &[&[0.0, -2.0]]), &[0.0, -1.0]);
    same(&gradient_of(Op::Pow, Attrs::new(), &[&[0.0, 0.0, -2.0], &[0.0, 2.0, 3.0]]), &[0.0, 0.0, 12.0]);
}
