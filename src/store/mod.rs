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

mod atomic;
mod checkpoint;
mod claim;
mod folder;
mod garbage;
mod import;
mod process;

pub use atomic::write_atomically;
pub use claim::{Claim, ClaimInfo};
pub use folder::Files;
pub use import::Imported;
pub use process::host;

use crate::run::{RunRecord, Status};
use crate::train::Snapshot;
use crate::{Error, Result};
use process::Process;
use std::path::{Path, PathBuf};

/// A folder of results.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// What a look for a run found.
pub enum Lookup {
    /// A record whose content is what was written.
    Found(Box<RunRecord>),
    /// Nothing.
    Missing,
    /// Something that must not be read, and why.
    Damaged(String),
}

impl Store {
    /// Opens or creates a store.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be made or written.
    pub fn open(root: &Path) -> Result<Self> {
        for name in ["runs", "baselines", "claims", "checkpoints", "partial"] {
            let folder = root.join(name);
            std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        }
        Ok(Self { root: root.to_path_buf() })
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

    /// Looks for a run.
    pub fn find(&self, id: &str) -> Lookup {
        let folder = self.run_folder(id);
        if !folder.is_dir() {
            return Lookup::Missing;
        }
        let verified = folder::verify(&folder).and_then(|()| {
            let path = folder.join("record.json");
            let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
            serde_json::from_slice::<RunRecord>(&bytes)
                .map_err(|error| Error::format(&path, 0, error.to_string()))
        });
        match verified {
            Ok(record) if record.id == id => Lookup::Found(Box::new(record)),
            Ok(record) => {
                Lookup::Damaged(format!("{}: holds the record of run {}", folder.display(), record.id))
            }
            Err(error) => Lookup::Damaged(error.to_string()),
        }
    }

    /// Whether a run has finished with a result that is undamaged.
    pub fn is_done(&self, id: &str) -> bool {
        matches!(self.find(id), Lookup::Found(record) if record.status == Status::Done)
    }

    /// Writes a run's folder, replacing what stood there.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk is full or the store cannot be written; nothing finished is lost then.
    pub fn save(&self, record: &RunRecord, files: &Files) -> Result<()> {
        let mut files = files.clone();
        let json = serde_json::to_vec_pretty(record)
            .map_err(|error| Error::Internal(format!("run {}: record: {error}", record.id)))?;
        files.insert("record.json".into(), json);
        folder::write(&self.root.join("partial"), &self.run_folder(&record.id), &files)
    }

    /// Writes a baseline's folder.
    pub fn save_baseline(&self, id: &str, files: &Files) -> Result<()> {
        folder::write(&self.root.join("partial"), &self.baseline_folder(id), files)
    }

    /// Whether a baseline is there and undamaged.
    pub fn has_baseline(&self, id: &str) -> bool {
        let folder = self.baseline_folder(id);
        folder.is_dir() && folder::verify(&folder).is_ok()
    }

    /// All undamaged records by id, and messages about the damaged ones.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be read.
    pub fn records(&self) -> Result<(Vec<RunRecord>, Vec<String>)> {
        use rayon::prelude::*;
        let runs = self.root.join("runs");
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&runs).map_err(Error::io(&runs))? {
            ids.push(entry.map_err(Error::io(&runs))?.file_name().to_string_lossy().into_owned());
        }
        ids.sort();
        let found: Vec<Lookup> = ids.par_iter().map(|id| self.find(id)).collect();
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        for lookup in found {
            match lookup {
                Lookup::Found(record) => records.push(*record),
                Lookup::Damaged(why) => damaged.push(why),
                Lookup::Missing => {}
            }
        }
        Ok((records, damaged))
    }

    /// Claims a run or baseline for this process; `None` when another live process has it.
    ///
    /// # Errors
    /// [`Error::Io`] when the claim cannot be written.
    pub fn claim(&self, id: &str) -> Result<Option<Claim>> {
        Claim::take(&self.root.join("claims").join(format!("{id}.json")))
    }

    /// All claims, by id.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be read.
    pub fn claims(&self) -> Result<Vec<ClaimInfo>> {
        let folder = self.root.join("claims");
        let entries = std::fs::read_dir(&folder).map_err(Error::io(&folder))?;
        let mut claims: Vec<ClaimInfo> =
            entries.flatten().filter_map(|entry| ClaimInfo::read(&entry.path())).collect();
        claims.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(claims)
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
        checkpoint::write(&path, &partial, &Process::current().tag(), about, snapshot)
    }

    /// The state of an unfinished run or baseline and what it belongs to; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Format`] when it is damaged or of another version.
    pub fn checkpoint(&self, id: &str) -> Result<Option<(serde_json::Value, Snapshot)>> {
        let path = self.checkpoint_file(id);
        if path.exists() { checkpoint::read(&path).map(Some) } else { Ok(None) }
    }

    /// Removes the state of a run or baseline that has finished.
    pub fn remove_checkpoint(&self, id: &str) {
        // One that stays is swept up by `store gc`.
        let _ = std::fs::remove_file(self.checkpoint_file(id));
    }
}
