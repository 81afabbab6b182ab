use proc_macro2::TokenStream;

use super::expand;

/// The expansion of a model as formatted Rust, with the module's text cut out: that has tests of its own.
fn expanded(source: &str) -> String {
    let tokens: TokenStream = format!("[::dl] {source}").parse().expect("tokens");
    let file = syn::parse2(expand(tokens)).expect("items");
    let code = prettyplease::unparse(&file);
    let lines = code.lines().map(|line| match line.trim_start().starts_with("text: \"dlir") {
        true => "text: \"...\",",
        false => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn lenet() {
    insta::assert_snapshot!(expanded(
        "/// Convolutional classifier of 28x28 grey digits.
        pub model LeNet {
            let conv1 = Conv2d(1 => 32, kernel = 3, padding = 1);
            let conv2 = Conv2d(32 => 64, kernel = 3, padding = 1);
            let head = [Linear(64 * 7 * 7 => 128), Relu, Dropout(0.25), Linear(128 => 10)];

            pub fn forward(x: f32[N, 1, 28, 28]) -> f32[N, 10] {
                let h = conv1(x).relu().max_pool2d(2);
                let h = conv2(h).relu().max_pool2d(2);
                head(h.flatten())
            }

            #[train]
            pub fn loss(x: f32[N, 1, 28, 28], label: i64[N]) -> f32 {
                forward(x).cross_entropy(label)
            }
        }"
    ));
}

#[test]
fn dims_scalars_tuples_and_high_ranks() {
    insta::assert_snapshot!(expanded(
        "model Net {
            dim HIDDEN, OUT;
            let layer = Linear(HIDDEN => OUT);

            /// Documented.
            #[must_use]
            pub(crate) fn all(x: f32[N, HIDDEN], rate: f64, y: u8[A, B, C, D, E, F, G]) -> (f32[N, OUT], f64, u8[A, B, C, D, E, F, G]) {
                (layer(x), rate, y)
            }

            pub fn single(x: bool) -> (bool,) {
                (x,)
            }
        }"
    ));
}

#[test]
fn a_model_in_error_keeps_its_methods() {
    insta::assert_snapshot!(expanded(
        "pub model Net {
            let layer = Liner(4 => 2);

            #[train(only = layer)]
            pub fn loss(x: f23[N, 4]) -> f32[N] {
                layer(x)
            }
        }"
    ));
}

#[test]
fn without_the_path_of_dl_there_is_a_hint() {
    let output = expand("model Net {}".parse().expect("tokens")).to_string();
    assert!(output.contains("use this macro as `dl::model!`"), "{output}");
}

#[test]
fn the_embedded_text_is_the_module() {
    let tokens = "[::dl] model Net { let a = Linear(4 => 2); pub fn f(x: f32[N, 4]) -> f32[N, 2] { a(x) } }";
    let output = expand(tokens.parse().expect("tokens"));
    let text = literals(output).into_iter().find(|text| text.starts_with("dlir")).expect("a module");
    let module = dl_ir::text::parse_module(&text).expect("the text form");
    assert_eq!(module.name, "Net");
    assert_eq!(dl_ir::text::print_module(&module), text);
}

/// All string literals in some tokens.
fn literals(tokens: TokenStream) -> Vec<String> {
    tokens
        .into_iter()
        .flat_map(|token| match token {
            proc_macro2::TokenTree::Group(group) => literals(group.stream()),
            proc_macro2::TokenTree::Literal(literal) => {
                syn::parse_str::<syn::LitStr>(&literal.to_string()).map(|lit| lit.value()).into_iter().collect()
            }
            _ => Vec::new(),
        })
        .collect()
}
