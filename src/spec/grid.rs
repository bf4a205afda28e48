//! Expansion of an experiment into runs: methods × parameters × bit widths × seeds, in the order of the file.

use super::experiment::{Entry, Experiment};
use super::identity::canonical;
use super::registry::Registry;
use super::run_spec::{QuantizerSpec, RunSpec};
use crate::error::suggestion;
use crate::registry::Kind;
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// The runs of an experiment, and how many equal grid points were dropped.
pub struct Grid {
    /// In the order of the file.
    pub runs: Vec<RunSpec>,
    /// Grid points that stood there already.
    pub duplicates: usize,
}

/// Parameters whose value is a list by itself.
const LISTS: [&str; 1] = ["exclude"];

/// Expands an experiment and checks every grid point against its method.
///
/// # Errors
/// [`Error::Input`] with the place of the entry.
pub fn expand(experiment: &Experiment, registry: &Registry) -> Result<Grid> {
    let mut grid = Grid { runs: Vec::new(), duplicates: 0 };
    let mut seen = HashSet::new();
    for entry in &experiment.quantizers {
        for parameters in combinations(entry, registry)? {
            for relevance in relevances(entry) {
                for &bits in &entry.bits {
                    let quantizer = QuantizerSpec {
                        method: entry.method.clone(),
                        bits,
                        parameters: parameters.clone(),
                        relevance: relevance.clone(),
                    };
                    for &seed in &entry.seeds {
                        let baseline = match experiment.baseline_per_run {
                            true => experiment.baseline.with_seed(seed),
                            false => experiment.baseline.clone(),
                        };
                        let run = RunSpec::new(
                            experiment.dataset.clone(),
                            experiment.model.clone(),
                            baseline,
                            quantizer.clone(),
                            entry.training.clone(),
                            seed,
                            Some(experiment.calibration_samples),
                        );
                        let run = run.resolve(registry).map_err(|error| at(entry, error))?;
                        if seen.insert(canonical(&run.json()?)) {
                            grid.runs.push(run);
                        } else {
                            grid.duplicates += 1;
                        }
                    }
                }
            }
        }
    }
    Ok(grid)
}

fn at(entry: &Entry, error: Error) -> Error {
    match error {
        Error::Input { message, hint: None } => {
            let hint = suggestion(&message, &[]);
            Error::Input { message, hint }
        }
        other => other,
    }
    .at(&entry.place)
}

fn relevances(entry: &Entry) -> Vec<Option<Value>> {
    match &entry.relevance {
        Some(Value::Array(items)) => items.iter().cloned().map(Some).collect(),
        other => vec![other.clone()],
    }
}

/// All combinations of list-valued parameters and options.
fn combinations(entry: &Entry, registry: &Registry) -> Result<Vec<Map<String, Value>>> {
    let method = registry.quantizers.find(&entry.method)?;
    let is_list =
        |key: &str| LISTS.contains(&key) || matches!(method.kind(key), Some(Kind::Command | Kind::Files));
    let mut all = vec![Map::new()];
    for (key, value) in &entry.parameters {
        let values = match value {
            Value::Array(items) if !is_list(key) => items.clone(),
            Value::Object(options) if method.kind(key) == Some(Kind::Options) => {
                product(entry, options)?.into_iter().map(Value::Object).collect()
            }
            single => vec![single.clone()],
        };
        all = extended(entry, all, key, &values)?;
    }
    Ok(all)
}

/// All combinations of the lists in a mapping.
fn product(entry: &Entry, map: &Map<String, Value>) -> Result<Vec<Map<String, Value>>> {
    let mut all = vec![Map::new()];
    for (key, value) in map {
        let values = match value {
            Value::Array(items) => items.clone(),
            single => vec![single.clone()],
        };
        all = extended(entry, all, key, &values)?;
    }
    Ok(all)
}

/// Every point with every value of `key`.
fn extended(
    entry: &Entry,
    points: Vec<Map<String, Value>>,
    key: &str,
    values: &[Value],
) -> Result<Vec<Map<String, Value>>> {
    if values.is_empty() {
        return Err(Error::input(format!("{}: {}: '{key}' is empty", entry.place, entry.method)));
    }
    if points.len().saturating_mul(values.len()) > 1_000_000 {
        return Err(Error::input(format!("{}: the grid has more than a million points", entry.place)));
    }
    let with = |base: &Map<String, Value>, value: &Value| {
        let mut point = base.clone();
        point.insert(key.to_owned(), value.clone());
        point
    };
    Ok(points.iter().flat_map(|base| values.iter().map(move |value| with(base, value))).collect())
}
