//! Convolution: chooses the way to compute it. What the ways are stands in their own modules.
//!
//! Images are (batch, channels, height, width), weights (out, in / groups, kernel height, kernel width), row-major.

use super::buffer::written;
pub use super::conv_shape::ConvShape;
use super::epilogue::Epilogue;
use super::{depthwise, direct, direct_weight, unfold, winograd};

/// How convolutions are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConvAlgorithm {
    /// The fastest, the Winograd algorithm included. Errors are about 1e-6 of the largest values within two rows and
    /// columns: right for training and inference.
    #[serde(alias = "near")]
    Auto,
    /// No Winograd algorithm. Every value is a sum of its own products alone, so its error is one of its own terms: for
    /// what is divided by small results afterwards, as relevance is.
    #[serde(alias = "local")]
    Direct,
    /// As [`Self::Auto`], but Winograd's products take their factors in bf16 where both channel counts are multiples of 32,
    /// and add in f32: relative errors of about 2⁻⁸ of a product. For training alone.
    #[serde(skip)]
    Rounded,
}

impl ConvAlgorithm {
    /// Whether Winograd's algorithm may be used.
    fn is_near(self) -> bool {
        self != Self::Direct
    }

    /// Whether its factors are rounded.
    fn rounds(self) -> bool {
        self == Self::Rounded
    }
}

/// `conv(x, weight)`, then `epilogue`.
///
/// # Panics
/// When the slices do not fit `s`: a caller's defect.
pub fn forward(
    s: &ConvShape,
    x: &[f32],
    weight: &[f32],
    epilogue: &Epilogue<'_>,
    algorithm: ConvAlgorithm,
) -> Vec<f32> {
    s.check(x, weight);
    assert!(epilogue.fits(s.output[0]), "the epilogue has another number of channels");
    // SAFETY: each of the ways below writes every result of every sample.
    let (out, ()) = unsafe {
        written(s.batch * s.output_len(), |out| {
            if out.is_empty() {
            } else if depthwise::applies(s) {
                depthwise::forward(s, x, weight, epilogue, out);
            } else if algorithm.is_near() && winograd::applies(s) {
                winograd::forward(s, x, weight, epilogue, algorithm.rounds(), out);
            } else if direct::applies(s) {
                direct::forward(s, x, weight, epilogue, out);
            } else {
                unfold::forward(s, x, weight, epilogue, out);
            }
        })
    };
    out
}

/// 2 X Xᵀ of each group: the columns of X are the windows that `x` is unfolded into, in the order of a weight's row.
///
/// # Panics
/// When the slice does not fit `s`: a caller's defect.
pub fn moments(s: &ConvShape, x: &[f32]) -> Vec<Vec<f64>> {
    assert!(x.len() == s.batch * s.input_len());
    unfold::moments(s, x)
}

/// `∂/∂x ⟨grad, conv(x, weight)⟩`.
///
/// # Panics
/// When the slices do not fit `s`: a caller's defect.
pub fn backward_input(s: &ConvShape, grad: &[f32], weight: &[f32], algorithm: ConvAlgorithm) -> Vec<f32> {
    assert!(grad.len() == s.batch * s.output_len() && weight.len() == s.output[0] * s.patch());
    // SAFETY: each of the ways below writes every value of every sample.
    let (grad_x, ()) = unsafe {
        written(s.batch * s.input_len(), |grad_x| {
            if s.is_empty() {
                grad_x.fill(0.0);
            } else if depthwise::applies(s) {
                depthwise::backward_input(s, grad, weight, grad_x);
            } else if algorithm.is_near() && winograd::applies(s) {
                winograd::backward_input(&winograd::adjoint(s), grad, weight, algorithm.rounds(), grad_x);
            } else if s.stride == [1, 1]
                && let Some(adjoint) = direct::adjoint(s)
            {
                direct::backward_input(&adjoint, grad, weight, grad_x);
            } else {
                unfold::backward_input(s, grad, weight, grad_x);
            }
        })
    };
    grad_x
}

/// `∂/∂weight ⟨grad, conv(x, weight)⟩`, summed over the batch.
///
/// # Panics
/// When the slices do not fit `s`: a caller's defect.
pub fn backward_weight(s: &ConvShape, grad: &[f32], x: &[f32], algorithm: ConvAlgorithm) -> Vec<f32> {
    let length = s.output[0] * s.patch();
    assert!(grad.len() == s.batch * s.output_len() && x.len() == s.batch * s.input_len());
    // SAFETY: each of the ways below writes every value.
    let (grad_weight, ()) = unsafe {
        written(length, |grad_weight| {
            if s.is_empty() {
                grad_weight.fill(0.0);
            } else if depthwise::applies(s) {
                depthwise::backward_weight(s, grad, x, grad_weight);
            } else if algorithm.is_near() && winograd::applies(s) {
                winograd::backward_weight(s, grad, x, algorithm.rounds(), grad_weight);
            } else if direct_weight::applies(s) {
                direct_weight::backward_weight(s, grad, x, grad_weight);
            } else {
                unfold::backward_weight(s, grad, x, grad_weight);
            }
        })
    };
    grad_weight
}
