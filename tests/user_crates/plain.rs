//! A program whose only dependency is `dl`, in edition 2021: models in a module, in a function and behind `pub`.
#![deny(warnings, missing_docs, unsafe_code, rust_2018_idioms, unused_qualifications)]

use dl::prelude::*;

/// Two models in one file, private and public.
pub mod models {
    dl::model! {
        /// A perceptron.
        #[derive(Debug)]
        pub model Mlp {
            const CLASSES = 3;
            dim HIDDEN;

            let head = [Linear(4 => HIDDEN), Relu, Dropout(0.25), Linear(HIDDEN => CLASSES)];

            /// The logits.
            pub fn forward(x: f32[N, 4]) -> f32[N, CLASSES] {
                head(x)
            }

            #[train]
            pub fn loss(x: f32[N, 4], label: i64[N]) -> f32 {
                forward(x).cross_entropy(label)
            }

            #[must_use]
            pub(crate) fn both(x: f32[N, 4], scale: f32) -> (f32[N, CLASSES], i64[N]) {
                let logits = forward(x) * scale;
                (logits, logits.argmax(axis = 1))
            }
        }

        model Private {
            pub fn double(x: f64[N, M]) -> f64[N, M] {
                x * 2.0
            }
        }
    }

    /// Doubles.
    pub fn doubled(x: &dl::ndarray::Array2<f64>) -> dl::Result<dl::ndarray::Array2<f64>> {
        Private::new(dl::prelude::Seed(0))?.double(x)
    }
}

/// Names that an expansion must not trip over.
mod shadows {
    #![allow(dead_code, non_camel_case_types)]

    pub struct Result;
    pub struct Ok;
    pub struct Model;
    pub struct Array;
    pub struct Seed;
    pub struct IntoArg;
    pub struct String;
    pub struct usize;
    pub struct f32;

    dl::model! {
        pub model Source {
            pub fn outputs(outputs: f32[N], optimizer: f32[N], seed: f32) -> f32[N] {
                outputs + optimizer * seed
            }

            #[train]
            pub fn some(self_: f32[N]) -> f32 {
                layer(self_.reshape([N, 1])).mean()
            }

            let layer = Linear(1 => 1);
        }
    }
}

fn within_a_function() -> dl::Result<f32> {
    dl::model! {
        model Local {
            let weight = Linear(2 => 1);

            pub fn total(x: f32[N, 2]) -> f32 {
                weight(x).sum()
            }
        }
    }
    Local::new(Seed(0))?.total(&Array2::ones((3, 2)))
}

/// Learns which of the first three features is the largest, and gives the losses before and after.
fn learned(net: &mut models::Mlp) -> dl::Result<(f32, f32)> {
    let label = Array1::from_shape_fn(12, |i| (i % 3) as i64);
    let x = Array2::from_shape_fn((12, 4), |(i, j)| if i % 3 == j { 1.0 } else { 0.1 * (i / 3) as f32 });
    let mut adam = Adam::new(0.05);
    let before = net.loss(&x, &label)?;
    for _ in 0..100 {
        net.train_loss(&mut adam, &x, &label)?;
    }
    let logits = net.forward(&x)?;
    assert_eq!(accuracy(&logits, &label), 1.0, "{logits}");
    Ok((before, net.loss(&x, &label)?))
}

fn main() -> dl::Result<()> {
    let mut net = models::Mlp::new(8, Seed(0))?;
    let (before, after) = learned(&mut net)?;
    assert!((0.9..1.5).contains(&before) && after < 0.2 * before, "{before} became {after}");

    let (x, label) = (Array2::<f32>::zeros((5, 4)), Array1::<i64>::zeros(5));
    let (loss, gradients) = net.grad_loss(x.view(), &label)?;
    assert!(loss.is_finite() && gradients.names().count() == 4);
    let (doubled, classes) = net.both(&x, 2.0)?;
    assert_eq!((doubled.mapv(|logit| logit / 2.0), classes.len()), (net.forward(&x)?, 5));

    assert_eq!(models::doubled(&Array2::ones((2, 2)))?, Array2::from_elem((2, 2), 2.0));
    assert!(within_a_function()?.is_finite());
    let shadowed = shadows::Source::new(Seed(0))?;
    assert_eq!(shadowed.outputs(&Array1::ones(2), &Array1::ones(2), 3.0)?.to_vec(), [4.0, 4.0]);
    assert!(shadowed.some(&Array1::zeros(2))?.is_finite());
    println!("learned");
    Ok(())
}
