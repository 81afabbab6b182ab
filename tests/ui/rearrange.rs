//! Mistakes in rearrange patterns.
dl::model! {
    pub model Net {
        pub fn indivisible(x: f32[B, 10]) -> f32[B, 3, 3] {
            x.rearrange("b (h d) -> b h d", h = 3)
        }

        pub fn lost(x: f32[B, T, 8]) -> f32[B, 8] {
            x.rearrange("b t d -> b d")
        }

        pub fn made_up(x: f32[B, 8]) -> f32[B, 8] {
            x.rearrange("b d -> b e")
        }

        pub fn open(x: f32[B, 8]) -> f32[B, 2, 4] {
            x.rearrange("b (h d -> b h d", h = 2)
        }

        pub fn two_unknown(x: f32[B, 8]) -> f32[B, 2, 4] {
            x.rearrange("b (h d) -> b h d")
        }
    }
}

fn main() {}
