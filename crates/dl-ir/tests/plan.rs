//! Plans of whole programs.

use dl_ir::nn::{self, Given, Value};
use dl_ir::plan::{GroupKind, check, fuse, memory};
use dl_ir::{Builder, DType, Graph, InputKind, NodeId, Op, Role, Type, autodiff};

/// A training step of LeNet on 64 digits, with Adam.
fn lenet() -> Graph {
    let mut b = Builder::new();
    b.training = true;
    let image = b.input(InputKind::Arg, "x", Type::new(DType::F32, [64i64, 1, 28, 28]));
    let label = b.input(InputKind::Arg, "label", Type::new(DType::I64, [64i64]));
    let conv = |b: &mut Builder, name, x, channels: (i64, i64)| {
        let args = [
            Given::positional(Value::Map(channels.0.into(), channels.1.into())),
            Given::named("kernel", 3),
            Given::named("padding", 1),
        ];
        let h = nn::layer("Conv2d").unwrap().with(&args).unwrap().apply(b, name, x).unwrap();
        let h = method(b, "relu", &[Given::positional(h)]);
        method(b, "max_pool2d", &[Given::positional(h), Given::positional(2)])
    };
    let linear = |b: &mut Builder, name, x, features: (i64, i64)| {
        let args = [Given::positional(Value::Map(features.0.into(), features.1.into()))];
        nn::layer("Linear").unwrap().with(&args).unwrap().apply(b, name, x).unwrap()
    };
    let h = conv(&mut b, "conv1", image, (1, 32));
    let h = conv(&mut b, "conv2", h, (32, 64));
    let h = b.reshape(h, &[64.into(), 3136.into()]).unwrap();
    let h = linear(&mut b, "fc1", h, (3136, 128));
    let h = method(&mut b, "relu", &[Given::positional(h)]);
    let h = method(&mut b, "dropout", &[Given::positional(h), Given::positional(0.25)]);
    let h = linear(&mut b, "fc2", h, (128, 10));
    let loss = method(&mut b, "cross_entropy", &[Given::positional(h), Given::positional(label)]);
    let params: Vec<_> = b.graph.inputs.iter().filter(|i| i.kind == InputKind::Param).cloned().collect();
    let nodes: Vec<NodeId> = params.iter().map(|p| p.node).collect();
    let grads = autodiff::gradient(&mut b, loss, &nodes).unwrap();
    b.output(Role::Result, loss);
    let lr = b.input(InputKind::Hyper, "lr", Type::scalar(DType::F32));
    for (param, grad) in params.iter().zip(grads) {
        adam(&mut b, &param.name, param.node, grad.unwrap(), lr);
    }
    b.finish()
}

fn adam(b: &mut Builder, name: &str, p: NodeId, g: NodeId, lr: NodeId) {
    let mut state = |kind: &str| b.input(InputKind::State, &format!("{name}.{kind}"), b.ty(p).clone());
    let (m, v) = (state("m"), state("v"));
    let mut c = |x: f64| b.full_like(p, x).unwrap();
    let (b1, b2, r1, r2, eps) = (c(0.9), c(0.999), c(0.1), c(0.001), c(1e-8));
    let mut mix = |old, share, new, rest| {
        let old = b.mul(old, share).unwrap();
        let new = b.mul(new, rest).unwrap();
        b.add(old, new).unwrap()
    };
    let m2 = mix(m, b1, g, r1);
    let v1 = mix(v, b2, g, r2);
    let root = b.sqrt(v1).unwrap();
    let root = b.add(root, eps).unwrap();
    let step = b.div(m2, root).unwrap();
    let step = b.mul(step, lr).unwrap();
    let p2 = b.sub(p, step).unwrap();
    b.output(Role::Update(name.to_string()), p2);
    b.output(Role::Update(format!("{name}.m")), m2);
    b.output(Role::Update(format!("{name}.v")), v1);
}

fn method(b: &mut Builder, name: &str, args: &[Given]) -> NodeId {
    let method = nn::method(name).unwrap();
    let args = method.bind(args).unwrap();
    match method.build(b, &args).unwrap() {
        Value::Tensor(node) => node,
        other => panic!("{name} gave {other:?}"),
    }
}

