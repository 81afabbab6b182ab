//! PyTorch's values and gradients through the whole compiler.

mod common;
#[path = "../crates/dl-ir/tests/support/goldens.rs"]
mod goldens;

use common::jit::{call, difference, options};
use dl_ir::Role;
use dl_ir::eval::Tensor;
use goldens::Precision;

/// Sums and polynomials in f32, relative to the largest element of a tensor.
const SINGLE: f64 = 2e-5;
/// In f64.
const DOUBLE: f64 = 1e-9;

#[test]
fn compiled_values_and_gradients_agree_with_pytorch() {
    check(Precision::Single, SINGLE);
}

#[test]
fn compiled_values_and_gradients_agree_with_pytorch_in_f64() {
    check(Precision::Double, DOUBLE);
}

/// What makes a difference one relative to the largest element, of f64 however small that is.
fn scale(expected: &Tensor, precision: Precision) -> f64 {
    let largest = expected.to_f64s().into_iter().filter(|v| v.is_finite()).fold(0.0, |m: f64, v| m.max(v.abs()));
    if precision == Precision::Double && largest > 0.0 { 1.0 / largest.min(1.0) } else { 1.0 }
}

fn check(precision: Precision, tolerance: f64) {
    let options = options(2);
    let (mut wrong, mut compared) = (vec![], 0);
    for case in goldens::FAMILIES.iter().flat_map(|family| goldens::cases(family, precision)) {
        let Some(mut graph) = case.graph() else { continue };
        let pairs: Vec<usize> = case.pairs(&graph).into_iter().map(|(at, ..)| at).collect();
        graph.outputs.iter_mut().for_each(|o| o.role = Role::Result);
        let values = match call(&graph, &case.inputs(), &options) {
            Ok(values) => values,
            Err(e) => {
                wrong.push(format!("{}: {e}", case.name));
                continue;
            }
        };
        for (at, (role, expected)) in pairs.into_iter().zip(&case.expected) {
            let error = difference(&values[at], expected) * scale(expected, precision);
            compared += 1;
            if error > tolerance {
                wrong.push(format!("{} {role:?}: off by {error:e}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 600, "only {compared} tensors compared");
}
