//! A quantizer of a user's crate: the example's own tests run here, and its program runs an experiment with it.

use super::ecqx;
use std::path::PathBuf;
use std::process::Command;

#[allow(dead_code, reason = "its main function is the example's")]
#[path = "../../examples/custom_quantizer.rs"]
mod example;

/// The example's program, built as the tests are.
fn program() -> PathBuf {
    let release = PathBuf::from(ecqx().get_program());
    let folder = release.parent().expect("a folder").to_path_buf();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--locked", "--example", "custom_quantizer", "--target-dir"]);
    build.arg(folder.parent().expect("the target folder"));
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    folder.join("examples/custom_quantizer")
}

/// A method that the library does not know is listed, runs with its parameters as axes, and is a row of the report; the
/// library's own program refuses it by name.
#[test]
fn a_users_method_is_one_of_the_tool() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "\
name: mine
dataset: {name: embedded-images, samples: {train: 96, validation: 32, test: 64}}
model: cnn-small
baseline: {train: {epochs: 1, batch_size: 32}}
seeds: [1]
bits: [3]
training: {epochs: 1, batch_size: 32}
quantizers:
  - {method: power_of_two, shrink: [0.5, 1]}
  - {method: uniform}
";
    std::fs::write(folder.path().join("mine.yaml"), yaml).unwrap();
    let program = program();
    let run = |arguments: &[&str]| {
        let output = Command::new(&program).args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let listed = run(&["ls", "quantizers"]);
    assert!(
        listed.contains("power_of_two") && listed.contains("first scale over the largest |w|"),
        "{listed}"
    );
    run(&["run", "mine.yaml"]);
    run(&["report", "mine.yaml", "--output", "report"]);
    let table = std::fs::read_to_string(folder.path().join("report/working_points.csv")).unwrap();
    for label in ["power_of_two 3 bit", "power_of_two 3 bit shrink=0.5", "uniform 3 bit"] {
        assert!(table.lines().any(|line| line.split(',').any(|cell| cell == label)), "{label}: {table}");
    }
    let output = ecqx().current_dir(folder.path()).args(["plan", "mine.yaml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("unknown quantizer 'power_of_two'"), "{message}");
}
