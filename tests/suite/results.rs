//! The committed results: what lies in `results/` is what `ecqx report` makes from the committed records.

use super::ecqx;
use std::path::{Path, PathBuf};

/// What is kept in the tree besides the records and the figures of weights, which need a store: `results/.gitignore` says
/// the same. The rest is made by `make results`.
const KEPT: [&str; 5] = ["main.csv", "comparison.csv", "at_equal.csv", "operating_points.md", "sweeps.csv"];

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Every table and the data of every figure that are kept equal those made anew: nothing was edited by hand, and
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
        let figures =
            entries(&pair).into_iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
        let figures = figures.filter(|name| {
            let drawn = ["accuracy_over_size-", "ablations-"].iter().any(|kind| name.starts_with(kind));
            name == "variants.csv" || (drawn && name.ends_with(".csv"))
        });
        let kept: Vec<String> = KEPT.iter().map(|name| (*name).to_owned()).chain(figures).collect();
        for name in &kept {
            let committed = pair.join(name);
            let [committed, again] = [committed, made.path().join(name)].map(|path| {
                std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
            });
            // Not assert_eq: two tables of a thousand lines help nobody.
            assert!(committed == again, "{}: {name} differs: run `make results`", pair.display());
        }
        let has_figure = kept.iter().any(|name| name.starts_with("accuracy_over_size-"));
        assert!(has_figure, "{}: no figure is kept", pair.display());
    }
}
