//! A thing to time, and how it is timed and rated.

use dl::Options;
use dl::prelude::*;
use ndarray::{Array, Dimension, ShapeBuilder};

use crate::record::Record;
use crate::roofline::Roofline;
use crate::timing::Times;

/// A thing to time, by its name.
pub struct Task {
    pub name: String,
    make: Box<dyn Fn(Options) -> dl::Result<Job>>,
}

/// Does something and gives a number of it.
pub type Step = Box<dyn FnMut() -> dl::Result<f32>>;

/// A step that writes to an array, the same one each time, and gives its first element.
pub fn step_into<D: Dimension + 'static>(mut run: impl FnMut(&mut Array<f32, D>) -> dl::Result<()> + 'static) -> Step {
    let mut result = Array::default(D::default());
    Box::new(move || {
        run(&mut result)?;
        Ok(result.first().copied().unwrap_or(f32::NAN))
    })
}

/// A task that is ready to run.
pub struct Job {
    /// One step, which gives the loss or the first element of the result.
    pub step: Step,
    pub work: Work,
}

/// What a step does, for its rate.
#[derive(Clone, Copy)]
pub enum Work {
    /// So many operations in products.
    Flops(f64),
    /// One product of so many operations, on so many bytes.
    Product { flops: f64, bytes: f64 },
    /// So many bytes, read and written.
    Bytes(f64),
}

impl Task {
    /// What `make` makes.
    pub fn new(name: impl Into<String>, make: impl Fn(Options) -> dl::Result<Job> + 'static) -> Task {
        Task { name: name.into(), make: Box::new(make) }
    }

    /// Times the task for so many seconds; of a training step it tells on standard error where the loss went.
    ///
    /// Errors: those of the model, and values that are not finite.
    pub fn run(&self, options: Options, seconds: f64, roofline: &mut Roofline) -> Result<Record, String> {
        let (name, threads) = (&self.name, options.threads);
        let failed = |e: dl::Error| format!("{name}: {e}");
        let mut job = (self.make)(options).map_err(failed)?;
        let times = Times::measure(seconds, &mut job.step).map_err(failed)?;
        let (first, last) = (times.first_value, times.last_value);
        if !(first.is_finite() && last.is_finite()) {
            return Err(format!("{name}: the first step gave {first}, the last one {last}"));
        }
        if name.ends_with("_train") {
            let verdict = if last < first { "" } else { ", which has not fallen" };
            eprintln!("dl {name}: first loss {first}, last loss {last}{verdict}");
        }
        let record = Record::own(name, threads, &times);
        Ok(match job.work {
            Work::Flops(flops) => record.with_flops(flops, roofline.flops),
            Work::Product { flops, bytes } => record.with_flops(flops, roofline.flops_of(flops, bytes)),
            Work::Bytes(bytes) => record.with_bytes(bytes, roofline.copy(bytes)),
        })
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
pub fn classes(count: usize) -> Array1<i64> {
    let mut noise = Noise(2);
    Array::from_shape_simple_fn(count, || (noise.next() % 10) as i64)
}
