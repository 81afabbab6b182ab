//! Networks before and after: same values, channels last everywhere, and transposes only at the edges.

use super::super::{Options, bind::bind, simplify, store};
use super::*;
use crate::autodiff::gradient;
use crate::eval::{Inputs, Tensor};
use crate::graph::{InputKind, Role};
use crate::plan::{fuse, memory};
use crate::storage::Storage;
use crate::types::{DType, Type};

/// An input of images, weights or a vector; `N` samples if the first size is 0.
fn input(b: &mut Builder, kind: InputKind, name: &str, shape: &[i64]) -> NodeId {
    let size = |&d: &i64| if d == 0 { Dim::sym("N") } else { Dim::from(d) };
    b.input(kind, name, Type::new(DType::F32, shape.iter().map(size)))
}

fn param(b: &mut Builder, name: &str, shape: &[i64]) -> NodeId {
    input(b, InputKind::Param, name, shape)
}

/// A convolution of `groups` with a square kernel that keeps the sizes, and its weights.
fn conv(b: &mut Builder, x: NodeId, name: &str, [out, inner, kernel]: [i64; 3], groups: i64) -> NodeId {
    let spatial = b.rank(x) - 2;
    let shape = [vec![out, inner], vec![kernel; spatial]].concat();
    let w = param(b, name, &shape);
    let (one, pad) = (vec![1; spatial], vec![kernel / 2; spatial]);
    let attrs = Attrs::new().ints("stride", one.clone()).ints("lo", pad.clone()).ints("hi", pad);
    b.push(Op::Conv, &[x, w], attrs.ints("dilation", one).int("groups", groups).word("layout", "first")).unwrap()
}

/// `v`, one value a channel, in the shape `[1, C, 1, 1]`.
fn along_channels(b: &mut Builder, v: NodeId) -> NodeId {
    let shape = [Dim::ONE, b.shape(v)[0].clone(), Dim::ONE, Dim::ONE];
    b.reshape(v, &shape).unwrap()
}

fn relu(b: &mut Builder, x: NodeId) -> Built {
    let zero = b.constant(DType::F32, 0.0);
    let off = b.le(x, zero)?;
    b.select(off, zero, x)
}

fn pool(b: &mut Builder, op: Op, x: NodeId) -> NodeId {
    let attrs = Attrs::new().ints("kernel", [2, 2]).ints("stride", [2, 2]).ints("lo", [0, 0]).ints("hi", [0, 0]);
    b.push(op, &[x], attrs.ints("dilation", [1, 1]).word("layout", "first")).unwrap()
}

/// The mean of squares of `x` and its gradients to all parameters.
fn with_gradients(mut b: Builder, x: NodeId) -> Graph {
    let square = b.mul(x, x).unwrap();
    let axes: Vec<usize> = (0..b.rank(x)).collect();
    let loss = b.mean(square, &axes, false).unwrap();
    b.output(Role::Result, loss);
    let params: Vec<(String, NodeId)> =
        b.graph.inputs.iter().filter(|i| i.kind == InputKind::Param).map(|i| (i.name.clone(), i.node)).collect();
    let wrt: Vec<NodeId> = params.iter().map(|p| p.1).collect();
    let gradients = gradient(&mut b, loss, &wrt).unwrap();
    for ((name, _), gradient) in params.into_iter().zip(gradients) {
        b.output(Role::Grad(name), gradient.unwrap());
    }
    b.finish()
}

fn count(graph: &Graph, pick: impl Fn(&Node) -> bool) -> usize {
    graph.nodes.iter().filter(|n| pick(n)).count()
}

/// Transposes of images and weights in the simplified graph, after the checks that it means the same and that all
/// windows go over channels last.
fn transposes(graph: &Graph) -> usize {
    let options = || Options { verify: true, ..Options::default() };
    let laid_out = simplify(graph, &mut options()).unwrap();
    let windows = |n: &Node| n.attrs.get("layout").is_some();
    let needed = count(&dce::run(graph).unwrap(), windows);
    assert!(needed > 0 && count(&laid_out, windows) == needed, "{laid_out}");
    assert_eq!(count(&laid_out, has_channels_first), 0, "{laid_out}");

    let bindings = [("N".to_string(), 2)].into_iter().collect();
    let (before, after) = (bind(graph, &bindings).unwrap(), bind(&laid_out, &bindings).unwrap());
    let mut inputs = Inputs::new();
    for (k, input) in before.inputs.iter().enumerate() {
        let ty = before.ty(input.node);
        let shape = ty.sizes().unwrap();
        let n = shape.iter().product();
        let value = match ty.dtype.is_float() {
            true => Tensor::floats(ty.dtype, &shape, (0..n).map(|i| ((i * 7 + k * 13) as f64).sin()).collect()),
            false => Tensor::ints(ty.dtype, &shape, (0..n as i64).map(|i| i % 3).collect()),
        };
        inputs.insert(input.name.clone(), value);
    }
    let (before, after) = (crate::eval::run(&before, &inputs).unwrap(), crate::eval::run(&after, &inputs).unwrap());
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.ty(), after.ty());
        let (before, after) = (before.to_f64s(), after.to_f64s());
        assert!(before.iter().any(|x| *x != 0.0));
        for (x, y) in before.into_iter().zip(after) {
            assert!((x - y).abs() <= 1e-5, "{x} before, {y} after\n{graph}\n{laid_out}");
        }
    }
    count(&laid_out, |n| n.op == Op::Transpose && n.ty.rank() >= 3)
}

