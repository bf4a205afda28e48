//! How often relevance is computed in training, and from how many samples of a batch.

use super::quantizer::StepInfo;
use crate::registry::{Choice, Parameter};
use serde::Deserialize;

/// Every batch had its relevance before there was a choice.
pub(super) const RELEVANCE_EVERY: Parameter = Parameter::whole(
    "relevance_every",
    "compute relevance on every k-th batch in training; it stays in between",
    (1, 1_000_000),
    1,
)
.added(Choice::Whole(1));

/// All samples of the batch where it is left out.
pub(super) const RELEVANCE_SAMPLES: Parameter = Parameter::whole(
    "relevance_samples",
    "compute relevance from the first n samples of a training batch (default: all)",
    (1, 1_000_000),
    1,
)
.open();

/// The values of both parameters.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct RelevanceSchedule {
    relevance_every: usize,
    relevance_samples: Option<usize>,
}

impl RelevanceSchedule {
    /// Whether the batch of this step has its relevance computed: the first, and every k-th from there on. A function of
    /// the step alone, so that a resumed run continues alike.
    pub fn due(&self, at: StepInfo) -> bool {
        at.step.saturating_sub(1).is_multiple_of(self.relevance_every.max(1))
    }

    /// Samples of a batch; all where `None`.
    pub fn samples(&self) -> Option<usize> {
        self.relevance_samples
    }
}
