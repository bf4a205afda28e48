//! Pictures as torchvision reads and cuts them: decoding by content (EXIF rotation is not applied), resizing of the shorter
//! side with a middle square, random crops of random size.
//!
//! Not here: where pictures lie.

use super::{jpeg, signature};
use crate::rng::Rng;
use crate::{Error, Result};
use image::imageops::{self, FilterType};
use image::{ImageFormat, ImageReader, Limits, RgbImage};
use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

/// Raise when decoding or cutting gives other pixels.
pub(super) const VERSION: u32 = 1;
/// Largest side of a picture, pixels.
const LARGEST_SIDE: u32 = 16_384;
/// Pixels per byte of a PNG file, at most: the best ratio of deflate, at one bit per pixel.
const PIXELS_PER_BYTE: u64 = 8 * 1032;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Pixels of a JPEG or PNG file, whatever it is called: grey, palette and CMYK become RGB, transparency is dropped.
///
/// # Errors
/// [`Error::Format`] for a file that is cut off, damaged or of another kind.
pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<RgbImage> {
    if !bytes.starts_with(PNG) {
        return jpeg::decode(path, bytes);
    }
    let wrong = |error: image::ImageError| Error::format(path, 0, error.to_string());
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST_SIDE);
    limits.max_image_height = Some(LARGEST_SIDE);
    let reader = || ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
    let (width, height) = reader().into_dimensions().map_err(wrong)?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || pixels > bytes.len() as u64 * PIXELS_PER_BYTE {
        let what = format!("{} bytes for {width} × {height} pixels: the header is damaged", bytes.len());
        return Err(Error::format(path, 0, what));
    }
    let mut reader = reader();
    reader.limits(limits);
    Ok(reader.decode().map_err(wrong)?.into_rgb8())
}

/// What can be said of a file by its first bytes: that it is a picture, or what it is instead.
pub(super) fn check_kind(path: &Path, bytes: &[u8]) -> Result<()> {
    match bytes.starts_with(PNG) || bytes.starts_with(&[0xff, 0xd8]) {
        true => Ok(()),
        false => {
            let what = format!("neither a JPEG nor a PNG file: {}", signature::describe(bytes));
            Err(Error::format(path, 0, what))
        }
    }
}

/// Channel planes of the middle `size` × `size` pixels after the shorter side became `resize`, rounded as torchvision's
/// `Resize` and `CenterCrop` do.
pub(super) fn middle(image: &RgbImage, resize: u32, size: u32) -> Vec<u8> {
    let image = &*shortened(image);
    let (width, height) = image.dimensions();
    let (shorter, longer) = (width.min(height), width.max(height));
    let long = (u64::from(resize) * u64::from(longer) / u64::from(shorter)) as u32;
    let (new_width, new_height) = if width <= height { (resize, long) } else { (long, resize) };
    let resized = match (new_width, new_height) == (width, height) {
        true => image.clone(),
        false => imageops::resize(image, new_width, new_height, FilterType::Triangle),
    };
    planes(&resized, half(new_width - size), half(new_height - size), size)
}

/// The picture, without its ends where one side is more than eight times the other: a line of pixels would be enlarged to
/// gigabytes, and what is cut off is outside of the square anyway.
pub(super) fn shortened(image: &RgbImage) -> Cow<'_, RgbImage> {
    let (width, height) = image.dimensions();
    let most = width.min(height).saturating_mul(8);
    if width.max(height) <= most {
        return Cow::Borrowed(image);
    }
    let (cut_width, cut_height) = (width.min(most), height.min(most));
    let (left, top) = ((width - cut_width) / 2, (height - cut_height) / 2);
    Cow::Owned(imageops::crop_imm(image, left, top, cut_width, cut_height).to_image())
}

/// Half of a number, as Python rounds it: to the even neighbour.
fn half(number: u32) -> u32 {
    number / 2 + u32::from(number % 4 == 3)
}

/// Channel planes of a square of pixels.
pub(super) fn planes(image: &RgbImage, left: u32, top: u32, size: u32) -> Vec<u8> {
    let mut planes = Vec::with_capacity(3 * (size * size) as usize);
    for channel in 0..3 {
        for y in top..top + size {
            planes.extend((left..left + size).map(|x| image.get_pixel(x, y).0[channel]));
        }
    }
    planes
}

