//! With an error in it, a model still has its struct and methods: the rest of the crate has no errors.
use dl::prelude::*;

dl::model! {
    pub model Net {
        dim HIDDEN;

        let layer = Linear(4 => HIDDEN);

        pub fn forward(x: f32[N, 5]) -> f32[N, HIDDEN] {
            layer(x)
        }

        #[train]
        pub fn loss(x: f32[N, 5], rate: f32) -> f32 {
            forward(x).mean() * rat
        }
    }
}

fn main() -> dl::Result<()> {
    let mut net = Net::new(3, Seed(0))?;
    let x = Array2::<f32>::zeros((2, 5));
    let y: Array2<f32> = net.forward(&x)?;
    let mut optimizer = Adam::new(1e-3);
    let loss: f32 = net.train_loss(&mut optimizer, &x, 0.5)?;
    let (again, gradients) = net.grad_loss(&x, 0.5)?;
    println!("{y} {loss} {again} {:?}", gradients.names().count());
    Ok(())
}
