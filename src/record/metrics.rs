//! Accuracy and loss: of a split, and of an epoch of training.

use super::metric::{Metric, Score};
use serde::{Deserialize, Serialize};

/// What a model reaches on one split. Accuracies are percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The metrics of the task.
    #[serde(flatten)]
    pub score: Score,
    /// Mean (of labels: binary) cross entropy, nats; NaN (`null` in JSON) where any sample has logits that are not finite.
    #[serde(deserialize_with = "or_nan")]
    pub loss: f64,
    /// Number of samples.
    pub n: usize,
    /// Samples whose logits hold an infinity or NaN: they count as wrong.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub non_finite: usize,
}

impl Metrics {
    /// The value of the task's metric (top-1 accuracy, mean average precision), percent.
    pub fn value(&self) -> f64 {
        self.score.value()
    }

    /// The task's metric.
    pub fn metric(&self) -> Metric {
        self.score.metric()
    }

    /// All metrics with their values, the task's own first.
    pub fn list(&self) -> Vec<(Metric, f64)> {
        let mut list = self.score.list();
        list.push((Metric::Loss, self.loss));
        list
    }

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
    /// Validation accuracy, percent; absent in tasks of several labels.
    pub validation_top1: Option<f64>,
    /// Validation mean average precision, percent; in tasks of several labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_map: Option<f64>,
    /// Validation loss, nats.
    pub validation_loss: Option<f64>,
    /// Share of zeros over the quantized weights, 0–1.
    pub sparsity: Option<f64>,
    /// Learning rate at the end of the epoch.
    pub learning_rate: Option<f64>,
    /// Wall time of the epoch, seconds.
    pub seconds: f64,
}

impl EpochMetrics {
    /// The validation value of the task's metric, percent.
    pub fn validation_value(&self) -> Option<f64> {
        self.validation_top1.or(self.validation_map)
    }

    /// The metric of [`validation_value`](Self::validation_value).
    pub fn metric(&self) -> Metric {
        if self.validation_map.is_some() { Metric::Map } else { Metric::Top1 }
    }
}
