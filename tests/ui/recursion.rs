//! Functions that call themselves, or each other in a circle.
dl::model! {
    pub model Net {
        pub fn again(x: f32[N]) -> f32[N] {
            again(x)
        }

        pub fn ping(x: f32[N]) -> f32[N] {
            pong(x)
        }

        fn pong(x: f32[N]) -> f32[N] {
            ping(x)
        }
    }
}

fn main() {}
