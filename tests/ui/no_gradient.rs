//! A parameter that the loss depends on only through an op without gradient.
dl::model! {
    pub model Net {
        let encoder = Linear(4 => 8);
        let decoder = Linear(8 => 4);

        #[train]
        pub fn loss(x: f32[N, 4]) -> f32 {
            let code = encoder(x).round();
            decoder(code).mse_loss(x)
        }

        #[train]
        pub fn nothing(x: f32[N, 4]) -> f32 {
            x.mean()
        }
    }
}

fn main() {}
