//! The whole road: LeNet as written in a model, compiled, trained on real digits.

use dl::Options;
use dl::prelude::*;
use dl_runtime::Isa;

dl::model! {
    /// Convolutional classifier of 28x28 grey digits.
    pub model LeNet {
        let conv1 = Conv2d(1 => 32, kernel = 3, padding = 1);
        let conv2 = Conv2d(32 => 64, kernel = 3, padding = 1);
        let head = [Linear(64 * 7 * 7 => 128), Relu, Dropout(0.25), Linear(128 => 10)];

        pub fn forward(x: f32[N, 1, 28, 28]) -> f32[N, 10] {
            let h = conv1(x).relu().max_pool2d(2);
            let h = conv2(h).relu().max_pool2d(2);
            head(h.flatten())
        }

        #[train]
        pub fn loss(x: f32[N, 1, 28, 28], label: i64[N]) -> f32 {
            forward(x).cross_entropy(label)
        }
    }
}

fn digits() -> Mnist {
    Mnist::load(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/mnist-10k")).unwrap()
}

#[test]
fn lenet_learns_digits() {
    let digits = digits();
    let mut net = LeNet::new(Seed(0)).unwrap();
    let mut adam = Adam::new(1e-3);
    let mut losses = vec![];
    for (x, label) in digits.train.batches(32, Shuffle(0)).take(50) {
        losses.push(net.train_loss(&mut adam, &x, &label).unwrap());
    }
    let mean = |part: &[f32]| part.iter().sum::<f32>() / part.len() as f32;
    assert!((2.2..2.4).contains(&mean(&losses[..3])) && mean(&losses[45..]) < 1.0, "{losses:?}");
    for compilation in net.compilations() {
        println!("{compilation}");
        assert!(compilation.kernels > 0);
    }
    println!("{}", net.summary());
}

#[test]
fn compiled_steps_are_those_of_the_evaluator() {
    let digits = digits();
    let from_env = Options::from_env().unwrap();
    let run = |isa| {
        let mut options = from_env.clone();
        options.isa = isa;
        let mut net = LeNet::with_options(Seed(3), options).unwrap();
        let mut sgd = Sgd::new(0.05).momentum(0.9);
        let batches = digits.train.batches(4, Shuffle(1)).take(3);
        let losses: Vec<f32> = batches.map(|(x, label)| net.train_loss(&mut sgd, &x, &label).unwrap()).collect();
        let weights =
            net.parameters().map(|p| (p.name().to_string(), p.to_array::<f32>().unwrap())).collect::<Vec<_>>();
        (losses, weights)
    };
    let (expected, found) = (run(Isa::Interpreter), run(from_env.isa));
    for (a, b) in found.0.iter().zip(&expected.0) {
        assert!((a - b).abs() < 1e-5, "{:?} is not {:?}", found.0, expected.0);
    }
    for ((name, a), (_, b)) in found.1.iter().zip(&expected.1) {
        let worst = (a - b).iter().fold(0.0f32, |worst, d| worst.max(d.abs()));
        assert!(worst < 1e-5, "{name} differs by {worst}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
    let digits = digits();
    let train = |threads| {
        let mut options = Options::from_env().unwrap();
        options.threads = threads;
        let mut net = LeNet::with_options(Seed(1), options).unwrap();
        let mut adam = Adam::new(1e-3);
        for (x, label) in digits.train.batches(16, Shuffle(2)).take(100) {
            net.train_loss(&mut adam, &x, &label).unwrap();
        }
        let bits = |p: dl_runtime::Parameter<'_>| p.to_array::<f32>().unwrap().mapv(f32::to_bits);
        net.parameters().map(bits).collect::<Vec<_>>()
    };
    let alone = train(1);
    for threads in [2, 3, 8] {
        assert!(alone == train(threads), "{threads} threads");
    }
}
