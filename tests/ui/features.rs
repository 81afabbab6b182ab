//! A layer that takes another number of features than it is given.
dl::model! {
    pub model Net {
        let conv = Conv2d(1 => 64, kernel = 3);
        let head = [Linear(64 * 7 * 7 => 128), Relu, Linear(64 => 10)];

        pub fn forward(x: f32[N, 1, 14, 14]) -> f32[N, 10] {
            let h = conv(x).relu().max_pool2d(2);
            head(h.flatten())
        }
    }
}

fn main() {}
