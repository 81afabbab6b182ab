//! Methods whose graphs depend on sizes that are bound at the call: orders and running folds, compiled.

use dl::Options;
use dl::prelude::*;
use ndarray::{ArrayD, Axis, Zip, s};

dl::model! {
    model Orders {
        pub fn sorted(x: f32[N, T]) -> (f32[N, T], i64[N, T]) {
            x.sort(axis = 0, descending = true)
        }

        pub fn best(x: f32[N, T]) -> (f32[N, 2], i64[N, 2]) {
            x.topk(2)
        }

        pub fn middle(x: f32[N, T]) -> (f32[N], f32[N]) {
            (x.median(axis = 1), x.quantile(0.25, axis = 1))
        }
    }
}

dl::model! {
    model Folds {
        let scale = Linear(1 => 1);

        pub fn sums(x: f32[N, T]) -> f32[N, T] {
            x.cumsum(axis = 1)
        }

        pub fn greatest(x: f32[N, T]) -> (f32[N, T], i64[N, T]) {
            x.cummax(axis = 1)
        }

        pub fn logs(x: f32[T]) -> f32[T] {
            x.logcumsumexp()
        }

        #[train]
        pub fn loss(x: f32[N, 1]) -> f32 {
            (scale(x).cumsum(axis = 0) * x).mean()
        }
    }
}

/// Numbers in -1..1, some of them equal, that are the same in every run.
fn numbers(shape: (usize, usize)) -> Array2<f32> {
    let mut state = 7u64;
    Array2::from_shape_simple_fn(shape, || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 54) as f32 / 512.0 - 1.0
    })
}

fn options(threads: usize) -> Options {
    let mut options = Options::from_env().unwrap();
    options.threads = threads;
    options
}

#[test]
fn orders_are_those_of_a_stable_sort_on_any_number_of_threads() {
    let x = numbers((3000, 40));
    let mut places: Array2<i64> = Array2::zeros(x.dim());
    for (column, mut to) in x.columns().into_iter().zip(places.columns_mut()) {
        let mut order: Vec<usize> = (0..column.len()).collect();
        order.sort_by(|&a, &b| column[b].total_cmp(&column[a]));
        to.iter_mut().zip(order).for_each(|(to, i)| *to = i as i64);
    }
    for threads in [1, 2, 5] {
        let net = Orders::with_options(Seed(0), options(threads)).unwrap();
        let (values, index) = net.sorted(&x).unwrap();
        assert_eq!(index, places, "{threads} threads");
        let picked = Array2::from_shape_fn(x.dim(), |(i, j)| x[[index[[i, j]] as usize, j]]);
        assert_eq!(values, picked);
    }
}

#[test]
fn the_best_and_the_middle_of_rows() {
    let net = Orders::new(Seed(0)).unwrap();
    for width in [2, 3, 64, 65] {
        let x = numbers((9, width));
        let (values, index) = net.best(&x).unwrap();
        let (median, quarter) = net.middle(&x).unwrap();
        for (i, row) in x.rows().into_iter().enumerate() {
            let mut sorted = row.to_vec();
            sorted.sort_by(f32::total_cmp);
            assert_eq!(values.row(i).to_vec(), [sorted[width - 1], sorted[width - 2]]);
            assert_eq!(index.row(i).mapv(|j| row[j as usize]), values.row(i));
            assert_eq!(median[i], sorted[(width - 1) / 2]);
            let (place, last) = (0.25 * (width - 1) as f32, width - 1);
            let (low, high) = (sorted[place as usize], sorted[(place.ceil() as usize).min(last)]);
            assert!((quarter[i] - (low + (high - low) * place.fract())).abs() < 1e-6);
        }
    }
    let error = net.best(&numbers((4, 1))).unwrap_err().to_string();
    assert!(error.contains('T') && error.contains('1'), "{error}");
}

