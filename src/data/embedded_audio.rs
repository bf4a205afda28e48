//! `embedded-audio`: twelve spoken-word-like classes, synthesised from a seed, through the same WAV and MFCC path as files.

use super::audio::{AudioParts, AudioSet, CLIP, Clip};
use super::mfcc::RATE;
use super::{Dataset, DatasetSpec, Digest, Family, synthesis, wav};
use crate::rng::Rng;
use crate::{Error, Result};
use rayon::prelude::*;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

/// The words and their phonemes (letters of [`synthesis::speak`]). Several differ in one phoneme only.
const WORDS: [(&str, &str); 12] = [
    ("yes", "yes"),
    ("no", "nou"),
    ("low", "lou"),
    ("go", "gou"),
    ("left", "left"),
    ("right", "rait"),
    ("up", "ap"),
    ("down", "daun"),
    ("stop", "stop"),
    ("on", "on"),
    ("off", "of"),
    ("see", "si"),
];

/// The synthesised words.
pub(super) static EMBEDDED_AUDIO: Family = Family {
    name: "embedded-audio",
    summary: "twelve synthesised words with speaker and noise variation as 49×10 MFCC; needs no files",
    source: "",
    folder: "",
    settings: &[
        "seed",
        "mfcc",
        "augmentation.time_shift_ms",
        "augmentation.noise_probability",
        "augmentation.noise_volume",
    ],
    generated: true,
    present: |_| true,
    open: |spec, _| open(spec),
};

fn open(spec: &DatasetSpec) -> Result<Arc<dyn Dataset>> {
    let seed = spec.seed.unwrap_or(1);
    let samples = spec.samples.unwrap_or_default();
    let mut digest = Digest::new(&spec.name);
    let train = generate(seed, "train", samples.train.unwrap_or(4800), &mut digest)?;
    let validation = generate(seed, "validation", samples.validation.unwrap_or(1200), &mut digest)?;
    let test = generate(seed, "test", samples.test.unwrap_or(1800), &mut digest)?;
    let parts = AudioParts {
        classes: WORDS.iter().map(|(name, _)| (*name).to_owned()).collect(),
        train,
        validation,
        test,
        noise: (0..4)
            .map(|i| background(&mut Rng::stream(seed, &format!("embedded-audio noise {i}"))))
            .collect(),
        notes: Vec::new(),
    };
    Ok(Arc::new(AudioSet::new(spec, parts, digest)?))
}

/// `count` clips, the classes in turn. Each clip has its own stream: a longer set starts with the shorter one.
fn generate(seed: u64, split: &str, count: usize, digest: &mut Digest) -> Result<Vec<Clip>> {
    let made: Vec<_> = (0..count)
        .into_par_iter()
        .map(|index| {
            let class = index % WORDS.len();
            let mut rng = Rng::stream(seed, &format!("embedded-audio {split} {index}"));
            let bytes = encode(&synthesis::speak(WORDS[class].1, &mut rng))?;
            let samples = wav::parse(Path::new(&format!("{split}-{index}.wav")), &bytes, false)?.samples;
            Ok((blake3::hash(&bytes), Clip { samples: Some(samples), label: class as u32 }))
        })
        .collect::<Result<_>>()?;
    Ok(made
        .into_iter()
        .map(|(hash, clip)| {
            digest.part(split, hash.as_bytes());
            clip
        })
        .collect())
}

/// A WAV file in memory.
fn encode(samples: &[i16]) -> Result<Vec<u8>> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE as u32,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let write = || -> Result<Vec<u8>, hound::Error> {
        let mut cursor = Cursor::new(Vec::with_capacity(44 + 2 * samples.len()));
        let mut writer = hound::WavWriter::new(&mut cursor, spec)?;
        let mut block = writer.get_i16_writer(samples.len() as u32);
        samples.iter().for_each(|sample| block.write_sample(*sample));
        block.flush()?;
        writer.finalize()?;
        Ok(cursor.into_inner())
    };
    write().map_err(|e| Error::Internal(format!("writing a WAV file to memory: {e}")))
}

/// Five seconds of coloured noise for the augmentation.
fn background(rng: &mut Rng) -> Vec<i16> {
    let colour = rng.range(0.0, 0.95);
    let mut level = 0.0;
    (0..5 * CLIP)
        .map(|_| {
            level = colour * level + (1.0 - colour) * rng.range(-1.0, 1.0);
            (level * 32767.0) as i16
        })
        .collect()
}
