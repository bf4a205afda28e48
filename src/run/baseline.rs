//! Full-precision weights: read from a checkpoint, or trained once and kept in the store for every run that shares them.

use super::execute::Context;
use super::record::{EpochMetrics, Metrics};
use crate::data::{Dataset, Split};
use crate::model::checkpoint;
use crate::nn::{Network, Parameters, init};
use crate::spec::{BaselineSpec, RunSpec};
use crate::store::Files;
use crate::train::{Observer, evaluate, plain};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Full-precision weights and what they reach.
pub struct Baseline {
    /// The weights.
    pub parameters: Parameters,
    /// Accuracy on the test split.
    pub test: Metrics,
    /// Content digest of the weights.
    pub digest: String,
}

/// What the store keeps beside the weights.
#[derive(Serialize, Deserialize)]
struct Record {
    test: Metrics,
    validation: Option<Metrics>,
    epochs: Vec<EpochMetrics>,
    digest: String,
}

/// The checkpoint's file: below the data folder, beside an experiment, or as given.
fn find(context: &Context, checkpoint: &str) -> Result<PathBuf> {
    let folders = [&context.data_dir].into_iter().chain(&context.checkpoint_dirs);
    let mut tried: Vec<PathBuf> = folders.map(|folder| folder.join(checkpoint)).collect();
    tried.push(PathBuf::from(checkpoint));
    tried.dedup();
    match tried.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => {
            let places: Vec<_> = tried.iter().map(|path| path.display().to_string()).collect();
            Err(Error::input_hint(
                format!("checkpoint {checkpoint}: not found (tried {})", places.join(", ")),
                "say where the data lie with --data-dir or ECQX_DATA",
            ))
        }
    }
}

/// Digest of a checkpoint's file; `None` for baselines that are trained.
pub(super) fn source_digest(context: &Context, baseline: &BaselineSpec) -> Result<Option<String>> {
    let BaselineSpec::Checkpoint(name) = baseline else { return Ok(None) };
    let path = find(context, name)?;
    let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
    Ok(Some(blake3::hash(&bytes).to_hex().to_string()))
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
                make(context, run, id, network, dataset, observer)?;
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

fn read(context: &Context, id: &str, network: &Network) -> Result<Baseline> {
    let folder = context.store.baseline_folder(id);
    let path = folder.join("record.json");
    let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
    let record: Record =
        serde_json::from_slice(&bytes).map_err(|error| Error::format(&path, 0, error.to_string()))?;
    let parameters = checkpoint::load(&folder.join("weights.safetensors"), network, &context.device)?;
    Ok(Baseline { parameters, test: record.test, digest: record.digest })
}

fn make(
    context: &Context,
    run: &RunSpec,
    id: &str,
    network: &Network,
    dataset: &dyn Dataset,
    observer: &dyn Observer,
) -> Result<()> {
    observer.phase("baseline");
    let (parameters, epochs) = match &run.baseline {
        BaselineSpec::Checkpoint(name) => {
            (checkpoint::load(&find(context, name)?, network, &context.device)?, Vec::new())
        }
        BaselineSpec::Train { recipe, seed } => {
            let fresh = init::initialise(network, &context.device, *seed)?;
            let trained = plain::train(network, &fresh, dataset, recipe, *seed, observer)?;
            (trained.parameters, trained.epochs)
        }
    };
    let test = evaluate(network, &parameters, dataset, Split::Test, observer)?;
    let validation = match dataset.is_empty(Split::Validation) {
        true => None,
        false => Some(evaluate(network, &parameters, dataset, Split::Validation, observer)?),
    };
    let record = Record { test, validation, epochs, digest: checkpoint::digest(&parameters)? };
    let json = serde_json::to_vec_pretty(&record).map_err(|error| Error::Internal(error.to_string()))?;
    let tensors = parameters.iter().map(|(name, parameter)| (name, parameter.var.as_tensor()));
    let files = Files::from([
        ("record.json".to_string(), json),
        ("weights.safetensors".to_string(), checkpoint::to_safetensors(tensors)?),
    ]);
    context.store.save_baseline(id, &files)
}