/// A rectangle of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crop {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

/// Attempts before a crop in the middle is taken.
const ATTEMPTS: usize = 10;

/// A random part of a picture as `RandomResizedCrop` draws it: its area a uniform share from `smallest` to 1, the logarithm
/// of its sides' ratio uniform between those of 3/4 and 4/3.
pub(super) fn random_crop(width: u32, height: u32, smallest: f32, rng: &mut Rng) -> Crop {
    let (low, high) = (0.75f32, 4.0f32 / 3.0);
    let area = width as f32 * height as f32;
    for _ in 0..ATTEMPTS {
        let target = area * rng.range(smallest, 1.0);
        let ratio = rng.range(low.ln(), high.ln()).exp();
        let side = |area: f32| area.sqrt().round() as u32;
        let (crop_width, crop_height) = (side(target * ratio), side(target / ratio));
        if (1..=width).contains(&crop_width) && (1..=height).contains(&crop_height) {
            let top = rng.below((height - crop_height + 1) as usize) as u32;
            let left = rng.below((width - crop_width + 1) as usize) as u32;
            return Crop { left, top, width: crop_width, height: crop_height };
        }
    }
    let ratio = width as f32 / height as f32;
    let (crop_width, crop_height) = match ratio {
        ratio if ratio < low => (width, (width as f32 / low).round() as u32),
        ratio if ratio > high => ((height as f32 * high).round() as u32, height),
        _ => (width, height),
    };
    let (crop_width, crop_height) = (crop_width.clamp(1, width), crop_height.clamp(1, height));
    Crop {
        left: (width - crop_width) / 2,
        top: (height - crop_height) / 2,
        width: crop_width,
        height: crop_height,
    }
}

