//! Methods and functions that do not exist.
dl::model! {
    pub model Net {
        let layer = Linear(4 => 4);

        pub fn misspelt(x: f32[N, 4]) -> f32[N, 4] {
            x.rleu().maxpool2d(2)
        }

        pub fn unheard_of(x: f32[N, 4]) -> f32[N, 4] {
            x.frobnicate()
        }

        pub fn layer_as_method(x: f32[N, 4]) -> f32[N, 4] {
            x.layer()
        }

        pub fn layer_in_body(x: f32[N, 4]) -> f32[N, 4] {
            Linear(4 => 4)(x)
        }

        pub fn kind_in_body(x: f32[N, 4]) -> f32[N, 4] {
            layer(Relu(x))
        }

        pub fn of_number(x: f32[N, 4]) -> f32[N, 4] {
            x * (2.0).sqroot()
        }
    }
}

fn main() {}
