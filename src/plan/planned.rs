//! Runs of experiments beside what a store has of them.

use crate::record::RunRecord;
use crate::spec::{Experiment, FigureStyle, Registry, RunSpec, grid};
use crate::store::{Lookup, Store};
use crate::{Error, Result};
use globset::{Glob, GlobMatcher};
use rayon::prelude::*;
use std::collections::HashSet;
use std::path::PathBuf;

/// Which runs.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Experiments (YAML files).
    pub specs: Vec<PathBuf>,
    /// Only runs whose label or experiment matches this glob.
    pub filter: Option<String>,
}

/// What planning asks of the place where the runs would be done: its data sets and checkpoints decide the ids.
pub trait Resolve: Sync {
    /// What experiments may name.
    fn registry(&self) -> &Registry;

    /// Ids of a run and of its baseline.
    ///
    /// # Errors
    /// When the data set or the checkpoint cannot be read.
    fn ids(&self, run: &RunSpec) -> Result<(String, String)>;

    /// Whether the run's model takes its data.
    ///
    /// # Errors
    /// [`Error::Input`] when it does not.
    fn check(&self, run: &RunSpec) -> Result<()>;
}

/// How closely the store is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Records are checked, model files are not.
    Records,
    /// Every file of finished runs: what is damaged must be done again.
    Files,
}

/// A run of an experiment with its place in the store.
pub struct Planned {
    /// Name of the experiment.
    pub experiment: String,
    /// The run.
    pub run: RunSpec,
    /// Its id.
    pub id: String,
    /// Its baseline's id.
    pub baseline: String,
    /// What the store has.
    pub state: State,
    /// How often it failed.
    pub attempts: u32,
}

/// What the store has of a run.
pub enum State {
    /// A finished result.
    Done(Box<RunRecord>),
    /// A failure that would be tried again.
    Failed,
    /// Nothing that can be read.
    New,
}

/// What was planned.
pub struct Planning {
    /// Each run once, in the order of the experiments.
    pub runs: Vec<Planned>,
    /// Records that are damaged or foreign; their runs count as new.
    pub warnings: Vec<String>,
}

/// Reads experiments and expands them.
///
/// # Errors
/// Those of [`Experiment::load`] and [`grid::expand`].
pub fn load(specs: &[PathBuf], registry: &Registry) -> Result<Vec<(Experiment, grid::Grid)>> {
    specs
        .iter()
        .map(|path| {
            let experiment = Experiment::load(path, registry)?;
            let grid = grid::expand(&experiment, registry)?;
            Ok((experiment, grid))
        })
        .collect()
}

/// The kinds of figures that any of the experiments names; empty where none does.
///
/// # Errors
/// Those of [`Experiment::load`].
pub fn figures(specs: &[PathBuf], registry: &Registry) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for path in specs {
        names.extend(Experiment::load(path, registry)?.figures);
    }
    Ok(names)
}

/// Whether any of the experiments wants published numbers in its figures.
///
/// # Errors
/// Those of [`Experiment::load`].
pub fn draws_published(specs: &[PathBuf], registry: &Registry) -> Result<bool> {
    let mut any = false;
    for path in specs {
        any |= Experiment::load(path, registry)?.published;
    }
    Ok(any)
}

/// How the figures of the experiments are set: the style of the first one that has any.
///
/// # Errors
/// Those of [`Experiment::load`].
pub fn figure_style(specs: &[PathBuf], registry: &Registry) -> Result<FigureStyle> {
    for path in specs {
        if let Some(style) = Experiment::load(path, registry)?.style {
            return Ok(style);
        }
    }
    Ok(FigureStyle::default())
}

/// The selected runs of all experiments with the experiments' names.
fn wanted(selection: &Selection, resolve: &dyn Resolve) -> Result<Vec<(String, RunSpec)>> {
    let filter: Option<GlobMatcher> = selection
        .filter
        .as_ref()
        .map(|text| Glob::new(text).map(|glob| glob.compile_matcher()))
        .transpose()
        .map_err(|error| Error::input(format!("--filter: {error}")))?;
    let mut wanted = Vec::new();
    for (experiment, grid) in load(&selection.specs, resolve.registry())? {
        if let Some(run) = grid.runs.first() {
            // Whether the model takes the data is known before anything is trained; it is the same for all runs.
            resolve.check(run).map_err(|error| error.at(experiment.path.display()))?;
        }
        let is_selected = |run: &RunSpec| {
            filter
                .as_ref()
                .is_none_or(|filter| filter.is_match(run.label()) || filter.is_match(&experiment.name))
        };
        let selected = grid.runs.into_iter().filter(is_selected);
        wanted.extend(selected.map(|run| (experiment.name.clone(), run)));
    }
    Ok(wanted)
}

/// All selected runs of all experiments, each once, with what the store has of them.
///
/// # Errors
/// [`Error::Input`] for mistakes in experiments and for a selection without runs; those of `resolve`.
pub fn plan(selection: &Selection, resolve: &dyn Resolve, store: &Store, depth: Depth) -> Result<Planning> {
    let wanted = wanted(selection, resolve)?;
    let ids: Result<Vec<(String, String)>> = wanted.par_iter().map(|(_, run)| resolve.ids(run)).collect();
    let mut seen = HashSet::new();
    let wanted: Vec<_> =
        wanted.into_iter().zip(ids?).filter(|(_, (id, _))| seen.insert(id.clone())).collect();
    if wanted.is_empty() {
        return Err(Error::input_hint(
            "no run is selected",
            "is --filter too narrow? `ecqx plan` lists the labels",
        ));
    }
    let look = |id: &str| match depth {
        Depth::Records => store.look(id),
        Depth::Files => store.find(id),
    };
    let found: Vec<Lookup> = wanted.par_iter().map(|(_, (id, _))| look(id)).collect();
    let mut warnings = Vec::new();
    let runs = wanted.into_iter().zip(found).map(|(((experiment, run), (id, baseline)), found)| {
        let (state, attempts) = match found {
            Lookup::Found(record) if record.is_done() => (State::Done(record), 0),
            Lookup::Found(record) => (State::Failed, record.attempts),
            Lookup::Missing => (State::New, 0),
            Lookup::Damaged(why) | Lookup::Foreign(why) => {
                warnings.push(format!("{why}; the run is done again"));
                (State::New, 0)
            }
        };
        Planned { experiment, run, id, baseline, state, attempts }
    });
    let runs = runs.collect();
    Ok(Planning { runs, warnings })
}
