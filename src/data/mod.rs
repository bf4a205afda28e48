//! Data sets: one file per family, splits, batches, augmentation, MFCC.

use crate::Result;
use crate::rng::Rng;

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// What models learn from.
    Train,
    /// Held-out part of the training data: the only split that may select anything.
    Validation,
    /// What results are reported on.
    Test,
}

/// A data set in memory (or memory-mapped): inputs as f32 after normalisation, one class per sample.
pub trait Dataset: Send + Sync {
    /// Name in the registry.
    fn name(&self) -> &str;
    /// Class names in label order.
    fn classes(&self) -> &[String];
    /// Shape of one input without the batch axis, such as `[3, 32, 32]` or `[1, 49, 10]`.
    fn input_shape(&self) -> &[usize];
    /// Number of samples in a split.
    fn len(&self, split: Split) -> usize;
    /// Whether a split has no samples.
    fn is_empty(&self, split: Split) -> bool {
        self.len(split) == 0
    }
    /// Content digest (hex) of everything that decides the values this set gives: files, settings, generator version.
    fn digest(&self) -> &str;
    /// Writes the inputs of samples `indices` of `split` one after the other into `inputs` and their classes into
    /// `targets`. With `augment`, applies the set's configured training augmentation, drawing from the generator.
    fn fill(
        &self,
        split: Split,
        indices: &[usize],
        augment: Option<&mut Rng>,
        inputs: &mut [f32],
        targets: &mut [u32],
    ) -> Result<()>;
}
