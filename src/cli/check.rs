//! `ecqx check`: expected numbers beside actual ones.

use super::Global;
use super::experiments::{self, Selection};
use crate::plan::{Depth, State};
use crate::record::RunRecord;
use crate::report::Methods;
use crate::report::expected::{Checked, Expected, Verdict, compare};
use crate::report::export::{self, ALL};
use std::path::{Path, PathBuf};

/// Compare results with reference values; exit code 1 when one is out of tolerance, better or worse
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files of expected numbers [default: those of --expected whose experiments have been run]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Folder of files of expected numbers
    #[arg(long, value_name = "DIR", default_value = "baselines/expected")]
    expected: PathBuf,
    /// Folder of results
    #[arg(long, default_value = "store")]
    store: PathBuf,
    /// Also write the comparison as a table (CSV, Parquet, Markdown, LaTeX) to this folder
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// A file and what became of its numbers.
struct Comparison {
    expected: Expected,
    checked: Vec<Checked>,
    /// Why the runs could not even be looked up.
    reason: Option<String>,
}

/// Finished runs of an experiment in a store; an error only says why there are none (its data are not here).
fn records(experiment: &Path, store: &Path, global: &Global) -> crate::Result<Vec<RunRecord>> {
    let selection = Selection { specs: vec![experiment.into()], store: store.into(), filter: None };
    let context = experiments::context(&selection, global)?;
    let planned = experiments::plan(&selection, &context, Depth::Records)?;
    Ok(planned
        .into_iter()
        .filter_map(|p| match p.state {
            State::Done(record) => Some(*record),
            _ => None,
        })
        .collect())
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let all = match args.files.as_slice() {
        [] if !args.expected.is_dir() => {
            return Err(crate::Error::input_hint(
                format!("{}: no such folder: there are no expected numbers to compare with", args.expected.display()),
                "name files of expected numbers, or their folder with --expected; the project's own are in its baselines/expected",
            )
            .into());
        }
        [] => Expected::load_folder(&args.expected)?,
        files => files.iter().map(|file| Expected::load(file)).collect::<crate::Result<_>>()?,
    };
    let methods = Methods::new(&global.registry);
    let (mut compared, mut skipped) = (Vec::new(), Vec::new());
    for expected in all {
        let (records, reason) = match records(&expected.experiment, &args.store, global) {
            Ok(records) => (records, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let comparison = Comparison { checked: compare(&expected, &records, &methods)?, expected, reason };
        // Without files on the command line, an experiment that was never run here is no failure.
        match args.files.is_empty() && records.is_empty() {
            true => skipped.push(comparison),
            false => compared.push(comparison),
        }
    }
    let count = |verdict: Verdict| {
        compared.iter().flat_map(|c| &c.checked).filter(|number| number.verdict == verdict).count()
    };
    let ok = count(Verdict::Ok);
    let [improved, regressed, missing] =
        [Verdict::Improvement, Verdict::Regression, Verdict::Missing].map(count);
    if let Some(folder) = &args.output {
        let rows: Vec<_> =
            compared.iter().map(|c| (name(&c.expected.experiment), c.checked.clone())).collect();
        export::write(&crate::report::expected::table(&rows)?, ALL, folder)?;
    }
    if global.json {
        let files: Vec<_> = compared
            .iter()
            .map(|c| {
                serde_json::json!({
                    "file": c.expected.path, "experiment": c.expected.experiment, "numbers": c.checked,
                    "reason": c.reason,
                })
            })
            .collect();
        let skipped: Vec<_> = skipped.iter().map(|c| &c.expected.path).collect();
        println!(
            "{}",
            serde_json::json!({
                "ok": ok, "improvements": improved, "regressions": regressed, "missing": missing, "files": files,
                "not_run": skipped,
            })
        );
    } else {
        compared.iter().for_each(print);
        for comparison in &skipped {
            let why = comparison.reason.as_ref().map_or("not run in this store", String::as_str);
            println!("{}: left out: {why}", comparison.expected.path.display());
        }
        println!("{ok} as expected, {improved} improved, {regressed} regressed, {missing} missing");
    }
    Ok(if improved + regressed + missing > 0 { super::FAILED } else { super::DONE })
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn print(comparison: &Comparison) {
    let Comparison { expected, checked, reason } = comparison;
    println!("{}", expected.path.display());
    if let Some(reason) = reason {
        println!("  the runs cannot be looked up: {reason}");
    }
    let shown = |value: f64, column: &str| crate::report::expected::shown(value, column);
    let label = |number: &Checked| match number.seed {
        Some(seed) => format!("{} seed={seed}", number.label),
        None => number.label.clone(),
    };
    let width = checked.iter().map(|number| label(number).chars().count()).max().unwrap_or(0).max(5);
    println!(
        "  {:<width$}  {:<22} {:>11} {:>11} {:>10}  verdict",
        "label", "column", "expected", "actual", "tolerance"
    );
    for number in checked {
        let actual = number.actual.map_or("–".into(), |value| shown(value, &number.column));
        println!(
            "  {:<width$}  {:<22} {:>11} {:>11} {:>10}  {}",
            label(number),
            number.column,
            shown(number.expected, &number.column),
            actual,
            shown(number.tolerance, &number.column),
            number.verdict.word()
        );
    }
}
