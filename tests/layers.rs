//! One model of most layers: called with two batch sizes, trained a step, against the evaluator.

use dl::prelude::*;
use ndarray::{Array, ArrayD, IxDyn};

dl::model! {
    /// Images to vectors, vectors to sequences, sequences to classes, and images again.
    pub model Zoo {
        const DIM = 8;

        /// A residual that is left out at random.
        block Residual(CHANNELS) {
            let body = [Conv2d(CHANNELS => CHANNELS, 3, padding = 1, padding_mode = "reflect"), InstanceNorm2d(CHANNELS, affine = true), DropPath(0.1)];

            fn forward(x: f32[N, CHANNELS, H, W]) -> f32[N, CHANNELS, H, W] {
                x + body(x)
            }
        }

        /// Two vectors turned towards each other: a block with two operands and two results.
        block Turn(WIDTH) {
            let gate = Bilinear(WIDTH, WIDTH, 1);

            fn forward(a: f32[N, WIDTH], b: f32[N, WIDTH]) -> (f32[N, WIDTH], f32[N, 1]) {
                let share = gate(a, b).sigmoid();
                (a * share + b * (1.0 - share), share)
            }
        }

        let turn = Turn(DIM);
        let stem = [ReflectionPad2d(1), Conv2d(2 => 4, kernel = 3), BatchNorm2d(4), Relu, MaxPool2d(2, ceil_mode = true)];
        let residual = Residual(4);
        let squeeze = [AdaptiveAvgPool2d((3, 2)), Dropout2d(0.1), Flatten, Linear(24 => DIM)];
        let tokens = Embedding(11, DIM, padding_idx = 0);
        let places = LearnedPositionalEncoding(16 => DIM);
        let waves = PositionalEncoding;
        let attn = MultiheadAttention(DIM, 4, kv_heads = 2);
        let looking = MultiheadAttention(DIM, 2, need_weights = true);
        let encoder = [TransformerEncoderLayer(DIM, 2, ff = 16, dropout = 0.1, norm_first = true); 2];
        let decoder = TransformerDecoder(DIM, heads = 2, layers = 2, ff = 16, causal = true);
        let mixed = Bilinear(DIM, DIM, 5);
        let up = [Upsample(scale = 2.0, mode = "bilinear"), ConvTranspose2d(4 => 8, 4, stride = 2, padding = 1), PixelShuffle(2), LocalResponseNorm(2)];
        let alike = CosineSimilarity(axis = -1);

        fn see(x: f32[N, 2, H, W]) -> f32[N, DIM] {
            squeeze(residual(stem(x)))
        }

        fn read(ids: i64[N, T]) -> f32[N, T, DIM] {
            encoder(waves(places(tokens(ids))))
        }

        pub fn forward(x: f32[N, 2, H, W], ids: i64[N, T]) -> f32[N, 5] {
            let padding = ids.eq(0);
            let words = read(ids);
            let words = words + attn(words, key_padding_mask = padding);
            let seen = decoder(see(x).unsqueeze(1), words, memory_key_padding_mask = padding);
            let (seen, share) = turn(seen.squeeze(1), b = words.mean(axis = 1));
            mixed(seen, words.index(0, axis = 1)) * (1.0 + share)
        }

        pub fn similarity(x: f32[N, 2, H, W], ids: i64[N, T]) -> f32[N] {
            alike(see(x), words_of(ids))
        }

        fn words_of(ids: i64[N, T]) -> f32[N, DIM] {
            attn(read(ids).mean(axis = 1, keep = true), read(ids), read(ids)).squeeze(1)
        }

        pub fn looks(ids: i64[N, T]) -> (f32[N, T, DIM], f32[N, T, T]) {
            let (seen, weights) = looking(tokens(ids), key_padding_mask = ids.eq(0));
            (seen, weights)
        }

        pub fn grow(x: f32[N, 2, 6, 6]) -> f32[N, 2, 24, 24] {
            up(stem(x))
        }

        #[train]
        pub fn loss(x: f32[N, 2, H, W], ids: i64[N, T], label: i64[N]) -> f32 {
            forward(x, ids).cross_entropy(label)
        }

        #[train]
        pub fn growth(x: f32[N, 2, 6, 6]) -> f32 {
            grow(x).square().mean()
        }
    }
}

fn waves(shape: &[usize], speed: f32) -> ArrayD<f32> {
    let count = shape.iter().product::<usize>();
    Array::from_shape_vec(IxDyn(shape), (0..count).map(|i| (speed * i as f32).sin()).collect())
        .expect("as many as asked")
}

fn images(batch: usize, size: usize) -> Array4<f32> {
    waves(&[batch, 2, size, size], 0.37).into_dimensionality().expect("four axes")
}

