//! What a fetched folder held when it was complete: one line per file with digest, size and path. It tells later whether
//! anything was changed, removed or added.

use super::{OWN, Target};
use crate::data::listing;
use crate::io::write_atomically;
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Path below the data folder, with `/`.
    pub path: String,
    pub bytes: u64,
    /// BLAKE3, 32 hexadecimal digits.
    pub digest: String,
}

/// Digits of a digest.
const DIGITS: usize = 32;

pub(super) fn digest(hash: &blake3::Hash) -> String {
    hash.to_hex()[..DIGITS].to_owned()
}

/// A file below `root` as an entry.
pub(super) fn entry(root: &Path, path: &Path, bytes: u64, hash: &blake3::Hash) -> Entry {
    let below = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
    Entry { path: parts.join("/"), bytes, digest: digest(hash) }
}

/// Copies a file into the staging folder `root`.
pub(super) fn copy(from: &Path, root: &Path, to: &Path) -> Result<Entry> {
    let folder = to.parent().unwrap_or(root);
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let bytes = std::fs::copy(from, to).map_err(Error::io(to))?;
    let (_, hash) = hash(to)?;
    Ok(entry(root, to, bytes, &hash))
}

/// Size and digest of a file.
pub(super) fn hash(path: &Path) -> Result<(u64, blake3::Hash)> {
    let mut hasher = blake3::Hasher::new();
    let file = File::open(path).map_err(Error::io(path))?;
    hasher.update_reader(file).map_err(Error::io(path))?;
    Ok((hasher.count(), hasher.finalize()))
}

/// Where the manifest of a target is.
pub(super) fn path(data_dir: &Path, target: &Target) -> PathBuf {
    data_dir.join(OWN).join("manifests").join(format!("{}.txt", target.path.replace('/', "__")))
}

/// Writes the manifest of a target.
pub(super) fn write(path: &Path, target: &Target, entries: &[Entry]) -> Result<()> {
    let inside = format!("{}/", target.path);
    write_atomically(path, |file| {
        for Entry { path, bytes, digest } in entries.iter().filter(|entry| entry.path.starts_with(&inside)) {
            writeln!(file, "{digest} {bytes} {path}")?;
        }
        Ok(())
    })
}

/// Reads a manifest.
///
/// # Errors
/// [`Error::Format`] with the line for what is no manifest.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>> {
    let text = crate::io::read_text(path)?;
    let parse = |line: &str| {
        let mut parts = line.splitn(3, ' ');
        let digest = parts.next().filter(|digest| digest.len() == DIGITS)?.to_owned();
        let bytes = parts.next()?.parse().ok()?;
        Some(Entry { path: parts.next()?.to_owned(), bytes, digest })
    };
    text.lines()
        .enumerate()
        .map(|(number, line)| {
            let what = || Error::format(path, 0, format!("line {} is not one of a manifest", number + 1));
            parse(line).ok_or_else(what)
        })
        .collect()
}

/// Compares a folder with its manifest: what is missing, changed or more.
pub(super) fn compare(data_dir: &Path, folder: &Path, entries: &[Entry]) -> Result<Vec<String>> {
    let check = |entry: &Entry| -> Result<Option<String>> {
        let path = data_dir.join(&entry.path);
        let Ok(metadata) = std::fs::metadata(&path) else {
            return Ok(Some(format!("{} is missing", entry.path)));
        };
        if metadata.len() != entry.bytes {
            let found = metadata.len();
            return Ok(Some(format!("{} has {found} bytes in place of {}", entry.path, entry.bytes)));
        }
        let changed = digest(&hash(&path)?.1) != entry.digest;
        Ok(changed.then(|| format!("{} has changed", entry.path)))
    };
    let found: Vec<Option<String>> = entries.par_iter().map(check).collect::<Result<_>>()?;
    let mut problems: Vec<String> = found.into_iter().flatten().collect();
    let known: HashSet<PathBuf> = entries.iter().map(|entry| data_dir.join(&entry.path)).collect();
    let mut pending = vec![folder.to_path_buf()];
    while let Some(folder) = pending.pop() {
        // Hidden files are what systems leave behind; no reader takes them for data.
        for path in listing::entries(&folder)? {
            if path.is_dir() {
                pending.push(path);
            } else if !known.contains(&path) {
                problems.push(format!("{} was added", listing::tail(&path, 3)));
            }
        }
    }
    Ok(problems)
}
