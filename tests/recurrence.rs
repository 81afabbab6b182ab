//! Recurrence in models: `scan`, recurrent layers, ragged batches, sequences of any length.

use dl::prelude::*;
use ndarray::{Axis, s};

dl::model! {
    model Cells {
        dim HIDDEN;
        let cell = GruCell(4 => HIDDEN);
        let gru = Gru(4 => HIDDEN);
        let lstm = Lstm(4 => HIDDEN, layers = 2, bidirectional = true, dropout = 0.1);
        let out = Linear(2 * HIDDEN => 3);

        /// The cell in a loop of its own.
        pub fn by_hand(x: f32[N, T, 4], h: f32[N, HIDDEN]) -> (f32[N, HIDDEN], f32[N, T, HIDDEN]) {
            scan(h, x, axis = 1, |h, x| {
                let h = cell(x, h);
                (h, h)
            })
        }

        /// The layer.
        pub fn by_layer(x: f32[N, T, 4], h: f32[N, HIDDEN]) -> (f32[N, HIDDEN], f32[N, T, HIDDEN]) {
            let (y, last) = gru(x, h.unsqueeze(0));
            (last.squeeze(0), y)
        }

        pub fn ragged(x: f32[N, T, 4], lengths: i64[N]) -> (f32[N, T, 2 * HIDDEN], f32[4, N, HIDDEN]) {
            let (y, h, _c) = lstm(x, lengths = lengths);
            (y, h)
        }

        #[train]
        pub fn loss(x: f32[N, T, 4], label: i64[N]) -> f32 {
            let (y, _h, _c) = lstm(x);
            out(y.mean(1)).cross_entropy(label)
        }

        /// Running sums, and what they are made from, backwards; no state at all.
        pub fn sums(x: f32[T, K]) -> (f32[T, K], f32[T], f32[T, K]) {
            let (_total, (before, size)) = scan(zeros([K]), x, reverse = true, |sum, x| {
                (sum + x, (sum, x.square().sum()))
            });
            let (_, doubled) = scan((), x, |_, x| ((), 2.0 * x));
            (before, size, doubled)
        }

        /// Powers of two without a tensor to go along.
        pub fn powers(x: f32[K]) -> f32[K] {
            scan(x, length = 10, |x| x + x)
        }
    }
}

dl::model! {
    model Rows {
        let table = Embedding(5 => 3);
        let scale = Parameter(3, init = "ones");

        /// The sum of rows, by a loop within a loop.
        pub fn total(ids: i64[T, S]) -> (f32[3], f32[T, 3]) {
            scan(zeros([3]), ids, |h, row| {
                let h = scan(h, row, |h, id| h + table(id));
                (h, h)
            })
        }

        /// A state of whole numbers, and a result that no step changes.
        pub fn counts(x: f32[T, 3]) -> (i64[3], f32[T, 3]) {
            scan(zeros([3]).to(i64), x, |n, x| (n + (x > 0.0).to(i64), ones([3])))
        }

        #[train]
        pub fn loss(x: f32[T, 3]) -> f32 {
            scan(zeros([3]), x, |h, x| 0.5 * h + (x * scale()).dropout(0.5)).square().sum()
        }

        pub fn only_ones(x: f32[T, 3]) -> f32[T, 3] {
            let (_h, ones) = scan(zeros([3]), x, |h, x| (h + x, ones([3])));
            ones
        }

        pub fn many(x: f32[3], y: f32[T]) -> f32[3] {
            scan(x, length = T - 2, |x| x + 1.0) + 0.0 * y.sum()
        }
    }
}

fn input(n: usize, t: usize) -> Array3<f32> {
    Array3::from_shape_fn((n, t, 4), |(i, j, k)| ((i * 7 + j * 5 + k * 3) % 11) as f32 / 11.0 - 0.4)
}

fn close(a: &ndarray::ArrayD<f32>, b: &ndarray::ArrayD<f32>) -> bool {
    a.shape() == b.shape() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
}

