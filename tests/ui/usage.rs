//! Calls of a model's methods with arguments that do not fit: errors of Rust's own, at the user's tokens.
use dl::prelude::*;

dl::model! {
    pub model Net {
        let layer = Linear(4 => 2);

        pub fn forward(x: f32[N, 4]) -> f32[N, 2] {
            layer(x)
        }
    }
}

fn main() -> dl::Result<()> {
    let net = Net::new(Seed(0))?;
    net.forward(&Array1::<f32>::zeros(4))?;
    net.forward(&Array2::<f64>::zeros((2, 4)))?;
    Ok(())
}
