//! PyTorch's values and gradients through the whole compiler.

mod common;
#[path = "../crates/dl-ir/tests/support/goldens.rs"]
mod goldens;

use common::jit::{call, difference, options};
use dl_ir::Role;

/// Sums and polynomials in f32, relative to the largest element of a tensor.
const TOLERANCE: f64 = 2e-5;

#[test]
fn compiled_values_and_gradients_agree_with_pytorch() {
    let options = options(2);
    let (mut wrong, mut compared) = (vec![], 0);
    for case in goldens::FAMILIES.iter().flat_map(|family| goldens::cases(family)) {
        let Some(mut graph) = case.graph() else { continue };
        let roles: Vec<Role> = graph.outputs.iter().map(|o| o.role.clone()).collect();
        graph.outputs.iter_mut().for_each(|o| o.role = Role::Result);
        let values = match call(&graph, &case.inputs(), &options) {
            Ok(values) => values,
            Err(e) => {
                wrong.push(format!("{}: {e}", case.name));
                continue;
            }
        };
        for (at, role, expected) in case.compared(&roles) {
            let error = difference(&values[at], expected);
            compared += 1;
            if error > TOLERANCE {
                wrong.push(format!("{} {role:?}: off by {error:e}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 200, "only {compared} tensors compared");
}
