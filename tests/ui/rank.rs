//! Tensors with the wrong number of axes.
dl::model! {
    pub model Net {
        let conv = Conv2d(1 => 4, kernel = 3);

        pub fn convolve(x: f32[N, 28]) -> f32[N, 4] {
            conv(x)
        }

        pub fn pool(x: f32[N, 28]) -> f32[N, 14] {
            x.max_pool2d(2)
        }

        pub fn call(x: f32[N, 1, 28, 28]) -> f32[N] {
            rows(x)
        }

        fn rows(x: f32[N, F]) -> f32[N] {
            x.sum(axis = 1)
        }
    }
}

fn main() {}
