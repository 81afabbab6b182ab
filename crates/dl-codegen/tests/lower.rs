//! Lowered groups against the evaluator: every op on each of its samples, and groups of many shapes.

mod common;
#[path = "common/program.rs"]
mod program;

use dl_codegen::Isa;
use dl_ir::eval::{self, Inputs};
use dl_ir::{Class, DType, Graph, Op};
use program::{Machine, differs, run_graph};

fn tolerance(graph: &Graph) -> f64 {
    let narrow = graph.nodes.iter().any(|n| n.ty.dtype == DType::F32);
    if narrow { 3e-5 } else { 1e-12 }
}

/// Runs a graph interpreted and compiled for every instruction set; returns what is wrong.
fn mismatch(graph: &Graph, inputs: &Inputs) -> Option<String> {
    let expected = eval::run(graph, inputs).unwrap_or_else(|e| panic!("{e:?}\n{graph}"));
    let isas = Isa::all().unwrap();
    let machines = std::iter::once(Machine::Interpreter).chain(isas.iter().map(Machine::Compiled));
    for machine in machines {
        let actual = match run_graph(graph, inputs, &isas[isas.len() - 1], machine) {
            Ok(actual) => actual,
            Err(fault) => return Some(format!("fault {fault:?}")),
        };
        for (a, e) in actual.iter().zip(&expected) {
            if let Some(what) = differs(a, e, tolerance(graph)) {
                let name = match machine {
                    Machine::Interpreter => "the interpreter".to_string(),
                    Machine::Compiled(isa) => isa.level().to_string(),
                };
                return Some(format!("on {name}: {what}"));
            }
        }
    }
    None
}

#[test]
fn every_op_on_every_sample() {
    let mut failed = vec![];
    for &op in Op::ALL.iter().filter(|op| op.class() != Class::Contract) {
        for (i, sample) in (op.def().samples)().into_iter().enumerate() {
            let graph = sample.graph(op).unwrap();
            let inputs: Inputs =
                sample.values(7).into_iter().enumerate().map(|(i, value)| (format!("x{i}"), value)).collect();
            let outcome = std::panic::catch_unwind(|| mismatch(&graph, &inputs));
            match outcome {
                Ok(None) => {}
                Ok(Some(what)) => failed.push(format!("{} sample {i}: {what}\n{graph}", op.name())),
                Err(_) => failed.push(format!("{} sample {i} panicked", op.name())),
            }
        }
    }
    assert!(failed.is_empty(), "{} failures\n{}", failed.len(), failed.join("\n"));
}
