//! Calls of layers: too few tensors, too many, unknown names, of the wrong kind or size; layers in sequences.
dl::model! {
    pub model Net {
        let pair = Bilinear(3, 4, 5);
        let linear = Linear(3 => 3);
        let bag = EmbeddingBag(10, 4);
        let sequence = [Linear(3 => 3), Bilinear(3, 3, 2)];
        let alike = CosineSimilarity;
        let looking = [MultiheadAttention(4, 2, need_weights = true), Linear(4 => 4)];
        let attn = MultiheadAttention(4, 2, need_weights = true);

        pub fn few(x: f32[N, 3]) -> f32[N, 5] {
            pair(x)
        }

        pub fn many(x: f32[N, 3]) -> f32[N, 3] {
            linear(x, x) + linear()
        }

        pub fn names(x: f32[N, 3], y: f32[N, 4]) -> f32[N, 5] {
            pair(x, z = y) + pair(x, y, y = y) + pair(x = x, y = 3) + pair(4, y)
        }

        pub fn sizes(x: f32[N, 3], y: f32[N, 6], z: f32[M, 4]) -> f32[N, 5] {
            pair(y, z) + pair(x, y) + pair(x, z)
        }

        pub fn options(ids: i64[N, 3], x: f32[N, 3]) -> f32[N, 4] {
            bag(ids, per_sample_weights = x) + bag(x)
        }

        pub fn in_order(x: f32[N, 3]) -> f32[N, 2] {
            sequence(x)
        }

        pub fn weights(x: f32[N, T, 4]) -> f32[N, T, 4] {
            looking(x)
        }

        pub fn one_name(x: f32[N, T, 4]) -> f32[N, T, 4] {
            let (y, _w, _z) = attn(x);
            y + attn(x)
        }

        pub fn distance(x: f32[N, 3], y: f32[N, 4]) -> f32[N] {
            alike(x, y)
        }
    }
}

fn main() {}
