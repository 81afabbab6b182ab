//! Operations that are as fast as memory, in caches and beyond: softmax, layer norm and GELU.

use dl::Options;
use dl::prelude::*;

use crate::task::{Job, Task, Work, step_into, uniform};

dl::model! {
    /// Each operation by itself.
    model Rows {
        dim WIDTH;
        let norm = LayerNorm(WIDTH);

        pub fn softmax(x: f32[R, C]) -> f32[R, C] {
            x.softmax(axis = 1)
        }

        pub fn layer_norm(x: f32[R, WIDTH]) -> f32[R, WIDTH] {
            norm(x)
        }

        pub fn gelu(x: f32[N]) -> f32[N] {
            x.gelu()
        }
    }
}

/// Rows and columns.
const SIZES: [[usize; 2]; 3] = [[16, 256], [256, 1024], [16384, 1024]];

/// All operations at all sizes.
pub fn tasks() -> Vec<Task> {
    SIZES.into_iter().flat_map(|size| [softmax(size), layer_norm(size), gelu(size[0] * size[1])]).collect()
}

/// Each element is read and written once.
fn work(elements: usize) -> Work {
    Work::Bytes(8.0 * elements as f64)
}

fn softmax([rows, columns]: [usize; 2]) -> Task {
    Task::new(format!("softmax_{rows}x{columns}"), move |options: Options| {
        let (net, x) = (Rows::with_options(columns, Seed(0), options)?, uniform((rows, columns)));
        Ok(Job { step: step_into(move |y| net.softmax_into(&x, y)), work: work(rows * columns) })
    })
}

fn layer_norm([rows, columns]: [usize; 2]) -> Task {
    Task::new(format!("layer_norm_{rows}x{columns}"), move |options: Options| {
        let (net, x) = (Rows::with_options(columns, Seed(0), options)?, uniform((rows, columns)));
        Ok(Job { step: step_into(move |y| net.layer_norm_into(&x, y)), work: work(rows * columns) })
    })
}

fn gelu(elements: usize) -> Task {
    Task::new(format!("gelu_{elements}"), move |options: Options| {
        let (net, x) = (Rows::with_options(1, Seed(0), options)?, uniform(elements));
        Ok(Job { step: step_into(move |y| net.gelu_into(&x, y)), work: work(elements) })
    })
}
