//! Where the full-precision weights of a run come from.

use crate::train::TrainingSpec;
use serde::{Deserialize, Serialize};

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
    /// Trained on from a checkpoint, once for all runs that share data set, model, checkpoint, recipe and seed.
    FineTune {
        /// The checkpoint, as for [`Checkpoint`](Self::Checkpoint).
        checkpoint: String,
        /// Recipe.
        recipe: TrainingSpec,
        /// Seed of shuffling, augmentation and dropout, and of a last layer that begins anew.
        seed: u64,
    },
}

impl BaselineSpec {
    /// Every default of the recipe written out.
    pub(super) fn resolved(&self) -> Self {
        match self {
            Self::Checkpoint(path) => Self::Checkpoint(path.clone()),
            Self::Train { recipe, seed } => Self::Train { recipe: recipe.resolved(0.0), seed: *seed },
            Self::FineTune { checkpoint, recipe, seed } => {
                Self::FineTune { checkpoint: checkpoint.clone(), recipe: recipe.resolved(0.0), seed: *seed }
            }
        }
    }

    /// The recipe of weights that are trained here.
    pub fn recipe(&self) -> Option<&TrainingSpec> {
        match self {
            Self::Checkpoint(_) => None,
            Self::Train { recipe, .. } | Self::FineTune { recipe, .. } => Some(recipe),
        }
    }

    /// The checkpoint that the weights are, or begin from.
    pub fn checkpoint(&self) -> Option<&str> {
        match self {
            Self::Train { .. } => None,
            Self::Checkpoint(checkpoint) | Self::FineTune { checkpoint, .. } => Some(checkpoint),
        }
    }

    /// The same with another seed of the training.
    #[must_use]
    pub fn with_seed(&self, seed: u64) -> Self {
        let mut other = self.clone();
        if let Self::Train { seed: own, .. } | Self::FineTune { seed: own, .. } = &mut other {
            *own = seed;
        }
        other
    }
}
