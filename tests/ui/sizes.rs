//! Numbers that are no sizes.
dl::model! {
    pub model Net {
        const LARGE = 9223372036854775807;
        const TOO_LARGE = 9223372036854775808;
        const PRODUCT = LARGE * 2;
        const NOTHING = 1 / 0;
        const TEXT = "four";
        const CIRCLE = ROUND + 1;
        const ROUND = CIRCLE;

        pub fn huge(x: f32[LARGE, 4]) -> f32[LARGE, 4] {
            x
        }

        pub fn negative(x: f32[3 - 5]) -> f32[0] {
            x
        }

        pub fn fraction(x: f32[N, 2.5]) -> f32[N] {
            x.sum(axis = 1) * PRODUCT * TOO_LARGE * NOTHING * TEXT
        }
    }
}

fn main() {}
