//! Whether what is there is what the publisher gives.

use super::table::Content;
use super::{Source, Target, manifest};
use crate::Result;
use crate::data::listing;
use std::path::{Path, PathBuf};

/// How a target was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Checked {
    /// Against the publisher's checksum.
    Checksum,
    /// File by file against what the checked archive held.
    Manifest,
    /// Names, sizes and numbers of files: it was unpacked by other means.
    Structure,
    /// It is not there.
    Absent,
}

/// What a check of a target found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The folder or file.
    pub path: PathBuf,
    /// By what it was checked.
    pub by: Checked,
    /// What is wrong; empty where nothing is.
    pub problems: Vec<String>,
}

impl Source {
    /// Compares all targets with what the publisher gives. Nothing is fetched.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) where files can't be read.
    pub fn verify(&self, data_dir: &Path) -> Result<Vec<Verified>> {
        self.targets.iter().map(|each| target(data_dir, each)).collect()
    }

    /// Whether all targets are there, complete or not.
    pub fn is_present(&self, data_dir: &Path) -> bool {
        self.targets.iter().all(|target| data_dir.join(&target.path).exists())
    }
}

pub(super) fn target(data_dir: &Path, target: &Target) -> Result<Verified> {
    let path = data_dir.join(&target.path);
    if !path.exists() {
        let problems = vec!["is not there".to_owned()];
        return Ok(Verified { path, by: Checked::Absent, problems });
    }
    if target.is_file() {
        let problem = match path.is_file() {
            true => target.files[0].problem(&path)?,
            false => Some("is not a file".into()),
        };
        return Ok(Verified { path, by: Checked::Checksum, problems: problem.into_iter().collect() });
    }
    let mut problems = contents(&path, target)?;
    let manifest = manifest::path(data_dir, target);
    let by = match manifest.is_file() {
        true => {
            problems.extend(manifest::compare(data_dir, &path, &manifest::read(&manifest)?)?);
            problems.dedup();
            Checked::Manifest
        }
        // Files that stay as they are have checksums of their own.
        false if target.files.iter().all(|file| file.unpack.is_none()) => Checked::Checksum,
        false => Checked::Structure,
    };
    Ok(Verified { path, by, problems })
}

/// What a folder lacks of what its target must hold.
pub(super) fn contents(folder: &Path, target: &Target) -> Result<Vec<String>> {
    if target.is_file() {
        return Ok(Vec::new());
    }
    if !folder.is_dir() {
        return Ok(vec!["is not a folder".into()]);
    }
    let mut problems = Vec::new();
    for content in &target.contents {
        problems.extend(lack(folder, content)?);
    }
    for file in target.files.iter().filter(|file| file.unpack.is_none()) {
        let path = folder.join(file.name());
        let problem = match path.is_file() {
            true => file.problem(&path)?,
            false => Some("is missing".to_owned()),
        };
        problems.extend(problem.map(|problem| format!("{} {problem}", file.name())));
    }
    Ok(problems)
}

fn lack(folder: &Path, content: &Content) -> Result<Option<String>> {
    let path = folder.join(&content.path);
    let name = &content.path;
    let Some(extension) = &content.extension else {
        return Ok(match (std::fs::metadata(&path), content.bytes) {
            (Err(_), _) => Some(format!("{name} is missing")),
            (Ok(found), _) if !found.is_file() => Some(format!("{name} is not a file")),
            (Ok(found), Some(bytes)) if found.len() != bytes => {
                Some(format!("{name} has {} bytes in place of {bytes}", found.len()))
            }
            _ => None,
        });
    };
    if !path.is_dir() {
        return Ok(Some(format!("{name} is missing")));
    }
    let is_one = |path: &PathBuf| listing::has_extension(path, extension);
    let found = listing::entries(&path)?.iter().filter(|path| is_one(path)).count();
    Ok(match content.count {
        Some(count) if found != count => {
            Some(format!("{name} has {found} .{extension} files in place of {count}"))
        }
        None if found == 0 => Some(format!("{name} has no .{extension} files")),
        _ => None,
    })
}
