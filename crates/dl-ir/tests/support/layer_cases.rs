//! Calls of layers and methods on operands with symbolic sizes: what the tests of gradients and of compiled code run.

use dl_ir::autodiff::gradient;
use dl_ir::eval::{Inputs, Tensor};
use dl_ir::nn::{self, Given, Value};
use dl_ir::passes::bind::bind;
use dl_ir::{Bindings, Builder, DType, Dim, Graph, InputKind, Role, Type};

/// A call of the layer or method of that name.
pub struct Case {
    /// What it is called by in messages.
    pub label: String,
    name: &'static str,
    given: Vec<Given>,
    /// Operands by position, or by name if they have one: `mask: bool[T, T]`.
    operands: Vec<&'static str>,
}

fn pos(value: impl Into<Value>) -> Given {
    Given::positional(value)
}

fn named(name: &str, value: impl Into<Value>) -> Given {
    Given::named(name, value)
}

fn map(from: i64, to: i64) -> Given {
    pos(Value::Map(from.into(), to.into()))
}

/// Every case. Floats stand as `f`.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![];
    let mut add = |name: &'static str, given: Vec<Given>, operands: &[&'static str]| {
        let args: Vec<String> = given
            .iter()
            .map(|g| g.name.as_ref().map_or(g.value.to_string(), |name| format!("{name} = {}", g.value)))
            .collect();
        let label = format!("{name}({}) on {}", args.join(", "), operands.join(", "));
        cases.push(Case { label, name, given, operands: operands.to_vec() });
    };
    add("Bilinear", vec![pos(3), pos(4), pos(2)], &["f[N, T, 3]", "f[N, T, 4]"]);
    for mode in ["mean", "sum", "max"] {
        add("EmbeddingBag", vec![map(5, 3), named("mode", mode)], &["i64[N, 4]"]);
    }
    add("EmbeddingBag", vec![map(5, 3), named("mode", "sum")], &["i64[N, 4]", "per_sample_weights: f[N, 4]"]);
    let transposed = |more: &[(&str, Value)]| -> Vec<Given> {
        more.iter().map(|(name, value)| named(name, value.clone())).collect()
    };
    let geometry = transposed(&[
        ("kernel", 3.into()),
        ("stride", 2.into()),
        ("padding", 1.into()),
        ("output_padding", 1.into()),
        ("groups", 2.into()),
        ("dilation", 2.into()),
    ]);
    add("ConvTranspose1d", [vec![map(4, 6)], geometry].concat(), &["f[N, 4, T]"]);
    let geometry = transposed(&[
        ("kernel", vec![3, 2].into()),
        ("stride", vec![2, 3].into()),
        ("padding", vec![1, 0].into()),
        ("bias", false.into()),
    ]);
    add("ConvTranspose2d", [vec![map(2, 3)], geometry].concat(), &["f[N, 2, H, W]"]);
    add("ConvTranspose3d", vec![map(2, 2), pos(2), named("stride", 2)], &["f[N, 2, 2, H, 2]"]);
    for mode in ["reflect", "replicate", "circular"] {
        let args = vec![map(2, 2), pos(3), named("padding", vec![1, 2]), named("padding_mode", mode)];
        add("Conv2d", args, &["f[N, 2, H, W]"]);
    }
    add(
        "Conv1d",
        vec![map(2, 2), pos(4), named("padding", "same"), named("padding_mode", "circular")],
        &["f[N, 2, T]"],
    );
    for name in ["ReflectionPad2d", "ReplicationPad2d", "CircularPad2d", "ZeroPad2d"] {
        add(name, vec![pos(vec![1, 2, 0, 1])], &["f[N, 2, H, W]"]);
    }
    add("ReflectionPad1d", vec![pos(2)], &["f[N, T]"]);
    add("ReplicationPad3d", vec![pos(1)], &["f[N, 1, 2, H, W]"]);
    add("ConstantPad1d", vec![pos(1), pos(2.5)], &["f[N, 2, T]"]);
    add("AdaptiveAvgPool2d", vec![pos(vec![3, 2])], &["f[N, 2, 7, W]"]);
    add("AdaptiveAvgPool1d", vec![pos(3)], &["f[N, 2, 3*T]"]);
    add("AdaptiveMaxPool2d", vec![pos(vec![3, 2])], &["f[N, 2, 7, 4]"]);
    add("AdaptiveMaxPool1d", vec![pos(3)], &["f[N, 2, 3*T]"]);
    add("GlobalMaxPool", vec![], &["f[N, 3, H, W]"]);
    add("MaxPool2d", vec![pos(3), named("stride", 2), named("ceil_mode", true)], &["f[N, 2, H, 6]"]);
    for include in [true, false] {
        let args = vec![
            pos(3),
            named("stride", 2),
            named("padding", 1),
            named("ceil_mode", true),
            named("count_include_pad", include),
        ];
        add("AvgPool2d", args, &["f[N, 2, H, 6]"]);
    }
    add("LpPool1d", vec![pos(2.0), pos(2)], &["f[N, 2, T]"]);
    add("LpPool2d", vec![pos(4.0), pos(2), named("stride", 1)], &["f[N, 2, H, W]"]);
    add("Upsample", vec![named("scale", 3.0)], &["f[N, 2, H, W]"]);
    add("Upsample", vec![named("scale", 0.5)], &["f[N, 2, H, W]"]);
    add("Upsample", vec![pos(vec![7, 3])], &["f[N, 2, H, 6]"]);
    add("Upsample", vec![named("scale", 1.5)], &["f[N, 2, 5]"]);
    for corners in [false, true] {
        let with = |mode: &'static str| vec![named("mode", mode), named("align_corners", corners)];
        add("Upsample", [vec![named("scale", 2.0)], with("bilinear")].concat(), &["f[N, 2, H, W]"]);
        add("Upsample", [vec![named("size", vec![3, 8])], with("bilinear")].concat(), &["f[N, 2, H, W]"]);
        add("Upsample", [vec![named("size", 7)], with("linear")].concat(), &["f[N, 2, T]"]);
        add("Upsample", [vec![named("size", 3)], with("trilinear")].concat(), &["f[N, 1, 2, H, 4]"]);
    }
    add("PixelShuffle", vec![pos(2)], &["f[N, 8, H, W]"]);
    add("PixelUnshuffle", vec![pos(2)], &["f[N, 2, 2*H, 4]"]);
    add("InstanceNorm1d", vec![pos(3), named("affine", true)], &["f[N, 3, T]"]);
    add("InstanceNorm3d", vec![pos(2)], &["f[N, 2, 2, H, W]"]);
    add("LocalResponseNorm", vec![pos(3), named("alpha", 0.5)], &["f[N, 5, H, W]"]);
    add("BatchNorm3d", vec![pos(2)], &["f[N, 2, 2, H, W]"]);
    let heads = |more: &[(&str, Value)]| [vec![pos(8), pos(4)], transposed(more)].concat();
    add("MultiheadAttention", heads(&[]), &["f[N, T, 8]"]);
    add("MultiheadAttention", heads(&[]), &["f[T, 8]", "f[S, 8]"]);
    add("MultiheadAttention", heads(&[("causal", true.into()), ("kv_heads", 2.into())]), &["f[N, T, 8]"]);
    add("MultiheadAttention", heads(&[("bias", false.into())]), &["f[N, T, 8]", "f[N, S, 8]", "f[N, S, 8]"]);
    add(
        "MultiheadAttention",
        heads(&[("kdim", 3.into()), ("vdim", 5.into())]),
        &["f[N, T, 8]", "f[N, S, 3]", "f[N, S, 5]"],
    );
    add("MultiheadAttention", heads(&[]), &["f[N, T, 8]", "key_padding_mask: bool[N, T]", "mask: bool[T, T]"]);
    add("MultiheadAttention", heads(&[]), &["f[N, T, 8]", "f[N, S, 8]", "mask: f[N, T, S]"]);
    add("MultiheadAttention", heads(&[("kv_heads", 2.into())]), &["f[N, T, 8]", "mask: bool[N, 4, T, T]"]);
    let small = [("ff", 6.into()), ("dropout", 0.0.into())];
    let block = |more: &[(&str, Value)]| heads(&[&small[..], more].concat());
    add("TransformerEncoderLayer", block(&[("activation", "gelu".into())]), &["f[N, T, 8]"]);
    add("TransformerDecoderLayer", block(&[("norm_first", true.into())]), &["f[N, T, 8]", "f[N, S, 8]"]);
    let stack = |more: &[(&str, Value)]| block(&[&[("layers", 2.into()), ("norm", true.into())], more].concat());
    add("TransformerEncoder", stack(&[]), &["f[N, T, 8]", "key_padding_mask: bool[N, T]"]);
    add(
        "TransformerDecoder",
        stack(&[("causal", true.into())]),
        &["f[N, T, 8]", "f[N, S, 8]", "memory_mask: bool[T, S]", "memory_key_padding_mask: bool[N, S]"],
    );
    let three = ["f[N, 2, T, 4]", "f[N, 2, S, 4]", "f[N, 2, S, 3]"];
    add("scaled_dot_product_attention", vec![], &three);
    add("attention", vec![named("scale", 0.3), named("causal", true)], &three);
    add("sdpa", vec![], &[three[0], three[1], three[2], "mask: bool[T, S]"]);
    add("sdpa", vec![], &[three[0], three[1], three[2], "mask: f[N, 1, T, S]"]);
    let grouped = ["f[N, 4, T, 4]", "f[N, 2, S, 4]", "f[N, 2, S, 4]", "mask: bool[N, 4, T, S]"];
    add("attention", vec![named("enable_gqa", true)], &grouped);
    add("PositionalEncoding", vec![], &["f[N, T, 6]"]);
    add("LearnedPositionalEncoding", vec![map(9, 6)], &["f[N, T, 6]"]);
    add("rope", vec![], &["f[N, 2, T, 6]"]);
    add("rope", vec![named("interleaved", true), named("offset", 3)], &["f[N, 2, T, 6]"]);
    add("CosineSimilarity", vec![], &["f[N, 5]", "f[N, 5]"]);
    add("PairwiseDistance", vec![], &["f[N, 5]", "f[N, 5]"]);
    add("PairwiseDistance", vec![pos(3.0), named("keep", true)], &["f[N, 5]", "f[N, 5]"]);
    for name in ["Softmin", "Tanhshrink", "Softshrink", "Hardshrink"] {
        add(name, vec![], &["f[N, 5]"]);
    }
    add("Softmax2d", vec![], &["f[N, 3, H, W]"]);
    add("Threshold", vec![pos(0.1), pos(-1.0)], &["f[N, 5]"]);
    add("Unflatten", vec![pos(1), pos(vec![2, -1])], &["f[N, 6]"]);
    cases
}

