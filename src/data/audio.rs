//! One-second clips in memory as 16-bit samples: time shift, background noise, silence, cepstral features.
//!
//! The recipe for noise and silence is that of the Speech Commands publication (Warden 2018, arXiv:1804.03209) and
//! its training code: silence is a cut of background noise at a random volume.

use super::mfcc::{Mfcc, RATE};
use super::{Dataset, DatasetSpec, Digest, Split, check_classes, check_request};
use crate::Result;
use crate::rng::Rng;
use rayon::prelude::*;
use serde::Serialize;

/// Samples per clip: one second.
pub(super) const CLIP: usize = RATE;

/// A word, or a cut of silence made from the background noise.
pub(super) struct Clip {
    /// At most [`CLIP`] samples; shorter clips are followed by zeros. `None` for silence.
    pub samples: Option<Vec<i16>>,
    /// Class.
    pub label: u32,
}

/// What changes a training clip: see [`super::AugmentationSettings`].
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct AudioAugmentation {
    pub time_shift_ms: f32,
    pub noise_probability: f32,
    pub noise_volume: f32,
}

impl AudioAugmentation {
    /// The published recipe.
    pub(super) const PUBLISHED: Self =
        Self { time_shift_ms: 100.0, noise_probability: 0.8, noise_volume: 0.1 };

    fn over(self, spec: &DatasetSpec) -> Self {
        match &spec.augmentation {
            Some(a) if a.off => Self { time_shift_ms: 0.0, noise_probability: 0.0, noise_volume: 0.0 },
            Some(a) => Self {
                time_shift_ms: a.settings.time_shift_ms.unwrap_or(self.time_shift_ms),
                noise_probability: a.settings.noise_probability.unwrap_or(self.noise_probability),
                noise_volume: a.settings.noise_volume.unwrap_or(self.noise_volume),
            },
            None => self,
        }
    }
}

/// A stretch of background noise and how loud to play it.
#[derive(Clone, Copy, Debug)]
struct NoiseCut {
    recording: usize,
    start: usize,
    volume: f32,
}

/// One random outcome of the augmentation.
#[derive(Clone, Copy, Debug, Default)]
struct Mix {
    /// Samples by which the word comes later; negative: earlier.
    shift: isize,
    noise: Option<NoiseCut>,
}

/// What an [`AudioSet`] is made of.
pub(super) struct AudioParts {
    pub classes: Vec<String>,
    pub train: Vec<Clip>,
    pub validation: Vec<Clip>,
    pub test: Vec<Clip>,
    /// Background recordings, each at least one clip long; without any, silence is digital zero.
    pub noise: Vec<Vec<i16>>,
    /// What to warn of.
    pub notes: Vec<String>,
}

/// A data set of one-second clips: inputs `[1, frames, coefficients]`, standardised per coefficient over the training
/// clips without augmentation.
pub(super) struct AudioSet {
    name: String,
    classes: Vec<String>,
    shape: [usize; 3],
    train: Vec<Clip>,
    noise: Vec<Vec<i16>>,
    /// Standardised features and labels of every split without augmentation.
    features: [Vec<f32>; 3],
    labels: [Vec<u32>; 3],
    mfcc: Mfcc,
    mean: Vec<f32>,
    /// 1 / standard deviation.
    scale: Vec<f32>,
    augmentation: AudioAugmentation,
    digest: String,
    notes: Vec<String>,
}

impl AudioSet {
    /// Computes the features of all clips; `digest` already holds their content.
    pub(super) fn new(spec: &DatasetSpec, parts: AudioParts, mut digest: Digest) -> Result<Self> {
        let settings = spec.mfcc.unwrap_or_default();
        let mfcc = Mfcc::new(&settings, CLIP)?;
        let augmentation = AudioAugmentation::PUBLISHED.over(spec);
        let splits = [&parts.train, &parts.validation, &parts.test];
        let labels = splits.map(|clips| clips.iter().map(|clip| clip.label).collect::<Vec<_>>());
        digest.json("settings", &(settings, augmentation, &parts.classes));
        digest.json("labels", &labels);
        let mut notes = parts.notes;
        check_classes(&spec.name, &parts.classes, &labels, &mut notes)?;
        let [frames, coefficients] = mfcc.shape();
        let mut set = Self {
            name: spec.name.clone(),
            classes: parts.classes,
            shape: [1, frames, coefficients],
            train: Vec::new(),
            noise: parts.noise,
            features: Default::default(),
            labels,
            mfcc,
            mean: vec![0.0; coefficients],
            scale: vec![1.0; coefficients],
            augmentation,
            digest: digest.finish(),
            notes,
        };
        let mut features =
            [("train", &parts.train), ("validation", &parts.validation), ("test", &parts.test)]
                .map(|(stream, clips)| set.plain_features(stream, clips));
        (set.mean, set.scale) = standardisation(&features[0], coefficients);
        features.iter_mut().for_each(|values| set.standardise(values));
        set.features = features;
        set.train = parts.train;
        Ok(set)
    }

