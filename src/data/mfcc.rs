//! Mel-frequency cepstral coefficients, or the log energies they are made of: 16 kHz audio → one row per frame.

use crate::{Error, Result};
use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};
use serde::{Deserialize, Serialize};
use std::f64::consts::{PI, TAU};
use std::sync::Arc;

/// Samples per second of all audio here.
pub(super) const RATE: usize = 16_000;
/// Band energies below this are indistinguishable from digital silence; keeps the logarithm finite.
const FLOOR: f32 = 1e-6;

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
    /// The logarithms of the filters' energies, `bands` per frame, in place of coefficients.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub log_mel: bool,
}

impl Default for MfccSettings {
    fn default() -> Self {
        Self {
            window_ms: 40.0,
            hop_ms: 20.0,
            coefficients: 10,
            bands: 40,
            low_hz: 20.0,
            high_hz: 4000.0,
            log_mel: false,
        }
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
        let coefficients = if self.log_mel { self.bands } else { self.coefficients };
        if !(1..=256).contains(&self.bands) || !(1..=self.bands).contains(&coefficients) {
            return fail("bands must be in 1 to 256 and coefficients in 1 to bands".into());
        }
        if !(0.0 <= self.low_hz && self.low_hz < self.high_hz && self.high_hz <= 8000.0) {
            return fail("0 ≤ low_hz < high_hz ≤ 8000 must hold".into());
        }
        Ok(())
    }
}

/// A prepared transform of clips of one length.
pub(super) struct Mfcc {
    hop: usize,
    frames: usize,
    /// Values per frame.
    coefficients: usize,
    log_mel: bool,
    window: Vec<f32>,
    fft: Arc<dyn RealToComplex<f32>>,
    filters: Vec<Filter>,
    /// coefficients × bands, orthonormal.
    cosines: Vec<f32>,
}

/// A triangle over consecutive frequency bins.
struct Filter {
    first: usize,
    weights: Vec<f32>,
}

impl Mfcc {
    /// The transform for clips of `samples` samples at 16 kHz.
    ///
    /// # Errors
    /// [`Error::Input`] for settings out of range, or a window longer than a clip.
    pub(super) fn new(settings: &MfccSettings, samples: usize) -> Result<Self> {
        settings.check("mfcc")?;
        let in_samples = |ms: f64| (ms * RATE as f64 / 1000.0).round() as usize;
        let (length, hop) = (in_samples(settings.window_ms), in_samples(settings.hop_ms));
        if length > samples {
            return Err(Error::input("mfcc: the window is longer than a clip"));
        }
        let padded = length.next_power_of_two();
        let hann = |n| (0.5 - 0.5 * (TAU * n as f64 / length as f64).cos()) as f32;
        Ok(Self {
            hop,
            frames: (samples - length) / hop + 1,
            coefficients: if settings.log_mel { settings.bands } else { settings.coefficients },
            log_mel: settings.log_mel,
            window: (0..length).map(hann).collect(),
            fft: RealFftPlanner::new().plan_fft_forward(padded),
            filters: mel_filters(settings, padded),
            cosines: cosines(settings.coefficients, settings.bands),
        })
    }

    /// Frames × coefficients.
    pub(super) fn shape(&self) -> [usize; 2] {
        [self.frames, self.coefficients]
    }

    /// Writes frames × coefficients values; `clip` holds samples in −1..=1.
    pub(super) fn transform(&self, clip: &[f32], output: &mut [f32]) {
        let mut frame = self.fft.make_input_vec();
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        let mut energies = vec![0f32; self.filters.len()];
        for (index, row) in output.chunks_exact_mut(self.coefficients).enumerate() {
            frame.fill(0.0);
            for ((to, from), weight) in frame.iter_mut().zip(&clip[index * self.hop..]).zip(&self.window) {
                *to = from * weight;
            }
            // Fails only on buffers of other lengths than the plan's own.
            let transformed = self.fft.process_with_scratch(&mut frame, &mut spectrum, &mut scratch);
            debug_assert!(transformed.is_ok());
            for (energy, filter) in energies.iter_mut().zip(&self.filters) {
                *energy = filter.energy(&spectrum).max(FLOOR).ln();
            }
            if self.log_mel {
                row.copy_from_slice(&energies);
                continue;
            }
            for (value, cosines) in row.iter_mut().zip(self.cosines.chunks_exact(energies.len())) {
                *value = cosines.iter().zip(&energies).map(|(c, e)| c * e).sum();
            }
        }
    }
}

impl Filter {
    fn energy(&self, spectrum: &[Complex<f32>]) -> f32 {
        spectrum[self.first..].iter().zip(&self.weights).map(|(bin, weight)| bin.norm_sqr() * weight).sum()
    }
}

/// Triangles whose corners are equally spaced on the mel scale m = 1127 ln(1 + f / 700).
fn mel_filters(settings: &MfccSettings, fft_length: usize) -> Vec<Filter> {
    let mel = |hz: f64| 1127.0 * (1.0 + hz / 700.0).ln();
    let (low, high) = (mel(settings.low_hz), mel(settings.high_hz));
    let corner = |i: usize| low + (high - low) * i as f64 / (settings.bands + 1) as f64;
    let bin_mel: Vec<f64> =
        (0..=fft_length / 2).map(|bin| mel(bin as f64 * RATE as f64 / fft_length as f64)).collect();
    let width = corner(1) - corner(0);
    (0..settings.bands)
        .map(|band| {
            let (from, centre, to) = (corner(band), corner(band + 1), corner(band + 2));
            let first = bin_mel.partition_point(|m| *m <= from);
            let last = bin_mel.partition_point(|m| *m < to).max(first);
            let weights =
                bin_mel[first..last].iter().map(|m| (1.0 - (m - centre).abs() / width) as f32).collect();
            Filter { first, weights }
        })
        .collect()
}

