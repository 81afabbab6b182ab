//! The convolutions of ResNet-50, of one image.

use dl::Options;
use dl::prelude::*;

use crate::task::{Job, Step, Task, Work, step_into, uniform};

/// A model of one convolution: window and stride are part of its text, channels and sizes are not.
macro_rules! convolution {
    ($name:ident, $kernel:tt, $stride:tt, $padding:tt) => {
        dl::model! {
            model $name {
                dim FROM, TO;
                let conv = Conv2d(FROM => TO, kernel = $kernel, stride = $stride, padding = $padding, bias = false);

                pub fn forward(
                    x: f32[N, FROM, H, W],
                ) -> f32[N, TO, (H + 2 * $padding - $kernel) / $stride + 1, (W + 2 * $padding - $kernel) / $stride + 1] {
                    conv(x)
                }
            }
        }
    };
}

convolution!(Point, 1, 1, 0);
convolution!(PointStrided, 1, 2, 0);
convolution!(Three, 3, 1, 1);
convolution!(ThreeStrided, 3, 2, 1);
convolution!(Stem, 7, 2, 3);

/// Channels, channels of the result, window, stride, height and width.
const CONVOLUTIONS: [[usize; 5]; 23] = [
    [3, 64, 7, 2, 224],
    [64, 64, 1, 1, 56],
    [64, 64, 3, 1, 56],
    [64, 256, 1, 1, 56],
    [256, 64, 1, 1, 56],
    [256, 128, 1, 1, 56],
    [128, 128, 3, 2, 56],
    [128, 512, 1, 1, 28],
    [256, 512, 1, 2, 56],
    [512, 128, 1, 1, 28],
    [128, 128, 3, 1, 28],
    [512, 256, 1, 1, 28],
    [256, 256, 3, 2, 28],
    [256, 1024, 1, 1, 14],
    [512, 1024, 1, 2, 28],
    [1024, 256, 1, 1, 14],
    [256, 256, 3, 1, 14],
    [1024, 512, 1, 1, 14],
    [512, 512, 3, 2, 14],
    [512, 2048, 1, 1, 7],
    [1024, 2048, 1, 2, 14],
    [2048, 512, 1, 1, 7],
    [512, 512, 3, 1, 7],
];

/// All convolutions.
pub fn tasks() -> Vec<Task> {
    CONVOLUTIONS.into_iter().map(task).collect()
}

fn task([from, to, kernel, stride, size]: [usize; 5]) -> Task {
    Task::new(format!("conv_{from}_{to}_k{kernel}s{stride}_{size}"), move |options: Options| {
        let x = uniform((1, from, size, size));
        /// A step of one of the models.
        macro_rules! step {
            ($model:ident) => {{
                let net = $model::with_options(from, to, Seed(0), options)?;
                step_into(move |y| net.forward_into(&x, y))
            }};
        }
        let step: Step = match (kernel, stride) {
            (1, 1) => step!(Point),
            (1, _) => step!(PointStrided),
            (3, 1) => step!(Three),
            (3, _) => step!(ThreeStrided),
            _ => step!(Stem),
        };
        let result = (size + 2 * (kernel / 2) - kernel) / stride + 1;
        let (image, filter) = (to * result * result, from * kernel * kernel);
        let bytes = 4 * (from * size * size + to * filter + image);
        Ok(Job { step, work: Work::Product { flops: (2 * image * filter) as f64, bytes: bytes as f64 } })
    })
}
