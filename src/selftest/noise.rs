//! A data set of random inputs in memory: what trainings need that only compare devices.

use crate::Result;
use crate::data::{Dataset, Split};
use crate::rng::Rng;

/// Random inputs; the class of a sample is its number modulo ten.
pub struct Noise {
    shape: Vec<usize>,
    classes: Vec<String>,
    samples: usize,
    values: Vec<f32>,
}

/// Different samples that are kept; they come over and over.
const KEPT: usize = 64;

impl Noise {
    /// A training split of `samples`.
    pub fn new(shape: &[usize], samples: usize) -> Self {
        let mut rng = Rng::stream(1, "noise");
        let count = KEPT.min(samples.max(1)) * shape.iter().product::<usize>();
        Self {
            shape: shape.to_vec(),
            classes: (0..10).map(|class| class.to_string()).collect(),
            samples,
            values: (0..count).map(|_| rng.normal()).collect(),
        }
    }
}

impl Dataset for Noise {
    fn name(&self) -> &str {
        "noise"
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn input_shape(&self) -> &[usize] {
        &self.shape
    }

    fn len(&self, split: Split) -> usize {
        if split == Split::Train { self.samples } else { 0 }
    }

    fn digest(&self) -> &str {
        "noise"
    }

    fn fill(
        &self,
        _: Split,
        indices: &[usize],
        _: Option<&mut Rng>,
        inputs: &mut [f32],
        targets: &mut [u32],
    ) -> Result<()> {
        let size: usize = self.shape.iter().product();
        let kept = self.values.len() / size.max(1);
        for ((output, target), &index) in inputs.chunks_exact_mut(size).zip(targets).zip(indices) {
            output.copy_from_slice(&self.values[index % kept.max(1) * size..][..size]);
            *target = (index % self.classes.len()) as u32;
        }
        Ok(())
    }
}
