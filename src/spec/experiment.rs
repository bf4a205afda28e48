//! An experiment's YAML file: read with unknown keys denied, then checked; every mistake is named with file, line and
//! column.

use super::registry::Registry;
use super::run_spec::{BaselineSpec, CALIBRATION_SAMPLES, ModelSpec};
use crate::data::DatasetSpec;
use crate::error::{closest, suggestion};
use crate::quant::scope::COMMON;
use crate::train::TrainingSpec;
use crate::{Error, Result};
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Map, Value};
use serde_saphyr::{Location, Spanned};
use std::path::{Path, PathBuf};

/// Keys of an experiment, for suggestions.
const KEYS: [&str; 11] = [
    "name",
    "description",
    "dataset",
    "model",
    "baseline",
    "seeds",
    "bits",
    "training",
    "calibration_samples",
    "quantizers",
    "figures",
];
/// Where to read on.
const REFERENCE: &str = "docs/experiments.md describes every key";
/// Keys of a quantizer entry that are not parameters of its method.
const ENTRY_KEYS: [&str; 5] = ["method", "bits", "seeds", "training", "relevance"];

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
    seeds: Option<Spanned<OneOrMany<u64>>>,
    #[serde(default)]
    bits: Option<Spanned<OneOrMany<u32>>>,
    #[serde(default)]
    training: Option<Spanned<TrainingSpec>>,
    #[serde(default = "default_calibration")]
    calibration_samples: usize,
    quantizers: Vec<Spanned<RawEntry>>,
    #[serde(default)]
    figures: Option<Vec<Spanned<String>>>,
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
    seed: Option<u64>,
}

/// An entry of `quantizers` as it stands: which keys it may have depends on its method.
type RawEntry = IndexMap<String, Spanned<Value>>;

fn default_calibration() -> usize {
    CALIBRATION_SAMPLES
}

/// A scalar or a list.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(item) => vec![item],
            Self::Many(items) => items,
        }
    }
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
    /// Samples for post-training relevance.
    pub calibration_samples: usize,
    /// Methods, each with its grid.
    pub quantizers: Vec<Entry>,
    /// Figures the report draws; empty means the report's own choice.
    pub figures: Vec<String>,
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
    /// [`Error::Input`] with file, line and column of the mistake; [`Error::Io`] when the file cannot be read.
    pub fn load(path: &Path, registry: &Registry) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Self::parse(&text, path, registry)
    }

    /// Reads and checks YAML text; `path` is for messages and for files named relative to it.
    ///
    /// # Errors
    /// [`Error::Input`] with file, line and column of the mistake.
    pub fn parse(text: &str, path: &Path, registry: &Registry) -> Result<Self> {
        let raw: Raw =
            serde_saphyr::from_str(text).map_err(|error| syntax_error(&error, path, &KEYS, REFERENCE))?;
        Checker { path, registry }.check(raw)
    }
}

/// The parser's error with a suggestion for unknown keys: those that the parser expected, and `keys`.
pub(crate) fn syntax_error(
    error: &serde_saphyr::Error,
    path: &Path,
    keys: &[&str],
    otherwise: &str,
) -> Error {
    let error = error.without_snippet();
    let message = error.to_string();
    let place = match error.location() {
        Some(location) => format!("{}:{}:{}", path.display(), location.line(), location.column()),
        None => path.display().to_string(),
    };
    let hint = suggestion(&message, keys).unwrap_or_else(|| otherwise.into());
    Error::Input { message: format!("{place}: {message}"), hint: Some(hint) }
}

struct Checker<'a> {
    path: &'a Path,
    registry: &'a Registry,
}

