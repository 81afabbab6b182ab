//! Networks on sequences of characters.

dl::model! {
    /// A recurrent network that predicts the next character at every step.
    pub model CharLstm {
        let emb = Embedding(96 => 64);
        let lstm = Lstm(64 => 256);
        let out = Linear(256 => 96);

        #[train]
        pub fn loss(x: i64[N, T], next: i64[N * T]) -> f32 {
            let (y, _h, _c) = lstm(emb(x));
            out(y).reshape(N * T, 96).cross_entropy(next)
        }
    }

    /// Four pre-norm blocks, 256 wide, 8 heads.
    pub model Gpt {
        const DIM = 256;
        const HEADS = 8;
        block Block() {
            let n1 = LayerNorm(DIM);
            let qkv = Linear(DIM => 3 * DIM);
            let proj = Linear(DIM => DIM);
            let n2 = LayerNorm(DIM);
            let up = Linear(DIM => 4 * DIM);
            let down = Linear(4 * DIM => DIM);

            fn forward(x: f32[N, T, DIM]) -> f32[N, T, DIM] {
                let (q, k, v) = qkv(n1(x)).rearrange("n t (three h d) -> three n h t d", three = 3, h = HEADS).unbind(0);
                let a = scaled_dot_product_attention(q, k, v, causal = true);
                let x = x + proj(a.rearrange("n h t d -> n t (h d)"));
                x + down(up(n2(x)).gelu())
            }
        }
        let tok = Embedding(256 => DIM);
        let pos = Embedding(128 => DIM);
        let blocks = [Block(); 4];
        let norm = LayerNorm(DIM);
        let head = Linear(DIM => 256, bias = false);

        #[train]
        pub fn loss(x: i64[N, T], next: i64[N * T]) -> f32 {
            let h = tok(x) + pos(arange(T));
            head(norm(blocks(h))).reshape(N * T, 256).cross_entropy(next)
        }
    }
}
