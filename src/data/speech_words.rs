//! The clips of Speech Commands by word, as they lie in folders.

use super::listing::{self, tail};
use crate::Result;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// WAV files of one split by word, each list sorted.
pub(super) type Words = BTreeMap<String, Vec<PathBuf>>;

/// Files under the folders of `root`, sorted; `_…_` folders only if asked for.
pub(super) fn list_words(root: &Path, special: bool, notes: &mut Vec<String>) -> Result<Words> {
    let mut words = Words::new();
    let (mut empty, mut others) = (Vec::new(), Vec::new());
    for folder in listing::entries(root)? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !folder.is_dir() || (name.starts_with('_') && !special) {
            continue;
        }
        let (files, rest): (Vec<_>, Vec<_>) =
            listing::entries(&folder)?.into_iter().partition(|file| listing::has_extension(file, "wav"));
        files.par_iter().try_for_each(|file| listing::check_regular(file))?;
        others.extend(rest);
        if files.is_empty() {
            empty.push(name);
        } else {
            words.insert(name, files);
        }
    }
    if !empty.is_empty() {
        notes.push(format!("{}: no clips in the folders of {}", tail(root, 1), empty.join(", ")));
    }
    if let Some(first) = others.first() {
        let (count, first) = (others.len(), tail(first, 2));
        notes.push(format!(
            "{}: not WAV, skipped: {count} in folders of words, the first {first}",
            tail(root, 1)
        ));
    }
    Ok(words)
}
