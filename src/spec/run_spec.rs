//! One grid point, fully resolved, and its identity.

use super::baseline_spec::BaselineSpec;
use super::identity::{canonical, identity};
use super::label;
use super::placeholder;
use super::registry::Registry;
use crate::data::DatasetSpec;
use crate::io::yaml::{self, Expecting};
use crate::quant::Profile;
use crate::quant::allocation::Budget;
use crate::relevance;
use crate::train::TrainingSpec;
use crate::train::quantized::REST_WEIGHT_DECAY;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

/// Revision of what all runs share: training, data pipeline, model files. Raised whenever the same specification gives
/// other numbers; part of every id. (Of what one method computes: [`Method::revision`](crate::quant::Method::revision).)
pub const NUMERICS: u32 = 1;

/// A model described in YAML.
const MODEL: Expecting = Expecting { what: "a model", reference: "docs/models.md describes the format" };

/// Which versions of the computation a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revisions {
    /// The method's.
    pub method: u32,
    /// [`NUMERICS`].
    pub numerics: u32,
}

impl Revisions {
    /// Of records of schema 1, which do not name theirs.
    pub const FIRST: Self = Self { method: 1, numerics: 1 };
}

/// Everything that decides the result of one run. Labels, figures and descriptions are not part of it.
///
/// As read from a file it may leave defaults out; [`resolve`](Self::resolve) writes them out, and only then it has a label
/// and an id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// Data set and its settings.
    pub dataset: DatasetSpec,
    /// Architecture.
    pub model: ModelSpec,
    /// Where the full-precision weights come from.
    pub baseline: BaselineSpec,
    /// Method and its parameters.
    pub quantizer: QuantizerSpec,
    /// Quantization-aware training; absent: post-training quantization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingSpec>,
    /// Seed of shuffling, augmentation and dropout.
    pub seed: u64,
    /// Samples of the training split that calibration or a post-training relevance pass looks at; absent where there is
    /// neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration_samples: Option<usize>,
    /// Of the program that resolved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revisions: Option<Revisions>,
    /// What it is called, once resolved.
    #[serde(skip)]
    label: String,
}

/// An architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Name in the registry; absent for a YAML file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// YAML text of a model of the user's own: its content is part of the run, its path is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Options of a registry model.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
}

/// A method with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizerSpec {
    /// Name in the registry.
    pub method: String,
    /// Bit width, where the method has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u32>,
    /// The method's parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// How relevance is computed, for methods that need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relevance: Option<Value>,
}

impl QuantizerSpec {
    /// What the method is called in tables: a program of the user's by its own name.
    pub fn name(&self) -> &str {
        super::label::name(&self.method, &self.parameters)
    }

    /// The checkpoint that holds the quantized weights, for methods that read one.
    pub fn weights(&self) -> Option<&str> {
        self.parameters.get("weights").and_then(Value::as_str)
    }
}

/// What decides full-precision weights, for making them before the runs that share them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineRun {
    /// Data set and its settings.
    pub dataset: DatasetSpec,
    /// Architecture.
    pub model: ModelSpec,
    /// Where the weights come from.
    pub baseline: BaselineSpec,
}

impl BaselineRun {
    /// A run that needs this baseline; its quantizer stands for any.
    pub(crate) fn as_run(&self) -> RunSpec {
        let quantizer = QuantizerSpec {
            method: "uniform".into(),
            bits: Some(8),
            parameters: Map::new(),
            relevance: None,
        };
        let (dataset, model, baseline) = (self.dataset.clone(), self.model.clone(), self.baseline.clone());
        RunSpec::new(dataset, model, baseline, quantizer, None, 0, None)
    }
}

impl ModelSpec {
    /// Options written out; a model described in YAML in one form, whatever its comments and spelling.
    fn resolve(&self, registry: &Registry) -> Result<Self> {
        let mut resolved = self.clone();
        if let Some(name) = &self.name {
            resolved.options = registry.models.find(name)?.resolve(&self.options)?;
        }
        if let Some(text) = &self.description {
            let parsed: Value = yaml::parse(text, Path::new("model.yaml"), MODEL)?;
            resolved.description = Some(canonical(&parsed));
        }
        Ok(resolved)
    }
}

