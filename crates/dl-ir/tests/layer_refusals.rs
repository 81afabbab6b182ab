//! Why layers and methods refuse operands and arguments, in the user's terms.

#[path = "support/nn.rs"]
mod nn;

use dl_ir::nn::{Given, Value};
use dl_ir::{Builder, InputKind};
use nn::{layer, map, named, pos, refusal, ty};

/// The sentence with which the layer refuses a call.
fn refused(name: &str, given: &[Given], operands: &[&str]) -> String {
    let mut b = Builder::new();
    let mut call = vec![];
    for (i, text) in operands.iter().enumerate() {
        let (by, text) = text.split_once(": ").map_or((None, *text), |(by, text)| (Some(by), text));
        let node = b.input(InputKind::Arg, &format!("x{i}"), ty(text));
        call.push(by.map_or_else(|| pos(node), |by| named(by, node)));
    }
    let layer = match layer(name, given) {
        Ok(layer) => layer,
        Err(errors) => return errors[0].to_string(),
    };
    let bound = match layer.bind("l", &call) {
        Ok(bound) => bound,
        Err(errors) => return errors[0].to_string(),
    };
    let error = layer.call(&mut b, "l", &bound).map(|v| v.describe()).unwrap_err();
    error.describe(&format!("`l` ({name})"), &["`x`", "`y`", "`z`"].map(String::from))
}

