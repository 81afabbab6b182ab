use dl_ir::{FnKind, Module};

use super::*;
use crate::syntax::parse;

/// Resolves the first model of `source`: the module, and each error with the text that it points at.
fn resolved(source: &str) -> (Option<Module>, Vec<(String, String)>) {
    let mut diagnostics = Diagnostics::default();
    let models = parse(source.parse().expect("tokens"), &mut diagnostics);
    let complete = diagnostics.is_empty();
    let module = resolve(&models[0], complete, &mut diagnostics).module;
    let errors = diagnostics.iter().map(|error| (text_at(source, error.span()), error.to_string())).collect();
    (module, errors)
}

fn text_at(source: &str, span: Span) -> String {
    let (start, end) = (span.start(), span.end());
    let lines: Vec<&str> = source.lines().collect();
    let cut = |line: &str, from: usize, to: usize| line.chars().skip(from).take(to - from).collect::<String>();
    if start.line == end.line {
        return cut(lines[start.line - 1], start.column, end.column);
    }
    cut(lines[start.line - 1], start.column, usize::MAX)
}

fn module(source: &str) -> Module {
    let (module, errors) = resolved(source);
    assert_eq!(errors, []);
    module.expect("a module")
}

/// The only error of a model.
fn error(items: &str) -> (String, String) {
    let (module, mut errors) = resolved(&format!("model Net {{ {items} }}"));
    assert!(module.is_none());
    assert_eq!(errors.len(), 1, "{errors:#?}");
    errors.remove(0)
}

/// The values of the constants in the first function.
fn constants(module: &Module) -> Vec<f64> {
    let nodes = module.functions[0].graph.nodes.iter().filter(|n| n.op == dl_ir::Op::Const);
    nodes.flat_map(|n| n.attrs.get_scalars("values").iter().map(|v| v.as_f64())).collect()
}

fn names(module: &Module) -> Vec<&str> {
    module.params.iter().map(|p| p.name.as_str()).collect()
}

#[test]
fn parameters_are_named_and_shaped_as_in_pytorch() {
    let module = module(
        "model Net {
            const WIDTH = 16;
            block Attn(DIM) {
                let q = Linear(DIM => DIM);
                fn forward(x: f32[B, DIM]) -> f32[B, DIM] { q(x) }
            }
            block Layer(DIM, HIDDEN = 2 * WIDTH) {
                let attn = Attn(DIM);
                let mlp = [Linear(DIM => HIDDEN), Relu, Linear(HIDDEN => DIM)];
                fn forward(x: f32[B, DIM]) -> f32[B, DIM] { x + mlp(attn(x)) }
            }
            let conv1 = Conv2d(1 => 4, kernel = 3);
            let blocks = [Layer(WIDTH); 2];
            let head = [Linear(WIDTH => 10)];
            pub fn forward(x: f32[N, 1, 4, 4]) -> f32[N, 10] {
                head(blocks(conv1(x).flatten()))
            }
        }",
    );
    let types: Vec<String> = module.params[..2].iter().map(|p| p.ty.to_string()).collect();
    assert_eq!(types, ["f32[4, 1, 3, 3]", "f32[4]"]);
    assert_eq!(
        names(&module),
        [
            "conv1.weight",
            "conv1.bias",
            "blocks.0.attn.q.weight",
            "blocks.0.attn.q.bias",
            "blocks.0.mlp.0.weight",
            "blocks.0.mlp.0.bias",
            "blocks.0.mlp.2.weight",
            "blocks.0.mlp.2.bias",
            "blocks.1.attn.q.weight",
            "blocks.1.attn.q.bias",
            "blocks.1.mlp.0.weight",
            "blocks.1.mlp.0.bias",
            "blocks.1.mlp.2.weight",
            "blocks.1.mlp.2.bias",
            "head.0.weight",
            "head.0.bias",
        ]
    );
}

#[test]
fn calling_a_layer_twice_shares_its_weights() {
    let module = module(
        "model Net {
            let layer = Linear(4 => 4);
            pub fn forward(x: f32[N, 4]) -> f32[N, 4] { layer(layer(x)) }
        }",
    );
    let params = module.functions[0].graph.inputs.iter().filter(|i| i.kind == dl_ir::InputKind::Param).count();
    assert_eq!((params, names(&module).len()), (2, 2));
    assert_eq!(module.functions[0].calls.len(), 2);
}

