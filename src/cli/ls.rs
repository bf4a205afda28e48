//! `ecqx ls`: what there is to choose from.

use super::Global;
use crate::engine;
use crate::registry::Parameter;
use crate::spec::Registry;
use clap::ValueEnum;
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

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let registry = &global.registry;
    let rows: Vec<(String, String)> = match args.what {
        What::Models => {
            let rows = registry.models.iter().flat_map(|model| {
                std::iter::once((model.name.into(), model.about.into())).chain(parameters(model.parameters))
            });
            rows.collect()
        }
        What::Datasets => registry
            .datasets
            .iter()
            .map(|family| {
                let there = if (family.present)(&global.data_dir()) { "" } else { " (not found)" };
                (family.name.into(), format!("{}{there}", family.summary))
            })
            .collect(),
        What::Quantizers => registry
            .quantizers
            .iter()
            .flat_map(|method| {
                let bits =
                    method.bits.range().map_or(String::new(), |(low, high)| format!("; {low}–{high} bits"));
                let head = (method.name.to_string(), format!("{}{bits}", method.about));
                std::iter::once(head).chain(parameters(method.parameters))
            })
            .collect(),
        What::Measures => {
            registry.measures.iter().map(|measure| (measure.name.into(), measure.about.into())).collect()
        }
        What::Figures => {
            global.figures.iter().map(|figure| (figure.name.into(), figure.about.into())).collect()
        }
        What::Engines => {
            engine::ENGINES.iter().map(|engine| (engine.name().into(), engine.about().into())).collect()
        }
        What::Experiments => experiments(&args.experiments, registry)?,
    };
    if global.json {
        let list: Vec<_> = rows
            .iter()
            .map(|(name, about)| serde_json::json!({"name": name.trim(), "about": about}))
            .collect();
        println!("{}", serde_json::json!({"items": list}));
        return Ok(super::DONE);
    }
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, about) in rows {
        println!("{name:<width$}  {about}");
    }
    Ok(super::DONE)
}

/// A row for each parameter, indented.
fn parameters(list: &'static [Parameter]) -> impl Iterator<Item = (String, String)> {
    list.iter().map(|p| (format!("  {}", p.name), format!("{} [{}]", p.about, p.range())))
}

/// Experiments below a folder; files that are none are listed with what is wrong.
fn experiments(folder: &Path, registry: &Registry) -> crate::Result<Vec<(String, String)>> {
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
                rows.push((path.display().to_string(), about));
            }
        }
    }
    rows.sort();
    Ok(rows)
}
