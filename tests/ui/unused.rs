//! Everything that nothing refers to.
dl::model! {
    pub model Net {
        const LEFT = 3;
        const _KEPT = 4;
        dim HIDDEN;

        block Idle(DIM) {
            let inner = Linear(DIM => DIM);

            fn forward(x: f32[N, DIM]) -> f32[N, DIM] {
                inner(x)
            }
        }

        block Half(DIM, RATE) {
            let inner = Linear(DIM => DIM);
            let spare = Linear(DIM => DIM);

            fn forward(x: f32[N, DIM]) -> f32[N, DIM] {
                inner(x)
            }
        }

        let used = Half(4, 2);
        let idle = Linear(4 => 4);

        pub fn forward(x: f32[N, 4], mask: f32[N, 4]) -> f32[N, 4] {
            let h = x.relu();
            let _scratch = x.exp();
            used(x)
        }

        fn helper(x: f32[N]) -> f32[N] {
            x
        }
    }
}

fn main() {}
