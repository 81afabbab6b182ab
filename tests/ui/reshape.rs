//! Reshapes that change the number of elements.
dl::model! {
    pub model Net {
        pub fn wrong(x: f32[N, 3, 4]) -> f32[N, 10] {
            x.reshape([N, 10])
        }

        pub fn odd(x: f32[N, 7]) -> f32[N, 2, 3] {
            let h = x.relu();
            h.reshape([N, 2, _])
        }
    }
}

fn main() {}
