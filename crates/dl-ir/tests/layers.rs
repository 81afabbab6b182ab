//! Layers and methods: arguments, refusals in the user's terms, modes, special values.

#[path = "support/nn.rs"]
mod nn;

use dl_ir::eval::{EvalError, Inputs, Tensor, run};
use dl_ir::nn::Value;
use dl_ir::{Builder, DType, InputKind, Role};
use nn::{count, dim, eval, grad, ints, layer, map, named, pos, refusal, ty, type_of};

/// The sentence with which a layer refuses an operand.
fn refused(name: &str, args: &[dl_ir::nn::Given], operand: &str) -> String {
    let mut b = Builder::new();
    let x = b.input(InputKind::Arg, "x", ty(operand));
    let error = layer(name, args).unwrap().apply(&mut b, "l", x).unwrap_err();
    error.describe(&format!("`l` ({name})"), &["`x`".to_string()])
}

#[test]
fn layers_say_what_would_accept_the_operand() {
    assert_eq!(
        refused("Linear", &[map(3136, 128)], "f32[N, 1600]"),
        "`l` (Linear) takes 3136 features, but `x` is f32[N, 1600]; `Linear(1600 => 128)` would accept it"
    );
    assert_eq!(
        refused("Conv2d", &[map(3, 8), named("kernel", 3), named("bias", false)], "f32[N, 1, 28, 28]"),
        "`l` (Conv2d) takes 3 channels, but `x` is f32[N, 1, 28, 28]; \
         `Conv2d(1 => 8, kernel = 3, bias = false)` would accept it"
    );
    assert_eq!(
        refused("BatchNorm2d", &[pos(8)], "f32[N, 4, 7, 7]"),
        "`l` (BatchNorm2d) takes 8 channels, but `x` is f32[N, 4, 7, 7]; `BatchNorm2d(4)` would accept it"
    );
    assert_eq!(
        refused("Conv2d", &[map(3, 8), named("kernel", 3)], "f32[N, 3]"),
        "`l` (Conv2d) takes 4 axes, [N, C, H, W], but `x` is f32[N, 3]"
    );
    assert_eq!(
        refused("Linear", &[map(3, 8)], "i64[N, 3]"),
        "`l` (Linear) takes f32, but `x` is i64[N, 3]; convert it with `.to(f32)`"
    );
    let window = refused("Conv2d", &[map(3, 8), named("kernel", 5)], "f32[N, 3, 4, 9]");
    assert!(window.contains("no window fits on axis 2 of `x`"), "{window}");
}

#[test]
fn arguments_are_checked_all_at_once() {
    let errors = layer("Conv2d", &[map(1, 32), named("colour", 3), named("stride", "two")]).err().unwrap();
    let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert!(messages[0].starts_with("`Conv2d` has no argument `colour`; it has `"), "{messages:?}");
    assert!(messages[1].starts_with("`stride` of `Conv2d` must be a whole number"), "{messages:?}");
    assert!(
        messages[2].starts_with("`Conv2d` needs `kernel`, the size of the window: it is `Conv2d(in => out, kernel"),
        "{messages:?}"
    );
    assert_eq!((errors[0].at, errors[1].at, errors[2].at), (Some(1), Some(2), None));

    let misspelt = layer("Conv2d", &[map(1, 32), named("kernal", 3)]).err().unwrap();
    assert_eq!(misspelt.len(), 1, "a misspelt argument is not missing as well");
    assert_eq!(misspelt[0].to_string(), "`Conv2d` has no argument `kernal`; did you mean `kernel`?");

    let first = |name: &str, args: &[dl_ir::nn::Given]| layer(name, args).err().unwrap()[0].to_string();
    assert!(first("Linear", &[pos(784)]).ends_with("write `784 => ..`"));
    assert!(first("Relu", &[pos(1)]).contains("one argument too many"));
    assert!(first("Relu", &[named("inplace", true)]).contains("`Relu` takes no arguments"));
    assert!(first("Linear", &[map(1, 2), named("bias", true), named("bias", true)]).contains("given twice"));
    assert!(first("Linear", &[map(0, 2)]).contains("at least 1"));
    assert!(
        first("Conv2d", &[map(6, 8), pos(3), named("groups", 4)]).contains("6 channels in do not divide into 4 groups")
    );
    assert!(first("Conv2d", &[map(6, 8), pos(vec![3, 3, 3])]).contains("has 3 sizes, but `Conv2d` has 2 spatial axes"));
    assert!(
        first("Conv2d", &[map(6, 8), pos(3), named("stride", 2), named("padding", "same")]).contains("stride of 1")
    );
    assert!(first("Gelu", &[named("approximate", "tan")]).contains("did you mean `tanh`?"));
    assert!(layer("Embedding", &[pos(100), pos(8)]).is_ok(), "two numbers will do for an embedding");
    assert!(layer("Conv2d", &[map(6, 8), named("kernel_size", 3)]).is_ok(), "PyTorch's names are understood");
    assert_eq!(
        layer("Conv2d", &[map(1, 32), named("kernel", vec![5, 3])]).unwrap().written(),
        "Conv2d(1 => 32, kernel = [5, 3])"
    );
}

