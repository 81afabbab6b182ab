//! Crates outside of the workspace that depend on `dl` alone, one of them under another name: `model!` expands in them
//! without a warning, in both editions, and what it made computes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A package named `name` with the given source file, in `folder`.
fn package(folder: &Path, name: &str, edition: &str, dependency: &str, source: &str) {
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"{edition}\"\npublish = false\n\n\
         [dependencies]\n{dependency}\n"
    );
    let src = folder.join(name).join("src");
    fs::create_dir_all(&src).expect("the folder can be made");
    fs::write(folder.join(name).join("Cargo.toml"), manifest).expect("the manifest can be written");
    let file = if name == "plain" { "main.rs" } else { "lib.rs" };
    fs::write(src.join(file), source).expect("the source can be written");
}

/// What seldom changes is compiled as in this workspace, whose target folder has most of it then; the rest is compiled
/// quickly.
const WORKSPACE: &str = r#"
[workspace]
members = ["plain", "renamed"]
resolver = "3"

[profile.dev]
debug = "line-tables-only"

[profile.dev.package]
"*" = { opt-level = 2, debug = false }
cranelift-codegen = { opt-level = 0 }
dl = { opt-level = 0 }
dl-ir = { opt-level = 0 }
dl-macros = { opt-level = 0 }
dl-codegen = { opt-level = 0 }
dl-runtime = { opt-level = 0 }
dl-train = { opt-level = 0 }
"#;

/// The standard output of a command of cargo, which succeeds.
fn cargo(folder: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(args)
        .args(["--offline", "--quiet", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder of the target folder"))
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "cargo {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn crates_of_users_build_without_warnings_and_learn() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("user_crates");
    let dl = env!("CARGO_MANIFEST_DIR");
    package(&folder, "plain", "2021", &format!("dl = {{ path = {dl:?} }}"), include_str!("user_crates/plain.rs"));
    package(
        &folder,
        "renamed",
        "2024",
        &format!("learning = {{ package = \"dl\", path = {dl:?} }}"),
        include_str!("user_crates/renamed.rs"),
    );
    fs::write(folder.join("Cargo.toml"), WORKSPACE).expect("the workspace can be written");
    // The versions that this workspace is tested with, so that nothing is looked up.
    fs::copy(Path::new(dl).join("Cargo.lock"), folder.join("Cargo.lock")).expect("the lock file can be copied");
    // Both crates deny warnings.
    cargo(&folder, &["build"]);
    assert_eq!(cargo(&folder, &["run", "--package=plain"]), "learned\n");
}
