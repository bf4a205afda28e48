//! `ecqx report`: tables, figures and one page from finished runs, of a store or of a file of records.

use super::Global;
use super::experiments;
use crate::error::count;
use crate::insight::Insight;
use crate::io::write_output;
use crate::plan::{self, Depth};
use crate::record::RunRecord;
use crate::report::assemble::{Ingredients, NamedDrawing, Report, assemble, kinds};
use crate::report::expected::{Expected, compare, table};
use crate::report::export::{self, ALL};
use crate::report::figure::{Drawing, Group, PNG_SCALE, pdf, png};
use crate::report::records::{Selection, load, sort};
use crate::report::{Table, archive, published};
use crate::run::Context;
use crate::run::insight::{Strength, gather};
use crate::spec::{Experiment, Registry, RunSpec};
use crate::store::Store;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Write tables, figures and report.html of finished runs
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Experiments (YAML files); without any, everything in the store. With --raw they only choose the figures
    #[arg(value_name = "SPEC")]
    specs: Vec<PathBuf>,
    /// Folder of results
    #[arg(long, default_value = "store")]
    store: PathBuf,
    /// Report on the records in these files (records.parquet of a report or of `ecqx store export`; raw.parquet for the
    /// tables alone) instead of a store's
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "store")]
    raw: Vec<PathBuf>,
    /// Folder to write to
    #[arg(long, default_value = "reports")]
    output: PathBuf,
    /// Only runs of which the label, method, model, data set, experiment or id matches
    #[arg(long, value_name = "GLOB")]
    filter: Option<String>,
    /// Folder of published numbers (YAML files) to show beside the results
    #[arg(long, value_name = "DIR", default_value = "baselines/published")]
    published: PathBuf,
    /// Folder of expected numbers (YAML files) to compare the results with
    #[arg(long, value_name = "DIR", default_value = "baselines/expected")]
    expected: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let records = records(args, global)?;
    let failed = records.iter().filter(|record| record.is_failed()).count();
    let insight = |group: &Group<'_>| match args.raw.is_empty() {
        true => insight(args, global, group).unwrap_or_else(|error| {
            eprintln!("warning: {}: no figures of weights: {error:#}", group.title);
            None
        }),
        false => None,
    };
    let report = assemble(Ingredients {
        records: &records,
        figures: kinds(&plan::figures(&args.specs, &global.registry)?),
        published: &published::load(&args.published)?,
        insight: &insight,
        earlier: &|stem| earlier(&args.output, stem),
        checks: checks(&args.expected, &records, &global.registry)?,
    })?;
    let written = write(&report, &records, &args.output)?;
    if global.json {
        let files: Vec<_> = written.iter().map(|path| path.display().to_string()).collect();
        println!("{}", serde_json::json!({"runs": records.len(), "failed": failed, "files": files}));
    } else {
        println!(
            "{} ({failed} failed), {} in {}",
            count(records.len(), "run"),
            count(written.len(), "file"),
            args.output.display()
        );
    }
    Ok(super::DONE)
}

/// Expected numbers beside those of the experiments that have records here; `None` where there are none.
fn checks(folder: &Path, records: &[RunRecord], registry: &Registry) -> crate::Result<Option<Table>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut rows = Vec::new();
    for expected in Expected::load_folder(folder)? {
        // An experiment that is not here (any more) has no records either.
        let Ok(experiment) = Experiment::load(&expected.experiment, registry) else { continue };
        let own: Vec<RunRecord> =
            records.iter().filter(|record| record.experiment == experiment.name).cloned().collect();
        if !own.is_empty() {
            rows.push((experiment.name, compare(&expected, &own)?));
        }
    }
    if rows.is_empty() { Ok(None) } else { table(&rows).map(Some) }
}

