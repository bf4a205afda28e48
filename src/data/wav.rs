//! WAV files as 16-bit samples at 16 kHz. Finding the chunks and checking the header is here; other sample types, channel
//! counts and rates are turned into that in [`super::sound`].
//!
//! What real writers get wrong is read where the meaning is plain: a missing padding byte, lengths that a pipe could not
//! know, an extensible header. What is cut off is refused.

use super::mfcc::RATE;
use super::signature;
use super::sound::{self, Coding, Layout};
use crate::{Error, Result};
use std::path::Path;

/// What a WAV file gave.
pub(super) struct Sound {
    /// 16 kHz, one channel.
    pub samples: Vec<i16>,
    /// Whether the samples were converted from another rate, channel count or type.
    pub converted: bool,
    /// Whether the header's length was a placeholder, so that everything up to the file's end was read.
    pub streamed: bool,
}

/// Reads a WAV file's `bytes`; `path` is for messages. Anything but 16 kHz, one channel and 16-bit integers is converted if
/// `convert`, else refused.
///
/// # Errors
/// [`Error::Format`] with the place for a file that is cut off, damaged or of another kind; [`Error::Input`] with the way
/// out for one that would have to be converted.
pub(super) fn parse(path: &Path, bytes: &[u8], convert: bool) -> Result<Sound> {
    let wrong = |at: usize, what: String| Error::format(path, at as u64, what);
    let data_length = match bytes.get(..12) {
        Some([b'R', b'I', b'F', b'F', .., b'W', b'A', b'V', b'E']) => None,
        Some([b'R', b'F', b'6', b'4', .., b'W', b'A', b'V', b'E']) => Some(long_length(bytes)),
        Some([b'R', b'I', b'F', b'X', ..]) => {
            return Err(wrong(0, "a big-endian (RIFX) WAV file; save it as RIFF".into()));
        }
        _ => return Err(wrong(0, format!("no WAV file: {}", signature::describe(bytes)))),
    };
    let mut format = None;
    let mut at = 12;
    while let Some(head) = bytes.get(at..at + 8) {
        let length = word(head, 4) as usize;
        let content = at + 8;
        match &head[..4] {
            b"fmt " => format = Some(read_format(path, bytes, content, length)?),
            b"data" => {
                let Some(format) = format else {
                    return Err(wrong(at, "samples before the format chunk".into()));
                };
                let length = data_length.flatten().unwrap_or(length as u64);
                return samples(path, bytes, content, length, &format, convert);
            }
            _ => {}
        }
        let Some(end) = content.checked_add(length).filter(|end| *end <= bytes.len()) else {
            let name = String::from_utf8_lossy(&head[..4]).into_owned();
            return Err(wrong(
                at,
                format!("the file ends inside its '{name}' chunk of {length} bytes: it is truncated"),
            ));
        };
        at = next_chunk(bytes, end, length);
    }
    Err(wrong(bytes.len(), "the file ends before its samples: it is truncated".into()))
}

/// A little-endian word of 32 bits; zero where `bytes` end.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn half_word(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}

/// Length of the samples of an RF64 file, which its `ds64` chunk gives in 64 bits; `None` without that chunk.
fn long_length(bytes: &[u8]) -> Option<u64> {
    let chunk = bytes.get(12..44).filter(|chunk| &chunk[..4] == b"ds64")?;
    Some(u64::from(word(chunk, 16)) | u64::from(word(chunk, 20)) << 32)
}

/// Where the chunk after one that ends at `end` begins: chunks of odd length are followed by a byte of padding, which some
/// writers forget.
fn next_chunk(bytes: &[u8], end: usize, length: usize) -> usize {
    let is_name =
        |at: usize| bytes.get(at..at + 4).is_some_and(|name| name.iter().all(|b| (0x20..0x7f).contains(b)));
    let unpadded = length % 2 == 1 && bytes.get(end).is_some_and(|byte| *byte != 0) && is_name(end);
    end + usize::from(length % 2 == 1 && !unpadded)
}

/// What a format chunk says, and where it is.
struct Format {
    at: usize,
    layout: Layout,
    rate: u32,
}

