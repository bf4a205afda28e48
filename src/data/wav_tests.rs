//! WAV files as real programs write them, each of which must give the samples that its plain form gives.

use super::*;
use proptest::prelude::*;

/// A chunk with its padding byte.
fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let padding = &[0][..content.len() % 2];
    [name.as_slice(), &(content.len() as u32).to_le_bytes(), content, padding].concat()
}

fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = [b"WAVE".as_slice(), &chunks.concat()].concat();
    [b"RIFF".as_slice(), &(body.len() as u32).to_le_bytes(), &body].concat()
}

/// A format chunk; `more` follows the sixteen bytes.
fn format(tag: u16, channels: u16, rate: u32, bits: u16, more: &[u8]) -> Vec<u8> {
    let frame = channels * bits.div_ceil(8);
    let mut content = [tag, channels].map(u16::to_le_bytes).concat();
    content.extend([rate, rate * u32::from(frame)].map(u32::to_le_bytes).concat());
    content.extend([frame, bits].map(u16::to_le_bytes).concat());
    content.extend(more);
    chunk(b"fmt ", &content)
}

fn plain() -> Vec<u8> {
    format(1, 1, 16_000, 16, &[])
}

const SAMPLES: [i16; 5] = [0, 1, -1, i16::MAX, i16::MIN];

