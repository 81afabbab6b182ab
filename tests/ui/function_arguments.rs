//! Calls between functions with arguments that do not fit.
dl::model! {
    pub model Net {
        fn blend(x: f32[N, 4], y: f32[N, 4], rate: f32) -> f32[N, 4] {
            x * rate + y * (1.0 - rate)
        }

        pub fn missing(x: f32[N, 4]) -> f32[N, 4] {
            blend(x, x)
        }

        pub fn many(x: f32[N, 4]) -> f32[N, 4] {
            blend(x, x, 0.5, x)
        }

        pub fn unknown(x: f32[N, 4]) -> f32[N, 4] {
            blend(x, x, rat = 0.5)
        }

        pub fn shape(x: f32[N, 4], y: f32[M, 4]) -> f32[N, 4] {
            blend(x, y, 0.5)
        }

        pub fn dtype(x: f32[N, 4], y: i64[N, 4]) -> f32[N, 4] {
            blend(x, y, "half")
        }
    }
}

fn main() {}