impl RunSpec {
    /// The specification of one grid point, not yet resolved.
    #[allow(clippy::too_many_arguments, reason = "the parts of an experiment, each once")]
    pub fn new(
        dataset: DatasetSpec,
        model: ModelSpec,
        baseline: BaselineSpec,
        quantizer: QuantizerSpec,
        training: Option<TrainingSpec>,
        seed: u64,
        calibration_samples: Option<usize>,
    ) -> Self {
        let (revisions, label) = (None, String::new());
        Self { dataset, model, baseline, quantizer, training, seed, calibration_samples, revisions, label }
    }

    /// Every default written out and numbers in one form, so that specifications that mean the same are equal. The data
    /// set's settings stay as they are: its digest stands for them. Resolving twice changes nothing.
    ///
    /// # Errors
    /// [`Error::Input`] for names, parameters or values that cannot be, and for a specification that a program with other
    /// revisions resolved.
    pub fn resolve(&self, registry: &Registry) -> Result<Self> {
        let given = &self.quantizer;
        let method = registry.quantizers.find(&given.method)?;
        method.check_bits_or_budget(given.bits, &given.parameters)?;
        let revisions = Revisions { method: method.revision, numerics: NUMERICS };
        if let Some(other) = self.revisions.filter(|other| *other != revisions) {
            return Err(Error::input_hint(
                format!(
                    "{}: planned with revision {} of the method and {} of the numerics, this program has {} and {}",
                    given.method, other.method, other.numerics, revisions.method, revisions.numerics
                ),
                "plan again with the program that runs it",
            ));
        }
        let parameters = method.resolve(&given.parameters)?;
        let named = method.named_measure(&parameters);
        // A program may ask for relevance; only the experiment knows whether it does.
        let takes = method.needs_relevance || (method.runs_program() && given.relevance.is_some());
        let relevance = match (takes, named, &given.relevance) {
            (true, _, spec) => Some(relevance::resolve(
                &registry.measures,
                spec.as_ref(),
                method.profile(&given.parameters),
            )?),
            (false, Some(name), spec) => Some(named_relevance(registry, &given.method, name, spec.as_ref())?),
            (false, None, None) => None,
            (false, None, Some(_)) => {
                return Err(Error::input(format!("method {} uses no relevance", given.method)));
            }
        };
        // What somebody else quantized is not trained here.
        let training = self.training.as_ref().filter(|_| !method.reads_checkpoint());
        // A fixed number of samples is for assignments before or without training, and for the cost of bit widths.
        let allocates = Budget::of(&parameters).is_some_and(|budget| budget.by.needs_data());
        let calibrates = match &training {
            _ if allocates || method.needs_calibration => true,
            None => method.needs_relevance || named.is_some(),
            Some(_) => {
                named.is_some() && method.quantizer(given.bits, &parameters)?.0.wants_relevance_first()
            }
        };
        let mut quantizer =
            QuantizerSpec { method: given.method.clone(), bits: given.bits, parameters, relevance };
        if let (true, Some(pattern)) = (method.reads_checkpoint(), quantizer.weights()) {
            let weights =
                placeholder::fill(pattern, given.bits, self.seed, quantizer.parameters.get("options"))?;
            quantizer.parameters.insert("weights".into(), weights.into());
        }
        Ok(Self {
            dataset: self.dataset.clone(),
            model: self.model.resolve(registry)?,
            baseline: self.baseline.resolved(),
            label: label::label(
                method,
                quantizer.bits,
                &quantizer.parameters,
                quantizer.relevance.as_ref(),
                registry,
            )?,
            quantizer,
            training: training.map(|recipe| recipe.resolved(REST_WEIGHT_DECAY)),
            seed: self.seed,
            calibration_samples: calibrates.then(|| self.calibration_samples.unwrap_or(CALIBRATION_SAMPLES)),
            revisions: Some(revisions),
        })
    }

