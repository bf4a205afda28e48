//! An experiment's YAML file: read with unknown keys denied, then checked; every mistake is named with file, line and
//! column.

mod entry;
mod program;
mod raw;

use super::baseline_spec::BaselineSpec;
use super::figure_style::FigureStyle;
use super::registry::Registry;
use super::run_spec::{CALIBRATION_SAMPLES, ModelSpec};
use crate::data::DatasetSpec;
use crate::error::did_you_mean_or_all;
use crate::io::yaml::{Document, Expecting, Place, Spanned};
use crate::train::TrainingSpec;
use crate::{Error, Result};
use raw::{BaselineSeed, Bits, RawEntry, Seeds};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// What the file is, for messages.
const EXPERIMENT: Expecting =
    Expecting { what: "the experiment", reference: "docs/experiments.md describes every key" };
/// Longest name; it becomes part of labels and files.
const LONGEST_NAME: usize = 100;

/// The file as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: Spanned<String>,
    #[serde(default)]
    description: String,
    dataset: Spanned<DatasetSpec>,
    model: Spanned<Value>,
    baseline: Spanned<RawBaseline>,
    #[serde(default)]
    seeds: Option<Spanned<Seeds>>,
    #[serde(default)]
    bits: Option<Spanned<Bits>>,
    #[serde(default)]
    training: Option<Spanned<TrainingSpec>>,
    #[serde(default = "default_calibration")]
    calibration_samples: usize,
    quantizers: Vec<Spanned<RawEntry>>,
    #[serde(default)]
    figures: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    published: bool,
    #[serde(default)]
    style: Option<FigureStyle>,
}

/// `baseline` as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBaseline {
    #[serde(default)]
    checkpoint: Option<String>,
    #[serde(default)]
    train: Option<Spanned<TrainingSpec>>,
    #[serde(default)]
    seed: Option<Spanned<BaselineSeed>>,
}

fn default_calibration() -> usize {
    CALIBRATION_SAMPLES
}

/// A checked experiment.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// File it came from.
    pub path: PathBuf,
    /// Name in tables.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// Data set.
    pub dataset: DatasetSpec,
    /// Architecture.
    pub model: ModelSpec,
    /// Full-precision weights.
    pub baseline: BaselineSpec,
    /// Whether each run seed has a baseline of its own, trained with that seed.
    pub baseline_per_run: bool,
    /// Samples for post-training relevance.
    pub calibration_samples: usize,
    /// Methods, each with its grid.
    pub quantizers: Vec<Entry>,
    /// Figures the report draws; empty means the report's own choice.
    pub figures: Vec<String>,
    /// Whether figures of accuracy over size show published numbers too.
    pub published: bool,
    /// How figures are set for print; `None`: as usual.
    pub style: Option<FigureStyle>,
}

/// One entry of `quantizers`.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Method name, known to exist.
    pub method: String,
    /// Where the entry stands, for messages about grid points.
    pub place: String,
    /// Bit widths; a single `None` for methods without.
    pub bits: Vec<Option<u32>>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Quantization-aware training; `None` is post-training.
    pub training: Option<TrainingSpec>,
    /// Parameters; lists are axes of the grid, except for parameters that are lists themselves.
    pub parameters: Map<String, Value>,
    /// Relevance, possibly a list as an axis.
    pub relevance: Option<Value>,
}

impl Experiment {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`Error::Input`] with file, line and column of the mistake, also where no text file stands at `path`.
    pub fn load(path: &Path, registry: &Registry) -> Result<Self> {
        Self::parse(&crate::io::read_text(path)?, path, registry)
    }

    /// Reads and checks YAML text; `path` is for messages and for files named relative to it.
    ///
    /// # Errors
    /// [`Error::Input`] with file, line and column of the mistake.
    pub fn parse(text: &str, path: &Path, registry: &Registry) -> Result<Self> {
        let document = Document::parse(text, path, EXPERIMENT)?;
        let raw: Raw = document.decode()?;
        Checker { path, document, registry }.check(raw)
    }
}

struct Checker<'a> {
    path: &'a Path,
    document: Document,
    registry: &'a Registry,
}

