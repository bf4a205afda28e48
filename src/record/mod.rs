//! The record of one run: what the store keeps and every report reads. Field names are a stable file format
//! (`record.json`); a change of meaning raises [`SCHEMA`].

use serde::{Deserialize, Serialize};

/// Version of the record's format, part of every run's id.
pub const SCHEMA: u32 = 1;

/// Attempts of a record that does not count them.
fn once() -> u32 {
    1
}

/// Accuracy on one split. Accuracies are percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Share of samples whose highest logit is the true class, percent.
    pub top1: f64,
    /// Share of samples whose true class is among the five highest logits, percent; absent with fewer than ten classes.
    pub top5: Option<f64>,
    /// Mean cross entropy, nats; NaN (`null` in JSON) where any sample has logits that are not finite.
    #[serde(deserialize_with = "or_nan")]
    pub loss: f64,
    /// Number of samples.
    pub n: usize,
    /// Samples whose logits hold an infinity or NaN: they count as wrong.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub non_finite: usize,
}

impl Metrics {
    /// What to warn of: samples of `what` ("the decoded model, test split") without finite logits.
    pub fn warning(&self, what: &str) -> Option<String> {
        (self.non_finite > 0).then(|| {
            format!(
                "{what}: {} of {} samples have logits that are not finite; they count as wrong",
                self.non_finite, self.n
            )
        })
    }
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// JSON has no NaN: it is written as `null`.
fn or_nan<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Samples of a data set in each split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleCounts {
    /// Training samples.
    pub train: usize,
    /// Validation samples.
    pub validation: usize,
    /// Test samples.
    pub test: usize,
}

/// One epoch of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// From 1; 0 is the state after initialisation (post-training).
    pub epoch: usize,
    /// Mean training loss over the epoch's batches, nats.
    pub train_loss: Option<f64>,
    /// Training accuracy over the epoch's batches, percent.
    pub train_top1: Option<f64>,
    /// Validation accuracy, percent.
    pub validation_top1: Option<f64>,
    /// Validation loss, nats.
    pub validation_loss: Option<f64>,
    /// Share of zeros over the quantized weights, 0–1.
    pub sparsity: Option<f64>,
    /// Learning rate at the end of the epoch.
    pub learning_rate: Option<f64>,
    /// Wall time of the epoch, seconds.
    pub seconds: f64,
}

/// One quantized tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Parameter name.
    pub name: String,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Number of weights.
    pub weights: usize,
    /// How many of them are exactly zero.
    pub zeros: usize,
    /// How many levels occur at least once (distinct values for tensors without a codebook).
    pub levels_in_use: usize,
    /// Entropy of the level distribution, bits per weight; absent for tensors without a codebook.
    pub entropy: Option<f64>,
    /// Step size of a uniform codebook.
    pub step: Option<f32>,
    /// Bytes of this tensor in the file.
    pub bytes: Option<usize>,
}

/// Sizes of the model, bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sizes {
    /// The model file really written. The headline.
    pub file: usize,
    /// Four bytes for every parameter and running statistic.
    pub full_precision: usize,
    /// Entropy bound of the level indices plus four bytes for everything else.
    pub entropy_bound: f64,
    /// Bit width × quantized weights / 8 plus four bytes for everything else.
    pub bits_times_parameters: f64,
    /// Compressed sparse rows with 4-bit column distances (Deep Compression), level indices at the bit width.
    pub csr: Option<usize>,
    /// zstd (level 19) of the level indices as i8 (i16/i32 where they do not fit) plus four bytes for everything else.
    pub zstd: Option<usize>,
    /// xz (preset 9) likewise.
    pub xz: Option<usize>,
}

impl Sizes {
    /// Full precision over file: the compression ratio.
    pub fn compression_ratio(&self) -> f64 {
        self.full_precision as f64 / self.file as f64
    }
}

