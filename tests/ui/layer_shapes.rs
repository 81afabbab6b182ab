//! Layers on tensors of other sizes, ranks and types than they take.
dl::model! {
    pub model Net {
        let conv1 = Conv1d(3 => 8, kernel = 3);
        let conv3 = Conv3d(3 => 8, kernel = 3);
        let up1 = ConvTranspose1d(3 => 8, kernel = 3);
        let up3 = ConvTranspose3d(3 => 8, kernel = 3);
        let group = GroupNorm(2, 6);
        let rms = RmsNorm(8);
        let response = LocalResponseNorm(5);
        let average = AvgPool2d(9);
        let power = LpPool2d(2.0, kernel = 9);
        let adaptive = AdaptiveAvgPool2d(3);
        let leaky = PRelu(5);
        let table = Embedding(10 => 4);
        let cell = RnnCell(4 => 8);
        let encoder = TransformerEncoderLayer(8, 2, ff = 16);
        let stack = TransformerEncoder(8, 2, ff = 16, layers = 2);
        let waves = PositionalEncoding(8);
        let places = LearnedPositionalEncoding(16, 8);
        let gated = Glu;
        let distance = PairwiseDistance;

        pub fn convolutions(x: f32[N, 4, 20], y: f32[N, 3, 8, 8]) -> f32[N, 8, 18] {
            let a = conv1(x);
            let b = conv3(y);
            let c = up1(x);
            let d = up3(y);
            a + b + c + d
        }

        pub fn norms(x: f32[N, 5, 4], y: f32[N, 7], z: f32[N]) -> f32[N, 5, 4] {
            let a = group(x);
            let b = rms(y);
            let c = response(z);
            a + b + c
        }

        pub fn pools(x: f32[N, 3, 8, 8]) -> f32[N, 3] {
            average(x).mean((2, 3)) + power(x).mean((2, 3)) + adaptive(x.flatten(2)).mean(2)
        }

        pub fn lookups(x: f32[N, 4], y: f32[N, 6]) -> f32[N, 4] {
            table(x) + leaky(y)
        }

        pub fn sequences(x: f32[N, T, 6]) -> f32[N, T, 8] {
            encoder(x) + stack(x) + waves(x)
        }

        pub fn positions(x: f32[N, 20, 8], y: f32[N, T, 4]) -> f32[N, 8] {
            places(x).mean(1) + cell(y)
        }

        pub fn halves(x: f32[N, 7], y: f32[N, 6]) -> f32[N] {
            gated(x).sum(1) + distance(x, y)
        }
    }
}

fn main() {}
