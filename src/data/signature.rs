//! What a file that is not what it should be begins with, for messages that say what happened to it.

/// The kind of file that `bytes` begin like, as words: "an HTML page, as a failed download leaves".
pub(super) fn describe(bytes: &[u8]) -> String {
    let text =
        bytes.iter().position(|byte| !byte.is_ascii_whitespace()).map_or(bytes, |start| &bytes[start..]);
    let begins = |signature: &[u8]| bytes.starts_with(signature);
    let kind = match bytes {
        [] => "the file is empty",
        _ if text.first() == Some(&b'<') => "it is an HTML or XML page, as a failed download leaves",
        _ if begins(b"version https://git-lfs") => {
            "it is a pointer of Git LFS: fetch the content with 'git lfs pull'"
        }
        _ if begins(&[0x1f, 0x8b]) => "it is a gzip file",
        _ if begins(b"PK\x03\x04") => "it is a zip archive",
        _ if begins(b"\x05\x16\x07") || begins(&[0, 5, 0x16, 7]) => {
            "it is a resource fork of macOS, which holds no data"
        }
        _ if begins(b"fLaC") => "it is a FLAC file",
        _ if begins(b"OggS") => "it is an Ogg file",
        _ if begins(b"ID3") || begins(&[0xff, 0xfb]) => "it is an MP3 file",
        _ if begins(b"RIFF") => "it is a RIFF file of another kind",
        _ if begins(b"\x89PNG") => "it is a PNG image",
        _ if begins(b"GIF8") => "it is a GIF image",
        _ if begins(&[0xff, 0xd8, 0xff]) => "it is a JPEG image",
        [0x80, 2..=5, ..] => "it is a Python pickle",
        _ => return format!("it begins with {:02x?}", &bytes[..bytes.len().min(4)]),
    };
    kind.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Downloads that failed and files with another's name are called what they are.
    #[test]
    fn kinds_are_named() {
        assert!(describe(b"\n <html>403").contains("HTML"));
        assert!(describe(b"").contains("empty"));
        assert!(describe(&[0, 0, 8, 3]).contains("[00, 00, 08, 03]"));
        assert!(describe(b"\x80\x04\x95").contains("pickle"));
    }
}
