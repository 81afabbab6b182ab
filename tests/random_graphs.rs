//! Random valid graphs: printed and read back, and compiled against the evaluator.

mod common;

use std::sync::LazyLock;

use common::jit::{call, call_with_parameters, difference, options};
use common::random_graph::{Instruction, build};
use dl_ir::autodiff::gradient;
use dl_ir::eval::{Inputs, Tensor, run, to_f64};
use dl_ir::{Builder, DType, Graph, NodeId, Role};
use dl_runtime::Options;
use proptest::prelude::*;

fn program() -> impl Strategy<Value = ([u8; 3], Vec<Instruction>)> {
    (any::<[u8; 3]>(), proptest::collection::vec(any::<Instruction>(), 12..20))
}

/// Values from a small generator, within ±2.
fn inputs(graph: &Graph, dtype: DType) -> Inputs {
    let mut state = 1u64;
    let mut next = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f64 / (1u64 << 24) as f64
    };
    let mut inputs = Inputs::new();
    for input in &graph.inputs {
        let ty = graph.ty(input.node);
        let shape = ty.sizes().expect("the graph has no symbols");
        let count: usize = shape.iter().product();
        let value = match ty.dtype.is_float() {
            true => Tensor::floats(dtype, &shape, (0..count).map(|_| f64::from((next() * 4.0 - 2.0) as f32)).collect()),
            false => Tensor::ints(ty.dtype, &shape, (0..count).map(|_| (next() * 2.0) as i64).collect()),
        };
        inputs.insert(input.name.clone(), value);
    }
    inputs
}

/// `graph` with the gradients of a weighted sum of its results as further results.
fn with_gradients(graph: Graph) -> Graph {
    let results: Vec<NodeId> = graph.results().collect();
    let mut b = Builder::on(graph);
    let mut loss = b.constant(DType::F32, 0.0);
    for (i, result) in results.into_iter().enumerate() {
        let all: Vec<usize> = (0..b.rank(result)).collect();
        let mean = b.mean(result, &all, false).unwrap();
        let weight = b.constant(DType::F32, 1.0 + i as f64 * 0.25);
        let weighted = b.mul(mean, weight).unwrap();
        loss = b.add(loss, weighted).unwrap();
    }
    let inputs = b.graph.inputs.iter().map(|i| i.node);
    let wrt: Vec<NodeId> = inputs.filter(|&n| b.dtype(n).is_float() && b.graph.live()[n.index()]).collect();
    for gradient in gradient(&mut b, loss, &wrt).unwrap().into_iter().flatten() {
        b.output(Role::Result, gradient);
    }
    b.finish()
}

/// Compiled results differ from exact ones by no more than a multiple of what rounding to f32 after each op does to
/// them: that is how ill-conditioned the graph is. The constant covers sums in another order and short polynomials.
fn compare(graph: &Graph, options: &Options) -> Result<(), TestCaseError> {
    compare_by(graph, options, call)
}

/// How a graph is compiled and run.
type Call = fn(&Graph, &Inputs, &Options) -> dl_runtime::Result<Vec<Tensor>>;

fn compare_by(graph: &Graph, options: &Options, call: Call) -> Result<(), TestCaseError> {
    let inputs32 = inputs(graph, DType::F32);
    let rounded = run(graph, &inputs32).unwrap();
    let exact = run(&to_f64(graph), &inputs(graph, DType::F64)).unwrap();
    let found = call(graph, &inputs32, options).map_err(|e| TestCaseError::fail(format!("{e} in\n{graph}")))?;
    for (i, ((found, rounded), exact)) in found.iter().zip(&rounded).zip(&exact).enumerate() {
        let exact = exact.cast(DType::F32);
        let allowed = 2e-5 + 50.0 * difference(rounded, &exact);
        let error = difference(found, &exact);
        prop_assert!(
            error <= allowed,
            "result {i} off by {error:e}, allowed {allowed:e}\n{found:?}\n{exact:?}\n{graph}"
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_text_form_is_faithful((sizes, program) in program()) {
        let graph = build(sizes, &program);
        prop_assert!(graph.nodes.len() >= 12 && !graph.outputs.is_empty());
        let text = graph.to_string();
        prop_assert_eq!(dl_ir::text::parse_graph(&text).unwrap(), graph, "{}", text);
    }

    #[test]
    fn values_stay_moderate((sizes, program) in program()) {
        let graph = build(sizes, &program);
        for value in run(&graph, &inputs(&graph, DType::F32)).unwrap() {
            prop_assert!(value.to_f64s().iter().all(|v| v.abs() < 1e9), "{}", graph);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn compiled_values_equal_the_evaluator((sizes, program) in program()) {
        compare(&build(sizes, &program), &OPTIONS)?;
    }

    #[test]
    fn compiled_values_equal_the_evaluator_without_passes((sizes, program) in program()) {
        compare(&build(sizes, &program), &UNSIMPLIFIED)?;
    }

    #[test]
    fn compiled_values_equal_the_evaluator_with_parameters((sizes, program) in program()) {
        compare_by(&build(sizes, &program), &OPTIONS, call_with_parameters)?;
    }

    #[test]
    fn compiled_gradients_equal_the_evaluator((sizes, program) in program()) {
        compare(&with_gradients(build(sizes, &program)), &OPTIONS)?;
    }
}

static OPTIONS: LazyLock<Options> = LazyLock::new(|| options(2));

static UNSIMPLIFIED: LazyLock<Options> = LazyLock::new(|| {
    let mut options = options(2);
    options.passes = 0;
    options
});
