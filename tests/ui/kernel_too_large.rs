//! Windows that do not fit the padded input.
dl::model! {
    pub model Net {
        let conv = Conv2d(1 => 2, kernel = 7, padding = 1);

        pub fn convolve(x: f32[N, 1, 4, 4]) -> f32[N, 2, 1, 1] {
            conv(x)
        }

        pub fn pool(x: f32[N, 1, 4, 4]) -> f32[N, 1, 1, 1] {
            x.max_pool2d(8)
        }
    }
}

fn main() {}
