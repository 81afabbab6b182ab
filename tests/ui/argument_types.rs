//! Arrays of the wrong element type at the call.

use dl::prelude::*;

dl::model! {
    model Net {
        let fc = Linear(4 => 3);

        #[train]
        pub fn loss(x: f32[N, 4], label: i64[N]) -> f32 {
            fc(x).cross_entropy(label)
        }
    }
}

fn main() -> dl::Result<()> {
    let net = Net::new(Seed(0))?;
    net.loss(&Array2::<f64>::zeros((2, 4)), &Array1::<i64>::zeros(2))?;
    net.loss(&Array2::<f32>::zeros((2, 4)), &Array1::<u8>::zeros(2))?;
    Ok(())
}
