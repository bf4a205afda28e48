//! Class folders: `train/CLASS/*.jpg` and `val/CLASS/*`, as ImageNet is laid out. Pictures are decoded when a batch asks for
//! them; what is kept in memory stays below a budget.

use super::folder_index::{self, Picture};
use super::placement::{PixelTable, Placement};
use super::{
    Dataset, DatasetSpec, Digest, Family, Split, check_classes, check_request, listing, photo, read_file,
};
use crate::rng::Rng;
use crate::{Error, Result};
use image::RgbImage;
use rayon::prelude::*;
use std::path::{Component, Path};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Folders of pictures, one per class.
pub(super) static IMAGE_FOLDER: Family = Family {
    name: "imagefolder",
    summary: "folders of pictures, one per class, as ImageNet is laid out (train/CLASS/*.jpg, val/CLASS/*)",
    source: "put train/CLASS/*.jpg and val/CLASS/*.jpg below the folder that 'folder' names (default: imagefolder)",
    folder: FOLDER,
    settings: &[
        "folder",
        "validation",
        "image_size",
        "resize",
        "memory_mb",
        "normalization",
        "augmentation.flip",
        "augmentation.smallest_area",
    ],
    generated: false,
    present: |data_dir| data_dir.join(FOLDER).join("train").is_dir(),
    open,
};

const FOLDER: &str = "imagefolder";
/// Side of the inputs, pixels.
const IMAGE_SIZE: usize = 224;
/// Share of the training pictures held out for validation, and the most that are, where `val` is the test split.
const VALIDATION: f64 = 0.1;
const MOST_VALIDATION: f64 = 10_000.0;
/// Memory for decoded pictures, MB.
const MEMORY_MB: usize = 512;
/// Smallest area of a random crop: torchvision's default.
const SMALLEST_AREA: f32 = 0.08;
/// What `normalization: dataset` means: ImageNet's values.
const MEAN_STD: (&[f32], &[f32]) = (&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]);

fn open(spec: &DatasetSpec, data_dir: &Path) -> Result<Arc<dyn Dataset>> {
    Ok(Arc::new(build(spec, data_dir)?))
}

