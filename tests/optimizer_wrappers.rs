//! What is put around optimizers: groups, clipping, accumulation and averages, alone and together, and their files.

use std::path::PathBuf;

use dl::optim::{OptimizerState, Start, Step, Update};
use dl::prelude::*;
use dl::schedule::ExponentialLr;
use dl::{Error, Model};

dl::model! {
    /// Two layers, one of them stored in another order than declared, and a loss for each and for both.
    model Net {
        let body = Conv2d(1 => 4, kernel = 2);
        let head = Linear(16 => 2);

        pub fn forward(x: f32[N, 1, 3, 3]) -> f32[N, 2] {
            head(body(x).tanh().flatten())
        }

        #[train]
        pub fn loss(x: f32[N, 1, 3, 3], y: f32[N, 2]) -> f32 {
            forward(x).mse_loss(y)
        }

        #[train(only = head)]
        pub fn head_loss(x: f32[N, 1, 3, 3], y: f32[N, 2]) -> f32 {
            forward(x).mse_loss(y)
        }
    }
}

const NAMES: [&str; 4] = ["body.weight", "body.bias", "head.weight", "head.bias"];

fn net() -> Net {
    Net::new(Seed(3)).unwrap()
}

/// Batch number `i`.
fn batch(i: usize) -> (Array4<f32>, Array2<f32>) {
    let x =
        Array4::from_shape_fn((4, 1, 3, 3), |(n, _, h, w)| ((n * 7 + h * 3 + w * 5 + i * 11) % 13) as f32 / 6.0 - 1.0);
    let y = Array2::from_shape_fn((4, 2), |(n, c)| ((n * 5 + c * 3 + i) % 7) as f32 - 3.0);
    (x, y)
}

fn train(net: &mut Net, optimizer: &mut dyn Optimizer, i: usize) -> f32 {
    let (x, y) = batch(i);
    net.train_loss(optimizer, &x, &y).unwrap()
}

fn values(net: &Model, name: &str) -> Vec<f32> {
    net.parameter(name).unwrap().to_array::<f32>().unwrap().into_iter().collect()
}

fn all(net: &Model) -> Vec<f32> {
    NAMES.iter().flat_map(|name| values(net, name)).collect()
}

/// The gradients of batch number `i`, in the order of the names.
fn gradients(net: &Net, i: usize) -> Vec<f32> {
    let (x, y) = batch(i);
    let (_, gradients) = net.grad_loss(&x, &y).unwrap();
    NAMES.iter().flat_map(|name| gradients.get::<f32>(name).unwrap().to_owned()).collect()
}

fn close(found: &[f32], expected: &[f32]) {
    let worst = found.iter().zip(expected).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(found.len() == expected.len() && worst < 1e-5, "off by {worst}");
}

/// After one step of gradient descent with rate 0.5, the gradients that it saw.
fn seen(optimizer: &mut dyn Optimizer, i: usize) -> Vec<f32> {
    let mut net = net();
    let before = all(&net);
    train(&mut net, optimizer, i);
    before.iter().zip(all(&net)).map(|(before, after)| (before - after) / 0.5).collect()
}

#[test]
fn gradients_are_clipped_by_the_norm_of_all() {
    let grad = gradients(&net(), 0);
    let norm = |order: f32| grad.iter().map(|g| g.abs().powf(order)).sum::<f32>().powf(1.0 / order);
    let largest = grad.iter().fold(0.0f32, |most, g| most.max(g.abs()));
    for (order, total) in [(2.0, norm(2.0)), (1.0, norm(1.0)), (3.0, norm(3.0)), (f64::INFINITY, largest)] {
        for limit in [0.25 * total, 4.0 * total] {
            let mut clip = Sgd::new(0.5).clip_norm(f64::from(limit)).norm_type(order);
            assert_eq!(clip.total_norm(), None);
            let factor = (limit / (total + 1e-6)).min(1.0);
            close(&seen(&mut clip, 0), &grad.iter().map(|g| g * factor).collect::<Vec<_>>());
            let found = clip.total_norm().unwrap();
            assert!((found - f64::from(total)).abs() < 1e-5 * f64::from(total), "{order}: {found} {total}");
        }
    }
}

