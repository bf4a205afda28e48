//! Images of one size in memory as bytes, with the augmentation of training. The families differ only in where bytes come from.

use super::placed_images::PlacedImages;
use super::placement::{Hole, PixelTable, Placement};
use super::{Dataset, DatasetSpec, Digest, Split, Task, check_classes, check_request, check_samples};
use crate::Result;
use crate::nn::ops::PRESENT;
use crate::rng::Rng;
use rayon::prelude::*;
use serde::Serialize;

/// Images (channel planes, row by row, one after the other) and one class or a label for each class.
#[derive(Clone, Default)]
pub(super) struct Records {
    /// Images × channels × height × width bytes.
    pub pixels: Vec<u8>,
    /// Class of each image, or its labels.
    pub labels: Vec<u8>,
}

impl Records {
    /// Splits off the records from `at` on, of one class each; `size` is the number of bytes of one.
    pub(super) fn split_off(&mut self, at: usize, size: usize) -> Self {
        Self { pixels: self.pixels.split_off(at * size), labels: self.labels.split_off(at) }
    }
}

/// What changes a training image: see [`super::AugmentationSettings`].
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct ImageAugmentation {
    pub flip: bool,
    pub crop_padding: usize,
    /// Not part of a digest while it is off: the setting came later.
    #[serde(skip_serializing_if = "is_off")]
    pub cutout: usize,
}

fn is_off(side: &usize) -> bool {
    *side == 0
}

impl ImageAugmentation {
    /// `self` as the family's default, changed by the spec.
    pub(super) fn over(self, spec: &DatasetSpec) -> Self {
        match &spec.augmentation {
            Some(a) if a.off => Self { flip: false, crop_padding: 0, cutout: 0 },
            Some(a) => Self {
                flip: a.settings.flip.unwrap_or(self.flip),
                crop_padding: a.settings.crop_padding.unwrap_or(self.crop_padding),
                cutout: a.settings.cutout.unwrap_or(self.cutout),
            },
            None => self,
        }
    }

    /// One random outcome for images of this height and width.
    pub(super) fn draw(self, [height, width]: [usize; 2], rng: &mut Rng) -> Placement {
        let pad = self.crop_padding;
        let mut shift = || if pad == 0 { 0 } else { rng.below(2 * pad + 1) as isize - pad as isize };
        let (down, right) = (shift(), shift());
        let flip = self.flip && rng.below(2) == 1;
        let hole = (self.cutout > 0).then(|| {
            let mut start = |length| rng.below(length) as isize - self.cutout as isize / 2;
            Hole { top: start(height), left: start(width), side: self.cutout }
        });
        Placement { flip, down, right, hole }
    }
}

/// A data set of equally sized images in memory.
pub(super) struct ImageSet {
    name: String,
    classes: Vec<String>,
    shape: [usize; 3],
    task: Task,
    splits: [Records; 3],
    table: PixelTable,
    augmentation: ImageAugmentation,
    digest: String,
    notes: Vec<String>,
}

/// What an [`ImageSet`] is made of.
pub(super) struct ImageParts<'a> {
    pub classes: Vec<String>,
    /// Channels, height, width.
    pub shape: [usize; 3],
    pub task: Task,
    pub train: Records,
    pub validation: Records,
    pub test: Records,
    /// The set's own mean and standard deviation per channel.
    pub mean_std: (&'a [f32], &'a [f32]),
    pub augmentation: ImageAugmentation,
    /// What to warn of.
    pub notes: Vec<String>,
}

impl ImageSet {
    /// Puts the parts together under the spec's settings; `digest` already holds the content.
    pub(super) fn new(spec: &DatasetSpec, parts: ImageParts, mut digest: Digest) -> Result<Self> {
        let (mean, std) = spec.mean_std(parts.mean_std)?;
        let augmentation = parts.augmentation.over(spec);
        let per_image = match parts.task {
            Task::SingleLabel => 1,
            Task::MultiLabel => parts.classes.len().max(1),
        };
        let records = [&parts.train, &parts.validation, &parts.test];
        let lengths = records.map(|records| records.labels.len() / per_image);
        digest.json("settings", &(&mean, &std, augmentation, lengths));
        let mut notes = parts.notes;
        match parts.task {
            Task::SingleLabel => {
                let labels = records.map(|records| records.labels.as_slice());
                check_classes(&spec.name, &parts.classes, &labels, &mut notes)?;
            }
            Task::MultiLabel => {
                // The classes that the images of a part have.
                let present = |records: &Records| -> Vec<u8> {
                    let of_image = records.labels.chunks_exact(per_image);
                    let present = of_image.flat_map(|labels| (0u8..).zip(labels));
                    present
                        .filter(|(_, label)| u32::from(**label) == PRESENT)
                        .map(|(class, _)| class)
                        .collect()
                };
                check_classes(&spec.name, &parts.classes, &records.map(present), &mut notes)?;
            }
        }
        Ok(Self {
            name: spec.name.clone(),
            classes: parts.classes,
            shape: parts.shape,
            task: parts.task,
            splits: [parts.train, parts.validation, parts.test],
            table: PixelTable::new(&mean, &std),
            augmentation,
            digest: digest.finish(),
            notes,
        })
    }

    /// Where each image is laid: drawn one after the other, so that the number of threads changes nothing.
    fn placements(&self, count: usize, augment: Option<&mut Rng>) -> Vec<Placement> {
        match augment {
            Some(rng) => {
                let [_, height, width] = self.shape;
                (0..count).map(|_| self.augmentation.draw([height, width], rng)).collect()
            }
            None => vec![Placement::default(); count],
        }
    }

    fn fill_targets(&self, records: &Records, indices: &[usize], targets: &mut [u32]) {
        let per_image = self.targets_per_sample().max(1);
        for (targets, &index) in targets.chunks_exact_mut(per_image).zip(indices) {
            let labels = &records.labels[index * per_image..][..per_image];
            targets.iter_mut().zip(labels).for_each(|(target, &label)| *target = u32::from(label));
        }
    }
}

impl Dataset for ImageSet {
    fn name(&self) -> &str {
        &self.name
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn input_shape(&self) -> &[usize] {
        &self.shape
    }
    fn task(&self) -> Task {
        self.task
    }
    fn len(&self, split: Split) -> usize {
        self.splits[split as usize].labels.len() / self.targets_per_sample().max(1)
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
        let [channels, height, width] = self.shape;
        let size = channels * height * width;
        let records = &self.splits[split as usize];
        let placements = self.placements(indices.len(), augment);
        inputs.par_chunks_exact_mut(size).zip(indices).zip(placements).with_min_len(16).for_each(
            |((output, &index), placement)| {
                self.table.write(&records.pixels[index * size..][..size], height, width, placement, output);
            },
        );
        self.fill_targets(records, indices, targets);
        Ok(())
    }
    fn placed(
        &self,
        split: Split,
        indices: &[usize],
        augment: Option<&mut Rng>,
        targets: &mut [u32],
    ) -> Result<Option<PlacedImages>> {
        check_samples(self, split, indices, targets)?;
        let size: usize = self.shape.iter().product();
        let records = &self.splits[split as usize];
        let mut pixels = Vec::with_capacity(indices.len() * size);
        indices.iter().for_each(|index| pixels.extend_from_slice(&records.pixels[index * size..][..size]));
        let placements = self.placements(indices.len(), augment);
        self.fill_targets(records, indices, targets);
        Ok(Some(PlacedImages::new(self.shape, pixels, &placements, &self.table)))
    }
}
