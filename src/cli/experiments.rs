//! What the commands on experiments share: the arguments that select runs, and planning with warnings on the screen.

use super::Global;
use crate::Result;
use crate::plan::{self, Depth, Planned};
use crate::run::Context;
use crate::store::Store;
use std::collections::BTreeSet;
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

/// All selected runs with what the store has of them; warnings go to standard error.
pub fn plan(selection: &Selection, context: &Context, depth: Depth) -> Result<Vec<Planned>> {
    let wanted = plan::Selection { specs: selection.specs.clone(), filter: selection.filter.clone() };
    let planning = plan::plan(&wanted, context, &context.store, depth)?;
    planning.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    Ok(planning.runs)
}

/// The ids of all runs of these experiments; `None`, which takes every run of a store, where none are given.
pub fn ids(specs: &[PathBuf], store: &Path, global: &Global) -> Result<Option<BTreeSet<String>>> {
    if specs.is_empty() {
        return Ok(None);
    }
    let selection = Selection { specs: specs.to_vec(), store: store.into(), filter: None };
    let planned = plan(&selection, &context(&selection, global)?, Depth::Records)?;
    Ok(Some(planned.into_iter().map(|planned| planned.id).collect()))
}
