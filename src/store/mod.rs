//! Content-addressed results on a plain folder, which may be a network file system; no database.
//!
//! ```text
//! STORE/runs/<id>/record.json, model.nnc, digest        one finished or failed run
//! STORE/baselines/<id>/weights.safetensors, …, digest   full-precision weights, shared by runs
//! STORE/claims/<id>.json                                who is computing what
//! STORE/checkpoints/<id>.safetensors                    where a run that has not finished would continue
//! STORE/partial/                                        what is being written
//! ```
//! A folder is written under `partial/`, flushed, and renamed into place: a reader sees nothing or all.

mod claim;
mod garbage;
mod import;
mod process;
mod sealed_folder;
#[cfg(test)]
mod trouble;

pub use claim::{Claim, ClaimInfo};
pub use import::Imported;
pub use process::host;
pub use sealed_folder::Files;

use crate::record::{EpochMetrics, RunRecord, SCHEMA};
use crate::snapshot::{self, Snapshot};
use crate::{Error, Result};
use process::Process;
use std::path::{Path, PathBuf};

/// A folder of results.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// Name of a run's record in its folder.
const RECORD: &str = "record.json";

/// Parses the record that stands at `path`.
///
/// # Errors
/// [`Error::Format`] with the place where it is no record.
fn parse_record(bytes: &[u8], path: &Path) -> Result<RunRecord> {
    // A record of another version may lack what this one needs: its version comes first.
    if let Some(schema) = schema_of(bytes).filter(|schema| *schema != SCHEMA) {
        return Err(foreign(path, schema));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let lines = bytes.split_inclusive(|&byte| byte == b'\n').take(error.line().saturating_sub(1));
        let offset = lines.map(<[u8]>::len).sum::<usize>() + error.column().saturating_sub(1);
        Error::format(path, offset as u64, error.to_string())
    })
}

/// The version of a record's format, also of a record that this program cannot read.
fn schema_of(bytes: &[u8]) -> Option<u32> {
    #[derive(serde::Deserialize)]
    struct Schema {
        schema: u32,
    }
    serde_json::from_slice(bytes).ok().map(|Schema { schema }| schema)
}

/// A record of another version: not damage, so an error of its own kind.
fn foreign(path: &Path, schema: u32) -> Error {
    Error::input_hint(
        format!("{}: a record of schema {schema}, this version of ecqx reads {SCHEMA}", path.display()),
        "use the version that wrote it; it is left alone here",
    )
}

/// Whether an error says that a file cannot be read at present, so nothing about what it holds.
fn is_unreadable(error: &Error) -> bool {
    use std::io::ErrorKind as K;
    let damage = [K::NotFound, K::IsADirectory, K::NotADirectory, K::InvalidData, K::UnexpectedEof];
    matches!(error, Error::Io { source, .. } if !damage.contains(&source.kind()))
}

/// What a look for a run found.
pub enum Lookup {
    /// A record whose content is what was written.
    Found(Box<RunRecord>),
    /// Nothing.
    Missing,
    /// Something that must not be read, and why.
    Damaged(String),
    /// A record of another version of the format, which this one leaves alone, and what it is.
    Foreign(String),
}