/// Numbers of words, of which the last of some rows are padding.
fn words(batch: usize, length: usize) -> Array2<i64> {
    Array2::from_shape_fn(
        (batch, length),
        |(i, j)| if j + i % 3 >= length { 0 } else { 1 + (3 * i + 5 * j) as i64 % 10 },
    )
}

fn zoos() -> dl::Result<[Zoo; 2]> {
    let mut options = dl::Options::default();
    options.isa = dl::Isa::Interpreter;
    Ok([Zoo::new(Seed(7))?, Zoo::with_options(Seed(7), options)?])
}

fn close<D: ndarray::Dimension>(a: &Array<f32, D>, b: &Array<f32, D>, tolerance: f32) {
    assert_eq!(a.shape(), b.shape());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{a} {b}");
    }
}

#[test]
fn layers_compute_what_the_evaluator_does_at_every_size() -> dl::Result<()> {
    let [compiled, evaluated] = zoos()?;
    for (batch, size, length) in [(3, 9, 5), (1, 6, 7)] {
        let (x, ids) = (images(batch, size), words(batch, length));
        let (logits, expected): (Array2<f32>, Array2<f32>) =
            (compiled.forward(&x, &ids)?, evaluated.forward(&x, &ids)?);
        assert_eq!(logits.dim(), (batch, 5));
        close(&logits, &expected, 2e-5);
        let (alike, expected): (Array1<f32>, Array1<f32>) =
            (compiled.similarity(&x, &ids)?, evaluated.similarity(&x, &ids)?);
        close(&alike, &expected, 2e-5);
    }
    let (seen, weights): (Array3<f32>, Array3<f32>) = compiled.looks(&words(3, 4))?;
    assert_eq!((seen.dim(), weights.dim()), ((3, 4, 8), (3, 4, 4)));
    for ((n, _, s), weight) in weights.indexed_iter() {
        assert_eq!(*weight == 0.0, words(3, 4)[[n, s]] == 0, "padding alone has no weight");
    }
    assert!(weights.sum_axis(ndarray::Axis(2)).iter().all(|sum| (sum - 1.0).abs() < 1e-5));
    let x = images(2, 6);
    let (grown, expected): (Array4<f32>, Array4<f32>) = (compiled.grow(&x)?, evaluated.grow(&x)?);
    close(&grown, &expected, 2e-5);
    Ok(())
}

#[test]
fn layers_train() -> dl::Result<()> {
    let [mut compiled, mut evaluated] = zoos()?;
    let (x, ids, label) = (images(4, 8), words(4, 6), Array1::from_vec(vec![0i64, 3, 1, 4]));
    let grads = compiled.grad_loss(&x, &ids, &label)?;
    assert!(grads.1.names().all(|name| name != "up.1.weight"), "what the loss does not use has no gradient");
    let (mut a, mut b) = (Sgd::new(0.1), Sgd::new(0.1));
    let (first, expected): (f32, f32) =
        (compiled.train_loss(&mut a, &x, &ids, &label)?, evaluated.train_loss(&mut b, &x, &ids, &label)?);
    assert!((first - expected).abs() < 1e-4 * (1.0 + expected), "{first} {expected}");
    let mut adam = Adam::new(5e-3);
    let mut last = first;
    for _ in 0..60 {
        last = compiled.train_loss(&mut adam, &x, &ids, &label)?;
    }
    assert!(last < 0.5 * first, "{first} to {last}");
    let before: f32 = compiled.growth(&images(2, 6))?;
    for _ in 0..10 {
        compiled.train_growth(&mut Sgd::new(0.1), &images(2, 6))?;
    }
    assert!(compiled.growth(&images(2, 6))? < before);
    Ok(())
}

#[test]
fn parameters_have_the_names_of_pytorch() -> dl::Result<()> {
    let [zoo, _] = zoos()?;
    let shape = |name: &str| zoo.parameter(name).map(|p| p.shape().to_vec());
    for (name, expected) in [
        ("attn.in_proj_weight", &[16, 8][..]),
        ("attn.in_proj_bias", &[16]),
        ("attn.out_proj.weight", &[8, 8]),
        ("encoder.1.self_attn.in_proj_weight", &[24, 8]),
        ("encoder.1.linear1.weight", &[16, 8]),
        ("encoder.1.norm2.bias", &[8]),
        ("decoder.layers.1.multihead_attn.out_proj.bias", &[8]),
        ("decoder.layers.0.norm3.weight", &[8]),
        ("up.1.weight", &[4, 8, 4, 4]),
        ("mixed.weight", &[5, 8, 8]),
        ("places.weight", &[16, 8]),
        ("residual.body.1.weight", &[4]),
    ] {
        assert_eq!(shape(name)?, expected, "{name}");
    }
    Ok(())
}
