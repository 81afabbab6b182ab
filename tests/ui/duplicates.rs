//! Names declared twice.
dl::model! {
    pub model Net {
        const SIZE = 4;
        dim SIZE;

        let layer = Linear(SIZE => 4);
        let layer = Linear(4 => SIZE);

        block Relu(DIM) {
            let inner = Linear(DIM => DIM);

            fn forward(x: f32[N, DIM]) -> f32[N, DIM] {
                inner(x)
            }
        }

        pub fn forward(x: f32[N, 4], x: f32[N, 4]) -> f32[N, 4] {
            layer(x)
        }

        pub fn forward(x: f32[N, 4]) -> f32[N, 4] {
            x
        }

        pub fn new(x: f32[N, 4]) -> f32[N, 4] {
            x
        }
    }
}

fn main() {}
