//! One grid point, fully resolved, and its identity.

use crate::data::DatasetSpec;
use crate::record::SCHEMA;
use crate::train::TrainingSpec;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Everything that decides the result of one run. Labels, figures and descriptions are not part of it.
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
    /// Samples of the training split that a post-training relevance pass looks at.
    pub calibration_samples: usize,
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

/// Where full-precision weights come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BaselineSpec {
    /// A checkpoint below the data folder, or beside the experiment's file.
    Checkpoint(String),
    /// Trained here, once for all runs that share data set, model, recipe and seed.
    Train {
        /// Recipe.
        recipe: TrainingSpec,
        /// Seed of initialisation, shuffling, augmentation and dropout.
        seed: u64,
    },
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
        RunSpec {
            dataset: self.dataset.clone(),
            model: self.model.clone(),
            baseline: self.baseline.clone(),
            quantizer: QuantizerSpec {
                method: "uniform".into(),
                bits: Some(8),
                parameters: Map::new(),
                relevance: None,
            },
            training: None,
            seed: 0,
            calibration_samples: 0,
        }
    }
}

/// JSON with sorted keys and no spaces: equal for equal content.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            let inner: Vec<_> = entries
                .iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", inner.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// 32 hex digits over the given parts.
fn identity(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("ecqx run");
    hasher.update(&SCHEMA.to_le_bytes());
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_string()
}

impl RunSpec {
    /// The resolved specification as JSON.
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

    /// Id of the baseline: `source` is the digest of the checkpoint file, or nothing when it is trained here.
    pub fn baseline_id(&self, dataset_digest: &str, source: Option<&str>) -> Result<String> {
        let json = serde_json::json!({"model": self.model, "dataset": self.dataset, "baseline": match source {
            Some(digest) => Value::from(digest),
            None => serde_json::to_value(&self.baseline).unwrap_or_default(),
        }});
        Ok(identity(&["baseline", &canonical(&json), dataset_digest]))
    }

    /// Id of the run: resolved specification, data and baseline.
    pub fn id(&self, dataset_digest: &str, baseline_id: &str) -> Result<String> {
        let mut json = self.json()?;
        // The baseline's id stands for it: where a checkpoint lies does not matter, what it holds does.
        if let Value::Object(map) = &mut json {
            map.remove("baseline");
        }
        Ok(identity(&["run", &canonical(&json), dataset_digest, baseline_id]))
    }

    /// What the run is called in legends and progress lines: method and parameters, without seed.
    pub fn label(&self) -> String {
        let mut label = self.quantizer.method.clone();
        if let Some(bits) = self.quantizer.bits {
            label += &format!(" {bits} bit");
        }
        for (key, value) in &self.quantizer.parameters {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_string);
            label += &match key.as_str() {
                "lambda" => format!(" Λ={value}"),
                _ => format!(" {key}={value}"),
            };
        }
        if let Some(relevance) = &self.quantizer.relevance {
            label += &format!(
                " relevance={}",
                relevance.as_str().map_or_else(|| canonical(relevance), str::to_string)
            );
        }
        label
    }

    /// The model's name in tables.
    pub fn model_name(&self) -> String {
        self.model.name.clone().unwrap_or_else(|| "custom".into())
    }
}
