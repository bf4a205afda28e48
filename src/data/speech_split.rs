//! Which clip of Speech Commands belongs to which split: the publisher's lists, or the speaker's hash where there are none.
//!
//! The lists are contracts: every line must name a clip that is there, and a clip that is on a list is never trained on.

use super::speech_words::{Words, list_words};
use super::{Split, listing};
use crate::error::closest;
use crate::{Error, Result};
use sha1::{Digest as _, Sha1};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The lists and what is on them.
const LISTS: [(&str, Split); 2] =
    [("validation_list.txt", Split::Validation), ("testing_list.txt", Split::Test)];

/// The words of each split, by the lists in `root`.
///
/// # Errors
/// [`Error::Input`] where one of the two lists is missing, a line names no clip, or a clip is on both.
pub(super) fn split_words(root: &Path, notes: &mut Vec<String>) -> Result<[Words; 3]> {
    let words = list_words(root, false, notes)?;
    let there = LISTS.map(|(list, _)| root.join(list).exists());
    if there == [false, false] {
        let lists = LISTS.map(|(list, _)| list).join(" and ");
        notes.push(format!(
            "{}: without {lists}, clips are split by the hash of their speaker",
            listing::tail(root, 1)
        ));
        return Ok(distribute(words, |_, file| speaker_split(&file_name(file))));
    }
    if let Some(((list, _), _)) = LISTS.into_iter().zip(there).find(|(_, there)| !there) {
        return Err(Error::input_hint(
            format!("{}: missing, and the other list is there", root.join(list).display()),
            "unpack it from the publisher's archive: without it, its clips would be trained on; without both lists, the \
             publisher's hash of the speaker splits the clips",
        ));
    }
    let mut splits = Listed::new(root, &words)?;
    for (list, split) in LISTS {
        splits.read(list, split, notes)?;
    }
    let Listed { splits, .. } = splits;
    Ok(distribute(words, |word, file| {
        splits.get(&key(word, &file_name(file))).copied().flatten().map_or(Split::Train, |at| at.split)
    }))
}

fn distribute(words: Words, split: impl Fn(&str, &Path) -> Split) -> [Words; 3] {
    let mut splits = [Words::new(), Words::new(), Words::new()];
    for (word, files) in words {
        for file in files {
            splits[split(&word, &file) as usize].entry(word.clone()).or_default().push(file);
        }
    }
    splits
}

fn file_name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A clip as lists name it, with the extension in lower case: some archives have it in upper case, the lists never.
fn key(word: &str, file: &str) -> String {
    match file.rsplit_once('.') {
        Some((stem, extension)) => format!("{word}/{stem}.{}", extension.to_ascii_lowercase()),
        None => format!("{word}/{file}"),
    }
}

/// Where a clip is listed.
#[derive(Clone, Copy)]
struct Place {
    list: &'static str,
    line: usize,
    split: Split,
}

/// The clips that are there and where each is listed.
struct Listed<'a> {
    root: &'a Path,
    splits: BTreeMap<String, Option<Place>>,
}

impl<'a> Listed<'a> {
    fn new(root: &'a Path, words: &Words) -> Result<Self> {
        let mut splits = BTreeMap::new();
        for (word, files) in words {
            for file in files {
                if splits.insert(key(word, &file_name(file)), None).is_some() {
                    return Err(Error::input_hint(
                        format!("{}: its name differs from another file's in case alone", file.display()),
                        "remove one of the two",
                    ));
                }
            }
        }
        Ok(Self { root, splits })
    }

    /// Takes in one list.
    fn read(&mut self, list: &'static str, split: Split, notes: &mut Vec<String>) -> Result<()> {
        let path: PathBuf = self.root.join(list);
        let mut twice = 0;
        for line in listing::read_list(&path)? {
            let place = format!("{}:{}: '{}'", path.display(), line.number, line.text);
            let name = match line.text.rsplit_once('/') {
                Some((word, file)) => key(word, file),
                None => line.text.clone(),
            };
            let Some(entry) = self.splits.get_mut(&name) else {
                let near = closest(&name, self.near(&name));
                let hint = near.map(|near| format!("did you mean '{near}'? ")).unwrap_or_default();
                return Err(Error::input_hint(
                    format!("{place} names no clip that is there"),
                    format!(
                        "{hint}unpack the publisher's archive again, or remove the line if the clip was removed on purpose; \
                         lines have the form WORD/FILE.wav"
                    ),
                ));
            };
            match entry {
                None => *entry = Some(Place { list, line: line.number, split }),
                Some(first) if first.split == split => twice += 1,
                Some(first) => {
                    return Err(Error::input_hint(
                        format!("{place} is also in {} (line {})", first.list, first.line),
                        "remove one of the two lines: a clip belongs to one split",
                    ));
                }
            }
        }
        if twice > 0 {
            notes.push(format!("{list}: lines that repeat another: {twice}"));
        }
        Ok(())
    }

    /// Clips that begin alike: comparing with a hundred thousand would take long.
    fn near(&self, name: &str) -> impl Iterator<Item = &str> {
        let start: String = name.chars().take(name.find('/').map_or(1, |slash| slash + 2)).collect();
        let from = start.clone();
        self.splits
            .range(from..)
            .map(|(name, _)| name.as_str())
            .take_while(move |name| name.starts_with(&start))
            .take(500)
    }
}

/// The publisher's `which_set` with 10 % for validation and 10 % for test: all clips of a speaker stay together, and a
/// clip keeps its split when others are added.
fn speaker_split(file: &str) -> Split {
    const MOST_PER_CLASS: u32 = (1 << 27) - 1;
    let speaker = file.split_once("_nohash_").map_or(file, |(speaker, _)| speaker);
    let hash = Sha1::digest(speaker.as_bytes());
    // The hash modulo 2²⁷ is its last 27 bits.
    let low = u32::from_be_bytes([hash[16], hash[17], hash[18], hash[19]]) & MOST_PER_CLASS;
    let percent = f64::from(low) * (100.0 / f64::from(MOST_PER_CLASS));
    match percent {
        p if p < 10.0 => Split::Validation,
        p if p < 20.0 => Split::Test,
        _ => Split::Train,
    }
}
