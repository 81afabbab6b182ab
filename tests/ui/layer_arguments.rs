//! Arguments of layers: unknown, missing, twice, of the wrong kind.
dl::model! {
    pub model Net {
        let unknown = Conv2d(1 => 2, kernle = 3);
        let missing = Conv2d(1 => 2);
        let twice = Conv2d(1 => 2, kernel = 3, kernel = 5);
        let kind = Conv2d(1 => 2, kernel = 2.5);
        let not_mapped = Linear(4);
        let too_many = Dropout(0.5, 0.25);
        let order = Conv2d(kernel = 3, 1 => 2);

        pub fn forward(x: f32[N, 1, 8, 8]) -> f32[N, 1, 8, 8] {
            let h = unknown(x) + missing(x) + twice(x) + kind(x) + order(x);
            too_many(not_mapped(h))
        }
    }
}

fn main() {}