#[test]
fn calls_are_inlined_with_the_callers_dimensions() {
    let module = module(
        "model Net {
            fn rows(x: f32[N, 2 * T]) -> f32[N, T] { x.reshape([N, T, 2]).sum(axis = 2) }
            pub fn forward(a: f32[M, 6, K]) -> f32[M * K, 3] {
                rows(a.permute(0, 2, 1).reshape([M * K, 6]))
            }
        }",
    );
    let graph = &module.functions[0].graph;
    let result = graph.results().next().expect("a result");
    assert_eq!(graph.ty(result).to_string(), "f32[K*M, 3]");
}

#[test]
fn dims_and_facts_reach_the_module() {
    let module = module(
        "model Net {
            dim DIM, HEADS;
            require DIM % HEADS == 0;
            let qkv = Linear(DIM => DIM);
            pub fn split(x: f32[N, DIM]) -> f32[N, HEADS, DIM / HEADS] {
                qkv(x).reshape([N, HEADS, DIM / HEADS])
            }
        }",
    );
    assert_eq!(module.dims, ["DIM", "HEADS"]);
    assert_eq!(module.facts.divides().len(), 1);
    assert_eq!(module.params[0].ty.to_string(), "f32[DIM, DIM]");
}

#[test]
fn places_in_the_source_are_lines_and_columns_from_one() {
    let module = module(
        "model Net {
    let layer = Linear(4 => 4);
    pub fn f(x: f32[N, 4]) -> f32[N, 4] {
        layer(x)
            .exp()
    }
}",
    );
    let graph = &module.functions[0].graph;
    let place = |op| {
        let node = graph.nodes.iter().find(|n| n.op == op).expect("the op");
        module.locs[node.loc.0 as usize]
    };
    assert_eq!((place(dl_ir::Op::Dot), place(dl_ir::Op::Exp)), ((4, 9), (5, 14)));
}

#[test]
fn a_training_graph_stands_beside_the_evaluation_graph() {
    let module = module(
        "model Net {
            let head = [Linear(4 => 8), Dropout(0.5), Linear(8 => 2)];
            fn logits(x: f32[N, 4]) -> f32[N, 2] { head(x) }
            #[train]
            pub fn loss(x: f32[N, 4], label: i64[N]) -> f32 { logits(x).cross_entropy(label) }
            #[train(only = head.2)]
            pub fn last(x: f32[N, 4], label: i64[N]) -> f32 { logits(x).cross_entropy(label) }
        }",
    );
    let kinds: Vec<(&str, FnKind)> = module.functions.iter().map(|f| (f.name.as_str(), f.kind)).collect();
    assert_eq!(
        kinds,
        ["loss", "last"].map(|name| [FnKind::Eval, FnKind::Train, FnKind::Grad].map(|kind| (name, kind))).concat()
    );
    let gradients = |i: usize| -> Vec<String> {
        let outputs = &module.functions[i].graph.outputs;
        outputs
            .iter()
            .filter_map(|o| if let dl_ir::Role::Grad(name) = &o.role { Some(name.clone()) } else { None })
            .collect()
    };
    assert_eq!(gradients(1), ["head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias"]);
    assert_eq!(gradients(2), gradients(1));
    assert_eq!(gradients(4), ["head.2.weight", "head.2.bias"]);
    assert_eq!(gradients(5), gradients(4));
    let random = |i: usize| module.functions[i].graph.nodes.iter().any(|n| n.op == dl_ir::Op::Random);
    assert!(!random(0) && random(1) && !random(2));
}

#[test]
fn one_graph_with_gradients_serves_where_the_mode_makes_no_difference() {
    let kinds = |layer: &str| -> Vec<FnKind> {
        let source = format!(
            "model Net {{
                let fc = Linear(4 => 8);
                let layer = {layer};
                #[train]
                pub fn loss(x: f32[N, 4]) -> f32 {{ (layer(fc(x)) + randn([N, 8])).mean() }}
            }}"
        );
        module(&source).functions.iter().map(|f| f.kind).collect()
    };
    for layer in ["Relu", "LayerNorm(8)", "Dropout(0.0)"] {
        assert_eq!(kinds(layer), [FnKind::Eval, FnKind::Train], "{layer}");
    }
    for layer in ["Dropout(0.5)", "BatchNorm1d(8)"] {
        assert_eq!(kinds(layer), [FnKind::Eval, FnKind::Train, FnKind::Grad], "{layer}");
    }
}

