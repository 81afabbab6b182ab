//! Groups of parameters with settings of their own, and optimizers that look at whole steps.

#[path = "common/training.rs"]
mod training;

use dl::optim::{OptimizerState, Start, Step, Update};
use dl::prelude::*;
use dl::schedule::ExponentialLr;
use training::{Net, all, batch, close, gradients, net, seen, train, values};

#[test]
fn groups_have_settings_of_their_own_which_add_up() {
    let mut net = net();
    let mut groups = Groups::new(Sgd::new(0.1).weight_decay(0.5))
        .group("*.bias", |g| g.weight_decay(0.0))
        .group("head.*", |g| {
            let lr = g.lr;
            g.lr(2.0 * lr)
        })
        .freeze("body.bias");
    let expected = |net: &Net, lr: f32| -> Vec<Vec<f32>> {
        let (x, y) = batch(0);
        let (_, gradients) = net.grad_loss(&x, &y).unwrap();
        let settings = [
            ("body.weight", lr, 0.5),
            ("body.bias", 0.0, 0.0),
            ("head.weight", 2.0 * lr, 0.5),
            ("head.bias", 2.0 * lr, 0.0),
        ];
        settings
            .map(|(name, lr, decay)| {
                let grad = gradients.get::<f32>(name).unwrap().to_owned();
                values(net, name).iter().zip(grad).map(|(w, g)| w - lr * (g + decay * w)).collect()
            })
            .into()
    };
    for lr in [0.1, 0.03] {
        groups.lr = f64::from(lr);
        let expected = expected(&net, lr).concat();
        train(&mut net, &mut groups, 0);
        close(&all(&net), &expected);
    }
    assert_eq!(net.compilations().iter().filter(|c| c.purpose.starts_with("training")).count(), 1);
    // A function that trains a part of the model is fine with patterns for the rest.
    let (x, y) = batch(0);
    net.train_head_loss(&mut groups, &x, &y).unwrap();
    assert_eq!(groups.state().steps(), 3);
}

#[test]
fn groups_without_patterns_or_difference_are_as_one_optimizer() {
    let (mut a, mut b) = (net(), net());
    let mut plain = AdamW::new(0.01);
    let mut groups = Groups::new(AdamW::new(0.01)).group("*bias", |g| g).group("h*", |g| g.lr(0.01));
    for i in 0..4 {
        assert_eq!(train(&mut a, &mut plain, i), train(&mut b, &mut groups, i));
    }
    assert_eq!(all(&a), all(&b));
}

#[test]
fn settings_that_change_the_program_change_it_for_their_group_alone() {
    let mut net = net();
    let momentum = |m: f64| Groups::new(Sgd::new(0.1)).group("head.*", move |g| g.momentum(m));
    let mut groups = momentum(0.9);
    train(&mut net, &mut groups, 0);
    let names: Vec<&str> = groups.state().names().collect();
    assert_eq!(names, ["head.bias.momentum_buffer", "head.weight.momentum_buffer"]);
    train(&mut net, &mut momentum(0.5), 0);
    assert_eq!(net.compilations().len(), 1, "another number is no other program");
    train(&mut net, &mut momentum(0.0), 0);
    assert_eq!(net.compilations().len(), 2);
}

#[test]
fn groups_may_hold_what_wraps_an_optimizer() {
    let (mut a, mut b) = (net(), net());
    let mut outside = Groups::new(Sgd::new(0.1)).group("head.*", |g| g.lr(0.2)).accumulate(2);
    let mut within = Groups::new(Sgd::new(0.1).accumulate(2)).group("head.*", |mut g| {
        g.lr = 0.2;
        g
    });
    for i in 0..4 {
        assert_eq!(train(&mut a, &mut outside, i), train(&mut b, &mut within, i));
    }
    assert_eq!((all(&a), within.state().steps()), (all(&b), 2));
    // Two groups, each clipped for itself.
    let mut clipped = Groups::new(Sgd::new(0.5).clip_norm(0.1)).group("head.*", |g| g);
    let seen = seen(&mut clipped, 0);
    let norm = |part: &[f32]| part.iter().map(|g| g * g).sum::<f32>().sqrt();
    let (body, head) = seen.split_at(seen.len() - 34);
    assert!((norm(body) - 0.1).abs() < 1e-4 && (norm(head) - 0.1).abs() < 1e-4, "{} {}", norm(body), norm(head));
}

