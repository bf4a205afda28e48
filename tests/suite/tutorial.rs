//! The pages of docs/ that can be followed: every command of them is run as written. And the experiment that `ecqx init`
//! writes.

use super::docs::{parts, root};
use super::ecqx;
use super::python::{package, path_with, python};
use std::process::Command;

/// What a reader has around: the files of the repository that pages name.
const AROUND: [&str; 4] = ["experiments", "baselines", "results", "examples"];

/// A reader who copies every `sh` block of a page, one after the other, into one folder.
fn follow(page: &str, modules: &str) {
    let Some(python) = python(modules) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = path_with(&python, &folder.path().join("bin"));
    let (_, blocks) = parts(&std::fs::read_to_string(root().join(page)).unwrap());
    let lines = blocks.iter().filter(|block| block.language == "sh").flat_map(|block| &block.lines);
    let script = lines.fold(String::from("set -eu\n"), |script, line| script + line + "\n");
    let work = folder.path().join("work");
    std::fs::create_dir(&work).unwrap();
    for name in AROUND {
        std::os::unix::fs::symlink(root().join(name), work.join(name)).unwrap();
    }
    let mut shell = Command::new("sh");
    shell.current_dir(&work).env("PATH", path).env("PYTHONPATH", package()).env_remove("ECQX_DATA");
    let output = shell.args(["-c", &script]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{page}: {}{told}", String::from_utf8_lossy(&output.stdout));
}

/// One line for each page: the name of its test, the file, the Python modules without which it is skipped.
macro_rules! pages {
    ($($name:ident: $page:literal, $modules:literal;)*) => {
        const FOLLOWED: &[&str] = &[$($page),*];
        $(
            /// Every command of the page works as written.
            #[test]
            fn $name() {
                follow($page, $modules);
            }
        )*
    };
}

pages! {
    readme: "README.md", "sys";
    tutorial: "docs/tutorial.md", "sys";
    compare_your_quantizer: "docs/compare-your-quantizer.md", "numpy, safetensors";
    reproduce_the_paper: "docs/reproduce-the-paper.md", "sys";
    own_data: "docs/own-data.md", "sys";
    own_model: "docs/own-model.md", "numpy, safetensors";
    own_figure: "docs/own-figure.md", "sys";
    records_in_python: "docs/records-in-python.md", "sys";
    clusters: "docs/clusters.md", "sys";
}

/// No page has `sh` blocks that nobody runs: what cannot be run (another machine, hours) is `text`.
#[test]
fn every_page_with_commands_is_followed() {
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    for page in
        docs.filter(|path| path.extension().is_some_and(|e| e == "md")).chain([root().join("README.md")])
    {
        let (_, blocks) = parts(&std::fs::read_to_string(&page).unwrap());
        let name = page.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let runs = blocks.iter().any(|block| block.language == "sh");
        assert_eq!(
            runs,
            FOLLOWED.contains(&name.as_str()),
            "{name}: add it to the list of pages, or take it out"
        );
    }
}

const TINY: &str = "\
name: t
dataset: {name: embedded-images, samples: {train: 64, validation: 16, test: 32}}
model: cnn-small
baseline: {train: {epochs: 1, batch_size: 32}}
bits: 4
training: {epochs: 1, batch_size: 32}
quantizers:
  - {method: uniform}
";

/// The messages that docs/troubleshooting.md quotes are those of the program, word by word.
#[test]
fn troubleshooting_quotes_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, from: &str, to: &str| {
        assert!(TINY.contains(from));
        std::fs::write(folder.path().join(name), TINY.replace(from, to)).unwrap();
    };
    write("tiny.yaml", "", "");
    write("typo.yaml", "uniform", "unifrom");
    write("cifar.yaml", "{name: embedded-images, samples: {train: 64, validation: 16, test: 32}}", "cifar10");
    write("weights.yaml", "{train: {epochs: 1, batch_size: 32}}", "{checkpoint: weights.pt}");
    write("broken.yaml", "{method: uniform}", "{method: external, command: [sh, broken.sh]}");
    write("two.yaml", "bits: 4", "bits: 4\nseeds: [1, 2]");
    std::fs::write(folder.path().join("seeds.yaml"), format!("{TINY}seeds: 3\n")).unwrap();
    std::fs::write(folder.path().join("broken.sh"), "echo no such thing >&2\nexit 3\n").unwrap();
    let mut told = String::new();
    for command in [
        "validate typo.yaml",
        "validate seeds.yaml",
        "run cifar.yaml",
        "validate weights.yaml",
        "run broken.yaml",
        "report --store nothing-here",
        "report --filter nothing",
        "run two.yaml",
        "show --store store",
        "run tiny.yaml --device cuda",
    ] {
        let mut words: Vec<&str> = command.split(' ').collect();
        words.extend((words[0] == "show").then_some("uniform 4 bit"));
        let output = ecqx().current_dir(folder.path()).args(words).output().unwrap();
        told += &String::from_utf8_lossy(&[output.stdout, output.stderr].concat());
    }
    let page = std::fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let (_, blocks) = parts(&page);
    let quoted: Vec<&String> = blocks
        .iter()
        .filter(|block| block.language == "text")
        .flat_map(|block| &block.lines)
        .filter(|line| !line.starts_with("ecqx ") && (!cfg!(feature = "cuda") || !line.contains("cuda")))
        .collect();
    assert!(quoted.len() > 10, "{quoted:?}");
    for line in quoted {
        assert!(told.contains(line.as_str()), "'{line}' is not among what was told:\n{told}");
    }
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
