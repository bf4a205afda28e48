//! Mel-frequency cepstral coefficients: 16 kHz audio → one row of coefficients per frame.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How audio becomes cepstral coefficients. The defaults give 49 frames × 10 coefficients for one second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MfccSettings {
    /// Length of a frame in milliseconds.
    pub window_ms: f64,
    /// Distance between frames in milliseconds.
    pub hop_ms: f64,
    /// Coefficients kept per frame, from the zeroth on.
    pub coefficients: usize,
    /// Triangular filters on the mel scale.
    pub bands: usize,
    /// Lower end of the first filter in Hz.
    pub low_hz: f64,
    /// Upper end of the last filter in Hz, at most half the sampling rate.
    pub high_hz: f64,
}

impl Default for MfccSettings {
    fn default() -> Self {
        Self { window_ms: 40.0, hop_ms: 20.0, coefficients: 10, bands: 40, low_hz: 20.0, high_hz: 4000.0 }
    }
}

impl MfccSettings {
    /// Checks ranges; `place` starts the message.
    ///
    /// # Errors
    /// [`Error::Input`] that names the setting.
    pub fn check(&self, place: &str) -> Result<()> {
        let fail = |what: String| Err(Error::input(format!("{place}: {what}")));
        if !(5.0..=500.0).contains(&self.window_ms) || !(1.0..=500.0).contains(&self.hop_ms) {
            return fail("window_ms must be in 5 to 500 and hop_ms in 1 to 500".into());
        }
        if !(1..=256).contains(&self.bands) || !(1..=self.bands).contains(&self.coefficients) {
            return fail("bands must be in 1 to 256 and coefficients in 1 to bands".into());
        }
        if !(0.0 <= self.low_hz && self.low_hz < self.high_hz && self.high_hz <= 8000.0) {
            return fail("0 ≤ low_hz < high_hz ≤ 8000 must hold".into());
        }
        Ok(())
    }
}
