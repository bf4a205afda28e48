//! Processes that are killed: nothing that was finished is lost, and the tables are those of an undisturbed sweep.

use super::ecqx;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SWEEP: &str = "\
name: sweep
dataset: {name: embedded-audio, samples: {train: 512, validation: 64, test: 128}}
model: mlp-gsc
baseline:
  train: {epochs: 2, batch_size: 64}
seeds: [1, 2]
bits: [2, 4]
training: {epochs: 2, batch_size: 64}
quantizers:
  - {method: ecqx, lambda: [0.01, 0.05]}
  - {method: ecq, lambda: 0.05}
  - {method: lsq}
";
const RUNS: u64 = 16;

fn finished(folder: &Path, store: &str) -> usize {
    let runs = folder.join(store).join("runs");
    std::fs::read_dir(runs).map_or(0, |entries| entries.flatten().count())
}

fn run(folder: &Path, store: &str) -> serde_json::Value {
    let arguments = ["run", "sweep.yaml", "--store", store, "--json"];
    let output = ecqx().current_dir(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn table(folder: &Path, store: &str) -> String {
    let arguments = ["report", "sweep.yaml", "--store", store, "--output", store];
    ecqx().current_dir(folder).args(arguments).assert().success();
    let mut files = std::fs::read_dir(folder.join(store)).unwrap().map(|entry| entry.unwrap().path());
    let raw = files.find(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("raw") && name.ends_with(".csv")
    });
    std::fs::read_to_string(raw.expect("a raw table")).unwrap()
}

/// Killed three times at different moments; the last call completes what is missing and repeats nothing.
#[test]
fn killed_sweeps_lose_nothing_finished() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sweep.yaml"), SWEEP).unwrap();
    let mut before = 0;
    for stop_at in [1, 4, 9] {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin("ecqx"))
            .current_dir(folder.path())
            .args(["run", "sweep.yaml", "--store", "killed"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while finished(folder.path(), "killed") < stop_at && start.elapsed() < Duration::from_secs(120) {
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let now = finished(folder.path(), "killed");
        assert!(now >= before.max(stop_at), "{before} runs were finished, now {now}");
        before = now;
    }
    let done_before = finished(folder.path(), "killed") as u64;
    let summary = run(folder.path(), "killed");
    assert_eq!(summary["skipped"].as_u64().unwrap(), done_before, "{summary}");
    assert_eq!(summary["done"].as_u64().unwrap(), RUNS - done_before, "{summary}");
    run(folder.path(), "undisturbed");
    assert_eq!(table(folder.path(), "killed"), table(folder.path(), "undisturbed"));
}

/// Runs a script of `tests/kill` with numbers small enough for every day; its output tells what it did.
#[cfg(unix)]
fn script(name: &str, numbers: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kill").join(name);
    let mut command = Command::new("sh");
    command.env_remove("ECQX_DATA").arg(path).arg(assert_cmd::cargo::cargo_bin("ecqx"));
    let output = command.args(numbers).arg(folder.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    eprintln!("{told}");
}

/// Workers killed at random: results and tables equal an undisturbed sweep's, and nothing is left behind.
#[cfg(unix)]
#[test]
fn killed_workers_change_nothing() {
    script("sweep.sh", &["4", "12", "1"]);
}

/// A run killed at random moments, continued, ends with the same file byte for byte.
#[cfg(unix)]
#[test]
fn killed_runs_continue_byte_for_byte() {
    script("resume.sh", &["3"]);
}