/// Rows of the orthonormal discrete cosine transform of type II.
fn cosines(coefficients: usize, bands: usize) -> Vec<f32> {
    let value = |k: usize, n: usize| {
        let scale = if k == 0 { 1.0 } else { 2.0 };
        (f64::sqrt(scale / bands as f64) * (PI * k as f64 * (n as f64 + 0.5) / bands as f64).cos()) as f32
    };
    (0..coefficients).flat_map(|k| (0..bands).map(move |n| value(k, n))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The default settings must give the 49 × 10 input that `mlp-gsc` is built for.
    #[test]
    fn one_second_gives_49_by_10() {
        let mfcc = Mfcc::new(&MfccSettings::default(), RATE).unwrap();
        assert_eq!(mfcc.shape(), [49, 10]);
    }

    /// A pure tone must put its energy into the band around its frequency: checked against a direct Fourier sum.
    #[test]
    fn tone_lands_in_its_band() {
        let settings = MfccSettings { coefficients: 40, ..MfccSettings::default() };
        let mfcc = Mfcc::new(&settings, RATE).unwrap();
        let tone: Vec<f32> =
            (0..RATE).map(|n| (TAU * 1000.0 * n as f64 / RATE as f64).sin() as f32).collect();
        let mut rows = vec![0.0; 49 * 40];
        mfcc.transform(&tone, &mut rows);
        // Back from cepstrum to log energies: the transform is orthonormal.
        let log_energy =
            |band: usize| -> f32 { (0..40).map(|k| rows[k] * mfcc.cosines[k * 40 + band]).sum() };
        let loudest = (0..40).max_by(|a, b| log_energy(*a).total_cmp(&log_energy(*b))).unwrap();
        let filter = &mfcc.filters[loudest];
        assert!((filter.first..filter.first + filter.weights.len()).contains(&64), "bin 64 is 1000 Hz");
        let direct: f64 = (filter.first..filter.first + filter.weights.len())
            .zip(&filter.weights)
            .map(|(bin, weight)| {
                let (mut re, mut im) = (0f64, 0f64);
                for (n, (x, w)) in tone.iter().zip(&mfcc.window).enumerate() {
                    let angle = TAU * bin as f64 * n as f64 / 1024.0;
                    re += f64::from(x * w) * angle.cos();
                    im -= f64::from(x * w) * angle.sin();
                }
                (re * re + im * im) * f64::from(*weight)
            })
            .sum();
        assert!((f64::from(log_energy(loudest)) - direct.ln()).abs() < 1e-3);
    }

    /// Log-mel features are the energies that the coefficients are the cosine transform of; settings without them are
    /// written as before, so that data sets keep their digests.
    #[test]
    fn log_mel_is_what_the_cepstrum_is_made_of() {
        let settings = MfccSettings { log_mel: true, bands: 12, ..MfccSettings::default() };
        let log_mel = Mfcc::new(&settings, RATE).unwrap();
        let mfcc = Mfcc::new(&MfccSettings { log_mel: false, ..settings }, RATE).unwrap();
        assert_eq!((log_mel.shape(), mfcc.shape()), ([49, 12], [49, 10]));
        let clip: Vec<f32> = (0..RATE).map(|n| ((n * n) as f32 * 1e-4).sin() * 0.3).collect();
        let (mut energies, mut coefficients) = (vec![0.0; 49 * 12], vec![0.0; 49 * 10]);
        log_mel.transform(&clip, &mut energies);
        mfcc.transform(&clip, &mut coefficients);
        for (frame, row) in coefficients.chunks_exact(10).enumerate() {
            for (k, value) in row.iter().enumerate() {
                let sum: f32 = (0..12).map(|n| mfcc.cosines[k * 12 + n] * energies[frame * 12 + n]).sum();
                assert!((sum - value).abs() < 1e-3, "{sum} {value}");
            }
        }
        let text = serde_json::to_string(&MfccSettings::default()).unwrap();
        assert!(!text.contains("log_mel"), "{text}");
        assert!(MfccSettings { log_mel: true, bands: 8, ..MfccSettings::default() }.check("mfcc").is_ok());
    }

    /// Digital silence must give finite values.
    #[test]
    fn silence_is_finite() {
        let mfcc = Mfcc::new(&MfccSettings::default(), RATE).unwrap();
        let mut rows = vec![f32::NAN; 490];
        mfcc.transform(&vec![0.0; RATE], &mut rows);
        assert!(rows.iter().all(|v| v.is_finite()));
    }

    /// Settings that make no sense must be refused by name, not divide by zero.
    #[test]
    fn bad_settings_are_refused() {
        for settings in [
            MfccSettings { hop_ms: 0.0, ..MfccSettings::default() },
            MfccSettings { coefficients: 41, ..MfccSettings::default() },
            MfccSettings { high_hz: 9000.0, ..MfccSettings::default() },
            MfccSettings { window_ms: f64::NAN, ..MfccSettings::default() },
        ] {
            assert!(Mfcc::new(&settings, RATE).is_err());
        }
        assert!(Mfcc::new(&MfccSettings::default(), 100).is_err());
    }
}
