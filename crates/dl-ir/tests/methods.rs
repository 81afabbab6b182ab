//! Losses and tensor methods: what they refuse, shapes with symbols, special values.

#[path = "support/nn.rs"]
mod nn;

use dl_ir::eval::Tensor;
use dl_ir::nn::{Given, Value};
use nn::{count, dim, eval, grad, ints, named, pos, refusal, type_of};

fn infer() -> Given {
    pos(Value::Infer)
}

#[test]
fn losses_explain_what_does_not_fit() {
    let cases: &[(&str, &[&str], &[Given], &str)] = &[
        ("huber", &["f32[N]", "f32[N]"], &[named("delta", 0.0)], "`delta` must be above 0, but it is 0"),
        ("smooth_l1", &["f32[N]", "f32[N]"], &[named("beta", -1.0)], "`beta` must not be below 0, but it is -1"),
        ("mse", &["f32[N]", "f32[N]"], &[named("reduction", "avg")], "must be one of \"mean\", \"sum\", \"none\""),
        ("bce", &["f32[N, 3]", "f32[N, 3]", "f32[4]"], &[], "`weight` must broadcast to f32[N, 3], but it is f32[4]"),
        (
            "bce_with_logits",
            &["f32[N, 3]", "f32[N, 3]"],
            &[named("pos_weight", vec![1, 2])],
            "`pos_weight` of `bce_with_logits` must be a tensor or a number",
        ),
        ("focal", &["f32[N]", "f32[N]"], &[named("gamma", -1.0)], "`gamma` must not be below 0"),
        ("focal", &["f32[N]", "f32[N]"], &[named("alpha", 2.0)], "`alpha` is a share, at most 1, but it is 2"),
        ("dice", &["f32[N, 3]", "f32[N, 3]"], &[named("axis", 2)], "axis 2 is out of range"),
        ("gaussian_nll", &["f32[N, 3]", "f32[N, 3]", "f32[N]"], &[], "`var` must broadcast to f32[N, 3]"),
        ("multi_margin", &["f32[N, 3]", "f32[N]"], &[], "`multi_margin` takes i64 indices, but `b` is f32[N]"),
        ("multi_margin", &["f32[N, 3]", "i64[N]"], &[named("p", 3)], "`p` is 1 or 2, but it is 3"),
        ("multi_margin", &["f32[N, 3]", "i64[M]"], &[], "the target must be class numbers i64[N]"),
        ("hinge", &["f32[N, 1]", "f32[N]"], &[], "both must have the same shape; `.squeeze(-1)` on the first would do"),
        (
            "margin_ranking",
            &["f32[N]", "f32[M]", "f32[N]"],
            &[],
            "`a` is f32[N], but `b` is f32[M]: `y` must have the same shape",
        ),
        (
            "margin_ranking",
            &["f32[N]", "f32[N]", "f32[1]"],
            &[],
            "`a` is f32[N], so the target must be f32[N], but `c` is f32[1]",
        ),
        (
            "cosine_embedding",
            &["f32[N, 8]", "f32[N, 8]", "i64[N, 8]"],
            &[],
            "`a` is f32[N, 8], so the target must be f32[N], but `c` is i64[N, 8]",
        ),
        (
            "triplet_margin",
            &["f32[N, 8]", "f32[N, 8]", "f32[N, 4]"],
            &[],
            "`c` is f32[N, 4]: `negative` must have the same shape",
        ),
        ("triplet_margin", &["f32[N]", "f32[N]", "f32[N]"], &[named("p", 0.0)], "`p` must be above 0"),
        ("ctc", &["f32[T, N, 5]", "i64[S]"], &[], "takes 2 axes, [N, S], but `b` is i64[S]"),
        (
            "ctc",
            &["f32[N, T, 5]", "i64[N, S]"],
            &[],
            "`a` is f32[N, T, 5], [T, N, C], so the target must be i64[T, S], but `b` is i64[N, S]",
        ),
        ("ctc", &["f32[T, N, 5]", "i64[N, S]"], &[named("blank", 5)], "class 5 is none of the 5 classes"),
        (
            "ctc",
            &["f32[T, 2, 5]", "i64[2, 3]"],
            &[named("target_lengths", vec![3, 4])],
            "every number of `target_lengths` must be from 0 to 3, but one is 4",
        ),
        (
            "ctc",
            &["f32[T, 2, 5]", "i64[2, 3]"],
            &[named("input_lengths", vec![3])],
            "`input_lengths` must have 2 numbers, but it has 1",
        ),
        ("triplet_margin", &["f32[]", "f32[]", "f32[]"], &[], "vectors, at least 1 axis"),
    ];
    for (name, types, args, message) in cases {
        let sentence = refusal(name, types, args);
        assert!(sentence.contains(message), "{name}: {sentence}");
    }
}