/// The error of a store that cannot be written.
fn read_only(root: &Path, folder: &Path, error: std::io::Error) -> Error {
    use std::io::ErrorKind::{AlreadyExists, NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    match error.kind() {
        AlreadyExists | NotADirectory => Error::input_hint(
            format!("{}: a file stands where the store has a folder", folder.display()),
            "name another store with --store",
        ),
        ReadOnlyFilesystem | PermissionDenied => Error::input_hint(
            format!("{}: the store cannot be written: {}", root.display(), error.kind()),
            "name another one with --store; `ecqx plan`, `show` and `report` work on this one",
        ),
        _ => Error::io(folder)(error),
    }
}

impl Store {
    /// Opens or creates a store.
    ///
    /// # Errors
    /// [`Error::Input`] when a folder is missing and cannot be made: read-only, or a file stands there; otherwise
    /// [`Error::Io`].
    pub fn open(root: &Path) -> Result<Self> {
        for name in ["runs", "baselines", "claims", "checkpoints", "partial"] {
            let folder = root.join(name);
            std::fs::create_dir_all(&folder).map_err(|error| read_only(root, &folder, error))?;
        }
        Ok(Self::at(root))
    }

    /// Makes sure that the store can be written, before anything is computed in vain.
    ///
    /// # Errors
    /// [`Error::Input`] when it is read-only, [`Error::Io`] when the disk is full.
    pub fn check_writable(&self) -> Result<()> {
        // Folders that are there prove nothing, a file does.
        let partial = self.root.join("partial");
        let probe = tempfile::Builder::new().prefix(&Process::current().tag()).tempfile_in(&partial);
        probe.map(drop).map_err(|error| read_only(&self.root, &partial, error))
    }

    /// A store to read from; nothing is created, and what is not there is empty.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// A store that is there.
    ///
    /// # Errors
    /// [`Error::Input`] when it is not.
    pub fn existing(root: &Path) -> Result<Self> {
        if root.join("runs").is_dir() {
            return Ok(Self::at(root));
        }
        Err(Error::input_hint(
            format!("{}: no store is there (no folder 'runs')", root.display()),
            "name the store with --store, or make results first with `ecqx run`",
        ))
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Folder of a finished run.
    pub fn run_folder(&self, id: &str) -> PathBuf {
        self.root.join("runs").join(id)
    }

    /// Folder of a baseline.
    pub fn baseline_folder(&self, id: &str) -> PathBuf {
        self.root.join("baselines").join(id)
    }

    /// Looks for a run and checks all its files.
    pub fn find(&self, id: &str) -> Lookup {
        self.look_with(id, false)
    }

    /// Looks for a run and checks its record, but not what the model file holds: for lists of many runs.
    pub fn look(&self, id: &str) -> Lookup {
        self.look_with(id, true)
    }

    fn look_with(&self, id: &str, record_alone: bool) -> Lookup {
        let folder = self.run_folder(id);
        // A folder that another worker replaces in this moment is whole at the second look.
        for attempt in 0..2 {
            if !folder.is_dir() {
                continue;
            }
            let read = sealed_folder::verified(&folder, RECORD, record_alone);
            match read.and_then(|bytes| parse_record(&bytes, &folder.join(RECORD))) {
                Err(error @ Error::Input { .. }) => return Lookup::Foreign(error.to_string()),
                Ok(record) if record.id == id => return Lookup::Found(Box::new(record)),
                Ok(record) => {
                    return Lookup::Damaged(format!(
                        "{}: holds the record of run {}",
                        folder.display(),
                        record.id
                    ));
                }
                Err(error) if attempt == 1 => return Lookup::Damaged(error.to_string()),
                Err(_) => {}
            }
        }
        Lookup::Missing
    }

    /// Whether a run's folder holds what nobody can use. What cannot be read at present, or is another version's, may be
    /// whole.
    fn is_damaged(&self, id: &str) -> bool {
        let unreadable =
            || sealed_folder::verify(&self.run_folder(id)).is_err_and(|error| is_unreadable(&error));
        matches!(self.find(id), Lookup::Damaged(_)) && !unreadable()
    }

    /// Refuses to write over the record of another version of the program.
    fn refuse_foreign(&self, id: &str) -> Result<()> {
        let path = self.run_folder(id).join(RECORD);
        match sealed_folder::read(&path).ok().and_then(|bytes| schema_of(&bytes)) {
            Some(schema) if schema > SCHEMA => Err(foreign(&path, schema)),
            _ => Ok(()),
        }
    }

    /// Names the store when it is gone rather than the file in it that could not be written.
    fn unless_gone<T>(&self, result: Result<T>) -> Result<T> {
        match result {
            Err(Error::Io { .. }) if !self.root.join("partial").is_dir() => {
                Err(Error::StoreGone(self.root.clone()))
            }
            other => other,
        }
    }

    /// Whether a run has finished with a result that is undamaged.
    pub fn is_done(&self, id: &str) -> bool {
        matches!(self.find(id), Lookup::Found(record) if record.is_done())
    }

    /// Writes a run's folder, replacing what stood there.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk is full or the store cannot be written, [`Error::StoreGone`] when it was moved; nothing
    /// finished is lost then. [`Error::Input`] when a newer version's record stands there.
    pub fn save(&self, record: &RunRecord, files: &Files) -> Result<()> {
        self.refuse_foreign(&record.id)?;
        let mut files = files.clone();
        let json = serde_json::to_vec_pretty(record)
            .map_err(|error| Error::Internal(format!("run {}: record: {error}", record.id)))?;
        files.insert(RECORD.into(), json);
        self.unless_gone(sealed_folder::write(
            &self.root.join("partial"),
            &self.run_folder(&record.id),
            &files,
        ))
    }

    /// Writes a baseline's folder.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk is full or the store cannot be written; nothing finished is lost then.
    pub fn save_baseline(&self, id: &str, files: &Files) -> Result<()> {
        self.unless_gone(sealed_folder::write(&self.root.join("partial"), &self.baseline_folder(id), files))
    }

    /// Whether a baseline is there and undamaged.
    pub fn has_baseline(&self, id: &str) -> bool {
        let folder = self.baseline_folder(id);
        folder.is_dir() && sealed_folder::verify(&folder).is_ok()
    }

    /// Ids of all runs that are there, damaged ones included, in order.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be read.
    pub fn run_ids(&self) -> Result<Vec<String>> {
        let names = self.list("runs")?.into_iter();
        Ok(names.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    /// All records by id, and messages about those that are damaged or of another version. Model files are not checked.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be read.
    pub fn records(&self) -> Result<(Vec<RunRecord>, Vec<String>)> {
        self.all(|id| self.look(id))
    }

    /// As [`records`](Self::records), with every file checked, baselines included.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be read.
    pub fn verified_records(&self) -> Result<(Vec<RunRecord>, Vec<String>)> {
        let (records, mut messages) = self.all(|id| self.find(id))?;
        for path in self.list("baselines")? {
            messages.extend(sealed_folder::verify(&path).err().map(|error| error.to_string()));
        }
        Ok((records, messages))
    }

    fn all(&self, look: impl Fn(&str) -> Lookup + Sync) -> Result<(Vec<RunRecord>, Vec<String>)> {
        use rayon::prelude::*;
        let found: Vec<Lookup> = self.run_ids()?.par_iter().map(|id| look(id)).collect();
        let (mut records, mut messages) = (Vec::new(), Vec::new());
        for lookup in found {
            match lookup {
                // Its id says nothing any more: it would stand beside the same run under its present id.
                Lookup::Found(record) if record.schema < SCHEMA => messages.push(format!(
                    "run {}: a record of schema {}; `ecqx store import` gives it its present id",
                    record.id, record.schema
                )),
                Lookup::Found(record) => records.push(*record),
                Lookup::Damaged(why) | Lookup::Foreign(why) => messages.push(why),
                Lookup::Missing => {}
            }
        }
        Ok((records, messages))
    }

    /// Claims a run or baseline for this process; `None` when another live process has it.
    ///
    /// # Errors
    /// [`Error::Io`] when the claim cannot be written.
    pub fn claim(&self, id: &str) -> Result<Option<Claim>> {
        self.unless_gone(Claim::take(&self.root.join("claims").join(format!("{id}.json"))))
    }

    /// All claims, by id.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be read.
    pub fn claims(&self) -> Result<Vec<ClaimInfo>> {
        let paths = self.list("claims")?;
        let mut claims: Vec<ClaimInfo> = paths.iter().filter_map(|path| ClaimInfo::read(path)).collect();
        claims.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(claims)
    }

    /// The epochs that a run (`ID`) or baseline (`baseline-ID`) in flight has finished, as far as its checkpoint tells.
    pub fn epochs_so_far(&self, id: &str) -> Option<Vec<EpochMetrics>> {
        snapshot::file::epochs(&self.checkpoint_file(id))
    }

    fn checkpoint_file(&self, id: &str) -> PathBuf {
        self.root.join("checkpoints").join(format!("{id}.safetensors"))
    }

    /// Writes the state of an unfinished run or baseline, replacing the one before. `about` says what it belongs to.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk is full or the store cannot be written; the state before stays then.
    pub fn save_checkpoint(&self, id: &str, about: &serde_json::Value, snapshot: &Snapshot) -> Result<()> {
        let (path, partial) = (self.checkpoint_file(id), self.root.join("partial"));
        self.unless_gone(snapshot::file::write(&path, &partial, &Process::current().tag(), about, snapshot))
    }

    /// The state of an unfinished run or baseline and what it belongs to; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Format`] when it is damaged or of another version.
    pub fn checkpoint(&self, id: &str) -> Result<Option<(serde_json::Value, Snapshot)>> {
        let path = self.checkpoint_file(id);
        if path.exists() { snapshot::file::read(&path).map(Some) } else { Ok(None) }
    }

    /// Removes the state of a run or baseline that has finished.
    pub fn remove_checkpoint(&self, id: &str) {
        // One that stays is swept up by `store gc`.
        let _ = std::fs::remove_file(self.checkpoint_file(id));
    }
}