#[test]
fn lenet_is_fused() {
    let graph = dl_ir::passes::simplify(&lenet(), &mut Default::default()).unwrap();
    let fused = fuse(&graph);
    let plan = memory(&graph, &fused);
    let shown = fused.show(&graph, Some(&plan));
    check(&graph, &fused, &plan).unwrap_or_else(|e| panic!("{e}\n{shown}"));
    let of = |op: Op| fused.groups.iter().find(|g| g.nodes.iter().any(|&n| graph[n].op == op)).unwrap();
    let ops = |op: Op| of(op).nodes.iter().map(|&n| graph[n].op).collect::<Vec<_>>();
    // Bias and relu are computed while the convolution's result is in registers; what the gradient of relu needs of it
    // is kept as truth values.
    assert!(ops(Op::Conv).contains(&Op::Add) && ops(Op::Conv).contains(&Op::Select), "{shown}");
    let kept: Vec<DType> = of(Op::Conv).outputs.iter().map(|&o| graph.ty(o).dtype).collect();
    assert_eq!(kept, [DType::Bool, DType::F32], "{shown}");
    assert!(ops(Op::MaxPoolGrad).contains(&Op::Select), "{shown}");
    assert_eq!(of(Op::Exp).kind, GroupKind::Row, "{shown}");
    assert!(ops(Op::Random).contains(&Op::Dot), "{shown}");
    // Every update is in place, and nothing is computed twice.
    assert!(plan.copies.is_empty(), "{shown}");
    // A layer or a piece of its gradient each, the updates, and the copy that puts channels first to flatten them.
    assert!(fused.groups.len() <= 33, "{shown}");
    assert_eq!(plan.arena_bytes, plan.peak_bytes, "{shown}");
}

/// The groups of a graph: kind and the ops which are not constants or movement.
fn groups(text: &str) -> Vec<String> {
    let graph = dl_ir::text::parse_graph(text).unwrap();
    let fused = fuse(&graph);
    let plan = memory(&graph, &fused);
    check(&graph, &fused, &plan).unwrap_or_else(|e| panic!("{e}\n{}", fused.show(&graph, Some(&plan))));
    fused.groups.iter().map(|g| g.title(&graph)).collect()
}

#[test]
fn chains_are_one_group() {
    let chain = "%0 = input arg \"x\" f32[8, 4]\n%1 = neg %0\n%2 = exp %1\n%3 = mul %2 %1\nresult %3";
    assert_eq!(groups(chain), ["map.neg.exp.mul"]);
    // Two results of one domain.
    assert_eq!(groups(&format!("{chain}\nresult %2")), ["map.neg.exp.mul"]);
    // Through views.
    let turned = "%0 = input arg \"x\" f32[8, 4]\n%1 = exp %0\n%2 = transpose %1 perm=[1, 0]\n%3 = neg %2\nresult %3";
    assert_eq!(groups(turned), ["map.exp.neg"]);
}

#[test]
fn what_is_dear_is_computed_once() {
    let repeated = "%0 = input arg \"x\" f32[4]\n%1 = input arg \"y\" f32[8, 4]\n%2 = exp %0\n\
                    %3 = broadcast %2 shape=[8, 4]\n%4 = add %3 %1\nresult %4";
    assert_eq!(groups(repeated), ["map.exp", "map.add"]);
    assert_eq!(groups(&repeated.replace("exp", "neg")), ["map.neg.add"]);
    // Along the inner axis it is the same: computed once, before the inner loop.
    let outer = "%0 = input arg \"x\" f32[8, 1]\n%1 = input arg \"y\" f32[8, 4]\n%2 = exp %0\n\
                 %3 = broadcast %2 shape=[8, 4]\n%4 = add %3 %1\nresult %4";
    assert_eq!(groups(outer), ["map.exp.add"]);
}