#[test]
fn methods_explain_what_does_not_fit() {
    let cases: &[(&str, &[&str], &[Given], &str)] = &[
        ("topk", &["f32[N, 7]"], &[pos(9)], "`k` is 9, but axis 1 has only 7 elements: the tensor is f32[N, 7]"),
        ("topk", &["f32[N, 7]"], &[pos(0)], "`k` must be at least 1, but it is 0"),
        ("kthvalue", &["f32[7, N]"], &[pos(8), named("axis", 0)], "`k` is 8, but axis 0 has only 7"),
        ("sort", &["f32[N, 7]"], &[named("axis", 2)], "axis 2 is out of range"),
        ("sort", &["f32[]"], &[], "a scalar has no axes"),
        ("quantile", &["f32[N]"], &[pos(30.0)], "`q` is a share, from 0 to 1, but it is 30"),
        ("quantile", &["i64[N]"], &[pos(0.5)], "takes floats, but `a` is i64[N]"),
        ("quantile", &["f32[N]"], &[pos(0.5), named("interpolation", "linar")], "did you mean `linear`?"),
        ("cumsum", &["bool[N]"], &[], "takes numbers, but `a` is bool[N]; convert it with `.to(i64)`"),
        ("logcumsumexp", &["i64[N]"], &[], "takes floats"),
        ("norm", &["f32[N]"], &[named("p", -2.0)], "`p` must be a number from 0 on"),
        ("norm", &["f32[N]"], &[named("p", "max")], "`p` of `norm` must be a number, or one of \"fro\""),
        ("normalize", &["f32[N]"], &[named("p", 0.0)], "`p` must be above 0"),
        ("linear", &["f32[N, 8]", "f32[4, 7]"], &[], "the last axes of both must agree, but there are 8 and 7"),
        ("linear", &["f32[N, 8]", "f32[4]"], &[], "takes a weight [out, in], but `b` is f32[4]"),
        ("conv2d", &["f32[N, 6, 9, 9]", "f32[8, 4, 3, 3]"], &[], "channels must agree, but there are 6 and 4"),
        (
            "conv2d",
            &["f32[N, 6, 9, 9]", "f32[8, 6, K, 3]"],
            &[],
            "whose last axes, the window, are known numbers from 1 on",
        ),
        ("conv2d", &["f32[N, 6, 9, 9]", "f32[8, 6, 0, 3]"], &[], "known numbers from 1 on, but `b` is f32[8, 6, 0, 3]"),
        ("addcmul", &["f32[N]", "f32[N]", "i64[N]"], &[], "takes f32, as operand 1 is, but `c` is i64[N]"),
        ("addcmul", &["f32[N]", "bool[N]", "bool[N]"], &[], "takes numbers, but `b` is bool[N]"),
        ("conv2d", &["f32[N, 6, 2, 9]", "f32[8, 6, 3, 3]"], &[], "no window fits on axis 2"),
        ("conv1d", &["f32[N, 6, 9]", "f64[8, 6, 3]"], &[], "convert it with `.to(f32)`"),
        ("bucketize", &["f32[N]", "f32[N, 3]"], &[], "takes a vector of boundaries, but `b` is f32[N, 3]"),
        ("split", &["f32[N, 7]"], &[pos(vec![3, 3]), named("axis", 1)], "the sizes add up to 6, but axis 1 has size 7"),
        ("split", &["f32[N, 7]"], &[pos(2)], "the number of parts must be known"),
        ("unbind", &["f32[N, 7]"], &[], "the number of parts must be known, at most 1024, but axis 0 has size N"),
        ("narrow", &["f32[N, 7]"], &[pos(1), pos(5), pos(3)], "3 elements from 5 on are not within axis 1 of size 7"),
        ("tile", &["f32[N]"], &[pos(0)], "every number of repeats must be at least 1, but one is 0"),
        ("broadcast_to", &["f32[3]"], &[infer(), infer()], "`_` keeps the size of an axis"),
        ("movedim", &["f32[2, 3]"], &[pos(vec![0, 1]), pos(0)], "2 axes are moved to 1 places"),
        ("unflatten", &["f32[N, 7]"], &[pos(1), pos(vec![2, -1])], "does not divide into parts of 2"),
        ("unfold", &["f32[N, 7]"], &[pos(1), pos(8)], "a window of 8 is longer than axis 1, of size 7"),
        ("roll", &["f32[N, 7]"], &[pos(vec![1, 2])], "there must be a shift for each axis, but 2 are given for 1"),
        ("diag", &["f32[2, 3, 4]"], &[], "takes 1 or 2 axes, but `a` is f32[2, 3, 4]"),
        ("diag", &["f32[2, 3]"], &[pos(3)], "there is no diagonal 3 in 2 rows and 3 columns"),
        ("diag", &["f32[N, 3]"], &[], "which of its sides is longer must be known"),
        ("trace", &["f32[N]"], &[], "takes 2 axes"),
        ("outer", &["f32[N, 2]", "f32[3]"], &[], "takes vectors, but `a` is f32[N, 2]; see `matmul`"),
        ("dot", &["f32[N]", "f32[M]"], &[], "`a` is f32[N] and `b` is f32[M]: both must be alike"),
        ("addmm", &["f32[5]", "f32[N, 3]", "f32[4, 5]"], &[], "the last axis of the first (3) must equal"),
        ("addmm", &["f32[4]", "f32[N, 3]", "f32[3, 5]"], &[], "which does not broadcast to the product, f32[N, 5]"),
        ("cross", &["f32[N, 4]", "f32[N, 4]"], &[], "with 3 elements on axis 1"),
        ("cdist", &["f32[P, 3]", "f32[R, 4]"], &[], "the last axes must be equal"),
        ("cdist", &["f32[3]", "f32[R, 3]"], &[], "rows of vectors, at least 2 axes"),
        ("scatter", &["f32[N, 3]", "i64[N, 2]", "f32[N, 3]"], &[], "must be f32[N, 2], but it is f32[N, 3]"),
        ("scatter", &["f32[N, 3]", "f32[N, 2]", "f32[N, 2]"], &[], "takes i64 indices, but `b` is f32[N, 2]"),
        ("index_add", &["f32[N, 3]", "i64[2]", "f32[N, 3]"], &[named("axis", 1)], "there must be an index i64[K]"),
        ("take_along", &["f32[N, 3]", "i64[M, 2]"], &[], "but for axis 1 they must broadcast, and axis 0 does not"),
        ("meshgrid", &["f32[N, 3]"], &[], "takes vectors, but `a` is f32[N, 3]"),
        ("clamp", &["f32[N, 3]", "f32[2]"], &[], "`min` must broadcast to f32[N, 3], but it is f32[2]"),
        ("xor", &["i64[N]", "bool[N]"], &[], "takes bool, but `a` is i64[N]"),
        ("logit", &["f32[N]"], &[pos(0.7)], "`eps` must be from 0 to below 0.5"),
        ("trunc", &["i64[N]"], &[], "takes floats"),
    ];
    for (name, types, args, message) in cases {
        let sentence = refusal(name, types, args);
        assert!(sentence.contains(message), "{name}: {sentence}");
    }
}

