//! Attention: sizes, operands and masks that do not fit.
dl::model! {
    pub model Net {
        const DIM = 10;
        dim WIDTH;

        let indivisible = MultiheadAttention(DIM, 4);
        let needs_fact = MultiheadAttention(WIDTH, heads = 4);
        let groups = MultiheadAttention(8, 4, kv_heads = 3);
        let attn = MultiheadAttention(8, num_heads = 4);
        let layer = TransformerDecoderLayer(8, 2, activation = "selu");
        let decoder = TransformerDecoder(8, 2, layers = 2);
        let encoder = [TransformerEncoderLayer(8, 2), TransformerEncoderLayer(6, 2)];

        pub fn sizes(x: f32[N, T, DIM], y: f32[N, T, WIDTH]) -> f32[N, T, WIDTH] {
            let a = indivisible(x);
            needs_fact(y) + a.mean() + groups(y).mean()
        }

        pub fn operands(x: f32[N, T, 8], memory: f32[N, S, 6], other: f32[M, S, 8], wide: f64[N, S, 8]) -> f32[N, T, 8] {
            attn(x, memory) + attn(x, other) + attn(x, wide) + attn(x, x, x, x)
        }

        pub fn masks(x: f32[N, T, 8], ids: i64[N, T], mask: bool[T, T], short: bool[T]) -> f32[N, T, 8] {
            attn(x, key_padding_mask = ids) + attn(x, key_padding_mask = mask) + attn(x, attn_mask = short) + attn(x, masc = mask)
        }

        pub fn decode(x: f32[N, T, 8], memory: f32[N, S, 8]) -> f32[N, T, 8] {
            decoder(x) + decoder(x, memory = memory, causal = true) + layer(x, memory)
        }

        pub fn encode(x: f32[N, T, 8], mask: bool[N, T]) -> f32[N, T, 8] {
            encoder(x, mask)
        }

        pub fn steps(x: f32[N, T, 8]) -> f32[N, T, 8] {
            encoder(x)
        }

        pub fn product(q: f32[N, T, 8], k: f32[N, S, 6], v: f32[N, R, 6], mask: bool[S, T]) -> f32[N, T, 6] {
            attention(q, k, v) + attention(q, q, v) + attention(q, q, q, mask = mask).slice(.., .., 0..6)
        }

        pub fn positions(x: f32[N, T, 7]) -> f32[N, T, 7] {
            x.rope()
        }
    }
}

fn main() {}
