//! Layers used as something else, and parts of layers that do not exist.
dl::model! {
    pub model Net {
        let head = [Linear(4 => 4), Relu];
        let single = Linear(4 => 4);

        pub fn value(x: f32[N, 4]) -> f32[N, 4] {
            head + x
        }

        pub fn index(x: f32[N, 4]) -> f32[N, 4] {
            head.2(x) + single.0(x)
        }

        pub fn tensor(x: f32[N, 4]) -> f32[N, 4] {
            x(single(x))
        }

        pub fn count(x: f32[N, 4]) -> f32[N, 4] {
            single(x, x) + single() + single(3)
        }

        pub fn method(x: f32[N, 4]) -> f32[N, 4] {
            single.relu() + single.forward(x)
        }
    }
}

fn main() {}