#[test]
fn symbolic_types() {
    let of = |name: &str, types: &[&str], args: &[Given]| type_of(name, types, args).unwrap();
    assert_eq!(of("cumsum", &["f32[N, T]"], &[]), "f32[N, T]");
    assert_eq!(of("cumprod", &["f32[T, 3]"], &[pos(0)]), "f32[T, 3]");
    assert_eq!(of("argsort", &["f32[N, T]"], &[pos(0)]), "i64[N, T]");
    assert_eq!(of("median", &["f32[N, T]"], &[named("axis", 0)]), "f32[T]");
    assert_eq!(of("quantile", &["f32[N, T]"], &[pos(0.5), named("axis", 1), named("keep", true)]), "f32[N, 1]");
    assert_eq!(of("tile", &["f32[N]"], &[pos(2), pos(3)]), "f32[2, 3*N]");
    assert_eq!(of("repeat_interleave", &["f32[N, 3]"], &[pos(dim("K")), named("axis", 0)]), "f32[K*N, 3]");
    assert_eq!(of("unfold", &["f32[N, T]"], &[pos(-1), pos(4)]), "f32[N, T - 3, 4]");
    assert_eq!(of("unflatten", &["f32[N, 6*T]"], &[pos(1), pos(vec![Value::Infer, 6.into()])]), "f32[N, T, 6]");
    assert_eq!(of("diagonal", &["f32[N, N]"], &[pos(1)]), "f32[N - 1]");
    assert_eq!(of("diag", &["f32[N]"], &[]), "f32[N, N]");
    assert_eq!(of("cdist", &["f32[B, P, 3]", "f32[R, 3]"], &[]), "f32[B, P, R]");
    assert_eq!(of("arange", &[], &[pos(dim("N")), pos(dim("M"))]), "i64[M - N]");
    assert_eq!(of("linspace", &[], &[pos(0.0), pos(1.0), pos(dim("N"))]), "f32[N]");
    assert_eq!(of("dice", &["f32[N, 1, H, W]", "f32[N, 1, H, W]"], &[named("reduction", "none")]), "f32[N]");
    assert_eq!(of("count_nonzero", &["f32[N, T]"], &[named("axis", 1)]), "i64[N]");
    assert_eq!(of("scatter", &["f32[N, T]", "i64[N, 1]"], &[pos(0.0), named("axis", 1)]), "f32[N, T]");
}