impl Checker<'_> {
    fn place(&self, at: Place) -> String {
        format!("{}:{}:{}", self.path.display(), at.line, at.column)
    }

    /// Puts a place before an error's message.
    fn locate(&self, at: Place) -> impl FnOnce(Error) -> Error {
        let place = self.place(at);
        move |error| error.at(place)
    }

    fn wrong(&self, at: Place, what: impl std::fmt::Display) -> Error {
        self.wrong_hint(at, what, EXPERIMENT.reference)
    }

    fn wrong_hint(&self, at: Place, what: impl std::fmt::Display, hint: impl Into<String>) -> Error {
        Error::input_hint(format!("{}: {what}", self.place(at)), hint)
    }

    /// Checks the recipe that stands behind `keys`.
    fn recipe(&self, recipe: &TrainingSpec, keys: &[&str]) -> Result<()> {
        let Some((key, what)) = recipe.out_of_range() else { return Ok(()) };
        let shown: Vec<&str> =
            keys.iter().copied().filter(|key| key.parse::<usize>().is_err()).chain([key]).collect();
        let at = self.document.place(&[keys, &[key]].concat());
        Err(self.wrong(at, format!("{} {what}", shown.join("."))))
    }

    fn name(&self, name: &Spanned<String>) -> Result<()> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let text = &name.value;
        if text.chars().count() > LONGEST_NAME {
            let what =
                format!("name must have at most {LONGEST_NAME} characters, found {}", text.chars().count());
            return Err(self.wrong_hint(name.at, what, "put what it is about into 'description'"));
        }
        if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(allowed) {
            return Ok(());
        }
        let mapped: String = text.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
        let better = mapped.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let hint = match better.is_empty() {
            true => "for example 'cifar10-sweep'".into(),
            false => format!("write '{better}'"),
        };
        let what = format!(
            "name must consist of letters, digits, '-', '_' and '.' and begin with a letter or digit, found '{text}'"
        );
        Err(self.wrong_hint(name.at, what, hint))
    }

    fn check(&self, raw: Raw) -> Result<Experiment> {
        self.name(&raw.name)?;
        let name = raw.name.value;
        let family = self.registry.datasets.find(&raw.dataset.value.name);
        family.and_then(|family| raw.dataset.value.check(family)).map_err(self.locate(raw.dataset.at))?;
        let model = self.model(raw.model)?;
        let (baseline, baseline_per_run) = self.baseline(raw.baseline)?;
        let seeds = match raw.seeds {
            Some(seeds) => self.not_empty("seeds", seeds.at, seeds.value.0)?,
            None => vec![1],
        };
        let bits = raw.bits.map(|bits| self.not_empty("bits", bits.at, bits.value.0)).transpose()?;
        if let Some(training) = &raw.training {
            self.recipe(&training.value, &["training"])?;
        }
        let training = raw.training.map(|training| training.value);
        if raw.quantizers.is_empty() {
            let at = self.document.place(&["quantizers"]);
            return Err(self.wrong_hint(
                at,
                "quantizers is empty",
                "name at least one method, such as - {method: ecq, lambda: 0.05}",
            ));
        }
        let quantizers = raw
            .quantizers
            .into_iter()
            .enumerate()
            .map(|(index, entry)| self.entry(index, entry, bits.as_deref(), &seeds, training.as_ref()))
            .collect::<Result<Vec<_>>>()?;
        program::check_distinct(&quantizers, &self.registry.quantizers)?;
        let figures = raw.figures.unwrap_or_default();
        for figure in &figures {
            self.figure(&figure.value).map_err(self.locate(figure.at))?;
        }
        Ok(Experiment {
            path: self.path.to_path_buf(),
            name,
            description: raw.description,
            dataset: raw.dataset.value,
            model,
            baseline,
            baseline_per_run,
            calibration_samples: raw.calibration_samples,
            quantizers,
            figures: figures.into_iter().map(|figure| figure.value).collect(),
            published: raw.published,
            style: raw.style,
        })
    }

    fn figure(&self, name: &str) -> Result<()> {
        let known = &self.registry.figures;
        if known.is_empty() || known.contains(&name) {
            return Ok(());
        }
        let hint = did_you_mean_or_all(name, known.iter().copied(), "there are");
        Err(Error::input_hint(format!("unknown figure '{name}'"), hint))
    }

    fn not_empty<T>(&self, key: &str, at: Place, items: Vec<T>) -> Result<Vec<T>> {
        match items.is_empty() {
            true => {
                Err(self.wrong_hint(at, format!("{key} is empty"), format!("name some, or leave {key} out")))
            }
            false => Ok(items),
        }
    }

    fn model(&self, model: Spanned<Value>) -> Result<ModelSpec> {
        let at = model.at;
        let mut options = match model.value {
            Value::String(name) => Map::from_iter([("name".to_string(), Value::String(name))]),
            Value::Object(options) => options,
            _ => {
                return Err(self.wrong_hint(
                    at,
                    "model must be a name, {name: NAME, option: value} or {file: PATH}",
                    "`ecqx ls models` lists the names",
                ));
            }
        };
        match (options.remove("name"), options.remove("file")) {
            (Some(Value::String(name)), None) => {
                let model = self.registry.models.find(&name).and_then(|model| model.resolve(&options));
                model.map_err(self.locate(at))?;
                Ok(ModelSpec { name: Some(name), description: None, options })
            }
            (None, Some(Value::String(file))) if options.is_empty() => {
                let file = self.path.parent().unwrap_or(Path::new(".")).join(file);
                let text = crate::io::read_text(&file).map_err(self.locate(at))?;
                crate::model::yaml::parse(&text, &file)?;
                Ok(ModelSpec { name: None, description: Some(text), options })
            }
            _ => Err(self.wrong_hint(
                at,
                "model must be either {name: NAME, option: value} or {file: PATH} alone",
                "the options of a model of your own stand in its file",
            )),
        }
    }

    /// The baseline, and whether each run seed has one of its own.
    fn baseline(&self, baseline: Spanned<RawBaseline>) -> Result<(BaselineSpec, bool)> {
        let at = baseline.at;
        let RawBaseline { checkpoint, train, seed } = baseline.value;
        if let Some(recipe) = &train {
            self.recipe(&recipe.value, &["baseline", "train"])?;
        }
        if let (None, Some(seed)) = (&train, &seed) {
            let hint = "leave it out: a checkpoint is as it is";
            return Err(self.wrong_hint(
                seed.at,
                "baseline.seed is of training, and nothing is trained",
                hint,
            ));
        }
        let seed = seed.map_or(BaselineSeed::One(0), |seed| seed.value);
        let (seed, per_run) = match seed {
            BaselineSeed::One(seed) => (seed, false),
            BaselineSeed::PerRun => (0, true),
        };
        let baseline = match (checkpoint, train.map(|recipe| recipe.value)) {
            (Some(path), None) => BaselineSpec::Checkpoint(path),
            (None, Some(recipe)) => BaselineSpec::Train { recipe, seed },
            (Some(checkpoint), Some(recipe)) => BaselineSpec::FineTune { checkpoint, recipe, seed },
            (None, None) => {
                let what = "baseline needs 'checkpoint: PATH', 'train: {epochs: 10}', or both to train on from a checkpoint";
                return Err(self.wrong(at, what));
            }
        };
        Ok((baseline, per_run))
    }
}