/// The size that stands for a symbol.
fn size_of(symbol: &str) -> i64 {
    match symbol {
        "N" => 2,
        "T" => 5,
        "S" => 3,
        "H" => 4,
        _ => 5,
    }
}

fn dim(text: &str) -> Dim {
    let factor = |t: &str| t.parse::<i64>().map_or_else(|_| Dim::sym(t), Dim::from);
    text.split('*').map(factor).fold(Dim::ONE, |a, b| a * b)
}

/// The name, if there is one, and the type of an operand.
fn operand(text: &'static str, float: DType) -> (Option<&'static str>, Type) {
    let (name, ty) = text.split_once(": ").map_or((None, text), |(name, ty)| (Some(name), ty));
    let (dtype, dims) = ty.trim_end_matches(']').split_once('[').unwrap();
    let dtype = if dtype == "f" { float } else { DType::from_name(dtype).unwrap() };
    (name, Type::new(dtype, dims.split(", ").map(dim)))
}

impl Case {
    /// The graph with symbols bound, in floats of that type: the result, then the gradients of its sum, weighted by
    /// its place, with respect to every input of floats; last that sum.
    pub fn graph(&self, float: DType) -> Graph {
        let mut b = Builder::new();
        let mut call = vec![];
        for (i, text) in self.operands.iter().enumerate() {
            let (name, ty) = operand(text, float);
            let node = b.input(InputKind::Arg, &format!("x{i}"), ty);
            call.push(name.map_or_else(|| Given::positional(node), |name| Given::named(name, node)));
        }
        let value = match nn::layer(self.name) {
            Some(def) => {
                let layer = def.with(&self.given).unwrap_or_else(|e| panic!("{}: {e:?}", self.label)).of_dtype(float);
                let bound = layer.bind("layer", &call).unwrap_or_else(|e| panic!("{}: {e:?}", self.label));
                layer.call(&mut b, "l", &bound)
            }
            None => {
                call.extend(self.given.iter().cloned());
                let method = nn::method(self.name).unwrap_or_else(|| panic!("no {}", self.name));
                let bound = method.bind(&call).unwrap_or_else(|e| panic!("{}: {e:?}", self.label));
                method.build(&mut b, &bound)
            }
        };
        let Value::Tensor(result) = value.unwrap_or_else(|e| panic!("{}: {e}", self.label)) else {
            panic!("{}: no tensor", self.label)
        };
        b.output(Role::Result, result);
        // The weights of the sum tell its elements apart.
        let elements = b.ty(result).elements();
        let flat = b.reshape(result, std::slice::from_ref(&elements)).unwrap();
        let iota = dl_ir::Attrs::new().dtype("dtype", float).dims("shape", vec![elements]).int("axis", 0);
        let place = b.push(dl_ir::Op::Iota, &[], iota).unwrap();
        let weight = b.sin(place).unwrap();
        let weighted = b.mul(flat, weight).unwrap();
        let loss = b.sum(weighted, &[0], false).unwrap();
        let inputs = b.graph.inputs.clone();
        let wrt: Vec<_> = inputs.iter().filter(|i| b.dtype(i.node).is_float()).collect();
        let nodes: Vec<_> = wrt.iter().map(|i| i.node).collect();
        let grads = gradient(&mut b, loss, &nodes).unwrap_or_else(|e| panic!("{}: {e:?}", self.label));
        for (input, grad) in wrt.into_iter().zip(grads) {
            if let Some(grad) = grad {
                b.output(Role::Grad(input.name.clone()), grad);
            }
        }
        b.output(Role::Result, loss);
        let graph = b.finish();
        let bindings: Bindings = ["N", "T", "S", "H", "W"].map(|s| (s.to_string(), size_of(s))).into_iter().collect();
        bind(&graph, &bindings).unwrap_or_else(|e| panic!("{}: {e:?}", self.label))
    }

    /// Values for the inputs of the graph, all different.
    pub fn inputs(&self, graph: &Graph) -> Inputs {
        let mut inputs = Inputs::new();
        for (k, input) in graph.inputs.iter().enumerate() {
            let ty = graph.ty(input.node);
            let shape: Vec<usize> = ty.shape.iter().map(|d| d.as_const().unwrap() as usize).collect();
            let count = shape.iter().product::<usize>();
            let value = |i: usize| ((i + 31 * k) * 389 % 997) as f64 / 498.5 - 1.0;
            let tensor = match ty.dtype {
                // Positive where it is a variance.
                dtype if dtype.is_float() => {
                    let shift = if input.name.ends_with("var") { 1.5 } else { 0.0 };
                    Tensor::floats(dtype, &shape, (0..count).map(|i| value(i) + shift).collect())
                }
                DType::Bool => Tensor::ints(DType::Bool, &shape, (0..count).map(|i| i64::from(i % 3 == 1)).collect()),
                dtype => Tensor::ints(dtype, &shape, (0..count).map(|i| (i * 7 % 5) as i64).collect()),
            };
            inputs.insert(input.name.clone(), tensor);
        }
        inputs
    }
}
