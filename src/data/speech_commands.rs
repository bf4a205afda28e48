//! Google Speech Commands: a folder per word with one-second WAV files, split by lists or by the speaker's hash.
//!
//! The recipe is the publisher's (Warden 2018, arXiv:1804.03209): some words are keywords, a share of clips of the other
//! words forms `_unknown_`, cuts of background noise form `_silence_`.

use super::audio::{AudioParts, AudioSet, CLIP, Clip};
use super::{Dataset, DatasetSpec, Digest, Family, Split, read_file, wav};
use crate::error::closest;
use crate::rng::Rng;
use crate::{Error, Result};
use rayon::prelude::*;
use sha1::{Digest as _, Sha1};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FOLDER: &str = "speech_commands_v0.02";
const TEST_FOLDER: &str = "speech_commands_test_set_v0.02";
const UNKNOWN: &str = "_unknown_";
const SILENCE: &str = "_silence_";
/// The publisher's ten keywords; those without a folder are left out.
const KEYWORDS: [&str; 10] = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"];

/// Speech Commands v0.02.
pub(super) static SPEECH_COMMANDS: Family = Family {
    name: "speech-commands",
    summary: "Google Speech Commands v0.02: spoken keywords, unknown words and silence as 49×10 MFCC",
    source: "get speech_commands_v0.02 (and speech_commands_test_set_v0.02) from \
             https://www.tensorflow.org/datasets/catalog/speech_commands and unpack each into a folder of that name in \
             the data folder",
    folder: FOLDER,
    settings: &[
        "keywords",
        "unknown_share",
        "silence_share",
        "mfcc",
        "augmentation.time_shift_ms",
        "augmentation.noise_probability",
        "augmentation.noise_volume",
    ],
    generated: false,
    present: |data_dir| data_dir.join(FOLDER).is_dir(),
    open: |spec, data_dir| open(spec, data_dir),
};

/// WAV files of one split by word, each list sorted.
type Words = BTreeMap<String, Vec<PathBuf>>;

fn open(spec: &DatasetSpec, data_dir: &Path) -> Result<Arc<dyn Dataset>> {
    let root = data_dir.join(FOLDER);
    let mut words = split_words(&root)?;
    let keywords = keywords(spec, &root, &words)?;
    let unknown_share = spec.unknown_share.unwrap_or(0.1);
    let silence_share = spec.silence_share.unwrap_or(0.1);
    let mut classes = keywords.clone();
    classes.extend((unknown_share > 0.0).then(|| UNKNOWN.to_owned()));
    classes.extend((silence_share > 0.0).then(|| SILENCE.to_owned()));

    let mut loader = Loader { root: data_dir, classes: &classes, digest: Digest::new(&spec.name) };
    let separate_test = data_dir.join(TEST_FOLDER);
    let has_separate_test = separate_test.is_dir();
    if has_separate_test {
        words[Split::Test as usize] = list_words(&separate_test, true)?;
    }
    let mut clips = [Vec::new(), Vec::new(), Vec::new()];
    for (split, clips) in [Split::Train, Split::Validation, Split::Test].into_iter().zip(&mut clips) {
        let all = &words[split as usize];
        let published = split == Split::Test && has_separate_test;
        let files = if published { whole(all, &classes) } else { choose(all, &keywords, unknown_share) };
        let spoken = files.iter().filter(|(class, _)| keywords.contains(class)).count();
        *clips = loader.clips(&files)?;
        if !published && silence_share > 0.0 {
            let label = classes.len() as u32 - 1;
            let count = (spoken as f64 * silence_share).ceil() as usize;
            clips.extend((0..count).map(|_| Clip { samples: None, label }));
        }
    }
    let noise = loader.noise(&root.join("_background_noise_"))?;
    let digest = loader.digest;
    let [train, validation, test] = clips;
    Ok(Arc::new(AudioSet::new(spec, AudioParts { classes, train, validation, test, noise }, digest)?))
}

/// The spec's keywords, or those of the publisher's that are there.
fn keywords(spec: &DatasetSpec, root: &Path, words: &[Words; 3]) -> Result<Vec<String>> {
    let known: BTreeSet<&str> = words.iter().flat_map(|words| words.keys().map(String::as_str)).collect();
    let Some(wanted) = &spec.keywords else {
        let found: Vec<String> =
            KEYWORDS.iter().filter(|w| known.contains(*w)).map(|w| w.to_string()).collect();
        return if found.is_empty() {
            Err(Error::input_hint(
                format!("{}: no folder of any of the words {}", root.display(), KEYWORDS.join(", ")),
                SPEECH_COMMANDS.source,
            ))
        } else {
            Ok(found)
        };
    };
    for (index, word) in wanted.iter().enumerate() {
        if wanted[..index].contains(word) {
            return Err(Error::input(format!("data set {}: keyword `{word}` twice", spec.name)));
        }
        if !known.contains(word.as_str()) {
            let hint = match closest(word, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("words there: {}", known.iter().copied().collect::<Vec<_>>().join(", ")),
            };
            return Err(Error::input_hint(
                format!("{}: no folder of the word `{word}`", root.display()),
                hint,
            ));
        }
    }
    Ok(wanted.clone())
}

