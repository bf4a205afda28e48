//! Sizes and checksums of whole files.

use super::RemoteFile;
use crate::data::signature;
use crate::{Error, Result};
use sha2::Digest as _;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes read at a time.
const PIECE: usize = 1 << 20;

/// What is wrong with a copy of `file`, in words; `None` where size and checksums are the published ones.
pub(super) fn problem(file: &RemoteFile, path: &Path) -> Result<Option<String>> {
    let mut open = File::open(path).map_err(Error::io(path))?;
    let length = open.metadata().map_err(Error::io(path))?.len();
    if let Some(bytes) = file.bytes.filter(|bytes| *bytes != length) {
        let found = what(&mut open, path)?;
        return Ok(Some(format!("has {length} bytes in place of {bytes}{found}")));
    }
    let (mut md5, mut sha256) = (md5::Md5::new(), sha2::Sha256::new());
    let with_sha256 = file.sha256.is_some() || file.sha256_prefix.is_some();
    let mut piece = vec![0; PIECE];
    loop {
        let read = open.read(&mut piece).map_err(Error::io(path))?;
        if read == 0 {
            break;
        }
        if file.md5.is_some() {
            md5.update(&piece[..read]);
        }
        if with_sha256 {
            sha256.update(&piece[..read]);
        }
    }
    let (md5, sha256) = (hex(&md5.finalize()), hex(&sha256.finalize()));
    let differs = |kind: &str, expected: &Option<String>, found: &str| {
        let expected = expected.as_ref().filter(|expected| !found.starts_with(expected.as_str()))?;
        Some(format!("{kind} is {} and should be {expected}", &found[..expected.len()]))
    };
    let wrong = differs("md5", &file.md5, &md5)
        .or_else(|| differs("sha256", &file.sha256, &sha256))
        .or_else(|| differs("sha256", &file.sha256_prefix, &sha256));
    match wrong {
        Some(wrong) => Ok(Some(format!("{wrong}{}", what(&mut open, path)?))),
        None => Ok(None),
    }
}

/// What a file looks like in brackets, where that says what happened to it; nothing elsewhere.
pub(super) fn kind(path: &Path) -> Result<String> {
    what(&mut File::open(path).map_err(Error::io(path))?, path)
}

fn what(open: &mut File, path: &Path) -> Result<String> {
    let mut start = Vec::new();
    open.seek(SeekFrom::Start(0)).map_err(Error::io(path))?;
    open.take(64).read_to_end(&mut start).map_err(Error::io(path))?;
    let kind = signature::describe(&start);
    Ok(match kind.contains("HTML") || kind.contains("empty") || kind.contains("LFS") {
        true => format!(" ({kind})"),
        false => String::new(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes and checksums are those of the standards' examples, and what differs is named.
    #[test]
    fn checksums_of_a_known_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "abc").unwrap();
        // RFC 1321 and FIPS 180-2 give these digests of "abc".
        let valid = RemoteFile {
            urls: vec!["http://h/a".into()],
            bytes: Some(3),
            md5: Some("900150983cd24fb0d6963f7d28e17f72".into()),
            sha256: Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into()),
            sha256_prefix: Some("ba7816bf".into()),
            read: String::new(),
            unpack: None,
        };
        assert_eq!(problem(&valid, &path).unwrap(), None);
        let wrong = |change: &dyn Fn(&mut RemoteFile)| {
            let mut file = valid.clone();
            change(&mut file);
            problem(&file, &path).unwrap().unwrap()
        };
        assert_eq!(wrong(&|file| file.bytes = Some(4)), "has 3 bytes in place of 4");
        assert!(wrong(&|file| file.md5 = Some("0".repeat(32))).starts_with("md5 is 9001"));
        assert!(wrong(&|file| file.sha256 = Some("0".repeat(64))).starts_with("sha256 is ba78"));
        let prefix = wrong(&|file| file.sha256_prefix = Some("00000000".into()));
        assert_eq!(prefix, "sha256 is ba7816bf and should be 00000000");
        std::fs::write(&path, "<html>no").unwrap();
        assert!(wrong(&|_| {}).contains("HTML"));
    }
}