    /// As [`resolve`](Self::resolve) for the settings of a record of schema 1: where the method computes something else by
    /// now, that is another run.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn resolve_first(&self, registry: &Registry) -> Result<Self> {
        Ok(Self { revisions: Some(Revisions::FIRST), ..self.resolve(registry)? })
    }

    /// The resolved specification as JSON.
    ///
    /// # Errors
    /// [`Error::Internal`] only on a defect.
    pub fn json(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|error| Error::Internal(format!("run specification: {error}")))
    }

    /// The part that decides the baseline.
    pub fn baseline_run(&self) -> BaselineRun {
        BaselineRun {
            dataset: self.dataset.clone(),
            model: self.model.clone(),
            baseline: self.baseline.clone(),
        }
    }

    /// Id of the baseline: `source` is the digest of the checkpoint file, where there is one. The digest of the data set
    /// stands for its settings.
    ///
    /// # Errors
    /// [`Error::Internal`] for a specification that was not resolved.
    pub fn baseline_id(&self, dataset_digest: &str, source: Option<&str>) -> Result<String> {
        self.check_resolved()?;
        let baseline = match (&self.baseline, source) {
            // Where a checkpoint lies does not matter, what it holds does.
            (BaselineSpec::FineTune { recipe, seed, .. }, Some(digest)) => {
                let checkpoint = digest.to_owned();
                let fine_tune = BaselineSpec::FineTune { checkpoint, recipe: recipe.clone(), seed: *seed };
                serde_json::to_value(fine_tune).unwrap_or_default()
            }
            (_, Some(digest)) => Value::from(digest),
            (baseline, None) => serde_json::to_value(baseline).unwrap_or_default(),
        };
        let json = serde_json::json!({"model": self.model, "numerics": NUMERICS, "baseline": baseline});
        Ok(identity(&["baseline", &canonical(&json), dataset_digest]))
    }

    fn check_resolved(&self) -> Result<()> {
        match self.revisions {
            Some(_) => Ok(()),
            None => Err(Error::Internal("an id was asked of a specification that was not resolved".into())),
        }
    }

    /// Id of the run: resolved specification, data and baseline.
    ///
    /// # Errors
    /// [`Error::Internal`] for a specification that was not resolved.
    pub fn id(&self, dataset_digest: &str, baseline_id: &str) -> Result<String> {
        self.id_with(dataset_digest, baseline_id, None)
    }

    /// As [`id`](Self::id), with the digest of the file of [`weights`](QuantizerSpec::weights) where the method reads one:
    /// where it lies does not matter.
    ///
    /// # Errors
    /// As [`id`](Self::id).
    pub fn id_with(&self, dataset_digest: &str, baseline_id: &str, weights: Option<&str>) -> Result<String> {
        self.check_resolved()?;
        let mut json = self.json()?;
        // The baseline's id stands for it: where a checkpoint lies does not matter, what it holds does. Likewise for the
        // data set and its digest.
        if let Value::Object(map) = &mut json {
            map.shift_remove("baseline");
            map.shift_remove("dataset");
            if let Some(Value::Object(parameters)) =
                map.get_mut("quantizer").and_then(|q| q.get_mut("parameters"))
            {
                parameters.retain(|name, _| !label::CHANGES_NOTHING.contains(&name.as_str()));
                if let Some(digest) = weights {
                    parameters.insert("weights".into(), digest.into());
                }
            }
        }
        Ok(identity(&["run", &canonical(&json), dataset_digest, baseline_id]))
    }

    /// What the run is called in legends and progress lines: method, bit width and what differs from the defaults, without
    /// seed. Method and bit width alone before it is resolved.
    pub fn label(&self) -> String {
        if self.label.is_empty() {
            label::head(self.quantizer.name(), self.quantizer.bits)
        } else {
            self.label.clone()
        }
    }

    /// The model's name in tables.
    pub fn model_name(&self) -> String {
        self.model.name.clone().unwrap_or_else(|| "custom".into())
    }
}

/// The relevance that a method's own parameter names, with every setting written out; `spec` may hold settings of it.
fn named_relevance(registry: &Registry, method: &str, name: &str, spec: Option<&Value>) -> Result<Value> {
    let named = Value::from(name);
    let resolved = relevance::resolve(&registry.measures, Some(spec.unwrap_or(&named)), Profile::default())?;
    match resolved.get(name) {
        Some(_) => Ok(resolved),
        None => Err(Error::input_hint(
            format!("method {method}: its parameters name the relevance measure '{name}', relevance another"),
            format!("leave relevance out, or give settings of '{name}'"),
        )),
    }
}

/// Samples of calibration or a post-training relevance pass where an experiment gives no number.
pub const CALIBRATION_SAMPLES: usize = 256;

#[cfg(test)]
mod tests;
