//! A progress bar for training loops.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The bar of one epoch, on standard error: batches done, running loss, samples a second, remaining time. Nothing is
/// printed where standard error is not a terminal.
///
/// ```
/// use dl_train::progress::Progress;
/// let mut progress = Progress::new("epoch 1/5", 3);
/// for loss in [2.0_f32, 1.0, 0.6] {
///     progress.step(64, loss);
/// }
/// let epoch = progress.finish();
/// assert!((epoch.loss - 1.2).abs() < 1e-6);
/// assert_eq!(epoch.samples, 192);
/// ```
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    loss: Mean,
    samples: usize,
}

/// What [`Progress`] saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// The mean loss of the samples; NaN if there were none.
    pub loss: f64,
    /// The number of samples.
    pub samples: usize,
    /// From the making of the bar to its end.
    pub time: Duration,
}

impl Progress {
    /// A bar with a title, over this many batches.
    pub fn new(title: impl Into<String>, batches: usize) -> Self {
        let style = "{prefix} {bar:30.cyan/dim} {pos}/{len} {msg} {eta} left";
        let style = ProgressStyle::with_template(style).expect("a valid template").progress_chars("━━─");
        let bar = ProgressBar::new(batches as u64).with_style(style).with_prefix(title.into());
        Self { bar, loss: Mean::default(), samples: 0 }
    }

    /// Counts one batch of this many samples with their mean loss.
    pub fn step(&mut self, samples: usize, loss: impl Into<f64>) {
        self.loss.add(loss.into(), samples as f64);
        self.samples += samples;
        if !self.bar.is_hidden() {
            let speed = self.samples as f64 / self.bar.elapsed().as_secs_f64().max(1e-9);
            self.bar.set_message(format!("loss {:.4}, {speed:.0} samples/s,", self.loss.value()));
        }
        self.bar.inc(1);
    }

    /// Takes the bar away and says what it saw.
    pub fn finish(self) -> Epoch {
        self.bar.finish_and_clear();
        Epoch { loss: self.loss.value(), samples: self.samples, time: self.bar.elapsed() }
    }
}

/// A weighted mean of values that come one by one.
///
/// ```
/// use dl_train::progress::Mean;
/// let mut mean = Mean::default();
/// assert!(mean.value().is_nan());
/// mean.add(1.0, 1.0);
/// mean.add(4.0, 2.0);
/// assert_eq!(mean.value(), 3.0);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    /// Adds a value, such as a batch's mean loss, that stands for `weight` samples.
    pub fn add(&mut self, value: f64, weight: f64) {
        self.sum += value * weight;
        self.weight += weight;
    }

    /// The mean so far; NaN before the first value.
    pub fn value(&self) -> f64 {
        self.sum / self.weight
    }
}
