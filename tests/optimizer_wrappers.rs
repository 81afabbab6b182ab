//! What is put around optimizers: clipping, accumulation and averages, alone and together, and their files.

#[path = "common/file.rs"]
mod file;
#[path = "common/training.rs"]
mod training;

use dl::Error;
use dl::prelude::*;
use file::File;
use training::{NAMES, Net, all, batch, close, gradients, net, seen, train, values};

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
