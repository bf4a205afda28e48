//! Records of an earlier schema under the ids of this one: their settings are resolved as a new run's would be,
//! with the first revision of their method.

use super::context::Context;
use crate::model::checkpoint;
use crate::record::{RunRecord, SCHEMA};
use crate::spec::{BaselineSpec, RunSpec};
use crate::{Error, Result};
use std::collections::HashMap;

/// Gives records their present ids.
pub struct Adoption<'a> {
    context: &'a Context,
    /// Digest of a checkpoint's weights by baseline id.
    weights: HashMap<String, String>,
}

impl<'a> Adoption<'a> {
    /// For runs on the data sets and checkpoints of this context.
    pub fn new(context: &'a Context) -> Self {
        Self { context, weights: HashMap::new() }
    }

    /// The record under its present id, with its settings resolved and its label made anew; as it is where it has the
    /// present schema.
    ///
    /// # Errors
    /// [`Error::Input`] where the settings cannot be resolved, or data set or checkpoint here are not the record's.
    pub fn adopt(&mut self, record: RunRecord) -> Result<RunRecord> {
        if record.schema >= SCHEMA {
            return Ok(record);
        }
        let refused = |what: &str| Error::input(format!("run {}: {what}", record.id));
        let spec: RunSpec = serde_json::from_value(record.spec.clone())
            .map_err(|error| refused(&format!("its settings cannot be read: {error}")))?;
        let spec = spec.resolve_first(&self.context.registry)?;
        let dataset = self.context.dataset(&spec.dataset)?;
        if dataset.digest() != record.provenance.dataset_digest {
            return Err(refused("it was made with other data than those here"));
        }
        let (id, baseline) = self.context.ids(&spec)?;
        // A trained baseline is what its recipe gives; a checkpoint could have been exchanged.
        if matches!(spec.baseline, BaselineSpec::Checkpoint(_)) {
            let digest = match self.weights.get(&baseline) {
                Some(digest) => digest.clone(),
                None => self.digest_of(&spec, &baseline)?,
            };
            if digest != record.provenance.baseline_digest {
                return Err(refused("it was made with another checkpoint than the one here"));
            }
        }
        let parameters = spec.quantizer.parameters.clone();
        let (label, spec) = (spec.label(), spec.json()?);
        Ok(RunRecord { schema: SCHEMA, id, label, parameters, spec, ..record })
    }

    fn digest_of(&mut self, spec: &RunSpec, baseline: &str) -> Result<String> {
        let BaselineSpec::Checkpoint(name) = &spec.baseline else { return Ok(String::new()) };
        let dataset = self.context.dataset(&spec.dataset)?;
        let network = self.context.network(spec, dataset.as_ref())?;
        let path = self.context.checkpoint_file(name)?;
        let parameters = checkpoint::load(&path, &network, &self.context.device)?;
        let digest = checkpoint::digest(&parameters)?;
        self.weights.insert(baseline.to_owned(), digest.clone());
        Ok(digest)
    }
}
