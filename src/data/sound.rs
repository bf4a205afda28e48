//! Sound of any sample type, channel count and rate → one channel of 16-bit samples at 16 kHz.
//!
//! Channels are mixed by their mean. Rates are changed by a windowed sinc: linear phase, no delay, cutoff below the lower
//! of the two Nyquist frequencies.

use super::mfcc::RATE;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;
use std::ops::RangeInclusive;
use std::sync::OnceLock;

/// Raise when conversion gives other samples.
pub(super) const VERSION: u32 = 1;
/// Rates that sound is recorded at, Hz; bounds what a damaged header costs.
pub(super) const RATES: RangeInclusive<u32> = 4_000..=384_000;

/// What happens to recordings that are not as the features need them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioSettings {
    /// Convert other rates, channel counts and sample types to 16 kHz, one channel, 16 bits, instead of refusing them.
    pub convert: bool,
}

/// How one sample is stored, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Unsigned8,
    Signed16,
    Signed24,
    Signed32,
    Float32,
    Float64,
}

impl Coding {
    fn bytes(self) -> usize {
        match self {
            Self::Unsigned8 => 1,
            Self::Signed16 => 2,
            Self::Signed24 => 3,
            Self::Signed32 | Self::Float32 => 4,
            Self::Float64 => 8,
        }
    }

    /// For messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unsigned8 => "8-bit integer",
            Self::Signed16 => "16-bit integer",
            Self::Signed24 => "24-bit integer",
            Self::Signed32 => "32-bit integer",
            Self::Float32 => "32-bit float",
            Self::Float64 => "64-bit float",
        }
    }

    /// The value of one sample in −1..=1; floats may go beyond.
    fn value(self, b: &[u8]) -> f64 {
        match self {
            Self::Unsigned8 => (f64::from(b[0]) - 128.0) / 128.0,
            Self::Signed16 => f64::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0,
            // The missing low byte is zero.
            Self::Signed24 => f64::from(i32::from_le_bytes([0, b[0], b[1], b[2]])) / 2_147_483_648.0,
            Self::Signed32 => f64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]])) / 2_147_483_648.0,
            Self::Float32 => f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            Self::Float64 => f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
        }
    }
}

/// How frames are stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub coding: Coding,
    /// Interleaved channels, at least one.
    pub channels: usize,
}

impl Layout {
    /// Bytes of one sample of every channel.
    pub(super) fn frame_bytes(self) -> usize {
        self.coding.bytes() * self.channels
    }
}

/// Whole frames of `rate` Hz as 16-bit samples at 16 kHz, rounded and clipped.
///
/// # Errors
/// The index of the first frame that holds an infinity or NaN.
pub(super) fn convert(data: &[u8], layout: Layout, rate: u32) -> Result<Vec<i16>, usize> {
    let mix = |(index, frame): (usize, &[u8])| {
        let sum: f64 =
            frame.chunks_exact(layout.coding.bytes()).map(|sample| layout.coding.value(sample)).sum();
        let mean = (sum / layout.channels as f64) as f32;
        if mean.is_finite() { Ok(mean) } else { Err(index) }
    };
    let mono =
        data.chunks_exact(layout.frame_bytes()).enumerate().map(mix).collect::<Result<Vec<f32>, _>>()?;
    let resampled = if rate as usize == RATE { mono } else { resample(&mono, rate) };
    Ok(resampled
        .into_iter()
        .map(|value| (value * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16)
        .collect())
}

/// Zero crossings of the sinc on each side.
const CROSSINGS: usize = 32;
/// Points of the kernel's table per zero crossing; between them it is interpolated linearly.
const POINTS: usize = 1024;
/// Cutoff over the lower Nyquist frequency: the transition band of this kernel ends there.
const CUTOFF: f64 = 0.91;
/// Shape of the Kaiser window: about 90 dB of attenuation.
const BETA: f64 = 9.0;

/// One side of the kernel sinc(u) · window(u) for u from 0 to [`CROSSINGS`].
fn kernel() -> &'static [f32] {
    static TABLE: OnceLock<Vec<f32>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let at = |index: usize| {
            let u = index as f64 / POINTS as f64;
            let sinc = if index == 0 { 1.0 } else { (PI * u).sin() / (PI * u) };
            let inside = 1.0 - (u / CROSSINGS as f64).powi(2);
            (sinc * bessel(BETA * inside.max(0.0).sqrt()) / bessel(BETA)) as f32
        };
        // One point more than is reached, for the interpolation.
        (0..=CROSSINGS * POINTS + 1).map(at).collect()
    })
}

/// The modified Bessel function of order zero, by its series.
fn bessel(x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..50 {
        term *= (x / (2.0 * f64::from(k))).powi(2);
        sum += term;
    }
    sum
}

