//! Trains a GPT (Radford et al. 2018) of a million parameters on Shakespeare, character by character, and lets it write.
//! Validation loss after seeds 0 to 2, in some 330 s of computing each (186 s on two cores): 1.711, 1.725, 1.721.
//!
//! `cargo run --release --example gpt`, with `-- --help` for what can be set.

mod support;

use dl::data::{Characters, Windows};
use dl::ndarray::{ArrayView1, Axis};
use dl::prelude::*;
use support::Count;

const BLOCK: usize = 64;

dl::model! {
    /// A transformer that sees at most `BLOCK` characters.
    pub model Gpt {
        const BLOCK = 64;
        const DIM = 144;
        const HEADS = 4;
        dim VOCAB;

        /// Attention to what came before, and a network for each position.
        block Layer(WIDTH) {
            let norm1 = LayerNorm(WIDTH);
            let qkv = Linear(WIDTH => 3 * WIDTH);
            let project = Linear(WIDTH => WIDTH);
            let norm2 = LayerNorm(WIDTH);
            let mlp = [Linear(WIDTH => 4 * WIDTH), Gelu, Linear(4 * WIDTH => WIDTH)];

            fn forward(x: f32[N, T, WIDTH]) -> f32[N, T, WIDTH] {
                let qkv = qkv(norm1(x)).rearrange("n t (three h d) -> three n h t d", three = 3, h = HEADS);
                let seen = scaled_dot_product_attention(qkv.index(0), qkv.index(1), qkv.index(2), causal = true);
                let x = x + project(seen.rearrange("n h t d -> n t (h d)"));
                x + mlp(norm2(x))
            }
        }

        let tokens = Embedding(VOCAB, DIM);
        let positions = Embedding(BLOCK, DIM);
        let layers = [Layer(DIM); 4];
        let norm = LayerNorm(DIM);
        let head = Linear(DIM => VOCAB, bias = false);

        pub fn forward(x: i64[N, T]) -> f32[N, T, VOCAB] {
            head(norm(layers(tokens(x) + positions(arange(T)))))
        }

        #[train]
        pub fn loss(x: i64[N, T], next: i64[N, T]) -> f32 {
            forward(x).cross_entropy(next, axis = -1)
        }

        /// Draws what follows the character at `last`; noise of Gumbel's distribution makes the largest a fair draw.
        pub fn draw(x: i64[1, BLOCK], last: i64[1], temperature: f32) -> i64[1] {
            let logits = forward(x).index_select(last, axis = 1).squeeze(1) / temperature;
            (logits - (-rand([1, VOCAB]).log()).log()).argmax(-1)
        }
    }
}

const HELP: &str = "\
Trains a GPT of a million parameters on Shakespeare and lets it write.

  --steps N        training steps [2000]
  --batch N        windows of 64 characters a step [32]
  --lr X           highest learning rate of AdamW [0.002]
  --seed N         decides weights, batches and text [0]
  --temperature X  of the text: towards 0 always the likeliest character [0.8]
  --quick          only see that it learns: 150 steps
  --help           print this";

fn main() -> std::process::ExitCode {
    support::run(HELP, |args| {
        let text = std::fs::read_to_string("examples/data/shakespeare/shakespeare.txt")?;
        let characters = Characters::of(&text);
        let tokens = characters.encode(&text)?;
        let (train, valid) = tokens.view().split_at(Axis(0), tokens.len() * 9 / 10);

        let (Count(steps), Count(batch)) = (args.get("--steps")?, args.get("--batch")?);
        let (steps, bar) = if args.has("--quick") { (150, 2.6) } else { (steps, 1.75) };
        let (seed, lr): (u64, f64) = (args.get("--seed")?, args.get("--lr")?);
        let mut net = Gpt::new(characters.len(), Seed(seed))?;
        println!("{}\n", net.summary());

        let warm_up = steps as u64 / 20;
        let schedule = CosineAnnealingLr::new(lr, steps as u64 - warm_up)?.eta_min(lr / 20.0)?.warm_up(warm_up);
        let mut adam = AdamW::new(lr).betas(0.9, 0.99).weight_decay(0.1).clip_norm(1.0);
        let mut progress = Progress::new("training", steps);
        for (step, (x, next)) in Windows::new(train, BLOCK, 1)?.batches(batch, Shuffle(seed)).take(steps).enumerate() {
            adam.lr = schedule.lr(step as u64);
            progress.step(batch, net.train_loss(&mut adam, &x, &next)?);
            if (step + 1) % 500 == 0 {
                println!("step {}: validation loss {:.3}", step + 1, validate(&net, valid)?);
            }
        }
        println!("{:.0} s\n", progress.finish().time.as_secs_f64());
        println!("{}\n", write(&net, &characters, args.get("--temperature")?)?);
        support::reached("validation loss in nats a character", validate(&net, valid)?, ..bar)
    })
}

/// The mean loss of text that was not trained on.
fn validate(net: &Gpt, text: ArrayView1<i64>) -> dl::Result<f64> {
    support::mean(Windows::new(text, BLOCK, BLOCK)?.batches(32, InOrder).map(|(x, next)| net.loss(&x, &next)))
}

/// The window has the same size from the first character on, so that nothing is compiled again: what lies behind
/// `last` is not seen.
fn write(net: &Gpt, characters: &Characters, temperature: f32) -> dl::Result<String> {
    let mut text = characters.encode("\n")?.to_vec();
    while text.len() < 500 {
        let start = text.len().saturating_sub(BLOCK);
        let window = Array2::from_shape_fn((1, BLOCK), |(_, i)| text.get(start + i).copied().unwrap_or(0));
        let last = Array1::from_elem(1, (text.len() - start - 1) as i64);
        text.push(net.draw(&window, &last, temperature)?[0]);
    }
    Ok(characters.decode(&text))
}
