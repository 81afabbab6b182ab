//! Learns to balance a pole on a cart by deep Q-learning (Mnih et al. 2015) with two networks (van Hasselt et al. 2016).
//!
//! `cargo run --release --example dqn`, with `-- --help` for what can be set. The mean return of 20 episodes after seeds
//! 0 to 2, in 12 s of computing each: 500, 500, 500.

mod support;

use dl::prelude::*;
use support::{Count, Random};

dl::model! {
    pub model Agent {
        let net = [Linear(4 => 128), Relu, Linear(128 => 128), Relu, Linear(128 => 2)];
        let target = [Linear(4 => 128), Relu, Linear(128 => 128), Relu, Linear(128 => 2)];

        /// The action that is worth most.
        pub fn best(state: f32[N, 4]) -> i64[N] {
            net(state).argmax(-1)
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
type Cart = [f32; 4];

fn new_cart(random: &mut Random) -> Cart {
    [(); 4].map(|()| random.between(-0.05, 0.05))
}

/// Pushes it to the left (0) or right (1) for a fiftieth of a second.
fn push([x, speed, angle, turning]: Cart, action: i64) -> Cart {
    let (force, sin, cos) = (if action == 1 { 10.0 } else { -10.0 }, angle.sin(), angle.cos());
    let push = (force + 0.05 * turning * turning * sin) / 1.1;
    let angular = (9.8 * sin - cos * push) / (0.5 * (4.0 / 3.0 - 0.1 * cos * cos / 1.1));
    let acceleration = push - 0.05 * angular * cos / 1.1;
    [x + 0.02 * speed, speed + 0.02 * acceleration, angle + 0.02 * turning, turning + 0.02 * angular]
}

fn stands([x, _, angle, _]: Cart) -> bool {
    x.abs() <= 2.4 && angle.abs() <= 12f32.to_radians()
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
        let mut memory: Vec<(Cart, i64, Cart, f32)> = vec![];
        let (mut cart, mut age) = (new_cart(&mut random), 0);
        for step in 0..steps {
            let explores = random.between(0.0, 1.0) < (1.0 - 5.0 * step as f32 / steps as f32).max(0.05);
            let action = if explores { random.below(2) as i64 } else { agent.best(&Array2::from(vec![cart]))?[0] };
            let next = push(cart, action);
            memory.push((cart, action, next, f32::from(stands(next))));
            (cart, age) = (next, age + 1);
            if !stands(cart) || age == 500 {
                (cart, age) = (new_cart(&mut random), 0);
            }
            if memory.len() >= 1000 {
                let batch: Vec<_> = (0..128).map(|_| memory[random.below(memory.len())]).collect();
                let states: Vec<Cart> = batch.iter().map(|b| b.0).collect();
                let nexts: Vec<Cart> = batch.iter().map(|b| b.2).collect();
                let actions: Array1<i64> = batch.iter().map(|b| b.1).collect();
                let alive: Array1<f32> = batch.iter().map(|b| b.3).collect();
                adam.lr = schedule.lr(step as u64);
                agent.train_loss(&mut adam, &Array2::from(states), &actions, &Array2::from(nexts), &alive)?;
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

fn copy_to_target(agent: &mut Agent) -> dl::Result<()> {
    for name in ["0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"] {
        let value = agent.parameter(&format!("net.{name}"))?.to_array::<f32>()?;
        agent.set_parameter(&format!("target.{name}"), &value)?;
    }
    Ok(())
}

/// The mean number of steps, at most 500, that the pole stands without exploration.
fn play(agent: &Agent, episodes: usize, random: &mut Random) -> dl::Result<f64> {
    let mut total = 0;
    for _ in 0..episodes {
        let (mut cart, mut age) = (new_cart(random), 0);
        while stands(cart) && age < 500 {
            cart = push(cart, agent.best(&Array2::from(vec![cart]))?[0]);
            age += 1;
        }
        total += age;
    }
    Ok(f64::from(total) / episodes as f64)
}
