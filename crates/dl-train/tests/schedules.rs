//! Learning-rate schedules against PyTorch, and what they refuse.

use std::path::{Path, PathBuf};

use dl_runtime::Error;
use dl_train::schedule::*;
use safetensors::SafeTensors;

/// The two files of reference values, without their extensions.
fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/goldens/optimizers")
}

fn cases() -> dl_runtime::Result<Vec<(&'static str, Box<dyn Schedule>)>> {
    Ok(vec![
        ("step_lr", Box::new(StepLr::new(0.1, 7)?.gamma(0.5)?)),
        ("multi_step_lr", Box::new(MultiStepLr::new(0.1, vec![5, 20, 30])?.gamma(0.3)?)),
        ("exponential_lr", Box::new(ExponentialLr::new(0.1, 0.93)?)),
        ("cosine_annealing_lr", Box::new(CosineAnnealingLr::new(0.1, 40)?.eta_min(1e-3)?)),
        ("cosine_warm_restarts", Box::new(CosineAnnealingWarmRestarts::new(0.1, 8)?.t_mult(2)?)),
        ("linear_lr", Box::new(LinearLr::new(0.1)?.start_factor(0.1)?.total_iters(10)?)),
        ("polynomial_lr", Box::new(PolynomialLr::new(0.1, 30)?.power(2.0)?)),
        ("one_cycle_lr", Box::new(OneCycleLr::new(0.5, 40)?)),
        ("cyclic_lr", Box::new(CyclicLr::new(0.01, 0.1)?.step_size_up(6)?)),
    ])
}

