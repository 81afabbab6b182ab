//! Trains a convolutional network on handwritten digits, or evaluates a saved one.
//!
//! `cargo run --release --example mnist`, with `-- --help` for what can be set.

mod support;

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use dl::data::Digits;
use dl::metrics::predictions;
use dl::ndarray::Axis;
use dl::prelude::*;
use support::{Args, Count, OutputFile};

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

const HELP: &str = "\
Trains a convolutional network on handwritten digits, or evaluates a saved one.

  --epochs N    passes over the training images [5]
  --batch N     images a step [64]
  --lr X        learning rate of Adam [0.001]
  --seed N      decides the first weights, dropout and the order of the images [0]
  --threads N   to compute with; by default as many as the process may use
  --data DIR    with the four files of MNIST [examples/data/mnist-10k]
  --save FILE   for the trained model [lenet.safetensors]
  --load FILE   evaluate this model instead of training one
  --timing      print what was compiled, for which sizes, and how long it took
  --explain     print how the programs were fused and laid out in memory
  --help        print this";

fn main() -> ExitCode {
    support::run(HELP, |args| {
        let digits = Mnist::load(args.get::<String>("--data")?)?;
        let mut options = dl::Options::from_env()?;
        if let Some(Count(threads)) = args.optional("--threads")? {
            options.threads = threads;
        }
        let start = Instant::now();
        let mut net = LeNet::with_options(Seed(args.get("--seed")?), options)?;
        match args.optional::<String>("--load")? {
            Some(file) => net.load(&file)?,
            None => train(&mut net, &digits, args, start)?,
        }
        println!("{}", evaluate(&net, &digits.test)?);
        if args.has("--timing") {
            println!();
            net.compilations().iter().for_each(|compilation| println!("{compilation}"));
        }
        if args.has("--explain")
            && let Some((x, label)) = digits.test.batches(64, InOrder).next()
        {
            let adam = Adam::new(args.get("--lr")?);
            println!("\n{}\n{}", net.explain_forward(&x)?, net.explain_train_loss(&adam, &x, &label)?);
        }
        Ok(())
    })
}

fn train(net: &mut LeNet, digits: &Mnist, args: &Args, start: Instant) -> Result<(), Box<dyn Error>> {
    let (Count(epochs), Count(batch)) = (args.get("--epochs")?, args.get("--batch")?);
    let OutputFile(file) = args.get("--save")?;
    let seed: u64 = args.get("--seed")?;
    let mut adam = Adam::new(args.get("--lr")?);
    println!("{}\n", net.summary());
    for epoch in 1..=epochs {
        let batches = digits.train.batches(batch, Shuffle((seed << 32) | epoch as u64));
        let mut progress = Progress::new(format!("epoch {epoch}/{epochs}"), batches.len());
        for (i, (x, label)) in batches.enumerate() {
            progress.step(label.len(), net.train_loss(&mut adam, &x, &label)?);
            if (epoch, i) == (1, 0) && args.has("--timing") {
                println!("first loss {:.1} ms after the model was begun", start.elapsed().as_secs_f64() * 1e3);
            }
        }
        let seen = progress.finish();
        let (loss, seconds, accuracy) = (seen.loss, seen.time.as_secs_f64(), evaluate(net, &digits.test)?.accuracy());
        println!("epoch {epoch}: loss {loss:.4}, test accuracy {:.2} %, {seconds:.1} s", 100.0 * accuracy);
    }
    net.save(&file)?;
    println!("saved as `{file}`; `--load {file}` evaluates it\n");
    Ok(())
}

/// In parts, so that the memory needed does not grow with the set.
fn evaluate(net: &LeNet, digits: &Digits) -> Result<ConfusionMatrix, Box<dyn Error>> {
    let mut predicted = Array1::zeros(0);
    for (x, _) in digits.batches(250, InOrder) {
        predicted.append(Axis(0), predictions(&net.forward(&x)?).view())?;
    }
    Ok(ConfusionMatrix::from_classes(&predicted, &digits.labels, 10)?)
}
