//! The commands that engines and people use around a sweep: exec, status, collect, show, diff, store.

use super::ecqx;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

const SPEC: &str = "\
name: engine
dataset: {name: embedded-audio, samples: {train: 192, validation: 64, test: 64}}
model: mlp-gsc
baseline:
  train: {epochs: 1, batch_size: 64}
bits: [2, 4]
quantizers:
  - {method: uniform}
  - {method: ecq, lambda: [0.01, 0.05]}
";
const RUNS: usize = 6;

fn json(folder: &Path, arguments: &[&str]) -> (i32, Value) {
    let output = ecqx().current_dir(folder).args(arguments).arg("--json").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("panicked"), "{text}");
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// Two workers on one plan do every run once; a second pass does nothing; what `run` would have done is the same.
#[test]
fn workers_share_a_plan() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("spec.yaml"), SPEC).unwrap();
    let plan = ecqx().current_dir(at).args(["plan", "spec.yaml", "--format", "json"]).output().unwrap();
    std::fs::write(at.join("plan.json"), &plan.stdout).unwrap();
    let worker = |order: Vec<usize>| {
        let loop_body: String = order
            .iter()
            .map(|index| format!("\"$ECQX\" exec --plan plan.json --index {index}; c=$?; [ $c = 0 ] || [ $c = 75 ] || exit 9\n"))
            .collect();
        let mut command = Command::new("sh");
        command.current_dir(at).env("ECQX", assert_cmd::cargo::cargo_bin("ecqx")).args(["-c", &loop_body]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut workers = [worker((0..RUNS).collect()), worker((0..RUNS).rev().collect())];
    for worker in &mut workers {
        assert!(worker.wait().unwrap().success());
    }
    for index in 0..RUNS {
        let (code, value) = json(at, &["exec", "--plan", "plan.json", "--index", &index.to_string()]);
        assert_eq!((code, value["status"].as_str()), (0, Some("already done")), "{value}");
    }
    let (code, value) = json(at, &["status", "spec.yaml"]);
    assert_eq!((code, value["done"].as_u64(), value["failed"].as_u64()), (0, Some(RUNS as u64), Some(0)));
    // The same sweep by `run` in another store: the collected tables agree but for times.
    json(at, &["run", "spec.yaml", "--store", "other"]);
    for (store, output) in [("store", "a"), ("other", "b")] {
        let (code, value) = json(at, &["collect", "--store", store, "--output", output]);
        assert_eq!((code, value["runs"].as_u64()), (0, Some(RUNS as u64)));
    }
    let table = |name: &str| {
        let text = std::fs::read_to_string(at.join(name).join("raw.csv")).unwrap();
        text.replace(",exec,", ",engine,")
    };
    assert_eq!(table("a"), table("b"));
    let (code, value) = json(at, &["exec", "--plan", "plan.json", "--index", "99"]);
    assert_eq!(code, 2, "{value}");
}

/// What the tables of two stores share: everything but the name of who computed it.
fn same_tables(at: &Path, stores: [&str; 2]) {
    let tables = stores.map(|store| {
        let (code, value) = json(at, &["collect", "--store", store, "--output", &format!("{store}-table")]);
        assert_eq!((code, value["runs"].as_u64()), (0, Some(RUNS as u64)));
        std::fs::read_to_string(at.join(format!("{store}-table/raw.csv"))).unwrap()
    });
    assert_eq!(tables[0], tables[1]);
}

/// The baselines of a plan are a first wave that `exec` makes; runs name theirs; a plan of other data is refused.
#[test]
fn baselines_are_a_first_wave() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("spec.yaml"), SPEC).unwrap();
    let (_, mut plan) = json(at, &["plan", "spec.yaml"]);
    let baseline = plan["baselines"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(plan["baselines"].as_array().unwrap().len(), 1);
    assert!(plan["runs"].as_array().unwrap().iter().all(|run| run["baseline"] == baseline.as_str()));
    std::fs::write(at.join("plan.json"), plan.to_string()).unwrap();
    let first = ["exec", "--plan", "plan.json", "--wave", "baselines", "--index", "0"];
    let (code, value) = json(at, &first);
    assert_eq!((code, value["id"].as_str(), value["status"].as_str()), (0, Some(&*baseline), Some("done")));
    // By its specification alone it is the same baseline.
    let (code, value) = json(at, &["exec", "--spec", &plan["baselines"][0]["spec"].to_string()]);
    assert_eq!(
        (code, value["id"].as_str(), value["status"].as_str()),
        (0, Some(&*baseline), Some("already done"))
    );
    let (_, after) = json(at, &["plan", "spec.yaml"]);
    assert_eq!(
        (plan["baselines"][0]["state"].as_str(), after["baselines"][0]["state"].as_str()),
        (Some("new"), Some("done"))
    );
    // The machine that executes must see what the one that planned saw.
    plan["runs"][0]["id"] = "0".repeat(32).into();
    std::fs::write(at.join("other.json"), plan.to_string()).unwrap();
    let output =
        ecqx().current_dir(at).args(["exec", "--plan", "other.json", "--index", "0"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("other.json, runs[0]") && text.contains("plan again"), "{text}");
}

/// The local engine does every run once, submits nothing twice, and starts a worker again whose process was killed; the
/// merged table is that of `run`.
#[test]
fn local_workers_complete_a_sweep() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    // With training a run takes long enough to be caught at work.
    std::fs::write(at.join("spec.yaml"), format!("{SPEC}training: {{epochs: 2, batch_size: 32}}\n")).unwrap();
    let submit = ["submit", "spec.yaml", "--engine", "local", "--workers", "2", "--resources", "cpus=1"];
    let mut killed = false;
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("ecqx"))
        .current_dir(at)
        .args(submit)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The first run that holds a claim loses its process.
    while child.try_wait().unwrap().is_none() {
        let claims = std::fs::read_dir(at.join("store/claims")).into_iter().flatten().flatten();
        for claim in claims.filter(|claim| !claim.file_name().to_string_lossy().starts_with("baseline")) {
            let holder: Value = std::fs::read(claim.path())
                .ok()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .unwrap_or_default();
            if let Some(pid) = holder["pid"].as_u64().filter(|_| !killed) {
                killed = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success();
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(killed, "no run was caught at work");
    assert!(child.wait().unwrap().success());
    let (code, value) = json(at, &submit);
    assert_eq!((code, value["runs"].as_u64()), (0, Some(0)), "{value}");
    json(at, &["run", "spec.yaml", "--store", "other", "--threads", "1"]);
    same_tables(at, ["store", "other"]);
}

/// Jobs share one baseline, made once and before the runs with the threads of all: it is the one that a single job makes.
#[test]
fn jobs_wait_for_one_baseline() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("spec.yaml"), SPEC).unwrap();
    let weights = ["1", "2"].map(|jobs| {
        let run = ["run", "spec.yaml", "--threads", "2", "--jobs", jobs, "--store", jobs];
        let output = ecqx().current_dir(at).args(run).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{text}");
        let trained: Vec<usize> = text.match_indices("baseline  epoch 1").map(|(at, _)| at).collect();
        assert_eq!(trained.len(), 1, "{text}");
        assert!(text.find("[1/6]").is_some_and(|first| trained[0] < first), "{text}");
        let baselines: Vec<_> =
            std::fs::read_dir(at.join(jobs).join("baselines")).unwrap().flatten().collect();
        assert_eq!(baselines.len(), 1);
        std::fs::read(baselines[0].path().join("weights.safetensors")).unwrap()
    });
    assert_eq!(weights[0], weights[1]);
}

