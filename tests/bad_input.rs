//! What a program may pass to a model that does not fit: an error that helps, and a model that is as before.

#[path = "common/file.rs"]
mod file;

use dl::Error;
use dl::prelude::*;
use file::File;

dl::model! {
    model Net {
        let head = [Linear(4 => 8), Relu, BatchNorm1d(8), Dropout(0.1), Linear(8 => 3)];

        pub fn forward(x: f32[N, 4]) -> f32[N, 3] {
            head(x)
        }

        #[train]
        pub fn loss(x: f32[N, 4], label: i64[N]) -> f32 {
            forward(x).cross_entropy(label)
        }
    }
}

fn batch(n: usize) -> (Array2<f32>, Array1<i64>) {
    let x = Array2::from_shape_fn((n, 4), |(i, j)| ((i * 5 + j * 3) % 7) as f32 - 3.0);
    (x, Array1::from_shape_fn(n, |i| (i % 3) as i64))
}

/// All parameters and buffers.
fn bits(net: &Net) -> Vec<u8> {
    let bytes = |p: dl::Parameter<'_>| match p.view::<f32>() {
        Ok(floats) => floats.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>(),
        Err(_) => p.view::<i64>().unwrap().iter().flat_map(|v| v.to_le_bytes()).collect(),
    };
    net.parameters().flat_map(bytes).collect()
}

#[test]
fn shapes_and_empty_batches() {
    let mut net = Net::new(Seed(0)).unwrap();
    let mut adam = Adam::new(0.01);
    let before = bits(&net);
    let (x, label) = batch(6);
    let mut step = |x: &Array2<f32>, label: &Array1<i64>| net.train_loss(&mut adam, x, label).unwrap_err().to_string();
    assert_eq!(
        step(&Array2::zeros((6, 5)), &label),
        "`loss`: argument `x` is declared f32[N, 4], but an array of shape [6, 5] was passed: axis 1 is 5, expected 4"
    );
    assert_eq!(
        step(&x, &batch(5).1),
        "`loss`: `N` is 6 by axis 0 of `x`, but 5 by axis 0 of `label`; both must have the same size"
    );
    assert_eq!(
        step(&Array2::zeros((0, 4)), &Array1::zeros(0)),
        "`loss`: argument `x` has shape [0, 4]: axis 0 is empty; pass at least one sample, or skip the call for an empty batch"
    );
    assert!(matches!(net.forward(&Array2::zeros((0, 4))), Err(Error::EmptyBatch { .. })));
    assert!(bits(&net) == before);
}

#[test]
fn labels_out_of_range_are_named() {
    let mut net = Net::new(Seed(0)).unwrap();
    let mut adam = Adam::new(0.01);
    let before = bits(&net);
    let (x, mut label) = batch(6);
    for wrong in [3, -1, -100, i64::MIN, i64::MAX] {
        label[4] = wrong;
        let Err(error) = net.train_loss(&mut adam, &x, &label) else {
            // The label that PyTorch ignores by default.
            assert_eq!(wrong, -100);
            net = Net::new(Seed(0)).unwrap();
            adam = Adam::new(0.01);
            continue;
        };
        assert!(matches!(error, Error::IndexOutOfRange { size: 3, index, .. } if index == wrong), "{error}");
        let message = error.to_string();
        assert!(message.starts_with(&format!("`loss`: an index in `label` is {wrong}, but what it")), "{message}");
        assert!(message.contains("bad_input.rs:20:24"), "{message}");
        assert!(net.loss(&x, &label).is_err() && net.grad_loss(&x, &label).is_err());
    }
    assert!(bits(&net) == before);
}

#[test]
fn nan_propagates_to_its_own_row() {
    let net = Net::new(Seed(0)).unwrap();
    let (mut x, label) = batch(6);
    x[[2, 1]] = f32::NAN;
    let y = net.forward(&x).unwrap();
    for (i, row) in y.rows().into_iter().enumerate() {
        assert!(row.iter().all(|v| v.is_nan() == (i == 2)), "{y}");
    }
    assert!(net.loss(&x, &label).unwrap().is_nan());
}

/// Files cut at every length, and with one bit turned over in each byte of the header.
#[test]
fn damaged_files_change_nothing_or_load_whole() {
    let file = File::new("bad-damaged");
    Net::new(Seed(1)).unwrap().save(&file.0).unwrap();
    let whole = std::fs::read(&file.0).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let mut net = Net::new(Seed(2)).unwrap();
    let before = bits(&net);
    for cut in 0..whole.len() {
        std::fs::write(&file.0, &whole[..cut]).unwrap();
        let error = net.load(&file.0).unwrap_err();
        assert!(matches!(error, Error::CorruptCheckpoint { .. }), "{cut} bytes: {error}");
        assert!(bits(&net) == before, "{cut} bytes");
    }
    for byte in 0..header {
        let mut damaged = whole.clone();
        damaged[byte] ^= 1 << (byte % 8);
        std::fs::write(&file.0, &damaged).unwrap();
        match net.load(&file.0) {
            // A bit of what the file tells of itself, beside its tensors, or another order of equal shapes.
            Ok(()) => net = Net::new(Seed(2)).unwrap(),
            Err(error) => {
                let kind = matches!(error, Error::CorruptCheckpoint { .. } | Error::CheckpointMismatch { .. });
                assert!(kind && !error.to_string().contains("internal"), "byte {byte}: {error}");
                assert!(bits(&net) == before, "byte {byte}");
            }
        }
    }
}

#[test]
fn files_of_other_models_are_told_apart() {
    dl::model! {
        model Wider {
            let head = [Linear(4 => 16), Relu, BatchNorm1d(16), Linear(16 => 3)];

            pub fn forward(x: f32[N, 4]) -> f32[N, 3] {
                head(x)
            }
        }
    }
    let file = File::new("bad-other");
    Wider::new(Seed(0)).unwrap().save(&file.0).unwrap();
    let mut net = Net::new(Seed(0)).unwrap();
    let before = bits(&net);
    let message = net.load(&file.0).unwrap_err().to_string();
    for part in [
        "does not fit the model, which is unchanged",
        "missing from the file: head.4.weight, head.4.bias",
        "unexpected in the file: head.3.bias, head.3.weight",
        "head.0.weight: the model has f32[8, 4], the file f32[16, 4]",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(bits(&net) == before);
}

/// An optimizer and a model that took no step are saved and loaded as others are.
#[test]
fn no_step_at_all() {
    let (file, state) = (File::new("bad-fresh"), File::new("bad-fresh-adam"));
    let (x, label) = batch(6);
    let (mut net, mut adam) = (Net::new(Seed(3)).unwrap(), Adam::new(0.01));
    net.save(&file.0).unwrap();
    adam.save(&state.0).unwrap();
    let (mut again, mut adam_again) = (Net::new(Seed(4)).unwrap(), Adam::new(0.01));
    again.load(&file.0).unwrap();
    adam_again.load(&state.0).unwrap();
    assert_eq!(adam_again.state().steps(), 0);
    assert!(bits(&again) == bits(&net));
    assert_eq!(net.train_loss(&mut adam, &x, &label).unwrap(), again.train_loss(&mut adam_again, &x, &label).unwrap());
    assert!(bits(&again) == bits(&net));
}