fn little(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// A WAV file in memory.
pub(crate) fn wav(channels: u16, rate: u32, samples: &[i16]) -> Vec<u8> {
    riff(&[format(1, channels, rate, 16, &[]), chunk(b"data", &little(samples))])
}

fn read(bytes: &[u8]) -> Result<Sound> {
    parse(Path::new("a.wav"), bytes, false)
}

fn message(bytes: &[u8]) -> String {
    read(bytes).map(|_| ()).unwrap_err().to_string()
}

/// Replaces the length of the `data` chunk, and that of the file.
fn with_lengths(mut bytes: Vec<u8>, data: u32, file: u32) -> Vec<u8> {
    let at = bytes.windows(4).position(|name| name == b"data").unwrap();
    bytes[at + 4..at + 8].copy_from_slice(&data.to_le_bytes());
    bytes[4..8].copy_from_slice(&file.to_le_bytes());
    bytes
}

/// Whatever stands around the samples, and however their length is given, they come back as written.
#[test]
fn samples_come_back_whatever_is_around_them() {
    let data = chunk(b"data", &little(&SAMPLES));
    let guid = |tag: u8| [tag, 0, 0, 0, 0, 0, 16, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
    let extensible = |mask: u8| [&[22, 0, 16, 0, mask, 0, 0, 0][..], &guid(1)].concat();
    let list =
        |text: &[u8]| chunk(b"LIST", &[b"INFOISFT", &(text.len() as u32).to_le_bytes()[..], text].concat());
    let unpadded = {
        let mut list = list(b"abc");
        list.pop();
        list
    };
    let files = [
        ("plain", riff(&[plain(), data.clone()])),
        ("format of 18 bytes", riff(&[format(1, 1, 16_000, 16, &[0, 0]), data.clone()])),
        ("format of 40 bytes", riff(&[format(1, 1, 16_000, 16, &[0; 24]), data.clone()])),
        ("extensible", riff(&[format(0xfffe, 1, 16_000, 16, &extensible(4)), data.clone()])),
        ("extensible without a mask", riff(&[format(0xfffe, 1, 16_000, 16, &extensible(0)), data.clone()])),
        ("LIST before", riff(&[plain(), list(b"Lavf60\0\0"), data.clone()])),
        ("odd LIST before", riff(&[plain(), list(b"abc"), data.clone()])),
        ("odd LIST without padding", riff(&[plain(), unpadded, data.clone()])),
        ("JUNK first", riff(&[chunk(b"JUNK", &[0; 28]), plain(), data.clone()])),
        ("bext first", riff(&[chunk(b"bext", &[0; 602]), plain(), data.clone()])),
        ("PAD", riff(&[plain(), chunk(b"PAD ", &[0; 4000]), data.clone()])),
        ("fact", riff(&[plain(), chunk(b"fact", &[5, 0, 0, 0]), data.clone()])),
        ("LIST after", riff(&[plain(), data.clone(), list(b"abc\0")])),
        ("odd ID3 after", riff(&[plain(), data.clone(), chunk(b"id3 ", &[0; 11])])),
        ("bytes after", [riff(&[plain(), data.clone()]), b"garbage!!".to_vec()].concat()),
        ("file length wrong", with_lengths(riff(&[plain(), data.clone()]), 10, 36)),
        (
            "pipe of ffmpeg",
            with_lengths(riff(&[plain(), list(b"Lavf60\0\0"), data.clone()]), u32::MAX, u32::MAX),
        ),
        ("pipe of sox", with_lengths(riff(&[plain(), data.clone()]), 0x7fff_f000, 0x7fff_f024)),
        ("pipe less a header", with_lengths(riff(&[plain(), data.clone()]), u32::MAX - 44, u32::MAX - 8)),
        ("pipe of zeros", with_lengths(riff(&[plain(), data.clone()]), 0, 0)),
        ("rates of zero", {
            let mut bytes = riff(&[plain(), data.clone()]);
            bytes[28..34].fill(0);
            bytes
        }),
        ("RF64", {
            let long = [&[0u8; 8][..], &10u64.to_le_bytes(), &[0; 12]].concat();
            let tail = riff(&[plain(), data.clone(), list(b"abc\0")])[12..].to_vec();
            let file = [b"RF64\xff\xff\xff\xffWAVE".to_vec(), chunk(b"ds64", &long), tail].concat();
            let at = file.windows(4).position(|name| name == b"data").unwrap();
            let mut file = file;
            file[at + 4..at + 8].fill(0xff);
            file
        }),
    ];
    for (name, bytes) in files {
        match read(&bytes) {
            Ok(sound) => {
                assert_eq!(sound.samples, SAMPLES, "{name}");
                assert_eq!(sound.streamed, name.starts_with("pipe"), "{name}");
                assert!(!sound.converted, "{name}");
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

/// A streamed file may end in the middle of a sample: what a killed recorder leaves.
#[test]
fn a_stream_may_end_inside_a_sample() {
    let bytes = with_lengths(wav(1, 16_000, &SAMPLES), u32::MAX, u32::MAX);
    assert_eq!(read(&bytes[..bytes.len() - 1]).unwrap().samples, SAMPLES[..4]);
}

/// No samples at all, with chunks behind, is an empty clip and not a stream.
#[test]
fn an_empty_clip_is_empty() {
    let sound = read(&riff(&[plain(), chunk(b"data", &[]), chunk(b"LIST", b"INFO")])).unwrap();
    assert!(sound.samples.is_empty() && !sound.streamed);
}

/// Another rate, channel count or sample type is refused at the field that says so, with the setting that converts it.
#[test]
fn other_formats_are_refused_with_their_place() {
    let refused = |bytes: &[u8], expected: &str| {
        let error = read(bytes).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(error.is_user_error() && error.hint().unwrap().contains("audio: {convert: true}"));
    };
    refused(&wav(1, 8000, &[0; 10]), "a.wav: byte 24: 8000 Hz instead of 16000 Hz");
    refused(&wav(2, 16_000, &[0; 10]), "a.wav: byte 22: 2 channels instead of 1");
    let float = riff(&[format(3, 1, 16_000, 32, &[0, 0]), chunk(b"data", &[0; 8])]);
    refused(&float, "a.wav: byte 34: 32-bit float samples instead of 16-bit integers");
    let byte = riff(&[format(1, 1, 16_000, 8, &[]), chunk(b"data", &[128; 8])]);
    refused(&byte, "a.wav: byte 34: 8-bit integer samples instead of 16-bit integers");
}

/// With `convert`, every sample type, channel count and rate gives samples; the same sound gives the same samples.
#[test]
fn other_formats_are_converted() {
    let data = |tag: u16, bits: u16, channels: u16, content: Vec<u8>| {
        let bytes = riff(&[format(tag, channels, 16_000, bits, &[]), chunk(b"data", &content)]);
        let sound = parse(Path::new("a.wav"), &bytes, true).unwrap();
        assert!(sound.converted);
        sound.samples
    };
    // Multiples of 256, which eight bits hold.
    let samples = [0i16, 256, -512, 32_512, -32_768];
    let each =
        |bytes: &dyn Fn(i16) -> Vec<u8>| samples.iter().flat_map(|sample| bytes(*sample)).collect::<Vec<_>>();
    assert_eq!(data(1, 8, 1, each(&|s| vec![((s >> 8) + 128) as u8])), samples);
    assert_eq!(data(1, 24, 1, each(&|s| (i32::from(s) << 16).to_le_bytes()[1..].to_vec())), samples);
    assert_eq!(data(1, 32, 1, each(&|s| (i32::from(s) << 16).to_le_bytes().to_vec())), samples);
    assert_eq!(data(3, 32, 1, each(&|s| (f32::from(s) / 32_768.0).to_le_bytes().to_vec())), samples);
    assert_eq!(data(3, 64, 1, each(&|s| (f64::from(s) / 32_768.0).to_le_bytes().to_vec())), samples);
    assert_eq!(data(1, 16, 2, each(&|s| [s.to_le_bytes(), s.to_le_bytes()].concat())), samples);
    let other = parse(Path::new("a.wav"), &wav(2, 44_100, &[100; 2 * 4_410]), true).unwrap();
    assert_eq!(other.samples.len(), 1_600);
    assert!(other.samples[700..900].iter().all(|sample| (sample - 100).abs() <= 1));
}

/// What is cut off, compressed, damaged or no WAV file at all is refused, with the place.
#[test]
fn damage_is_located() {
    let whole = wav(1, 16_000, &[7; 10]);
    assert_eq!(message(&whole[..50]), "a.wav: byte 50: the file ends before the 10 samples it announces");
    assert_eq!(message(&whole[..40]), "a.wav: byte 40: the file ends before its samples: it is truncated");
    assert!(message(&whole[..30]).contains("byte 20: a format chunk of 16 bytes: it is cut off"));
    assert!(message(&riff(&[chunk(b"data", &[0; 8])])).contains("byte 12: samples before the format chunk"));
    assert!(message(b"fLaC\0\0\0\x22").contains("FLAC"));
    assert!(message(b"").contains("empty"));
    assert!(message(&[b"RIFX".as_slice(), &[0; 40]].concat()).contains("big-endian"));
    for (tag, bits, expected) in
        [(17, 4, "coding 17"), (6, 8, "coding 6"), (1, 12, "12-bit"), (3, 16, "16-bit")]
    {
        let bytes = riff(&[format(tag, 1, 16_000, bits, &[0, 0]), chunk(b"data", &[0; 8])]);
        assert!(message(&bytes).contains(expected), "{}", message(&bytes));
    }
    assert!(message(&wav(0, 16_000, &[])).contains("byte 22: 0 channels"));
    assert!(message(&wav(1, 3, &[0; 4])).contains("byte 24: 3 Hz"));
    let mut frame = whole.clone();
    frame[32] = 3;
    assert!(message(&frame).contains("byte 32: frames of 3 bytes"));
    let odd = riff(&[plain(), chunk(b"data", &[0; 9])]);
    assert!(message(&odd).contains("9 bytes of samples are no whole number"), "{}", message(&odd));
}

proptest! {
    /// No bytes may make the parser panic.
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), convert: bool) {
        let _ = parse(Path::new("a.wav"), &bytes, convert);
    }

    /// Changed header bytes may not panic either; a cut file is an error.
    #[test]
    fn damaged_files_never_panic(at in 0usize..44, value: u8, cut in 0usize..64, convert: bool) {
        let whole = wav(1, 16_000, &[7; 10]);
        let mut damaged = whole.clone();
        damaged[at] = value;
        let _ = parse(Path::new("a.wav"), &damaged, convert);
        prop_assert!(read(&whole[..cut.min(whole.len() - 1)]).is_err());
    }
}
