//! `method: external` through the real binary: programs that do what they are asked, and programs that don't.

use super::ecqx;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const HEAD: &str = "\
name: programs
dataset: {name: embedded-audio, samples: {train: 128, validation: 32, test: 32}}
model: mlp-gsc
baseline: {train: {epochs: 1, batch_size: 64}}
bits: [4]
quantizers:
";

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/external").join(name)
}

/// A folder with an experiment of these entries and the program that copies.
fn experiment(entries: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(script("copy.sh"), folder.path().join("copy.sh")).unwrap();
    std::fs::write(folder.path().join("e.yaml"), format!("{HEAD}{entries}")).unwrap();
    folder
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = ecqx().current_dir(folder).args(arguments).output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn records(folder: &Path) -> Vec<Value> {
    let runs = std::fs::read_dir(folder.join("store/runs")).unwrap();
    let record = |run: std::fs::DirEntry| std::fs::read(run.path().join("record.json")).unwrap();
    runs.map(|run| serde_json::from_slice(&record(run.unwrap())).unwrap()).collect()
}

fn error_of(records: &[Value], label: &str) -> String {
    let record = records.iter().find(|record| record["label"].as_str().unwrap().starts_with(label));
    record.unwrap_or_else(|| panic!("no {label}"))["error"].as_str().unwrap_or_default().to_owned()
}

/// Whether a process of this machine was started with these words.
fn is_running(words: &str) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| String::from_utf8_lossy(&line).replace('\0', " ").contains(words))
}

