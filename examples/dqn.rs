//! Learns to balance a pole on a cart by deep Q-learning (Mnih et al. 2015) with two networks (van Hasselt et al. 2016).
//!
//! `cargo run --release --example dqn`, with `-- --help` for what can be set.

mod support;

use dl::prelude::*;
use support::{Count, Random};

dl::model! {
    pub model Agent {
        let net = [Linear(4 => 128), Relu, Linear(128 => 128), Relu, Linear(128 => 2)];
        let target = [Linear(4 => 128), Relu, Linear(128 => 128), Relu, Linear(128 => 2)];

        /// What each action is worth.
        pub fn values(state: f32[N, 4]) -> f32[N, 2] {
            net(state)
        }

        /// `net` chooses the next action and `target`, which `only` leaves alone, says what it is worth.
        #[train(only = net)]
        pub fn loss(state: f32[N, 4], action: i64[N], next: f32[N, 4], alive: f32[N]) -> f32 {
            let best = net(next).argmax(-1);
            let future = target(next).gather(best.unsqueeze(1), axis = 1).squeeze(1);
            let value = net(state).gather(action.unsqueeze(1), axis = 1).squeeze(1);
            value.smooth_l1((1.0 + 0.99 * alive * future).detach())
        }
    }
}

/// The cart of Barto, Sutton & Anderson (1983) as in Gymnasium's CartPole-v1: position, speed, angle, angular speed.
#[derive(Clone, Copy)]
struct Cart([f32; 4]);

impl Cart {
    fn new(random: &mut Random) -> Cart {
        Cart([(); 4].map(|()| random.between(-0.05, 0.05)))
    }

    /// Pushes it to the left (0) or right (1) for a fiftieth of a second.
    fn push(self, action: usize) -> Cart {
        let [x, speed, angle, turning] = self.0;
        let (force, sin, cos) = (if action == 1 { 10.0 } else { -10.0 }, angle.sin(), angle.cos());
        let push = (force + 0.05 * turning * turning * sin) / 1.1;
        let angular = (9.8 * sin - cos * push) / (0.5 * (4.0 / 3.0 - 0.1 * cos * cos / 1.1));
        let acceleration = push - 0.05 * angular * cos / 1.1;
        Cart([x + 0.02 * speed, speed + 0.02 * acceleration, angle + 0.02 * turning, turning + 0.02 * angular])
    }

    fn stands(self) -> bool {
        self.0[0].abs() <= 2.4 && self.0[2].abs() <= 12f32.to_radians()
    }
}

const HELP: &str = "\
Learns to balance a pole on a cart by deep Q-learning; an episode ends after 500 steps, or when the pole falls.

  --steps N     pushes of the cart to learn from [50000]
  --seed N      decides weights, carts and what is tried [0]
  --quick       only see that it learns: 10,000 steps
  --help        print this";

fn main() -> std::process::ExitCode {
    support::run(HELP, |args| {
        let (Count(steps), seed) = (args.get("--steps")?, args.get("--seed")?);
        let (steps, promised) = if args.has("--quick") { (10_000, 100.0..) } else { (steps, 400.0..) };
        let (mut agent, mut random) = (Agent::new(Seed(seed))?, Random(seed));
        copy_to_target(&mut agent)?;
        let mut adam = Adam::new(1e-3).clip_norm(10.0);
        let schedule = LinearLr::new(1e-3)?.start_factor(1.0)?.end_factor(0.0)?.total_iters(steps as u64)?;
        let mut memory: Vec<(Cart, usize, Cart, bool)> = vec![];
        let (mut cart, mut age) = (Cart::new(&mut random), 0);
        for step in 0..steps {
            let exploring = (1.0 - 5.0 * step as f32 / steps as f32).max(0.05);
            let action = if random.between(0.0, 1.0) < exploring { random.below(2) } else { best(&agent, &[cart])?[0] };
            let next = cart.push(action);
            memory.push((cart, action, next, next.stands()));
            (cart, age) = (next, age + 1);
            if !cart.stands() || age == 500 {
                (cart, age) = (Cart::new(&mut random), 0);
            }
            if memory.len() >= 1000 {
                let batch: Vec<_> = (0..128).map(|_| memory[random.below(memory.len())]).collect();
                let (states, nexts) = (array(batch.iter().map(|b| b.0)), array(batch.iter().map(|b| b.2)));
                let actions: Array1<i64> = batch.iter().map(|b| b.1 as i64).collect();
                let alive: Array1<f32> = batch.iter().map(|b| f32::from(u8::from(b.3))).collect();
                adam.lr = schedule.lr(step as u64);
                agent.train_loss(&mut adam, &states, &actions, &nexts, &alive)?;
            }
            if step % 200 == 0 {
                copy_to_target(&mut agent)?;
            }
            if (step + 1) % 5_000 == 0 {
                println!("step {}: mean return {:.1}", step + 1, play(&agent, 20, &mut Random(1))?);
            }
        }
        support::reached("mean return of 20 episodes", play(&agent, 20, &mut Random(!seed))?, promised)
    })
}

fn array(carts: impl ExactSizeIterator<Item = Cart>) -> Array2<f32> {
    carts.map(|cart| cart.0).collect::<Vec<_>>().into()
}

fn best(agent: &Agent, carts: &[Cart]) -> dl::Result<Vec<usize>> {
    let values = agent.values(&array(carts.iter().copied()))?;
    Ok(values.outer_iter().map(|of| usize::from(of[1] > of[0])).collect())
}

fn copy_to_target(agent: &mut Agent) -> dl::Result<()> {
    for name in ["0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"] {
        let value = agent.parameter(&format!("net.{name}"))?.to_array::<f32>()?;
        agent.set_parameter(&format!("target.{name}"), &value)?;
    }
    Ok(())
}

/// The mean number of steps, at most 500, that the pole stands without exploration.
fn play(agent: &Agent, episodes: usize, random: &mut Random) -> dl::Result<f64> {
    let mut carts: Vec<Cart> = (0..episodes).map(|_| Cart::new(random)).collect();
    let mut returns = vec![0.0; episodes];
    for _ in 0..500 {
        let actions = best(agent, &carts)?;
        for ((cart, action), total) in carts.iter_mut().zip(actions).zip(&mut returns) {
            if cart.stands() {
                *cart = cart.push(action);
                *total += 1.0;
            }
        }
    }
    Ok(returns.iter().sum::<f64>() / episodes as f64)
}