/// Two stages of convolution, bias, relu and pool, then a dense layer, on images of `channels`.
fn lenet(channels: i64) -> Graph {
    let mut b = Builder::new();
    let mut x = input(&mut b, InputKind::Arg, "x", &[0, channels, 9, 9]);
    for (stage, shape, op) in [("1", [3, channels, 3], Op::MaxPool), ("2", [4, 3, 3], Op::SumPool)] {
        let y = conv(&mut b, x, &format!("w{stage}"), shape, 1);
        let bias = param(&mut b, &format!("b{stage}"), &[shape[0]]);
        let bias = along_channels(&mut b, bias);
        let y = b.add(y, bias).unwrap();
        let y = relu(&mut b, y).unwrap();
        x = pool(&mut b, op, y);
    }
    let flat = b.reshape(x, &[Dim::sym("N"), Dim::from(16)]).unwrap();
    let dense = param(&mut b, "dense", &[16, 5]);
    let logits = b.dot(flat, dense, &[], &[(1, 0)]).unwrap();
    with_gradients(b, logits)
}

#[test]
fn a_network_has_transposes_only_at_its_edges() {
    // The images, the flattened images and their cotangent, two weights and their gradients.
    assert_eq!(transposes(&lenet(2)), 7);
    // With one channel the images only change their shape.
    assert_eq!(transposes(&lenet(1)), 6);
}

/// Each gradient becomes a step with momentum.
fn with_steps(graph: Graph) -> Graph {
    let mut b = Builder::on(graph);
    for output in std::mem::take(&mut b.graph.outputs) {
        let Role::Grad(name) = output.role else {
            b.graph.outputs.push(output);
            continue;
        };
        let param = b.graph.input(&name).unwrap().node;
        let state = format!("{name}.momentum");
        let (ty, rate) = (b.ty(param).clone(), input(&mut b, InputKind::Hyper, "rate", &[]));
        let old = b.input(InputKind::State, &state, ty);
        let kept = b.mul(rate, old).unwrap();
        let new = b.add(kept, output.node).unwrap();
        let step = b.mul(rate, new).unwrap();
        let next = b.sub(param, step).unwrap();
        b.output(Role::Update(state), new);
        b.output(Role::Update(name), next);
    }
    b.finish()
}

#[test]
fn weights_that_lie_as_convolutions_read_them_are_never_moved() {
    let orders = |name: &str, rank| (name.to_string(), Order::of_filters(rank));
    let storage: Storage = [orders("w1", 4), orders("w2", 4)].into_iter().collect();
    for graph in [lenet(2), with_steps(lenet(2))] {
        // The images, the flattened images and their cotangent.
        assert_eq!(transposes(&store::run(&graph, &storage).unwrap()), 3, "{graph}");
    }
    let graph = store::run(&with_steps(lenet(2)), &storage).unwrap();
    let bound = bind(&simplify(&graph, &mut Options::default()).unwrap(), &[("N".to_string(), 2)].into()).unwrap();
    let plan = memory(&bound, &fuse(&bound));
    assert_eq!(plan.copies, [], "every parameter and state is written in place");
}

/// Normalisation by the statistics of the batch.
fn batch_norm(b: &mut Builder, x: NodeId, name: &str) -> NodeId {
    let mean = b.mean(x, &[0, 2, 3], true).unwrap();
    let x = b.sub(x, mean).unwrap();
    let square = b.mul(x, x).unwrap();
    let variance = b.mean(square, &[0, 2, 3], true).unwrap();
    let epsilon = b.constant(DType::F32, 1e-5);
    let variance = b.add(variance, epsilon).unwrap();
    let scale = b.rsqrt(variance).unwrap();
    let x = b.mul(x, scale).unwrap();
    let [gamma, beta] = ["gamma", "beta"].map(|p| {
        let v = param(b, &format!("{name}.{p}"), &[3]);
        along_channels(b, v)
    });
    let x = b.mul(x, gamma).unwrap();
    b.add(x, beta).unwrap()
}

#[test]
fn residual_blocks_have_transposes_only_around_images_and_weights() {
    let mut b = Builder::new();
    let mut x = input(&mut b, InputKind::Arg, "x", &[0, 3, 4, 5]);
    for block in ["1", "2"] {
        let y = conv(&mut b, x, &format!("w{block}"), [3, 3, 3], 1);
        let y = batch_norm(&mut b, y, &format!("bn{block}"));
        let y = relu(&mut b, y).unwrap();
        x = b.add(x, y).unwrap();
    }
    let pooled = b.mean(x, &[2, 3], false).unwrap();
    // The images, two weights and their gradients.
    assert_eq!(transposes(&with_gradients(b, pooled)), 5);
}

