//! A small convolutional classifier of 28x28 grey images.

dl::model! {
    /// Two convolutions and two dense layers.
    pub model LeNet {
        let conv1 = Conv2d(1 => 32, kernel = 3, padding = 1);
        let conv2 = Conv2d(32 => 64, kernel = 3, padding = 1);
        let head = [Linear(64 * 7 * 7 => 128), Relu, Linear(128 => 10)];

        pub fn forward(x: f32[N, 1, 28, 28]) -> f32[N, 10] {
            let h = conv1(x).relu().max_pool2d(2);
            let h = conv2(h).relu().max_pool2d(2);
            head(h.flatten())
        }

        #[train]
        pub fn loss(x: f32[N, 1, 28, 28], label: i64[N]) -> f32 {
            forward(x).cross_entropy(label)
        }
    }
}
