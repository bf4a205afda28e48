//! What `validate`, `plan` and `run` share: reading experiments and looking their runs up in the store.

use super::Global;
use crate::engine::{Plan, PlannedBaseline, PlannedRun};
use crate::record::{RunRecord, Status};
use crate::run::Context;
use crate::spec::{Experiment, Registry, RunSpec, grid};
use crate::store::{Lookup, Store};
use crate::{Error, Result};
use globset::{Glob, GlobMatcher};
use rayon::prelude::*;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Experiments and where their results are.
#[derive(Debug, Clone, clap::Args)]
pub struct Selection {
    /// Experiments (YAML files)
    #[arg(required = true, value_name = "SPEC")]
    pub specs: Vec<PathBuf>,
    /// Folder of results
    #[arg(long, default_value = "store")]
    pub store: PathBuf,
    /// Only runs whose label or experiment matches, such as '*4 bit*'
    #[arg(long, value_name = "GLOB")]
    pub filter: Option<String>,
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

/// The kinds of figures that any of the experiments names; empty where none does.
pub fn figures(specs: &[PathBuf], registry: &Registry) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for path in specs {
        names.extend(Experiment::load(path, registry)?.figures);
    }
    Ok(names)
}

/// Reads experiments and expands them.
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

/// What runs need, with the store to read from.
pub fn context(selection: &Selection, global: &Global) -> Result<Context> {
    let folders = selection.specs.iter().filter_map(|path| path.parent()).map(Path::to_path_buf).collect();
    Ok(Context::new(
        global.registry.clone(),
        Store::at(&selection.store),
        global.data_dir(),
        folders,
        global.device()?,
    ))
}

/// All selected runs of all experiments, each once, with what the store has of them. Records are checked, model files
/// are not.
pub fn plan(selection: &Selection, context: &Context) -> Result<Vec<Planned>> {
    plan_with(selection, context, |id| context.store.look(id))
}

/// As [`plan`], with every file of finished runs checked: what is damaged must be done again.
pub fn plan_thoroughly(selection: &Selection, context: &Context) -> Result<Vec<Planned>> {
    plan_with(selection, context, |id| context.store.find(id))
}

fn plan_with(
    selection: &Selection,
    context: &Context,
    look: impl Fn(&str) -> Lookup + Sync,
) -> Result<Vec<Planned>> {
    let filter: Option<GlobMatcher> = selection
        .filter
        .as_ref()
        .map(|text| Glob::new(text).map(|glob| glob.compile_matcher()))
        .transpose()
        .map_err(|error| Error::input(format!("--filter: {error}")))?;
    let mut wanted = Vec::new();
    for (experiment, grid) in load(&selection.specs, &context.registry)? {
        if let Some(run) = grid.runs.first() {
            // Whether the model takes the data is known before anything is trained; it is the same for all runs.
            let dataset = context.dataset(&run.dataset)?;
            context.network(run, dataset.as_ref()).map_err(|error| match error {
                Error::Input { message, hint } => {
                    Error::Input { message: format!("{}: {message}", experiment.path.display()), hint }
                }
                other => other,
            })?;
        }
        for run in grid.runs {
            if let Some(filter) = &filter
                && !filter.is_match(run.label())
                && !filter.is_match(&experiment.name)
            {
                continue;
            }
            wanted.push((experiment.name.clone(), run));
        }
    }
    let ids: Result<Vec<(String, String)>> = wanted.par_iter().map(|(_, run)| context.ids(run)).collect();
    let mut seen = HashSet::new();
    let wanted = wanted
        .into_iter()
        .zip(ids?)
        .map(|((experiment, run), (id, baseline))| (experiment, run, id, baseline));
    let wanted: Vec<_> = wanted.filter(|(_, _, id, _)| seen.insert(id.clone())).collect();
    if wanted.is_empty() {
        return Err(Error::input_hint(
            "no run is selected",
            "is --filter too narrow? `ecqx plan` lists the labels",
        ));
    }
    let found: Vec<Lookup> = wanted.par_iter().map(|(_, _, id, _)| look(id)).collect();
    let planned = wanted.into_iter().zip(found).map(|((experiment, run, id, baseline), found)| {
        let mut attempts = 0;
        let state = match found {
            Lookup::Found(record) if record.status == Status::Done => State::Done(record),
            Lookup::Found(record) => {
                attempts = record.attempts;
                State::Failed
            }
            Lookup::Missing => State::New,
            Lookup::Damaged(why) | Lookup::Foreign(why) => {
                eprintln!("warning: {why}; the run is done again");
                State::New
            }
        };
        Planned { experiment, run, id, baseline, state, attempts }
    });
    Ok(planned.collect())
}

/// The plan in its file format: each baseline once, then the runs.
pub fn to_file(planned: &[Planned], context: &Context) -> Plan {
    let mut seen = HashSet::new();
    let mut plan = Plan::default();
    for p in planned {
        if seen.insert(p.baseline.as_str()) {
            let state = if context.store.has_baseline(&p.baseline) { "done" } else { "new" };
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
