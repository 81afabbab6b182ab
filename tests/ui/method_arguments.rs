//! Arguments of methods: unknown, missing, too many, of the wrong kind, out of range.
dl::model! {
    pub model Net {
        pub fn unknown(x: f32[N, 4]) -> f32[N] {
            x.sum(axes = 1, keepdims = true)
        }

        pub fn missing(x: f32[N, 4]) -> f32[N, 4] {
            x.reshape()
        }

        pub fn too_many(x: f32[N, 4]) -> f32[N, 4] {
            x.relu(0.5)
        }

        pub fn kind(x: f32[N, 4]) -> f32[N, 4] {
            x.softmax(axis = "last")
        }

        pub fn axis(x: f32[N, 4]) -> f32[N, 4] {
            x.softmax(axis = 2)
        }

        pub fn word(x: f32[N, 4]) -> f32 {
            x.mse_loss(x, reduction = "men")
        }
    }
}

fn main() {}
