//! `embedded-images`: ten shapes as 32×32 colour images, drawn from a seed. Place, size, angle, colours, textures, clutter
//! and lighting vary independently of the class, so that only the outline tells it.

use super::images::{ImageAugmentation, ImageParts, ImageSet, Records};
use super::{Dataset, DatasetSpec, Digest, Family};
use crate::Result;
use crate::rng::Rng;
use rayon::prelude::*;
use std::f32::consts::{PI, TAU};
use std::sync::Arc;

const SIDE: usize = 32;
const SIZE: usize = 3 * SIDE * SIDE;
/// Pixel noise: the largest standard deviation, of 1.
const NOISE: f32 = 0.06;
/// Distracting strokes and spots per image: at most.
const CLUTTER: usize = 3;
/// Smallest difference in brightness between shape and background.
const CONTRAST: f32 = 0.35;

/// A shape: whether the point (x, y) is inside, the shape filling about −1..=1 in both directions, y downwards.
type Shape = fn(f32, f32) -> bool;

const SHAPES: [(&str, Shape); 10] = [
    ("disk", |x, y| x.hypot(y) < 0.9),
    ("ring", |x, y| (0.55..0.95).contains(&x.hypot(y))),
    ("square", |x, y| x.abs().max(y.abs()) < 0.78),
    ("triangle", |x, y| y < 0.7 && y > 1.9 * x.abs() - 0.9),
    ("plus", |x, y| x.abs().min(y.abs()) < 0.28 && x.abs().max(y.abs()) < 0.95),
    ("star", |x, y| {
        let spike = ((y.atan2(x) + PI / 2.0).rem_euclid(TAU / 5.0) / (TAU / 5.0) - 0.5).abs() * 2.0;
        x.hypot(y) < 0.42 + 0.58 * spike
    }),
    ("crescent", |x, y| x.hypot(y) < 0.95 && (x - 0.45).hypot(y) > 0.75),
    ("heart", |x, y| {
        let (x, y) = (1.15 * x, 0.25 - 1.2 * y);
        (x * x + y * y - 0.8).powi(3) < x * x * y * y * y * 1.6
    }),
    ("arrow", |x, y| (y < 0.0 && y > 1.1 * x.abs() - 0.95) || (x.abs() < 0.28 && (0.0..0.95).contains(&y))),
    ("bars", |x, y| x.abs() < 0.85 && (y.abs() < 0.2 || (0.52..0.92).contains(&y.abs()))),
];

/// The drawn shapes.
pub(super) static EMBEDDED_IMAGES: Family = Family {
    name: "embedded-images",
    summary: "ten drawn shapes with clutter, textures and noise as 32×32 colour images; needs no files",
    source: "",
    folder: "",
    settings: &[
        "seed",
        "normalization",
        "augmentation.flip",
        "augmentation.crop_padding",
        "augmentation.cutout",
    ],
    generated: true,
    present: |_| true,
    open: |spec, _| open(spec),
};

fn open(spec: &DatasetSpec) -> Result<Arc<dyn Dataset>> {
    let seed = spec.seed.unwrap_or(1);
    let samples = spec.samples.unwrap_or_default();
    let mut digest = Digest::new(&spec.name);
    let mut split = |name: &str, count: usize| {
        let records = generate(seed, name, count);
        digest.part(name, &records.pixels);
        records
    };
    let parts = ImageParts {
        task: super::Task::SingleLabel,
        classes: SHAPES.iter().map(|(name, _)| (*name).to_owned()).collect(),
        shape: [3, SIDE, SIDE],
        train: split("train", samples.train.unwrap_or(6000)),
        validation: split("validation", samples.validation.unwrap_or(1000)),
        test: split("test", samples.test.unwrap_or(2000)),
        mean_std: (&[0.5, 0.5, 0.5], &[0.25, 0.25, 0.25]),
        augmentation: ImageAugmentation { flip: true, crop_padding: 2, cutout: 0 },
        notes: Vec::new(),
    };
    Ok(Arc::new(ImageSet::new(spec, parts, digest)?))
}