#[test]
fn rates_are_those_of_pytorch() {
    let list = std::fs::read_to_string(goldens().with_extension("json")).unwrap();
    let list: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    let of_schedules = list.iter().filter(|case| case["inputs"].as_array().unwrap().is_empty());
    let all: Vec<&str> = of_schedules.map(|case| case["name"].as_str().unwrap()).collect();
    let cases = cases().unwrap();
    assert_eq!(cases.iter().map(|case| case.0).collect::<Vec<_>>(), all);
    let bytes = std::fs::read(goldens().with_extension("safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for (name, schedule) in cases {
        let tensor = file.tensor(&format!("{name}/out0")).unwrap();
        let rates: Vec<f32> = tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        assert_eq!(rates.len(), 40);
        for (step, &expected) in rates.iter().enumerate() {
            let (found, expected) = (schedule.lr(step as u64), f64::from(expected));
            assert!((found - expected).abs() <= 1e-7 * expected.max(1e-3), "{name} {step}: {found} {expected}");
        }
    }
}

fn close(found: impl IntoIterator<Item = f64>, expected: &[f64]) {
    let found: Vec<f64> = found.into_iter().collect();
    let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
    assert!(found.len() == expected.len() && found.iter().zip(expected).all(near), "{found:?} {expected:?}");
}

#[test]
fn one_cycle_has_two_or_three_phases_and_a_momentum() -> dl_runtime::Result<()> {
    let linear = |three| OneCycleLr::new(1.0, 10)?.pct_start(0.4)?.anneal_strategy(Anneal::Linear)?.three_phase(three);
    let two = linear(false)?;
    let first = 1.0 / 25.0;
    close(
        [0, 3, 6, 9, 50].map(|step| two.lr(step)),
        &[first, 1.0, (1.0 + first / 1e4) / 2.0, first / 1e4, first / 1e4],
    );
    close([0, 3, 6, 9].map(|step| two.momentum(step)), &[0.95, 0.85, 0.9, 0.95]);
    let three = linear(true)?;
    // Up to step 3, down to the first rate at step 6, and to the last at step 9.
    close([0, 3, 6, 9].map(|step| three.lr(step)), &[first, 1.0, first, first / 1e4]);
    close([0, 3, 6, 9].map(|step| three.momentum(step)), &[0.95, 0.85, 0.95, 0.95]);
    for (total, part) in [(1, 0.0), (1, 1.0), (1, 0.3), (3, 0.0), (3, 1.0)] {
        let odd = OneCycleLr::new(1.0, total)?.pct_start(part)?;
        let whole = odd.clone().three_phase(true)?;
        assert!((0..5).all(|step| odd.lr(step).is_finite() && whole.lr(step).is_finite()), "{total} {part}");
    }
    Ok(())
}

#[test]
fn cycles_change_their_height() -> dl_runtime::Result<()> {
    let cyclic = || CyclicLr::new(1.0, 3.0)?.step_size_up(2)?.step_size_down(4);
    close((0..8).map(|step| cyclic().unwrap().lr(step)), &[1.0, 2.0, 3.0, 2.5, 2.0, 1.5, 1.0, 2.0]);
    let halved = cyclic()?.mode(CyclicMode::Triangular2)?;
    close([2, 8, 14].map(|step| halved.lr(step)), &[3.0, 2.0, 1.5]);
    let falling = cyclic()?.mode(CyclicMode::ExpRange)?.gamma(0.5)?;
    close([2, 3].map(|step| falling.lr(step)), &[1.0 + 2.0 * 0.25, 1.0 + 1.5 * 0.125]);
    close([0, 2, 4].map(|step| cyclic().unwrap().momentum(step)), &[0.9, 0.8, 0.85]);
    Ok(())
}

#[test]
fn schedules_go_on_for_as_long_as_one_likes() -> dl_runtime::Result<()> {
    for (name, schedule) in cases()? {
        for step in [41, 1000, u64::from(u32::MAX), u64::MAX] {
            assert!(schedule.lr(step).is_finite() && schedule.lr(step) >= 0.0, "{name} {step}");
        }
    }
    let cosine = CosineAnnealingLr::new(0.1, 10)?;
    close([15, 20].map(|step| cosine.lr(step)), &[0.05, 0.1]);
    let restarts = CosineAnnealingWarmRestarts::new(0.1, 10)?;
    close([5, 10, 25].map(|step| restarts.lr(step)), &[0.05, 0.1, 0.05]);
    Ok(())
}

#[test]
fn schedules_are_composed() -> dl_runtime::Result<()> {
    let warm = StepLr::new(0.1, 2)?.gamma(0.5)?.warm_up(2);
    close((0..6).map(|step| warm.lr(step)), &[0.0, 0.05, 0.1, 0.1, 0.05, 0.05]);
    assert_eq!(StepLr::new(0.1, 2)?.warm_up(0).lr(0), 0.1);
    let sequence =
        SequentialLr::new(warm).then(3, LambdaLr::new(2.0, |step| step as f64)?)?.then(5, ConstantLr::new(0.3)?)?;
    close((0..6).map(|step| sequence.lr(step)), &[0.0, 0.05, 0.1, 0.0, 2.0, 0.1]);
    let chained = ChainedLr::new(sequence).times(ExponentialLr::new(1.0, 0.5)?);
    close([2, 4].map(|step| chained.lr(step)), &[0.025, 0.125]);
    Ok(())
}

/// PyTorch 2's `ReduceLROnPlateau` by its source, step by step.
#[test]
fn plateaus_are_waited_for() -> dl_runtime::Result<()> {
    let plateau = || ReduceLrOnPlateau::new(1.0)?.factor(0.5)?.patience(1);
    let mut relative = plateau()?.threshold(Threshold::Rel(0.1))?;
    // 9.5 is not better than 10 by a tenth; the second bad one in a row is one too many.
    close([10.0, 9.5, 9.2, 8.0, 7.5, f64::NAN].map(|loss| relative.step(loss)), &[1.0, 1.0, 0.5, 0.5, 0.5, 0.25]);
    let mut absolute = plateau()?.threshold(Threshold::Abs(1.0))?.mode(Mode::Max)?.cooldown(2)?;
    let metrics = [1.0, 3.0, 3.5, 3.5, 3.5, 3.5, 3.5, 3.5];
    // Two bad ones after the fall do not count.
    close(metrics.map(|score| absolute.step(score)), &[1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25]);
    let mut limited = plateau()?.patience(0)?.min_lr(0.3)?;
    close([1.0; 4].map(|loss| limited.step(loss)), &[1.0, 0.5, 0.3, 0.3]);
    let mut still = plateau()?.patience(0)?.eps(0.6)?;
    close([1.0; 2].map(|loss| still.step(loss)), &[1.0, 1.0]);
    let (mut first, mut second) = (plateau()?, plateau()?);
    (0..2).for_each(|_| _ = first.step(1.0));
    second.restore(first.state());
    assert_eq!((first.step(1.0), second.step(1.0), second.lr()), (0.5, 0.5, 0.5));
    assert_eq!(plateau()?.state().best, f64::INFINITY);
    Ok(())
}

#[test]
fn settings_out_of_range_are_named() {
    fn refused<T>(found: dl_runtime::Result<T>, schedule: &str, setting: &str) {
        let Err(Error::BadHyperparameter { optimizer, name, .. }) = found else { panic!("{schedule} takes {setting}") };
        assert_eq!((optimizer, name), (schedule, setting));
    }
    refused(StepLr::new(-0.1, 3), "StepLr", "lr");
    refused(StepLr::new(0.1, 0), "StepLr", "step_size");
    refused(StepLr::new(0.1, 3).and_then(|s| s.gamma(f64::NAN)), "StepLr", "gamma");
    refused(MultiStepLr::new(f64::INFINITY, vec![]), "MultiStepLr", "lr");
    refused(ExponentialLr::new(0.1, -1.0), "ExponentialLr", "gamma");
    refused(ConstantLr::new(0.1).and_then(|s| s.factor(1.5)), "ConstantLr", "factor");
    refused(LinearLr::new(0.1).and_then(|s| s.total_iters(0)), "LinearLr", "total_iters");
    refused(LinearLr::new(0.1).and_then(|s| s.start_factor(-0.5)), "LinearLr", "start_factor");
    refused(PolynomialLr::new(0.1, 0), "PolynomialLr", "total_iters");
    refused(LambdaLr::new(-1.0, |_| 1.0), "LambdaLr", "lr");
    refused(CosineAnnealingLr::new(0.1, 0), "CosineAnnealingLr", "t_max");
    refused(CosineAnnealingLr::new(0.1, 1).and_then(|s| s.eta_min(-1.0)), "CosineAnnealingLr", "eta_min");
    refused(CosineAnnealingWarmRestarts::new(0.1, 0), "CosineAnnealingWarmRestarts", "t_0");
    let restarts = CosineAnnealingWarmRestarts::new(0.1, 1).and_then(|s| s.t_mult(0));
    refused(restarts, "CosineAnnealingWarmRestarts", "t_mult");
    refused(OneCycleLr::new(0.1, 0), "OneCycleLr", "total_steps");
    refused(OneCycleLr::new(0.1, 5).and_then(|s| s.pct_start(1.5)), "OneCycleLr", "pct_start");
    refused(OneCycleLr::new(0.1, 5).and_then(|s| s.div_factor(0.0)), "OneCycleLr", "div_factor");
    refused(CyclicLr::new(0.1, -0.2), "CyclicLr", "max_lr");
    refused(CyclicLr::new(0.1, 0.2).and_then(|s| s.step_size_down(0)), "CyclicLr", "step_size_down");
    refused(StepLr::new(0.1, 1).and_then(|s| s.warm_up(3).start_factor(2.0)), "WarmUp", "start_factor");
    let first = || SequentialLr::new(StepLr::new(0.1, 1)?).then(5, StepLr::new(0.1, 1)?);
    refused(first().and_then(|s| s.then(5, StepLr::new(0.1, 1)?)), "SequentialLr", "milestone");
    refused(ReduceLrOnPlateau::new(0.1).and_then(|s| s.factor(1.0)), "ReduceLrOnPlateau", "factor");
    let threshold = ReduceLrOnPlateau::new(0.1).and_then(|s| s.threshold(Threshold::Abs(-1.0)));
    refused(threshold, "ReduceLrOnPlateau", "threshold");
    assert_eq!(
        StepLr::new(0.1, 0).unwrap_err().to_string(),
        "StepLr: `step_size` is 0, but must be at least 1; no parameter was changed"
    );
}