/// The selected records in report order.
fn records(args: &Args, global: &Global) -> anyhow::Result<Vec<RunRecord>> {
    let ids = match args.specs.as_slice() {
        specs if !specs.is_empty() && args.raw.is_empty() => {
            let selection =
                experiments::Selection { specs: specs.to_vec(), store: args.store.clone(), filter: None };
            let context = experiments::context(&selection, global)?;
            let planned = experiments::plan(&selection, &context, Depth::Records)?;
            Some(planned.into_iter().map(|planned| planned.id).collect::<BTreeSet<String>>())
        }
        _ => None,
    };
    let selection = Selection::new(ids, args.filter.as_deref())?;
    let records = match args.raw.as_slice() {
        [] => {
            let (records, damaged) = load(&args.store, &selection)?;
            damaged.iter().for_each(|message| eprintln!("warning: {message}; left out"));
            records
        }
        files => {
            let mut records = Vec::new();
            for file in files {
                records.extend(archive::read(file)?.into_iter().filter(|record| selection.takes(record)));
            }
            sort(&mut records);
            records
        }
    };
    if records.is_empty() {
        let place = args.raw.first().unwrap_or(&args.store).display();
        return Err(crate::Error::input_hint(
            format!("{place}: no finished run is selected"),
            "`ecqx run SPEC` makes them",
        )
        .into());
    }
    Ok(records)
}

/// Weights and data of a group, from the store and the data folder.
fn insight(args: &Args, global: &Global, group: &Group<'_>) -> anyhow::Result<Option<Insight>> {
    let Some(record) = group.records.first() else { return Ok(None) };
    let run: RunSpec = serde_json::from_value(record.spec.clone())?;
    let folders = args.specs.iter().filter_map(|path| path.parent()).map(Path::to_path_buf).collect();
    let context = Context::new(
        global.registry.clone(),
        Store::at(&args.store),
        global.data_dir(),
        folders,
        global.device()?,
    );
    Ok(gather(&context, &run, strength(group))?)
}

/// The bit width nearest to 3 and the middle Λ that ECQx ran with.
fn strength(group: &Group<'_>) -> Option<Strength> {
    let ecqx = || group.records.iter().filter(|record| record.method == "ecqx");
    let bits = ecqx().filter_map(|record| record.bits).min_by_key(|bits| (bits.abs_diff(3), *bits))?;
    let mut lambdas: Vec<(f64, f64)> = ecqx()
        .filter(|record| record.bits == Some(bits))
        .filter_map(|record| {
            Some((record.lambda().filter(|lambda| *lambda > 0.0)?, record.p().unwrap_or(0.1)))
        })
        .collect();
    lambdas.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    lambdas.dedup();
    let (lambda, p) = *lambdas.get(lambdas.len() / 2)?;
    Some(Strength { bits, lambda, p })
}

/// A figure that an earlier report left in the folder.
fn earlier(folder: &Path, stem: &str) -> Option<Drawing> {
    let read = |extension: &str| std::fs::read_to_string(folder.join(format!("{stem}.{extension}"))).ok();
    Some(Drawing { svg: read("svg")?, csv: read("csv")? })
}

fn write(report: &Report, records: &[RunRecord], folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let file = |name: String, content: &[u8]| -> crate::Result<PathBuf> {
        let path = folder.join(name);
        write_output(&path, content)?;
        Ok(path)
    };
    let archive = || file(format!("{}.parquet", archive::NAME), &archive::write(records)?);
    let tables = || -> crate::Result<Vec<Vec<PathBuf>>> {
        report.tables.par_iter().map(|table| export::write(table, ALL, folder)).collect()
    };
    let figures = || -> crate::Result<Vec<[PathBuf; 4]>> {
        let figures = report.figures.par_iter();
        let written = figures.map(|NamedDrawing { stem, drawing: Drawing { svg, csv } }| {
            Ok([
                file(format!("{stem}.svg"), svg.as_bytes())?,
                file(format!("{stem}.csv"), csv.as_bytes())?,
                file(format!("{stem}.png"), &png(svg, PNG_SCALE)?)?,
                file(format!("{stem}.pdf"), &pdf(svg)?)?,
            ])
        });
        written.collect()
    };
    let ((tables, figures), archive) = rayon::join(|| rayon::join(tables, figures), archive);
    let mut written = tables?.concat();
    written.extend(figures?.into_iter().flatten());
    written.extend([archive?, file("report.html".into(), report.html.as_bytes())?]);
    Ok(written)
}
