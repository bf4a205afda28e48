//! `ecqx ls`: what there is to choose from.

use super::Global;
use crate::engine;
use crate::quant::Method;
use crate::registry::Parameter;
use crate::spec::Registry;
use clap::ValueEnum;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// List models, data sets, quantizers, relevance measures, figures, engines or experiments
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to list
    what: What,
    /// Folder in which experiments are looked for
    #[arg(long, default_value = "experiments")]
    experiments: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    Models,
    Datasets,
    Quantizers,
    Measures,
    Figures,
    Engines,
    Experiments,
}

/// An entry: what a line says of it, and the rest for scripts.
struct Row {
    name: String,
    about: String,
    parameters: &'static [Parameter],
    more: Map<String, Value>,
}

impl Row {
    fn new(name: impl Into<String>, about: impl Into<String>) -> Self {
        Self { name: name.into(), about: about.into(), parameters: &[], more: Map::new() }
    }

    fn json(&self) -> Value {
        let parameters: Vec<_> = self
            .parameters
            .iter()
            .map(|p| {
                let default = p.default.value();
                json!({"name": p.name, "about": p.about, "range": p.range(), "default": default})
            })
            .collect();
        let mut object = Map::from_iter([
            ("name".to_owned(), self.name.clone().into()),
            ("about".to_owned(), self.about.clone().into()),
        ]);
        object.extend(self.more.clone());
        if !parameters.is_empty() {
            object.insert("parameters".into(), parameters.into());
        }
        object.into()
    }
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let registry = &global.registry;
    let rows: Vec<Row> = match args.what {
        What::Models => {
            let row = |model: &crate::model::Model| Row {
                parameters: model.parameters,
                ..Row::new(model.name, model.about)
            };
            registry.models.iter().map(row).collect()
        }
        What::Datasets => {
            let row = |family: &crate::data::Family| {
                let found = (family.present)(&global.data_dir());
                let note = if found { "" } else { " (not found)" };
                let more = Map::from_iter([("found".to_owned(), found.into())]);
                Row { more, ..Row::new(family.name, format!("{}{note}", family.summary)) }
            };
            registry.datasets.iter().map(row).collect()
        }
        What::Quantizers => registry.quantizers.iter().map(method).collect(),
        What::Measures => registry.measures.iter().map(|m| Row::new(m.name, m.about)).collect(),
        What::Figures => global.figures.iter().map(|f| Row::new(f.name, f.about)).collect(),
        What::Engines => engine::ENGINES.iter().map(|e| Row::new(e.name(), e.about())).collect(),
        What::Experiments => experiments(&args.experiments, registry)?,
    };
    if global.json {
        let list: Vec<_> = rows.iter().map(Row::json).collect();
        println!("{}", json!({"items": list}));
        return Ok(super::DONE);
    }
    // Parameters stand indented below what they belong to.
    let lines: Vec<(String, String)> = rows
        .into_iter()
        .flat_map(|row| {
            let below = row.parameters.iter();
            let below = below.map(|p| (format!("  {}", p.name), format!("{} [{}]", p.about, p.range())));
            std::iter::once((row.name, row.about)).chain(below)
        })
        .collect();
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, about) in lines {
        println!("{name:<width$}  {about}");
    }
    Ok(super::DONE)
}

fn method(method: &Method) -> Row {
    let range = method.bits.range();
    let bits = range.map_or(String::new(), |(low, high)| format!("; {low}–{high} bits"));
    let more = json!({
        "display": method.display, "bits": range.map(|(low, high)| [low, high]), "strength": method.strength,
        "revision": method.revision, "needs_relevance": method.needs_relevance,
    });
    Row {
        parameters: method.parameters,
        more: more.as_object().cloned().unwrap_or_default(),
        ..Row::new(method.name, format!("{}{bits}", method.about))
    }
}

/// Experiments below a folder; files that are none are listed with what is wrong.
fn experiments(folder: &Path, registry: &Registry) -> crate::Result<Vec<Row>> {
    let mut pending = vec![folder.to_path_buf()];
    let mut rows = Vec::new();
    while let Some(folder) = pending.pop() {
        let entries = std::fs::read_dir(&folder).map_err(crate::Error::io(&folder))?;
        for entry in entries {
            let path = entry.map_err(crate::Error::io(&folder))?.path();
            if path.is_dir() {
                // Models described in YAML lie beside the experiments.
                if path.file_name().is_none_or(|name| name != "models") {
                    pending.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                let about = match crate::spec::Experiment::load(&path, registry) {
                    Ok(experiment) => experiment.description,
                    Err(error) => format!("not valid: {error}"),
                };
                rows.push(Row::new(path.display().to_string(), about));
            }
        }
    }
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rows)
}
