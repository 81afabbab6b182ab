//! Shapes that are equal only if a division has no remainder.
dl::model! {
    pub model Net {
        dim DIM, HEADS;

        let qkv = Linear(DIM => DIM);

        pub fn split(x: f32[N, DIM]) -> f32[N, HEADS, DIM / HEADS] {
            qkv(x).reshape([N, HEADS, DIM / HEADS])
        }

        pub fn whole(x: f32[N, DIM]) -> f32[N, DIM / HEADS * HEADS] {
            x
        }

        pub fn halves(x: f32[N, T]) -> f32[N, T] {
            x.reshape([N, T / 2, 2]).reshape([N, T])
        }
    }
}

fn main() {}
