//! The reference values of `tests/data/goldens` as graphs, inputs and expected outputs.

use std::path::{Path, PathBuf};

use dl_ir::autodiff::gradient;
use dl_ir::eval::{Inputs, Tensor};
use dl_ir::nn::{self, Given, Value};
use dl_ir::{Builder, DType, Graph, InputKind, NodeId, Role};
use serde_json::Value as Json;

/// The families whose cases are graphs.
pub const FAMILIES: [&str; 6] = ["activations", "losses", "layers", "tensor_ops", "more_losses", "more_tensor_ops"];

/// In which precision the values of a family are stored and computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Precision {
    /// f32.
    Single,
    /// f64.
    Double,
}

/// Cases of what does not exist yet. A case must be here or run.
pub const LATER: &[&str] = &[];

/// Ops without gradient, for which PyTorch gives zeros.
const FLAT: &[&str] = &["sign", "floor", "ceil", "round"];

/// One case.
pub struct Case {
    /// Its name.
    pub name: String,
    op: String,
    args: Json,
    inputs: Vec<(String, Tensor)>,
    params: Vec<String>,
    before: Vec<(String, Tensor)>,
    cotangent: Option<Tensor>,
    /// What PyTorch computed.
    pub expected: Vec<(Role, Tensor)>,
}

/// The cases of a family.
pub fn cases(family: &str, precision: Precision) -> Vec<Case> {
    let folder = folder();
    let list = std::fs::read_to_string(folder.join(format!("{family}.json"))).unwrap();
    let kind = if precision == Precision::Double { ".f64" } else { "" };
    let bytes = std::fs::read(folder.join(format!("{family}{kind}.safetensors"))).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let list: Vec<Json> = serde_json::from_str(&list).unwrap();
    list.iter().map(|json| case(json, &tensors)).collect()
}

fn folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = here.ancestors().map(|a| a.join("tests/data/goldens")).find(|p| p.is_dir());
    found.expect("tests/data/goldens stands in the root of the repository")
}

fn case(json: &Json, tensors: &safetensors::SafeTensors<'_>) -> Case {
    let name = json["name"].as_str().unwrap().to_string();
    let load = |key: &str| -> Option<Tensor> {
        let view = tensors.tensor(&format!("{name}/{key}")).ok()?;
        let dtype = match view.dtype() {
            safetensors::Dtype::F32 => DType::F32,
            safetensors::Dtype::F64 => DType::F64,
            safetensors::Dtype::I64 => DType::I64,
            safetensors::Dtype::BOOL => DType::Bool,
            other => panic!("{name}/{key} is {other:?}"),
        };
        Tensor::from_bytes(dtype, view.shape(), view.data())
    };
    let strings = |key: &str| -> Vec<String> {
        let items = json[key].as_array().cloned().unwrap_or_default();
        items.iter().map(|s| s.as_str().unwrap().to_string()).collect()
    };
    let named = |keys: &[String], prefix: &str| -> Vec<(String, Tensor)> {
        keys.iter().map(|k| (k.clone(), load(&format!("{prefix}{k}")).unwrap())).collect()
    };
    let (inputs, params, buffers) = (strings("inputs"), strings("params"), strings("buffers"));
    let op = json["op"].as_str().unwrap().to_string();
    let mut expected: Vec<(Role, Tensor)> =
        strings("outputs").iter().map(|o| (Role::Result, load(o).unwrap())).collect();
    if !FLAT.contains(&op.as_str()) {
        expected.extend(strings("grads").iter().map(|g| (Role::Grad(g.clone()), load(&format!("grad.{g}")).unwrap())));
    }
    if json["args"]["mode"] == "train" {
        expected.extend(buffers.iter().map(|k| (Role::Update(k.clone()), load(&format!("after.{k}")).unwrap())));
    }
    Case {
        op,
        args: json["args"].clone(),
        inputs: named(&[inputs, params.clone()].concat(), ""),
        params,
        before: named(&buffers, "before."),
        cotangent: load("cotangent"),
        expected,
        name,
    }
}

impl Case {
    /// The values of the graph's inputs.
    pub fn inputs(&self) -> Inputs {
        let mut inputs: Inputs = self.inputs.iter().chain(&self.before).cloned().collect();
        inputs.extend(self.cotangent.clone().map(|c| ("cotangent".to_string(), c)));
        inputs
    }

