//! What the codec alone does to trained weights: multiples of one step for all tensors, chosen by squared error (or with a
//! rate term), uniformly or through the trellis of dependent quantization.

use super::method::{Method, Role};
use super::per_tensor::{PerTensor, TensorQuantizer};
use super::quantizer::{Content, FloatCoding, StepInfo, WeightTensor};
use super::scalar::{DENSITY, dequantize, quantize_with_rate};
use super::scope::Bits;
use crate::registry::Parameter;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "nnc",
    display: "NNC",
    about: "the codec's own quantization: one step for all tensors, dependent (trellis-coded) or uniform",
    bits: Bits::None,
    needs_relevance: false,
    needs_calibration: false,
    parameters: &[
        Parameter::number(
            "qp",
            "quantization parameter, a whole number; four steps per octave",
            (-128.0, 64.0),
            -40.0,
        ),
        Parameter::switch("dq", "dependent (trellis-coded) quantization", true),
        Parameter::number(
            "lambda",
            "squared error, in steps, that a bit is worth; 0: error alone",
            (0.0, 10.0),
            0.0,
        ),
    ],
    strength: Some("qp"),
    role: Role::Rival,
    revision: 1,
    build: |setup| {
        let settings: Settings = setup.settings()?;
        if settings.qp.fract() != 0.0 {
            return Err(Error::input(format!(
                "method nnc: qp must be a whole number, found {}",
                settings.qp
            )));
        }
        let coding = FloatCoding { qp: settings.qp as i32, dependent: settings.dq };
        Ok(PerTensor::boxed(setup, Nnc { coding, lambda: settings.lambda }))
    },
};

#[derive(Deserialize)]
struct Settings {
    qp: f64,
    dq: bool,
    lambda: f64,
}

struct Nnc {
    coding: FloatCoding,
    lambda: f64,
}

/// What is kept of a tensor.
#[derive(Serialize, Deserialize)]
struct Fitted {
    /// The largest finite |w|: what infinite weights become.
    largest: f32,
}

impl TensorQuantizer for Nnc {
    type Fitted = Fitted;

    fn fit(&self, weights: &WeightTensor<'_>, _: Option<u32>) -> Result<Option<Fitted>> {
        let finite = weights.values.iter().filter(|w| w.is_finite());
        let largest = finite.fold(0.0f32, |most, w| most.max(w.abs()));
        Ok((largest > 0.0).then_some(Fitted { largest }))
    }

    fn assign(&self, fitted: &mut Fitted, weights: &WeightTensor<'_>, _: StepInfo) -> Content {
        let finite = |&w: &f32| {
            if w.is_nan() {
                0.0
            } else if w.is_finite() {
                w
            } else {
                fitted.largest.copysign(w)
            }
        };
        let values: Vec<f32> = weights.values.iter().map(finite).collect();
        let FloatCoding { qp, dependent } = self.coding;
        Content::Values(match quantize_with_rate(&values, qp, DENSITY, dependent, self.lambda) {
            Some((integers, qp)) => dequantize(&integers, qp, DENSITY),
            // Beyond what 32 bits can hold at any step: the codec says so when the file is written.
            None => values,
        })
    }

    fn coding(&self) -> Option<FloatCoding> {
        Some(self.coding)
    }
}
