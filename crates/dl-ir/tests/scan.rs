//! Loops against the same computation written out.

#[path = "support/loops.rs"]
mod loops;

use dl_ir::eval::{Inputs, Tensor, run};
use dl_ir::passes::{Options, simplify};
use dl_ir::text::parse_graph;
use dl_ir::{Attrs, DType, Graph, Sample, verify};
use loops::{CASES, How};

fn inputs(graph: &Graph) -> Inputs {
    let args = graph.inputs.iter().map(|i| graph.ty(i.node).clone()).collect::<Vec<_>>();
    let ranges = vec![(-1.0, 1.0); args.len()];
    let values = Sample { args, attrs: Attrs::new(), ranges }.values(5);
    graph.inputs.iter().map(|i| i.name.clone()).zip(values).collect()
}

fn assert_same(name: &str, found: &[Tensor], expected: &[Tensor]) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.ty(), expected.ty(), "{name}, output {at}");
        for (x, y) in found.to_f64s().into_iter().zip(expected.to_f64s()) {
            // Sums of f32 in another order.
            assert!((x - y).abs() <= 2e-6 * (1.0 + y.abs()), "{name}, output {at}: {x} instead of {y}");
        }
    }
}

#[test]
fn values_and_gradients_are_those_of_the_loop_written_out() {
    for case in CASES {
        for (length, reverse) in [(1, false), (4, false), (5, true)] {
            let plain = case.graph(length, reverse, How::Out);
            let inputs = inputs(&plain);
            let expected = run(&plain, &inputs).unwrap();
            for how in [How::Kept, How::Recomputed] {
                let looped = case.graph(length, reverse, how);
                verify(&looped).unwrap_or_else(|e| panic!("{}: {e}\n{looped}", case.name));
                assert_same(case.name, &run(&looped, &inputs).unwrap(), &expected);
            }
        }
    }
}

#[test]
fn a_loop_does_not_grow_with_its_length() {
    for case in CASES {
        let nodes = |length| case.graph(length, false, How::Kept).all_nodes();
        assert_eq!(nodes(2), nodes(500), "{}", case.name);
    }
}

#[test]
fn loops_are_printed_and_read() {
    for case in CASES {
        let graph = case.graph(3, true, How::Kept);
        let text = graph.to_string();
        assert_eq!(parse_graph(&text).unwrap_or_else(|e| panic!("{e}\n{text}")), graph, "{text}");
    }
}

#[test]
fn passes_keep_the_meaning_of_loops() {
    for case in CASES {
        let graph = case.graph(4, false, How::Kept);
        let simple = simplify(&graph, &mut Options { verify: true, ..Options::default() }).unwrap();
        let again = simplify(&simple, &mut Options { verify: true, ..Options::default() }).unwrap();
        let inputs = inputs(&graph);
        let expected = run(&graph, &inputs).unwrap();
        assert_same(case.name, &run(&simple, &inputs).unwrap(), &expected);
        assert_same(case.name, &run(&again, &inputs).unwrap(), &expected);
    }
}

/// The gradient of a matrix that every iteration multiplies by is one product behind the loop.
#[test]
fn gradients_of_weights_are_gathered() {
    let case = CASES.iter().find(|c| c.name == "lstm").unwrap();
    let simple = simplify(&case.graph(4, false, How::Kept), &mut Options::default()).unwrap();
    let text = simple.to_string();
    let outside: Vec<&str> = text.lines().filter(|l| !l.starts_with("  ") && l.contains("= dot")).collect();
    assert_eq!(outside.len(), 1, "{text}");
    assert!(outside[0].contains("sum_a=[0, 1] sum_b=[0, 1]"), "{text}");
    let carried: Vec<i64> = simple.bodies().map(|(id, _)| simple[id].attrs.get_int("carries")).collect();
    assert_eq!(carried, [2, 2], "{text}");
}

#[test]
fn what_an_iteration_carries_keeps_its_type() {
    use dl_ir::{Builder, Dim, InputKind, OpError, Type};
    let mut b = Builder::new();
    let x = b.input(InputKind::Arg, "x", Type::new(DType::F32, [4i64, 3]));
    let init = b.input(InputKind::Arg, "init", Type::new(DType::F32, [2i64]));
    let nodes = b.graph.nodes.len();
    let error = b.scan::<OpError>(&[init], &[x], Dim::from(4), false, |_, _, slice| Ok((vec![slice[0]], vec![])));
    let message = error.unwrap_err().to_string();
    assert!(message.contains("must carry f32[2] to the next iteration, but it gives f32[3]"), "{message}");
    assert_eq!(b.graph.nodes.len(), nodes, "nothing of the loop stays");
}

/// What the input contributes is one product of all slices before the loop.
#[test]
fn products_of_slices_are_hoisted() {
    let case = CASES.iter().find(|c| c.name == "elman").unwrap();
    let graph = case.graph(4, false, How::Kept);
    let simple = simplify(&graph, &mut Options::default()).unwrap();
    let text = simple.to_string();
    let (first, body) = simple.bodies().next().unwrap();
    let dots = |g: &Graph| g.nodes.iter().filter(|n| n.op == dl_ir::Op::Dot).count();
    assert_eq!(dots(body), 1, "{text}");
    let before = Graph { nodes: simple.nodes[..first.index()].to_vec(), ..Graph::default() };
    assert_eq!(dots(&before), 1, "{text}");
}

/// Of what a loop computes, its gradient then needs nothing but what each iteration starts from.
#[test]
fn what_is_recomputed_is_not_kept() {
    let case = CASES.iter().find(|c| c.name == "lstm").unwrap();
    let results = |how| {
        let simple = simplify(&case.graph(4, false, how), &mut Options::default()).unwrap();
        let (_, body) = simple.bodies().next().unwrap();
        body.outputs.iter().filter(|o| o.role == dl_ir::Role::Result).count()
    };
    // The results of the loop itself are the states, of which one is joined behind it already.
    assert_eq!((results(How::Kept), results(How::Recomputed)), (8, 3));
}