/// Channel planes of a part of a picture, brought to `size` × `size` pixels.
pub(super) fn cut(image: &RgbImage, crop: Crop, size: u32) -> Vec<u8> {
    let part = imageops::crop_imm(image, crop.left, crop.top, crop.width, crop.height).to_image();
    planes(&imageops::resize(&part, size, size, FilterType::Triangle), 0, 0, size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;

    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([(x * 5 + y * 3) as u8, (x * y / 7) as u8, 255 - (x * 2 + y * 7) as u8])
        })
    }

    fn case(name: &str) -> Result<RgbImage> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/images").join(name);
        decode(&path, &std::fs::read(&path).unwrap())
    }

    /// Resizing and the middle square give the pixels that Pillow gives for torchvision's steps (`Resize`, `CenterCrop`), to
    /// two levels of 255, on pictures of either orientation, made smaller and larger.
    #[test]
    fn the_middle_is_torchvisions() {
        // Of Pillow 11: pixels at (0, 0), (s−1, 0), (3, 5), (s/2, s/2), (s−1, s−1), (7, s−2), and the sum of all values.
        #[rustfmt::skip]
        let cases = [
            ((61, 47), 32, 28, [[55, 3, 215], [117, 22, 134], [100, 20, 154], [221, 101, 29], [120, 46, 112], [222, 116, 183]], 280_814i64),
            ((47, 61), 32, 28, [[43, 3, 185], [241, 56, 105], [88, 18, 124], [209, 101, 202], [106, 46, 80], [211, 92, 149]], 280_412),
            ((20, 33), 32, 28, [[27, 1, 201], [112, 19, 167], [47, 4, 175], [98, 22, 121], [164, 63, 47], [99, 18, 76]], 188_792),
            ((100, 35), 21, 16, [[196, 19, 155], [65, 33, 105], [246, 72, 87], [46, 122, 36], [140, 123, 186], [69, 188, 225]], 81_360),
        ];
        for ((width, height), resize, size, pixels, sum) in cases {
            let planes = middle(&picture(width, height), resize, size);
            let s = size as usize;
            let places = [(0, 0), (s - 1, 0), (3, 5), (s / 2, s / 2), (s - 1, s - 1), (7, s - 2)];
            for ((x, y), expected) in places.into_iter().zip(pixels) {
                for (channel, expected) in expected.into_iter().enumerate() {
                    let found = i32::from(planes[channel * s * s + y * s + x]);
                    assert!(
                        (found - expected).abs() <= 2,
                        "{width}×{height} at {x}, {y}: {found} for {expected}"
                    );
                }
            }
            let total: i64 = planes.iter().map(|value| i64::from(*value)).sum();
            assert!((total - sum).abs() <= planes.len() as i64 / 4, "{width}×{height}: {total} for {sum}");
        }
        assert_eq!([0, 1, 2, 3, 4, 5, 7].map(half), [0, 0, 1, 2, 2, 2, 4]);
    }

    /// CMYK, grey, palette and transparency become the RGB that Pillow makes of them; a rotation in EXIF is ignored.
    #[test]
    fn kinds_of_pictures() {
        let near = |name: &str, at: (u32, u32), expected: [u8; 3], tolerance: u8| {
            let found = case(name).unwrap().get_pixel(at.0, at.1).0;
            let close = found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= tolerance);
            assert!(close, "{name}: {found:?} for {expected:?}");
        };
        near("cmyk.jpg", (8, 8), [49, 190, 146], 3);
        near("grey.png", (3, 4), [27, 27, 27], 0);
        near("rgba.png", (3, 4), [27, 1, 221], 0);
        near("pal.png", (3, 4), [51, 0, 204], 0);
        assert_eq!(case("exif.jpg").unwrap().dimensions(), (12, 20));
        let bytes =
            std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/images/pal.png")).unwrap();
        for cut in [8, 20, 100, bytes.len() - 20] {
            assert!(decode(Path::new("a.png"), &bytes[..cut]).is_err(), "{cut}");
        }
        assert!(check_kind(Path::new("a"), b"GIF89a").unwrap_err().to_string().contains("GIF"));
    }

    /// Any shape gives a square of the size asked for.
    #[test]
    fn any_shape_is_cut() {
        for (width, height) in [(1, 1), (300, 1), (16_384, 1), (2, 500), (16, 16), (19, 18)] {
            assert_eq!(middle(&picture(width, height), 18, 16).len(), 3 * 16 * 16);
            let crop = random_crop(width, height, 0.08, &mut Rng::stream(1, "crop"));
            assert_eq!(cut(&picture(width, height), crop, 16).len(), 3 * 16 * 16);
        }
    }

    /// Crops lie inside; their areas and ratios are those asked for, and cover the range.
    #[test]
    fn crops_cover_the_range() {
        let mut rng = Rng::stream(3, "crop");
        let crops: Vec<Crop> = (0..2000).map(|_| random_crop(200, 150, 0.25, &mut rng)).collect();
        let mut shares = Vec::new();
        for crop in &crops {
            assert!(crop.left + crop.width <= 200 && crop.top + crop.height <= 150);
            let ratio = f64::from(crop.width) / f64::from(crop.height);
            assert!((0.73..1.37).contains(&ratio), "{ratio}");
            shares.push(f64::from(crop.width * crop.height) / 30_000.0);
        }
        let (low, high) = shares.iter().fold((1.0f64, 0.0f64), |(l, h), s| (l.min(*s), h.max(*s)));
        assert!(low < 0.27 && low > 0.24 && high > 0.95, "{low} {high}");
        assert!(crops.iter().any(|crop| crop.left == 0) && crops.iter().any(|crop| crop.top > 20));
        // A strip has no part of such a ratio: its middle is taken.
        let strip = random_crop(1000, 10, 1.0, &mut rng);
        assert_eq!((strip.width, strip.height, strip.left), (13, 10, 493));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Damaged PNG files give a picture or an error, never a panic.
        #[test]
        fn damaged_pictures_are_survived(
            at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut bytes = Vec::new();
            picture(9, 7).write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
            for (index, value) in at {
                let index = index.index(bytes.len());
                bytes[index] = value;
            }
            if let Ok(image) = decode(Path::new("x"), &bytes) {
                prop_assert!(image.width() > 0);
            }
        }
    }
}
