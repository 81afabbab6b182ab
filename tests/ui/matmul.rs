//! Products of tensors whose inner sizes differ.
dl::model! {
    pub model Net {
        pub fn product(a: f32[N, 3], b: f32[4, M]) -> f32[N, M] {
            a.matmul(b)
        }
    }
}

fn main() {}
