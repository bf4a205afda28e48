//! Expected numbers: YAML files that say what an experiment gave when it was last measured, and how far a repetition may
//! be off. Reading them is here, comparing in [`compare()`]; `ecqx check` and the report show the comparison.

mod compare;

pub(crate) use compare::shown;
pub use compare::{Checked, Verdict, compare, table};

use super::column::{Better, describe};
use crate::error::did_you_mean_or_all;
use crate::io::yaml::{self, Expecting, Place, Spanned};
use crate::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Columns that can be checked: means over seeds, or one seed's value.
pub const COLUMNS: [&str; 9] = [
    "top1_percent",
    "baseline_top1_percent",
    "map_percent",
    "baseline_map_percent",
    "drop_points",
    "sparsity_percent",
    "entropy_bits",
    "file_bytes",
    "compression_ratio",
];

/// What the file is, for messages.
const EXPECTED: Expecting = Expecting {
    what: "the file of expected numbers",
    reference: "docs/experiments.md describes expected numbers",
};

/// In which direction a checkable column improves.
pub(super) fn better(column: &str) -> Option<Better> {
    match column {
        // A setting in tables, because methods do not compete by it; as a number to reproduce it has a direction.
        "baseline_top1_percent" | "baseline_map_percent" => Some(Better::Higher),
        other => describe(other).and_then(|column| column.better),
    }
}

/// How far a number may be off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// In the column's unit.
    Absolute(f64),
    /// Share of the expected value.
    Relative(f64),
}

impl<'de> Deserialize<'de> for Tolerance {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::{Error, Unexpected, Visitor};
        struct Forms;
        impl Visitor<'_> for Forms {
            type Value = Tolerance;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a number of 0 or more, or a percentage such as 2%")
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Tolerance, E> {
                match number.is_finite() && number >= 0.0 {
                    true => Ok(Tolerance::Absolute(number)),
                    false => Err(E::invalid_value(Unexpected::Float(number), &self)),
                }
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Tolerance, E> {
                self.visit_f64(number as f64)
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Tolerance, E> {
                self.visit_f64(number as f64)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Tolerance, E> {
                let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
                match percent.filter(|percent| percent.is_finite() && *percent >= 0.0) {
                    Some(percent) => Ok(Tolerance::Relative(percent / 100.0)),
                    None => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Forms)
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
        let raw: Raw = yaml::parse(&crate::io::read_text(path)?, path, EXPECTED)?;
        let place = |at: Place| format!("{}:{}:{}", path.display(), at.line, at.column);
        let unknown_column = |at, column: &str| {
            Error::input_hint(
                format!("{}: column '{column}' cannot be checked", place(at)),
                did_you_mean_or_all(column, COLUMNS, "there are"),
            )
        };
        for (column, tolerance) in &raw.tolerances {
            if !COLUMNS.contains(&column.as_str()) {
                return Err(unknown_column(tolerance.at, column));
            }
        }
        // Relative to the file, so that a check does not depend on the folder it is called from.
        let experiment = path.parent().unwrap_or(Path::new(".")).join(&raw.experiment.value);
        if !experiment.is_file() {
            return Err(Error::input_hint(
                format!("{}: experiment {}: no such file", place(raw.experiment.at), experiment.display()),
                "the path is relative to the file of expected numbers",
            ));
        }
        let mut numbers = Vec::new();
        for spanned in raw.numbers {
            let (at, number) = (spanned.at, spanned.value);
            if !COLUMNS.contains(&number.column.as_str()) {
                return Err(unknown_column(at, &number.column));
            }
            if number.label.is_none() && !number.column.starts_with("baseline_") {
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
