//! Matrix products: square, skinny, of transposed matrices and batched.

use dl::Options;
use dl::prelude::*;

use crate::task::{Job, Task, Work, step_into, uniform};

dl::model! {
    /// Products of all forms, `[M, N]` each, with sums over K.
    model Products {
        pub fn plain(a: f32[M, K], b: f32[K, N]) -> f32[M, N] {
            a.matmul(b)
        }

        pub fn left(a: f32[K, M], b: f32[K, N]) -> f32[M, N] {
            a.transpose(0, 1).matmul(b)
        }

        pub fn right(a: f32[M, K], b: f32[N, K]) -> f32[M, N] {
            a.matmul(b.transpose(0, 1))
        }

        pub fn batched(a: f32[B, M, K], b: f32[B, K, N]) -> f32[B, M, N] {
            a.matmul(b)
        }
    }
}

const SQUARES: [usize; 14] = [5, 8, 12, 16, 24, 32, 40, 48, 64, 100, 128, 256, 512, 1024];

/// M, K and N.
const SKINNY: [[usize; 3]; 5] = [[1000, 13, 1000], [13, 1000, 1000], [1000, 1000, 13], [1, 784, 512], [128, 784, 512]];
const TRANSPOSED: [[usize; 3]; 5] = [[64; 3], [256; 3], [1024; 3], [512, 128, 784], [128, 512, 784]];

/// B, M, K and N.
const BATCHED: [[usize; 4]; 3] = [[64, 128, 32, 128], [64, 128, 128, 32], [256, 16, 16, 16]];

/// All products.
pub fn tasks() -> Vec<Task> {
    let squares = SQUARES.map(|n| [n; 3]);
    let mut tasks: Vec<Task> = squares.iter().chain(&SKINNY).map(|&size| plain(size)).collect();
    tasks.extend(TRANSPOSED.into_iter().flat_map(|size| [left(size), right(size)]));
    tasks.extend(BATCHED.map(batched));
    tasks
}

fn work(b: usize, [m, k, n]: [usize; 3]) -> Work {
    Work::Product { flops: (2 * b * m * k * n) as f64, bytes: (4 * b * (m * k + k * n + m * n)) as f64 }
}

fn plain([m, k, n]: [usize; 3]) -> Task {
    Task::new(format!("matmul_{m}x{k}x{n}"), move |options: Options| {
        let net = Products::with_options(Seed(0), options)?;
        let (a, b) = (uniform((m, k)), uniform((k, n)));
        Ok(Job { step: step_into(move |y| net.plain_into(&a, &b, y)), work: work(1, [m, k, n]) })
    })
}

fn left([m, k, n]: [usize; 3]) -> Task {
    Task::new(format!("matmul_tn_{m}x{k}x{n}"), move |options: Options| {
        let net = Products::with_options(Seed(0), options)?;
        let (a, b) = (uniform((k, m)), uniform((k, n)));
        Ok(Job { step: step_into(move |y| net.left_into(&a, &b, y)), work: work(1, [m, k, n]) })
    })
}

fn right([m, k, n]: [usize; 3]) -> Task {
    Task::new(format!("matmul_nt_{m}x{k}x{n}"), move |options: Options| {
        let net = Products::with_options(Seed(0), options)?;
        let (a, b) = (uniform((m, k)), uniform((n, k)));
        Ok(Job { step: step_into(move |y| net.right_into(&a, &b, y)), work: work(1, [m, k, n]) })
    })
}

fn batched([batch, m, k, n]: [usize; 4]) -> Task {
    Task::new(format!("bmm_{batch}x{m}x{k}x{n}"), move |options: Options| {
        let net = Products::with_options(Seed(0), options)?;
        let (a, b) = (uniform((batch, m, k)), uniform((batch, k, n)));
        Ok(Job { step: step_into(move |y| net.batched_into(&a, &b, y)), work: work(batch, [m, k, n]) })
    })
}
