//! The committed results: what lies in `results/` is what `ecqx report` makes from the committed records.

use super::ecqx;
use std::path::{Path, PathBuf};

/// Kinds of figures that need the weights, which a store has and a file of records has not.
const OF_WEIGHTS: [&str; 3] = ["weight_histogram", "relevance_over_magnitude", "relevance_heat_maps"];

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Every table, in every text format, and every figure's data equal those made anew: nothing was edited by hand, and
/// no change of the program was forgotten.
#[test]
fn committed_tables_come_from_the_committed_records() {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let pairs: Vec<PathBuf> =
        entries(&results).into_iter().filter(|path| path.join("records.parquet").is_file()).collect();
    assert!(!pairs.is_empty());
    for pair in pairs {
        let made = tempfile::tempdir().unwrap();
        let records = pair.join("records.parquet");
        ecqx().arg("report").arg("--raw").arg(records).arg("--output").arg(made.path()).assert().success();
        let text = |path: &PathBuf| {
            path.extension().is_some_and(|kind| ["csv", "md", "tex"].iter().any(|text| kind == *text))
        };
        let mut compared = 0;
        for committed in entries(&pair).into_iter().filter(text) {
            let name = committed.file_name().unwrap().to_str().unwrap();
            if OF_WEIGHTS.iter().any(|kind| name.starts_with(kind)) {
                continue;
            }
            let [committed, again] = [committed.clone(), made.path().join(name)]
                .map(|path| std::fs::read_to_string(path).unwrap());
            // Not assert_eq: two tables of a thousand lines help nobody.
            assert!(committed == again, "{}: {name} differs: run `make results`", pair.display());
            compared += 1;
        }
        assert!(compared > 20, "{}: only {compared} files", pair.display());
    }
}
