//! Shapes that do not broadcast.
dl::model! {
    pub model Net {
        pub fn numbers(x: f32[N, 3], y: f32[N, 4]) -> f32[N, 3] {
            x + y
        }

        pub fn symbols(x: f32[N, 3], y: f32[M, 3]) -> f32[N, 3] {
            let sum = x.exp();
            sum * y.abs()
        }
    }
}

fn main() {}