#[test]
fn a_wrong_feature_count_names_layer_input_and_fix() {
    let (at, message) = error(
        "let conv = Conv2d(1 => 64, kernel = 3);
         let head = [Linear(64 * 7 * 7 => 128), Relu];
         pub fn forward(x: f32[N, 1, 12, 12]) -> f32[N, 128] {
             let h = conv(x).max_pool2d(2);
             head(h.flatten())
         }",
    );
    assert_eq!(at, "h.flatten()");
    assert_eq!(
        message,
        "`head.0` (Linear) takes 3136 features, but `h.flatten()` is f32[N, 1600]; `Linear(1600 => 128)` would accept it\
         ; `h` is f32[N, 64, 5, 5]; 3136 is `64 * 7 * 7`"
    );
}

#[test]
fn a_chain_goes_on_after_a_mistake() {
    let (_, errors) = resolved(
        "model Net {
            let a = Linear(4 => 8);
            let b = Linear(9 => 2);
            pub fn forward(x: f32[N, 5]) -> f32[N, 3] { b(a(x)) }
        }",
    );
    let places: Vec<&str> = errors.iter().map(|(at, _)| at.as_str()).collect();
    assert_eq!(places, ["x", "a(x)", "b(a(x))"], "{errors:#?}");
}

#[test]
fn an_error_in_a_block_is_reported_once() {
    let (at, message) = error(
        "block Mlp(DIM) {
             let up = Linear(DIM => 8);
             let down = Linear(9 => DIM);
             fn forward(x: f32[N, DIM]) -> f32[N, DIM] { down(up(x)) }
         }
         let mlps = [Mlp(4); 3];
         pub fn forward(x: f32[N, 4]) -> f32[N, 4] { mlps(mlps(x)) }",
    );
    assert_eq!(at, "up(x)");
    assert!(message.contains("takes 9 features, but `up(x)` is f32[N, 8]"), "{message}");
}

#[test]
fn an_argument_may_be_called_key_beside_random_numbers() {
    let module = module(
        "model Net {
            pub fn noisy(key: f32[N]) -> f32[N] { key + randn([N]) }
        }",
    );
    let kinds: Vec<_> = module.functions[0].graph.inputs.iter().map(|i| i.kind).collect();
    assert_eq!(kinds, [dl_ir::InputKind::Arg, dl_ir::InputKind::Key]);
}

#[test]
fn numbers_are_computed_at_compile_time() {
    let module = module(
        "model Net {
            const DIM = 16;
            const RATE = 1.0 / (DIM as f32).sqrt();
            pub fn scale(x: f32[N, DIM]) -> f32[N, DIM] { x * RATE * 2.0.powf(2.0) + DIM }
        }",
    );
    assert_eq!(constants(&module), [0.25, 4.0, 16.0]);
}

#[test]
fn constants_of_rusts_floats_are_numbers() {
    let module = module(
        "model Net {
            const TURN = std::f32::consts::TAU;
            pub fn hide(x: f32[N], mask: bool[N]) -> f32[N] { (TURN * x).masked_fill(mask, -f32::INFINITY) }
        }",
    );
    assert_eq!(constants(&module), [std::f64::consts::TAU, f64::NEG_INFINITY].map(|c| f64::from(c as f32)));
    let (place, message) = error("pub fn hide(x: f32[N]) -> f32[N] { x + f32::INFINITI }");
    assert_eq!(place, "f32::INFINITI");
    assert!(message.contains("constants of floats such as `f32::INFINITY`"), "{message}");
}

#[test]
fn layers_by_pytorchs_spelling_are_told_the_one_here() {
    for (theirs, ours) in [("GRU(3 => 4)", "Gru"), ("ELU", "Elu"), ("Hardtanh", "HardTanh"), ("RMSNorm(3)", "RmsNorm")]
    {
        let (_, message) = error(&format!("let layer = {theirs}; pub fn f(x: f32[N, 3]) -> f32[N, 3] {{ layer(x) }}"));
        assert!(message.ends_with(&format!("did you mean `{ours}`?")), "{message}");
    }
}