    /// The graph, with outputs as in [`Case::expected`]; `None` for what does not exist yet.
    pub fn graph(&self) -> Option<Graph> {
        if LATER.contains(&self.name.as_str()) {
            return None;
        }
        let mut b = Builder::new();
        b.training = self.args["mode"] == "train";
        for (name, tensor) in &self.inputs {
            let kind = if self.params.contains(name) { InputKind::Param } else { InputKind::Arg };
            b.input(kind, name, tensor.ty());
        }
        let outs = self.build(&mut b);
        outs.iter().for_each(|&out| b.output(Role::Result, out));
        let out = outs[0];
        let wrt: Vec<&String> = self
            .expected
            .iter()
            .filter_map(|(role, _)| if let Role::Grad(name) = role { Some(name) } else { None })
            .collect();
        if wrt.is_empty() {
            return Some(b.finish());
        }
        let mut loss = out;
        if let Some(cotangent) = &self.cotangent {
            let cotangent = b.input(InputKind::Arg, "cotangent", cotangent.ty());
            loss = b.mul(out, cotangent).unwrap();
            let all: Vec<usize> = (0..b.rank(loss)).collect();
            loss = b.sum(loss, &all, false).unwrap();
        }
        let nodes: Vec<NodeId> = wrt.iter().map(|name| b.graph.input(name).unwrap().node).collect();
        let grads = gradient(&mut b, loss, &nodes).unwrap_or_else(|e| panic!("{}: {e:?}", self.name));
        for (name, grad) in wrt.into_iter().zip(grads) {
            let grad = grad.unwrap_or_else(|| panic!("{}: no gradient reaches {name}", self.name));
            b.output(Role::Grad(name.clone()), grad);
        }
        Some(b.finish())
    }

    /// The expected values with the numbers of the graph's outputs that they belong to.
    pub fn pairs(&self, graph: &Graph) -> Vec<(usize, &Role, &Tensor)> {
        let mut used = vec![];
        let mut pairs = vec![];
        for (role, expected) in &self.expected {
            let mut places = (0..graph.outputs.len()).filter(|i| graph.outputs[*i].role == *role && !used.contains(i));
            let at = places.next().unwrap_or_else(|| panic!("{}: there is no {role:?}", self.name));
            used.push(at);
            pairs.push((at, role, expected));
        }
        pairs
    }

    fn build(&self, b: &mut Builder) -> Vec<NodeId> {
        let input = |name: &str| b.graph.input(name).unwrap_or_else(|| panic!("{} has no {name}", self.name)).node;
        let first = input(&self.inputs[0].0);
        match self.layer() {
            Some((name, given)) => {
                let double = self.inputs.iter().any(|(_, tensor)| tensor.dtype == DType::F64);
                let dtype = if double { DType::F64 } else { DType::F32 };
                let def = nn::layer(name).unwrap_or_else(|| panic!("no layer {name}"));
                let layer = def.with(&given).unwrap_or_else(|e| panic!("{}: {e:?}", self.name)).of_dtype(dtype);
                let inputs = self.inputs.iter().filter(|(name, _)| !self.params.contains(name));
                let operands: Vec<Given> = inputs.map(|(name, _)| Given::positional(input(name))).collect();
                let bound = layer.bind("", &operands).unwrap_or_else(|e| panic!("{}: {e:?}", self.name));
                match layer.call(b, "", &bound).unwrap_or_else(|e| panic!("{}: {e}", self.name)) {
                    Value::Tensor(node) => vec![node],
                    Value::List(items) => items.into_iter().map(tensor).collect(),
                    other => panic!("{} gave {other:?}", self.name),
                }
            }
            None => self.method(b, first),
        }
    }

