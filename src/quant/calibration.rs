//! What calibrating methods see of a layer: its inputs for some training samples, or their second moments.
//!
//! Not here: how the inputs are gathered (in [`crate::train::calibration`]), which is a loop's business.

/// What a method takes in of a layer's inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalibrationKind {
    /// The inputs themselves.
    Inputs,
    /// The matrix 2 X Xᵀ.
    Moments,
}

/// What a calibrating method asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalibrationNeeds {
    /// What it takes in.
    pub kind: CalibrationKind,
    /// Whether a layer's inputs are those that the earlier layers give with the weights that
    /// [`calibrate`](super::quantizer::Quantizer::calibrate) returned for them; otherwise full precision's.
    pub sequential: bool,
}

/// One layer's inputs for the calibration samples.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerCalibration {
    /// Name of the layer's weight.
    pub name: String,
    /// How many samples.
    pub samples: usize,
    /// Inputs or moments.
    pub data: CalibrationData,
}

/// Inputs or their second moments.
#[derive(Clone, Debug, PartialEq)]
pub enum CalibrationData {
    /// The layer's inputs, row-major.
    Inputs {
        /// (samples, features) or (samples, channels, height, width).
        shape: Vec<usize>,
        /// Values.
        values: Vec<f32>,
    },
    /// 2 X Xᵀ of each group of channels.
    Moments(Moments),
}

/// 2 X Xᵀ: the columns of X are what one output value is computed from — a sample's features, or the window of a
/// convolution at one position of one sample (zeros of the padding included), in the order of a weight's row.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Rows of X: weights of one output.
    pub size: usize,
    /// Columns of X over all samples.
    pub columns: usize,
    /// The symmetric matrices (size × size, row-major), one per group of channels.
    pub groups: Vec<Vec<f64>>,
}

impl LayerCalibration {
    /// The moments, where these were asked for.
    pub fn moments(&self) -> Option<&Moments> {
        match &self.data {
            CalibrationData::Moments(moments) => Some(moments),
            CalibrationData::Inputs { .. } => None,
        }
    }
}
