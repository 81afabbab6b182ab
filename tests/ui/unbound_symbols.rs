//! Symbolic dimensions that no argument gives.
dl::model! {
    pub model Net {
        pub fn result(x: f32[N, 4]) -> f32[N, M] {
            x
        }

        pub fn product(x: f32[N * T]) -> f32[N, T] {
            x.reshape([N, T])
        }

        pub fn noise() -> f32[N, 4] {
            randn([N, 4])
        }
    }
}

fn main() {}
