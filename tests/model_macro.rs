//! Models from their declaration to numbers: what `model!` expands to runs and means what it says.

use dl::prelude::*;
use ndarray::{Axis, array};

dl::model! {
    /// Everything the language has, in one small model.
    pub model Language {
        const HEADS = 2;
        dim DIM;
        require DIM % HEADS == 0;

        /// Attention over the rows.
        block Attention(WIDTH, COUNT) {
            let qkv = Linear(WIDTH => 3 * WIDTH, bias = false);

            fn forward(x: f32[B, T, WIDTH]) -> f32[B, T, WIDTH] {
                let (q, k, v) = split(qkv(x));
                let weights = einsum("bhtd,bhsd->bhts", q, k).softmax(axis = -1);
                einsum("bhts,bhsd->bhtd", weights, v).rearrange("b h t d -> b t (h d)")
            }

            fn split(x: f32[B, T, 3 * WIDTH]) -> (f32[B, COUNT, T, WIDTH / COUNT], f32[B, COUNT, T, WIDTH / COUNT], f32[B, COUNT, T, WIDTH / COUNT]) {
                let parts = x.rearrange("b t (three h d) -> three b h t d", three = 3, h = COUNT);
                (parts.index(0), parts.index(1), parts.index(2))
            }
        }

        let attention = [Attention(DIM, HEADS); 2];
        let twice = Linear(DIM => DIM);

        pub fn attend(x: f32[N, T, DIM]) -> f32[N, T, DIM] {
            attention(x)
        }

        pub fn shared(x: f32[N, DIM]) -> f32[N, DIM] {
            twice(twice(x))
        }

        pub fn mix(x: f32[N, M], y: f32[M], rate: f32) -> (f32[N, M], i64[N], f32) {
            let z = x * rate + y * (1.0 - rate);
            (z, z.argmax(axis = 1), z.slice(0..1, 1..).sum())
        }

        pub fn count(x: f64[N]) -> f64 {
            x.sum() / N
        }
    }
}

#[test]
fn every_construct_runs() -> dl::Result<()> {
    let net = Language::new(6, Seed(1))?;
    let names: Vec<&str> = net.parameters().map(|p| p.name()).collect();
    assert_eq!(names, ["attention.0.qkv.weight", "attention.1.qkv.weight", "twice.weight", "twice.bias"]);

    let x = Array3::from_shape_fn((2, 3, 6), |(i, j, k)| (i + j * k) as f32 / 7.0);
    assert_eq!(net.attend(&x)?.dim(), (2, 3, 6));

    let rows = x.index_axis(Axis(0), 1);
    let weight = net.parameter("twice.weight")?.to_array::<f32>()?.into_dimensionality::<ndarray::Ix2>().unwrap();
    let bias = net.parameter("twice.bias")?.to_array::<f32>()?.into_dimensionality::<ndarray::Ix1>().unwrap();
    let apply = |x: &Array2<f32>| x.dot(&weight.t()) + &bias;
    let expected = apply(&apply(&rows.to_owned()));
    let by_reference = &rows;
    assert_eq!(net.shared(rows)?, net.shared(by_reference)?);
    let difference = (&net.shared(rows)? - &expected).mapv(f32::abs).sum();
    assert!(difference < 1e-4, "{difference}");

    let (z, best, sum) = net.mix(&array![[1.0, 2.0], [3.0, 0.0]], &array![0.0, 1.0], 0.5)?;
    assert_eq!((z, best, sum), (array![[0.5, 1.5], [1.5, 0.5]], array![1, 0], 1.5));
    assert_eq!(net.count(&array![1.0, 2.0, 6.0])?, 3.0);
    Ok(())
}

#[test]
fn a_size_that_breaks_a_fact_is_refused() {
    let message = Language::new(5, Seed(0)).err().expect("5 is odd").to_string();
    assert!(message.contains("DIM % 2 == 0"), "{message}");
}

dl::model! {
    model Line {
        let weight = Linear(1 => 1);
        let other = Linear(1 => 1);

        pub fn forward(x: f32[N, 1]) -> f32[N, 1] {
            weight(x) + other(x)
        }

        #[train]
        pub fn loss(x: f32[N, 1], y: f32[N, 1]) -> f32 {
            forward(x).mse_loss(y)
        }

        #[train(only = weight)]
        pub fn weight_loss(x: f32[N, 1], y: f32[N, 1]) -> f32 {
            loss(x, y)
        }
    }
}

#[test]
fn training_updates_what_only_names() -> dl::Result<()> {
    let mut line = Line::new(Seed(3))?;
    let (x, y) = (array![[0.0f32], [1.0], [2.0]], array![[1.0f32], [3.0], [5.0]]);
    let other = line.parameter("other.weight")?.to_array::<f32>()?;
    let mut sgd = Sgd::new(0.05);
    let first = line.train_weight_loss(&mut sgd, &x, &y)?;
    for _ in 0..200 {
        line.train_weight_loss(&mut sgd, &x, &y)?;
    }
    let (last, gradients) = line.grad_loss(&x, &y)?;
    assert!(last < 0.05 * first, "{first} to {last}");
    assert_eq!(line.parameter("other.weight")?.to_array::<f32>()?, other);
    assert_eq!(gradients.names().collect::<Vec<_>>(), ["weight.weight", "weight.bias", "other.weight", "other.bias"]);
    let (_, of_weight) = line.grad_weight_loss(&x, &y)?;
    assert_eq!(of_weight.names().collect::<Vec<_>>(), ["weight.weight", "weight.bias"]);
    Ok(())
}

