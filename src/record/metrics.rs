//! Accuracy and loss: of a split, and of an epoch of training.

use serde::{Deserialize, Serialize};

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