    /// The layer of the case and its arguments.
    fn layer(&self) -> Option<(&'static str, Vec<Given>)> {
        let int = |key: &str| self.args[key].as_i64().unwrap();
        let map = |from: &str, to: &str| Given::positional(Value::Map(int(from).into(), int(to).into()));
        let (name, mut given, skip): (_, _, &[&str]) = match self.op.as_str() {
            // With a weight among the inputs it is a method.
            "linear" | "conv1d" | "conv2d" | "conv3d" if self.args["in"].is_null() => return None,
            "linear" => ("Linear", vec![map("in", "out")], &["in", "out"]),
            "conv1d" => ("Conv1d", vec![map("in", "out")], &["in", "out"]),
            "conv2d" => ("Conv2d", vec![map("in", "out")], &["in", "out"]),
            "conv3d" => ("Conv3d", vec![map("in", "out")], &["in", "out"]),
            "max_pool2d" => ("MaxPool2d", vec![], &[]),
            "avg_pool2d" | "avg_pool2d_pad_exclude" | "avg_pool2d_pad" => ("AvgPool2d", vec![], &[]),
            "global_avg_pool" => ("AdaptiveAvgPool2d", vec![], &[]),
            "batch_norm2d" => ("BatchNorm2d", vec![], &["mode"]),
            "batch_norm1d" => ("BatchNorm1d", vec![], &["mode"]),
            "layer_norm" => ("LayerNorm", vec![Given::positional(int("dim"))], &["dim"]),
            "rms_norm" => ("RmsNorm", vec![Given::positional(int("dim"))], &["dim"]),
            "group_norm" => ("GroupNorm", vec![], &[]),
            "embedding" | "embedding_padding" => ("Embedding", vec![map("vocab", "dim")], &["vocab", "dim"]),
            "bilinear" => ("Bilinear", vec![], &[]),
            "conv_transpose2d" => ("ConvTranspose2d", vec![map("in", "out")], &["in", "out"]),
            "adaptive_avg_pool2d" => ("AdaptiveAvgPool2d", vec![], &[]),
            "upsample_nearest" | "upsample_bilinear" => ("Upsample", vec![], &[]),
            "pixel_shuffle" => ("PixelShuffle", vec![], &[]),
            "reflection_pad" => ("ReflectionPad2d", vec![], &[]),
            "instance_norm" => ("InstanceNorm2d", vec![Given::named("affine", true)], &[]),
            "multihead_attention" => ("MultiheadAttention", vec![], &[]),
            "transformer_encoder_layer" => ("TransformerEncoderLayer", vec![], &[]),
            "transformer_decoder_layer" => ("TransformerDecoderLayer", vec![], &[]),
            "rnn" => ("Rnn", vec![map("in", "hidden")], &["in", "hidden"]),
            "lstm" => ("Lstm", vec![map("in", "hidden")], &["in", "hidden"]),
            "gru" => ("Gru", vec![map("in", "hidden")], &["in", "hidden"]),
            "prelu" => ("PRelu", vec![Given::positional(5)], &[]),
            _ => return None,
        };
        for (key, value) in self.args.as_object().unwrap().iter().filter(|(k, _)| !skip.contains(&k.as_str())) {
            given.push(Given::named(key, argument(value)));
        }
        Some((name, given))
    }

