//! Folders and lists of files as people's machines leave them: what is hidden is skipped, extensions count in any case, and
//! the lines of a list are brought into one form.

use super::read_file;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Whether a file or folder is no part of a data set: hidden ones (`.git`, `.ipynb_checkpoints`, the `._` files that macOS
/// puts into archives), and the folder in which archives keep those.
pub(super) fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || name == "__MACOSX"
}

/// Whether a file's extension is `extension` in any case.
pub(super) fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|own| own.eq_ignore_ascii_case(extension))
}

/// The last `parts` of a path, for notes: records are read on other machines, where the folders above differ.
pub(super) fn tail(path: &Path, parts: usize) -> String {
    let all: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    all[all.len().saturating_sub(parts)..].join("/")
}

/// What a folder holds besides hidden things, sorted.
///
/// # Errors
/// [`Error::Io`] where it can't be read.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder))?;
    let mut paths = entries
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Error::io(folder))?;
    paths.retain(|path| !is_hidden(path));
    paths.sort();
    Ok(paths)
}

/// Checks that a path is a regular file (links are followed): reading a pipe would wait for ever.
///
/// # Errors
/// [`Error::Input`] for everything else, a link to nothing among it.
pub(super) fn check_regular(path: &Path) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(Error::input_hint(format!("{}: not a regular file", path.display()), "remove it")),
        Err(_) if path.is_symlink() => {
            Err(Error::input_hint(format!("{}: a link to nothing", path.display()), "remove or mend it"))
        }
        Err(error) => Err(Error::io(path)(error)),
    }
}

/// A line of a list.
pub(super) struct Line {
    /// From 1.
    pub number: usize,
    /// Byte at which it begins.
    pub offset: u64,
    /// The line without white space around it, with `/` as separator and without `./` before it. Never empty.
    pub text: String,
}

/// The lines of a list of files. A byte-order mark, either kind of line end, empty lines, `./` and backslashes are not part
/// of a name.
///
/// # Errors
/// [`Error::Io`] where it can't be read, [`Error::Format`] where it is not text.
pub(super) fn read_list(path: &Path) -> Result<Vec<Line>> {
    parse_list(path, &read_file(path)?)
}

/// [`read_list`] of a file's content.
pub(super) fn parse_list(path: &Path, bytes: &[u8]) -> Result<Vec<Line>> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Error::format(path, error.valid_up_to() as u64, "not UTF-8 text"))?;
    let mut lines = Vec::new();
    let mut offset = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let name = line.trim_start_matches('\u{feff}').trim().replace('\\', "/");
        let name = strip_here(&name);
        if !name.is_empty() {
            lines.push(Line { number: index + 1, offset, text: name.to_owned() });
        }
        offset += line.len() as u64;
    }
    Ok(lines)
}

fn strip_here(mut name: &str) -> &str {
    while let Some(rest) = name.strip_prefix("./") {
        name = rest.trim_start_matches('/');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All the ways of writing one list are that list, and lines keep their numbers.
    #[test]
    fn lists_in_any_dress_are_one() {
        let read = |text: &str| -> Vec<(usize, String)> {
            let lines = parse_list(Path::new("x.txt"), text.as_bytes()).unwrap();
            lines.into_iter().map(|line| (line.number, line.text)).collect()
        };
        let plain = read("yes/a.wav\nno/b c.wav\n");
        assert_eq!(plain, [(1, "yes/a.wav".to_string()), (2, "no/b c.wav".to_string())]);
        for text in [
            "\u{feff}yes/a.wav\nno/b c.wav",
            "yes/a.wav\r\nno/b c.wav\r\n",
            "./yes/a.wav\n././/no/b c.wav\n",
            "yes\\a.wav\n.\\no\\b c.wav\n",
            "  yes/a.wav \n\tno/b c.wav\n\n  \n",
        ] {
            assert_eq!(read(text), plain, "{text:?}");
        }
        assert_eq!(read("\n\na")[0].0, 3);
        let error = parse_list(Path::new("x.txt"), b"yes\n\xff").err().unwrap().to_string();
        assert_eq!(error, "x.txt: byte 4: not UTF-8 text");
    }

    /// Hidden things and those of macOS archives are skipped; words that begin with an underscore are not.
    #[test]
    fn hidden_things() {
        for name in [".DS_Store", "._a.wav", ".ipynb_checkpoints", ".git", "__MACOSX"] {
            assert!(is_hidden(&Path::new("x").join(name)), "{name}");
        }
        for name in ["a.wav", "_silence_", "_background_noise_"] {
            assert!(!is_hidden(Path::new(name)), "{name}");
        }
        assert!(has_extension(Path::new("A.WAV"), "wav") && !has_extension(Path::new("wav"), "wav"));
    }
}