/// Files under the folders of `root`, sorted; `_…_` folders only if asked for.
fn list_words(root: &Path, special: bool) -> Result<Words> {
    let mut words = Words::new();
    for folder in sorted_entries(root)? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !folder.is_dir() || (name.starts_with('_') && !special) {
            continue;
        }
        let files =
            sorted_entries(&folder)?.into_iter().filter(|f| f.extension().is_some_and(|e| e == "wav"));
        words.insert(name, files.collect());
    }
    Ok(words)
}

fn sorted_entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder))?;
    let mut paths = entries
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Error::io(folder))?;
    paths.sort();
    Ok(paths)
}

/// The words of each split: by the lists where there are any, else by the speaker's hash.
fn split_words(root: &Path) -> Result<[Words; 3]> {
    let list = |name: &str| -> Result<Option<BTreeSet<String>>> {
        let path = root.join(name);
        if !path.is_file() {
            return Ok(None);
        }
        let text = String::from_utf8(read_file(&path)?)
            .map_err(|e| Error::format(&path, e.utf8_error().valid_up_to() as u64, "not UTF-8 text"))?;
        Ok(Some(text.lines().map(|line| line.trim().replace('\\', "/")).collect()))
    };
    let lists = [list("validation_list.txt")?, list("testing_list.txt")?];
    let mut splits = [Words::new(), Words::new(), Words::new()];
    for (word, files) in list_words(root, false)? {
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let split = if let [None, None] = lists {
                speaker_split(&name)
            } else {
                let listed = |list: &Option<BTreeSet<String>>| {
                    list.as_ref().is_some_and(|list| list.contains(&format!("{word}/{name}")))
                };
                match (listed(&lists[0]), listed(&lists[1])) {
                    (true, _) => Split::Validation,
                    (_, true) => Split::Test,
                    _ => Split::Train,
                }
            };
            splits[split as usize].entry(word.clone()).or_default().push(file);
        }
    }
    Ok(splits)
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

/// Class and file of every keyword clip and of a random, always equal choice of the others.
fn choose(words: &Words, keywords: &[String], unknown_share: f64) -> Vec<(String, PathBuf)> {
    let mut chosen: Vec<_> = keywords
        .iter()
        .flat_map(|word| words.get(word).into_iter().flatten().map(|file| (word.clone(), file.clone())))
        .collect();
    let mut others: Vec<_> =
        words.iter().filter(|(word, _)| !keywords.contains(word)).flat_map(|(_, files)| files).collect();
    Rng::stream(0, "unknown words").shuffle(&mut others);
    others.truncate((chosen.len() as f64 * unknown_share).ceil() as usize);
    chosen.extend(others.into_iter().map(|file| (UNKNOWN.to_owned(), file.clone())));
    chosen
}

/// Class and file of every clip of the published test set whose folder is a class.
fn whole(words: &Words, classes: &[String]) -> Vec<(String, PathBuf)> {
    classes
        .iter()
        .flat_map(|class| words.get(class).into_iter().flatten().map(|file| (class.clone(), file.clone())))
        .collect()
}

/// Reads files and takes their content into the digest.
struct Loader<'a> {
    root: &'a Path,
    classes: &'a [String],
    digest: Digest,
}

impl Loader<'_> {
    fn read(&mut self, files: &[&PathBuf]) -> Result<Vec<Vec<i16>>> {
        let loaded: Vec<_> = files
            .par_iter()
            .map(|file| {
                let bytes = read_file(file)?;
                Ok((blake3::hash(&bytes), wav::parse(file, &bytes)?))
            })
            .collect::<Result<_>>()?;
        for (file, (hash, _)) in files.iter().zip(&loaded) {
            let name = file.strip_prefix(self.root).unwrap_or(file).to_string_lossy().replace('\\', "/");
            self.digest.part(&name, hash.as_bytes());
        }
        Ok(loaded.into_iter().map(|(_, samples)| samples).collect())
    }

    fn clips(&mut self, files: &[(String, PathBuf)]) -> Result<Vec<Clip>> {
        let audio = self.read(&files.iter().map(|(_, file)| file).collect::<Vec<_>>())?;
        let label = |class: &String| self.classes.iter().position(|c| c == class).unwrap_or_default() as u32;
        let clip = |((class, _), mut samples): (&(String, PathBuf), Vec<i16>)| {
            samples.truncate(CLIP);
            Clip { samples: Some(samples), label: label(class) }
        };
        Ok(files.iter().zip(audio).map(clip).collect())
    }

    /// Background recordings; those shorter than a clip are of no use.
    fn noise(&mut self, folder: &Path) -> Result<Vec<Vec<i16>>> {
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let files = sorted_entries(folder)?;
        let recordings: Vec<_> = files.iter().filter(|f| f.extension().is_some_and(|e| e == "wav")).collect();
        Ok(self.read(&recordings)?.into_iter().filter(|samples| samples.len() >= CLIP).collect())
    }
}
