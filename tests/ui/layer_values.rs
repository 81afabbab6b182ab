//! Arguments of layers that make no sense.
dl::model! {
    pub model Net {
        let groups = Conv2d(6 => 4, kernel = 3, groups = 4);
        let stride = Conv2d(6 => 4, kernel = 3, stride = 0);
        let negative = Linear(4 => 2 - 3);
        let rate = Dropout(1.5);
        let sizes = Conv2d(6 => 4, kernel = (3, 3, 3));

        pub fn forward(x: f32[N, 6, 8, 8], y: f32[N, 4]) -> f32[N, 4, 6, 6] {
            groups(x) + stride(x) + sizes(x) + negative(y) + rate(y)
        }
    }
}

fn main() {}