#[test]
fn gradients_are_clipped_by_value_and_turned_round() {
    let grad = gradients(&net(), 0);
    let limit = 0.3 * grad.iter().fold(0.0f32, |most, g| most.max(g.abs()));
    let clipped: Vec<f32> = grad.iter().map(|g| g.clamp(-limit, limit)).collect();
    assert_ne!(grad, clipped);
    close(&seen(&mut Sgd::new(0.5).clip_value(f64::from(limit)), 0), &clipped);
    let turned: Vec<f32> = clipped.iter().map(|g| -g).collect();
    close(&seen(&mut Sgd::new(0.5).maximize().clip_value(f64::from(limit)), 0), &turned);
}

#[test]
fn several_calls_make_one_step_by_the_mean() {
    let (mut net, mut reference) = (self::net(), self::net());
    let mut adam = Adam::new(0.01).accumulate(3);
    let mut plain = Sgd::new(0.25);
    let mut sgd = Sgd::new(0.25).accumulate(3);
    for round in 0..3 {
        let before = all(&reference);
        let batches: Vec<Vec<f32>> = (0..3).map(|i| gradients(&reference, 3 * round + i)).collect();
        for i in 0..3 {
            assert_eq!(all(&reference), before, "only the last call changes parameters");
            train(&mut reference, &mut sgd, 3 * round + i);
            train(&mut net, &mut adam, 3 * round + i);
            assert_eq!(sgd.state().gathered(), [1, 2, 0][i]);
        }
        let expected = before
            .iter()
            .enumerate()
            .map(|(at, w)| w - 0.25 * (batches[0][at] + batches[1][at] + batches[2][at]) / 3.0);
        close(&all(&reference), &expected.collect::<Vec<_>>());
        assert_eq!((adam.state().steps(), sgd.state().steps()), (round as u64 + 1, round as u64 + 1));
    }
    assert_eq!(net.compilations().len(), 2, "a program that gathers and one that steps");
    let purposes: Vec<String> = net.compilations().into_iter().map(|c| c.purpose).collect();
    assert!(purposes[0].starts_with("gathering gradients for Adam") && purposes[1].starts_with("training with Adam"));
    // One call a step is what there is without.
    let (mut a, mut b) = (Net::new(Seed(1)).unwrap(), Net::new(Seed(1)).unwrap());
    train(&mut a, &mut plain, 0);
    train(&mut b, &mut Sgd::new(0.25).accumulate(1), 0);
    assert_eq!(all(&a), all(&b));
}

#[test]
fn what_is_within_accumulation_sees_the_mean() {
    let net = net();
    let mean: Vec<f32> = gradients(&net, 0).iter().zip(gradients(&net, 1)).map(|(a, b)| (a + b) / 2.0).collect();
    let norm = mean.iter().map(|g| g * g).sum::<f32>().sqrt();
    let mut sgd = Sgd::new(0.5).clip_norm(0.1).accumulate(2);
    let (mut net, start) = (self::net(), all(&net));
    train(&mut net, &mut sgd, 0);
    assert_eq!(sgd.total_norm(), None);
    train(&mut net, &mut sgd, 1);
    assert!((sgd.total_norm().unwrap() - f64::from(norm)).abs() < 1e-5);
    let expected: Vec<f32> = start.iter().zip(&mean).map(|(w, g)| w - 0.5 * g * 0.1 / (norm + 1e-6)).collect();
    close(&all(&net), &expected);
}

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
fn averages_are_read_swapped_and_kept() -> dl::Result<()> {
    let mut net = net();
    let mut ema = Sgd::new(0.1).ema(0.75);
    let mut average: Option<Vec<f32>> = None;
    for i in 0..4 {
        train(&mut net, &mut ema, i);
        let now = all(&net);
        average = Some(match average {
            None => now,
            Some(old) => old.iter().zip(now).map(|(old, new)| 0.75 * old + 0.25 * new).collect(),
        });
    }
    let (average, trained) = (average.unwrap(), all(&net));
    let kept: Vec<f32> = NAMES.iter().flat_map(|name| ema.average::<f32>(name).unwrap().to_owned()).collect();
    close(&kept, &average);
    let (x, y) = batch(0);
    let (of_trained, mut other) = (net.forward(&x)?, Net::new(Seed(9))?);
    let of_average = ema.averaged(&mut net, |net| net.forward(&x))??;
    assert_ne!(of_trained, of_average);
    assert_eq!((net.forward(&x)?, all(&net)), (of_trained, trained.clone()));
    // By hand, and nothing is trained or saved meanwhile.
    ema.swap(&mut net)?;
    close(&all(&net), &average);
    assert_eq!(net.forward(&x)?, of_average);
    let refused = net.train_loss(&mut ema, &x, &y).unwrap_err();
    assert!(matches!(refused, Error::AveragesInUse { .. }));
    assert_eq!(
        refused.to_string(),
        "the model holds the averages that Sgd was asked to `swap` in; `swap` again before training or saving"
    );
    let file = File::new("swapped");
    assert!(matches!(ema.save(&file.0), Err(Error::AveragesInUse { .. })));
    assert!(matches!(ema.load(&file.0), Err(Error::AveragesInUse { .. })));
    assert!(matches!(ema.averaged(&mut net, |_| ()), Err(Error::AveragesInUse { .. })));
    ema.swap(&mut net)?;
    assert_eq!(all(&net), trained);
    // Another model of the same shapes takes them too; one without them is told.
    ema.swap(&mut other)?;
    close(&all(&other), &average);
    let none = Sgd::new(0.1).ema(0.75).swap(&mut other).unwrap_err().to_string();
    assert!(none.starts_with("Sgd has no averages yet: train a step first"), "{none}");
    Ok(())
}

