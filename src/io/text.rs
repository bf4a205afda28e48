//! Texts that people hand in: whatever stands at the path instead is named.

use crate::error::did_you_mean;
use crate::{Error, Result};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Longest text, bytes: a plan of 100,000 runs has a tenth of it.
const LONGEST: u64 = 1 << 30;

/// Reads a text file; a pipe is one too. A byte-order mark is left out.
///
/// # Errors
/// [`Error::Input`] when it is missing (with a suggestion), a folder, not UTF-8, or longer than a gigabyte; [`Error::Io`]
/// when the disk fails.
pub fn read_text(path: &Path) -> Result<String> {
    let shown = path.display();
    let opened = File::open(path).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    let bytes = match opened {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let hint =
                neighbour(path).unwrap_or_else(|| "is the path right, seen from the current folder?".into());
            return Err(Error::input_hint(format!("{shown}: no such file"), hint));
        }
        Err(error) if error.kind() == ErrorKind::IsADirectory => {
            return Err(Error::input_hint(
                format!("{shown} is a folder, and a file is needed"),
                format!("name the files in it, such as {shown}/*.yaml"),
            ));
        }
        Err(error) => return Err(Error::io(path)(error)),
    };
    if bytes.len() as u64 > LONGEST {
        return Err(Error::input(format!(
            "{shown}: longer than a gigabyte, so not a text that belongs here"
        )));
    }
    let text = String::from_utf8(bytes).map_err(|error| not_text(path, &error))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn not_text(path: &Path, error: &std::string::FromUtf8Error) -> Error {
    let (bytes, at) = (error.as_bytes(), error.utf8_error().valid_up_to());
    let shown = path.display();
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Error::input_hint(
            format!("{shown} is encoded as UTF-16, and UTF-8 is needed"),
            "save it as UTF-8",
        );
    }
    let line = 1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count();
    Error::input_hint(
        format!("{shown}:{line}: not a text file, or not in UTF-8 (byte {at} is {:#04x})", bytes[at]),
        "a YAML or JSON file is needed; save it as UTF-8",
    )
}

/// A file of a similar name in the same folder.
fn neighbour(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let wanted = path.file_name()?.to_string_lossy().into_owned();
    let entries = std::fs::read_dir(folder).ok()?.take(1000).flatten();
    let names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    did_you_mean(&wanted, names.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever stands at the path instead of a text is the user's mistake and named, with the way out.
    #[test]
    fn what_is_no_text_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("sweep.yaml"), "name: x").unwrap();
        std::fs::write(path("latin1"), b"a: 1\nname: caf\xe9\n").unwrap();
        std::fs::write(path("utf16"), b"\xff\xfea\0").unwrap();
        std::fs::write(path("bom"), "\u{feff}name: x").unwrap();
        let message = |name: &str| {
            let error = read_text(&path(name)).unwrap_err();
            assert!(error.is_user_error(), "{name}: {error}");
            let folder = format!("{}/", folder.path().display());
            format!("{error}; {}", error.hint().unwrap_or_default()).replace(&folder, "")
        };
        assert_eq!(message("sweeb.yaml"), "sweeb.yaml: no such file; did you mean 'sweep.yaml'?");
        assert_eq!(
            message("nothing-near"),
            "nothing-near: no such file; is the path right, seen from the current folder?"
        );
        assert_eq!(
            message("latin1"),
            "latin1:2: not a text file, or not in UTF-8 (byte 14 is 0xe9); a YAML or JSON file is needed; save it as UTF-8"
        );
        assert_eq!(message("utf16"), "utf16 is encoded as UTF-16, and UTF-8 is needed; save it as UTF-8");
        assert!(message("").contains("is a folder, and a file is needed"), "{}", message(""));
        assert!(message("sweep.yaml/inner").contains("is a file"), "{}", message("sweep.yaml/inner"));
        assert_eq!(read_text(&path("bom")).unwrap(), "name: x");
    }

    /// A pipe is a file like any other, so that a shell's process substitution works.
    #[cfg(target_os = "linux")]
    #[test]
    fn pipes_are_read() {
        use std::os::fd::AsRawFd;
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, b"name: x").unwrap();
        drop(writer);
        let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
        assert_eq!(read_text(Path::new(&path)).unwrap(), "name: x");
    }
}