/// Waits until no such process is left.
fn assert_gone(words: &str) {
    let start = Instant::now();
    while is_running(words) {
        assert!(start.elapsed() < Duration::from_secs(20), "'{words}' still runs");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A program is a method like others: after training and in training, with options as axes, under its own name in the
/// report; its file is part of the id, and its time limit is not.
#[test]
fn a_program_is_a_method() {
    let entry = "command: [sh, copy.sh], options: {a: [1, 2.0]}";
    let trained = format!(
        "  - {{method: external, {entry}, label: trained, timeout_seconds: 300, training: {{epochs: 1, batch_size: 64}}}}\n"
    );
    let folder =
        experiment(&format!("  - {{method: uniform}}\n  - {{method: external, {entry}}}\n{trained}"));
    let plan = |folder: &Path| -> Vec<(String, String)> {
        let plan = json(folder, &["plan", "e.yaml", "--json"]);
        let text = |run: &Value, key: &str| run[key].as_str().unwrap().to_owned();
        plan["runs"].as_array().unwrap().iter().map(|run| (text(run, "label"), text(run, "id"))).collect()
    };
    let before = plan(folder.path());
    let labels: Vec<&str> = before.iter().map(|(label, _)| label.as_str()).collect();
    let expected =
        ["uniform 4 bit", "copy 4 bit a=1", "copy 4 bit a=2", "trained 4 bit a=1", "trained 4 bit a=2"];
    assert_eq!(labels, expected);
    let summary = json(folder.path(), &["run", "e.yaml", "--json"]);
    assert_eq!(summary["done"], 5, "{summary}");
    for record in records(folder.path()) {
        assert_eq!(record["status"], "done", "{record}");
    }
    ecqx().current_dir(folder.path()).args(["report", "e.yaml", "--output", "report"]).assert().success();
    let table = std::fs::read_to_string(folder.path().join("report/working_points.csv")).unwrap();
    for label in expected {
        assert!(table.contains(label), "{label}: {table}");
    }

    let yaml = std::fs::read_to_string(folder.path().join("e.yaml")).unwrap();
    std::fs::write(folder.path().join("e.yaml"), yaml.replace("timeout_seconds: 300", "timeout_seconds: 60"))
        .unwrap();
    assert_eq!(plan(folder.path()), before, "a time limit changes no result");
    let changed = std::fs::read_to_string(folder.path().join("copy.sh")).unwrap() + "# changed\n";
    std::fs::write(folder.path().join("copy.sh"), changed).unwrap();
    let after = plan(folder.path());
    assert_eq!(after[0], before[0]);
    assert!(after[1..].iter().zip(&before[1..]).all(|(a, b)| a.0 == b.0 && a.1 != b.1), "{after:?}");
}

/// Whatever a program does instead of answering: its run fails with what was asked and the end of its log, the others go
/// on, and nothing of it stays.
#[test]
fn programs_that_fail() {
    let hello = r#"{\"type\":\"hello\",\"protocol\":1}"#;
    let entries = [
        ("dead", "echo so long >&2; exit 3".to_owned()),
        ("silent", "sleep 86391".to_owned()),
        ("escaped", "sleep 86392 & exit 0".to_owned()),
        ("parrot", "cat".to_owned()),
        ("stammering", "echo '{'".to_owned()),
        ("endless", "yes | tr -d '\\\\n'".to_owned()),
        ("shouting", "yes >&2".to_owned()),
        ("greedy", format!("echo '{}'; cat", hello.replace('}', ",\\\"wants\\\":[\\\"money\\\"]}"))),
        ("eager", format!("read -r l; echo '{hello}'; echo '{hello}'; sleep 86393")),
        (
            "empty",
            format!("read -r l; echo '{hello}'; read -r l; echo '{{\\\"type\\\":\\\"done\\\"}}'; read -r l"),
        ),
        ("missing", String::new()),
    ];
    let mut yaml = String::new();
    for (label, script) in &entries {
        let command = match script.is_empty() {
            true => "[./no-such-program]".to_owned(),
            false => format!("[sh, -c, \"{script}\"]"),
        };
        // What left the shell behind holds its output open.
        let timeout = if ["silent", "escaped"].contains(label) { 1 } else { 60 };
        yaml += &format!(
            "  - {{method: external, label: {label}, command: {command}, timeout_seconds: {timeout}}}\n"
        );
    }
    let folder = experiment(&(yaml + "  - {method: uniform}\n"));
    let output = ecqx().current_dir(folder.path()).args(["run", "e.yaml", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let records = records(folder.path());
    assert_eq!(records.len(), entries.len() + 1);
    for (label, expected) in [
        ("dead", "dead: asked to say hello: it ended with exit code 3; its log ends with\n  so long"),
        ("silent", "silent: asked to say hello: no answer within 1 s"),
        ("escaped", "asked to say hello: no answer within 1 s"),
        ("parrot", "the answer's type must be 'done'"),
        ("stammering", "asked to say hello: the answer is not a JSON object: '{'"),
        ("endless", "a line of more than"),
        ("shouting", "bytes of standard error"),
        ("greedy", "it can want relevance, calibration, backward, found \"money\""),
        // Whether the second line is there before the question or after it.
        ("eager", "eager: asked to quantize step 0: "),
        ("empty", "asked to quantize step 0: it wrote no output file"),
        ("missing", "'./no-such-program' can't be started"),
    ] {
        let error = error_of(&records, label);
        assert!(error.contains(expected), "{label}: {error}");
    }
    for words in ["sleep 86391", "sleep 86392", "sleep 86393"] {
        assert_gone(words);
    }
}

/// Mistakes in an experiment are found before anything runs.
#[test]
fn mistakes_in_an_entry() {
    for (entry, expected) in [
        ("options: {a: 1}", "needs a command"),
        ("command: sh copy.sh", "command must be a list of texts"),
        ("command: [sh, copy.sh], files: [none.py]", "none.py: no such file"),
        ("command: [sh, copy.sh], label: uniform", "label 'uniform' is the name of another method"),
        ("command: [sh, copy.sh], label: \"a/b\"", "label must consist of"),
        ("command: [sh, copy.sh], options: {a: {b: 1}}", "'a' must be a number, a text, true or false"),
        ("command: [sh, copy.sh], options: {a: []}", "'a' is empty"),
        ("command: [sh, copy.sh], relevance: lpr", "did you mean 'lrp'"),
        ("command: [sh, copy.sh], option: {a: 1}", "did you mean 'options'"),
    ] {
        let folder = experiment(&format!("  - {{method: external, {entry}}}\n"));
        let output = ecqx().current_dir(folder.path()).args(["validate", "e.yaml"]).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{entry}: {message}");
        assert!(message.contains("e.yaml:7") && message.contains(expected), "{entry}: {message}");
    }
}

/// However `ecqx` ends, its programs end too: killed, or stopped by two Ctrl-C.
#[cfg(target_os = "linux")]
#[test]
fn no_program_outlives_us() {
    for (signal, seconds) in [("KILL", "86394"), ("INT", "86395"), ("TERM", "86396")] {
        let command = format!("[sh, -c, \"sleep {seconds} & sleep {seconds}\"]");
        let timeout = if signal == "TERM" { 2 } else { 600 };
        let folder = experiment(&format!(
            "  - {{method: external, label: slow, command: {command}, timeout_seconds: {timeout}}}\n"
        ));
        let words = format!("sleep {seconds}");
        let mut child = Command::new(assert_cmd::cargo::cargo_bin("ecqx"))
            .current_dir(folder.path())
            .args(["run", "e.yaml"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while !is_running(&words) {
            assert!(start.elapsed() < Duration::from_secs(120), "the program was not started");
            std::thread::sleep(Duration::from_millis(20));
        }
        for _ in 0..2 {
            let id = child.id().to_string();
            Command::new("sh").args(["-c", "kill -$0 $1 2>/dev/null", signal, &id]).status().unwrap();
            std::thread::sleep(Duration::from_millis(200));
        }
        child.wait().unwrap();
        assert_gone(&words);
    }
}
