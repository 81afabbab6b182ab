//! A library that knows `dl` under another name, in edition 2024.
#![deny(warnings, missing_docs, unsafe_code, unreachable_pub)]

use learning::prelude::*;

learning::model! {
    pub model Line {
        let weight = Linear(1 => 1);

        pub fn forward(x: f32[N, 1]) -> f32[N, 1] {
            weight(x)
        }

        #[train]
        pub fn loss(x: f32[N, 1], y: f32[N, 1]) -> f32 {
            forward(x).mse_loss(y)
        }
    }
}

/// One step.
pub fn step(line: &mut Line, x: &Array2<f32>) -> learning::Result<f32> {
    line.train_loss(&mut Sgd::new(0.1), x, x)
}

/// A macro of the user's own that declares a model.
macro_rules! classifier {
    ($name:ident, $classes:literal) => {
        learning::model! {
            pub model $name {
                let head = Linear(4 => $classes);

                pub fn forward(x: f32[N, 4]) -> f32[N, $classes] {
                    head(x)
                }
            }
        }
    };
}

classifier!(Three, 3);
classifier!(Seven, 7);
