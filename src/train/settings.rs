//! What an experiment says about training: the `training:` and `baseline: {train: …}` entries of a YAML file.

use crate::data::{Dataset, Split, Task};
use crate::error::out_of_range;
use crate::nn::Backend;
use crate::nn::ops::ConvAlgorithm;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A training recipe. Every field has a default; ranges are checked by [`TrainingSpec::check`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingSpec {
    /// Passes over the training split, 1–10,000.
    pub epochs: usize,
    /// Samples per step, 1–65,536.
    pub batch_size: usize,
    /// Steps after which an epoch ends early; absent: the whole split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps_per_epoch: Option<usize>,
    /// `adam`, `adamw` or `sgd`.
    pub optimizer: OptimizerKind,
    /// Largest learning rate, above 0.
    pub learning_rate: f64,
    /// Weight decay of all trained weights, an L2 penalty but for `adamw`; absent: none. In quantization-aware training it is on the parameters that are
    /// not quantized; absent: 5e-6, as in the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Momentum of `sgd`, in [0, 1).
    pub momentum: f64,
    /// Nesterov's look-ahead for `sgd`.
    pub nesterov: bool,
    /// How the learning rate falls.
    pub schedule: Schedule,
    /// Epochs of linear warm-up at the start; may be a fraction.
    pub warmup_epochs: f64,
    /// Keep batch norm on its running statistics.
    pub frozen_batch_norm: bool,
    /// Share of the target that goes to all classes alike, in [0, 1); absent: none. The reported loss is without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_smoothing: Option<f64>,
    /// What training computes its widest convolutions with.
    #[serde(skip_serializing_if = "Precision::is_default")]
    pub precision: Precision,
    /// Which epoch's weights are kept.
    pub select: Selection,
}

impl Default for TrainingSpec {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 64,
            steps_per_epoch: None,
            optimizer: OptimizerKind::Adam,
            learning_rate: 1e-3,
            weight_decay: None,
            momentum: 0.9,
            nesterov: false,
            schedule: Schedule::Cosine,
            warmup_epochs: 0.0,
            frozen_batch_norm: false,
            label_smoothing: None,
            precision: Precision::F32,
            select: Selection::Last,
        }
    }
}

/// The optimizers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// Kingma & Ba 2015, β 0.9 and 0.999, ε 1e-8; weight decay as an L2 term in the gradient.
    Adam,
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019): weights shrink by rate × decay at every step.
    #[serde(rename = "adamw")]
    AdamW,
    /// Stochastic gradient descent with momentum.
    Sgd,
}

/// How the learning rate changes over a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Stays the same.
    Constant,
    /// Half a cosine from the full rate to zero, step by step.
    Cosine,
    /// A tenth after half, a hundredth after three quarters of the epochs.
    Step,
}

/// What training computes its widest convolutions with. Evaluation and relevance are f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// f32 throughout.
    F32,
    /// The factors of 3×3 convolutions whose channel counts are multiples of 32 are rounded to bf16 in the passes forward and
    /// back, sums are f32. Faster where the processor has AMX, and of the same results where it has not, but for the order of
    /// sums.
    Bf16,
}

impl Precision {
    /// Whether it goes without saying.
    fn is_default(&self) -> bool {
        *self == Self::F32
    }
}

/// Which epoch's weights are kept. Never decided on the test split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// The last epoch's.
    Last,
    /// Those of the epoch with the highest validation accuracy, the first of equals.
    BestValidation,
}

impl Selection {
    /// How a result says which weights it is about.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Last => "last epoch",
            Self::BestValidation => "best epoch on the validation split",
        }
    }
}

