//! The reference workloads: models, inputs and optimizers.

use dl::prelude::*;
use dl::{Options, Result};

use crate::models::{CharLstm, Gpt, LeNet, Mlp, ResNet18Cifar, ResNet50, Vae};
use crate::task::{Job, Task, Work, classes, uniform};

/// Every workload.
pub fn tasks() -> Vec<Task> {
    vec![
        Task::new("mlp_train", mlp_train),
        Task::new("vae_train", vae_train),
        Task::new("lenet_train", lenet_train),
        Task::new("resnet18_cifar_train", resnet18_cifar_train),
        Task::new("lstm_train", lstm_train),
        Task::new("gpt_train", gpt_train),
        Task::new("mlp_infer_b1", mlp_infer),
        Task::new("lenet_infer_b1", lenet_infer),
        Task::new("resnet50_infer_b1", |options| resnet50_infer(1, options)),
        Task::new("resnet50_infer_b8", |options| resnet50_infer(8, options)),
    ]
}

/// Operations of a step of inference: those of its products, computed directly.
fn inference(batch: usize, model: &dl::Model) -> Work {
    Work::Flops(2.0 * batch as f64 * model.summary().multiply_adds as f64)
}

/// Operations of a step of training: two more products for each layer, but for the first only one, as nobody asks for
/// the gradient of the input.
fn training(batch: usize, model: &dl::Model) -> Work {
    let summary = model.summary();
    let first = summary.rows.iter().map(|row| row.multiply_adds).find(|&cost| cost > 0).unwrap_or(0);
    Work::Flops(2.0 * batch as f64 * (3 * summary.multiply_adds - first) as f64)
}

fn mlp_train(options: Options) -> Result<Job> {
    let mut net = Mlp::with_options(Seed(0), options)?;
    let (x, label, mut adam) = (uniform((128, 784)), classes(128), Adam::new(1e-3));
    let work = training(128, &net);
    Ok(Job { step: Box::new(move || net.train_loss(&mut adam, &x, &label)), work })
}

fn vae_train(options: Options) -> Result<Job> {
    let mut net = Vae::with_options(Seed(0), options)?;
    let (x, mut adam) = (uniform((128, 784)), Adam::new(1e-3));
    let work = training(128, &net);
    Ok(Job { step: Box::new(move || net.train_loss(&mut adam, &x)), work })
}

fn lenet_train(options: Options) -> Result<Job> {
    let mut net = LeNet::with_options(Seed(0), options)?;
    let (x, label, mut adam) = (uniform((64, 1, 28, 28)), classes(64), Adam::new(1e-3));
    let work = training(64, &net);
    Ok(Job { step: Box::new(move || net.train_loss(&mut adam, &x, &label)), work })
}

fn resnet18_cifar_train(options: Options) -> Result<Job> {
    let mut net = ResNet18Cifar::with_options(Seed(0), options)?;
    let (x, label) = (uniform((32, 3, 32, 32)), classes(32));
    let mut sgd = Sgd::new(0.05).momentum(0.9).weight_decay(5e-4);
    let work = training(32, &net);
    Ok(Job { step: Box::new(move || net.train_loss(&mut sgd, &x, &label)), work })
}

/// Numbers below `most`, one for each character of a batch.
fn characters(batch: usize, length: usize, most: i64) -> (Array2<i64>, Array1<i64>) {
    let number = |i: usize| (i * 7919 + i / 31) as i64 % most;
    (
        Array2::from_shape_fn((batch, length), |(n, t)| number(n * length + t)),
        Array1::from_shape_fn(batch * length, number),
    )
}

fn lstm_train(options: Options) -> Result<Job> {
    let mut net = CharLstm::with_options(Seed(0), options)?;
    let ((x, next), mut adam) = (characters(32, 64, 96), Adam::new(1e-3));
    // Products with the input, the state, and the output's weights, each three times.
    let work = Work::Flops(2.0 * 3.0 * 32.0 * 64.0 * (64.0 * 1024.0 + 256.0 * 1024.0 + 256.0 * 96.0));
    Ok(Job { step: Box::new(move || net.train_loss(&mut adam, &x, &next)), work })
}

fn gpt_train(options: Options) -> Result<Job> {
    let mut net = Gpt::with_options(Seed(0), options)?;
    let ((x, next), mut adam) = (characters(8, 128, 256), AdamW::new(1e-3));
    // 12 d^2 weights a block, of attention the lower half of two products of T, and the output's weights.
    let (d, t) = (256.0f64, 128.0);
    let work = Work::Flops(2.0 * 3.0 * 8.0 * t * (4.0 * (12.0 * d * d + t * d) + 256.0 * d));
    Ok(Job { step: Box::new(move || net.train_loss(&mut adam, &x, &next)), work })
}

fn mlp_infer(options: Options) -> Result<Job> {
    let net = Mlp::with_options(Seed(0), options)?;
    let x = uniform((1, 784));
    let work = inference(1, &net);
    Ok(Job { step: Box::new(move || Ok(net.forward(&x)?[[0, 0]])), work })
}

fn lenet_infer(options: Options) -> Result<Job> {
    let net = LeNet::with_options(Seed(0), options)?;
    let x = uniform((1, 1, 28, 28));
    let work = inference(1, &net);
    Ok(Job { step: Box::new(move || Ok(net.forward(&x)?[[0, 0]])), work })
}

fn resnet50_infer(batch: usize, options: Options) -> Result<Job> {
    let net = ResNet50::with_options(Seed(0), options)?;
    let x = uniform((batch, 3, 224, 224));
    let work = inference(batch, &net);
    Ok(Job { step: Box::new(move || Ok(net.forward(&x)?[[0, 0]])), work })
}
