//! Valid files of every kind that data sets are read from, and random damage to them: for the test of moderate length and
//! for `examples/mutate_readers.rs`.

use ecqx::rng::Rng;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use std::io::{Cursor, Write};
use std::path::Path;

/// Valid (or nearly valid) inputs of the reader called `name`.
pub fn corpus(name: &str) -> Vec<Vec<u8>> {
    match name {
        "wav" | "wav-converted" => wav(),
        "jpeg" => pictures(ImageFormat::Jpeg),
        "png" => pictures(ImageFormat::Png),
        "xml" => xml(),
        "voc-list" => vec![b"2007_000001\r\n2007_000002  1\n2007_000003.jpg\n".to_vec()],
        "list" => vec!["\u{feff}./yes/a_nohash_0.wav\r\nno\\b_nohash_1.wav\n\n".as_bytes().to_vec()],
        "idx" => idx(),
        "cifar-binary" => {
            vec![(0..3 * 3073).map(|at| if at % 3073 == 0 { 3 } else { (at * 7) as u8 }).collect()]
        }
        "cifar-pickle" | "pickle" => pickles(),
        _ => Vec::new(),
    }
}

/// A copy of one of `corpus` with one to eight changes: bits, bytes, words that lengths are made of, pieces left out,
/// repeated, moved in from another file, and cuts.
pub fn mutate(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    const WORDS: [u32; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
    let mut bytes = corpus[rng.below(corpus.len())].clone();
    for _ in 0..1 + rng.below(8) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = rng.below(bytes.len());
        let end = (at + 1 + rng.below(32)).min(bytes.len());
        match rng.below(9) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = rng.below(256) as u8,
            2 => {
                let word = WORDS[rng.below(WORDS.len())];
                let word = if rng.below(2) == 0 { word.to_le_bytes() } else { word.to_be_bytes() };
                bytes[at..].iter_mut().zip(word).for_each(|(byte, new)| *byte = new);
            }
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                let to = rng.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            5 => {
                let other = &corpus[rng.below(corpus.len())];
                let from = rng.below(other.len().max(1)).min(other.len());
                let piece = other[from..(from + 64).min(other.len())].to_vec();
                bytes.splice(at..end, piece);
            }
            6 => bytes.insert(at, rng.below(256) as u8),
            7 => bytes.truncate(at),
            // Headers are where lengths are.
            _ => {
                let at = at.min(63).min(bytes.len() - 1);
                bytes[at] = rng.below(256) as u8;
            }
        }
    }
    bytes
}

fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [name.as_slice(), &(content.len() as u32).to_le_bytes(), content, &[0][..content.len() % 2]].concat()
}

fn wav() -> Vec<Vec<u8>> {
    let samples: Vec<u8> = (0..240).map(|at| (at * 37) as u8).collect();
    let file = |tag: u16, channels: u16, rate: u32, bits: u16, more: &[u8], before: &[u8]| {
        let frame = channels * bits / 8;
        let mut format = [tag, channels].map(u16::to_le_bytes).concat();
        format.extend([rate, rate * u32::from(frame)].map(u32::to_le_bytes).concat());
        format.extend([frame, bits].map(u16::to_le_bytes).concat());
        format.extend(more);
        let body = [b"WAVE", chunk(b"fmt ", &format).as_slice(), before, &chunk(b"data", &samples)].concat();
        [b"RIFF".as_slice(), &(body.len() as u32).to_le_bytes(), &body].concat()
    };
    let list = chunk(b"LIST", b"INFOISFT\x03\0\0\0abc");
    let extension =
        [&[22, 0, 16, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 16, 0][..], &[0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]]
            .concat();
    vec![
        file(1, 1, 16_000, 16, &[], &[]),
        file(1, 1, 16_000, 16, &[], &list),
        file(0xfffe, 1, 16_000, 16, &extension, &[]),
        file(1, 2, 44_100, 24, &[], &[]),
        file(3, 1, 8_000, 32, &[0, 0], &list),
        file(3, 3, 48_000, 64, &[0, 0], &[]),
        file(1, 1, 384_000, 8, &[], &[]),
        file(1, 1, 4_000, 32, &[], &[]),
    ]
}

fn pictures(format: ImageFormat) -> Vec<Vec<u8>> {
    let mut rng = Rng::stream(1, "picture");
    let noise = RgbImage::from_fn(33, 20, |_, _| Rgb(std::array::from_fn(|_| rng.below(256) as u8)));
    let noise = DynamicImage::from(noise);
    let flat = DynamicImage::from(RgbImage::from_pixel(17, 40, Rgb([9, 99, 199])));
    let pictures = [noise.clone(), flat, noise.into_luma8().into()];
    let write = |picture: &DynamicImage| {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).expect("to memory");
        bytes.into_inner()
    };
    pictures.iter().map(write).collect()
}

fn xml() -> Vec<Vec<u8>> {
    let object = "<object><name>cat</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax>30</xmax>\
                  <ymax>1e1</ymax></bndbox></object>";
    let text = format!(
        "<?xml version=\"1.0\"?>\n<annotation verified=\"yes\"><a>&amp;&#65;</a>{object}{object}</annotation>"
    );
    let wide = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![text.into_bytes(), wide]
}

fn idx() -> Vec<Vec<u8>> {
    let file = |sides: &[u32]| {
        let count = sides.iter().product::<u32>() as usize;
        let header =
            [vec![0, 0, 8, sides.len() as u8], sides.iter().flat_map(|side| side.to_be_bytes()).collect()]
                .concat();
        [header, (0..count).map(|at| (at * 5) as u8).collect()].concat()
    };
    let (images, labels) = (file(&[3, 4, 5]), file(&[7]));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&images).expect("to memory");
    let packed = packed.finish().expect("to memory");
    vec![images, labels, packed]
}

fn pickles() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pickle");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("run it in the repository")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("readable")).collect()
}
