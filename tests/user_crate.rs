//! Crates outside of the workspace that depend on `dl` alone, one of them under another name: `model!` expands in them
//! without a warning, in both editions.

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

#[test]
fn models_expand_without_warnings_in_crates_of_users() {
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
    let workspace = "[workspace]\nmembers = [\"plain\", \"renamed\"]\nresolver = \"3\"\n";
    fs::write(folder.join("Cargo.toml"), workspace).expect("the workspace can be written");
    // The versions that this workspace is tested with, so that nothing is looked up.
    fs::copy(Path::new(dl).join("Cargo.lock"), folder.join("Cargo.lock")).expect("the lock file can be copied");
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--quiet", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(folder.join("target"))
        .output()
        .expect("cargo starts");
    // Both crates deny warnings.
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