#[test]
fn values_of_sources() {
    let value = |name: &str, args: &[Given]| eval(name, &[], args).unwrap().to_f64s();
    assert_eq!(value("arange", &[pos(3)]), [0.0, 1.0, 2.0]);
    assert_eq!(value("arange", &[pos(2), pos(9), pos(3)]), [2.0, 5.0, 8.0]);
    assert_eq!(value("arange", &[pos(5), pos(0), named("step", -2)]), [5.0, 3.0, 1.0]);
    assert_eq!(value("linspace", &[pos(-1.0), pos(1.0), pos(5)]), [-1.0, -0.5, 0.0, 0.5, 1.0]);
    assert_eq!(value("linspace", &[pos(3.0), pos(4.0), pos(1)]), [3.0]);
    assert_eq!(value("linspace", &[pos(0.0), pos(0.1), pos(4)]).last(), Some(&f64::from(0.1f32)));
}

#[test]
fn gradients_where_a_function_turns() {
    for name in ["sinh", "asinh", "atanh", "frac"] {
        assert_eq!(grad(name, &[0.0], &[]), [1.0], "{name}");
    }
    assert_eq!(grad("norm", &[0.0, 0.0], &[]), [0.0, 0.0]);
    assert_eq!(grad("norm", &[0.0, 0.0], &[named("p", 3.0)]), [0.0, 0.0]);
    assert_eq!(grad("fmod", &[0.0, -2.5, 2.5], &[pos(2.0)]), [1.0, 1.0, 1.0]);
    assert_eq!(grad("median", &[3.0, 1.0, 2.0], &[]), [0.0, 0.0, 1.0]);
    assert_eq!(grad("quantile", &[3.0, 1.0, 2.0, 4.0], &[pos(0.5)]), [0.5, 0.0, 0.5, 0.0]);
}

#[test]
fn special_values() {
    const NAN: f32 = f32::NAN;
    const INFINITY: f32 = f32::INFINITY;
    let at =
        |name: &str, x: &[f32], args: &[Given]| eval(name, &[Tensor::f32s(&[x.len()], x)], args).unwrap().to_f64s();
    let all = |values: Vec<f64>, holds: fn(&f64) -> bool| values.iter().all(holds);
    assert!(all(at("median", &[1.0, NAN, 2.0], &[]), |v| v.is_nan()));
    assert!(all(at("quantile", &[1.0, NAN, 2.0], &[pos(0.0)]), |v| v.is_nan()));
    assert_eq!(at("cumprod", &[2.0, 0.0, INFINITY], &[])[..2], [2.0, 0.0]);
    assert_eq!(at("hypot", &[3e30, INFINITY, 0.0], &[pos(0.0)]), [f64::from(3e30f32), f64::INFINITY, 0.0]);
    assert_eq!(at("logcumsumexp", &[-INFINITY, 0.0], &[]), [f64::NEG_INFINITY, 0.0]);
    assert_eq!(at("exp2", &[3.0, -1.0, 10.0], &[]), [8.0, 0.5, 1024.0]);
    assert_eq!(at("argmin", &[NAN, 1.0], &[]), [0.0]);
    let least = eval("argmin", &[ints(&[3, i64::MIN, 5])], &[]).unwrap();
    assert_eq!(least.to_f64s(), [1.0]);
    let bytes = Tensor::ints(dl_ir::DType::U8, &[3], vec![3, 0, 200]);
    assert_eq!(eval("argmin", &[bytes], &[]).unwrap().to_f64s(), [1.0]);
    let twice = eval("scatter", &[count(&[3]), ints(&[1, 1]), Tensor::f32s(&[2], &[4.0, 8.0])], &[]).unwrap();
    assert_eq!(twice.to_f64s(), [0.0, 6.0, 2.0]);
}

#[test]
fn long_running_folds_need_no_square() {
    let mut b = dl_ir::Builder::new();
    let x = b.input(dl_ir::InputKind::Arg, "x", nn::ty("f32[10000]"));
    let cumsum = dl_ir::nn::method("cumsum").unwrap();
    let args = cumsum.bind(&[pos(x)]).unwrap();
    cumsum.build(&mut b, &args).unwrap();
    let elements = b.graph.nodes.iter().filter_map(|n| n.ty.elements().as_const());
    assert_eq!(elements.max(), Some(10048 * 64), "64 steps an element");
}
