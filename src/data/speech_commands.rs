//! Google Speech Commands: a folder per word with one-second WAV files, split by lists or by the speaker's hash.
//!
//! The recipe is the publisher's (Warden 2018, arXiv:1804.03209): some words are keywords, a share of clips of the other
//! words forms `_unknown_`, cuts of background noise form `_silence_`.

use super::audio::{AudioParts, AudioSet, CLIP, Clip};
use super::listing::tail;
use super::speech_split::split_words;
use super::speech_words::{Words, list_words};
use super::{Dataset, DatasetSpec, Digest, Family, Split, listing, read_file, sound, wav};
use crate::error::closest;
use crate::rng::Rng;
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FOLDER: &str = "speech_commands_v0.02";
const TEST_FOLDER: &str = "speech_commands_test_set_v0.02";
/// Folder of the background recordings, beside the words.
const NOISE: &str = "_background_noise_";
const UNKNOWN: &str = "_unknown_";
const SILENCE: &str = "_silence_";
/// What `keywords` says for every word that is there: the task of 35 words.
pub(super) const ALL: &str = "all";
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
        "audio",
        "augmentation.time_shift_ms",
        "augmentation.noise_probability",
        "augmentation.noise_volume",
    ],
    generated: false,
    present: |data_dir| data_dir.join(FOLDER).is_dir(),
    open: |spec, data_dir| open(spec, data_dir),
};

fn open(spec: &DatasetSpec, data_dir: &Path) -> Result<Arc<dyn Dataset>> {
    let root = data_dir.join(FOLDER);
    let separate_test = data_dir.join(TEST_FOLDER);
    let all_words = spec.keywords.as_deref().is_some_and(|words| words == [ALL]);
    // The separate test set is that of the task with `_unknown_` and `_silence_`.
    let has_separate_test = separate_test.is_dir() && !all_words;
    let mut notes = Vec::new();
    let mut words = split_words(&root, &mut notes)?;
    let keywords = keywords(spec, &root, &words)?;
    let share = if all_words { 0.0 } else { 0.1 };
    let unknown_share = spec.unknown_share.unwrap_or(share);
    let silence_share = spec.silence_share.unwrap_or(share);
    if all_words && unknown_share > 0.0 {
        return Err(Error::input_hint(
            format!("data set {}: unknown_share with keywords: all, which leaves no other words", spec.name),
            "leave unknown_share out",
        ));
    }
    let mut classes = keywords.clone();
    classes.extend((unknown_share > 0.0).then(|| UNKNOWN.to_owned()));
    classes.extend((silence_share > 0.0).then(|| SILENCE.to_owned()));

    let convert = spec.audio.is_some_and(|audio| audio.convert);
    let mut loader =
        Loader { root: data_dir, convert, digest: Digest::new(&spec.name), tally: Tally::default() };
    if has_separate_test {
        words[Split::Test as usize] = list_words(&separate_test, true, &mut notes)?;
    }
    let mut clips = [Vec::new(), Vec::new(), Vec::new()];
    for (split, clips) in [Split::Train, Split::Validation, Split::Test].into_iter().zip(&mut clips) {
        let all = &words[split as usize];
        let published = split == Split::Test && has_separate_test;
        let files = if published { whole(all, &classes) } else { choose(all, &keywords, unknown_share) };
        let spoken = files.iter().filter(|(class, _)| keywords.contains(class)).count();
        *clips = loader.clips(&files, &classes)?;
        if !published && silence_share > 0.0 {
            let label = classes.len() as u32 - 1;
            let count = (spoken as f64 * silence_share).ceil() as usize;
            clips.extend((0..count).map(|_| Clip { samples: None, label }));
        }
    }
    let noise = loader.noise(&root.join(NOISE), &mut notes)?;
    let Loader { mut digest, tally, .. } = loader;
    tally.finish(&mut digest, &mut notes);
    let [train, validation, test] = clips;
    let parts = AudioParts { classes, train, validation, test, noise, notes };
    Ok(Arc::new(AudioSet::new(spec, parts, digest)?))
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
    if wanted == &[ALL] {
        return Ok(known.into_iter().map(str::to_owned).collect());
    }
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

/// What was unusual about the files.
#[derive(Default)]
struct Tally {
    /// How many, and the first of them.
    converted: Vec<PathBuf>,
    empty: Vec<PathBuf>,
    streamed: Vec<PathBuf>,
}

impl Tally {
    fn finish(self, digest: &mut Digest, notes: &mut Vec<String>) {
        if !self.converted.is_empty() {
            digest.json("conversion", &sound::VERSION);
        }
        let about = [
            (self.converted, "converted to 16 kHz, one channel, 16 bits"),
            (self.empty, "without samples, taken as silence under their word"),
            (self.streamed, "without a length in the header, read to their end"),
        ];
        for (files, what) in about {
            if let Some(first) = files.first() {
                notes.push(format!("WAV files {what}: {}, the first {}", files.len(), tail(first, 3)));
            }
        }
    }
}

/// Reads files and takes their content into the digest.
struct Loader<'a> {
    root: &'a Path,
    convert: bool,
    digest: Digest,
    tally: Tally,
}

