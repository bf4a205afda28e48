//! WAV files: 16 kHz, one channel, 16-bit integers; everything else is an error that names the file and the place.

use super::mfcc::RATE;
use crate::{Error, Result};
use hound::{SampleFormat, WavReader};
use std::io::Cursor;
use std::path::Path;

/// The samples of a WAV file's `bytes`; `path` is for messages.
///
/// # Errors
/// [`Error::Format`] for another rate, channel count or sample format, and for a truncated or foreign file.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<i16>> {
    let reader = WavReader::new(Cursor::new(bytes))
        .map_err(|e| Error::format(path, 0, format!("no readable WAV header: {e}")))?;
    let spec = reader.spec();
    let header = format_chunk(bytes).unwrap_or(0);
    if spec.channels != 1 {
        return Err(Error::format(path, header + 2, format!("{} channels instead of 1", spec.channels)));
    }
    if spec.sample_rate as usize != RATE {
        return Err(Error::format(path, header + 4, format!("{} Hz instead of {RATE} Hz", spec.sample_rate)));
    }
    if spec.sample_format != SampleFormat::Int || spec.bits_per_sample != 16 {
        let what = format!(
            "{}-bit {:?} samples instead of 16-bit integers",
            spec.bits_per_sample, spec.sample_format
        );
        return Err(Error::format(path, header + 14, what));
    }
    let announced = reader.len();
    let samples: Result<Vec<i16>, _> = reader.into_samples().collect();
    samples.map_err(|e| {
        let message = format!("the file ends before the {announced} samples it announces: {e}");
        Error::format(path, bytes.len() as u64, message)
    })
}

/// Offset of the content of the `fmt ` chunk.
fn format_chunk(bytes: &[u8]) -> Option<u64> {
    let mut at = 12;
    while let Some(head) = bytes.get(at..at + 8) {
        if &head[..4] == b"fmt " {
            return Some(at as u64 + 8);
        }
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        at = at.checked_add(8 + length + length % 2)?;
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A WAV file in memory.
    pub(crate) fn wav(channels: u16, rate: u32, samples: &[i16]) -> Vec<u8> {
        let spec = hound::WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let mut cursor = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut cursor, spec).unwrap();
        samples.iter().for_each(|s| writer.write_sample(*s).unwrap());
        writer.finalize().unwrap();
        cursor.into_inner()
    }

    /// Samples must come back as written.
    #[test]
    fn reads_what_was_written() {
        let samples = [0, 1, -1, i16::MAX, i16::MIN];
        assert_eq!(parse(Path::new("a.wav"), &wav(1, 16_000, &samples)).unwrap(), samples);
    }

    /// Another rate or channel count must be refused at the header field that says so.
    #[test]
    fn other_formats_are_refused_with_their_place() {
        let error = parse(Path::new("a.wav"), &wav(1, 8000, &[0; 10])).unwrap_err().to_string();
        assert_eq!(error, "a.wav: byte 24: 8000 Hz instead of 16000 Hz");
        let error = parse(Path::new("a.wav"), &wav(2, 16_000, &[0; 10])).unwrap_err().to_string();
        assert_eq!(error, "a.wav: byte 22: 2 channels instead of 1");
    }

    proptest! {
        /// No bytes may make the parser panic, and a truncated file must be an error.
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(Path::new("a.wav"), &bytes);
        }

        /// Flipped header bytes may not panic either; a cut file is an error.
        #[test]
        fn damaged_files_never_panic(at in 0usize..44, value: u8, cut in 0usize..64) {
            let whole = wav(1, 16_000, &[7; 10]);
            let mut damaged = whole.clone();
            damaged[at] = value;
            let _ = parse(Path::new("a.wav"), &damaged);
            prop_assert!(parse(Path::new("a.wav"), &whole[..cut.min(whole.len() - 1)]).is_err());
        }
    }
}
