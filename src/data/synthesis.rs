//! A small formant synthesiser (after Klatt 1980, doi:10.1121/1.383940): phonemes and a speaker in, one second of audio out.

use super::audio::CLIP;
use super::mfcc::RATE;
use crate::rng::Rng;
use std::f32::consts::{PI, TAU};

/// Samples between updates of the filters: 5 ms.
const BLOCK: usize = 80;

/// A stretch of constant articulation.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// Resonances of the vocal tract in Hz, for an average adult.
    formants: [f32; 3],
    /// Loudness of the voiced source.
    voice: f32,
    /// Loudness of the friction noise.
    friction: f32,
    /// Centre of the friction noise in Hz.
    centre: f32,
    /// Length in milliseconds at a normal rate.
    length_ms: f32,
}

/// The segments of one phoneme, written as one letter (roughly its English sound).
fn segments(phoneme: char) -> Vec<Segment> {
    let voiced =
        |formants, voice, length_ms| Segment { formants, voice, friction: 0.0, centre: 2000.0, length_ms };
    let noise = |centre, friction, length_ms| Segment {
        formants: [400.0, 1500.0, 2500.0],
        voice: 0.0,
        friction,
        centre,
        length_ms,
    };
    let stop = |centre, friction, voice| {
        vec![
            Segment { voice, ..noise(centre, 0.0, 45.0) },
            Segment { voice, ..noise(centre, friction, 18.0) },
        ]
    };
    match phoneme {
        'i' => vec![voiced([290.0, 2200.0, 2900.0], 1.0, 140.0)],
        'e' => vec![voiced([520.0, 1850.0, 2550.0], 1.0, 130.0)],
        'a' => vec![voiced([740.0, 1250.0, 2500.0], 1.0, 140.0)],
        'o' => vec![voiced([460.0, 880.0, 2450.0], 1.0, 150.0)],
        'u' => vec![voiced([320.0, 900.0, 2300.0], 0.9, 120.0)],
        'y' => vec![voiced([270.0, 2250.0, 3000.0], 0.6, 60.0)],
        'w' => vec![voiced([300.0, 700.0, 2200.0], 0.6, 60.0)],
        'l' => vec![voiced([360.0, 1100.0, 2600.0], 0.6, 70.0)],
        'r' => vec![voiced([380.0, 1200.0, 1650.0], 0.6, 70.0)],
        'n' => vec![voiced([250.0, 1600.0, 2500.0], 0.4, 80.0)],
        'm' => vec![voiced([240.0, 1000.0, 2200.0], 0.4, 80.0)],
        's' => vec![noise(3900.0, 0.5, 120.0)],
        'f' => vec![noise(2600.0, 0.2, 110.0)],
        'p' => stop(900.0, 0.5, 0.0),
        't' => stop(3400.0, 0.6, 0.0),
        'k' => stop(1900.0, 0.6, 0.0),
        'd' => stop(3000.0, 0.3, 0.15),
        'g' => stop(1700.0, 0.3, 0.15),
        // Any other letter is a short pause.
        _ => vec![noise(1000.0, 0.0, 40.0)],
    }
}

/// What differs from one recording to the next and says nothing about the word.
struct Speaker {
    pitch: f32,
    /// Rise (or fall) of the pitch over the word, as a factor.
    glide: f32,
    /// Formants relative to an average adult's: shorter vocal tracts resonate higher.
    tract: f32,
    rate: f32,
    breath: f32,
    /// Relative spread of formants and lengths from one phoneme to the next.
    sloppiness: f32,
}

impl Speaker {
    fn draw(rng: &mut Rng) -> Self {
        let height = rng.range(-1.0, 1.0);
        Self {
            pitch: 150.0 * 2f32.powf(0.7 * height + rng.range(-0.3, 0.3)),
            glide: rng.range(0.75, 1.2),
            tract: 1.0 + 0.14 * height + rng.range(-0.05, 0.05),
            rate: rng.range(0.75, 1.35),
            breath: rng.range(0.02, 0.2),
            sloppiness: rng.range(0.04, 0.14),
        }
    }

    /// The word as this speaker says it once.
    fn articulate(&self, word: &str, rng: &mut Rng) -> Vec<Segment> {
        let mut word: Vec<Segment> = word.chars().flat_map(segments).collect();
        for segment in &mut word {
            let mut vary = |spread: f32| 1.0 + spread * rng.range(-1.0, 1.0);
            segment.length_ms *= vary(3.0 * self.sloppiness) / self.rate;
            segment.formants = segment.formants.map(|f| f * self.tract * vary(self.sloppiness));
            segment.centre *= vary(self.sloppiness);
            segment.voice *= vary(0.3);
            segment.friction *= vary(0.5);
        }
        word
    }
}

/// A resonance: y₀ = g·x + b·y₁ + c·y₂, unit gain at 0 Hz.
#[derive(Clone, Copy, Default)]
struct Resonator {
    coefficients: [f32; 3],
    memory: [f32; 2],
}

impl Resonator {
    fn tune(&mut self, hz: f32, bandwidth: f32) {
        let radius = (-PI * bandwidth / RATE as f32).exp();
        let b = 2.0 * radius * (TAU * hz.min(7500.0) / RATE as f32).cos();
        let c = -radius * radius;
        self.coefficients = [1.0 - b - c, b, c];
    }

    fn step(&mut self, input: f32) -> f32 {
        let [gain, b, c] = self.coefficients;
        let output = gain * input + b * self.memory[0] + c * self.memory[1];
        self.memory = [output, self.memory[0]];
        output
    }
}

