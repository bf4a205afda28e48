//! What goes wrong around a sweep: runs that fail, interruptions, full and wrong disks, data that change, damaged
//! checkpoints. Each is a clear message or a correct run, never a lost or a wrong result.

use super::ecqx;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const TINY: &str = "\
name: tiny
input_shape: [1, 49, 10]
layers:
  - {name: flatten, kind: flatten}
  - {name: fc1, kind: linear, input: flatten, inputs: 490, outputs: 32}
  - {name: relu, kind: relu}
  - {name: fc2, kind: linear, input: relu, inputs: 32, outputs: 12}
";

/// A sweep of the given quantizers on a small network.
fn sweep(folder: &Path, epochs: usize, quantizers: &str) {
    std::fs::write(folder.join("tiny.yaml"), TINY).unwrap();
    let text = format!(
        "name: sweep\ndataset: {{name: embedded-audio, samples: {{train: 128, validation: 32, test: 32}}}}\n\
         model: {{file: tiny.yaml}}\nbaseline:\n  train: {{epochs: 1, batch_size: 32}}\n\
         training: {{epochs: {epochs}, batch_size: 4}}\nquantizers:\n{quantizers}"
    );
    std::fs::write(folder.join("sweep.yaml"), text).unwrap();
}

const GOOD: &str = "  - {method: uniform, bits: 4}\n";
/// Overflows after some steps: nothing bounds the weights of a network that is only pruned.
const BAD: &str =
    "  - {method: magnitude, sparsity: 0.5, training: {epochs: 6, optimizer: sgd, learning_rate: 1000}}\n";

fn output(folder: &Path, arguments: &[&str]) -> Output {
    let output = ecqx().current_dir(folder).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("panicked"), "{text}");
    output
}

fn json(folder: &Path, arguments: &[&str]) -> (i32, Value) {
    let output = output(folder, &[arguments, &["--json"]].concat());
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).map_or(Vec::new(), |entries| entries.flatten().map(|e| e.path()).collect());
    found.sort();
    found
}

/// The model file of the only run in a store.
fn model(store: &Path) -> Vec<u8> {
    let runs = files(&store.join("runs"));
    assert_eq!(runs.len(), 1);
    std::fs::read(runs[0].join("model.nnc")).unwrap()
}

/// A failed run is a row with error and log, the others go on; it is tried again in later calls until its retries are
/// used up, and then only when asked for.
#[test]
fn failed_runs_are_rows() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    sweep(at, 1, &format!("{BAD}{GOOD}"));
    let (code, value) = json(at, &["run", "sweep.yaml", "--max-retries", "1"]);
    assert_eq!(
        (code, value["done"].as_u64(), value["failed"].as_array().map(Vec::len)),
        (1, Some(1), Some(1))
    );
    let id = value["failed"][0]["id"].as_str().unwrap().to_owned();
    let (code, record) = json(at, &["show", &id]);
    assert_eq!((code, record["status"].as_str(), record["attempts"].as_u64()), (0, Some("failed"), Some(1)));
    assert!(record["error"].as_str().unwrap().contains("diverged"), "{record}");
    assert!(!record["log"].as_array().unwrap().is_empty(), "{record}");
    // The second attempt is the last of this budget.
    for (arguments, attempts) in
        [(&["--max-retries", "1"][..], 2), (&["--max-retries", "1"], 2), (&["--retry-failed"], 3)]
    {
        let (code, value) = json(at, &[&["run", "sweep.yaml"], arguments].concat());
        assert_eq!((code, value["skipped"].as_u64()), (1, Some(1)), "{value}");
        assert_eq!(json(at, &["show", &id]).1["attempts"].as_u64(), Some(attempts), "{arguments:?}");
    }
    let (code, value) = json(at, &["status", "sweep.yaml"]);
    assert_eq!((code, value["done"].as_u64(), value["failed"].as_u64()), (0, Some(1), Some(1)));
}

/// With `--fail-fast` nothing is begun after a failure.
#[test]
fn fail_fast_stops() {
    let folder = tempfile::tempdir().unwrap();
    sweep(folder.path(), 1, &format!("{BAD}{GOOD}"));
    let (code, value) = json(folder.path(), &["run", "sweep.yaml", "--fail-fast"]);
    assert_eq!(
        (code, value["done"].as_u64(), value["failed"].as_array().map(Vec::len)),
        (1, Some(0), Some(1))
    );
}