    fn method(&self, b: &mut Builder, x: NodeId) -> Vec<NodeId> {
        let second = self.inputs.get(1).map(|(name, _)| b.graph.input(name).unwrap().node);
        let mut m = Methods { b, x };
        let y = match self.name.as_str() {
            "gelu_tanh" => m.with("gelu", &[("approximate", "tanh".into())]),
            "log" | "sqrt" | "rsqrt" => {
                m.then("abs", &[]);
                m.then("add", &[0.1.into()]);
                m.then(&self.op, &[])
            }
            "reciprocal" => {
                m.then("abs", &[]);
                m.then("add", &[0.5.into()]);
                m.then("reciprocal", &[])
            }
            "log1p" => {
                m.then("abs", &[]);
                m.then("log1p", &[])
            }
            "pow2_5" => {
                m.then("abs", &[]);
                m.then("add", &[0.1.into()]);
                m.then("pow", &[2.5.into()])
            }
            "ctc_of_logits" => {
                let of = second.unwrap();
                m.then("log_softmax", &[]);
                m.then("ctc", &[of.into()])
            }
            "sum_axis" => m.then("sum", &[0.into()]),
            "mean_axis" => m.with("mean", &[("axis", (-1).into()), ("keepdim", true.into())]),
            "max_axis" => m.then("max", &[(-1).into()]),
            "min_axis" => m.then("min", &[0.into()]),
            "prod_axis" => m.then("prod", &[(-1).into()]),
            "var_axis" => m.with("var", &[("axis", (-1).into()), ("correction", 0.into())]),
            "std_axis" => m.then("std", &[(-1).into()]),
            "logsumexp" | "norm" | "flip" => m.then(&self.op, &[(-1).into()]),
            "transpose" => m.then("transpose", &[0.into(), 1.into()]),
            "reshape" => m.then("reshape", &[Value::Infer]),
            "slice" => {
                let ranges = vec![Value::Range(Some(1.into()), Some(3.into())), Value::Range(None, None)];
                m.with("slice", &[("ranges", Value::List(ranges)), ("step", vec![1, 2].into())])
            }
            "pad" => m.then("pad", &[vec![1, 2].into()]),
            "roll" => m.then("roll", &[2.into(), (-1).into()]),
            "clamp" => m.then("clamp", &[(-0.5).into(), 0.7.into()]),
            "where" => {
                let y = m.b.graph.input("y").unwrap().node;
                m.then("where_", &[second.unwrap().into(), y.into()])
            }
            "einsum_bij_bjk" => {
                let pattern = self.args["equation"].as_str().unwrap();
                m.call(
                    "einsum",
                    &[Given::positional(pattern), Given::positional(x), Given::positional(second.unwrap())],
                )
            }
            "concat" | "stack" => {
                let parts = Given::positional(vec![x, second.unwrap()]);
                m.call(&self.op, &[parts, Given::named("axis", 1)])
            }
            "scatter_add" => {
                let src = m.b.graph.input("src").unwrap().node;
                m.then("scatter_add", &[second.unwrap().into(), src.into(), 0.into()])
            }
            _ => {
                let node = |name: &str| m.b.graph.input(name).unwrap().node;
                let (mut given, mut named): (Vec<Given>, Vec<Given>) = (vec![], vec![]);
                for (key, value) in self.args.as_object().unwrap().iter().filter(|(k, _)| *k != "weight") {
                    named.push(Given::named(key, with_inputs(value, &node)));
                }
                // A function of a list of tensors names its inputs there.
                let listed = self.args.get("tensors").is_some();
                for (i, (name, _)) in self.inputs.iter().enumerate().filter(|_| !listed) {
                    let of_name = nn::method(&self.op).is_some_and(|m| m.params.iter().any(|p| p.name == name));
                    match i > 0 && of_name {
                        true => named.push(Given::named(name, node(name))),
                        false => given.push(Given::positional(node(name))),
                    }
                }
                given.extend(named);
                m.call(&self.op, &given)
            }
        };
        let node = |value: &Value| match value {
            Value::Tensor(node) => *node,
            other => panic!("{} gave {other:?}", self.name),
        };
        match &y {
            Value::List(items) => items.iter().map(node).collect(),
            one => vec![node(one)],
        }
    }
}

/// Calls methods one after the other.
struct Methods<'a> {
    b: &'a mut Builder,
    x: NodeId,
}

impl Methods<'_> {
    fn call(&mut self, name: &str, given: &[Given]) -> Value {
        let method = nn::method(name).unwrap_or_else(|| panic!("no method {name}"));
        let args = method.bind(given).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let value = method.build(self.b, &args).unwrap_or_else(|e| panic!("{name}: {e}"));
        if let Value::Tensor(node) = value {
            self.x = node;
        }
        value
    }

    /// The method of the last result, with positional arguments.
    fn then(&mut self, name: &str, args: &[Value]) -> Value {
        let given: Vec<Given> = [self.x.into()].iter().chain(args).cloned().map(Given::positional).collect();
        self.call(name, &given)
    }

    /// The method of the last result, with named arguments.
    fn with(&mut self, name: &str, args: &[(&str, Value)]) -> Value {
        let mut given = vec![Given::positional(self.x)];
        given.extend(args.iter().map(|(name, value)| Given::named(name, value.clone())));
        self.call(name, &given)
    }
}

fn tensor(value: Value) -> NodeId {
    match value {
        Value::Tensor(node) => node,
        other => panic!("{other:?} is no tensor"),
    }
}

/// An argument in which "$NAME" is the input of that name.
fn with_inputs(json: &Json, input: &impl Fn(&str) -> NodeId) -> Value {
    match json {
        Json::String(v) if v.starts_with('$') => input(&v[1..]).into(),
        Json::Array(items) => Value::List(items.iter().map(|item| with_inputs(item, input)).collect()),
        other => argument(other),
    }
}

fn argument(json: &Json) -> Value {
    match json {
        Json::String(v) if v == "_" => Value::Infer,
        Json::String(v) if DType::from_name(v).is_some() => DType::from_name(v).unwrap().into(),
        Json::Bool(v) => (*v).into(),
        Json::String(v) => v.as_str().into(),
        Json::Array(items) => Value::List(items.iter().map(argument).collect()),
        Json::Number(v) => v.as_i64().map_or_else(|| v.as_f64().unwrap().into(), Value::from),
        other => panic!("{other}"),
    }
}