dl::model! {
    model Modes {
        let dropped = [Linear(3 => 8), Dropout(0.5), Linear(8 => 1)];
        let normed = [Linear(3 => 8), BatchNorm1d(8), Linear(8 => 1)];

        #[train]
        pub fn dropped_loss(x: f32[N, 3], y: f32[N, 1]) -> f32 {
            dropped(x).mse_loss(y)
        }

        #[train]
        pub fn normed_loss(x: f32[N, 3], y: f32[N, 1]) -> f32 {
            normed(x).mse_loss(y)
        }
    }
}

/// A batch for `Modes`.
fn batch() -> (Array2<f32>, Array2<f32>) {
    (Array2::from_shape_fn((4, 3), |(i, j)| (i * 5 + j * 3) as f32 % 7.0 - 3.0), array![[1.0], [-1.0], [0.5], [2.0]])
}

/// So low a rate that no parameter changes.
const STILL: f64 = 1e-30;

#[test]
fn gradients_leave_dropout_out_and_steps_do_not() -> dl::Result<()> {
    let mut net = Modes::new(Seed(1))?;
    let (x, y) = batch();
    let (loss, before) = net.grad_dropped_loss(&x, &y)?;
    assert!((loss - net.dropped_loss(&x, &y)?).abs() < 1e-6);
    let mut sgd = Sgd::new(STILL);
    let steps = [net.train_dropped_loss(&mut sgd, &x, &y)?, net.train_dropped_loss(&mut sgd, &x, &y)?];
    assert!(steps[0] != steps[1] && steps[0] != loss, "{steps:?} {loss}");
    let (again, after) = net.grad_dropped_loss(&x, &y)?;
    assert_eq!(again, loss);
    assert_eq!(before.names().count(), 4);
    for name in before.names() {
        assert_eq!(before.get::<f32>(name), after.get::<f32>(name), "{name}");
    }
    Ok(())
}

#[test]
fn gradients_take_the_running_statistics_and_leave_them() -> dl::Result<()> {
    let mut net = Modes::new(Seed(1))?;
    let (x, y) = batch();
    let mean = |net: &Modes| net.parameter("normed.1.running_mean")?.to_array::<f32>();
    let start = mean(&net)?;
    net.train_normed_loss(&mut Sgd::new(STILL), &x, &y)?;
    let stepped = mean(&net)?;
    assert_ne!(start, stepped);
    let (loss, gradients) = net.grad_normed_loss(&x, &y)?;
    assert_eq!(mean(&net)?, stepped);
    assert!((loss - net.normed_loss(&x, &y)?).abs() < 1e-6 * loss);
    // In training the mean of the batch takes this bias away, and its gradient is 0.
    let name = "normed.0.bias";
    let gradient = gradients.get::<f32>(name).expect("a gradient")[0];
    let bias = net.parameter(name)?.to_array::<f32>()?;
    let mut moved = |by: f32| {
        let mut bias = bias.clone();
        bias[0] += by;
        net.set_parameter(name, &bias)?;
        net.normed_loss(&x, &y)
    };
    let slope = (moved(0.05)? - moved(-0.05)?) / 0.1;
    assert!(gradient.abs() > 0.01 && (gradient - slope).abs() < 1e-3, "{gradient} {slope}");
    Ok(())
}

#[test]
fn a_wrong_shape_names_argument_and_both_shapes() -> dl::Result<()> {
    let line = Line::new(Seed(0))?;
    let message = line.forward(&Array2::zeros((3, 2))).expect_err("two columns").to_string();
    assert!(message.contains("`x`") && message.contains("f32[N, 1]") && message.contains("[3, 2]"), "{message}");
    Ok(())
}

#[test]
fn results_go_into_arrays_that_are_there() -> dl::Result<()> {
    let net = Language::new(6, Seed(1))?;
    let x = Array2::from_shape_fn((4, 6), |(i, j)| (i * 6 + j) as f32 / 10.0);
    let expected = net.shared(&x)?;
    // As long, of another shape and full of what was there: its memory is used again.
    let mut out = Array2::from_elem((3, 8), f32::NAN);
    let memory = out.as_ptr();
    net.shared_into(&x, &mut out)?;
    assert_eq!((&out, out.as_ptr()), (&expected, memory));
    net.shared_into(&x, &mut out)?;
    assert_eq!((&out, out.as_ptr()), (&expected, memory));
    // Shorter, longer, in another order: a new one takes its place.
    let turned = Array2::<f32>::zeros((6, 4)).reversed_axes();
    for mut other in [Array2::default((0, 0)), Array2::zeros((9, 9)), turned] {
        net.shared_into(&x, &mut other)?;
        assert_eq!(other, expected);
        assert!(other.is_standard_layout());
    }
    // Several results, a number among them.
    let y = Array1::linspace(0.0, 1.0, 6);
    let mut all = (Array2::zeros((4, 6)), Array1::zeros(9), 0.0);
    let memory = all.0.as_ptr();
    net.mix_into(&x, &y, 0.25, &mut all)?;
    assert_eq!(all, net.mix(&x, &y, 0.25)?);
    assert_eq!(all.0.as_ptr(), memory);
    // An error says what `shared` says, and leaves nothing behind that could be taken for a result.
    let wrong = Array2::<f32>::zeros((4, 5));
    let error = net.shared_into(&wrong, &mut out).unwrap_err();
    assert_eq!(error.to_string(), net.shared(&wrong).unwrap_err().to_string());
    assert!(out.is_empty());
    net.shared_into(&x, &mut out)?;
    assert_eq!(out, expected);
    Ok(())
}