/// What made a result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Git revision of the program's sources, with `-dirty` appended when they had changes; absent when it was built
    /// outside its repository.
    pub git_revision: Option<String>,
    /// Whether the sources had changes that were not committed.
    #[serde(default)]
    pub git_dirty: bool,
    /// Hash of these changes (git's, of the output of `git diff HEAD`).
    #[serde(default)]
    pub git_changes: Option<String>,
    /// Git revision of the working folder, where experiments usually lie, with `-dirty` appended when it had changes.
    #[serde(default)]
    pub folder_revision: Option<String>,
    /// Crate version.
    pub version: String,
    /// Compiler version.
    pub rustc: String,
    /// Enabled cargo features.
    pub features: Vec<String>,
    /// Processor model.
    pub cpu: String,
    /// Compute device: `cpu` or the GPU's name.
    pub device: String,
    /// Threads used.
    pub threads: usize,
    /// Host name.
    pub host: String,
    /// Content digest of the data set.
    pub dataset_digest: String,
    /// Samples of the data set per split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<SampleCounts>,
    /// Content digest of the baseline's weights.
    pub baseline_digest: String,
    /// Command line, program first.
    pub command: Vec<String>,
    /// Start, RFC 3339 UTC.
    pub started: String,
    /// End, RFC 3339 UTC.
    #[serde(default)]
    pub finished: String,
    /// Wall time spent on writing checkpoints, part of the run's, seconds.
    #[serde(default)]
    pub checkpoint_seconds: f64,
    /// Energy that the machine's processor packages used meanwhile, joules; absent where the machine does not tell.
    #[serde(default)]
    pub energy_joules: Option<f64>,
}

/// A process that worked on a run without finishing it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Start, RFC 3339 UTC.
    pub started: String,
    /// Machine.
    pub host: String,
    /// Version and source revision of the program.
    pub program: String,
    /// Wall time until the checkpoint from which the run went on, seconds.
    pub seconds: f64,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Finished with a result.
    Done,
    /// Stopped by an error.
    Failed,
}

/// A finished (or failed) run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// Content-addressed id: 32 hex digits.
    pub id: String,
    /// Names of the experiments this run was part of when it was computed (not part of the id).
    pub experiment: String,
    /// Data set name.
    pub dataset: String,
    /// Model name.
    pub model: String,
    /// Method name in the quantizer registry; `baseline` for the full-precision model.
    pub method: String,
    /// Label of the method with its distinguishing parameters, for legends.
    pub label: String,
    /// Bit width; absent for full precision and pruning without levels.
    pub bits: Option<u32>,
    /// Λ, where the method has one.
    pub lambda: Option<f64>,
    /// p, where the method has one.
    pub p: Option<f64>,
    /// Seed.
    pub seed: u64,
    /// The resolved specification.
    pub spec: serde_json::Value,
    /// Done or failed.
    pub status: Status,
    /// The error of a failed run.
    pub error: Option<String>,
    /// The last lines of a failed run's log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// How often the run was tried, this time included.
    #[serde(default = "once")]
    pub attempts: u32,
    /// Earlier processes whose checkpoint this one continued from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interrupted: Vec<Session>,
    /// Things worth knowing: degenerate layers and the like.
    pub warnings: Vec<String>,
    /// Which split and rule chose the weights: `last epoch`, `best epoch on validation`, `post-training`.
    pub selection: String,
    /// Full-precision baseline on the test split.
    pub baseline: Option<Metrics>,
    /// The decoded model on the test split. The headline.
    pub test: Option<Metrics>,
    /// The decoded model on the validation split.
    pub validation: Option<Metrics>,
    /// Share of zeros over the quantized weights, 0–1.
    pub sparsity: Option<f64>,
    /// Mean entropy over the quantized weights, bits per weight.
    pub entropy: Option<f64>,
    /// Quantized tensors in layer order.
    pub layers: Vec<LayerRecord>,
    /// Sizes in bytes.
    pub sizes: Option<Sizes>,
    /// Epochs in order.
    pub epochs: Vec<EpochMetrics>,
    /// Wall time, seconds; that of earlier processes up to their checkpoint included.
    pub seconds: f64,
    /// Peak resident memory of the process during the run, bytes.
    pub peak_memory: Option<u64>,
    /// What made it.
    pub provenance: Provenance,
}
