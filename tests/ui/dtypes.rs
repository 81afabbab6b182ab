//! Element types that do not go together.
dl::model! {
    pub model Net {
        let head = Linear(4 => 2);

        pub fn layer(x: i64[N, 4]) -> f32[N, 2] {
            head(x)
        }

        pub fn operator(x: f32[N], y: i64[N]) -> f32[N] {
            x + y
        }

        pub fn fraction(y: i64[N]) -> i64[N] {
            y + 0.5
        }

        pub fn result(x: f32[N]) -> f64[N] {
            x * 2.0
        }

        pub fn labels(x: f32[N, 10], label: f32[N]) -> f32 {
            x.cross_entropy(label)
        }

        pub fn not_a_type(x: float32[N], y: u16[N]) -> f32[N] {
            x + y
        }
    }
}

fn main() {}
