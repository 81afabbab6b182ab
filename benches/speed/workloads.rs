//! The reference workloads: models, inputs and optimizers.

use dl::prelude::*;
use dl::{Options, Result};
use ndarray::{Array, Dimension, ShapeBuilder};

use crate::models::{LeNet, Mlp, ResNet18Cifar, ResNet50, Vae};
use crate::timing::{Record, Times};

/// A workload that is ready to run.
struct Job {
    /// One step, which gives the loss or the first element of the result.
    step: Box<dyn FnMut() -> Result<f32>>,
    /// Floating point operations of a step: those of its products, computed directly and without what nobody asks for,
    /// the gradient of the input.
    flops: f64,
}

/// A workload by its name.
pub struct Workload {
    pub name: &'static str,
    make: fn(Options) -> Result<Job>,
}

/// Every workload.
pub const WORKLOADS: &[Workload] = &[
    Workload { name: "mlp_train", make: mlp_train },
    Workload { name: "vae_train", make: vae_train },
    Workload { name: "lenet_train", make: lenet_train },
    Workload { name: "resnet18_cifar_train", make: resnet18_cifar_train },
    Workload { name: "mlp_infer_b1", make: mlp_infer },
    Workload { name: "lenet_infer_b1", make: lenet_infer },
    Workload { name: "resnet50_infer_b1", make: |options| resnet50_infer(1, options) },
    Workload { name: "resnet50_infer_b8", make: |options| resnet50_infer(8, options) },
];

impl Workload {
    /// Whether a step trains.
    fn trains(&self) -> bool {
        self.name.ends_with("_train")
    }

    /// Times the workload for so many seconds and tells on standard error what its steps returned.
    ///
    /// Errors: those of the model, and values that are not finite.
    pub fn run(&self, options: Options, seconds: f64) -> std::result::Result<Record, String> {
        let threads = options.threads;
        let failed = |e: dl::Error| format!("{}: {e}", self.name);
        let mut job = (self.make)(options).map_err(failed)?;
        let times = Times::measure(seconds, &mut job.step).map_err(failed)?;
        let (first, last) = (times.first_value, times.last_value);
        if !(first.is_finite() && last.is_finite()) {
            return Err(format!("{}: the first step gave {first}, the last one {last}", self.name));
        }
        let seen = match self.trains() {
            true if last < first => format!("first loss {first}, last loss {last}"),
            true => format!("first loss {first}, last loss {last}, which has not fallen"),
            false => format!("first value {last}"),
        };
        eprintln!("dl {}: {:.1} GFLOP/s; {seen}", self.name, job.flops / times.median() / 1e6);
        Ok(Record::own(self.name, threads, &times))
    }
}

/// Numbers without a pattern that are the same in every run.
struct Noise(u64);

impl Noise {
    /// The next number of a splitmix64 generator.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Numbers uniform in [0, 1).
pub fn uniform<D: Dimension>(shape: impl ShapeBuilder<Dim = D>) -> Array<f32, D> {
    let mut noise = Noise(1);
    Array::from_shape_simple_fn(shape, || (noise.next() >> 40) as f32 / (1u64 << 24) as f32)
}

/// Class numbers below 10.
fn classes(count: usize) -> Array1<i64> {
    let mut noise = Noise(2);
    Array::from_shape_simple_fn(count, || (noise.next() % 10) as i64)
}

/// Operations of a step of inference.
fn forward_flops(batch: usize, model: &dl::Model) -> f64 {
    2.0 * batch as f64 * model.summary().multiply_adds as f64
}

/// Operations of a step of training: two more products for each layer, but for the first only one.
fn train_flops(batch: usize, model: &dl::Model) -> f64 {
    let first = model.summary().rows.iter().map(|row| row.multiply_adds).find(|&cost| cost > 0).unwrap_or(0);
    3.0 * forward_flops(batch, model) - 2.0 * batch as f64 * first as f64
}

fn mlp_train(options: Options) -> Result<Job> {
    let mut net = Mlp::with_options(Seed(0), options)?;
    let (x, label, mut adam) = (uniform((128, 784)), classes(128), Adam::new(1e-3));
    let flops = train_flops(128, &net);
    Ok(Job { step: Box::new(move || net.train_loss(&mut adam, &x, &label)), flops })
}

fn vae_train(options: Options) -> Result<Job> {
    let mut net = Vae::with_options(Seed(0), options)?;
    let (x, mut adam) = (uniform((128, 784)), Adam::new(1e-3));
    let flops = train_flops(128, &net);
    Ok(Job { step: Box::new(move || net.train_loss(&mut adam, &x)), flops })
}

fn lenet_train(options: Options) -> Result<Job> {
    let mut net = LeNet::with_options(Seed(0), options)?;
    let (x, label, mut adam) = (uniform((64, 1, 28, 28)), classes(64), Adam::new(1e-3));
    let flops = train_flops(64, &net);
    Ok(Job { step: Box::new(move || net.train_loss(&mut adam, &x, &label)), flops })
}

fn resnet18_cifar_train(options: Options) -> Result<Job> {
    let mut net = ResNet18Cifar::with_options(Seed(0), options)?;
    let (x, label) = (uniform((32, 3, 32, 32)), classes(32));
    let mut sgd = Sgd::new(0.05).momentum(0.9).weight_decay(5e-4);
    let flops = train_flops(32, &net);
    Ok(Job { step: Box::new(move || net.train_loss(&mut sgd, &x, &label)), flops })
}

fn mlp_infer(options: Options) -> Result<Job> {
    let net = Mlp::with_options(Seed(0), options)?;
    let x = uniform((1, 784));
    let flops = forward_flops(1, &net);
    Ok(Job { step: Box::new(move || Ok(net.forward(&x)?[[0, 0]])), flops })
}

fn lenet_infer(options: Options) -> Result<Job> {
    let net = LeNet::with_options(Seed(0), options)?;
    let x = uniform((1, 1, 28, 28));
    let flops = forward_flops(1, &net);
    Ok(Job { step: Box::new(move || Ok(net.forward(&x)?[[0, 0]])), flops })
}

fn resnet50_infer(batch: usize, options: Options) -> Result<Job> {
    let net = ResNet50::with_options(Seed(0), options)?;
    let x = uniform((batch, 3, 224, 224));
    let flops = forward_flops(batch, &net);
    Ok(Job { step: Box::new(move || Ok(net.forward(&x)?[[0, 0]])), flops })
}