/// `input` of `rate` Hz at 16 kHz; zeros are assumed around it. Output sample n is at the time of input position
/// n · rate / 16 000.
fn resample(input: &[f32], rate: u32) -> Vec<f32> {
    let step = f64::from(rate) / RATE as f64;
    // Zero crossings of the kernel per input sample.
    let density = CUTOFF * (1.0 / step).min(1.0);
    let reach = CROSSINGS as f64 / density;
    let table = kernel();
    let length = (input.len() as f64 / step).round() as usize;
    let at = |n: usize| {
        let centre = n as f64 * step;
        let first = (centre - reach).ceil().max(0.0) as usize;
        let last = ((centre + reach).floor() as usize).min(input.len().saturating_sub(1));
        let mut sum = 0.0f32;
        for (index, value) in input.iter().enumerate().take(last + 1).skip(first) {
            let place = (index as f64 - centre).abs() * density * POINTS as f64;
            let point = (place as usize).min(CROSSINGS * POINTS);
            let part = (place - point as f64) as f32;
            sum += value * (table[point] + part * (table[point + 1] - table[point]));
        }
        sum * density as f32
    };
    (0..length).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    fn tone(rate: u32, hz: f64, samples: usize) -> Vec<f32> {
        (0..samples).map(|n| (0.5 * (TAU * hz * n as f64 / f64::from(rate)).sin()) as f32).collect()
    }

    /// A tone that both rates can hold comes out as the same tone, in phase, to better than 16 bits need.
    #[test]
    fn tones_keep_phase_and_level() {
        for rate in [4_000, 8_000, 11_025, 22_050, 44_100, 44_101, 48_000, 96_000, 384_000] {
            let hz = 1_000.0;
            let converted = resample(&tone(rate, hz, rate as usize), rate);
            assert_eq!(converted.len(), RATE, "{rate}");
            let expected = tone(RATE as u32, hz, converted.len());
            // The ends see the zeros around the recording.
            let worst = (1_000..15_000).map(|n| (converted[n] - expected[n]).abs()).fold(0.0, f32::max);
            assert!(worst < 3e-5, "{rate} Hz: {worst}");
        }
    }

    /// A tone above 8 kHz is not folded into the band.
    #[test]
    fn tones_above_the_band_are_removed() {
        for hz in [8_100.0, 10_000.0, 15_900.0, 20_000.0] {
            let converted = resample(&tone(44_100, hz, 44_100), 44_100);
            let loudest = converted[2_000..14_000].iter().fold(0.0f32, |m, v| m.max(v.abs()));
            assert!(loudest < 5e-4, "{hz} Hz: {loudest}");
        }
    }

    /// The response to an impulse is symmetric: linear phase.
    #[test]
    fn the_response_is_symmetric() {
        let mut input = vec![0.0; 4_000];
        input[1_500] = 1.0;
        let response = resample(&input, 48_000);
        let peak = 500;
        assert!(response[peak] > 0.3);
        assert!((1..60).all(|d| (response[peak - d] - response[peak + d]).abs() < 1e-6));
    }

    /// Every coding reads its own zero, extremes and a middle value; channels are mixed by their mean.
    #[test]
    fn codings_and_channels() {
        let read = |coding, channels, bytes: &[u8]| convert(bytes, Layout { coding, channels }, RATE as u32);
        assert_eq!(read(Coding::Unsigned8, 1, &[128, 0, 255, 192]).unwrap(), [0, -32_768, 32_512, 16_384]);
        assert_eq!(read(Coding::Signed16, 2, &[0, 64, 0, 0, 0, 128, 255, 127]).unwrap(), [8_192, -1]);
        assert_eq!(
            read(Coding::Signed24, 1, &[0, 0, 0x80, 0, 0, 0x40, 0x80, 1, 0]).unwrap(),
            [-32_768, 16_384, 2]
        );
        assert_eq!(read(Coding::Signed32, 1, &[0, 0, 0, 0x40]).unwrap(), [16_384]);
        let floats: Vec<u8> = [0.5f32, -0.25, 2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(read(Coding::Float32, 1, &floats).unwrap(), [16_384, -8_192, 32_767]);
        assert_eq!(read(Coding::Float64, 1, &(-0.5f64).to_le_bytes()).unwrap(), [-16_384]);
        assert_eq!(read(Coding::Float32, 1, &[[0; 4], f32::NAN.to_le_bytes()].concat()), Err(1));
    }

    /// Nothing in, nothing out.
    #[test]
    fn empty_sound() {
        assert!(resample(&[], 44_100).is_empty());
        assert!(resample(&[1.0], 384_000).len() <= 1);
    }
}
