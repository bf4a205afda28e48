//! What folders of classes hold: names in torchvision's order, and a digest per file. Digests of files that have not changed
//! are kept beside the data, since reading a hundred gigabytes again at every start would take longer than most runs.

use super::{listing, photo, read_file};
use crate::io::write_atomically;
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Extensions that are pictures; others are left out and counted.
const EXTENSIONS: [&str; 3] = ["jpg", "jpeg", "png"];
/// Folders within a class's folder.
const DEEPEST: usize = 8;

/// A picture and its class.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub path: PathBuf,
    pub class: u32,
    /// BLAKE3 of the file.
    pub digest: [u8; 32],
}

/// The folders of a split by name, sorted as torchvision sorts them: by code points.
///
/// # Errors
/// [`Error::Input`] for a folder without folders.
pub(super) fn classes(split: &Path) -> Result<Vec<String>> {
    let folders = listing::entries(split)?.into_iter().filter(|path| path.is_dir());
    let mut names = Vec::new();
    for path in folders {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| Error::input(format!("{}: not a name in UTF-8", path.display())))?;
        names.push(name.to_owned());
    }
    names.sort();
    match names.is_empty() {
        true => Err(Error::input_hint(
            format!("{}: no folders of classes", split.display()),
            "it needs a folder of pictures for each class, such as train/cat/1.jpg",
        )),
        false => Ok(names),
    }
}

/// The pictures of a split in the order of `classes`, without digests, and how many other files were left out.
///
/// # Errors
/// [`Error::Input`] for a folder that is no class, and for a class without pictures where `all` is set.
pub(super) fn pictures(split: &Path, classes: &[String], all: bool) -> Result<(Vec<Picture>, usize)> {
    if let Some(stranger) = self::classes(split)?.into_iter().find(|name| !classes.contains(name)) {
        return Err(Error::input_hint(
            format!("{}: '{stranger}' is no class of the training split", split.display()),
            "its folder is in the wrong place, or is missing below train/",
        ));
    }
    let (mut found, mut others) = (Vec::new(), 0);
    for (class, name) in classes.iter().enumerate() {
        let folder = split.join(name);
        let before = found.len();
        if folder.is_dir() {
            collect(&folder, class as u32, 0, &mut found, &mut others)?;
        }
        if all && found.len() == before {
            return Err(Error::input_hint(
                format!("{}: no pictures in it", folder.display()),
                "put .jpg, .jpeg or .png files into it, or remove it",
            ));
        }
    }
    Ok((found, others))
}

fn collect(
    folder: &Path,
    class: u32,
    depth: usize,
    found: &mut Vec<Picture>,
    others: &mut usize,
) -> Result<()> {
    let mut below = Vec::new();
    for path in listing::entries(folder)? {
        if path.is_dir() {
            below.push(path);
        } else if EXTENSIONS.iter().any(|extension| listing::has_extension(&path, extension)) {
            listing::check_regular(&path)?;
            found.push(Picture { path, class, digest: [0; 32] });
        } else {
            *others += 1;
        }
    }
    if depth == DEEPEST && !below.is_empty() {
        return Err(Error::input_hint(
            format!("{}: more than {DEEPEST} folders within each other", folder.display()),
            "is there a link to a folder above?",
        ));
    }
    below.iter().try_for_each(|folder| collect(folder, class, depth + 1, found, others))
}

/// Puts the digests of all pictures in place: those that `index` has for files of the same length and time of change, the
/// others by reading, which also finds what is no picture. `index` is written anew where anything was read.
///
/// # Errors
/// [`Error::Io`] for files that can't be read, [`Error::Format`] for files of other kinds.
pub(super) fn digests(root: &Path, index: &Path, pictures: &mut [&mut [Picture]]) -> Result<()> {
    let known = read_index(index);
    let mut all: Vec<&mut Picture> = pictures.iter_mut().flat_map(|split| split.iter_mut()).collect();
    let lines: Vec<(String, bool)> = all
        .par_iter_mut()
        .map(|picture| {
            let version = version(root, &picture.path)?;
            let read = match known.get(&version) {
                Some(digest) => {
                    picture.digest = *digest;
                    false
                }
                None => {
                    let bytes = read_file(&picture.path)?;
                    photo::check_kind(&picture.path, &bytes)?;
                    picture.digest = *blake3::hash(&bytes).as_bytes();
                    true
                }
            };
            Ok((format!("{} {version}", blake3::Hash::from(picture.digest).to_hex()), read))
        })
        .collect::<Result<_>>()?;
    if lines.iter().any(|(_, read)| *read) {
        // On a folder that is read-only all files are read again at the next start, nothing worse.
        let _ =
            write_atomically(index, |file| lines.iter().try_for_each(|(line, _)| writeln!(file, "{line}")));
    }
    Ok(())
}

/// A file's length, time of change and path, as the index names it.
fn version(root: &Path, path: &Path) -> Result<String> {
    let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
    let changed = metadata.modified().map_err(Error::io(path))?;
    let changed = changed.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let below = path.strip_prefix(root).unwrap_or(path);
    Ok(format!("{} {changed} {}", metadata.len(), below.display()))
}

/// Digests by version; what can't be read is as if it were not there.
fn read_index(path: &Path) -> HashMap<String, [u8; 32]> {
    use std::io::BufRead;
    let Ok(file) = File::open(path) else { return HashMap::new() };
    let parse = |line: String| {
        let (digest, version) = line.split_once(' ')?;
        Some((version.to_owned(), *blake3::Hash::from_hex(digest).ok()?.as_bytes()))
    };
    std::io::BufReader::new(file).lines().map_while(Result::ok).filter_map(parse).collect()
}
