//! What all runs of a process share: the store, where inputs lie, data sets that are open.

use crate::data::{self, Dataset};
use crate::model;
use crate::nn::{Backend, Network};
use crate::plan::Resolve;
use crate::spec::{BaselineSpec, Registry, RunSpec};
use crate::store::Store;
use crate::{Error, Result};
use candle_core::Device;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

/// What all runs of a process share.
pub struct Context {
    /// Methods, models, data sets and measures that runs may name.
    pub registry: Registry,
    /// Results.
    pub store: Store,
    /// Where data sets and checkpoints lie.
    pub data_dir: PathBuf,
    /// Further folders in which checkpoints are looked for: those of the experiments' files.
    pub checkpoint_dirs: Vec<PathBuf>,
    /// Where tensors live.
    pub device: Device,
    /// Time between two checkpoints inside an epoch; zero: at the ends of epochs only.
    pub checkpoint_every: Duration,
    datasets: Mutex<HashMap<String, Arc<dyn Dataset>>>,
    /// Digests of checkpoint files by path, length and time of the last change.
    digests: Mutex<HashMap<(PathBuf, u64, SystemTime), String>>,
    /// Baselines that failed in a way that can't pass by itself, with the reason.
    failed_baselines: Mutex<HashMap<String, String>>,
}

/// Default of [`Context::checkpoint_every`].
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(300);

impl Context {
    /// A context without open data sets.
    pub fn new(
        registry: Registry,
        store: Store,
        data_dir: PathBuf,
        checkpoint_dirs: Vec<PathBuf>,
        device: Device,
    ) -> Self {
        Self {
            registry,
            store,
            data_dir,
            checkpoint_dirs,
            device,
            checkpoint_every: CHECKPOINT_EVERY,
            datasets: Mutex::default(),
            digests: Mutex::default(),
            failed_baselines: Mutex::default(),
        }
    }

    /// Opens a data set once per process.
    ///
    /// # Errors
    /// As [`Family::dataset`](data::Family::dataset).
    pub fn dataset(&self, spec: &data::DatasetSpec) -> Result<Arc<dyn Dataset>> {
        let key = serde_json::to_string(spec).map_err(|error| Error::Internal(error.to_string()))?;
        let mut open = self.datasets.lock().map_err(|_| Error::Internal("a worker panicked".into()))?;
        if let Some(dataset) = open.get(&key) {
            return Ok(dataset.clone());
        }
        let dataset = self.registry.datasets.find(&spec.name)?.dataset(spec, &self.data_dir)?;
        open.insert(key, dataset.clone());
        Ok(dataset)
    }

    /// Ids of a run and of its baseline.
    ///
    /// # Errors
    /// When the data set or the checkpoint cannot be read.
    pub fn ids(&self, run: &RunSpec) -> Result<(String, String)> {
        let dataset = self.dataset(&run.dataset)?;
        let source = self.source_digest(&run.baseline)?;
        let baseline = run.baseline_id(dataset.digest(), source.as_deref())?;
        let weights = run.quantizer.weights().map(|name| self.file_digest(name)).transpose()?;
        Ok((run.id_with(dataset.digest(), &baseline, weights.as_deref())?, baseline))
    }

    /// Builds the run's network.
    ///
    /// # Errors
    /// [`Error::Input`] when the model does not fit the data set.
    pub fn network(&self, run: &RunSpec, dataset: &dyn Dataset) -> Result<Network> {
        let (shape, classes) = (dataset.input_shape(), dataset.classes().len());
        let network = match (&run.model.name, &run.model.description) {
            (Some(name), _) => {
                self.registry.models.find(name)?.network(shape, classes, &run.model.options)?
            }
            (None, Some(text)) => model::yaml::parse(text, std::path::Path::new("model.yaml"))?,
            (None, None) => return Err(Error::input("the run names no model")),
        };
        if network.input_shape != shape || network.classes != classes {
            return Err(Error::input(format!(
                "model {} takes {:?} and has {} classes, data set {} gives {shape:?} and {classes}",
                network.name,
                network.input_shape,
                network.classes,
                dataset.name()
            )));
        }
        Ok(network)
    }

    /// Whether the recipes of a run fit its data set and this device; that of a baseline which the store has is not used again.
    ///
    /// # Errors
    /// [`Error::Input`] as [`TrainingSpec::check_for`](crate::train::TrainingSpec::check_for); when the data set cannot be read.
    pub fn check_recipes(&self, run: &RunSpec, has_baseline: bool) -> Result<()> {
        let dataset = self.dataset(&run.dataset)?;
        let of_baseline = run.baseline.recipe().filter(|_| !has_baseline);
        let mut recipes = of_baseline.into_iter().chain(&run.training);
        recipes.try_for_each(|recipe| recipe.check_for(dataset.as_ref(), Backend::on(&self.device)))
    }

    /// A checkpoint's file: below the data folder, beside an experiment, or as given.
    ///
    /// # Errors
    /// [`Error::Input`] that says where it was looked for.
    pub fn checkpoint_file(&self, checkpoint: &str) -> Result<PathBuf> {
        let folders = [&self.data_dir].into_iter().chain(&self.checkpoint_dirs);
        let places = folders.map(|folder| folder.join(checkpoint)).chain([PathBuf::from(checkpoint)]);
        model::checkpoint::locate(checkpoint, places)
    }

    /// The checkpoint's file that a baseline names; `None` where it is trained from nothing.
    ///
    /// # Errors
    /// [`Error::Input`] with the places that were looked at when it is missing.
    pub fn checkpoint(&self, baseline: &BaselineSpec) -> Result<Option<PathBuf>> {
        baseline.checkpoint().map(|name| self.checkpoint_file(name)).transpose()
    }

    /// Digest of a checkpoint's file; `None` for baselines that are trained from nothing. A file that has not changed is read once
    /// per process.
    ///
    /// # Errors
    /// When the file is not there or cannot be read.
    pub(super) fn source_digest(&self, baseline: &BaselineSpec) -> Result<Option<String>> {
        baseline.checkpoint().map(|name| self.file_digest(name)).transpose()
    }

    /// Digest of a checkpoint's file. One that has not changed is read once per process.
    ///
    /// # Errors
    /// When the file is not there or cannot be read.
    pub(super) fn file_digest(&self, name: &str) -> Result<String> {
        let path = self.checkpoint_file(name)?;
        let metadata = std::fs::metadata(&path).map_err(Error::io(&path))?;
        let changed = metadata.modified().map_err(Error::io(&path))?;
        let version = (path.clone(), metadata.len(), changed);
        let mut known = self.digests.lock().map_err(|_| Error::Internal("a worker panicked".into()))?;
        if let Some(digest) = known.get(&version) {
            return Ok(digest.clone());
        }
        let digest = digest_of(&path)?;
        known.insert(version, digest.clone());
        Ok(digest)
    }

    /// Baselines that failed in a way that can't pass by itself, with the reason.
    pub(super) fn failed_baselines(&self) -> Result<MutexGuard<'_, HashMap<String, String>>> {
        self.failed_baselines.lock().map_err(|_| Error::Internal("a worker panicked".into()))
    }
}

impl Resolve for Context {
    fn registry(&self) -> &Registry {
        &self.registry
    }

    fn ids(&self, run: &RunSpec) -> Result<(String, String)> {
        self.ids(run)
    }

    fn check(&self, run: &RunSpec) -> Result<()> {
        let dataset = self.dataset(&run.dataset)?;
        self.network(run, dataset.as_ref()).map(drop)
    }
}

/// Digest of a file.
pub(super) fn digest_of(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}
