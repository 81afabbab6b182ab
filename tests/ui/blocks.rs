//! Mistakes in blocks and in declaring them as layers; an error within is reported once.
dl::model! {
    pub model Net {
        block Mlp(DIM, HIDDEN = 8) {
            let up = Linear(DIM => HIDDEN);
            let down = Linear(HIDDEN + 1 => DIM);

            fn forward(x: f32[N, DIM]) -> f32[N, DIM] {
                down(up(x).relu())
            }
        }

        block Shell {
            let inner = Relu;

            fn inside(x: f32[N]) -> f32[N] {
                inner(x)
            }
        }

        block Endless(DIM) {
            let inner = Endless(DIM);

            fn forward(x: f32[N, DIM]) -> f32[N, DIM] {
                inner(x)
            }
        }

        let mlps = [Mlp(4); 3];
        let missing = Mlp();
        let unknown = Mlp(4, HIDEN = 3);
        let many = Mlp(4, 8, 2);
        let shell = Shell;
        let endless = Endless(4);

        pub fn forward(x: f32[N, 4], y: f32[N, 5]) -> f32[N, 4] {
            let h = mlps(x) + missing(x) + unknown(x) + many(x) + endless(x);
            mlps(y) + shell(h) + shell.outside(h)
        }
    }
}

fn main() {}