impl Loader<'_> {
    fn read(&mut self, files: &[&PathBuf]) -> Result<Vec<Vec<i16>>> {
        let loaded: Vec<_> = files
            .par_iter()
            .map(|file| {
                let bytes = read_file(file)?;
                Ok((blake3::hash(&bytes), wav::parse(file, &bytes, self.convert)?))
            })
            .collect::<Result<_>>()?;
        for (file, (hash, sound)) in files.iter().zip(&loaded) {
            let name = file.strip_prefix(self.root).unwrap_or(file).to_string_lossy().replace('\\', "/");
            self.digest.part(&name, hash.as_bytes());
            let is_empty = sound.samples.is_empty();
            let mut count = |is: bool, list: fn(&mut Tally) -> &mut Vec<PathBuf>| {
                if is {
                    list(&mut self.tally).push(file.to_path_buf());
                }
            };
            count(sound.converted, |tally| &mut tally.converted);
            count(is_empty, |tally| &mut tally.empty);
            count(sound.streamed, |tally| &mut tally.streamed);
        }
        Ok(loaded.into_iter().map(|(_, sound)| sound.samples).collect())
    }

    fn clips(&mut self, files: &[(String, PathBuf)], classes: &[String]) -> Result<Vec<Clip>> {
        let audio = self.read(&files.iter().map(|(_, file)| file).collect::<Vec<_>>())?;
        let label = |class: &String| classes.iter().position(|c| c == class).unwrap_or_default() as u32;
        let clip = |((class, _), mut samples): (&(String, PathBuf), Vec<i16>)| {
            samples.truncate(CLIP);
            Clip { samples: Some(samples), label: label(class) }
        };
        Ok(files.iter().zip(audio).map(clip).collect())
    }

    /// Background recordings; those shorter than a clip are of no use.
    fn noise(&mut self, folder: &Path, notes: &mut Vec<String>) -> Result<Vec<Vec<i16>>> {
        const WITHOUT: &str = "silence is digital zero and no noise is mixed in";
        if !folder.is_dir() {
            notes.push(format!("{}: not found, so that {WITHOUT}", tail(folder, 2)));
            return Ok(Vec::new());
        }
        let files = listing::entries(folder)?;
        let recordings: Vec<_> = files.iter().filter(|file| listing::has_extension(file, "wav")).collect();
        recordings.iter().try_for_each(|file| listing::check_regular(file))?;
        let (long, short): (Vec<_>, Vec<_>) =
            self.read(&recordings)?.into_iter().partition(|samples| samples.len() >= CLIP);
        if !short.is_empty() {
            notes.push(format!("{}: shorter than a second, skipped: {}", tail(folder, 2), short.len()));
        }
        if long.is_empty() {
            notes.push(format!("{}: no recording of a second, so that {WITHOUT}", tail(folder, 2)));
        }
        Ok(long)
    }
}

#[cfg(test)]
#[path = "speech_commands_tests.rs"]
mod tests;
