//! `docs/compare-your-quantizer.md`: every command of it is run as written. And the experiment that `ecqx init` writes.

use super::ecqx;
use super::python::{package, path_with, python};
use std::path::Path;
use std::process::Command;

/// The commands in fenced `sh` blocks, in order.
fn commands(text: &str) -> String {
    let (mut found, mut inside) = (String::new(), false);
    for line in text.lines() {
        match line.trim_end() {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => found += &format!("{line}\n"),
            _ => {}
        }
    }
    found
}

/// A reader who copies every block, one after the other, ends with the figure.
#[test]
fn every_command_works_as_written() {
    let Some(python) = python("numpy, safetensors") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = path_with(&python, &folder.path().join("bin"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compare-your-quantizer.md");
    let script = format!("set -eu\n{}", commands(&std::fs::read_to_string(file).unwrap()));
    assert!(script.lines().count() > 20, "{script}");
    let work = folder.path().join("work");
    std::fs::create_dir(&work).unwrap();
    let mut shell = Command::new("sh");
    shell.current_dir(&work).env("PATH", path).env("PYTHONPATH", package()).env_remove("ECQX_DATA");
    let output = shell.args(["-c", &script]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}{told}", String::from_utf8_lossy(&output.stdout));
    let figures = std::fs::read_dir(work.join("report")).unwrap().flatten();
    let names: Vec<String> = figures.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().any(|name| name.starts_with("accuracy") && name.ends_with(".pdf")), "{names:?}");
}

/// What `ecqx init` writes is valid for every pair of data set and model that fits, and nothing is replaced.
#[test]
fn init_writes_a_valid_experiment() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = ecqx().current_dir(folder.path()).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(run(&["init"]), (Some(0), String::new()));
    let (code, message) = run(&["init"]);
    assert!(code == Some(2) && message.contains("experiment.yaml: is there already"), "{message}");
    for dataset in ecqx::data::builtin().names() {
        let file = format!("{dataset}.yaml");
        assert_eq!(run(&["init", "--dataset", dataset, "--output", &file]), (Some(0), String::new()));
        let (code, message) = run(&["validate", &file]);
        assert_eq!(code, Some(0), "{dataset}: {message}");
    }
    assert_eq!(run(&["init", "--model", "resnet20", "--output", "r.yaml"]).0, Some(0));
    let (code, message) = run(&["init", "--model", "resnet2", "--output", "x.yaml"]);
    assert!(code == Some(2) && message.contains("did you mean 'resnet20'"), "{message}");
    assert!(!folder.path().join("x.yaml").exists());
    let text = std::fs::read_to_string(folder.path().join("experiment.yaml")).unwrap();
    assert!(text.contains("ecqx run experiment.yaml") && text.contains("method: external"), "{text}");
}
