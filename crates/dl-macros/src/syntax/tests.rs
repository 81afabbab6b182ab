use super::*;
use crate::diag::{Diagnostics, source_text};

fn parsed(source: &str) -> (Vec<Model>, Vec<String>) {
    let mut diagnostics = Diagnostics::default();
    let models = parse(source.parse().expect("tokens"), &mut diagnostics);
    (models, diagnostics.messages())
}

#[test]
fn a_whole_model_parses() {
    let (models, errors) = parsed(
        "/// Doc.
        pub(crate) model Net {
            const HEADS = 8;
            dim HIDDEN, OUT;
            dtype f64;
            require HIDDEN % HEADS == 0;
            block Attn(DIM, H = 4) {
                let q = Linear(DIM => DIM);
                fn forward(x: f32[B, DIM]) -> f32[B, DIM] { q(x) }
            }
            let conv = Conv2d(1 => 32, kernel = (3, 5), padding = 1);
            let head = [Linear(64 * 7 => HIDDEN), Relu, [Attn(HIDDEN, H = 2); 4], [Relu]];
            #[train(only = conv, head.0)]
            #[must_use]
            pub fn loss(x: f32[N, 1, 2 * HIDDEN], label: i64[N], rate: f32) -> (f32, f32[]) {
                let h = conv(x).max_pool2d(2, stride = 2);
                (h.mean(), rate)
            }
        }
        model Second {}",
    );
    assert_eq!(errors, Vec::<String>::new());
    let [net, second] = models.as_slice() else { panic!("two models") };
    assert_eq!(second.name, "Second");
    let body = &net.body;
    assert_eq!((body.consts.len(), body.dims.len(), body.facts.len(), body.blocks.len()), (1, 2, 1, 1));
    assert!(body.dtype.as_ref().is_some_and(|name| name == "f64") && second.body.dtype.is_none());
    assert_eq!(body.blocks[0].params[1].default.as_ref().map(source_text).as_deref(), Some("4"));
    let Some(Layer::Call(conv)) = &body.layers[0].layer else { panic!("a call") };
    assert!(matches!(conv.args.as_slice(), [LayerArg::Map(..), LayerArg::Named(..), LayerArg::Named(..)]));
    let Some(Layer::Sequence(_, head)) = &body.layers[1].layer else { panic!("a sequence") };
    assert!(matches!(head.as_slice(), [Layer::Call(_), Layer::Call(_), Layer::Repeat(..), Layer::Sequence(..)]));
    let loss = &body.functions[0];
    let only: Vec<_> = loss.train.as_ref().unwrap().only.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((only, loss.attrs.len(), loss.body.len()), (vec!["conv", "head.0"], 1, 2));
    assert_eq!(loss.signature.as_ref().unwrap().results.types().len(), 2);
}

#[test]
fn every_broken_item_is_reported_and_keeps_its_name() {
    let (models, errors) = parsed(
        "model Net {
            let a = Linear(1 => );
            let b = 5;
            lett c = Relu;
            const K 8;
            let d = Relu
            let e = Relu;
            fn f(x) -> f32 { x }
            fn g(x: f32[N]) { x }
            fn h(x: f32[N]) -> f32[N] { let y = x +; let (p, q) = ; y; z( }
        }"
        .replace("z( }", "z }")
        .as_str(),
    );
    assert_eq!(errors.len(), 9, "{errors:#?}");
    assert!(errors[2].contains("did you mean `let`?"), "{}", errors[2]);
    assert!(errors.iter().any(|e| e == "expected `;` after the layer"));
    assert!(errors.iter().any(|e| e.contains("expected a type: `x: f32[N, 10]`")));
    let body = &models[0].body;
    let names: Vec<String> = body.layers.iter().map(|l| l.name.to_string()).collect();
    assert_eq!(names, ["a", "b", "d", "e"]);
    assert!(body.layers[0].layer.is_none() && body.layers[3].layer.is_some());
    assert_eq!(body.functions.iter().filter(|f| f.signature.is_none()).count(), 2);
    assert_eq!(body.functions[2].body.len(), 5, "y, p and q stay bound; `y;` and `z` are whole");
}

#[test]
fn a_bad_model_header_does_not_hide_the_next_model() {
    let (models, errors) = parsed("pub modle Net { let a = Relu; } model Good {}");
    assert_eq!(errors, ["expected `model Name { ... }`; did you mean `model`?"]);
    assert_eq!(models.len(), 1);
}

#[test]
fn misplaced_words_are_explained() {
    let (_, errors) = parsed(
        "model Net {
            pub let a = Relu;
            dim H = 3;
            const K: usize = 4;
            block B(DIM: usize) {}
            block C { dim X; pub fn forward(x: f32[N]) -> f32[N] { x } }
            fn f<T>(x: f32[N]) -> f32[N] { x }
            fn g(&self) -> f32 { 1.0 }
            fn h() -> () { }
            #[train(onyl = a)] pub fn loss() -> f32 { 0.0 }
        }",
    );
    let expected = [
        "have a visibility",
        "gets its value in `new`",
        "has no type",
        "has no type",
        "takes its dimensions as arguments",
        "have no visibility",
        "have no generics",
        "without `self`",
        "at least one tensor",
        "expected `only = layer",
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, part) in errors.iter().zip(expected) {
        assert!(error.contains(part), "{error} should say: {part}");
    }
}
