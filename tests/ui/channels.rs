//! Wrong channels, and the rest of the chain is checked all the same.
dl::model! {
    pub model Net {
        let conv1 = Conv2d(3 => 32, kernel = 3, padding = 1);
        let norm = BatchNorm2d(16);
        let conv2 = Conv2d(64 => 8, kernel = 3);

        pub fn forward(x: f32[N, 1, 28, 28]) -> f32[N, 8, 26, 26] {
            conv2(norm(conv1(x)).relu())
        }
    }
}

fn main() {}