#[test]
fn methods_explain_what_does_not_fit() {
    assert_eq!(
        refusal("add", &["f32[N, 3]", "f32[N, 4]"], &[]),
        "`add`: `a` is f32[N, 3] and `b` is f32[N, 4]: axis -1 is 3 in one and 4 in the other, and neither is 1"
    );
    let cases: &[(&str, &[&str], &[dl_ir::nn::Given], &str)] = &[
        (
            "reshape",
            &["f32[N, 12]"],
            &[pos(dim("N")), pos(10)],
            "`a` is f32[N, 12], 12*N elements, but [N, 10] has 10*N; [N, 12] would fit",
        ),
        ("reshape", &["f32[N, 12]"], &[pos(Value::Infer), pos(Value::Infer)], "only one size"),
        ("matmul", &["f32[2, 3]", "f32[4, 3]"], &[], "`.transpose(-2, -1)` on the second"),
        ("matmul", &["f32[2, 3]", "i64[3, 4]"], &[], "takes floats, but `b` is i64[3, 4]"),
        ("softmax", &["f32[2, 3]"], &[named("axis", 2)], "axis 2 is out of range: the axes are 0 to 1 (or -2 to -1)"),
        ("permute", &["f32[2, 3]"], &[pos(0), pos(0)], "axis 0 is named twice"),
        ("permute", &["f32[2, 3]"], &[pos(0)], "must name every axis once"),
        ("squeeze", &["f32[2, 3]"], &[pos(1)], "axis 1 has size 3, not 1"),
        (
            "concat",
            &["f32[2, 3]", "f32[2, 4]"],
            &[],
            "`a` is f32[2, 3] and `b` is f32[2, 4]: they must agree but for axis 0",
        ),
        ("index", &["f32[2, 3]"], &[pos(2)], "index 2 is out of range for an axis of size 2"),
        (
            "slice",
            &["f32[2, 3]"],
            &[pos(Value::Range(Some(1.into()), Some(5.into())))],
            "`1..5` is out of range for axis 0 of size 2",
        ),
        ("cross_entropy", &["f32[N, 10]", "f32[N]"], &[], "class numbers are whole: declare it as i64"),
        ("cross_entropy", &["f32[N, 10]", "i64[N, 1]"], &[], "`.squeeze(-1)` on it would do"),
        ("cross_entropy", &["f32[N, 10]", "i64[M]"], &[], "the target must be class numbers i64[N], but `b` is i64[M]"),
        ("mse", &["f32[N, 1]", "f32[N]"], &[], "both must have the same shape; `.squeeze(-1)` on the first would do"),
        ("mse", &["f32[N]", "f64[N]"], &[], "convert it with `.to(f32)`"),
        ("exp", &["i64[N]"], &[], "`a` is i64[N]"),
        ("mul", &["i64[N]"], &[pos(0.5)], "does not fit elements of type i64"),
        ("max_pool2d", &["f32[N, 3, 8, 8]"], &[pos(2), named("padding", 2)], "at most half the window"),
        ("max_pool2d", &["f32[N, 8, 8]"], &[pos(2)], "4 axes, [N, C, H, W], but `a` is f32[N, 8, 8]"),
        ("dropout", &["f32[N]"], &[pos(1.5)], "a probability"),
        (
            "chunk",
            &["f32[N, 7]"],
            &[pos(2), named("axis", 1)],
            "axis 1 has size 7, which does not split into 2 equal parts",
        ),
        ("gather", &["f32[N, 7]", "i64[N]"], &[pos(1)], "`index_select` takes an index of any rank"),
        ("max", &["f32[N]"], &[pos(0.0)], "`maximum` compares element by element"),
        ("clamp", &["f32[N]"], &[], "needs `min`, `max` or both"),
    ];
    for (name, types, args, message) in cases {
        let sentence = refusal(name, types, args);
        assert!(sentence.contains(message), "{name}: {sentence}");
    }
}

