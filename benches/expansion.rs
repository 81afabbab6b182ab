//! What `model!` costs at compile time: builds a crate of a user, whose macros are not optimised, with many LeNets and
//! prints the time that one expansion takes. Run by `cargo bench --bench expansion`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const LENET: &str = "
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
";

/// Expansions in one build.
const COUNT: usize = 50;

/// The most that a LeNet should take.
const BAR_MS: f64 = 10.0;

fn main() {
    let times = expansion_times();
    let median = times[times.len() / 2];
    let (first, last) = (times[0], times[times.len() - 1]);
    println!("LeNet expands in {median:.2} ms (median of {}; {first:.2} to {last:.2})", times.len());
    println!("the bar is {BAR_MS} ms: {}", if median < BAR_MS { "met" } else { "missed" });
}

/// The times of all expansions in milliseconds, in ascending order.
fn expansion_times() -> Vec<f64> {
    let dl = env!("CARGO_MANIFEST_DIR");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("expansion");
    fs::create_dir_all(folder.join("src")).expect("the folder can be made");
    let manifest = format!(
        "[package]\nname = \"expansion\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\ndl = {{ path = {dl:?} }}\n\n[workspace]\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest).expect("the manifest can be written");
    fs::copy(Path::new(dl).join("Cargo.lock"), folder.join("Cargo.lock")).expect("the lock file can be copied");
    // A new line at the end of the file each time, so that cargo builds the crate again.
    let source = folder.join("src/lib.rs");
    let before = fs::read_to_string(&source).unwrap_or_default();
    let models: String = (0..COUNT).map(|i| format!("pub mod m{i} {{ dl::model! {{ {LENET} }} }}\n")).collect();
    let text = if before == models { format!("{models}\n") } else { models };
    fs::write(&source, text).expect("the source can be written");
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(folder.join("target"))
        .env("DL_MACRO_TIME", "1")
        .output()
        .expect("cargo starts");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{messages}");
    let mut times: Vec<f64> = messages
        .lines()
        .filter_map(|line| line.strip_prefix("model! expanded in ")?.strip_suffix(" ms")?.parse().ok())
        .collect();
    assert_eq!(times.len(), COUNT, "{messages}");
    times.sort_by(f64::total_cmp);
    times
}