#[test]
fn frozen_parameters_count_nowhere() {
    let net = net();
    let mut clip = Groups::new(Sgd::new(0.5)).freeze("body.*").clip_norm(1e9);
    let grad = gradients(&net, 0);
    let of_head: f32 = grad[grad.len() - 34..].iter().map(|g| g * g).sum();
    let seen = seen(&mut clip, 0);
    assert!(seen[..seen.len() - 34].iter().all(|&g| g == 0.0) && seen[seen.len() - 34..].iter().all(|&g| g != 0.0));
    assert!((clip.total_norm().unwrap() - f64::from(of_head.sqrt())).abs() < 1e-5);
    let mut frozen = Groups::new(Adam::new(0.1)).freeze("*");
    let mut still = Net::new(Seed(3)).unwrap();
    train(&mut still, &mut frozen, 0);
    assert_eq!(all(&still), all(&net));
}

#[test]
fn schedules_follow_the_count_of_steps() {
    let mut net = net();
    let mut sgd = Groups::new(Sgd::new(0.0)).clip_norm(1e9).accumulate(2);
    let schedule = ExponentialLr::new(0.1, 0.5).unwrap();
    for i in 0..4 {
        sgd.lr = schedule.lr(sgd.state().steps());
        train(&mut net, &mut sgd, i);
    }
    assert_eq!((sgd.lr, net.compilations().len()), (0.05, 2));
}

/// A user's own, of whole steps: the gradient over the sum of all elements of all gradients, and a start of ones.
#[derive(Clone, Default)]
struct Share {
    scale: f64,
    state: OptimizerState,
}

impl Optimizer for Share {
    fn name(&self) -> &'static str {
        "Share"
    }

    fn structure(&self) -> String {
        "Share".into()
    }

    fn scalars(&self, _step: u64) -> dl::Result<Vec<(&'static str, f64)>> {
        Ok(vec![("scale", self.scale), ("one", 1.0)])
    }

    fn update(&self, update: &mut Update<'_>) -> Result<(), dl::optim::OpError> {
        let (ones, step) =
            (update.state_from("ones", Start::Scalar("one")), update.combine(&[("scale", update.grad)])?);
        let step = update.builder.mul(ones, step)?;
        let next = update.builder.sub(update.param, step)?;
        update.set_param(next);
        Ok(())
    }

    fn step(&self, step: &mut Step<'_>) -> dl::Result<()> {
        let sum = step.together(|step| {
            let b = &mut *step.builder;
            let mut sum = None;
            for trained in &step.trained {
                let axes: Vec<usize> = (0..b.rank(trained.grad)).collect();
                let part = b.sum(trained.grad, &axes, false)?;
                sum = Some(sum.map_or(Ok(part), |sum| b.add(sum, part))?);
            }
            Ok(sum)
        })?;
        step.each(|update| {
            update.grad = update.builder.div(update.grad, sum.unwrap())?;
            Ok(())
        })?;
        step.each(|update| self.update(update))
    }

    fn state(&self) -> &OptimizerState {
        &self.state
    }

    fn state_mut(&mut self) -> &mut OptimizerState {
        &mut self.state
    }
}

#[test]
fn optimizers_of_ones_own_see_whole_steps_and_are_wrapped_like_any() {
    let grad = gradients(&net(), 0);
    let sum: f32 = grad.iter().sum();
    let share: Vec<f32> = grad.iter().map(|g| g / sum).collect();
    close(&seen(&mut Share { scale: 0.5, ..Share::default() }, 0), &share);
    let mut grouped = Groups::new(Share { scale: 0.25, ..Share::default() })
        .group("*", |g| Share { scale: 2.0 * g.scale, ..g })
        .ema(0.5);
    close(&seen(&mut grouped, 0), &share);
    assert_eq!(grouped.state().names().len(), 8);
}
