//! A process that is killed while it saves: the file is the old one or the new one, and loads.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use dl::prelude::*;

dl::model! {
    model Net {
        let layer = Linear(256 => 512);

        pub fn forward(x: f32[N, 256]) -> f32[N, 512] {
            layer(x)
        }
    }
}

/// Where the process that is to be killed saves.
const FILE: &str = "DL_TEST_CRASH_FILE";

/// Not a test: what the process does that is to be killed.
#[test]
#[ignore = "runs until it is killed"]
fn saves_until_killed() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let nets = [Net::new(Seed(0)).unwrap(), Net::new(Seed(1)).unwrap()];
    loop {
        nets.iter().for_each(|net| net.save(&file).unwrap());
    }
}

fn kill_while_saving(file: &Path, after: Duration) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "saves_until_killed", "--ignored"])
        .env(FILE, file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !file.exists() && start.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_millis(1));
    }
    sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_process_killed_while_saving_leaves_a_whole_file() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("crash-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("net.safetensors");
    let weight = |net: &Net| net.parameter("layer.weight").unwrap().to_array::<f32>().unwrap();
    let saved = [0, 1].map(|seed| weight(&Net::new(Seed(seed)).unwrap()));
    for round in 0..10 {
        kill_while_saving(&file, Duration::from_micros(700 * round));
        let mut net = Net::new(Seed(2)).unwrap();
        net.load(&file).unwrap();
        assert!(saved.contains(&weight(&net)), "round {round}");
        std::fs::remove_file(&file).unwrap();
    }
    std::fs::remove_dir_all(folder).unwrap();
}
