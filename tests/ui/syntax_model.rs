//! A header that is none does not hide the next model.
dl::model! {
    pub modle Net {
        let a = Relu;
    }

    pub model Good {
        let layer = Linear(4 => 2);

        pub fn forward(x: f32[N, 4]) -> f32[N, 2] {
            layer(x)
        }
    }
}

fn main() {
    let _ = Good::new(dl::prelude::Seed(0));
}
