//! Every case of layers with symbolic sizes: gradients against central differences, in double precision.

#[path = "support/layer_cases.rs"]
mod layer_cases;

use dl_ir::eval::{Tensor, run};
use dl_ir::{DType, Role};

#[test]
fn gradients_equal_central_differences() {
    const STEP: f64 = 1e-6;
    let mut wrong = vec![];
    let mut compared = 0;
    for case in layer_cases::cases() {
        let graph = case.graph(DType::F64);
        let inputs = case.inputs(&graph);
        let values = run(&graph, &inputs).unwrap_or_else(|e| panic!("{}: {e}", case.label));
        let last = graph.outputs.len() - 1;
        assert!(values[0].to_f64s().iter().all(|v| v.is_finite()), "{}: {:?}", case.label, values[0]);
        for (output, grad) in graph.outputs.iter().zip(&values) {
            let Role::Grad(name) = &output.role else { continue };
            let (grad, input) = (grad.to_f64s(), &inputs[name]);
            // A few elements of each input, the first and the last among them.
            let count = input.len();
            for i in (0..count).step_by(count.div_ceil(7).max(1)).chain([count - 1]) {
                let loss = |by: f64| {
                    let mut moved = inputs.clone();
                    let mut elements = input.to_f64s();
                    elements[i] += by;
                    moved.insert(name.clone(), Tensor::floats(DType::F64, &input.shape, elements));
                    run(&graph, &moved).unwrap()[last].to_f64s()[0]
                };
                let expected = (loss(STEP) - loss(-STEP)) / (2.0 * STEP);
                compared += 1;
                if (grad[i] - expected).abs() > 1e-6 * (1.0 + expected.abs()) {
                    wrong.push(format!("{}: {name}[{i}] is {} for {expected}", case.label, grad[i]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 1000, "only {compared} slopes compared");
}