fn build(spec: &DatasetSpec, data_dir: &Path) -> Result<ImageFolder> {
    let name = spec.folder.as_deref().unwrap_or(FOLDER);
    let root = data_dir.join(name);
    let train = root.join("train");
    if !train.is_dir() {
        return Err(Error::input_hint(
            format!("data set {}: not found in {}", spec.name, train.display()),
            format!("{}; say where with --data-dir DIR or ECQX_DATA=DIR", IMAGE_FOLDER.source),
        ));
    }
    let size = spec.image_size.unwrap_or(IMAGE_SIZE);
    let resize = spec.resize.unwrap_or((size * 8).div_ceil(7));
    if resize < size {
        return Err(Error::input(format!(
            "data set {}: resize must be at least image_size, {size}, found {resize}",
            spec.name
        )));
    }
    let classes = folder_index::classes(&train)?;
    let (train, mut others) = folder_index::pictures(&train, &classes, true)?;
    let mut notes = Vec::new();
    let mut of_split = |folder: &str| -> Result<Option<Vec<Picture>>> {
        let path = root.join(folder);
        if !path.is_dir() {
            return Ok(None);
        }
        let (pictures, left_out) = folder_index::pictures(&path, &classes, false)?;
        others += left_out;
        Ok(Some(pictures))
    };
    let Some(val) = of_split("val")? else {
        return Err(Error::input_hint(
            format!("data set {}: no folder {}", spec.name, root.join("val").display()),
            "results are reported on val/CLASS/*, or on test/CLASS/* where that is there too",
        ));
    };
    let (train, validation, test) = match of_split("test")? {
        Some(_) if spec.validation.is_some() => {
            return Err(Error::input_hint(
                format!(
                    "data set {}: 'validation' with a folder test/: val/ is the validation part",
                    spec.name
                ),
                "leave 'validation' out",
            ));
        }
        Some(test) => (train, val, test),
        None => {
            let default = (VALIDATION * train.len() as f64).min(MOST_VALIDATION).floor();
            let (train, held_out) = hold_out(train, spec, default)?;
            (train, held_out, val)
        }
    };
    if others > 0 {
        notes.push(format!("files that are no JPEG or PNG by their names were left out: {others}"));
    }
    let mut splits = [train, validation, test];
    let index = data_dir.join(".ecqx").join(format!("{}.index", name.replace(['/', '\\'], "__")));
    folder_index::digests(&root, &index, &mut splits.each_mut().map(Vec::as_mut_slice))?;
    let labels =
        splits.each_ref().map(|split| split.iter().map(|picture| picture.class).collect::<Vec<u32>>());
    check_classes(&spec.name, &classes, &labels, &mut notes)?;

    let (mean, std) = spec.mean_std(MEAN_STD)?;
    let augmentation = Augmentation::of(spec);
    let mut digest = Digest::new(&spec.name);
    for (split, pictures) in ["train", "validation", "test"].iter().zip(&splits) {
        let mut content = blake3::Hasher::new();
        for picture in pictures {
            content.update(&picture.class.to_le_bytes()).update(&picture.digest);
        }
        digest.part(split, content.finalize().as_bytes());
    }
    digest.json("settings", &(&classes, photo::VERSION, size, resize, &mean, &std, augmentation));
    let kept = splits.each_ref().map(|split| split.iter().map(|_| OnceLock::new()).collect());
    Ok(ImageFolder {
        name: spec.name.clone(),
        classes,
        shape: [3, size, size],
        resize: resize as u32,
        splits,
        table: PixelTable::new(&mean, &std),
        augmentation,
        digest: digest.finish(),
        notes,
        kept,
        budget: spec.memory_mb.unwrap_or(MEMORY_MB) << 20,
        in_use: AtomicUsize::new(0),
    })
}

/// Every so-many-th picture for validation, which takes from every class in proportion: pictures are sorted by class.
fn hold_out(
    pictures: Vec<Picture>,
    spec: &DatasetSpec,
    default: f64,
) -> Result<(Vec<Picture>, Vec<Picture>)> {
    let total = pictures.len();
    let count = spec.validation_count(total, default)?;
    let is_held = |at: usize| (at + 1) * count / total > at * count / total;
    let (held, kept): (Vec<_>, Vec<_>) = pictures.into_iter().enumerate().partition(|(at, _)| is_held(*at));
    let pictures = |list: Vec<(usize, Picture)>| list.into_iter().map(|(_, picture)| picture).collect();
    Ok((pictures(kept), pictures(held)))
}

/// What changes a training picture.
#[derive(Clone, Copy, Debug, serde::Serialize)]
struct Augmentation {
    flip: bool,
    /// Smallest share of the area of a random crop; 1 means the middle square instead.
    smallest_area: f32,
}

impl Augmentation {
    fn of(spec: &DatasetSpec) -> Self {
        match &spec.augmentation {
            Some(given) if given.off => Self { flip: false, smallest_area: 1.0 },
            given => {
                let settings = given.as_ref().map(|given| given.settings).unwrap_or_default();
                Self {
                    flip: settings.flip.unwrap_or(true),
                    smallest_area: settings.smallest_area.unwrap_or(SMALLEST_AREA),
                }
            }
        }
    }
}

/// What is kept of a picture between two uses.
enum Kept {
    /// All of a training picture, which crops are taken from.
    Whole(RgbImage),
    /// The middle square of a picture that is never changed.
    Middle(Vec<u8>),
}

impl Kept {
    fn bytes(&self) -> usize {
        match self {
            Self::Whole(image) => image.as_raw().len(),
            Self::Middle(planes) => planes.len(),
        }
    }
}

