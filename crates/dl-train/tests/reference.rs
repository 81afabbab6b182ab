//! The tables of `docs/training.md`, from the defaults of optimizers and schedules: `DL_BLESS=1 cargo test -p dl-train
//! --test reference` rewrites them.

#[path = "../../dl-ir/tests/support/pages.rs"]
mod pages;

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use dl_runtime::{Adadelta, Adagrad, Adam, AdamW, Adamax, Lamb, Lion, NAdam, RAdam, Result, RmsProp, Sgd};
use dl_train::schedule::{
    ConstantLr, CosineAnnealingLr, CosineAnnealingWarmRestarts, CyclicLr, ExponentialLr, LinearLr, MultiStepLr,
    OneCycleLr, PolynomialLr, ReduceLrOnPlateau, StepLr,
};
use pages::{check_tables, code, prose, table};

/// A row: how it is made, with every setting and its default, what it does, and PyTorch's name. The first `given` fields
/// have no default.
fn row(value: &dyn Debug, given: usize, about: &str, torch: &str) -> Vec<String> {
    let text = format!("{value:?}");
    let (name, fields) = text.split_once(" { ").expect("a struct with fields");
    let fields = fields.trim_end_matches(" }");
    let fields = fields.split(", state: ").next().unwrap().split(", memory: ").next().unwrap();
    // Commas within brackets part no fields.
    let (mut settings, mut depth) = (vec![String::new()], 0);
    for c in fields.chars() {
        depth += i32::from("([".contains(c)) - i32::from(")]".contains(c));
        match c {
            ',' if depth == 0 => settings.push(String::new()),
            c => settings.last_mut().unwrap().push(c),
        }
    }
    let shown = settings.iter().enumerate().map(|(at, setting)| {
        let (name, value) = setting.trim().split_once(": ").expect("a field");
        if at < given { name.to_string() } else { format!("{name} = {value}") }
    });
    let call = format!("{name}({})", shown.collect::<Vec<_>>().join(", "));
    vec![code(&call), prose(about), if torch == "-" { torch.to_string() } else { code(torch) }]
}

fn optimizers() -> Vec<Vec<String>> {
    let row = |value: &dyn Debug, about, torch| row(value, 0, about, torch);
    vec![
        row(&Sgd::default(), "gradient descent, with momentum or without", "torch.optim.SGD"),
        row(&Adam::default(), "two moments of each gradient (Kingma & Ba 2014)", "torch.optim.Adam"),
        row(&AdamW::default(), "`Adam` with decoupled decay (Loshchilov & Hutter 2017)", "torch.optim.AdamW"),
        row(&Adamax::default(), "`Adam` by the largest gradient (Kingma & Ba 2014)", "torch.optim.Adamax"),
        row(&NAdam::default(), "`Adam` with Nesterov's momentum (Dozat 2016)", "torch.optim.NAdam"),
        row(&RAdam::default(), "`Adam` with rectified first steps (Liu et al. 2019)", "torch.optim.RAdam"),
        row(&RmsProp::default(), "divides by the root of mean squares (Tieleman & Hinton 2012)", "torch.optim.RMSprop"),
        row(&Adagrad::default(), "divides by the root of sums of squares (Duchi et al. 2011)", "torch.optim.Adagrad"),
        row(&Adadelta::default(), "steps as large as earlier ones (Zeiler 2012)", "torch.optim.Adadelta"),
        row(&Lion::default(), "the sign of a moving average (Chen et al. 2023)", "-"),
        row(&Lamb::default(), "`Adam` with a rate for each tensor (You et al. 2019)", "-"),
    ]
}

fn schedules() -> Result<Vec<Vec<String>>> {
    let torch = |name: &str| format!("torch.optim.lr_scheduler.{name}");
    Ok(vec![
        row(&StepLr::new(0.1, 1)?, 2, "times `gamma` after every `step_size` steps", &torch("StepLR")),
        row(&MultiStepLr::new(0.1, vec![1])?, 2, "times `gamma` at each milestone", &torch("MultiStepLR")),
        row(&ExponentialLr::new(0.1, 0.5)?, 2, "lr * gamma^step", &torch("ExponentialLR")),
        row(&ConstantLr::new(0.1)?, 1, "times `factor` for `total_iters` steps", &torch("ConstantLR")),
        row(&LinearLr::new(0.1)?, 1, "from one factor evenly to the other", &torch("LinearLR")),
        row(&PolynomialLr::new(0.1, 1)?, 2, "lr * (1 - step / total_iters)^power", &torch("PolynomialLR")),
        row(&CosineAnnealingLr::new(0.1, 1)?, 2, "half a cosine from `lr` to `eta_min`", &torch("CosineAnnealingLR")),
        row(
            &CosineAnnealingWarmRestarts::new(0.1, 1)?,
            2,
            "half a cosine again and again, each `t_mult` times as long",
            &torch("CosineAnnealingWarmRestarts"),
        ),
        row(&OneCycleLr::new(0.1, 1)?, 2, "up and down once, with `momentum(step)`", &torch("OneCycleLR")),
        row(&CyclicLr::new(0.1, 0.2)?, 2, "up and down again and again, with `momentum(step)`", &torch("CyclicLR")),
        row(
            &ReduceLrOnPlateau::new(0.1)?,
            1,
            "times `factor` when a metric stops improving",
            &torch("ReduceLROnPlateau"),
        ),
    ])
}

/// The names that files of a folder declare with a macro: `optimizer! { .. Name(`.
fn declared(folder: &str, start: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut names = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for part in text.split(start).skip(1) {
            let line = part.lines().find(|line| line.starts_with("    ") && line[4..].starts_with(char::is_uppercase));
            let name = line.and_then(|line| line.trim().split('(').next()).expect("a declaration");
            names.push(name.to_string());
        }
    }
    names
}

#[test]
fn pages_show_every_optimizer_and_schedule_with_its_defaults() {
    let (optimizers, schedules) = (optimizers(), schedules().unwrap());
    for (rows, folder, start) in
        [(&optimizers, "../dl-runtime/src/optim", "\noptimizer! {\n"), (&schedules, "src/schedule", "\nschedule! {\n")]
    {
        let names = declared(folder, start);
        for name in &names {
            let opening = format!("`{name}(");
            assert!(rows.iter().any(|row| row[0].starts_with(&opening)), "no row of the table shows {name}");
        }
        assert_eq!(names.len(), rows.len());
    }
    let found = check_tables(|name| match name {
        "optimizers" => Some(table(&["", "steps by", "PyTorch"], optimizers.iter().cloned())),
        "schedules" => Some(table(&["", "the rate", "PyTorch"], schedules.iter().cloned())),
        _ => None,
    });
    for name in ["optimizers", "schedules"] {
        assert_eq!(
            found.get(name),
            Some(&1),
            "a page needs the lines `<!-- table: {name} -->` and `<!-- end -->` once"
        );
    }
}
