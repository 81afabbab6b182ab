//! Habits from elsewhere: `self`, generics, a forgotten `;`, lower case, a misspelt attribute. Each is one error.
dl::model! {
    pub model Generic<T> {
        let a = Relu;
    }

    pub model Net {
        let layer = Linear(4 => 4);

        pub fn forward(x: f32[N, 4]) -> f32[N, 4] {
            let h = layer(x).relu()
            layer(h.tan_h())
        }

        pub fn on_self(x: f32[N, 4]) -> f32[N, 4] {
            self.layer(x) + self.layer.forward(x) + self.forward(x)
        }

        pub fn typed(x: f32[batch, 4]) -> f32[4] {
            let h: f32 = layer(x);
            h.mean(axis = 0)
        }

        #[train]
        fn private(x: f32[N, 4]) -> f32 {
            layer(x).mean()
        }

        #[trian]
        pub fn loss(x: f32[N, 4]) -> f32 {
            forward(x).square().mean()
        }
    }
}

fn main() -> dl::Result<()> {
    let mut net = Net::new(dl::prelude::Seed(0))?;
    net.train_loss(&mut dl::prelude::Adam::new(0.1), &dl::prelude::Array2::zeros((1, 4)))?;
    Ok(())
}