struct ImageFolder {
    name: String,
    classes: Vec<String>,
    shape: [usize; 3],
    resize: u32,
    splits: [Vec<Picture>; 3],
    table: PixelTable,
    augmentation: Augmentation,
    digest: String,
    notes: Vec<String>,
    /// Decoded pictures, as far as the budget goes: the first ones asked for, and they stay. In a random order of all
    /// pictures, exchanging them would cost time and gain nothing.
    kept: [Vec<OnceLock<Arc<Kept>>>; 3],
    /// Bytes that may be kept.
    budget: usize,
    /// Bytes that are.
    in_use: AtomicUsize,
}

impl ImageFolder {
    fn size(&self) -> u32 {
        self.shape[1] as u32
    }

    /// A picture, decoded or from memory.
    fn picture(&self, split: Split, index: usize) -> Result<Arc<Kept>> {
        let place = &self.kept[split as usize][index];
        if let Some(kept) = place.get() {
            return Ok(kept.clone());
        }
        let path = &self.splits[split as usize][index].path;
        let image = photo::decode(path, &read_file(path)?)?;
        let kept = Arc::new(match split {
            Split::Train => Kept::Whole(image),
            Split::Validation | Split::Test => Kept::Middle(photo::middle(&image, self.resize, self.size())),
        });
        let bytes = kept.bytes();
        if self.in_use.fetch_add(bytes, Ordering::Relaxed) + bytes > self.budget
            || place.set(kept.clone()).is_err()
        {
            self.in_use.fetch_sub(bytes, Ordering::Relaxed);
        }
        Ok(kept)
    }

    fn write(&self, split: Split, index: usize, seed: Option<u64>, output: &mut [f32]) -> Result<()> {
        let picture = self.picture(split, index)?;
        let Augmentation { flip, smallest_area } = self.augmentation;
        let mut rng = seed.map(|seed| Rng::stream(seed, "picture"));
        let middle = |image: &RgbImage| photo::middle(image, self.resize, self.size());
        let planes = match (picture.as_ref(), rng.as_mut()) {
            (Kept::Middle(planes), _) => planes.clone(),
            (Kept::Whole(image), Some(rng)) if smallest_area < 1.0 => {
                let crop = photo::random_crop(image.width(), image.height(), smallest_area, rng);
                photo::cut(image, crop, self.size())
            }
            (Kept::Whole(image), _) => middle(image),
        };
        let flip = flip && rng.is_some_and(|mut rng| rng.below(2) == 1);
        let [_, height, width] = self.shape;
        self.table.write(&planes, height, width, Placement { flip, ..Placement::default() }, output);
        Ok(())
    }
}

impl Dataset for ImageFolder {
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
        self.splits[split as usize].len()
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
        let size: usize = self.shape.iter().product();
        // A seed per picture, drawn one after the other, so that the number of threads changes nothing.
        let seeds: Vec<Option<u64>> = match augment {
            Some(rng) => {
                let mut seed = || (u64::from(rng.bits()) << 32) | u64::from(rng.bits());
                indices.iter().map(|_| Some(seed())).collect()
            }
            None => vec![None; indices.len()],
        };
        inputs
            .par_chunks_exact_mut(size)
            .zip(indices)
            .zip(seeds)
            .try_for_each(|((output, &index), seed)| self.write(split, index, seed, output))?;
        for (target, &index) in targets.iter_mut().zip(indices) {
            *target = self.splits[split as usize][index].class;
        }
        Ok(())
    }
}

/// Whether a folder's name leads below the data folder, or is absolute on purpose.
pub(super) fn check_folder(name: &str) -> Result<()> {
    let leads_out = Path::new(name).components().any(|part| part == Component::ParentDir);
    match name.is_empty() || leads_out || listing::is_hidden(Path::new(name)) {
        true => Err(Error::input_hint(
            format!("folder '{name}' is not a folder below the data folder"),
            "give its path from the data folder, such as imagenet",
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
#[path = "image_folder_tests.rs"]
mod tests;
