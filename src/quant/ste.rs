//! How the gradient of the quantized weights becomes that of the latent ones (straight-through estimator).

use crate::nn::kernels::elementwise::vectorised;
use serde::{Deserialize, Serialize};

/// Scaling of the straight-through gradient by the level in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SteScale {
    /// As it is (straight-through).
    None,
    /// Times the magnitude of the level in use; as it is on zero.
    CentroidAbs,
    /// Times the signed value of the level in use (the reference); as it is on zero.
    CentroidSigned,
}

impl SteScale {
    /// Scales one gradient by the value of its weight's level.
    #[inline]
    pub fn apply(self, gradient: f32, level: f32) -> f32 {
        let scaled = match self {
            Self::None => gradient,
            Self::CentroidAbs => gradient * level.abs(),
            Self::CentroidSigned => gradient * level,
        };
        if level == 0.0 { gradient } else { scaled }
    }

    /// [`apply`](Self::apply) for gradients and codebook positions of one length.
    pub fn apply_with(self, gradient: &mut [f32], positions: &[u8], level: impl Fn(u8) -> f32) {
        let pairs = gradient.iter_mut().zip(positions);
        // One loop for each choice, each without branches.
        match self {
            Self::None => {}
            Self::CentroidAbs => vectorised(|| {
                pairs.for_each(|(gradient, &at)| *gradient = Self::CentroidAbs.apply(*gradient, level(at)));
            }),
            Self::CentroidSigned => vectorised(|| {
                pairs
                    .for_each(|(gradient, &at)| *gradient = Self::CentroidSigned.apply(*gradient, level(at)));
            }),
        }
    }
}