#[test]
fn a_cell_in_a_loop_is_the_layer() -> dl::Result<()> {
    let mut net = Cells::new(6, Seed(1))?;
    for name in ["weight_ih", "weight_hh", "bias_ih", "bias_hh"] {
        let value = net.parameter(&format!("cell.{name}"))?.to_array::<f32>().unwrap();
        net.set_parameter(&format!("gru.{name}_l0"), &value)?;
    }
    for (n, t) in [(3, 7), (1, 1), (5, 20)] {
        let (x, h) = (input(n, t), Array2::from_elem((n, 6), 0.25));
        let (last, all) = net.by_hand(&x, &h)?;
        let (last_of_layer, all_of_layer) = net.by_layer(&x, &h)?;
        assert!(close(&last.into_dyn(), &last_of_layer.into_dyn()));
        assert!(close(&all.into_dyn(), &all_of_layer.into_dyn()));
    }
    Ok(())
}

#[test]
fn padding_behind_a_sequence_changes_nothing() -> dl::Result<()> {
    let net = Cells::new(5, Seed(2))?;
    let x = input(3, 9);
    let lengths = ndarray::array![9, 4, 1];
    let (y, h) = net.ragged(&x, &lengths)?;
    for (i, &length) in lengths.iter().enumerate() {
        let alone = x.slice(s![i..i + 1, ..length as usize, ..]).to_owned();
        let (y_alone, h_alone) = net.ragged(&alone, &ndarray::array![length])?;
        let shown = y.slice(s![i..i + 1, ..length as usize, ..]).to_owned();
        assert!(close(&shown.into_dyn(), &y_alone.into_dyn()), "sequence {i}");
        assert!(y.slice(s![i, length as usize.., ..]).iter().all(|&v| v == 0.0));
        assert!(close(
            &h.index_axis(Axis(1), i).to_owned().into_dyn(),
            &h_alone.index_axis(Axis(1), 0).to_owned().into_dyn()
        ));
    }
    Ok(())
}

#[test]
fn an_lstm_learns_and_its_gradients_are_differences() -> dl::Result<()> {
    let mut net = Cells::new(8, Seed(3))?;
    let x = input(6, 5);
    let label = ndarray::array![0, 1, 2, 0, 1, 2];
    let (first, gradients) = net.grad_loss(&x, &label)?;
    for name in ["lstm.weight_hh_l0", "lstm.weight_ih_l1_reverse", "lstm.bias_hh_l0_reverse", "out.weight"] {
        let value = net.parameter(name)?.to_array::<f32>().unwrap();
        let gradient = gradients.get::<f32>(name).unwrap().to_owned();
        let at = value.len() / 2;
        let mut loss_at = |shift: f32| -> dl::Result<f32> {
            let mut moved = value.clone();
            moved.as_slice_mut().unwrap()[at] += shift;
            net.set_parameter(name, &moved)?;
            let loss = net.loss(&x, &label);
            net.set_parameter(name, &value)?;
            loss
        };
        let difference = (loss_at(1e-2)? - loss_at(-1e-2)?) / 2e-2;
        let found = gradient.as_slice().unwrap()[at];
        // The loss is an f32 near 1, so its difference is known to 1e-5.
        assert!((difference - found).abs() < 3e-4 + 2e-2 * found.abs(), "{name}: {found} instead of {difference}");
    }
    let mut adam = Adam::new(0.02);
    for _ in 0..60 {
        net.train_loss(&mut adam, &x, &label)?;
    }
    let last = net.loss(&x, &label)?;
    assert!(last < 0.5 * first, "{first} before, {last} after");
    Ok(())
}

