//! Reports: the same from committed records as from the store, and a sweep that goes on from them.

use super::ecqx;
use std::path::Path;

const SPEC: &str = "\
name: small
dataset: {name: embedded-audio, samples: {train: 192, validation: 64, test: 64}}
model: mlp-gsc
baseline:
  train: {epochs: 1, batch_size: 64}
bits: [3]
training: {epochs: 2, batch_size: 64}
seeds: [1, 2]
quantizers:
  - {method: ecq, lambda: [0.0, 0.05]}
  - {method: ecqx, lambda: [0.0, 0.05], p: 0.1}
";

fn call(folder: &Path, arguments: &[&str]) -> serde_json::Value {
    let output = ecqx().current_dir(folder).args(arguments).arg("--json").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Tables from records.parquet equal those from the store byte for byte, figures of weights are there once and kept, and
/// another store that imports the records has nothing left to do.
#[test]
fn records_stand_for_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("small.yaml"), SPEC).unwrap();
    call(at, &["run", "small.yaml", "--store", "store"]);
    call(at, &["report", "small.yaml", "--store", "store", "--output", "first"]);
    let raw = "first/records.parquet";
    call(at, &["report", "--raw", raw, "--output", "second"]);
    let mut compared = 0;
    for entry in std::fs::read_dir(at.join("first")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let weights = ["weight_histogram", "relevance_"].iter().any(|kind| name.starts_with(kind));
        if !weights && name != "report.html" {
            let again = std::fs::read(at.join("second").join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(std::fs::read(&path).unwrap() == again, "{name} differs");
            compared += 1;
        }
    }
    assert!(compared > 40, "only {compared} files compared");
    for kind in ["weight_histogram", "relevance_over_magnitude", "relevance_heat_maps"] {
        let path = at.join(format!("first/{kind}-embedded-audio-mlp-gsc.pdf"));
        assert!(path.is_file(), "{}", path.display());
    }
    // Over the first report, figures of weights stay: the page is the same.
    let page = std::fs::read_to_string(at.join("first/report.html")).unwrap();
    call(at, &["report", "--raw", raw, "--output", "first"]);
    assert!(page == std::fs::read_to_string(at.join("first/report.html")).unwrap());

    // Any method can be the one that the others are compared with; a misspelt one is the user's mistake.
    let options = ["--reference-method", "ecq", "--choose-on", "test"];
    call(at, &[&["report", "--raw", raw, "--output", "third"], &options[..]].concat());
    let table = |name: &str| std::fs::read_to_string(at.join("third").join(name)).unwrap();
    assert!(table("comparison.csv").contains("mlp-gsc,3,ecq,ecqx,"), "{}", table("comparison.csv"));
    assert!(
        table("main.md").starts_with("Best working points by method and bit width, chosen on test accuracy")
    );
    let other = call(at, &["report", "--raw", raw, "--output", "third", "--reference-method", "lsq"]);
    assert!(other["note"].as_str().unwrap().contains("no run of LSQ"), "{other}");
    let wrong =
        ecqx().current_dir(at).args(["report", "--raw", raw, "--reference-method", "lsqq"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean 'lsq'?"));

    let imported = call(at, &["store", "import", "--store", "other", raw]);
    assert_eq!((imported["imported"].as_u64(), imported["known"].as_u64()), (Some(8), Some(0)));
    let imported = call(at, &["store", "import", "--store", "other", raw]);
    assert_eq!((imported["imported"].as_u64(), imported["known"].as_u64()), (Some(0), Some(8)));
    let ran = call(at, &["run", "small.yaml", "--store", "other"]);
    assert_eq!((ran["done"].as_u64(), ran["skipped"].as_u64()), (Some(0), Some(8)), "{ran}");
    call(at, &["store", "export", "--store", "other", "--output", "export"]);
    assert!(
        std::fs::read(at.join("export/records.parquet")).unwrap() == std::fs::read(at.join(raw)).unwrap()
    );
}
