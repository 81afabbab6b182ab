//! Every layer, activation, loss and method against PyTorch: values, gradients and new values of buffers.

#[path = "support/goldens.rs"]
mod goldens;

use dl_ir::eval::{Tensor, run};

#[test]
fn activations_agree_with_pytorch() {
    check("activations");
}

#[test]
fn losses_agree_with_pytorch() {
    check("losses");
}

#[test]
fn layers_agree_with_pytorch() {
    check("layers");
}

#[test]
fn tensor_ops_agree_with_pytorch() {
    check("tensor_ops");
}

#[test]
fn the_list_of_later_cases_is_exact() {
    let all: Vec<String> = goldens::FAMILIES.iter().flat_map(|f| goldens::cases(f)).map(|c| c.name).collect();
    for name in goldens::LATER {
        assert!(all.iter().any(|n| n == name), "{name} is no case");
    }
}

fn check(family: &str) {
    let mut wrong = vec![];
    for case in goldens::cases(family) {
        let Some(graph) = case.graph() else { continue };
        let values = run(&graph, &case.inputs()).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let roles: Vec<_> = graph.outputs.iter().map(|o| o.role.clone()).collect();
        for (at, role, expected) in case.compared(&roles) {
            if let Some(why) = difference(&values[at], expected) {
                wrong.push(format!("{} {role:?}: {why}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The first element that is off by more than rounding.
fn difference(found: &Tensor, expected: &Tensor) -> Option<String> {
    if found.ty() != expected.ty() {
        return Some(format!("{} for {}", found.ty(), expected.ty()));
    }
    let (found, expected) = (found.to_f64s(), expected.to_f64s());
    let close = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 2e-6 + 2e-5 * b.abs();
    let i = found.iter().zip(&expected).position(|(a, b)| !close(*a, *b))?;
    Some(format!("element {i} is {} for {}", found[i], expected[i]))
}
