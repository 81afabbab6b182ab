//! Models of `f64`, which train as those of `f32` do.

use dl::prelude::*;

dl::model! {
    /// A regression in single precision.
    pub model Single {
        let net = [Linear(2 => 16), Tanh, LayerNorm(16), BatchNorm(16), Linear(16 => 1)];

        pub fn predict(x: f32[N, 2]) -> f32[N, 1] {
            net(x)
        }

        #[train]
        pub fn loss(x: f32[N, 2], y: f32[N, 1]) -> f32 {
            predict(x).mse_loss(y)
        }
    }

    /// The same in double precision.
    pub model Double {
        dtype f64;
        let net = [Linear(2 => 16), Tanh, LayerNorm(16), BatchNorm(16), Linear(16 => 1)];

        pub fn predict(x: f64[N, 2]) -> f64[N, 1] {
            net(x)
        }

        #[train]
        pub fn loss(x: f64[N, 2], y: f64[N, 1]) -> f64 {
            predict(x).mse_loss(y)
        }
    }
}

fn data() -> (Array2<f64>, Array2<f64>) {
    let x = Array2::from_shape_fn((32, 2), |(i, j)| ((7 * i + 3 * j) % 11) as f64 / 5.0 - 1.0);
    let y = Array2::from_shape_fn((32, 1), |(i, _)| (2.0 * x[[i, 0]]).sin() + x[[i, 1]]);
    (x, y)
}

/// The losses of thirty steps, and what the model then predicts.
fn trained(optimizer: &mut dyn Optimizer, options: dl::Options) -> dl::Result<(Vec<f64>, Array2<f64>)> {
    let (x, y) = data();
    let mut net = Double::with_options(Seed(3), options)?;
    let losses = (0..30).map(|_| net.train_loss(optimizer, &x, &y)).collect::<dl::Result<Vec<f64>>>()?;
    Ok((losses, net.predict(&x)?))
}

#[test]
fn a_model_of_f64_trains() -> dl::Result<()> {
    let (losses, _) = trained(&mut Adam::new(2e-2), dl::Options::default())?;
    assert!(losses[29] < 0.2 * losses[0], "{losses:?}");
    Ok(())
}

#[test]
fn a_model_of_f64_computes_what_the_evaluator_does() -> dl::Result<()> {
    let compiled = trained(&mut Sgd::new(0.05), dl::Options::default())?;
    let mut options = dl::Options::default();
    options.isa = dl::Isa::Interpreter;
    let evaluated = trained(&mut Sgd::new(0.05), options)?;
    let pairs = compiled.0.iter().zip(&evaluated.0).chain(compiled.1.iter().zip(&evaluated.1));
    for (a, b) in pairs {
        assert!((a - b).abs() <= 1e-13 * (1.0 + b.abs()), "{a} {b}");
    }
    Ok(())
}

#[test]
fn f64_and_f32_agree_but_for_rounding() -> dl::Result<()> {
    let (x, y) = data();
    let (narrow_x, narrow_y) = (x.mapv(|v| v as f32), y.mapv(|v| v as f32));
    let (mut double, mut single) = (Double::new(Seed(5))?, Single::new(Seed(5))?);
    for (wide, narrow) in double.parameters().zip(single.parameters()) {
        assert_eq!((wide.name(), wide.shape()), (narrow.name(), narrow.shape()));
    }
    let (mut a, mut b) = (Sgd::new(0.05), Sgd::new(0.05));
    for step in 0..10 {
        let wide = double.train_loss(&mut a, &x, &y)?;
        let narrow: f32 = single.train_loss(&mut b, &narrow_x, &narrow_y)?;
        assert!((wide - f64::from(narrow)).abs() < 1e-4 * (1.0 + wide), "step {step}: {wide} {narrow}");
    }
    Ok(())
}