fn read_format(path: &Path, bytes: &[u8], at: usize, length: usize) -> Result<Format> {
    const EXTENSIBLE: u16 = 0xfffe;
    let wrong = |at: usize, what: String| Error::format(path, at as u64, what);
    let Some(chunk) = bytes.get(at..).and_then(|rest| rest.get(..length)).filter(|_| length >= 16) else {
        return Err(wrong(at, format!("a format chunk of {length} bytes: it is cut off or damaged")));
    };
    // The extensible form keeps the coding in the first bytes of an identifier.
    let tag = match half_word(chunk, 0) {
        EXTENSIBLE => half_word(chunk, 24),
        tag => tag,
    };
    let (channels, rate) = (half_word(chunk, 2), word(chunk, 4));
    let (frame, bits) = (half_word(chunk, 12), half_word(chunk, 14));
    let coding = match (tag, bits) {
        (1, 8) => Coding::Unsigned8,
        (1, 16) => Coding::Signed16,
        (1, 24) => Coding::Signed24,
        (1, 32) => Coding::Signed32,
        (3, 32) => Coding::Float32,
        (3, 64) => Coding::Float64,
        (1 | 3, _) => {
            return Err(wrong(
                at + 14,
                format!("{bits}-bit samples; known: 8, 16, 24 and 32-bit integers, 32 and 64-bit floats"),
            ));
        }
        _ => {
            return Err(wrong(
                at,
                format!("samples of coding {tag} (compressed?); save the file as PCM, 16-bit"),
            ));
        }
    };
    if channels == 0 || channels > 256 {
        return Err(wrong(at + 2, format!("{channels} channels")));
    }
    let layout = Layout { coding, channels: usize::from(channels) };
    // Zero is what careless writers leave there.
    if frame != 0 && usize::from(frame) != layout.frame_bytes() {
        return Err(wrong(
            at + 12,
            format!("frames of {frame} bytes for {channels} channels of {bits} bits: the header is damaged"),
        ));
    }
    if !sound::RATES.contains(&rate) {
        return Err(wrong(at + 4, format!("{rate} Hz instead of {RATE} Hz")));
    }
    Ok(Format { at, layout, rate })
}

/// The samples at `at`, announced to be `length` bytes.
fn samples(
    path: &Path,
    bytes: &[u8],
    at: usize,
    length: u64,
    format: &Format,
    convert: bool,
) -> Result<Sound> {
    /// Lengths from here on are what programs write that can't know them: 0xffffffff, 0x7ffff000, and those less a header.
    const PLACEHOLDERS: u64 = 0x7fff_0000;
    let there = (bytes.len() - at) as u64;
    let frame = format.layout.frame_bytes() as u64;
    // Zero is one of them too, unless the file's own length says that only chunks follow.
    let whole_file = u64::from(word(bytes, 4)) + 8 == bytes.len() as u64;
    let streamed = there < length && length >= PLACEHOLDERS || length == 0 && there > 0 && !whole_file;
    let length = match streamed {
        true => there - there % frame,
        false if length > there => {
            return Err(Error::format(
                path,
                bytes.len() as u64,
                format!("the file ends before the {} samples it announces", length / frame),
            ));
        }
        false if !length.is_multiple_of(frame) => {
            return Err(Error::format(
                path,
                at as u64 - 4,
                format!("{length} bytes of samples are no whole number of {frame}-byte frames"),
            ));
        }
        false => length,
    };
    let data = &bytes[at..at + length as usize];
    let layout = format.layout;
    if layout.channels == 1 && format.rate as usize == RATE && layout.coding == Coding::Signed16 {
        let samples = data.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        return Ok(Sound { samples, converted: false, streamed });
    }
    if !convert {
        let at = format.at as u64;
        let (place, what) = if layout.channels != 1 {
            (at + 2, format!("{} channels instead of 1", layout.channels))
        } else if format.rate as usize != RATE {
            (at + 4, format!("{} Hz instead of {RATE} Hz", format.rate))
        } else {
            (at + 14, format!("{} samples instead of 16-bit integers", layout.coding.name()))
        };
        return Err(Error::input_hint(
            Error::format(path, place, what).to_string(),
            "convert the files to 16 kHz, one channel, 16 bits, or set 'audio: {convert: true}' in the data set",
        ));
    }
    let samples = sound::convert(data, layout, format.rate).map_err(|frame| {
        let place = at as u64 + frame as u64 * layout.frame_bytes() as u64;
        Error::format(path, place, format!("sample {frame} is not a finite number"))
    })?;
    Ok(Sound { samples, converted: true, streamed })
}

#[cfg(test)]
#[path = "wav_tests.rs"]
pub(super) mod tests;