#[test]
fn layers_explain_what_does_not_fit() {
    let attention = [pos(8), pos(4)];
    let cases: &[(&str, &[Given], &[&str], &str)] = &[
        ("MultiheadAttention", &[pos(8), pos(3)], &["f32[N, T, 8]"], "8 features do not divide into 3 heads"),
        (
            "MultiheadAttention",
            &[pos(8), pos(4), named("kv_heads", 3)],
            &["f32[N, T, 8]"],
            "4 heads of the query do not",
        ),
        ("MultiheadAttention", &[pos(dim_value("D")), pos(4)], &["f32[N, T, D]"], "it does with `require D % 4 == 0;`"),
        (
            "MultiheadAttention",
            &attention,
            &["f32[N, T, 6]"],
            "`l` (MultiheadAttention) takes 8 features, but `x` is f32[N, T, 6]; `MultiheadAttention(6, 4)` would accept it",
        ),
        (
            "MultiheadAttention",
            &attention,
            &["f32[N, T, 8]", "f32[M, S, 8]"],
            "the axes before the last two must agree",
        ),
        ("MultiheadAttention", &attention, &["f32[N, T, 8]", "f32[N, S, 8]", "f32[N, R, 8]"], "a value for each key"),
        ("MultiheadAttention", &attention, &["f32[N, T, 8]", "f64[N, S, 8]"], "takes f32, but `y` is f64[N, S, 8]"),
        (
            "MultiheadAttention",
            &attention,
            &["f32[N, T, 8]", "mask: bool[T]"],
            "`y` is bool[T], but there are T queries",
        ),
        ("MultiheadAttention", &attention, &["f32[N, T, 8]", "mask: i64[T, T]"], "takes a bool mask, or f32"),
        (
            "MultiheadAttention",
            &attention,
            &["f32[N, T, 8]", "key_padding_mask: f32[N, T]"],
            "`y` is f32[N, T]; compare to make it",
        ),
        (
            "MultiheadAttention",
            &attention,
            &["f32[N, T, 8]", "key_padding_mask: bool[T, N]"],
            "an element for each key: [N, T]",
        ),
        ("MultiheadAttention", &attention, &["f32[N, T, 8]", "masc: bool[T, T]"], "did you mean `mask`?"),
        (
            "TransformerEncoderLayer",
            &[pos(8), pos(2), named("batch_first", false)],
            &[],
            "brings [T, N, features] there",
        ),
        ("TransformerDecoderLayer", &[pos(8), pos(2)], &["f32[N, T, 8]"], "`l` needs `memory`, what it attends to"),
        ("TransformerEncoderLayer", &[pos(8), pos(2)], &["f32[N, T, 6]"], "takes 8 features"),
        ("TransformerEncoder", &[pos(8), pos(2), pos(0)], &[], "a stack has 1 to 256 layers"),
        ("TransformerEncoderLayer", &[pos(8), pos(2), named("dropout", 2.0)], &[], "is a probability"),
        ("Bilinear", &[pos(3), pos(4), pos(5)], &["f32[N, 3]"], "`l` needs `y`, another tensor"),
        (
            "Bilinear",
            &[pos(3), pos(4), pos(5)],
            &["f32[N, 3]", "f32[N, 7]"],
            "takes 4 features, but `y` is f32[N, 7]; `Bilinear(3, 7, 5)` would accept it",
        ),
        ("Bilinear", &[pos(3), pos(4), pos(5)], &["f32[N, 3]", "f32[M, 4]"], "the axes before the last must agree"),
        ("ConvTranspose2d", &[map(2, 3), pos(3), named("output_padding", 1)], &[], "must be below the stride, 1"),
        (
            "ConvTranspose2d",
            &[map(2, 3), pos(3), named("groups", 2)],
            &[],
            "3 channels out do not divide into 2 groups",
        ),
        ("ConvTranspose1d", &[map(2, 3), pos(1), named("padding", 3)], &["f32[N, 2, 4]"], "would come out with -2"),
        ("ReflectionPad2d", &[pos(4)], &["f32[N, 1, 4, 9]"], "axis 2, of size 4, can be continued by 3 elements"),
        ("ReflectionPad2d", &[pos(vec![1, 2])], &["f32[N, 1, 4, 9]"], "`padding` is one number or 4 in a row"),
        ("CircularPad1d", &[pos(5)], &["f32[N, 4]"], "by 4 elements of its own at most, but 5"),
        (
            "Conv1d",
            &[map(1, 1), pos(3), named("padding", 4), named("padding_mode", "reflect")],
            &["f32[N, 1, 3]"],
            "axis 2",
        ),
        ("Conv1d", &[map(1, 1), pos(3), named("padding_mode", "mirror")], &[], "must be one of \"zeros\", \"reflect\""),
        ("AdaptiveMaxPool1d", &[pos(3)], &["f32[N, 2, T]"], "need a size known at compile time"),
        ("Upsample", &[], &["f32[N, 2, T]"], "interpolation needs `size` or `scale`"),
        ("Upsample", &[pos(4), named("scale", 2.0)], &["f32[N, 2, T]"], "say the same"),
        ("Upsample", &[pos(4), named("mode", "bilinear")], &["f32[N, 2, T]"], "\"linear\""),
        ("Upsample", &[named("scale", 1.5)], &["f32[N, 2, T]"], "say the `size`"),
        ("Upsample", &[named("scale", 2.0), named("align_corners", true)], &["f32[N, 2, T]"], "for linear modes"),
        ("PixelShuffle", &[pos(2)], &["f32[N, 6, H, W]"], "6 channels do not divide into parts of 4"),
        ("PixelUnshuffle", &[pos(2)], &["f32[N, 6, 5, W]"], "5 rows do not divide into parts of 2"),
        ("LearnedPositionalEncoding", &[map(4, 8)], &["f32[N, 5, 8]"], "5 positions, but only 4 have an encoding"),
        (
            "LearnedPositionalEncoding",
            &[map(4, 8)],
            &["f32[N, 3, 6]"],
            "`LearnedPositionalEncoding(4 => 6)` would accept it",
        ),
        ("PositionalEncoding", &[], &["f32[N, T, 5]"], "an even number of features, but there are 5"),
        ("EmbeddingBag", &[map(5, 3)], &["i64[N, 4]", "per_sample_weights: f32[N, 4]"], "go with mode = \"sum\""),
        ("InstanceNorm2d", &[pos(3)], &["f32[N, 4, H, W]"], "`InstanceNorm2d(4)` would accept it"),
        ("CosineSimilarity", &[], &["f32[N, 5]", "f32[N, 6]"], "they must have one shape and element type"),
        ("GumbelSoftmax", &[named("tau", 0.0)], &["f32[N, 5]"], "`tau` must be a positive number"),
        ("Unflatten", &[pos(1), pos(vec![4, -1])], &["f32[N, 6]"], "does not divide into parts of 4"),
    ];
    for (name, given, operands, message) in cases {
        let sentence = refused(name, given, operands);
        assert!(sentence.contains(message), "{name}: {sentence}");
    }
    let methods: &[(&str, &[&str], &[Given], &str)] = &[
        (
            "sdpa",
            &["f32[N, T, 4]", "f32[N, S, 5]", "f32[N, S, 4]"],
            &[],
            "queries and keys must have the same last axis",
        ),
        ("sdpa", &["f32[N, T, 4]", "f32[N, S, 4]", "f32[N, R, 4]"], &[], "there must be a value for each key"),
        ("sdpa", &["f32[N, T, 4]", "f32[N, S, 4]", "f32[N, S, 4]", "bool[S, T]"], &[], "but the scores are [N, T, S]"),
        (
            "sdpa",
            &["f32[N, 3, T, 4]", "f32[N, 2, S, 4]", "f32[N, 2, S, 4]"],
            &[named("enable_gqa", true)],
            "must be a multiple of those of the second",
        ),
        ("rope", &["f32[N, T, 5]"], &[], "an even number of features"),
        ("rope", &["f32[N, T, 4]"], &[named("base", -1.0)], "`base` must be a positive number"),
    ];
    for (name, types, given, message) in methods {
        let sentence = refusal(name, types, given);
        assert!(sentence.contains(message), "{name}: {sentence}");
    }
}

fn dim_value(symbol: &str) -> Value {
    Value::Int(nn::dim(symbol))
}
