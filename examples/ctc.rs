//! Reads Morse code of varying tempo through noise, not told where letters are, by the CTC of Graves et al. (2006).
//!
//! `cargo run --release --example ctc`, with `-- --help` for what can be set. Edits a letter of new messages after
//! seeds 0 to 2: 0.015, 0.010, 0.015.

mod support;

use dl::metrics::predictions;
use dl::ndarray::{ArrayView2, Axis};
use dl::prelude::*;
use support::{Count, Random};

const CODES: &str =
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --..";

dl::model! {
    pub model Operator {
        let listen = [Conv1d(1 => 32, kernel = 5, stride = 2, padding = 2), Relu,
                      Conv1d(32 => 64, kernel = 5, stride = 2, padding = 2), Relu];
        let gru = Gru(64 => 64, bidirectional = true);
        let head = Linear(128 => 27);

        /// Log-probabilities of nothing (0) and the letters (1 to 26) at each time.
        pub fn forward(x: f32[N, 1, 288]) -> f32[72, N, 27] {
            let (y, _h) = gru(listen(x).rearrange("n c t -> n t c"));
            head(y).log_softmax(-1).rearrange("n t c -> t n c")
        }

        #[train]
        pub fn loss(x: f32[N, 1, 288], text: i64[N, S], letters: i64[N]) -> f32 {
            forward(x).ctc(text, target_lengths = letters)
        }
    }
}

const HELP: &str = "\
Learns to read Morse code of varying tempo and loudness through noise.

  --steps N     training steps [2000]
  --seed N      decides weights and messages [0]
  --quick       only see that it learns: 500 steps
  --help        print this";

fn main() -> std::process::ExitCode {
    support::run(HELP, |args| {
        let (Count(steps), seed) = (args.get("--steps")?, args.get("--seed")?);
        let (steps, promised) = if args.has("--quick") { (500, ..0.7) } else { (steps, ..0.05) };
        let mut net = Operator::new(Seed(seed))?;
        println!("{}\n", net.summary());

        let schedule = OneCycleLr::new(4e-3, steps as u64)?;
        let (mut adam, mut random) = (Adam::new(0.0).clip_norm(1.0), Random(seed));
        let mut progress = Progress::new("training", steps);
        for step in 0..steps {
            let (x, text, letters) = messages(32, &mut random);
            adam.lr = schedule.lr(step as u64);
            progress.step(32, net.train_loss(&mut adam, &x, &text, &letters)?);
        }
        println!("{:.0} s\n", progress.finish().time.as_secs_f64());

        let (x, text, letters) = messages(500, &mut Random(!seed));
        let (mut edits, found) = (0, net.forward(&x)?);
        for (i, found) in found.axis_iter(Axis(1)).enumerate() {
            let sent = &text.row(i).to_vec()[..letters[i] as usize];
            let read = read(found);
            edits += distance(sent, &read);
            if i < 10 {
                let [sent, read]: [String; 2] =
                    [sent, &read].map(|word| word.iter().map(|&l| (b'@' + l as u8) as char).collect());
                println!("sent {sent:5}  read {read}");
            }
        }
        support::reached("edits a letter of new messages", edits as f64 / letters.sum() as f64, promised)
    })
}

/// Signals, letters from 1 to 26, and how many letters each has.
fn messages(count: usize, random: &mut Random) -> (Array3<f32>, Array2<i64>, Array1<i64>) {
    let codes: Vec<&str> = CODES.split(' ').collect();
    let (mut x, mut text) = (Array3::zeros((count, 1, 288)), Array2::zeros((count, 5)));
    let letters = Array1::from_shape_fn(count, |_| 2 + random.below(4) as i64);
    for i in 0..count {
        let (dot, loudness, mut signal) = (random.between(2.0, 3.0), random.between(0.7, 1.3), vec![]);
        for to in text.row_mut(i).iter_mut().take(letters[i] as usize) {
            let letter = random.below(26);
            *to = letter as i64 + 1;
            let marks = codes[letter].chars().flat_map(|mark| [(1.0, if mark == '-' { 3.0 } else { 1.0 }), (0.0, 1.0)]);
            for (on, dots) in marks.chain([(0.0, 2.0)]) {
                let frames = (dot * dots * random.between(0.8, 1.2)).round() as usize;
                signal.extend(std::iter::repeat_n(on * loudness, frames));
            }
        }
        signal.resize(288, 0.0);
        x.index_axis_mut(Axis(0), i).iter_mut().zip(signal).for_each(|(to, on)| *to = on + 0.2 * random.normal());
    }
    (x, text, letters)
}

/// The likeliest class at each time, without repetitions and then without nothing.
fn read(found: ArrayView2<f32>) -> Vec<i64> {
    let mut classes = predictions(&found).to_vec();
    classes.dedup();
    classes.retain(|&class| class != 0);
    classes
}

/// How many letters must be put in, left out or changed (Levenshtein 1966).
fn distance(a: &[i64], b: &[i64]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut before = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = before + usize::from(x != y);
            before = row[j + 1];
            row[j + 1] = changed.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
