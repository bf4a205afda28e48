//! Fetching of data sets and published checkpoints: a table of where they are ([`Table`]), downloads that resume, checksums,
//! unpacking beside the place and renaming, and the comparison of what is there with what should be.
//!
//! Not here: reading of data sets, and how progress is shown.

mod archive;
mod checksum;
mod download;
mod manifest;
mod network;
mod table;
mod verify;

pub use table::{Kind, RemoteFile, Source, Table, Target};
pub use verify::{Checked, Verified};

use crate::{Error, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Folder below the data folder for what is not data: downloads, staging, manifests. Hidden, so that no reader takes it for
/// data.
const OWN: &str = ".ecqx";

/// Who is told how a download goes.
pub trait Watch {
    /// A file begins, `done` bytes of it being there; the publisher may not say how long it is.
    fn begin(&self, file: &str, done: u64, total: Option<u64>);
    /// So many bytes of the file are there now.
    fn advance(&self, done: u64);
    /// The file is complete, or given up.
    fn end(&self);
    /// What else happens, in a line.
    fn note(&self, line: &str);
}

/// How to fetch.
pub struct Fetcher<'a> {
    /// Where data sets and checkpoints belong.
    pub data_dir: PathBuf,
    /// Address in place of the publishers': files are asked for as `MIRROR/FILE`.
    pub mirror: Option<String>,
    /// Silence of a server after which a connection counts as dead.
    pub stall: Duration,
    /// Further attempts after one in which nothing arrived.
    pub retries: u32,
    /// Whether archives stay after they were unpacked.
    pub keep_archives: bool,
    /// Who is told.
    pub watch: &'a dyn Watch,
}

/// What [`Fetcher::fetch`] did with a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The folder or file.
    pub path: PathBuf,
    /// Whether it was there before, complete.
    pub was_there: bool,
    /// Bytes that were downloaded for it.
    pub downloaded: u64,
}

impl Fetcher<'_> {
    /// Fetches all targets of a source that are not there yet. Until a target is complete and checked, nothing stands at its
    /// place; what stands there already is compared and left alone.
    ///
    /// # Errors
    /// [`Error::Download`] where a file cannot be had, with which file to put where by other means; [`Error::Input`] for
    /// what is there but not complete, and while another process fetches the same; [`Error::Format`] for archives that do
    /// not hold what they should.
    pub fn fetch(&self, source: &Source) -> Result<Vec<Fetched>> {
        let own = self.data_dir.join(OWN);
        std::fs::create_dir_all(&own).map_err(Error::io(&own))?;
        let _lock = lock(&own, &source.name)?;
        source.targets.iter().map(|target| self.target(&own, target)).collect()
    }

    fn target(&self, own: &Path, target: &Target) -> Result<Fetched> {
        let path = self.data_dir.join(&target.path);
        if path.symlink_metadata().is_ok() {
            let checked = verify::target(&self.data_dir, target)?;
            if let Some(problem) = checked.problems.first() {
                return Err(Error::input_hint(
                    format!("{}: is there, but not complete: {problem}", path.display()),
                    "move it away and fetch again; nothing that is there is overwritten",
                ));
            }
            return Ok(Fetched { path, was_there: true, downloaded: 0 });
        }
        let mut downloaded = 0;
        let mut obtained = Vec::new();
        for file in &target.files {
            let got = self.obtain(own, file)?;
            downloaded += got.downloaded;
            obtained.push(got);
        }
        let staging = tempfile::Builder::new().prefix("staging-").tempdir_in(own).map_err(Error::io(own))?;
        let staged = staging.path().join(&target.path);
        let mut entries = Vec::new();
        for (file, got) in target.files.iter().zip(&obtained) {
            match &file.unpack {
                Some(into) => {
                    self.watch.note(&format!("unpacking {}", file.name()));
                    entries.extend(archive::unpack(&got.path, staging.path(), into)?);
                }
                None => {
                    let to = if target.is_file() { staged.clone() } else { staged.join(file.name()) };
                    entries.push(manifest::copy(&got.path, staging.path(), &to)?);
                }
            }
        }
        if let Some(problem) = verify::contents(&staged, target)?.first() {
            let name = target.files.first().map_or("", |file| file.name());
            let message = format!("does not hold what it should: {problem}");
            return Err(Error::format(name, 0, message));
        }
        if !target.is_file() {
            manifest::write(&manifest::path(&self.data_dir, target), target, &entries)?;
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
        }
        std::fs::rename(&staged, &path).map_err(Error::io(&path))?;
        for got in obtained.iter().filter(|got| got.is_own && !self.keep_archives) {
            std::fs::remove_file(&got.path).map_err(Error::io(&got.path))?;
        }
        Ok(Fetched { path, was_there: false, downloaded })
    }

    /// A file of a source, checked: one that the user put into the data folder, one that an earlier call downloaded, or a
    /// new download.
    fn obtain(&self, own: &Path, file: &RemoteFile) -> Result<Obtained> {
        let given = self.data_dir.join(file.name());
        if given.is_file() {
            if let Some(problem) = file.problem(&given)? {
                return Err(Error::input_hint(
                    format!("{}: {problem}", given.display()),
                    "remove it to have it downloaded, or get it again",
                ));
            }
            return Ok(Obtained { path: given, is_own: false, downloaded: 0 });
        }
        let kept = own.join("downloads").join(file.name());
        if kept.is_file() && file.problem(&kept)?.is_none() {
            return Ok(Obtained { path: kept, is_own: true, downloaded: 0 });
        }
        let downloaded = download::download(self, file, &kept)?;
        Ok(Obtained { path: kept, is_own: true, downloaded })
    }
}

/// A checked file on this machine.
struct Obtained {
    path: PathBuf,
    /// Whether it is this program's to remove.
    is_own: bool,
    downloaded: u64,
}

/// Keeps other processes from fetching the same until it is dropped.
fn lock(own: &Path, name: &str) -> Result<File> {
    let path = own.join(format!("{name}.lock"));
    let file = File::create(&path).map_err(Error::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(Error::input_hint(format!("{name}: another process is fetching it"), "wait for it to end"))
        }
        // File systems without locks: two fetches at once cost a download, not data.
        Err(std::fs::TryLockError::Error(_)) => Ok(file),
    }
}
