//! Facts that are none, or do not hold.
dl::model! {
    pub model Net {
        const WIDTH = 10;
        require WIDTH % 3 == 0;
        require WIDTH > 3;

        block Heads(DIM, COUNT) {
            require DIM % COUNT == 0;
            let inner = Linear(DIM => DIM / COUNT);

            fn forward(x: f32[N, DIM]) -> f32[N, DIM / COUNT] {
                inner(x)
            }
        }

        let heads = Heads(WIDTH, 4);

        pub fn forward(x: f32[N, WIDTH]) -> f32[N, 2] {
            heads(x)
        }
    }
}

fn main() {}