#[test]
fn running_folds_of_every_length() {
    let net = Folds::new(Seed(0)).unwrap();
    for width in [1, 2, 63, 64, 65, 128, 129, 1000, 4097] {
        let x = numbers((2, width));
        let sums = net.sums(&x).unwrap();
        let (greatest, index) = net.greatest(&x).unwrap();
        for i in 0..2 {
            let (mut sum, mut best) = (0.0f64, f32::NEG_INFINITY);
            for j in 0..width {
                sum += f64::from(x[[i, j]]);
                best = best.max(x[[i, j]]);
                assert!((f64::from(sums[[i, j]]) - sum).abs() < 1e-4, "{width}: {j}");
                assert_eq!(greatest[[i, j]], best);
                assert_eq!(x[[i, index[[i, j]] as usize]], best);
            }
        }
        let logs = net.logs(x.slice(s![0, ..])).unwrap();
        let mut sum = 0.0f64;
        for (y, x) in logs.iter().zip(x.row(0)) {
            sum += f64::from(*x).exp();
            assert!((f64::from(*y) - sum.ln()).abs() < 1e-4, "{width}");
        }
    }
}

#[test]
fn gradients_through_running_sums_of_any_length() {
    let net = Folds::new(Seed(3)).unwrap();
    for count in [1, 70, 300] {
        let x = numbers((1, count)).reversed_axes().as_standard_layout().to_owned();
        let (_, grads) = net.grad_loss(&x).unwrap();
        let found: ArrayD<f32> = grads.get("scale.weight").unwrap();
        // d/dw of mean(x[i] * sum of w * x[j] for j <= i)
        let mut sums = x.clone();
        sums.accumulate_axis_inplace(Axis(0), |&before, x| *x += before);
        let expected = Zip::from(&x).and(&sums).fold(0.0, |sum, x, s| sum + x * s) / count as f32;
        let found = found[[0, 0]];
        assert!((found - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{count}: {found} for {expected}");
    }
}

dl::model! {
    model Penalised {
        block Inner(WIDTH) {
            let fc = Linear(WIDTH => WIDTH);
            let norm = BatchNorm1d(WIDTH);

            fn forward(x: f32[N, WIDTH]) -> f32[N, WIDTH] {
                norm(fc(x))
            }

            fn size() -> f32 {
                l1_penalty(fc.weight)
            }
        }

        let inner = [Inner(3); 2];
        let head = [Linear(3 => 2), Relu, Linear(2 => 1)];

        pub fn all() -> (f32, f32, f32) {
            (l2_penalty(inner, head), l1_penalty(head.0.bias, head.2), inner.1.size())
        }

        #[train]
        pub fn loss(x: f32[N, 3]) -> f32 {
            head(inner(x)).mean() + 0.5 * l2_penalty(head.2.weight)
        }
    }
}

#[test]
fn penalties_on_chosen_parameters() {
    let net = Penalised::new(Seed(5)).unwrap();
    let of = |name: &str| net.parameter(name).unwrap().to_array::<f32>().unwrap();
    let is_trained = |name: &str| !name.contains("running") && !name.contains("batches");
    let names: Vec<String> = net.parameters().map(|p| p.name().to_string()).filter(|n| is_trained(n)).collect();
    let squares: f32 = names.iter().map(|n| of(n).mapv(|w| w * w).sum()).sum();
    let size = |name: &str| of(name).mapv(f32::abs).sum();
    let (all, some, inner) = net.all().unwrap();
    assert_eq!(names.len(), 12);
    assert!((all - squares).abs() < 1e-5 * squares, "{all} for {squares}");
    assert!((some - size("head.0.bias") - size("head.2.weight") - size("head.2.bias")).abs() < 1e-6);
    assert!((inner - size("inner.1.fc.weight")).abs() < 1e-6);
    let x = Array2::zeros((1, 3));
    let (_, grads) = net.grad_loss(&x).unwrap();
    let (grad, weight): (ArrayD<f32>, _) = (grads.get("head.2.weight").unwrap(), of("head.2.weight"));
    let hidden = grad - &weight;
    assert!(hidden.iter().all(|&h| h >= -1e-6), "what is left is the mean of relu, not below 0: {hidden}");
}
