//! What is handed to an engine: the missing part of a plan as a file in the store, and the command that does one entry.

use super::resources::Resources;
use super::shell;
use crate::io::write_atomically;
use crate::plan::{Plan, Wave};
use crate::{Error, Result};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The user's wishes.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Of each run.
    pub resources: Resources,
    /// Runs at a time; an engine without workers of its own takes it as an upper limit.
    pub workers: Option<usize>,
    /// Words added to the engine's command.
    pub engine_options: Vec<String>,
    /// Largest number of tasks in one array.
    pub array_limit: Option<usize>,
    /// How often workers are started again after their processes were killed.
    pub max_restarts: usize,
}

/// A plan on its way to an engine.
#[derive(Clone, Debug)]
pub struct Submission {
    /// What is missing.
    pub plan: Plan,
    /// Folder of the plan's file and of logs, absolute.
    pub folder: PathBuf,
    /// Folder of results, absolute.
    pub store: PathBuf,
    /// Folder in which commands run, absolute.
    pub working_folder: PathBuf,
    /// `ecqx exec` with everything but the entry, the threads and the device.
    pub exec: Vec<String>,
    /// The compute device: `cpu`, `cuda`, `cuda:N`.
    pub device: String,
    /// The user's wishes.
    pub options: Options,
}

impl Submission {
    /// A folder below the store that is the same for the same plan and engine, so that repeated calls pile nothing up.
    ///
    /// # Errors
    /// [`Error::Internal`] only on a defect.
    pub fn folder(store: &Path, engine: &str, plan: &Plan) -> Result<PathBuf> {
        let digest = blake3::hash(&json(plan)?).to_hex();
        Ok(store.join("submissions").join(format!("{engine}-{}", &digest[..12])))
    }

    /// The plan's file.
    pub fn plan_file(&self) -> PathBuf {
        self.folder.join("plan.json")
    }

    /// Folder of the tasks' outputs.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Writes the plan and makes the folder of logs.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be written.
    pub fn write(&self) -> Result<()> {
        std::fs::create_dir_all(self.logs()).map_err(Error::io(self.logs()))?;
        let content = json(&self.plan)?;
        write_atomically(&self.plan_file(), |file| file.write_all(&content))?;
        for wave in [Wave::Baselines, Wave::Runs] {
            let indices: Vec<usize> = (0..self.plan.len(wave)).collect();
            let content =
                serde_json::to_vec(&indices).map_err(|error| Error::Internal(format!("indices: {error}")))?;
            write_atomically(&self.items_file(wave), |file| file.write_all(&content))?;
        }
        Ok(())
    }

    /// A JSON list of a wave's indices.
    pub fn items_file(&self, wave: Wave) -> PathBuf {
        self.folder.join(format!("{}.json", wave.name()))
    }

    /// Cores of one run.
    pub fn cpus(&self) -> usize {
        self.options.resources.cpus.unwrap_or(1)
    }

    /// The command for a wave as words, without the choice of entries (`--index N`, `--all`).
    pub fn words(&self, wave: Wave, threads: usize) -> Vec<String> {
        let mut words = self.exec.clone();
        words.extend(["--threads".into(), threads.to_string()]);
        if self.device != "cpu" {
            words.extend(["--device".into(), self.device.clone()]);
        }
        words.extend(["--plan".into(), self.plan_file().display().to_string()]);
        words.extend(["--wave".into(), wave.name().into()]);
        words
    }

    /// The command for the entry that the shell expression `index` names; replaces the shell, so that signals reach it.
    pub(super) fn shell_command(&self, wave: Wave, index: &str) -> String {
        format!("exec {} --index \"{index}\"", shell::line(&self.words(wave, self.cpus())))
    }
}

fn json(plan: &Plan) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(plan).map_err(|error| Error::Internal(format!("plan: {error}")))
}
