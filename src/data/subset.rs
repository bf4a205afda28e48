//! A smaller data set made of every n-th sample of another, for short runs.

use super::{Dataset, PlacedImages, Samples, Split, Task, digest};
use crate::Result;
use crate::rng::Rng;
use std::sync::Arc;

/// Limits the samples per split. The samples kept are spread evenly over the split, because files are often sorted by class.
pub(super) struct Subset {
    inner: Arc<dyn Dataset>,
    lengths: [usize; 3],
    digest: String,
}

impl Subset {
    /// At most `samples` of `inner`.
    pub(super) fn new(inner: Arc<dyn Dataset>, samples: Samples) -> Self {
        let limit = |split, limit: Option<usize>| inner.len(split).min(limit.unwrap_or(usize::MAX));
        let lengths = [
            limit(Split::Train, samples.train),
            limit(Split::Validation, samples.validation),
            limit(Split::Test, samples.test),
        ];
        let digest = digest::settings(inner.digest(), &lengths);
        Self { inner, lengths, digest }
    }

    /// Samples of the whole set.
    fn spread(&self, split: Split, indices: &[usize]) -> Vec<usize> {
        let (kept, all) = (self.lengths[split as usize].max(1), self.inner.len(split));
        indices.iter().map(|i| i * all / kept).collect()
    }
}

impl Dataset for Subset {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn classes(&self) -> &[String] {
        self.inner.classes()
    }
    fn task(&self) -> Task {
        self.inner.task()
    }
    fn input_shape(&self) -> &[usize] {
        self.inner.input_shape()
    }
    fn len(&self, split: Split) -> usize {
        self.lengths[split as usize]
    }
    fn digest(&self) -> &str {
        &self.digest
    }
    fn notes(&self) -> Vec<String> {
        self.inner.notes()
    }
    fn fill(
        &self,
        split: Split,
        indices: &[usize],
        augment: Option<&mut Rng>,
        inputs: &mut [f32],
        targets: &mut [u32],
    ) -> Result<()> {
        self.inner.fill(split, &self.spread(split, indices), augment, inputs, targets)
    }
    fn placed(
        &self,
        split: Split,
        indices: &[usize],
        augment: Option<&mut Rng>,
        targets: &mut [u32],
    ) -> Result<Option<PlacedImages>> {
        self.inner.placed(split, &self.spread(split, indices), augment, targets)
    }
}
