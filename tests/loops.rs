//! Loops through the whole compiler, against the evaluator.

mod common;
#[path = "../crates/dl-ir/tests/support/loops.rs"]
mod loops;

use common::jit::{call, call_with_parameters, difference, options};
use dl_ir::eval::{Inputs, run};
use dl_ir::passes::PIPELINE;
use dl_ir::{Attrs, Graph, Sample};
use loops::{CASES, How};

/// Sums of f32 in another order, carried through as many iterations as there are, relative to the largest element.
const TOLERANCE: f64 = 1e-5;

fn inputs(graph: &Graph) -> Inputs {
    let args: Vec<_> = graph.inputs.iter().map(|i| graph.ty(i.node).clone()).collect();
    let ranges = vec![(-0.5, 0.5); args.len()];
    let values = Sample { args, attrs: Attrs::new(), ranges }.values(5);
    graph.inputs.iter().map(|i| i.name.clone()).zip(values).collect()
}

#[test]
fn compiled_loops_equal_the_evaluator() {
    for threads in [1, 2] {
        let options = options(threads);
        for case in CASES {
            for (length, reverse, how) in
                [(1, false, How::Kept), (4, false, How::Kept), (5, true, How::Kept), (5, false, How::Recomputed)]
            {
                let graph = case.graph(length, reverse, how);
                let inputs = inputs(&graph);
                let expected = run(&graph, &inputs).unwrap();
                for call in [call, call_with_parameters] {
                    let found =
                        call(&graph, &inputs, &options).unwrap_or_else(|e| panic!("{}: {e}\n{graph}", case.name));
                    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                        let error = difference(found, expected);
                        assert!(
                            error <= TOLERANCE,
                            "{}, {length} iterations, output {at}: off by {error:e}\n{found:?}\n{expected:?}\n{graph}",
                            case.name
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn loops_equal_the_evaluator_after_any_number_of_passes() {
    let mut options = options(2);
    for case in CASES {
        for (length, reverse, how) in [(5, false, How::Kept), (4, true, How::Recomputed)] {
            let graph = case.graph(length, reverse, how);
            let inputs = inputs(&graph);
            let expected = run(&graph, &inputs).unwrap();
            for passes in 0..PIPELINE.len() {
                options.passes = passes;
                let found = call_with_parameters(&graph, &inputs, &options);
                let found = found.unwrap_or_else(|e| panic!("{}, {passes} passes: {e}\n{graph}", case.name));
                for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    let error = difference(found, expected);
                    assert!(
                        error <= TOLERANCE,
                        "{}, {passes} passes, output {at}: off by {error:e}\n{graph}",
                        case.name
                    );
                }
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for case in CASES {
        let graph = case.graph(6, false, How::Kept);
        let inputs = inputs(&graph);
        let one = call(&graph, &inputs, &options(1)).unwrap();
        for threads in [2, 3] {
            assert_eq!(call(&graph, &inputs, &options(threads)).unwrap(), one, "{}", case.name);
        }
    }
}
