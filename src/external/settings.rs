//! What an entry of the method says, and where its files lie.

use crate::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// What an entry of the method says.
#[derive(Deserialize)]
pub(super) struct Settings {
    #[serde(default = "default_label")]
    pub label: String,
    #[serde(default)]
    pub command: Vec<String>,
    /// Digests by name.
    #[serde(default)]
    pub files: Map<String, Value>,
    #[serde(default)]
    pub options: Map<String, Value>,
    pub calibration: Calibration,
    pub timeout_seconds: f64,
}

/// What calibration data consist of.
#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Calibration {
    Inputs,
    Hessian,
}

fn default_label() -> String {
    super::METHOD.name.into()
}

impl Settings {
    /// The folder in which the program works: that of its files, with the content that was planned.
    pub fn directory(&self, folders: &[PathBuf]) -> Result<Option<PathBuf>> {
        let here = PathBuf::from(".");
        let folders = folders.iter().filter(|folder| !folder.as_os_str().is_empty()).chain([&here]);
        let mut changed = None;
        for folder in folders {
            match self.files_in(folder) {
                Ok(true) => return Ok(Some(folder.clone())),
                Ok(false) => {}
                Err(error) => changed = Some(error),
            }
        }
        match (changed, self.files.keys().next()) {
            (Some(error), _) => Err(error),
            (None, Some(name)) => Err(Error::input_hint(
                format!("{}: {name} is not there", self.label),
                "files are looked for beside the experiment's file and in the working folder",
            )),
            (None, None) => Ok(None),
        }
    }

    /// Whether all files are in `folder`; an error where one has other content.
    fn files_in(&self, folder: &Path) -> Result<bool> {
        for (name, digest) in &self.files {
            let path = folder.join(name);
            let Ok(content) = std::fs::read(&path) else { return Ok(false) };
            if Some(blake3::hash(&content).to_hex().as_str()) != digest.as_str() {
                return Err(Error::input_hint(
                    format!("{}: {} has changed since the run was planned", self.label, path.display()),
                    "plan and run again: its content is part of the run's id",
                ));
            }
        }
        Ok(!self.files.is_empty())
    }
}