#[test]
fn symbolic_types() {
    let of = |name: &str, types: &[&str], args: &[dl_ir::nn::Given]| type_of(name, types, args).unwrap();
    assert_eq!(of("max_pool2d", &["f32[N, 8, 28, 28]"], &[pos(2)]), "f32[N, 8, 14, 14]");
    assert_eq!(of("flatten", &["f32[N, 64, 7, 7]"], &[]), "f32[N, 3136]");
    assert_eq!(of("reshape", &["f32[N, 12]"], &[pos(-1), pos(4)]), "f32[3*N, 4]");
    assert_eq!(of("matmul", &["f32[B, T, 8]", "f32[8, 5]"], &[]), "f32[B, T, 5]");
    assert_eq!(of("matmul", &["f32[B, 1, T, 8]", "f32[H, 8, S]"], &[]), "f32[B, H, T, S]");
    assert_eq!(of("matmul", &["f32[8]", "f32[B, 8, 5]"], &[]), "f32[B, 5]");
    assert_eq!(of("matmul", &["f32[8]", "f32[8]"], &[]), "f32[]");
    assert_eq!(of("slice", &["f32[N, 12]"], &[pos(Value::Range(None, None)), pos(0)]), "f32[N]");
    assert_eq!(
        of("slice", &["f32[N, T]"], &[pos(Value::Range(None, None)), pos(Value::Range(None, Some((-1).into())))]),
        "f32[N, T - 1]"
    );
    assert_eq!(of("stack", &["f32[N]", "f32[N]"], &[named("axis", -1)]), "f32[N, 2]");
    assert_eq!(of("chunk", &["f32[N, 2*D]"], &[pos(2), named("axis", 1)]), "[.., ..]");
    assert_eq!(of("size", &["f32[N, 12]"], &[pos(0)]), "N");
    assert_eq!(of("index_select", &["f32[V, 8]", "i64[N, T]"], &[]), "f32[N, T, 8]");
    assert_eq!(of("one_hot", &["i64[N]"], &[pos(10)]), "f32[N, 10]");
    assert_eq!(of("cross_entropy", &["f32[B, T, V]", "i64[B, T]"], &[named("reduction", "none")]), "f32[B, T]");
    assert_eq!(of("cross_entropy", &["f32[B, V, T]", "i64[B, T]"], &[named("reduction", "none")]), "f32[B, T]");
    assert_eq!(of("gt", &["f32[N]"], &[pos(0)]), "bool[N]");
    assert_eq!(of("argmax", &["f32[N, 10]"], &[named("axis", -1)]), "i64[N]");
    assert_eq!(of("global_avg_pool", &["f32[N, 8, H, W]"], &[]), "f32[N, 8]");
}