#[test]
fn averages_of_parameters_trained_later_start_where_these_were() {
    let mut net = net();
    let mut ema = Sgd::new(0.1).ema(0.75);
    let (x, y) = batch(0);
    net.train_head_loss(&mut ema, &x, &y).unwrap();
    assert!(ema.average::<f32>("body.weight").is_none());
    let before = values(&net, "body.weight");
    train(&mut net, &mut ema, 0);
    let expected: Vec<f32> = before.iter().zip(values(&net, "body.weight")).map(|(a, b)| 0.75 * a + 0.25 * b).collect();
    close(&ema.average::<f32>("body.weight").unwrap().iter().copied().collect::<Vec<_>>(), &expected);
}

struct File(PathBuf);

impl File {
    fn new(name: &str) -> File {
        File(std::env::temp_dir().join(format!("dl-wrappers-{name}-{}.safetensors", std::process::id())))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn training_goes_on_from_files_with_the_same_bits() -> dl::Result<()> {
    type Make = fn() -> Box<dyn Optimizer>;
    let all_at_once: Make = || {
        let groups = Groups::new(AdamW::new(0.01).amsgrad(true)).group("*.bias", |g| g.weight_decay(0.0));
        Box::new(groups.clip_norm(0.5).accumulate(3).ema(0.9))
    };
    let makers: [Make; 12] = [
        all_at_once,
        || Box::new(Sgd::new(0.01).momentum(0.9).dampening(0.1)),
        || Box::new(Adam::new(0.01).amsgrad(true)),
        || Box::new(RmsProp::new(0.01).centered(true).momentum(0.5)),
        || Box::new(Adagrad::new(0.01).initial_accumulator_value(0.1)),
        || Box::new(Adadelta::new(1.0)),
        || Box::new(Adamax::new(0.01)),
        || Box::new(NAdam::new(0.01)),
        || Box::new(RAdam::new(0.01)),
        || Box::new(Lion::new(0.01)),
        || Box::new(Lamb::new(0.01)),
        || Box::new(Sgd::new(0.01).clip_value(0.1).maximize()),
    ];
    let (model, state) = (File::new("model"), File::new("state"));
    for make in makers {
        let (mut through, mut optimizer) = (Net::new(Seed(5))?, make());
        (0..5).for_each(|i| _ = train(&mut through, &mut optimizer, i));
        through.save(&model.0)?;
        optimizer.save(&state.0)?;
        let (mut resumed, mut again) = (Net::new(Seed(6))?, make());
        resumed.load(&model.0)?;
        again.load(&state.0)?;
        assert_eq!(again.state().gathered(), optimizer.state().gathered());
        for i in 5..11 {
            let losses = (train(&mut through, &mut optimizer, i), train(&mut resumed, &mut again, i));
            assert_eq!(losses.0.to_bits(), losses.1.to_bits(), "{} {i}", optimizer.structure());
        }
        let bits = |net: &Net| all(net).iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&through), bits(&resumed), "{}", optimizer.structure());
        for name in optimizer.state().names() {
            let of = |o: &dyn Optimizer| o.state().get::<f32>(name).map(|t| t.to_owned());
            assert_eq!(of(&optimizer), of(&again), "{name}");
        }
    }
    Ok(())
}