#[test]
fn contractions_take_epilogues_and_read_memory() {
    let dot = "%0 = input arg \"x\" f32[8, 4]\n%1 = input param \"w\" f32[4, 6]\n%2 = input param \"b\" f32[6]\n\
               %3 = dot %0 %1 batch_a=[] batch_b=[] sum_a=[1] sum_b=[0]\n%4 = broadcast %2 shape=[8, 6]\n\
               %5 = add %3 %4\n%6 = tanh %5\nresult %6";
    assert_eq!(groups(dot), ["contract.dot.add.tanh"]);
    // A computed operand is stored first; a turned one is read as it lies.
    assert_eq!(groups(&dot.replace("%3 = dot %0", "%7 = neg %0\n%3 = dot %7")), ["map.neg", "contract.dot.add.tanh"]);
    // One epilogue, two contractions: the first is stored.
    let two = "%0 = input arg \"x\" f32[8, 4]\n%1 = input param \"w\" f32[4, 6]\n\
               %2 = dot %0 %1 batch_a=[] batch_b=[] sum_a=[1] sum_b=[0]\n\
               %3 = dot %0 %1 batch_a=[] batch_b=[] sum_a=[1] sum_b=[0]\n%4 = mul %2 %3\nresult %4";
    assert_eq!(groups(two), ["contract.dot", "contract.dot.mul"]);
}

#[test]
fn what_is_reduced_by_row_is_stored_on_the_way() {
    let text = "%0 = input arg \"x\" f32[64, 10]\n%1 = reduce_max %0 axes=[1]\n%2 = reshape %1 shape=[64, 1]\n\
                %3 = broadcast %2 shape=[64, 10]\n%4 = sub %0 %3\n%5 = exp %4\n%6 = reduce_sum %5 axes=[1]\n\
                result %5\nresult %6";
    assert_eq!(groups(text), ["row.reduce_max.sub.exp.reduce_sum"]);
}

#[test]
fn groups_never_wait_for_each_other() {
    // The sum needs the exponential and the result needs both: as one group with the negation it would need itself.
    let text = "%0 = input arg \"x\" f32[6, 6]\n%1 = neg %0\n%2 = tanh %1\n\
                %3 = dot %2 %0 batch_a=[] batch_b=[] sum_a=[1] sum_b=[0]\n%4 = tanh %3\n%5 = mul %4 %2\nresult %5";
    assert_eq!(groups(text), ["map.neg.tanh", "contract.dot.tanh.mul"]);
}

#[test]
fn values_that_are_never_alive_together_share_memory() {
    let mut text = "%0 = input arg \"x\" f32[64, 64]\n".to_string();
    for i in 1..=8 {
        text += &format!("%{i} = dot %{} %0 batch_a=[] batch_b=[] sum_a=[1] sum_b=[0]\n", i - 1);
    }
    let graph = dl_ir::text::parse_graph(&format!("{text}result %8")).unwrap();
    let plan = memory(&graph, &fuse(&graph));
    assert_eq!(plan.arena_bytes, 2 * 64 * 64 * 4);
    assert_eq!(plan.peak_bytes, plan.arena_bytes);
}

#[test]
fn nothing_is_overwritten_before_the_last_index_is_checked() {
    // The new `w` does not depend on the label, and the logits depend on the new `seen`.
    let graph = dl_ir::text::parse_graph(
        "%0 = input arg \"x\" f32[8]\n%1 = input arg \"label\" i64[1]\n%2 = input param \"w\" f32[8]\n\
         %3 = input buffer \"seen\" f32[8]\n%4 = add %3 %0\n%5 = exp %4\n%6 = gather %5 %1 axis=0\n%7 = sub %2 %0\n\
         %8 = reduce_sum %6 axes=[0]\nresult %8\nupdate \"seen\" %4\nupdate \"w\" %7",
    )
    .unwrap();
    let fused = fuse(&graph);
    let plan = memory(&graph, &fused);
    check(&graph, &fused, &plan).unwrap();
    let group = |node| fused.groups.iter().position(|g| g.nodes.contains(&NodeId(node))).unwrap();
    assert!(group(7) > group(6), "{}", fused.show(&graph, Some(&plan)));
    let over = |update, input| {
        let slot = plan.slots[fused.root(NodeId(update)).unwrap().index()];
        let copied = plan.copies.iter().any(|(from, _)| Some(*from) == fused.root(NodeId(update)));
        (slot == Some(dl_ir::plan::Slot::Input(NodeId(input))), copied)
    };
    assert_eq!(over(7, 2), (true, false), "{}", fused.show(&graph, Some(&plan)));
    assert!(group(4) >= group(6) || over(4, 3) == (false, true), "{}", fused.show(&graph, Some(&plan)));
}