/// What `--print` shows: one task per run, the site's limit, shares of a GPU, the first wave before the second.
#[test]
fn engines_print_what_they_would_run() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("spec.yaml"), SPEC).unwrap();
    let script = |arguments: &[&str]| {
        let arguments = [&["submit", "spec.yaml", "--print", "--engine"], arguments].concat();
        let (code, value) = json(at, &arguments);
        assert_eq!(code, 0, "{arguments:?}");
        value["script"].as_str().unwrap().to_owned()
    };
    let local = script(&["local", "--workers", "2"]);
    assert_eq!(local.lines().filter(|line| line.contains("--wave runs --all &")).count(), 2, "{local}");
    assert_eq!(local.lines().filter(|line| line.contains("--wave baselines --all &")).count(), 1, "{local}");
    let slurm = script(&["slurm", "--array-limit", "4", "--resources", "cpus=2,memory=1.5G,time=90m,gpus=1"]);
    for part in [
        "--array=0-3 ",
        "--array=0-1 ",
        "$((SLURM_ARRAY_TASK_ID + 4))",
        "--dependency=afterany",
        "--cpus-per-task=2",
        "--mem=1536M",
        "--time=01:30:00",
        "--gres=gpu:1",
        "--device cuda",
    ] {
        assert!(slurm.contains(part), "'{part}' is not in: {slurm}");
    }
    let queue = script(&["hyperqueue", "--resources", "cpus=2,gpus=0.5", "--engine-option=--priority=3"]);
    for part in [
        "hq submit",
        "--from-json=",
        "--cpus=2",
        "--resource=gpus/nvidia=0.5",
        "--wait",
        "$HQ_ENTRY",
        "--priority=3",
    ] {
        assert!(queue.contains(part), "'{part}' is not in: {queue}");
    }
    // One array item per run; nothing was computed.
    let plans: Vec<_> = std::fs::read_dir(at.join("store/submissions")).unwrap().flatten().collect();
    let items = std::fs::read(plans[0].path().join("runs.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Vec<usize>>(&items).unwrap(), (0..RUNS).collect::<Vec<_>>());
    assert_eq!(std::fs::read_dir(at.join("store/runs")).map_or(0, Iterator::count), 0);
}

/// Bad input around engines: exit code 2, the place, the way out.
#[test]
fn mistakes_with_engines_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("spec.yaml"), SPEC).unwrap();
    let (_, plan) = json(at, &["plan", "spec.yaml"]);
    let plan = plan.to_string();
    for (name, text) in [
        ("cut.json", &plan[..plan.len() / 2]),
        ("key.json", &plan.replacen("\"quantizer\"", "\"quantiser\"", 1)),
        ("kind.json", "[1, 2]"),
        ("empty.json", ""),
    ] {
        std::fs::write(at.join(name), text).unwrap();
    }
    let refused = |arguments: &[&str], expected: &[&str]| {
        let output = ecqx().env("PATH", at).current_dir(at).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        for expected in expected {
            assert!(text.contains(expected), "{arguments:?}: '{expected}' is not in: {text}");
        }
        assert!(!text.contains("panicked"), "{text}");
    };
    let submit = |rest: &[&'static str]| [&["submit", "spec.yaml"], rest].concat();
    refused(&submit(&["--engine", "slrm"]), &["no engine 'slrm'", "did you mean 'slurm'"]);
    refused(&submit(&["--engine", "slurm"]), &["'sbatch' was not found", "login node", "--print"]);
    refused(&submit(&["--engine", "hyperqueue"]), &["'hq' was not found", "hq server start"]);
    refused(&submit(&["--resources", "cpu=2"]), &["did you mean 'cpus'"]);
    refused(&submit(&["--resources", "memory=4"]), &["memory: '4' is not a size", "cpus=2,gpus=0.5"]);
    refused(&submit(&["--resources", "gpus=1", "--print"]), &["local engine", "HyperQueue"]);
    refused(
        &submit(&["--engine", "slurm", "--resources", "gpus=0.5", "--print"]),
        &["whole graphics processors"],
    );
    refused(&["exec", "--plan", "key.json"], &["--index N", "--all"]);
    let exec = |plan: &'static str| ["exec", "--plan", plan, "--index", "0"];
    refused(&exec("cut.json"), &["cut.json:1:", "the text ends in the middle"]);
    refused(&exec("key.json"), &["key.json:1:", "quantiser", "did you mean 'quantizer'"]);
    refused(&exec("kind.json"), &["kind.json:1:", "ecqx plan SPEC --format json"]);
    refused(&exec("empty.json"), &["empty.json:1:"]);
    refused(&exec("absent.json"), &["absent.json"]);
    refused(&["exec", "--spec", "{\"dataset\": 1}"], &["--spec:1:"]);
}