/// The articulation at `ms` from the start of the word: neighbours blend over 40 ms around their boundary.
fn articulation(word: &[Segment], ms: f32) -> Option<Segment> {
    const BLEND: f32 = 40.0;
    let mut end = 0.0;
    for (index, segment) in word.iter().enumerate() {
        end += segment.length_ms;
        if ms >= end {
            continue;
        }
        let start = end - segment.length_ms;
        let (other, share) = if ms - start < end - ms {
            (index.checked_sub(1), 0.5 - (ms - start) / BLEND)
        } else {
            (Some(index + 1), 0.5 - (end - ms) / BLEND)
        };
        let Some(other) = other.and_then(|other| word.get(other)) else { return Some(*segment) };
        let share = share.max(0.0);
        let blend = |a: f32, b: f32| a + share * (b - a);
        return Some(Segment {
            formants: std::array::from_fn(|i| blend(segment.formants[i], other.formants[i])),
            voice: blend(segment.voice, other.voice),
            friction: blend(segment.friction, other.friction),
            ..*segment
        });
    }
    None
}

/// One recording of `word` (phoneme letters) by a random speaker in a random place: samples at 16 kHz.
pub(super) fn speak(word: &str, rng: &mut Rng) -> Vec<i16> {
    let speaker = Speaker::draw(rng);
    let word = speaker.articulate(word, rng);
    let length = word.iter().map(|s| s.length_ms).sum::<f32>();
    let onset = rng.range(0.0, (950.0 - length).max(50.0));
    let mut voice = Voice::default();
    let mut signal = vec![0f32; CLIP];
    for (block, samples) in signal.chunks_mut(BLOCK).enumerate() {
        let ms = block as f32 * 5.0 - onset;
        let now = if ms < 0.0 { None } else { articulation(&word, ms) };
        voice.render(&speaker, now, ms / length, rng, samples);
    }
    record(signal, rng)
}

/// The state of the voice between blocks.
#[derive(Default)]
struct Voice {
    phase: f32,
    tract: [Resonator; 3],
    friction: Resonator,
}

impl Voice {
    fn render(
        &mut self,
        speaker: &Speaker,
        now: Option<Segment>,
        progress: f32,
        rng: &mut Rng,
        output: &mut [f32],
    ) {
        let Some(now) = now else { return };
        for (resonator, (hz, bandwidth)) in
            self.tract.iter_mut().zip(now.formants.into_iter().zip([70.0, 90.0, 130.0]))
        {
            resonator.tune(hz, bandwidth);
        }
        self.friction.tune(now.centre, 700.0);
        let step =
            speaker.pitch * (1.0 + (speaker.glide - 1.0) * progress) * rng.range(0.98, 1.02) / RATE as f32;
        for value in output {
            self.phase = (self.phase + step).fract();
            // The flow's derivative over one period: a slow rise, then the sharp closure.
            let pulse = if self.phase < 0.6 { (PI * self.phase / 0.6).cos() * 0.5 } else { 0.0 };
            let noise = rng.range(-1.0, 1.0);
            let source = now.voice * (pulse + speaker.breath * noise);
            let voiced = self.tract.iter_mut().fold(source, |x, resonator| resonator.step(x));
            *value = voiced + self.friction.step(now.friction * noise);
        }
    }
}

/// Background noise of random loudness and colour, a random level, 16 bits.
fn record(mut signal: Vec<f32>, rng: &mut Rng) -> Vec<i16> {
    let power = signal.iter().map(|x| x * x).sum::<f32>() / CLIP as f32;
    let noise_db = rng.range(NOISE_DB.0, NOISE_DB.1);
    let colour = rng.range(0.0, 0.95);
    // A one-pole low pass keeps (1 − c)/(1 + c) of the power of uniform noise, which is 1/3.
    let noise_gain =
        (3.0 * power * 10f32.powf(noise_db / 10.0) * (1.0 + colour) / (1.0 - colour)).sqrt() * (1.0 - colour);
    let mut noise = 0.0;
    for value in &mut signal {
        noise = colour * noise + rng.range(-1.0, 1.0);
        *value += noise_gain * noise;
    }
    let peak = signal.iter().fold(1e-9f32, |peak, x| peak.max(x.abs()));
    let level = rng.range(0.1, 0.9) * 32767.0 / peak;
    signal.into_iter().map(|x| (x * level) as i16).collect()
}

/// Loudness of the background relative to the word: quietest and loudest.
const NOISE_DB: (f32, f32) = (-30.0, -6.0);

#[cfg(test)]
mod tests {
    use super::*;

    /// The same stream must give the same recording, another stream another one.
    #[test]
    fn recordings_follow_the_seed() {
        let record = |seed| speak("yes", &mut Rng::stream(seed, "test"));
        assert_eq!(record(1), record(1));
        assert_ne!(record(1), record(2));
        assert_eq!(record(1).len(), CLIP);
    }

    /// A resonator must peak at the frequency it is tuned to.
    #[test]
    fn resonator_peaks_at_its_frequency() {
        let gain = |hz: f32| {
            let mut resonator = Resonator::default();
            resonator.tune(1000.0, 80.0);
            (0..4000)
                .map(|n| resonator.step((TAU * hz * n as f32 / RATE as f32).sin()).abs())
                .fold(0.0, f32::max)
        };
        assert!(gain(1000.0) > 2.0 * gain(700.0) && gain(1000.0) > 2.0 * gain(1300.0));
    }
}
