//! Photographs as JPEG files. The decoder fills what is missing at the end of a file with grey and says nothing, so the
//! file's structure is checked first.

use super::signature;
use crate::{Error, Result};
use image::{ImageFormat, ImageReader, Limits, RgbImage};
use std::io::Cursor;
use std::path::Path;

/// Largest side of a photograph, pixels: what a damaged header may claim is bounded by it.
const LARGEST_SIDE: u32 = 16_384;
/// Pixels per byte of a file, at most: a flat picture has about 500. Together with the above, it bounds what a small file
/// can make the decoder allocate.
const PIXELS_PER_BYTE: u64 = 4_096;

/// Pixels of a JPEG file: grey and CMYK ones become RGB.
///
/// # Errors
/// [`Error::Format`] with the place for a file that is cut off, of another kind, or that the decoder can't read.
pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<RgbImage> {
    check_complete(path, bytes)?;
    let wrong = |what: String| Error::format(path, 0, what);
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST_SIDE);
    limits.max_image_height = Some(LARGEST_SIDE);
    let reader = || ImageReader::with_format(Cursor::new(bytes), ImageFormat::Jpeg);
    let (width, height) = reader().into_dimensions().map_err(|error| wrong(error.to_string()))?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(wrong("the picture has no pixels".into()));
    }
    if pixels > bytes.len() as u64 * PIXELS_PER_BYTE {
        return Err(wrong(format!(
            "{} bytes for {width} × {height} pixels: the header is damaged",
            bytes.len()
        )));
    }
    let mut reader = reader();
    reader.limits(limits);
    Ok(reader.decode().map_err(|error| wrong(error.to_string()))?.into_rgb8())
}

/// Walks over the segments of a JPEG file up to its end marker.
fn check_complete(path: &Path, bytes: &[u8]) -> Result<()> {
    const SCAN: u8 = 0xda;
    const END: u8 = 0xd9;
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return Err(Error::format(path, 0, format!("no JPEG file: {}", signature::describe(bytes))));
    }
    let cut = || {
        let message = "the file ends before the picture does: it is truncated";
        Err(Error::format(path, bytes.len() as u64, message))
    };
    let mut at = 2;
    loop {
        // What stands between segments is skipped, as decoders do: 0xff may be repeated before a marker.
        let Some(skipped) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == 0xff))
        else {
            return cut();
        };
        at += skipped;
        match bytes.get(at + 1) {
            None => return cut(),
            Some(&END) => return Ok(()),
            Some(0xff) => at += 1,
            // A stuffed zero in the data of a scan, and markers without content.
            Some(0x00 | 0x01 | 0xd0..=0xd8) => at += 2,
            Some(&marker) => {
                let Some(&[high, low]) = bytes.get(at + 2..at + 4) else { return cut() };
                let length = usize::from(u16::from_be_bytes([high, low]));
                if length < 2 {
                    let what =
                        format!("a segment (marker {marker:02x}) of {length} bytes: the file is damaged");
                    return Err(Error::format(path, at as u64, what));
                }
                at += 2 + length;
                if marker == SCAN && at >= bytes.len() {
                    return cut();
                }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A JPEG of one colour.
    pub(crate) fn jpeg(width: u32, height: u32, colour: [u8; 3]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let image = RgbImage::from_pixel(width, height, image::Rgb(colour));
        image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Jpeg).unwrap();
        bytes
    }

    /// A photograph of noise: its scan makes up most of the file.
    fn noisy() -> Vec<u8> {
        let mut state = 1u32;
        let image = RgbImage::from_fn(64, 48, |_, _| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            image::Rgb([(state >> 24) as u8, (state >> 16) as u8, (state >> 8) as u8])
        });
        let mut bytes = Vec::new();
        image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Jpeg).unwrap();
        bytes
    }

    /// A file cut anywhere is refused with the place, also where the decoder would fill the rest with grey.
    #[test]
    fn cut_files_are_refused() {
        let whole = noisy();
        assert_eq!(decode(Path::new("a.jpg"), &whole).unwrap().dimensions(), (64, 48));
        for cut in [1, 2, 20, whole.len() / 5, whole.len() / 2, whole.len() - 2, whole.len() - 1] {
            let error = decode(Path::new("a.jpg"), &whole[..cut]).unwrap_err().to_string();
            let expected = if cut < 2 { "no JPEG file" } else { "truncated" };
            assert!(error.starts_with("a.jpg: byte") && error.contains(expected), "{cut}: {error}");
        }
        // What a download leaves that reserved its space.
        let mut hollow = whole.clone();
        hollow[whole.len() / 5..].fill(0);
        assert!(decode(Path::new("a.jpg"), &hollow).unwrap_err().to_string().contains("truncated"));
    }

    /// What follows a picture, an end marker inside a thumbnail, and fill bytes change nothing.
    #[test]
    fn what_stands_around_the_picture_is_ignored() {
        let whole = noisy();
        let expected = decode(Path::new("a.jpg"), &whole).unwrap();
        let thumbnail = [&[0xff, 0xe1, 0, 8][..], &[0xff, 0xd8, 0, 0xff, 0xd9, 0]].concat();
        for changed in [
            [whole.clone(), vec![0; 300]].concat(),
            [whole.clone(), whole.clone()].concat(),
            [&whole[..2], &thumbnail, &whole[2..]].concat(),
            [&whole[..2], &[0xff, 0xff], &whole[2..]].concat(),
        ] {
            assert!(decode(Path::new("a.jpg"), &changed).unwrap() == expected);
        }
    }

    /// Grey pictures become RGB.
    #[test]
    fn grey_pictures() {
        let mut bytes = Vec::new();
        let grey = image::GrayImage::from_pixel(9, 7, image::Luma([77]));
        grey.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Jpeg).unwrap();
        let image = decode(Path::new("a.jpg"), &bytes).unwrap();
        assert!(image.pixels().all(|pixel| pixel.0.iter().all(|value| value.abs_diff(77) <= 1)));
    }

    /// Files of other kinds under the name of a photograph are called what they are.
    #[test]
    fn other_kinds_are_named() {
        let message = |bytes: &[u8]| decode(Path::new("a.jpg"), bytes).unwrap_err().to_string();
        assert!(message(b"GIF89a").contains("GIF"));
        assert!(message(b"\x89PNG\r\n").contains("PNG"));
        assert!(message(b"<html>").contains("HTML"));
        assert!(message(b"").contains("empty"));
        let mut huge = jpeg(16, 16, [1, 2, 3]);
        let frame = huge.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        huge[frame + 5..frame + 9].copy_from_slice(&[0x3f, 0xff, 0x3f, 0xff]);
        assert!(message(&huge).contains("the header is damaged"), "{}", message(&huge));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Damaged JPEG files give a picture or an error, never a panic.
        #[test]
        fn damaged_pictures_are_survived(
            at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut bytes = jpeg(24, 18, [200, 100, 50]);
            for (index, value) in at {
                let index = index.index(bytes.len());
                bytes[index] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Ok(image) = decode(Path::new("x"), &bytes) {
                prop_assert!(image.width() > 0);
            }
        }
    }
}