#[test]
fn loops_of_ones_own() -> dl::Result<()> {
    let net = Cells::new(2, Seed(0))?;
    let x = ndarray::array![[1.0f32, 2.0], [3.0, 4.0], [5.0, 6.0]];
    let (before, size, doubled) = net.sums(&x)?;
    assert_eq!(before, ndarray::array![[8.0, 10.0], [5.0, 6.0], [0.0, 0.0]]);
    assert_eq!(size, ndarray::array![5.0, 25.0, 61.0]);
    assert_eq!(doubled, 2.0 * &x);
    assert_eq!(net.powers(&ndarray::array![1.0f32, 3.0])?, ndarray::array![1024.0, 3072.0]);
    Ok(())
}

#[test]
fn a_program_does_not_grow_with_the_sequence() -> dl::Result<()> {
    let net = Cells::new(4, Seed(0))?;
    let kernels = |t: usize| -> dl::Result<String> {
        let text = net.explain_by_layer(&input(2, t), &Array2::zeros((2, 4)))?;
        let line = text.lines().find(|line| line.contains(" kernels for ")).expect("a line of kernels");
        Ok(line.to_string())
    };
    assert_eq!(kernels(8)?, kernels(512)?);
    Ok(())
}

#[test]
fn a_wrong_index_in_a_loop_names_its_table() -> dl::Result<()> {
    let net = Rows::new(Seed(0))?;
    let table = net.parameter("table.weight")?.to_array::<f32>()?;
    let (total, each) = net.total(&ndarray::array![[1, 2], [4, 4]])?;
    let expected = |k: usize| table[[1, k]] + table[[2, k]] + 2.0 * table[[4, k]];
    assert!((0..3).all(|k| (total[k] - expected(k)).abs() < 1e-5 && each[[1, k]] == total[k]));
    let message = net.total(&ndarray::array![[1, 2], [5, 0]]).unwrap_err().to_string();
    assert!(message.contains('5') && message.contains("recurrence.rs"), "{message}");
    assert!(!message.contains("internal"), "{message}");
    Ok(())
}

#[test]
fn states_of_whole_numbers_constant_results_and_dropout() -> dl::Result<()> {
    let mut net = Rows::new(Seed(0))?;
    let x = ndarray::array![[1.0f32, -2.0, 0.5], [3.0, 0.0, -1.0], [0.1, 0.2, 0.3]];
    let (counts, ones) = net.counts(&x)?;
    assert_eq!((counts, ones), (ndarray::array![3, 1, 2], Array2::ones((3, 3))));
    assert_eq!(net.only_ones(&x)?, Array2::<f32>::ones((3, 3)));
    // Without dropout the loss is a known sum; with it, steps differ from each other and from that.
    let expected: f32 = (0..3).map(|k| (0.25 * x[[0, k]] + 0.5 * x[[1, k]] + x[[2, k]]).powi(2)).sum();
    assert!((net.loss(&x)? - expected).abs() < 1e-5);
    let mut sgd = Sgd::new(0.0);
    let losses = [net.train_loss(&mut sgd, &x)?, net.train_loss(&mut sgd, &x)?, net.train_loss(&mut sgd, &x)?];
    assert!(losses.iter().any(|&loss| loss != losses[0]), "{losses:?}");
    Ok(())
}

#[test]
fn loops_too_short_and_too_long_are_refused() -> dl::Result<()> {
    let net = Rows::new(Seed(0))?;
    let x = Array1::<f32>::zeros(3);
    assert_eq!(net.many(&x, &Array1::zeros(5))?, Array1::from_elem(3, 3.0));
    let message = net.many(&x, &Array1::zeros(2)).unwrap_err().to_string();
    assert!(message.contains("must be at least 1, but it is 0"), "{message}");
    Ok(())
}

#[test]
fn summaries_count_what_loops_multiply() -> dl::Result<()> {
    let net = Cells::new(6, Seed(0))?;
    let summary = net.summary();
    let row = summary.rows.iter().find(|row| row.layer == "lstm").expect("a row of the lstm");
    // One step of two layers, both ways: four gates from the input and the state.
    assert_eq!(row.multiply_adds, 2 * 24 * (4 + 6) + 2 * 24 * (12 + 6), "{summary}");
    Ok(())
}
