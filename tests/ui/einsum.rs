//! Mistakes in einsum patterns.
dl::model! {
    pub model Net {
        pub fn sizes(q: f32[B, T, 8], k: f32[B, S, 4]) -> f32[B, T, S] {
            einsum("btd,bsd->bts", q, k)
        }

        pub fn unknown_result(q: f32[B, T, 8], k: f32[B, S, 8]) -> f32[B, T, S] {
            einsum("btd,bsd->btz", q, k)
        }

        pub fn too_many(q: f32[B, T, 8]) -> f32[B, T] {
            einsum("btd,bsd->bt", q)
        }

        pub fn axes(q: f32[B, T, 8]) -> f32[B, T] {
            einsum("bt->bt", q)
        }
    }
}

fn main() {}