/// `count` images, the classes in turn. Each has its own stream: a longer set starts with the shorter one.
fn generate(seed: u64, split: &str, count: usize) -> Records {
    let mut pixels = vec![0; count * SIZE];
    pixels.par_chunks_exact_mut(SIZE).enumerate().for_each(|(index, image)| {
        let mut rng = Rng::stream(seed, &format!("embedded-images {split} {index}"));
        draw(SHAPES[index % SHAPES.len()].1, &mut rng, image);
    });
    Records { pixels, labels: (0..count).map(|index| (index % SHAPES.len()) as u8).collect() }
}

type Colour = [f32; 3];

/// Two colours in a pattern: stripes, checks, a gradient, or nearly plain.
struct Texture {
    colours: [Colour; 2],
    direction: [f32; 2],
    phase: f32,
    kind: usize,
}

impl Texture {
    /// A texture whose brightness is near `brightness`.
    fn draw(rng: &mut Rng, brightness: f32) -> Self {
        let mut colour = || {
            let mut hue = [rng.range(-0.3, 0.3), rng.range(-0.3, 0.3), rng.range(-0.3, 0.3)];
            let mean = hue.iter().sum::<f32>() / 3.0;
            hue.iter_mut().for_each(|h| *h += brightness - mean);
            hue
        };
        let first = colour();
        let second = colour();
        let share = rng.range(0.1, 0.5);
        let second =
            std::array::from_fn(|c| first[c] + share * (second[c] - first[c]) + rng.range(-0.08, 0.08));
        let (angle, period) = (rng.range(0.0, TAU), rng.range(0.3, 1.0));
        let kind = rng.below(4);
        let frequency = if kind == 2 { 0.03 } else { period };
        Self {
            colours: [first, second],
            direction: [frequency * angle.cos(), frequency * angle.sin()],
            phase: rng.range(0.0, TAU),
            kind,
        }
    }

    fn at(&self, x: f32, y: f32) -> Colour {
        let along = self.direction[0] * x + self.direction[1] * y;
        let across = self.direction[0] * y - self.direction[1] * x;
        let share = match self.kind {
            0 => 0.5 + 0.5 * (TAU * along * 0.25 + self.phase).sin(),
            1 => f32::from(((along * 1.6 + self.phase).sin() > 0.0) == ((across * 1.6).sin() > 0.0)),
            2 => (along + 0.5).clamp(0.0, 1.0),
            _ => 0.0,
        };
        std::array::from_fn(|c| self.colours[0][c] + share * (self.colours[1][c] - self.colours[0][c]))
    }
}

/// A stroke (or a spot, if short) that means nothing.
struct Clutter {
    from: [f32; 2],
    along: [f32; 2],
    width: f32,
    colour: Colour,
}

impl Clutter {
    fn draw(rng: &mut Rng) -> Self {
        let (angle, length) = (rng.range(0.0, TAU), rng.range(0.0, 12.0));
        Self {
            from: [rng.range(0.0, 32.0), rng.range(0.0, 32.0)],
            along: [length * angle.cos(), length * angle.sin()],
            width: rng.range(0.5, 1.6),
            colour: [rng.uniform(), rng.uniform(), rng.uniform()],
        }
    }

    fn covers(&self, x: f32, y: f32) -> bool {
        let (dx, dy) = (x - self.from[0], y - self.from[1]);
        let squared = self.along[0] * self.along[0] + self.along[1] * self.along[1];
        let t = ((dx * self.along[0] + dy * self.along[1]) / squared.max(1e-6)).clamp(0.0, 1.0);
        (dx - t * self.along[0]).hypot(dy - t * self.along[1]) < self.width
    }
}

