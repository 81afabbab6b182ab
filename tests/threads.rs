//! Training gives the same bits on any number of threads: networks of every kind of layer, fewer and more threads than
//! cores. (LeNet: `lenet.rs`.)

use dl::Options;
use dl::prelude::*;
use ndarray::{Array, Array2, Array4, Dimension, ShapeBuilder};

dl::model! {
    /// A small residual network: batch norm, sums, convolutions that halve the image.
    model Residual {
        block Half(FROM, TO) {
            let conv1 = Conv2d(FROM => TO, kernel = 3, stride = 2, padding = 1, bias = false);
            let bn1 = BatchNorm2d(TO);
            let conv2 = Conv2d(TO => TO, kernel = 3, padding = 1, bias = false);
            let bn2 = BatchNorm2d(TO);
            let downsample = [Conv2d(FROM => TO, kernel = 1, stride = 2, bias = false), BatchNorm2d(TO)];

            fn forward(x: f32[N, FROM, H, W]) -> f32[N, TO, (H - 1) / 2 + 1, (W - 1) / 2 + 1] {
                let y = bn2(conv2(bn1(conv1(x)).relu()));
                (y + downsample(x)).relu()
            }
        }

        let conv1 = Conv2d(3 => 16, kernel = 3, padding = 1, bias = false);
        let bn1 = BatchNorm2d(16);
        let layer1 = [Half(16, 32), Half(32, 64)];
        let fc = Linear(64 => 10);

        pub fn forward(x: f32[N, 3, 32, 32]) -> f32[N, 10] {
            let h = layer1(bn1(conv1(x)).relu());
            fc(h.mean(axis = [2, 3]))
        }

        #[train]
        pub fn loss(x: f32[N, 3, 32, 32], label: i64[N]) -> f32 {
            forward(x).cross_entropy(label)
        }
    }
}

dl::model! {
    /// Encoder to normal variables, and decoder of a sample of them.
    model Vae {
        let encoder = [Linear(784 => 256), Gelu, LayerNorm(256)];
        let mean = Linear(256 => 20);
        let log_variance = Linear(256 => 20);
        let decoder = [Linear(20 => 256), Relu, Dropout(0.1), Linear(256 => 784)];

        pub fn forward(x: f32[N, 784]) -> (f32[N, 784], f32[N, 20], f32[N, 20]) {
            let h = encoder(x);
            let (mu, lv) = (mean(h), log_variance(h));
            let z = mu + (0.5 * lv).exp() * randn([N, 20]);
            (decoder(z), mu, lv)
        }

        #[train]
        pub fn loss(x: f32[N, 784]) -> f32 {
            let (logits, mu, lv) = forward(x);
            let reconstruction = logits.bce_with_logits(x, reduction = "sum");
            (reconstruction - 0.5 * (1.0 + lv - mu * mu - lv.exp()).sum()) / N
        }
    }
}

/// Numbers in 0..1 that are the same in every run.
fn numbers<D: Dimension>(shape: impl ShapeBuilder<Dim = D>) -> Array<f32, D> {
    let mut state = 1u64;
    Array::from_shape_simple_fn(shape, || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    })
}

fn bits(model: &dl_runtime::Model) -> Vec<Vec<u32>> {
    // All but the counters of batch norm, which are integers.
    let floats = model.parameters().filter_map(|p| p.to_array::<f32>().ok());
    floats.map(|array| array.iter().map(|x| x.to_bits()).collect()).collect()
}

/// What training leaves in the parameters, which may not depend on the number of threads.
fn assert_same(train: impl Fn(Options) -> Vec<Vec<u32>>) {
    let on = |threads| {
        let mut options = Options::from_env().unwrap();
        options.threads = threads;
        train(options)
    };
    let alone = on(1);
    assert!(alone.iter().flatten().all(|bits| f32::from_bits(*bits).is_finite()));
    for threads in [2, 3, 8] {
        assert!(on(threads) == alone, "{threads} threads");
    }
}

#[test]
fn residual_networks() {
    let images: Array4<f32> = numbers((24, 3, 32, 32));
    let labels = Array1::from_shape_fn(24, |i| (i * 7 % 10) as i64);
    assert_same(|options| {
        let mut net = Residual::with_options(Seed(5), options).unwrap();
        let mut sgd = Sgd::new(0.05).momentum(0.9);
        for _ in 0..12 {
            net.train_loss(&mut sgd, &images, &labels).unwrap();
        }
        bits(&net)
    });
}

#[test]
fn autoencoders_that_draw_random_numbers() {
    let images: Array2<f32> = numbers((60, 784));
    assert_same(|options| {
        let mut net = Vae::with_options(Seed(6), options).unwrap();
        let mut adam = Adam::new(1e-3);
        for _ in 0..20 {
            net.train_loss(&mut adam, &images).unwrap();
        }
        bits(&net)
    });
}

#[test]
fn optimizers_that_sum_over_whole_tensors_and_over_all_of_them() {
    let images: Array2<f32> = numbers((60, 784));
    assert_same(|options| {
        let mut net = Vae::with_options(Seed(6), options).unwrap();
        let mut lamb = Lamb::new(1e-2).clip_norm(10.0).accumulate(2).ema(0.9);
        for _ in 0..8 {
            net.train_loss(&mut lamb, &images).unwrap();
        }
        assert!(lamb.total_norm().unwrap() > 10.0, "nothing was clipped");
        let mut values = bits(&net);
        values.extend(lamb.averaged(&mut net, |net| bits(net)).unwrap());
        values
    });
}
