//! What dead processes left behind in a store: claims, half-written folders and files, checkpoints that nobody needs.

use super::process::{Life, Process};
use super::{Store, claim, is_unreadable, sealed_folder};
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Age after which something half-written by a process of another machine is taken for abandoned: writing takes seconds.
const ABANDONED: Duration = Duration::from_secs(3600);

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether something in `partial/` is not being written any more.
fn is_abandoned(path: &Path) -> bool {
    match Process::life_of_writer(&name_of(path)) {
        Life::Running => false,
        Life::Gone => true,
        Life::Elsewhere => claim::distance(path).is_some_and(|distance| distance > ABANDONED),
    }
}

fn remove(path: PathBuf, removed: &mut Vec<PathBuf>) -> Result<()> {
    let result = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    match result {
        Ok(()) => removed.push(path),
        // Another call was faster.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io(&path)(error)),
    }
    Ok(())
}

impl Store {
    /// What is in a folder of the store, by name; nothing when the folder is not there.
    pub(super) fn list(&self, name: &str) -> Result<Vec<PathBuf>> {
        let folder = self.root().join(name);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io(&folder)(error)),
        };
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        let mut paths = paths.collect::<std::io::Result<Vec<_>>>().map_err(Error::io(&folder))?;
        paths.sort();
        Ok(paths)
    }

    /// Removes claims of dead processes, what they left half-written, damaged runs and baselines, and checkpoints that are
    /// damaged or whose run has finished; returns what was removed. What is being used stays.
    ///
    /// # Errors
    /// [`Error::Io`] when something cannot be removed.
    pub fn collect_garbage(&self) -> Result<Vec<PathBuf>> {
        let mut removed = Vec::new();
        for path in self.list("claims")? {
            if !claim::is_stale(&path) {
                continue;
            }
            match name_of(&path).starts_with('.') {
                // A worker's own file or guard.
                true => remove(path, &mut removed)?,
                // Taken over and released, so that a claim which another worker takes at this moment is left alone.
                false if claim::Claim::take(&path)?.is_some() => removed.push(path),
                false => {}
            }
        }
        for path in self.list("partial")? {
            if is_abandoned(&path) {
                remove(path, &mut removed)?;
            }
        }
        for path in self.list("runs")? {
            if self.is_damaged(&name_of(&path)) {
                remove(path, &mut removed)?;
            }
        }
        for path in self.list("baselines")? {
            // Files that somebody put there, or that cannot be read at present, stay.
            let unusable = |error: Error| !is_unreadable(&error);
            if path.is_dir() && sealed_folder::verify(&path).is_err_and(unusable) {
                remove(path, &mut removed)?;
            }
        }
        for path in self.list("checkpoints")? {
            let name = name_of(&path);
            let id = name.strip_suffix(".safetensors").unwrap_or(&name);
            let is_finished = match id.strip_prefix("baseline-") {
                Some(id) => self.has_baseline(id),
                None => self.is_done(id),
            };
            // Of another version, or unreadable at present, is not damaged.
            if is_finished || matches!(self.checkpoint(id), Err(Error::Format { .. })) {
                remove(path, &mut removed)?;
            }
        }
        Ok(removed)
    }
}