/// A record can be shown by the beginning of its id, two can be compared, and damage is found and removed.
#[test]
fn records_are_shown_compared_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("spec.yaml"), SPEC).unwrap();
    let (code, _) = json(at, &["run", "spec.yaml"]);
    assert_eq!(code, 0);
    let (_, plan) = json(at, &["plan", "spec.yaml"]);
    let id = |index: usize| plan["runs"][index]["id"].as_str().unwrap().to_owned();
    let (code, record) = json(at, &["show", &id(0)[..12]]);
    assert_eq!((code, record["id"].as_str()), (0, Some(id(0).as_str())));
    let (code, difference) = json(at, &["diff", &id(0), &id(1)]);
    assert_eq!(code, 0);
    assert_eq!(difference["spec.quantizer.bits"], serde_json::json!(["2", "4"]));
    assert!(difference.get("dataset").is_none());
    assert_eq!(json(at, &["show", "zzzz"]).0, 2);
    assert_eq!(json(at, &["store", "verify"]).0, 0);
    let model = at.join("store/runs").join(id(2)).join("model.nnc");
    let mut bytes = std::fs::read(&model).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&model, bytes).unwrap();
    let (code, value) = json(at, &["store", "verify"]);
    assert_eq!((code, value["damaged"].as_array().map(Vec::len)), (1, Some(1)), "{value}");
    let (code, value) = json(at, &["store", "gc"]);
    assert_eq!((code, value["removed"].as_array().map(Vec::len)), (0, Some(1)), "{value}");
    assert_eq!(json(at, &["store", "verify"]).0, 0);
    let (_, value) = json(at, &["run", "spec.yaml"]);
    assert_eq!((value["done"].as_u64(), value["skipped"].as_u64()), (Some(1), Some(RUNS as u64 - 1)));
}
