//! Layers declared with settings that make no sense.
dl::model! {
    pub model Net {
        let up = ConvTranspose2d(3 => 8, kernel = 3, stride = 2, output_padding = 2);
        let groups = Conv1d(3 => 8, kernel = 3, groups = 2);
        let norm = GroupNorm(4, 6);
        let pool = AvgPool2d(3, padding = 2);
        let heads = TransformerEncoderLayer(10, 3, ff = 16);
        let path = DropPath(1.5);
        let alpha = AlphaDropout(-0.1);
        let gumbel = GumbelSoftmax(tau = 0.0);
        let shuffle = PixelShuffle(0);
        let zoom = Upsample(scale = 2, mode = "cubic");
        let bag = EmbeddingBag(10, 4, mode = "median");
        let slope = LeakyRelu("small");

        pub fn forward(x: f32[N, 3, 8, 8]) -> f32[N, 3, 8, 8] {
            let y = pool(x).sum() + path(x).sum() + alpha(x).sum() + gumbel(x).sum() + shuffle(x).sum();
            x + y
        }
    }
}

fn main() {}