    /// Features without augmentation. A silent clip's noise is drawn from its own stream, so that it is always the same.
    fn plain_features(&self, stream: &str, clips: &[Clip]) -> Vec<f32> {
        let size = self.shape.iter().product();
        let mut features = vec![0.0; clips.len() * size];
        features.par_chunks_exact_mut(size).zip(clips).enumerate().for_each(|(index, (row, clip))| {
            let noise = clip
                .samples
                .is_none()
                .then(|| self.draw_silence(&mut Rng::stream(index as u64, &format!("silence {stream}"))))
                .flatten();
            self.mfcc.transform(&self.render(clip, Mix { shift: 0, noise }), row);
        });
        features
    }

    fn standardise(&self, features: &mut [f32]) {
        for row in features.chunks_exact_mut(self.mean.len()) {
            for ((value, mean), scale) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                *value = (*value - mean) * scale;
            }
        }
    }

    /// A cut at any volume from nothing to full, as the publisher makes silence.
    fn draw_silence(&self, rng: &mut Rng) -> Option<NoiseCut> {
        self.draw_noise(rng, 1.0)
    }

    fn draw_noise(&self, rng: &mut Rng, loudest: f32) -> Option<NoiseCut> {
        if self.noise.is_empty() {
            return None;
        }
        let recording = rng.below(self.noise.len());
        let start = rng.below(self.noise[recording].len() - CLIP + 1);
        Some(NoiseCut { recording, start, volume: rng.range(0.0, loudest) })
    }

    fn draw(&self, clip: &Clip, rng: &mut Rng) -> Mix {
        if clip.samples.is_none() {
            return Mix { shift: 0, noise: self.draw_silence(rng) };
        }
        let most = (self.augmentation.time_shift_ms * RATE as f32 / 1000.0) as usize;
        let shift = rng.below(2 * most + 1) as isize - most as isize;
        let noisy = rng.uniform() < self.augmentation.noise_probability;
        let noise = if noisy { self.draw_noise(rng, self.augmentation.noise_volume) } else { None };
        Mix { shift, noise }
    }

    /// The clip as samples in −1..=1.
    fn render(&self, clip: &Clip, mix: Mix) -> Vec<f32> {
        const SCALE: f32 = 1.0 / 32768.0;
        let mut output = vec![0.0; CLIP];
        if let Some(samples) = &clip.samples {
            let to = mix.shift.max(0) as usize;
            let from = (-mix.shift).max(0) as usize;
            for (value, sample) in output[to..].iter_mut().zip(samples.iter().skip(from)) {
                *value = f32::from(*sample) * SCALE;
            }
        }
        if let Some(cut) = mix.noise {
            for (value, noise) in output.iter_mut().zip(&self.noise[cut.recording][cut.start..]) {
                *value = (*value + cut.volume * f32::from(*noise) * SCALE).clamp(-1.0, 1.0);
            }
        }
        output
    }
}

/// Mean and 1 / standard deviation of every column of rows of `width` values.
fn standardisation(rows: &[f32], width: usize) -> (Vec<f32>, Vec<f32>) {
    let count = (rows.len() / width).max(1) as f64;
    let (mut sum, mut squares) = (vec![0f64; width], vec![0f64; width]);
    for row in rows.chunks_exact(width) {
        for ((value, sum), squares) in row.iter().zip(&mut sum).zip(&mut squares) {
            *sum += f64::from(*value);
            *squares += f64::from(*value).powi(2);
        }
    }
    let mean: Vec<f64> = sum.iter().map(|s| s / count).collect();
    let scale = squares.iter().zip(&mean).map(|(s, m)| 1.0 / (s / count - m * m).max(1e-12).sqrt());
    (mean.iter().map(|m| *m as f32).collect(), scale.map(|s| s as f32).collect())
}

impl Dataset for AudioSet {
    fn name(&self) -> &str {
        &self.name
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn input_shape(&self) -> &[usize] {
        &self.shape
    }
    fn len(&self, split: Split) -> usize {
        self.labels[split as usize].len()
    }
    fn digest(&self) -> &str {
        &self.digest
    }
    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
    fn fill(
        &self,
        split: Split,
        indices: &[usize],
        augment: Option<&mut Rng>,
        inputs: &mut [f32],
        targets: &mut [u32],
    ) -> Result<()> {
        check_request(self, split, indices, inputs, targets)?;
        let size = self.shape.iter().product();
        let samples = inputs.chunks_exact_mut(size).zip(indices);
        match augment {
            Some(rng) if split == Split::Train => {
                // Drawn one after the other, so that the number of threads changes nothing.
                let mixes: Vec<Mix> =
                    indices.iter().map(|&index| self.draw(&self.train[index], rng)).collect();
                inputs.par_chunks_exact_mut(size).zip(indices).zip(mixes).for_each(|((row, &index), mix)| {
                    self.mfcc.transform(&self.render(&self.train[index], mix), row);
                    self.standardise(row);
                });
            }
            _ => samples.for_each(|(row, &index)| {
                row.copy_from_slice(&self.features[split as usize][index * size..][..size]);
            }),
        }
        for (target, &index) in targets.iter_mut().zip(indices) {
            *target = self.labels[split as usize][index];
        }
        Ok(())
    }
}
