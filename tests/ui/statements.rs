//! Values that go nowhere and names that get none.
dl::model! {
    pub model Net {
        pub fn idle(x: f32[N]) -> f32[N] {
            x.exp();
            x
        }

        pub fn no_value(x: f32[N]) -> f32[N] {
            let h;
            h + x
        }

        pub fn pattern(x: f32[N]) -> f32[N] {
            let (a, b) = x;
            let (c, d, e) = (x, x);
            a + b + c + d + e
        }

        pub fn block(x: f32[N]) -> f32[N] {
            let y = { let z = x.exp(); };
            y
        }
    }
}

fn main() {}
