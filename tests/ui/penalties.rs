//! Penalties on layers: names that are none, layers without parameters, parameters that a layer does not have.
dl::model! {
    pub model Net {
        let head = [Linear(4 => 8), Relu, Linear(8 => 1)];

        pub fn no_layer() -> f32 {
            l2_penalty(haed)
        }

        pub fn no_parameters() -> f32 {
            l2_penalty(head.1)
        }

        pub fn no_such_parameter() -> f32 {
            l2_penalty(head.0.wieght)
        }

        pub fn beyond() -> f32 {
            l1_penalty(head.3)
        }

        pub fn nothing() -> f32 {
            l1_penalty()
        }

        pub fn number() -> f32 {
            l1_penalty(head.0, 3)
        }

        pub fn whole(x: i64[N]) -> f32 {
            l1_penalty(x)
        }

        pub fn forward(x: f32[N, 4]) -> f32[N, 1] {
            head(x)
        }
    }
}

fn main() {}