#[test]
fn values_of_movements() {
    let x = || count(&[2, 3]);
    let value = |name: &str, args: &[dl_ir::nn::Given]| eval(name, &[x()], args).unwrap().to_f64s();
    assert_eq!(value("roll", &[pos(-1)]), [1.0, 2.0, 0.0, 4.0, 5.0, 3.0]);
    assert_eq!(value("triu", &[named("diagonal", 1)]), [0.0, 1.0, 2.0, 0.0, 0.0, 5.0]);
    assert_eq!(value("index", &[pos(-1), named("axis", 1)]), [2.0, 5.0]);
    assert_eq!(value("cumsum", &[pos(0)]), [0.0, 1.0, 2.0, 3.0, 5.0, 7.0]);
    assert_eq!(
        value("pad", &[pos(vec![1, 0]), pos(vec![0, 1]), named("value", 9)]),
        [9.0, 9.0, 9.0, 9.0, 0.0, 1.0, 2.0, 9.0, 3.0, 4.0, 5.0, 9.0]
    );
    assert_eq!(value("argmax", &[]), [5.0]);
    assert_eq!(value("argmin", &[named("axis", 0), named("keep", true)]), [0.0, 0.0, 0.0]);
    assert_eq!(value("norm", &[named("axis", 1), named("p", 1.0)]), [3.0, 12.0]);
    assert_eq!(value("rem", &[pos(2)]), [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    let vectors = eval("matmul", &[count(&[2, 2, 3]), count(&[3])], &[]).unwrap();
    assert_eq!((vectors.shape.clone(), vectors.to_f64s()), (vec![2, 2], vec![5.0, 14.0, 23.0, 32.0]));
    let batched = eval("matmul", &[count(&[1, 2]), count(&[2, 2, 1])], &[]).unwrap();
    assert_eq!((batched.shape.clone(), batched.to_f64s()), (vec![2, 1, 1], vec![1.0, 3.0]));
    let hot = eval("one_hot", &[ints(&[2, 0])], &[pos(3)]).unwrap();
    assert_eq!(hot.to_f64s(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
}

#[test]
fn special_values() {
    const NAN: f32 = f32::NAN;
    let at = |name: &str, x: &[f32], args: &[dl_ir::nn::Given]| {
        eval(name, &[Tensor::f32s(&[x.len()], x)], args).unwrap().to_f64s()
    };
    for name in
        ["relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "sigmoid", "tanh", "hard_tanh", "hard_swish", "mish"]
    {
        assert!(at(name, &[NAN], &[])[0].is_nan(), "{name}(NaN)");
        let slopes = grad(name, &[-1e4, -200.0, 0.0, 200.0, 1e4], &[]);
        assert!(slopes.iter().all(|s| s.is_finite()), "{name}: {slopes:?}");
    }
    assert_eq!(grad("relu", &[-1.0, 0.0, 1.0], &[]), [0.0, 0.0, 1.0]);
    assert_eq!(grad("softplus", &[0.0], &[]), [0.5]);
    assert_eq!(grad("clamp", &[-1.0, 0.0, 1.0, 2.0], &[pos(0.0), pos(1.0)]), [0.0, 1.0, 1.0, 0.0]);
    let infinity = f64::NEG_INFINITY;
    assert_eq!(at("logsumexp", &[f32::NEG_INFINITY, f32::NEG_INFINITY], &[]), [infinity]);
    assert_eq!(at("softmax", &[f32::NEG_INFINITY, 0.0], &[]), [0.0, 1.0]);
    assert_eq!(at("bce_with_logits", &[1e4, -1e4], &[pos(1.0), named("reduction", "none")]), [0.0, 1e4]);
    assert_eq!(at("bce", &[0.0, 1.0], &[pos(0.0), named("reduction", "none")]), [0.0, 100.0]);
    assert!(grad("bce", &[0.0, 1.0], &[pos(0.0)]).iter().all(|s| s.is_finite()));
    assert_eq!(at("max", &[1.0, NAN], &[]).iter().filter(|v| v.is_nan()).count(), 1);
}

#[test]
fn labels_are_checked_and_ignored_ones_do_not_count() {
    let logits = || Tensor::f32s(&[2, 2], &[0.0, 0.0, 5.0, 0.0]);
    let outside = eval("cross_entropy", &[logits(), ints(&[0, 2])], &[]).unwrap_err();
    let EvalError::Node { error, .. } = outside else { panic!("{outside}") };
    assert_eq!(*error, EvalError::Index { axis: 1, index: 2, size: 2 });
    let one = eval("cross_entropy", &[logits(), ints(&[1, -100])], &[]).unwrap().to_f64s()[0];
    assert!((one - std::f64::consts::LN_2).abs() < 1e-6);
    let none = eval("cross_entropy", &[logits(), ints(&[7, 7])], &[named("ignore_index", 7)]).unwrap().to_f64s()[0];
    assert!(none.is_nan(), "the mean of no elements");
    let sum = eval("cross_entropy", &[logits(), ints(&[7, 7])], &[named("ignore_index", 7), named("reduction", "sum")]);
    assert_eq!(sum.unwrap().to_f64s(), [0.0]);
}

#[test]
fn dropout_follows_the_mode() {
    let mut b = Builder::new();
    let x = b.input(InputKind::Arg, "x", ty("f32[64, 64]"));
    let dropout = layer("Dropout", &[pos(0.25)]).unwrap();
    assert_eq!(dropout.apply(&mut b, "d", x), Ok(x), "the identity in evaluation");
    b.training = true;
    let y = dropout.apply(&mut b, "d", x).unwrap();
    b.output(Role::Result, y);
    let inputs = Inputs::from([
        ("x".to_string(), Tensor::f32s(&[64, 64], &[1.0; 4096])),
        ("random.key".to_string(), ints(&[3, 1])),
    ]);
    let y = run(&b.finish(), &inputs).unwrap().remove(0).to_f64s();
    let kept = y.iter().filter(|&&v| v != 0.0).count();
    assert!((2950..3200).contains(&kept), "{kept} of 4096 kept, 3072 expected");
    assert!(y.iter().all(|&v| v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6));
}

#[test]
fn batch_norm_updates_once_for_each_call() {
    let norm = layer("BatchNorm1d", &[pos(1), named("momentum", 0.5)]).unwrap();
    let mut b = Builder::new();
    let x = b.input(InputKind::Arg, "x", ty("f32[2, 1]"));
    norm.apply(&mut b, "n", x).unwrap();
    assert!(b.graph.outputs.is_empty(), "nothing is updated in evaluation");
    b.training = true;
    norm.apply(&mut b, "n", x).unwrap();
    norm.apply(&mut b, "n", x).unwrap();
    let graph = b.finish();
    let roles: Vec<String> = graph.outputs.iter().map(|o| format!("{:?}", o.role)).collect();
    assert_eq!(
        roles,
        [r#"Update("n.running_mean")"#, r#"Update("n.running_var")"#, r#"Update("n.num_batches_tracked")"#]
    );
    let inputs = Inputs::from([
        ("x".to_string(), Tensor::f32s(&[2, 1], &[1.0, 3.0])),
        ("n.running_mean".to_string(), Tensor::f32s(&[1], &[0.0])),
        ("n.running_var".to_string(), Tensor::f32s(&[1], &[1.0])),
        ("n.num_batches_tracked".to_string(), Tensor::ints(DType::I64, &[], vec![5])),
    ]);
    let values: Vec<f64> = run(&graph, &inputs).unwrap().iter().flat_map(Tensor::to_f64s).collect();
    // The mean is 2, the unbiased variance 2; each call goes half of the way.
    assert_eq!(values, [1.5, 1.75, 7.0]);
    let mut b = Builder::new();
    b.training = true;
    let single = b.input(InputKind::Arg, "x", ty("f32[1, 1]"));
    let error = norm.apply(&mut b, "n", single).unwrap_err().describe("`n`", &["`x`".into()]);
    assert!(error.contains("more than one element a channel"), "{error}");
}

#[test]
fn shared_layers_share_parameters() {
    let linear = layer("Linear", &[map(3, 3)]).unwrap();
    let mut b = Builder::new();
    let x = b.input(InputKind::Arg, "x", ty("f32[N, 3]"));
    let y = linear.apply(&mut b, "head.0", x).unwrap();
    linear.apply(&mut b, "head.0", y).unwrap();
    let inputs: Vec<&str> = b.graph.inputs.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(inputs, ["x", "head.0.weight", "head.0.bias"]);
}

#[test]
fn same_padding_keeps_the_size() {
    for (kernel, dilation) in [(3, 1), (4, 1), (2, 3)] {
        let args = [map(1, 2), pos(kernel), named("padding", "same"), named("dilation", dilation)];
        let mut b = Builder::new();
        let x = b.input(InputKind::Arg, "x", ty("f32[N, 1, H, 9]"));
        let y = layer("Conv2d", &args).unwrap().apply(&mut b, "c", x).unwrap();
        assert_eq!(b.ty(y).to_string(), "f32[N, 2, H, 9]", "kernel {kernel}");
    }
}
