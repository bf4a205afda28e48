//! The plan's file format: what `ecqx plan --format json` prints and `ecqx exec --plan` reads. Field names are stable.
//!
//! A plan has two waves. Baselines come first; every run names the baseline it needs. A run that is executed without its
//! baseline makes it (or waits for the worker that is making it), so the order is for speed, not for correctness.

use super::{Planned, State};
use crate::spec::{BaselineRun, RunSpec};
use crate::store::Store;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::Path;

/// Everything that experiments ask for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// First wave: each baseline once.
    pub baselines: Vec<PlannedBaseline>,
    /// Second wave, in the order of the experiments.
    pub runs: Vec<PlannedRun>,
}

/// A baseline of the first wave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedBaseline {
    /// Content-addressed id.
    pub id: String,
    /// Name of the first experiment that needs it.
    pub experiment: String,
    /// Data set and model, for people.
    pub label: String,
    /// `done` or `new`.
    pub state: String,
    /// What `ecqx exec --spec` takes.
    pub spec: BaselineRun,
}

/// A run of the second wave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedRun {
    /// Content-addressed id.
    pub id: String,
    /// Id of the baseline it needs.
    pub baseline: String,
    /// Name of the experiment.
    pub experiment: String,
    /// Method and parameters, for people.
    pub label: String,
    /// Seed.
    pub seed: u64,
    /// `done`, `failed` or `new`.
    pub state: String,
    /// What `ecqx exec --spec` takes.
    pub spec: RunSpec,
}

/// The two parts of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wave {
    /// Full-precision weights, shared by runs.
    Baselines,
    /// The runs themselves.
    Runs,
}

impl Wave {
    /// The name that `exec --wave` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baselines => "baselines",
            Self::Runs => "runs",
        }
    }
}

impl Plan {
    /// Each baseline once, then the runs, as `store` has them.
    pub fn new(planned: &[Planned], store: &Store) -> Self {
        let mut seen = HashSet::new();
        let mut plan = Self::default();
        for p in planned {
            if seen.insert(p.baseline.as_str()) {
                let state = if store.has_baseline(&p.baseline) { "done" } else { "new" };
                plan.baselines.push(PlannedBaseline {
                    id: p.baseline.clone(),
                    experiment: p.experiment.clone(),
                    label: format!("{} with {}", p.run.model_name(), p.run.dataset.name),
                    state: state.into(),
                    spec: p.run.baseline_run(),
                });
            }
            let state = match p.state {
                State::Done(_) => "done",
                State::Failed => "failed",
                State::New => "new",
            };
            plan.runs.push(PlannedRun {
                id: p.id.clone(),
                baseline: p.baseline.clone(),
                experiment: p.experiment.clone(),
                label: p.run.label(),
                seed: p.run.seed,
                state: state.into(),
                spec: p.run.clone(),
            });
        }
        plan
    }

    /// Reads a plan's file.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read; [`Error::Input`] with file, line and column when it is not a plan.
    pub fn load(path: &Path) -> Result<Self> {
        let text = crate::io::read_text(path)?;
        parse(&text, &path.display().to_string())
    }

    /// Number of entries of a wave.
    pub fn len(&self, wave: Wave) -> usize {
        match wave {
            Wave::Baselines => self.baselines.len(),
            Wave::Runs => self.runs.len(),
        }
    }

    /// Whether both waves are empty.
    pub fn is_empty(&self) -> bool {
        self.baselines.is_empty() && self.runs.is_empty()
    }

    /// What the store does not have yet: unfinished runs, and of the baselines those that they need and that are missing.
    pub fn missing(&self) -> Self {
        let runs: Vec<PlannedRun> = self.runs.iter().filter(|run| run.state != "done").cloned().collect();
        let needed = |id: &str| runs.iter().any(|run| run.baseline == id);
        let baselines =
            self.baselines.iter().filter(|b| b.state != "done" && needed(&b.id)).cloned().collect();
        Self { baselines, runs }
    }
}

/// Parses JSON of this crate's formats; an error says where and, for an unknown key, which one was perhaps meant.
///
/// # Errors
/// [`Error::Input`] with the position of the mistake.
pub fn parse<T: serde::de::DeserializeOwned>(text: &str, place: &str) -> Result<T> {
    serde_json::from_str(text).or_else(|error| {
        let place = format!("{place}:{}:{}", error.line(), error.column());
        let otherwise = "`ecqx plan SPEC --format json` writes plans";
        // What is JSON and does not fit is said in people's words.
        if error.is_data()
            && let Ok(value) = serde_json::from_str::<serde_json::Value>(text)
        {
            return crate::io::yaml::from_value(&value, "the plan").map_err(|error| {
                Error::input_hint(format!("{place}: {error}"), error.hint().unwrap_or(otherwise))
            });
        }
        let what = match error.is_eof() {
            true => "the text ends in the middle",
            false => "not valid JSON",
        };
        Err(Error::input_hint(format!("{place}: {what}"), otherwise))
    })
}
