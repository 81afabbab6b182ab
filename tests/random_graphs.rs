//! Random valid graphs: printed and read back, and compiled against the evaluator.

mod common;

use common::random_graph::{Instruction, build};
use dl_ir::eval::{Inputs, Tensor, run};
use dl_ir::{DType, Graph};
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

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
