//! A variational autoencoder (Kingma and Welling, 2013): digits as normal variables, from which new digits are drawn.
//!
//! `cargo run --release --example vae`, twelve seconds of processor time; `-- --help` for what can be set.
//! Seeds 0, 1, 2: a negative ELBO of 108.6, 109.5 and 109.4 nats an image on test digits.

mod support;

use std::process::ExitCode;

use dl::picture::save_png;
use dl::prelude::*;
use support::{Count, OutputFile, reached};

dl::model! {
    pub model Vae {
        const CODE = 20;
        let encoder = [Flatten, Linear(784 => 400), Relu];
        let mean = Linear(400 => CODE);
        let log_variance = Linear(400 => CODE);
        let decoder = [Linear(CODE => 400), Relu, Linear(400 => 784)];

        /// The logarithm of the odds of ink.
        fn decode(z: f32[N, CODE]) -> f32[N, 1, 28, 28] {
            decoder(z).reshape([N, 1, 28, 28])
        }

        /// A new digit for each row of normal numbers.
        pub fn sample(z: f32[N, CODE]) -> f32[N, 1, 28, 28] {
            decode(z).sigmoid()
        }

        /// What it costs to tell the code, and the image from it: the negative of the bound on the likelihood (ELBO).
        pub fn cost(x: f32[N, 1, 28, 28]) -> (f32, f32) {
            let h = encoder(x);
            let (mean, log_variance) = (mean(h), log_variance(h));
            let z = mean + (0.5 * log_variance).exp() * randn([N, CODE]);
            let divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum() / N;
            (divergence, decode(z).bce_with_logits(x, reduction = "sum") / N)
        }

        /// In nats an image.
        #[train]
        pub fn loss(x: f32[N, 1, 28, 28]) -> f32 {
            let (divergence, reconstruction) = cost(x);
            divergence + reconstruction
        }
    }
}

const HELP: &str = "\
A variational autoencoder of handwritten digits.

  --epochs N    passes over the training images [30]
  --lr X        learning rate of Adam [0.001]
  --seed N      decides the first weights, the order of the images and all that is drawn [0]
  --save FILE   a picture of new digits [vae.png]
  --quick       one pass, with a higher bar
  --help        print this";

fn main() -> ExitCode {
    support::run(HELP, |args| {
        let Count(epochs) = args.get("--epochs")?;
        let (epochs, promised) = if args.has("--quick") { (1, ..200.0) } else { (epochs, ..113.0) };
        let (seed, OutputFile(file)) = (args.get::<u64>("--seed")?, args.get("--save")?);
        let digits = Mnist::load("examples/data/mnist-10k")?;
        let mut net = Vae::new(Seed(seed))?;
        println!("{}\n", net.summary());

        let mut adam = Adam::new(args.get("--lr")?);
        for epoch in 1..=epochs {
            let batches = digits.train.batches(64, Shuffle((seed << 32) | epoch as u64));
            let mut progress = Progress::new(format!("epoch {epoch}/{epochs}"), batches.len());
            for (x, label) in batches {
                progress.step(label.len(), net.train_loss(&mut adam, &x)?);
            }
            let seen = progress.finish();
            let (divergence, reconstruction) = net.cost(&digits.test.images)?;
            println!("epoch {epoch}: {:.2} in training, {divergence:.2} + {reconstruction:.2} in the test", seen.loss);
        }
        let mut random = support::Random(seed);
        let z = Array2::from_shape_simple_fn((64, 20), || random.normal());
        save_png(&file, &net.sample(&z)?, 8)?;
        println!("saved `{file}`");
        reached("negative ELBO of test digits, nats an image", net.loss(&digits.test.images)?.into(), promised)
    })
}