impl TrainingSpec {
    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::Input`] naming the field.
    pub fn check(&self) -> Result<()> {
        match self.out_of_range() {
            None => Ok(()),
            Some((name, what)) => Err(Error::input(format!("training: {name} {what}"))),
        }
    }

    /// The first field that is out of its range, and what is wrong with it.
    pub fn out_of_range(&self) -> Option<(&'static str, String)> {
        let ranges = [
            ("epochs", self.epochs as f64, 1.0, 10_000.0),
            ("batch_size", self.batch_size as f64, 1.0, 65_536.0),
            ("steps_per_epoch", self.steps_per_epoch.unwrap_or(1) as f64, 1.0, 1e9),
            ("learning_rate", self.learning_rate, f64::MIN_POSITIVE, 1e3),
            ("weight_decay", self.weight_decay.unwrap_or(0.0), 0.0, 1.0),
            ("label_smoothing", self.label_smoothing.unwrap_or(0.0), 0.0, 0.999_999),
            ("momentum", self.momentum, 0.0, 0.999_999),
            ("warmup_epochs", self.warmup_epochs, 0.0, self.epochs as f64),
        ];
        ranges.iter().find_map(|&(name, value, low, high)| Some((name, out_of_range(value, low, high)?)))
    }

    /// The recipe in one form: `weight_decay` written out, as `decay` where it is left out, and what the optimizer does not
    /// use at its default.
    pub fn resolved(&self, decay: f64) -> Self {
        let mut recipe = self.clone();
        recipe.weight_decay.get_or_insert(decay);
        recipe.label_smoothing = recipe.label_smoothing.filter(|share| *share > 0.0);
        if recipe.optimizer != OptimizerKind::Sgd {
            let Self { momentum, nesterov, .. } = Self::default();
            (recipe.momentum, recipe.nesterov) = (momentum, nesterov);
        }
        recipe
    }

    /// How exact convolutions are while training.
    pub(crate) fn convolutions(&self) -> ConvAlgorithm {
        match self.precision {
            Precision::F32 => ConvAlgorithm::Auto,
            Precision::Bf16 => ConvAlgorithm::Rounded,
        }
    }

    /// Checks every range, and that the recipe fits the data set and the backend: what both loops do first.
    ///
    /// # Errors
    /// [`Error::Input`] naming the field, for the best epoch on a validation split that is not there, for smoothed labels where
    /// a sample has any number of them, and for bf16 outside the CPU's native kernels.
    pub fn check_for(&self, dataset: &dyn Dataset, backend: Backend) -> Result<()> {
        self.check()?;
        self.check_selection(!dataset.is_empty(Split::Validation))?;
        self.check_task(dataset.task())?;
        self.check_backend(backend)
    }

    fn check_task(&self, task: Task) -> Result<()> {
        match (self.label_smoothing, task) {
            (Some(_), Task::MultiLabel) => Err(Error::input_hint(
                "training: label_smoothing is for data sets with one class per sample",
                "leave it out",
            )),
            _ => Ok(()),
        }
    }

    fn check_backend(&self, backend: Backend) -> Result<()> {
        match (self.precision, backend) {
            (Precision::F32, _) | (_, Backend::Native) => Ok(()),
            (Precision::Bf16, Backend::Composed) => Err(Error::input_hint(
                "training: precision: bf16 is computed by the native kernels of the CPU only",
                "leave precision out, or use --device cpu without ECQX_BACKEND=composed",
            )),
        }
    }

    /// Checks that the weights can be selected as asked.
    ///
    /// # Errors
    /// [`Error::Input`] when the best epoch on the validation split is wanted and there is no such split.
    pub fn check_selection(&self, has_validation: bool) -> Result<()> {
        match self.select {
            Selection::BestValidation if !has_validation => Err(Error::input_hint(
                "training: select: best_validation needs a validation split, and the data set has none",
                "use select: last, or give the data set a validation part",
            )),
            _ => Ok(()),
        }
    }

    /// Optimizer steps per epoch for a training split of `samples`.
    pub fn steps(&self, samples: usize) -> usize {
        let whole = super::batches::count(samples, self.batch_size).max(1);
        self.steps_per_epoch.map_or(whole, |limit| limit.min(whole))
    }
}
