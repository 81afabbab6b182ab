//! Every layer, activation, loss and method against PyTorch: values, gradients and new values of buffers.

#[path = "support/goldens.rs"]
mod goldens;

use dl_ir::eval::{Tensor, run};
use goldens::Precision;

#[test]
fn activations_agree_with_pytorch() {
    check("activations");
}

#[test]
fn losses_agree_with_pytorch() {
    check("losses");
    check("more_losses");
}

#[test]
fn layers_agree_with_pytorch() {
    check("layers");
}

#[test]
fn tensor_ops_agree_with_pytorch() {
    check("tensor_ops");
    check("more_tensor_ops");
}

#[test]
fn the_list_of_later_cases_is_exact() {
    let cases = |family: &&str| goldens::cases(family, Precision::Single);
    let all: Vec<String> = goldens::FAMILIES.iter().flat_map(cases).map(|c| c.name).collect();
    for name in goldens::LATER {
        assert!(all.iter().any(|n| n == name), "{name} is no case");
    }
}

fn check(family: &str) {
    let mut wrong = vec![];
    for precision in [Precision::Single, Precision::Double] {
        for case in goldens::cases(family, precision) {
            let Some(graph) = case.graph() else { continue };
            let values = run(&graph, &case.inputs()).unwrap_or_else(|e| panic!("{}: {e}", case.name));
            for (at, role, expected) in case.pairs(&graph) {
                if let Some(why) = difference(&values[at], expected, precision) {
                    wrong.push(format!("{} {role:?} {precision:?}: {why}", case.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The first element that is off by more than rounding: of f32 by itself, of f64 relative to the largest one.
fn difference(found: &Tensor, expected: &Tensor, precision: Precision) -> Option<String> {
    if found.ty() != expected.ty() {
        return Some(format!("{} for {}", found.ty(), expected.ty()));
    }
    let (found, expected) = (found.to_f64s(), expected.to_f64s());
    let largest = expected.iter().filter(|v| v.is_finite()).fold(0.0f64, |m, v| m.max(v.abs()));
    let allowed = |b: f64| match precision {
        Precision::Single => 2e-6 + 2e-5 * b.abs(),
        Precision::Double => 1e-9 * largest,
    };
    let close = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= allowed(b);
    let i = found.iter().zip(&expected).position(|(a, b)| !close(*a, *b))?;
    Some(format!("element {i} is {} for {}", found[i], expected[i]))
}