/// Transposes of a convolution, then `f`, then another convolution of `channels`.
fn between(channels: i64, f: impl FnOnce(&mut Builder, NodeId) -> Built) -> usize {
    let mut b = Builder::new();
    let x = input(&mut b, InputKind::Arg, "x", &[0, 2, 4, 6]);
    let y = conv(&mut b, x, "w1", [3, 2, 3], 1);
    let y = f(&mut b, y).unwrap();
    let z = conv(&mut b, y, "w2", [2, channels, 1], 1);
    b.output(Role::Result, z);
    transposes(&b.finish())
}

fn dims<const R: usize>(sizes: [i64; R]) -> Vec<Dim> {
    sizes.iter().map(|&d| if d == 0 { Dim::sym("N") } else { Dim::from(d) }).collect()
}

#[test]
fn ops_follow_the_layout() {
    // The images, two weights, the result.
    const EDGES: usize = 4;
    assert_eq!(between(6, |b, y| b.concat(&[y, y], 1)), EDGES);
    assert_eq!(between(3, |b, y| b.push(Op::Flip, &[y], Attrs::new().ints("axes", [1, 2]))), EDGES);
    let slice = between(2, |b, y| {
        let stop = [Dim::sym("N"), Dim::from(3), Dim::from(4), Dim::from(5)];
        b.slice(y, &[0; 4].map(Dim::from), &stop, &[1, 2, 1, 3])
    });
    assert_eq!(slice, EDGES);
    let pad = between(3, |b, y| {
        let value = b.constant(DType::F32, 0.5);
        let sizes = |v: [i64; 4]| v.map(Dim::from).to_vec();
        b.pad(y, value, &sizes([0, 0, 1, 2]), &sizes([0, 0, 3, 0]))
    });
    assert_eq!(pad, EDGES);
    let index = |b: &mut Builder| b.input(InputKind::Arg, "i", Type::new(DType::I64, dims([0, 1, 4, 6])));
    let gather = between(1, |b, y| {
        let index = index(b);
        b.push(Op::Gather, &[y, index], Attrs::new().int("axis", 1))
    });
    assert_eq!(gather, EDGES - 1, "one channel, so w2 and the index only change their shape");
    let upsample = between(3, |b, y| {
        let y = b.reshape(y, &dims([0, 3, 4, 1, 6, 1]))?;
        let y = b.broadcast(y, &dims([0, 3, 4, 2, 6, 2]))?;
        b.reshape(y, &dims([0, 3, 8, 12]))
    });
    assert_eq!(upsample, EDGES);
    let reduced = between(3, |b, y| {
        let top = b.reduce(Op::ReduceMax, y, &[2], true)?;
        let all = b.reduce(Op::ReduceMax, y, &[1], true)?;
        let y = b.sub(y, top)?;
        b.sub(y, all)
    });
    assert_eq!(reduced, EDGES);
    let best = between(1, |b, y| {
        let best = b.push(Op::ArgMax, &[y], Attrs::new().int("axis", 1))?;
        let best = b.cast(best, DType::F32)?;
        b.reshape(best, &dims([0, 1, 4, 6]))
    });
    assert_eq!(best, EDGES - 1, "one channel, so w2 only changes its shape");
}

#[test]
fn random_numbers_are_drawn_as_before() {
    let drawn = between(3, |b, y| {
        let shape = b.shape(y).to_vec();
        let mask = b.random("uniform", DType::F32, &shape)?;
        b.mul(y, mask)
    });
    assert_eq!(drawn, 5);
}

#[test]
fn grouped_convolutions_of_every_rank_go_over_channels_last() {
    for spatial in 1..=3 {
        let mut b = Builder::new();
        let x = input(&mut b, InputKind::Arg, "x", &[vec![0, 4], vec![5; spatial]].concat());
        let y = conv(&mut b, x, "w1", [6, 2, 3], 2);
        let y = relu(&mut b, y).unwrap();
        let y = conv(&mut b, y, "w2", [2, 6, 1], 1);
        // The images, two weights and their gradients.
        assert!(transposes(&with_gradients(b, y)) <= 5);
    }
}

#[test]
fn graphs_without_convolutions_stay() {
    let mut b = Builder::new();
    let x = input(&mut b, InputKind::Arg, "x", &[0, 2, 4, 4]);
    let y = pool(&mut b, Op::MaxPool, x);
    b.output(Role::Result, y);
    let graph = b.finish();
    assert_eq!(run(&graph).unwrap(), graph);
}

#[test]
fn a_second_run_changes_nothing() {
    let graph = simplify(&lenet(2), &mut Options::default()).unwrap();
    assert_eq!(run(&graph).unwrap(), graph);
}
