//! Rust that has no meaning in a model.
dl::model! {
    pub model Net {
        pub fn branch(x: f32[N]) -> f32[N] {
            if true { x } else { x.exp() }
        }

        pub fn repeat(x: f32[N]) -> f32[N] {
            for _ in 0..3 {}
            return x;
        }

        pub fn assign(x: f32[N]) -> f32[N] {
            let mut h = x;
            h = h.exp();
            h += x;
            h
        }

        pub fn index(x: f32[N]) -> f32 {
            x[0]
        }

        pub fn question(x: f32[N]) -> f32[N] {
            println!("{x}");
            x.exp()?
        }

        pub fn field(x: f32[N]) -> f32[N] {
            x.data + x.0
        }

        pub fn convert(x: f32[N]) -> f64[N] {
            x as f64
        }
    }
}

fn main() {}
