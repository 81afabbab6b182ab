//! All mistakes of a model in one build, none of them a consequence of another.
dl::model! {
    pub model Net {
        let conv1 = Conv2d(1 => 32, kernel = 3, pading = 1);
        let conv2 = Conv2d(16 => 64, kernel = 3);
        let head = Linear(100 => 10);

        fn features(x: f32[N, 32, 28, 28]) -> f32[N, 64, 13, 13] {
            conv2(x).max_pool2d(2)
        }

        pub fn forward(x: f32[N, 1, 28, 28]) -> f32[N, 10] {
            head(features(conv1(x)).flatten())
        }

        #[train]
        pub fn loss(x: f32[N, 1, 28, 28], label: i64[N]) -> f32 {
            forward(x).cross_entropy(lable)
        }
    }
}

fn main() {}
