//! Full-precision weights: read from a checkpoint, or trained once and kept in the store for every run that shares them.

use super::context::{Context, digest_of};
use super::resume::StoredCheckpoints;
use crate::data::{Dataset, Split};
use crate::model::checkpoint::{self, FitOptions, ReadOptions};
use crate::nn::{Network, Parameters, init};
use crate::record::{EpochMetrics, Metrics};
use crate::spec::{BaselineSpec, RunSpec};
use crate::store::Files;
use crate::train::{Observer, evaluate, evaluate_validation, full_precision};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What observers are told while a baseline is made; epochs that follow are the baseline's.
pub const PHASE: &str = "baseline";

/// Full-precision weights and what they reach.
pub struct Baseline {
    /// The weights.
    pub parameters: Parameters,
    /// Accuracy on the test split.
    pub test: Metrics,
    /// Accuracy on the validation split, where there is one.
    pub validation: Option<Metrics>,
    /// Content digest of the weights.
    pub digest: String,
    /// What was converted or left out when the checkpoint was read.
    pub notes: Vec<String>,
}

/// What the store keeps beside the weights.
#[derive(Serialize, Deserialize)]
struct Record {
    test: Metrics,
    validation: Option<Metrics>,
    epochs: Vec<EpochMetrics>,
    digest: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// Takes the baseline from the store, or makes it. Waits while another worker is making it.
///
/// # Errors
/// Those of reading, training and the store.
pub(super) fn obtain(
    context: &Context,
    run: &RunSpec,
    id: &str,
    network: &Network,
    dataset: &dyn Dataset,
    observer: &dyn Observer,
) -> Result<Baseline> {
    loop {
        if context.store.has_baseline(id) {
            return read(context, id, network);
        }
        if let Some(_claim) = context.store.claim(&format!("baseline-{id}"))? {
            // Another worker may have finished between the look and the claim.
            if !context.store.has_baseline(id) {
                make_once(context, run, id, network, dataset, observer)?;
            }
            return read(context, id, network);
        }
        observer.phase("waiting for another worker's baseline");
        if observer.cancelled() {
            return Err(Error::Cancelled);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

pub(super) fn read(context: &Context, id: &str, network: &Network) -> Result<Baseline> {
    let folder = context.store.baseline_folder(id);
    let path = folder.join("record.json");
    let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
    let record: Record =
        serde_json::from_slice(&bytes).map_err(|error| Error::format(&path, 0, error.to_string()))?;
    let parameters = checkpoint::load(&folder.join("weights.safetensors"), network, &context.device)?;
    let Record { test, validation, digest, notes, .. } = record;
    Ok(Baseline { parameters, test, validation, digest, notes })
}

/// Makes a baseline, unless this process has seen that it can't be made: runs that share it fail at once then.
fn make_once(
    context: &Context,
    run: &RunSpec,
    id: &str,
    network: &Network,
    dataset: &dyn Dataset,
    observer: &dyn Observer,
) -> Result<()> {
    let known = || context.failed_baselines();
    if let Some(reason) = known()?.get(id) {
        return Err(Error::Diverged(format!("the baseline failed: {reason}")));
    }
    let made = make(context, run, id, network, dataset, observer);
    if let Err(error) = &made
        && !error.is_transient()
        && !matches!(error, Error::Cancelled)
    {
        known()?.insert(id.to_owned(), error.to_string());
        context.store.remove_checkpoint(&format!("baseline-{id}"));
    }
    made
}

fn make(
    context: &Context,
    run: &RunSpec,
    id: &str,
    network: &Network,
    dataset: &dyn Dataset,
    observer: &dyn Observer,
) -> Result<()> {
    observer.phase(PHASE);
    let file = format!("baseline-{id}");
    let mut notes = Vec::new();
    let mut start = match run.baseline.checkpoint() {
        Some(name) => Some(loaded(context, run, name, network, &mut notes)?),
        None => None,
    };
    let mut epochs = Vec::new();
    if let BaselineSpec::Train { recipe, seed } | BaselineSpec::FineTune { recipe, seed, .. } = &run.baseline
    {
        let first = match start.take() {
            Some(loaded) => loaded,
            None => init::initialise(network, &context.device, *seed)?,
        };
        let digest = checkpoint::digest(&first)?;
        let every = context.checkpoint_every;
        let checkpoints = StoredCheckpoints::new(&context.store, &file, &digest, every, observer);
        let trained = full_precision::train(network, &first, dataset, recipe, *seed, observer, &checkpoints)?;
        (start, epochs) = (Some(trained.parameters), trained.epochs);
    }
    let parameters = start.ok_or_else(|| Error::Internal("a baseline from nothing".into()))?;
    let test = evaluate(network, &parameters, dataset, Split::Test, observer)?;
    let validation = evaluate_validation(network, &parameters, dataset, observer)?;
    let record = Record { test, validation, epochs, digest: checkpoint::digest(&parameters)?, notes };
    let json = serde_json::to_vec_pretty(&record).map_err(|error| Error::Internal(error.to_string()))?;
    let tensors = parameters.iter().map(|(name, parameter)| (name, parameter.var.as_tensor()));
    let files = Files::from([
        ("record.json".to_string(), json),
        ("weights.safetensors".to_string(), checkpoint::to_safetensors(tensors)?),
    ]);
    context.store.save_baseline(id, &files)?;
    context.store.remove_checkpoint(&file);
    Ok(())
}

/// The weights of a checkpoint, with what was converted or left out. What is trained on may be for another number of
/// classes: its last layer begins anew.
fn loaded(
    context: &Context,
    run: &RunSpec,
    name: &str,
    network: &Network,
    notes: &mut Vec<String>,
) -> Result<Parameters> {
    let path = context.checkpoint_file(name)?;
    let expected = context.source_digest(&run.baseline)?;
    let mut file = checkpoint::open(&path, &ReadOptions::default())?;
    if let BaselineSpec::FineTune { seed, .. } = &run.baseline {
        let fresh = init::initialise(network, &context.device, *seed)?;
        notes.extend(checkpoint::renew_head(&mut file.tensors, network, &fresh)?);
    }
    let loaded = file.fit(&path, network, &context.device, FitOptions::default())?;
    notes.extend(loaded.notes.into_iter().chain(loaded.warnings));
    // The id stands for the content that was there when the runs were planned.
    if expected.as_deref() != Some(digest_of(&path)?.as_str()) {
        let message = format!("{}: the file changed while it was being used", path.display());
        return Err(Error::input_hint(message, "run again: what it holds now is another baseline"));
    }
    Ok(loaded.parameters)
}