impl Checker<'_> {
    fn place(&self, at: Location) -> String {
        format!("{}:{}:{}", self.path.display(), at.line(), at.column())
    }

    /// Puts a place before an error's message.
    fn locate(&self, at: Location) -> impl FnOnce(Error) -> Error {
        let place = self.place(at);
        move |error| match error {
            Error::Input { message, hint } => Error::Input { message: format!("{place}: {message}"), hint },
            other => other,
        }
    }

    fn wrong(&self, at: Location, what: impl std::fmt::Display) -> Error {
        Error::input_hint(format!("{}: {what}", self.place(at)), REFERENCE)
    }

    fn check(&self, raw: Raw) -> Result<Experiment> {
        let name = raw.name.value;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return Err(self
                .wrong(raw.name.referenced, "name: letters, digits, '-', '_' and '.' only, and not empty"));
        }
        let family = self.registry.datasets.find(&raw.dataset.value.name);
        family
            .and_then(|family| raw.dataset.value.check(family))
            .map_err(self.locate(raw.dataset.referenced))?;
        let model = self.model(raw.model)?;
        let baseline = self.baseline(raw.baseline)?;
        let seeds = match raw.seeds {
            Some(seeds) => self.not_empty("seeds", seeds)?,
            None => vec![1],
        };
        let bits = raw.bits.map(|bits| self.not_empty("bits", bits)).transpose()?;
        if let Some(training) = &raw.training {
            training.value.check().map_err(self.locate(training.referenced))?;
        }
        let training = raw.training.map(|training| training.value);
        if raw.quantizers.is_empty() {
            return Err(Error::input(format!("{}: 'quantizers' is empty", self.path.display())));
        }
        let quantizers = raw
            .quantizers
            .into_iter()
            .map(|entry| self.entry(entry, bits.as_deref(), &seeds, training.as_ref()))
            .collect::<Result<_>>()?;
        let figures = raw.figures.unwrap_or_default();
        for figure in &figures {
            self.figure(&figure.value).map_err(self.locate(figure.referenced))?;
        }
        Ok(Experiment {
            path: self.path.to_path_buf(),
            name,
            description: raw.description,
            dataset: raw.dataset.value,
            model,
            baseline,
            calibration_samples: raw.calibration_samples,
            quantizers,
            figures: figures.into_iter().map(|figure| figure.value).collect(),
        })
    }

    fn figure(&self, name: &str) -> Result<()> {
        let known = &self.registry.figures;
        if known.is_empty() || known.contains(&name) {
            return Ok(());
        }
        Err(Error::Input {
            message: format!("unknown figure '{name}'"),
            hint: Some(match closest(name, known.iter().copied()) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("there are {}", known.join(", ")),
            }),
        })
    }

    fn not_empty<T>(&self, key: &str, list: Spanned<OneOrMany<T>>) -> Result<Vec<T>> {
        let at = list.referenced;
        let items = list.value.into_vec();
        if items.is_empty() { Err(self.wrong(at, format!("'{key}' is empty"))) } else { Ok(items) }
    }

    fn model(&self, model: Spanned<Value>) -> Result<ModelSpec> {
        let at = model.referenced;
        let mut options = match model.value {
            Value::String(name) => Map::from_iter([("name".to_string(), Value::String(name))]),
            Value::Object(options) => options,
            _ => return Err(self.wrong(at, "model: a name, {name: …, options} or {file: …}")),
        };
        match (options.remove("name"), options.remove("file")) {
            (Some(Value::String(name)), None) => {
                let model = self.registry.models.find(&name).and_then(|model| model.resolve(&options));
                model.map_err(self.locate(at))?;
                Ok(ModelSpec { name: Some(name), description: None, options })
            }
            (None, Some(Value::String(file))) if options.is_empty() => {
                let file = self.path.parent().unwrap_or(Path::new(".")).join(file);
                let text = std::fs::read_to_string(&file).map_err(Error::io(&file))?;
                crate::model::yaml::parse(&text, &file)?;
                Ok(ModelSpec { name: None, description: Some(text), options })
            }
            _ => Err(self.wrong(at, "model: either a name with options or {file: …} alone")),
        }
    }

    fn baseline(&self, baseline: Spanned<RawBaseline>) -> Result<BaselineSpec> {
        let at = baseline.referenced;
        let RawBaseline { checkpoint, train, seed } = baseline.value;
        match (checkpoint, train, seed) {
            (Some(path), None, None) => Ok(BaselineSpec::Checkpoint(path)),
            (None, Some(recipe), seed) => {
                recipe.value.check().map_err(self.locate(recipe.referenced))?;
                Ok(BaselineSpec::Train { recipe: recipe.value, seed: seed.unwrap_or(0) })
            }
            _ => {
                Err(self.wrong(at, "baseline: either {checkpoint: PATH} or {train: {epochs: …, …}, seed: …}"))
            }
        }
    }

    fn entry(
        &self,
        entry: Spanned<RawEntry>,
        bits: Option<&[u32]>,
        seeds: &[u64],
        training: Option<&TrainingSpec>,
    ) -> Result<Entry> {
        let at = entry.referenced;
        let mut map = entry.value;
        let (name, method) = match map.shift_remove("method") {
            Some(Spanned { value: Value::String(name), referenced, .. }) => {
                let method = self.registry.quantizers.find(&name).map_err(self.locate(referenced))?;
                (name, method)
            }
            _ => return Err(self.wrong(at, "a quantizer needs 'method: NAME'")),
        };
        let take = |map: &mut RawEntry, key: &str| {
            map.shift_remove(key).map(|found| (found.value, found.referenced))
        };
        let own_bits = match take(&mut map, "bits") {
            None => None,
            Some((value, at)) => {
                let list: OneOrMany<u32> = serde_json::from_value(value).map_err(|_| {
                    self.wrong(at, format!("{name}: bits must be a whole number or a list of them"))
                })?;
                Some(list.into_vec())
            }
        };
        let bits: Vec<Option<u32>> = match (method.bits.range(), own_bits) {
            (None, Some(_)) => return Err(self.wrong(at, format!("{name} takes no bit width"))),
            (None, None) => vec![None],
            (Some(_), Some(own)) => own.into_iter().map(Some).collect(),
            (Some(_), None) if method.bits.is_optional() => vec![None],
            (Some(_), None) => bits.unwrap_or(&[]).iter().copied().map(Some).collect(),
        };
        if bits.is_empty() {
            return Err(
                self.wrong(at, format!("{name} needs bit widths: 'bits' here or for the whole experiment"))
            );
        }
        let seeds = match take(&mut map, "seeds") {
            None => seeds.to_vec(),
            Some((value, at)) => serde_json::from_value::<OneOrMany<u64>>(value)
                .map_err(|_| {
                    self.wrong(at, format!("{name}: seeds must be a whole number or a list of them"))
                })?
                .into_vec(),
        };
        let training = match take(&mut map, "training") {
            None => training.cloned(),
            Some((Value::Null, _)) => None,
            Some((value, at)) => {
                let recipe: TrainingSpec = serde_json::from_value(value).map_err(|error| Error::Input {
                    message: format!("{}: {name}: training: {error}", self.place(at)),
                    hint: Some(suggestion(&error.to_string(), &[]).unwrap_or_else(|| REFERENCE.into())),
                })?;
                recipe.check().map_err(self.locate(at))?;
                Some(recipe)
            }
        };
        let relevance = take(&mut map, "relevance");
        if let (Some((_, at)), false) = (&relevance, method.needs_relevance) {
            return Err(self.wrong(*at, format!("{name} uses no relevance")));
        }
        let known = method.parameters.iter().map(|parameter| parameter.name).chain(COMMON);
        let known: Vec<&str> = known.chain(ENTRY_KEYS).collect();
        if let Some((key, value)) = map.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            return Err(Error::Input {
                message: format!("{}: {name} has no parameter '{key}'", self.place(value.referenced)),
                hint: Some(match closest(key, known.iter().copied()) {
                    Some(near) => format!("did you mean '{near}'?"),
                    None => format!("it has {}", known.join(", ")),
                }),
            });
        }
        let place = self.place(at);
        let parameters = map.into_iter().map(|(key, found)| (key, found.value)).collect();
        let relevance = relevance.map(|(value, _)| value);
        Ok(Entry { method: name, place, bits, seeds, training, parameters, relevance })
    }
}