/// Draws one image as three planes.
fn draw(shape: Shape, rng: &mut Rng, image: &mut [u8]) {
    let radius = rng.range(9.0, 13.0);
    let centre = [rng.range(radius, 32.0 - radius), rng.range(radius, 32.0 - radius)];
    let angle = rng.range(-0.3, 0.3);
    let (squeeze, slant) = (rng.range(0.85, 1.18), rng.range(-0.15, 0.15));
    let bright = rng.range(0.25, 0.75);
    let contrast = rng.range(CONTRAST, 0.6) * if bright > 0.5 { -1.0 } else { 1.0 };
    let background = Texture::draw(rng, bright);
    let foreground = Texture::draw(rng, bright + contrast);
    let clutter: Vec<Clutter> = (0..rng.below(CLUTTER + 1)).map(|_| Clutter::draw(rng)).collect();
    // Strokes from this one on lie over the shape.
    let over = clutter.len() - clutter.len() / 3;
    let shade = [rng.range(-0.006, 0.006), rng.range(-0.006, 0.006)];
    let noise = rng.range(0.02, NOISE);
    let colour_at = |x: f32, y: f32| -> Colour {
        if let Some(stroke) = clutter[over..].iter().find(|stroke| stroke.covers(x, y)) {
            return stroke.colour;
        }
        let (dx, dy) = ((x - centre[0]) / radius, (y - centre[1]) / radius);
        let (u, v) = (dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin());
        if shape((u + slant * v) * squeeze, v / squeeze) {
            return foreground.at(x, y);
        }
        clutter[..over]
            .iter()
            .find(|stroke| stroke.covers(x, y))
            .map_or_else(|| background.at(x, y), |s| s.colour)
    };
    for row in 0..SIDE {
        for column in 0..SIDE {
            // Four points per pixel soften the edges as a camera does.
            let mut mean = [0f32; 3];
            for (x, y) in [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)] {
                let colour = colour_at(column as f32 + x, row as f32 + y);
                mean.iter_mut().zip(colour).for_each(|(m, c)| *m += 0.25 * c);
            }
            let light = shade[0] * (column as f32 - 16.0) + shade[1] * (row as f32 - 16.0);
            for (channel, value) in mean.into_iter().enumerate() {
                let value = value + light + noise * rng.normal();
                image[(channel * SIDE + row) * SIDE + column] = (value * 255.0).clamp(0.0, 255.0) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Split;

    /// The same spec must give the same set; a shorter one must be the beginning of a longer one.
    #[test]
    fn images_follow_the_seed() {
        let long = generate(1, "train", 20);
        let short = generate(1, "train", 10);
        assert_eq!(long.pixels[..short.pixels.len()], short.pixels);
        assert_ne!(generate(2, "train", 10).pixels, short.pixels);
        assert_ne!(generate(1, "test", 10).pixels, short.pixels);
    }

    /// The sizes asked for must be the sizes given, and change the digest.
    #[test]
    fn samples_are_generated_as_asked() {
        let open = |train| {
            let samples = crate::data::Samples { train: Some(train), validation: Some(3), test: Some(5) };
            open(&DatasetSpec { samples: Some(samples), ..DatasetSpec::named("embedded-images") }).unwrap()
        };
        let set = open(7);
        assert_eq!([Split::Train, Split::Validation, Split::Test].map(|s| set.len(s)), [7, 3, 5]);
        assert_ne!(set.digest(), open(8).digest());
        assert_eq!(set.digest(), open(7).digest());
    }

    /// Cutout blackens a square of training images alone; off, it is no setting of its own.
    #[test]
    fn cutout_is_for_training() {
        let open = |augmentation: serde_json::Value| {
            let samples = serde_json::json!({"train": 8, "validation": 4, "test": 4});
            let spec = serde_json::json!({"name": "embedded-images", "samples": samples, "augmentation": augmentation});
            open(&serde_json::from_value(spec).unwrap()).unwrap()
        };
        let still =
            |cutout: usize| open(serde_json::json!({"flip": false, "crop_padding": 0, "cutout": cutout}));
        let (off, on) = (still(0), still(6));
        assert_eq!(off.digest(), open(serde_json::json!({"flip": false, "crop_padding": 0})).digest());
        assert_ne!(off.digest(), on.digest());
        let read = |set: &dyn Dataset, split, seed: Option<u64>| {
            let (mut inputs, mut targets) = (vec![0.0; SIZE], vec![0]);
            let mut rng = seed.map(|seed| Rng::stream(seed, "augmentation"));
            set.fill(split, &[1], rng.as_mut(), &mut inputs, &mut targets).unwrap();
            inputs
        };
        let whole = read(&*off, Split::Train, Some(1));
        for seed in 1..=8 {
            let cut = read(&*on, Split::Train, Some(seed));
            let changed = cut.iter().zip(&whole).filter(|(cut, whole)| cut != whole);
            // Black is pixel 0: (0 − 0.5) / 0.25.
            assert!(changed.clone().all(|(cut, _)| *cut == -2.0));
            assert!((1..=3 * 36).contains(&changed.count()), "a square of six pixels in three channels");
        }
        assert_eq!(read(&*on, Split::Test, None), read(&*off, Split::Test, None));
    }
}
