//! Every case of layers, with its gradients, through the whole compiler, against the evaluator.

mod common;
#[path = "../crates/dl-ir/tests/support/layer_cases.rs"]
mod layer_cases;

use common::jit::{call, call_with_parameters, difference, options};
use dl_ir::eval::run;
use dl_ir::{DType, Role};

#[test]
fn compiled_layers_compute_what_the_evaluator_does() {
    let options = options(2);
    let mut wrong = vec![];
    for (float, tolerance) in [(DType::F32, 2e-5), (DType::F64, 1e-12)] {
        for case in layer_cases::cases() {
            let mut graph = case.graph(float);
            graph.outputs.pop();
            let inputs = case.inputs(&graph);
            let expected = run(&graph, &inputs).unwrap_or_else(|e| panic!("{}: {e}", case.label));
            graph.outputs.iter_mut().for_each(|o| o.role = Role::Result);
            let found = [
                ("arguments", call(&graph, &inputs, &options)),
                ("parameters", { call_with_parameters(&graph, &inputs, &options) }),
            ];
            for (how, values) in found {
                match values {
                    Ok(values) => {
                        for (i, (value, expected)) in values.iter().zip(&expected).enumerate() {
                            let error = difference(value, expected);
                            if error > tolerance {
                                wrong.push(format!("{} of {float}, {how}: result {i} is off by {error:e}", case.label));
                            }
                        }
                    }
                    Err(e) => wrong.push(format!("{} of {float}, {how}: {e}", case.label)),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