fn signal(child: &std::process::Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// Starts the sweep and waits until its quantized run has a checkpoint, which is written after a step.
#[cfg(unix)]
fn start(folder: &Path) -> std::process::Child {
    let child = Command::new(assert_cmd::cargo::cargo_bin("ecqx"))
        .current_dir(folder)
        .args(["run", "sweep.yaml", "--store", "interrupted", "--checkpoint-minutes", "0.0001"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let is_run = |path: &PathBuf| !path.file_name().unwrap().to_string_lossy().starts_with("baseline-");
    while !files(&folder.join("interrupted/checkpoints")).iter().any(is_run) {
        assert!(begin.elapsed() < Duration::from_secs(120), "no checkpoint appeared");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

/// Ctrl-C finishes the epoch and keeps a checkpoint, a second one ends the process at once, and so does a batch system's
/// SIGTERM after a step; each time the code is 130 and the next call ends with the model of an undisturbed run.
#[cfg(unix)]
#[test]
fn interrupted_runs_continue() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    sweep(at, 12, "  - {method: ecq, bits: 4, lambda: 0.02}\n");
    assert_eq!(json(at, &["run", "sweep.yaml", "--store", "undisturbed"]).0, 0);
    for signals in [&["-INT"][..], &["-TERM"], &["-INT", "-INT"]] {
        let _ = std::fs::remove_dir_all(at.join("interrupted"));
        let child = start(at);
        for (number, name) in signals.iter().enumerate() {
            std::thread::sleep(Duration::from_millis(number as u64));
            signal(&child, name);
        }
        let ended = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(130), "{signals:?}: {told}");
        let says = told.contains("stopping at the end of the epoch");
        assert!(signals != ["-INT"] || says, "{told}");
        assert_eq!(files(&at.join("interrupted/checkpoints")).len(), 1, "{signals:?}: {told}");
        assert_eq!(json(at, &["store", "verify", "--store", "interrupted"]).0, 0);
        let (code, value) = json(at, &["run", "sweep.yaml", "--store", "interrupted"]);
        assert_eq!((code, value["done"].as_u64()), (0, Some(1)), "{value}");
        assert_eq!(model(&at.join("interrupted")), model(&at.join("undisturbed")), "{signals:?}");
        assert_eq!(files(&at.join("interrupted/checkpoints")).len(), 0);
        let id = files(&at.join("interrupted/runs"))[0].file_name().unwrap().to_string_lossy().into_owned();
        let record = json(at, &["show", &id, "--store", "interrupted"]).1;
        assert_eq!(record["interrupted"].as_array().map(Vec::len), Some(1), "{record}");
    }
}

/// A checkpoint that is damaged, of another run or no checkpoint at all is reported and ignored.
#[cfg(unix)]
#[test]
fn bad_checkpoints_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    sweep(at, 12, "  - {method: ecq, bits: 4, lambda: 0.02}\n");
    assert_eq!(json(at, &["run", "sweep.yaml", "--store", "undisturbed"]).0, 0);
    let child = start(at);
    signal(&child, "-TERM");
    child.wait_with_output().unwrap();
    let path = files(&at.join("interrupted/checkpoints")).remove(0);
    let good = std::fs::read(&path).unwrap();
    let id = path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut flipped = good.clone();
    let middle = good.len() / 2;
    flipped[middle] ^= 4;
    let foreign = String::from_utf8_lossy(&good[..good.len().min(4096)]).contains(&id);
    assert!(foreign, "the file says whose it is");
    for (content, reason) in
        [(flipped, "digest differs"), (good[..middle].to_vec(), "byte 0"), (b"nothing".to_vec(), "byte 0")]
    {
        std::fs::write(&path, content).unwrap();
        let output = output(at, &["run", "sweep.yaml", "--store", "interrupted"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{told}");
        assert!(
            told.contains("the checkpoint is ignored, training starts anew") && told.contains(reason),
            "{told}"
        );
        assert_eq!(model(&at.join("interrupted")), model(&at.join("undisturbed")));
        std::fs::remove_dir_all(at.join("interrupted/runs").join(&id)).unwrap();
    }
    // The checkpoint of another run under this one's name.
    sweep(at, 13, "  - {method: ecq, bits: 4, lambda: 0.02}\n");
    let (_, plan) = json(at, &["plan", "sweep.yaml"]);
    let other = plan["runs"][0]["id"].as_str().unwrap();
    std::fs::write(at.join("interrupted/checkpoints").join(format!("{other}.safetensors")), good).unwrap();
    let output = output(at, &["run", "sweep.yaml", "--store", "interrupted"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && told.contains("it belongs to"), "{told}");
}

/// A disk without room, here a limit on the size of files: an error that names the file and the way out, no half-written
/// result, and a complete sweep once there is room.
#[cfg(unix)]
#[test]
fn a_full_disk_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    sweep(at, 1, GOOD);
    let script = "ulimit -f 16; trap '' XFSZ; exec \"$ECQX\" run sweep.yaml";
    let mut command = Command::new("sh");
    command.current_dir(at).env("ECQX", assert_cmd::cargo::cargo_bin("ecqx")).args(["-c", script]);
    let full = command.env_remove("ECQX_DATA").output().unwrap();
    let told = String::from_utf8_lossy(&full.stderr).into_owned();
    assert_eq!(full.status.code(), Some(1), "{told}");
    assert!(told.contains("too large") && told.contains("hint: make room"), "{told}");
    for name in ["runs", "baselines", "claims", "partial", "checkpoints"] {
        assert_eq!(files(&at.join("store").join(name)).len(), 0, "{name}: {told}");
    }
    let (code, value) = json(at, &["run", "sweep.yaml"]);
    assert_eq!((code, value["done"].as_u64()), (0, Some(1)), "{value}");
}

/// A store that cannot be written is an error before any work; reading one does not need to write.
#[cfg(unix)]
#[test]
fn stores_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    sweep(at, 1, GOOD);
    // A file where a folder is expected stops root too.
    std::fs::create_dir(at.join("blocked")).unwrap();
    std::fs::write(at.join("blocked/runs"), "").unwrap();
    let blocked = output(at, &["run", "sweep.yaml", "--store", "blocked"]);
    let told = String::from_utf8_lossy(&blocked.stderr).into_owned();
    assert_eq!(blocked.status.code(), Some(2), "{told}");
    assert!(told.contains("blocked/runs: a file stands where the store has a folder"), "{told}");
    assert_eq!(json(at, &["show", "abc", "--store", "nowhere"]).0, 2);
    assert!(!at.join("nowhere").exists(), "looking for a run makes no store");
    // Mounting needs privileges and a namespace of its own.
    assert_eq!(json(at, &["run", "sweep.yaml"]).0, 0);
    let script = "mount --bind store store && mount -o remount,bind,ro store || exit 99
        \"$ECQX\" run sweep.yaml || exit $?; \"$ECQX\" status sweep.yaml || exit 90
        \"$ECQX\" plan sweep.yaml && \"$ECQX\" report sweep.yaml && \"$ECQX\" store verify || exit 92
        \"$ECQX\" run sweep.yaml --force; [ $? = 2 ] || exit 91";
    let mut command = Command::new("unshare");
    command.current_dir(at).env("ECQX", assert_cmd::cargo::cargo_bin("ecqx"));
    match command.args(["-m", "sh", "-c", script]).output() {
        Ok(output) if output.status.code() == Some(0) => {
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(told.contains("store: the store cannot be written: read-only file"), "{told}");
            assert!(told.contains("hint: name another one with --store"), "{told}");
        }
        Ok(output) if [Some(90), Some(91), Some(92)].contains(&output.status.code()) => {
            panic!("{:?} {}", output.status, String::from_utf8_lossy(&output.stderr))
        }
        _ => eprintln!("skipped: no read-only mount can be made here"),
    }
}

fn idx(folder: &Path, name: &str, dimensions: &[u32], data: &[u8]) {
    let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
    dimensions.iter().for_each(|dimension| bytes.extend(dimension.to_be_bytes()));
    bytes.extend(data);
    std::fs::write(folder.join(name), bytes).unwrap();
}

/// Results of other data or of another baseline are never served: a changed file makes new runs.
#[test]
fn changed_data_make_new_runs() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let data = at.join("data/mnist");
    std::fs::create_dir_all(&data).unwrap();
    let pixels = |count: usize, shift: usize| -> Vec<u8> {
        (0..count * 784).map(|i| ((i * 31 + i / 784 * 97 + shift) % 251) as u8).collect()
    };
    let labels = |count: usize| -> Vec<u8> { (0..count).map(|i| (i % 10) as u8).collect() };
    idx(&data, "train-images-idx3-ubyte", &[60, 28, 28], &pixels(60, 0));
    idx(&data, "train-labels-idx1-ubyte", &[60], &labels(60));
    idx(&data, "t10k-images-idx3-ubyte", &[20, 28, 28], &pixels(20, 5));
    idx(&data, "t10k-labels-idx1-ubyte", &[20], &labels(20));
    std::fs::write(
        at.join("tiny.yaml"),
        TINY.replace("[1, 49, 10]", "[1, 28, 28]")
            .replace("490", "784")
            .replace("outputs: 12", "outputs: 10"),
    )
    .unwrap();
    std::fs::write(
        at.join("sweep.yaml"),
        "name: sweep\ndataset: {name: mnist, validation: 10}\nmodel: {file: tiny.yaml}\n\
         baseline:\n  train: {epochs: 1, batch_size: 16}\nquantizers:\n  - {method: uniform, bits: 4}\n",
    )
    .unwrap();
    let run = || json(at, &["run", "sweep.yaml", "--data-dir", "data"]).1;
    assert_eq!(run()["done"].as_u64(), Some(1));
    assert_eq!(run()["skipped"].as_u64(), Some(1));
    // One pixel of a test image.
    let mut changed = pixels(20, 5);
    changed[3000] ^= 64;
    idx(&data, "t10k-images-idx3-ubyte", &[20, 28, 28], &changed);
    assert_eq!(run()["done"].as_u64(), Some(1));
    assert_eq!(files(&at.join("store/runs")).len(), 2);
    assert_eq!(files(&at.join("store/baselines")).len(), 2);
    // The old files again: the old results.
    idx(&data, "t10k-images-idx3-ubyte", &[20, 28, 28], &pixels(20, 5));
    assert_eq!(run()["skipped"].as_u64(), Some(1));
    // A checkpoint that changes under its name.
    let weights = |index: usize| files(&at.join("store/baselines"))[index].join("weights.safetensors");
    std::fs::copy(weights(0), at.join("w.safetensors")).unwrap();
    let text = std::fs::read_to_string(at.join("sweep.yaml")).unwrap();
    let text = text.replace("  train: {epochs: 1, batch_size: 16}", "  checkpoint: w.safetensors");
    std::fs::write(at.join("sweep.yaml"), text).unwrap();
    assert_eq!(run()["done"].as_u64(), Some(1));
    assert_eq!(run()["skipped"].as_u64(), Some(1));
    let mut bytes = std::fs::read(weights(0)).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    std::fs::write(at.join("w.safetensors"), bytes).unwrap();
    assert_eq!(run()["done"].as_u64(), Some(1), "another baseline");
}

/// Claims of another machine hold while their heartbeat is fresh by the file system's clock; one without heartbeat, or
/// with one from the future, is taken over. The same holds for claims that were cut off.
#[test]
fn claims_and_clocks() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    sweep(at, 1, GOOD);
    let (_, plan) = json(at, &["plan", "sweep.yaml"]);
    let claim = at.join("store/claims").join(format!("{}.json", plan["runs"][0]["id"].as_str().unwrap()));
    std::fs::create_dir_all(claim.parent().unwrap()).unwrap();
    let minutes = |number: i64| {
        let now = std::time::SystemTime::now();
        let distance = Duration::from_secs(60 * number.unsigned_abs());
        if number < 0 { now - distance } else { now + distance }
    };
    for content in ["{\"host\": \"elsewhere\", \"pid\": 1}", ""] {
        for (age, done) in [(0, 0), (-10, 1), (10_000, 1), (-20_000_000, 1)] {
            std::fs::write(&claim, content).unwrap();
            let file = std::fs::File::options().write(true).open(&claim).unwrap();
            file.set_modified(minutes(age)).unwrap();
            let (code, value) = json(at, &["run", "sweep.yaml", "--force"]);
            assert_eq!(
                (code, value["done"].as_u64()),
                (0, Some(done)),
                "'{content}', {age} minutes: {value}"
            );
            assert_eq!(claim.exists(), done == 0);
        }
    }
    assert_eq!(json(at, &["store", "gc"]).0, 0);
    assert_eq!(files(&at.join("store/claims")).len(), 0);
}
