//! `--weights` and what goes with it, for every subcommand that reads a checkpoint.

use super::Global;
use crate::Result;
use crate::model::checkpoint::{self, Checkpoint, FitOptions, Fitted, ReadOptions, Rename};
use crate::nn::Network;
use candle_core::Device;
use std::path::PathBuf;

/// Which checkpoint, and how it is read.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct WeightsArgs {
    /// Checkpoint: PyTorch, safetensors or .nnc, told by its content; a path, or one below the data folder
    #[arg(long, value_name = "FILE")]
    pub weights: PathBuf,
    /// Which dictionary of a PyTorch file holds the weights: its keys, joined by dots
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Rename tensors of the checkpoint; '*' stands for any text, such as 'fc.*=linear.*' (several times)
    #[arg(long, value_name = "OLD=NEW")]
    pub rename: Vec<Rename>,
}

/// How a checkpoint is held against a model.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct FitArgs {
    /// Refuse a checkpoint with tensors that the model has not
    #[arg(long)]
    strict: bool,
    /// List all tensors that do not fit, not only the first
    #[arg(long)]
    verbose: bool,
}

impl WeightsArgs {
    /// The file: as given, else below the data folder.
    pub(super) fn path(&self, global: &Global) -> Result<PathBuf> {
        let places = [self.weights.clone(), global.data_dir().join(&self.weights)];
        checkpoint::locate(&self.weights.display().to_string(), places)
    }

    /// The tensors; what was converted or folded is told on standard error.
    pub(super) fn open(&self, global: &Global) -> Result<Checkpoint> {
        let read = ReadOptions { key: self.key.clone(), renames: self.rename.clone(), as_stored: false };
        let checkpoint = checkpoint::open(&self.path(global)?, &read)?;
        checkpoint.notes.iter().for_each(|note| eprintln!("note: {note}"));
        Ok(checkpoint)
    }

    /// The parameters of a network; what was converted, folded or left out is told on standard error.
    pub(super) fn load(
        &self,
        global: &Global,
        network: &Network,
        device: &Device,
        fit: FitArgs,
    ) -> Result<Fitted> {
        self.fit(self.open(global)?, global, network, device, fit)
    }

    /// As [`load`](Self::load), of what [`open`](Self::open) gave.
    pub(super) fn fit(
        &self,
        checkpoint: Checkpoint,
        global: &Global,
        network: &Network,
        device: &Device,
        fit: FitArgs,
    ) -> Result<Fitted> {
        let options = FitOptions { strict: fit.strict, verbose: fit.verbose };
        let fitted = checkpoint.fit(&self.path(global)?, network, device, options)?;
        fitted.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        Ok(fitted)
    }
}

/// What a file says about how it was made, under these keys of its metadata.
pub(super) mod facts {
    /// Which subcommand wrote it.
    pub const WRITTEN_BY: &str = "written_by";
    /// The split of the data set on which relevance was computed.
    pub const RELEVANCE_SPLIT: &str = "relevance_split";
    /// That data set.
    pub const RELEVANCE_DATASET: &str = "relevance_dataset";
    /// How many of its samples.
    pub const RELEVANCE_SAMPLES: &str = "relevance_samples";
}
