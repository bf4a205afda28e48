//! What is asked of a model: one class per sample, or any number of labels.

use serde::{Deserialize, Serialize};

/// The kind of a data set's targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Every sample is of one class. Of pictures with several objects: that of the largest.
    #[default]
    #[serde(rename = "largest_object")]
    SingleLabel,
    /// Every sample has any number of the labels; some may count neither way.
    MultiLabel,
}

impl Task {
    /// The task as a setting: nothing for what is done where nothing is said, so that both mean one run.
    pub(super) fn setting(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }
}
