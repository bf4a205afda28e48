//! Every reader of a data set's files by name, for tests and fuzzers that feed them damaged bytes. Not an interface to build
//! on: data sets are opened with [`super::open`].

use super::{cifar, idx, jpeg, listing, photo, pickle, voc, voc_annotation, wav};
use crate::{Error, Result};
use std::path::Path;

type Read = fn(&Path, &[u8]) -> Result<usize>;

/// Readers, each giving the number of samples, pixels or lines it found.
#[rustfmt::skip] // One line each.
const READERS: &[(&str, Read)] = &[
    ("wav", |path, bytes| Ok(wav::parse(path, bytes, false)?.samples.len())),
    ("wav-converted", |path, bytes| Ok(wav::parse(path, bytes, true)?.samples.len())),
    ("jpeg", |path, bytes| Ok(voc::frame(&jpeg::decode(path, bytes)?, 32).len())),
    ("png", |path, bytes| Ok(photo::middle(&photo::decode(path, bytes)?, 36, 32).len())),
    ("xml", |path, bytes| voc_annotation::class_of_largest(path, bytes).map(usize::from)),
    ("voc-list", |path, bytes| Ok(voc::parse_names(path, bytes)?.len())),
    ("list", |path, bytes| Ok(listing::parse_list(path, bytes)?.len())),
    ("idx", |path, bytes| {
        let bytes = idx::unpack(path, bytes.to_vec())?;
        idx::parse(path, &bytes, 3).or_else(|_| idx::parse(path, &bytes, 1)).map(|(_, values)| values.len())
    }),
    ("cifar-binary", cifar::read_binary),
    ("cifar-pickle", cifar::read_pickled),
    ("pickle", |path, bytes| {
        let pickle = pickle::Pickle::read(path, bytes)?;
        let labels = pickle.labels("labels").map_or(0, |labels| labels.len());
        Ok(labels + pickle.byte_array("data").map_or(0, |data| data.values.len()))
    }),
];

/// The readers' names.
pub fn names() -> impl Iterator<Item = &'static str> {
    READERS.iter().map(|(name, _)| *name)
}

/// Feeds `bytes` to the reader called `name`.
///
/// # Errors
/// What the reader makes of the bytes; [`Error::Input`] for an unknown reader.
pub fn read(name: &str, bytes: &[u8]) -> Result<usize> {
    match READERS.iter().find(|(known, _)| *known == name) {
        Some((_, read)) => read(Path::new(name), bytes),
        None => Err(Error::input_hint(
            format!("unknown reader '{name}'"),
            format!("known: {}", names().collect::<Vec<_>>().join(", ")),
        )),
    }
}
