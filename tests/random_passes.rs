//! Random valid graphs through the passes and through autodiff, in f64 with the evaluator.

mod common;

use common::random_graph::{Instruction, build};
use dl_ir::autodiff::gradient;
use dl_ir::eval::{Inputs, Tensor, run, to_f64};
use dl_ir::passes::{Options, simplify};
use dl_ir::{Attrs, Builder, DType, Graph, NodeId, Role, Sample};
use proptest::prelude::*;

fn program(ops: usize) -> impl Strategy<Value = ([u8; 3], Vec<Instruction>)> {
    (any::<[u8; 3]>(), proptest::collection::vec(any::<Instruction>(), 12..ops))
}

/// The graph in f64, and its results and gradients: first the mean of all results, last its gradients to the inputs.
fn with_gradients(graph: Graph) -> Graph {
    let results: Vec<NodeId> = graph.results().collect();
    let mut b = Builder::on(graph);
    let mut loss = b.constant(DType::F32, 0.0);
    for result in results {
        let result = b.cast(result, DType::F32).unwrap();
        let all: Vec<usize> = (0..b.rank(result)).collect();
        let mean = b.mean(result, &all, false).unwrap();
        loss = b.add(loss, mean).unwrap();
    }
    b.graph.outputs.insert(0, dl_ir::Output { role: Role::Result, node: loss });
    let live = b.graph.live();
    let inputs = b.graph.inputs.iter().map(|i| i.node);
    let wrt: Vec<NodeId> = inputs.filter(|&n| b.dtype(n).is_float() && live[n.index()]).collect();
    for (node, gradient) in wrt.iter().zip(gradient(&mut b, loss, &wrt).unwrap()) {
        let name = b.graph.inputs.iter().find(|i| i.node == *node).unwrap().name.clone();
        gradient.into_iter().for_each(|g| b.output(Role::Grad(name.clone()), g));
    }
    to_f64(&b.finish())
}

fn inputs(graph: &Graph) -> Inputs {
    let types = graph.inputs.iter().map(|i| graph.ty(i.node).clone()).collect::<Vec<_>>();
    let range = |ty: &dl_ir::Type| if ty.dtype.is_float() { (-2.0, 2.0) } else { (0.0, 1.0) };
    let sample = Sample { ranges: types.iter().map(range).collect(), args: types, attrs: Attrs::new() };
    graph.inputs.iter().map(|i| i.name.clone()).zip(sample.values(5)).collect()
}

fn close(x: f64, y: f64, tolerance: f64) -> bool {
    x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= tolerance * (1.0 + x.abs().max(y.abs()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn passes_keep_values_and_gradients((sizes, program) in program(20)) {
        let graph = with_gradients(build(sizes, &program));
        let simple = simplify(&graph, &mut Options { verify: true, ..Options::default() }).unwrap();
        prop_assert!(simple.nodes.len() < graph.nodes.len());
        let inputs = inputs(&graph);
        let (before, after) = (run(&graph, &inputs).unwrap(), run(&simple, &inputs).unwrap());
        for (i, (before, after)) in before.iter().zip(&after).enumerate() {
            prop_assert_eq!(before.ty(), after.ty());
            let same = before.to_f64s().into_iter().zip(after.to_f64s()).all(|(x, y)| close(x, y, 1e-9));
            prop_assert!(same, "output {}: {:?} before, {:?} after\n{}\n{}", i, before, after, graph, simple);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Along a random direction, at a point where the loss is smooth: there the differences for two steps agree.
    #[test]
    fn gradients_equal_central_differences((sizes, program) in program(16)) {
        let graph = with_gradients(build(sizes, &program));
        let at = inputs(&graph);
        let outputs = run(&graph, &at).unwrap();
        let loss_graph = Graph { outputs: graph.outputs[..1].to_vec(), ..graph.clone() };
        for (output, gradient) in graph.outputs.iter().zip(&outputs) {
            let Role::Grad(name) = &output.role else { continue };
            let x = &at[name];
            let direction = Sample { args: vec![x.ty()], attrs: Attrs::new(), ranges: vec![(-1.0, 1.0)] }.values(9).remove(0);
            let loss = |step: f64| {
                let moved = x.to_f64s().iter().zip(direction.to_f64s()).map(|(x, d)| x + step * d).collect();
                let mut there = at.clone();
                there.insert(name.clone(), Tensor::floats(DType::F64, &x.shape, moved));
                run(&loss_graph, &there).unwrap()[0].to_f64s()[0]
            };
            let difference = |step: f64| (loss(step) - loss(-step)) / (2.0 * step);
            let (coarse, fine) = (difference(2e-6), difference(1e-6));
            let found: f64 = gradient.to_f64s().iter().zip(direction.to_f64s()).map(|(g, d)| g * d).sum();
            if close(coarse, fine, 1e-6) {
                prop_assert!(close(found, fine, 1e-5), "{name}: gradient {found}, differences {coarse} and {fine}\n{graph}");
            }
        }
    }
}
