//! What goes in and out of quantizers: weight tensors, their quantized content, and where in the schedule a step is.

use super::codebook::Codebook;

/// One weight tensor handed to a quantizer: full-precision values (during training the latent weights).
#[derive(Clone, Copy, Debug)]
pub struct WeightTensor<'a> {
    /// Parameter name, such as `conv1.weight`.
    pub name: &'a str,
    /// Dimensions.
    pub shape: &'a [usize],
    /// Values, row-major.
    pub values: &'a [f32],
}

impl WeightTensor<'_> {
    /// The tensor with quantized content.
    pub fn quantized(&self, content: Content) -> QuantizedTensor {
        QuantizedTensor { name: self.name.into(), shape: self.shape.to_vec(), content }
    }
}

/// Makes NaN weights zero, before a method sees them; what to warn of, if any is not finite.
pub fn replace_undefined(name: &str, values: &mut [f32]) -> Option<String> {
    let count = values.iter().filter(|value| !value.is_finite()).count();
    values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
    (count > 0).then(|| {
        format!("{name}: {count} of {} weights are not finite: NaN weights count as zero", values.len())
    })
}

/// A quantized weight tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedTensor {
    /// Parameter name.
    pub name: String,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Values or level indices.
    pub content: Content,
}

/// What a quantized tensor holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Levels of a codebook, row-major.
    Levels {
        /// Position in the codebook of each weight's level: 0 is the lowest.
        positions: Vec<u8>,
        /// What the positions stand for.
        codebook: Codebook,
    },
    /// Full-precision values with exact zeros: pruning without levels.
    Values(Vec<f32>),
}

impl Content {
    /// `count` zeros: a tensor for which no codebook can be built.
    pub fn zeros(count: usize) -> Self {
        Self::Levels { positions: vec![0; count], codebook: Codebook::ZERO }
    }

    /// Signed level indices of a codebook; `None` for one outside the codebook, or a codebook of more than 256 levels.
    pub fn of_levels(levels: &[i32], codebook: Codebook) -> Option<Self> {
        let (lowest, highest) = codebook.range();
        let position = |level: &i32| {
            let inside = (lowest..=highest).contains(level);
            inside.then(|| u8::try_from(i64::from(*level) - i64::from(lowest)).ok()).flatten()
        };
        let positions = levels.iter().map(position).collect::<Option<_>>()?;
        Some(Self::Levels { positions, codebook })
    }

    /// Whether the tensor has levels of a codebook.
    pub fn has_levels(&self) -> bool {
        matches!(self, Self::Levels { .. })
    }

    /// How many weights are zero, and how many there are.
    pub fn zeros_and_count(&self) -> (usize, usize) {
        match self {
            Self::Levels { positions, codebook } => (codebook.zeros(positions), positions.len()),
            Self::Values(values) => (values.iter().filter(|value| **value == 0.0).count(), values.len()),
        }
    }

    /// The values, row-major.
    pub fn values(&self) -> Vec<f32> {
        match self {
            Self::Levels { positions, codebook } => codebook.values_of(positions),
            Self::Values(values) => values.clone(),
        }
    }
}

/// What methods warn of where a layer has nothing to fit a codebook to.
pub(crate) const ALL_ZEROS: &str = "no finite weight differs from zero: the layer is all zeros";

/// Where in the schedule an assignment happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepInfo {
    /// Optimizer steps done so far (0 for the first assignment and for post-training quantization).
    pub step: usize,
    /// Optimizer steps in the whole run; 0 means post-training quantization.
    pub total_steps: usize,
    /// Epoch, from 0.
    pub epoch: usize,
    /// Epochs in the whole run.
    pub epochs: usize,
}

impl StepInfo {
    /// The single assignment of post-training quantization.
    pub const POST_TRAINING: Self = Self { step: 0, total_steps: 0, epoch: 0, epochs: 0 };
}