#[test]
fn averages_of_a_loaded_state_can_be_swapped_before_the_next_step() -> dl::Result<()> {
    let (mut net, mut ema, file) = (net(), Adam::new(0.01).ema(0.9), File::new("averages"));
    (0..3).for_each(|i| _ = train(&mut net, &mut ema, i));
    ema.save(&file.0)?;
    let mut loaded = Adam::new(0.01).ema(0.9);
    loaded.load(&file.0)?;
    let (x, _) = batch(0);
    let expected = ema.averaged(&mut net, |net| net.forward(&x))??;
    assert_eq!(loaded.averaged(&mut net, |net| net.forward(&x))??, expected);
    Ok(())
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

#[test]
fn what_is_wrong_is_named_and_changes_nothing() {
    let mut net = net();
    let before = all(&net);
    let (x, y) = batch(0);
    let mut refused = |mut optimizer: Box<dyn Optimizer>| {
        let error = net.train_loss(&mut optimizer, &x, &y).expect_err("a wrong setting");
        assert_eq!((all(&net), optimizer.state().steps()), (before.clone(), 0));
        error
    };
    let bad: [(Box<dyn Optimizer>, &str); 9] = [
        (Box::new(Sgd::new(0.1).clip_norm(0.0)), "ClipNorm: `max_norm` is 0, but must be a finite number above 0"),
        (
            Box::new(Sgd::new(0.1).clip_norm(1.0).norm_type(f64::NAN)),
            "ClipNorm: `norm_type` is NaN, but must be above 0",
        ),
        (Box::new(Sgd::new(0.1).clip_value(-1.0)), "ClipValue: `limit` is -1"),
        (Box::new(Sgd::new(0.1).accumulate(0)), "Accumulate: `calls` is 0, but must be at least 1"),
        (
            Box::new(Sgd::new(0.1).accumulate(2).clip_norm(1.0).accumulate(3)),
            "Accumulate: `calls` is 3, but must be given only once",
        ),
        (Box::new(Sgd::new(0.1).ema(1.5)), "Ema: `decay` is 1.5, but must be from 0 to 1"),
        (Box::new(Adam::new(-0.1).ema(0.5).clip_value(1.0)), "Adam: `lr` is -0.1"),
        (Box::new(Groups::new(Sgd::new(0.1)).group("head.*", |g| g.lr(f64::NAN))), "Sgd: `lr` is NaN"),
        (Box::new(Groups::new(Sgd::new(f64::NAN)).clip_norm(1.0)), "Sgd: `lr` is NaN"),
    ];
    for (optimizer, message) in bad {
        let error = refused(optimizer);
        assert!(matches!(error, Error::BadHyperparameter { .. }) && error.to_string().starts_with(message), "{error}");
    }
    let unmatched =
        |pattern: &str| Box::new(Groups::new(Sgd::new(0.1)).group("head.*", |g| g).freeze(pattern).ema(0.5));
    let error = refused(unmatched("neck.*"));
    assert!(matches!(error, Error::UnmatchedPattern { .. }));
    assert_eq!(
        error.to_string(),
        "the pattern `neck.*` of `Groups` matches no parameter; `*` stands for any characters, `?` for one. The \
         parameters are `body.weight`, `body.bias`, `head.weight`, `head.bias`; no parameter was changed"
    );
    assert!(refused(unmatched("body")).to_string().contains("did you mean `body.*`?"));
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

#[test]
fn a_copy_of_an_optimizer_goes_its_own_way() {
    let (mut a, mut b) = (net(), net());
    let mut adam = Adam::new(0.01).ema(0.9);
    train(&mut a, &mut adam, 0);
    train(&mut b, &mut adam.clone(), 0);
    let mut copy = adam.clone();
    train(&mut a, &mut adam, 1);
    assert_eq!((adam.state().steps(), copy.state().steps()), (2, 1));
    let names: Vec<&str> = copy.state().names().collect();
    assert_eq!(names, adam.state().names().collect::<Vec<_>>());
    train(&mut b, &mut copy, 1);
    assert_eq!(copy.state().steps(), 2);
}
