//! A small network to train with whatever optimizer; each test uses a part of it.
#![allow(dead_code)]

use dl::Model;
use dl::prelude::*;

dl::model! {
    /// Two layers, one of them stored in another order than declared, and a loss for each and for both.
    pub model Net {
        let body = Conv2d(1 => 4, kernel = 2);
        let head = Linear(16 => 2);

        pub fn forward(x: f32[N, 1, 3, 3]) -> f32[N, 2] {
            head(body(x).tanh().flatten())
        }

        #[train]
        pub fn loss(x: f32[N, 1, 3, 3], y: f32[N, 2]) -> f32 {
            forward(x).mse_loss(y)
        }

        #[train(only = head)]
        pub fn head_loss(x: f32[N, 1, 3, 3], y: f32[N, 2]) -> f32 {
            forward(x).mse_loss(y)
        }
    }
}

pub const NAMES: [&str; 4] = ["body.weight", "body.bias", "head.weight", "head.bias"];

pub fn net() -> Net {
    Net::new(Seed(3)).unwrap()
}

/// Batch number `i`.
pub fn batch(i: usize) -> (Array4<f32>, Array2<f32>) {
    let x =
        Array4::from_shape_fn((4, 1, 3, 3), |(n, _, h, w)| ((n * 7 + h * 3 + w * 5 + i * 11) % 13) as f32 / 6.0 - 1.0);
    let y = Array2::from_shape_fn((4, 2), |(n, c)| ((n * 5 + c * 3 + i) % 7) as f32 - 3.0);
    (x, y)
}

pub fn train(net: &mut Net, optimizer: &mut dyn Optimizer, i: usize) -> f32 {
    let (x, y) = batch(i);
    net.train_loss(optimizer, &x, &y).unwrap()
}

pub fn values(net: &Model, name: &str) -> Vec<f32> {
    net.parameter(name).unwrap().to_array::<f32>().unwrap().into_iter().collect()
}

pub fn all(net: &Model) -> Vec<f32> {
    NAMES.iter().flat_map(|name| values(net, name)).collect()
}

/// The gradients of batch number `i`, in the order of the names.
pub fn gradients(net: &Net, i: usize) -> Vec<f32> {
    let (x, y) = batch(i);
    let (_, gradients) = net.grad_loss(&x, &y).unwrap();
    NAMES.iter().flat_map(|name| gradients.get::<f32>(name).unwrap().to_owned()).collect()
}

pub fn close(found: &[f32], expected: &[f32]) {
    let worst = found.iter().zip(expected).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(found.len() == expected.len() && worst < 1e-5, "off by {worst}");
}

/// After one step of gradient descent with rate 0.5, the gradients that it saw.
pub fn seen(optimizer: &mut dyn Optimizer, i: usize) -> Vec<f32> {
    let mut net = net();
    let before = all(&net);
    train(&mut net, optimizer, i);
    before.iter().zip(all(&net)).map(|(before, after)| (before - after) / 0.5).collect()
}
