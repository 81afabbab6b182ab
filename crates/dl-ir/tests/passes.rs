//! Passes against the evaluator: a simplified graph gives what the graph gave, on every sample of the op table.

use dl_ir::autodiff::gradient;
use dl_ir::eval::{Inputs, run};
use dl_ir::passes::{Options, simplify};
use dl_ir::{Builder, NodeId, Op, Role, Vjp};

/// Each sample twice: as it is, and with its gradients, which chain many ops.
#[test]
fn simplified_samples_mean_the_same() {
    let mut simplified = 0;
    for &op in Op::ALL {
        for sample in (op.def().samples)() {
            let mut b = Builder::on(sample.graph(op).unwrap());
            let result = b.graph.outputs[0].node;
            if b.dtype(result).is_float() && matches!(op.def().vjp, Vjp::Rule(_)) {
                let square = b.mul(result, result).unwrap();
                let axes: Vec<usize> = (0..b.rank(square)).collect();
                let loss = b.mean(square, &axes, false).unwrap();
                let wrt: Vec<NodeId> =
                    b.graph.inputs.iter().map(|i| i.node).filter(|&n| b.dtype(n).is_float()).collect();
                let gradients = gradient(&mut b, loss, &wrt).unwrap();
                gradients.into_iter().flatten().for_each(|g| b.output(Role::Result, g));
            }
            let graph = b.finish();
            let simple = simplify(&graph, &mut Options { verify: true, ..Options::default() }).unwrap();
            simplified += usize::from(simple.nodes.len() < graph.nodes.len());
            assert_eq!(simple.inputs.len(), graph.inputs.len());
            let names = (0..).map(|i| format!("x{i}"));
            let inputs: Inputs = names.zip(sample.values(3)).collect();
            let (before, after) = (run(&graph, &inputs).unwrap(), run(&simple, &inputs).unwrap());
            for (before, after) in before.iter().zip(&after) {
                assert_eq!(before.ty(), after.ty());
                for (x, y) in before.to_f64s().into_iter().zip(after.to_f64s()) {
                    let close = (x - y).abs() <= 2e-6 * x.abs() || x == y || (x.is_nan() && y.is_nan());
                    assert!(close, "{}: {x} before, {y} after\n{graph}\n{simple}", op.name());
                }
            }
        }
    }
    assert!(simplified > 100, "only {simplified} graphs became smaller");
}
