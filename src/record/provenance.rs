//! What made a result, and which processes worked on it. How it is found out is the run's business.

use super::metrics::SampleCounts;
use serde::{Deserialize, Serialize};

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
    /// The program around the library where it is not the library's own: name, version, revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_program: Option<String>,
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
    /// Which implementation computed: `native` kernels of the CPU or `composed` operations; absent in records from before there were two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
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
