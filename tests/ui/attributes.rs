//! Attributes and visibilities in places where they mean nothing.
dl::model! {
    pub model Net {
        #[train]
        let a = Linear(4 => 4);
        pub const SIZE = 4;

        block Inner {
            dim WIDTH;
            let b = Relu;

            #[train]
            pub fn forward(x: f32[N]) -> f32[N] {
                b(x)
            }
        }

        let inner = Inner;

        pub fn forward(x: f32[SIZE]) -> f32[SIZE] {
            inner(a(x))
        }
    }
}

fn main() {}
