//! Every way of leaving out, doubling, exchanging or replacing one token of some models: the macro never panics, and
//! what it expands to is always Rust.

use proc_macro2::{Group, Literal, TokenStream, TokenTree};

use super::expand;

const MODELS: [&str; 3] = [
    "model Double {
        dtype f64;
        let pair = Bilinear(2, 3, out = 4, bias = true);
        let attn = MultiheadAttention(4, 2);
        pub fn forward(x: f64[N, 2], y: f64[N, 3], seen: bool[N, 1]) -> f64[N, 4] {
            let z = pair(x, y = y).unsqueeze(1);
            attn(z, z, key_padding_mask = seen).squeeze(1)
        }
    }",
    "/// Doc.
    pub model Net {
        const HEADS = 2;
        dim DIM;
        require DIM % HEADS == 0;
        block Attention(WIDTH, COUNT = 2) {
            let qkv = Linear(WIDTH => 3 * WIDTH, bias = false);
            fn forward(x: f32[B, T, WIDTH]) -> f32[B, T, WIDTH] {
                let (q, k) = split(qkv(x));
                let weights = einsum(\"bhtd,bhsd->bhts\", q, k).softmax(axis = -1);
                einsum(\"bhts,bhsd->bhtd\", weights, q).rearrange(\"b h t d -> b t (h d)\")
            }
            fn split(x: f32[B, T, 3 * WIDTH]) -> (f32[B, COUNT, T, WIDTH / COUNT], f32[B, COUNT, T, WIDTH / COUNT]) {
                let parts = x.rearrange(\"b t (three h d) -> three b h t d\", three = 3, h = COUNT);
                (parts.index(0), parts.index(1))
            }
        }
        let attention = [Attention(DIM, HEADS); 2];
        pub fn attend(x: f32[N, T, DIM]) -> f32[N, T, DIM] { attention(x) }
    }",
    "model LeNet {
        let conv = Conv2d(1 => 4, kernel = (3, 3), padding = 1, groups = 1);
        let norm = BatchNorm2d(4);
        let head = [Linear(4 * 7 * 7 => 8), Relu, Dropout(0.25), Linear(8 => 10)];
        fn forward(x: f32[N, 1, 14, 14]) -> f32[N, 10] {
            let h = norm(conv(x)).relu().max_pool2d(2, stride = 2);
            head(h.reshape([N, _])) * 2.0 - -x.slice(.., 0, 1..2, 3..=12)
        }
        #[train(only = head.0, conv)]
        pub fn loss(x: f32[N, 1, 14, 14], label: i64[N], rate: f32) -> f32 {
            forward(x).cross_entropy(label) + { let y = (rate as f32).exp(); y }
        }
    }",
];

#[test]
fn broken_models_never_panic() {
    for model in MODELS {
        let tokens: TokenStream = model.parse().expect("tokens");
        let count = size(&tokens);
        for at in 0..count {
            for change in CHANGES {
                let (changed, _) = mutate(&tokens, at, change);
                let text = changed.to_string();
                let input: TokenStream =
                    std::iter::once(TokenTree::from(Group::new(proc_macro2::Delimiter::Bracket, quote::quote!(::dl))))
                        .chain(changed)
                        .collect();
                let output = std::panic::catch_unwind(|| expand(input).to_string());
                let output = output.unwrap_or_else(|_| panic!("the macro panics at: {text}"));
                assert!(syn::parse_str::<syn::File>(&output).is_ok(), "no Rust comes out of: {text}");
            }
        }
    }
}

/// What to put in place of a token, given it and the one after it.
type Change = fn(TokenTree, Option<TokenTree>) -> Vec<TokenTree>;

const CHANGES: [Change; 6] = [
    |_, next| next.into_iter().collect(),
    |token, next| [Some(token.clone()), Some(token), next].into_iter().flatten().collect(),
    |token, next| next.into_iter().chain([token]).collect(),
    |_, next| std::iter::once(Literal::i64_unsuffixed(0).into()).chain(next).collect(),
    |_, next| std::iter::once(Literal::i64_unsuffixed(i64::MAX).into()).chain(next).collect(),
    |_, next| std::iter::once(Literal::string("b (c").into()).chain(next).collect(),
];

/// The number of tokens, those within groups included.
fn size(tokens: &TokenStream) -> usize {
    tokens
        .clone()
        .into_iter()
        .map(|token| 1 + if let TokenTree::Group(g) = &token { size(&g.stream()) } else { 0 })
        .sum()
}

/// Applies a change at the token numbered `at`; also the number of tokens passed.
fn mutate(tokens: &TokenStream, at: usize, change: Change) -> (TokenStream, usize) {
    let mut out: Vec<TokenTree> = Vec::new();
    let mut number = 0;
    let mut rest = tokens.clone().into_iter().peekable();
    while let Some(token) = rest.next() {
        if number == at {
            out.extend(change(token, rest.next()));
            out.extend(rest);
            return (out.into_iter().collect(), at + 1);
        }
        number += 1;
        match token {
            TokenTree::Group(group) if number <= at => {
                let (inner, passed) = mutate(&group.stream(), at - number, change);
                let mut changed = Group::new(group.delimiter(), inner);
                changed.set_span(group.span());
                out.push(changed.into());
                number += passed;
            }
            other => out.push(other),
        }
    }
    (out.into_iter().collect(), number)
}
