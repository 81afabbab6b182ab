//! Symbolic dimensions that cannot be proved equal.
dl::model! {
    pub model Net {
        pub fn two_names(x: f32[N, 3], label: i64[M]) -> f32 {
            x.cross_entropy(label)
        }

        pub fn result(x: f32[N, 3]) -> f32[M, 3] {
            x
        }

        pub fn shrink(x: f32[N, T, 3]) -> f32[N, T, 3] {
            x.slice(.., 1.., ..)
        }
    }
}

fn main() {}
