//! Layers of images: paddings, poolings, interpolation and transposed convolutions that do not fit.
dl::model! {
    pub model Net {
        let mirror = ReflectionPad2d(4);
        let sides = ZeroPad2d((1, 2, 3));
        let mode = Conv2d(2 => 2, 3, padding = 1, padding_mode = "reflected");
        let beyond = ConvTranspose2d(2 => 4, kernel = 3, output_padding = 1);
        let groups = ConvTranspose2d(2 => 5, kernel = 3, groups = 2);
        let channels = ConvTranspose2d(3 => 4, kernel = 3, stride = 2);
        let parts = AdaptiveMaxPool2d(3);
        let ceiling = MaxPool2d(2, stride = 3, ceil_mode = true);
        let nothing = Upsample();
        let both = Upsample(size = 8, scale = 2);
        let corners = Upsample(scale = 2, align_corners = true);
        let axes = Upsample(scale = 2, mode = "linear");
        let fraction = Upsample(scale = 1.5);
        let shuffle = PixelShuffle(3);
        let norm = InstanceNorm2d(4);
        let split = Unflatten(1, (4, 4));

        pub fn fixed(x: f32[N, 2, 4, 4]) -> f32[N, 2, 4, 4] {
            mirror(x) + sides(x) + mode(x) + beyond(x) + groups(x) + channels(x)
        }

        pub fn open(x: f32[N, 2, H, W]) -> f32[N, 2, 3, 3] {
            let y = parts(x);
            let z = ceiling(x);
            y + z.mean() + fraction(x).mean()
        }

        pub fn sizes(x: f32[N, 2, 4, 4]) -> f32[N, 2, 8, 8] {
            nothing(x) + both(x) + corners(x) + axes(x)
        }

        pub fn rest(x: f32[N, 2, 4, 4], y: f32[N, 12]) -> f32 {
            shuffle(x).sum() + norm(x).sum() + split(y).sum() + x.interpolate(mode = "bicubic").sum()
        }
    }
}

fn main() {}
