//! Expected numbers: YAML files that say what an experiment gave when it was last measured, and how far a repetition may
//! be off. Reading them is here, comparing in [`compare()`]; `ecqx check` and the report show the comparison.

mod compare;

pub(crate) use compare::shown;
pub use compare::{Checked, Verdict, compare, table};

use super::column::{Better, describe};
use crate::error::closest;
use crate::spec::experiment::syntax_error;
use crate::{Error, Result};
use serde::Deserialize;
use serde_saphyr::Spanned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Columns that can be checked: means over seeds, or one seed's value.
pub const COLUMNS: [&str; 7] = [
    "top1_percent",
    "baseline_top1_percent",
    "drop_points",
    "sparsity_percent",
    "entropy_bits",
    "file_bytes",
    "compression_ratio",
];

/// Keys of the format, for suggestions.
const KEYS: [&str; 10] = [
    "experiment",
    "source",
    "reason",
    "tolerances",
    "numbers",
    "label",
    "seed",
    "column",
    "value",
    "tolerance",
];

/// In which direction a checkable column improves.
pub(super) fn better(column: &str) -> Option<Better> {
    match column {
        // A setting in tables, because methods do not compete by it; as a number to reproduce it has a direction.
        "baseline_top1_percent" => Some(Better::Higher),
        other => describe(other).and_then(|column| column.better),
    }
}

/// How far a number may be off.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub enum Tolerance {
    /// In the column's unit.
    Absolute(f64),
    /// Share of the expected value.
    Relative(f64),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(f64),
    Text(String),
}

impl TryFrom<NumberOrText> for Tolerance {
    type Error = String;

    fn try_from(value: NumberOrText) -> Result<Self, String> {
        let wrong = || "a tolerance is a number of 0 or more, or a percentage such as 2%".to_owned();
        let valid = |number: f64| number.is_finite() && number >= 0.0;
        match value {
            NumberOrText::Number(number) if valid(number) => Ok(Self::Absolute(number)),
            NumberOrText::Number(_) => Err(wrong()),
            NumberOrText::Text(text) => {
                let share = text.strip_suffix('%').and_then(|number| number.trim().parse().ok());
                share
                    .filter(|number| valid(*number))
                    .map(|number: f64| Self::Relative(number / 100.0))
                    .ok_or_else(wrong)
            }
        }
    }
}

impl Tolerance {
    /// In the column's unit, for a given expected value.
    pub fn of(self, expected: f64) -> f64 {
        match self {
            Self::Absolute(tolerance) => tolerance,
            Self::Relative(share) => share * expected.abs(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    experiment: Spanned<String>,
    source: String,
    reason: String,
    #[serde(default)]
    tolerances: BTreeMap<String, Spanned<Tolerance>>,
    numbers: Vec<Spanned<RawNumber>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNumber {
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    seed: Option<u64>,
    column: String,
    value: f64,
    #[serde(default)]
    tolerance: Option<Tolerance>,
    #[serde(default)]
    source: Option<String>,
}

/// A file of expected numbers.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The file.
    pub path: PathBuf,
    /// The experiment's file.
    pub experiment: PathBuf,
    /// Where the values come from: command, version, machine.
    pub source: String,
    /// Why the tolerances are what they are.
    pub reason: String,
    /// The numbers.
    pub numbers: Vec<Number>,
}

/// One expected number.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// The run's label, as `ecqx plan` prints it; absent for what all runs share (the baseline).
    pub label: Option<String>,
    /// One seed; absent: the mean over all seeds.
    pub seed: Option<u64>,
    /// One of [`COLUMNS`].
    pub column: String,
    /// In the column's unit.
    pub value: f64,
    /// How far off is still right.
    pub tolerance: Tolerance,
    /// Where this value comes from, if not from where the file's do.
    pub source: Option<String>,
}

impl Expected {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Input`] with file, line and column of a mistake.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let raw: Raw = serde_saphyr::from_str(&text).map_err(|error| {
            syntax_error(&error, path, &KEYS, "docs/experiments.md describes expected numbers")
        })?;
        let place = |at: serde_saphyr::Location| format!("{}:{}:{}", path.display(), at.line(), at.column());
        let unknown_column = |at, column: &str| Error::Input {
            message: format!("{}: column '{column}' cannot be checked", place(at)),
            hint: Some(match closest(column, COLUMNS) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("there are {}", COLUMNS.join(", ")),
            }),
        };
        for (column, tolerance) in &raw.tolerances {
            if !COLUMNS.contains(&column.as_str()) {
                return Err(unknown_column(tolerance.referenced, column));
            }
        }
        // Relative to the file, so that a check does not depend on the folder it is called from.
        let experiment = path.parent().unwrap_or(Path::new(".")).join(&raw.experiment.value);
        if !experiment.is_file() {
            return Err(Error::input_hint(
                format!(
                    "{}: experiment {}: no such file",
                    place(raw.experiment.referenced),
                    experiment.display()
                ),
                "the path is relative to the file of expected numbers",
            ));
        }
        let mut numbers = Vec::new();
        for spanned in raw.numbers {
            let (at, number) = (spanned.referenced, spanned.value);
            if !COLUMNS.contains(&number.column.as_str()) {
                return Err(unknown_column(at, &number.column));
            }
            if number.label.is_none() && number.column != "baseline_top1_percent" {
                return Err(Error::input_hint(
                    format!("{}: {}: a 'label' is missing", place(at), number.column),
                    "`ecqx plan SPEC` lists the labels",
                ));
            }
            let general = raw.tolerances.get(&number.column).map(|tolerance| tolerance.value);
            let Some(tolerance) = number.tolerance.or(general) else {
                return Err(Error::input_hint(
                    format!("{}: {}: no tolerance", place(at), number.column),
                    format!("give 'tolerance' here or 'tolerances: {{{}: …}}' for the file", number.column),
                ));
            };
            let RawNumber { label, seed, column, value, source, .. } = number;
            numbers.push(Number { label, seed, column, value, tolerance, source });
        }
        if numbers.is_empty() {
            return Err(Error::input(format!("{}: 'numbers' is empty", path.display())));
        }
        Ok(Self { path: path.into(), experiment, source: raw.source, reason: raw.reason, numbers })
    }

    /// All files of a folder, by name.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be read, and those of [`Expected::load`].
    pub fn load_folder(folder: &Path) -> Result<Vec<Self>> {
        let entries = std::fs::read_dir(folder).map_err(Error::io(folder))?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        paths.sort();
        paths.iter().map(|path| Self::load(path)).collect()
    }
}
