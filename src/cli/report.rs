//! `ecqx report`: tables, figures and one page from finished runs, of a store or of a file of records.

use super::Global;
use super::experiments;
use crate::error::count;
use crate::insight::Insight;
use crate::io::write_output;
use crate::plan;
use crate::record::RunRecord;
use crate::registry::symbol;
use crate::report::assemble::{Ingredients, NamedDrawing, Report, assemble, kinds};
use crate::report::choice::Rule;
use crate::report::expected::{Expected, compare, table};
use crate::report::export::{self, ALL};
use crate::report::figure::{Drawing, Figure, Group};
use crate::report::records::{Selection, load, sort};
use crate::report::{ChooseOn, Methods, Table, archive, published};
use crate::run::Context;
use crate::run::insight::{Contrast, gather};
use crate::spec::{Experiment, FigureStyle, FigureWidth, RunSpec};
use crate::store::Store;
use rayon::prelude::*;
use serde_json::{Map, Value};
use std::cmp::Ordering;
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
    #[arg(long, alias = "records", value_name = "FILE", num_args = 1.., conflicts_with = "store")]
    raw: Vec<PathBuf>,
    /// Folder to write to
    #[arg(long, default_value = "reports")]
    output: PathBuf,
    /// Only runs of which the label, method, model, data set, experiment or id matches
    #[arg(long, value_name = "GLOB")]
    filter: Option<String>,
    /// Kinds of figures to draw, such as accuracy_over_size [default: those of the experiments, else all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    figures: Vec<String>,
    /// Width of figures on paper: a column of 8.5 cm or a page of 17.5 cm [default: that of the experiments, else column]
    #[arg(long, value_name = "WIDTH")]
    width: Option<Width>,
    /// Draw figures without the title that a caption repeats
    #[arg(long)]
    no_titles: bool,
    /// Folder of published numbers (YAML files) to show beside the results
    #[arg(long, value_name = "DIR", default_value = "baselines/published")]
    published: PathBuf,
    /// Draw published numbers as hollow points in figures of accuracy over size, as `published: true` in an experiment does
    #[arg(long)]
    draw_published: bool,
    /// Folder of expected numbers (YAML files) to compare the results with
    #[arg(long, value_name = "DIR", default_value = "baselines/expected")]
    expected: PathBuf,
    /// Method that the others are compared with [default: the paper's]
    #[arg(long, value_name = "NAME")]
    reference_method: Option<String>,
    /// Split whose mean accuracy chooses the best working points; test accuracy is reported either way
    #[arg(long, value_name = "SPLIT", default_value = "validation")]
    choose_on: Split,
    /// Working point that stands for a method at a bit width in the table for papers: the most accurate, or the smallest
    /// with no or at most one point lost
    #[arg(long, value_name = "RULE", default_value = "one-point")]
    operating_point: Operating,
}

/// How an operating point is chosen.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Operating {
    Accuracy,
    NoLoss,
    OnePoint,
}

/// A width of figures.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Width {
    Column,
    Page,
}

/// A split that working points can be chosen on.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Split {
    Validation,
    Test,
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let methods = Methods::new(&global.registry);
    let mut records = records(args, global, &methods)?;
    let methods = match &args.reference_method {
        Some(name) => methods.with_reference(name, &records)?,
        None => methods,
    };
    sort(&mut records, &methods);
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
        methods: &methods,
        choose_on: match args.choose_on {
            Split::Validation => ChooseOn::Validation,
            Split::Test => ChooseOn::Test,
        },
        rule: match args.operating_point {
            Operating::Accuracy => Rule::MostAccurate,
            Operating::NoLoss => Rule::NoLoss,
            Operating::OnePoint => Rule::OnePoint,
        },
        draw_published: args.draw_published || plan::draws_published(&args.specs, &global.registry)?,
        figures: figures(args, global)?,
        figure_style: figure_style(args, global)?,
        published: &published::load(&args.published, &methods)?,
        insight: &insight,
        earlier: &|stem| earlier(&args.output, stem),
        checks: checks(&args.expected, &records, &methods)?,
    })?;
    let written = write(&report, &records, &args.output)?;
    if global.json {
        let files: Vec<_> = written.iter().map(|path| path.display().to_string()).collect();
        let note = &report.nothing_compared;
        println!(
            "{}",
            serde_json::json!({"runs": records.len(), "failed": failed, "files": files, "note": note})
        );
    } else {
        report.nothing_compared.iter().for_each(|note| println!("{note}"));
        println!(
            "{} ({failed} failed), {} in {}; the page to open: {}",
            count(records.len(), "run"),
            count(written.len(), "file"),
            args.output.display(),
            args.output.join("report.html").display()
        );
    }
    Ok(super::DONE)
}

/// The kinds of figures to draw: those of the command line, else those of the experiments.
fn figures(args: &Args, global: &Global) -> crate::Result<Vec<&'static Figure>> {
    match args.figures.as_slice() {
        [] => Ok(kinds(&global.figures, &plan::figures(&args.specs, &global.registry)?)),
        names => names.iter().map(|name| global.figures.find(name.trim())).collect(),
    }
}

/// How figures are set: as the experiments say, but for what the command line says.
fn figure_style(args: &Args, global: &Global) -> crate::Result<FigureStyle> {
    let given = plan::figure_style(&args.specs, &global.registry)?;
    Ok(FigureStyle {
        width: match args.width {
            None => given.width,
            Some(Width::Column) => FigureWidth::Column,
            Some(Width::Page) => FigureWidth::Page,
        },
        titles: given.titles && !args.no_titles,
        ..given
    })
}

/// Expected numbers beside those of the experiments that have records here; `None` where there are none.
fn checks(folder: &Path, records: &[RunRecord], methods: &Methods) -> crate::Result<Option<Table>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut rows = Vec::new();
    for expected in Expected::load_folder(folder)? {
        // An experiment that is not here (any more) has no records either.
        let Ok(experiment) = Experiment::load(&expected.experiment, methods.registry()) else { continue };
        let own: Vec<RunRecord> =
            records.iter().filter(|record| record.experiment == experiment.name).cloned().collect();
        if !own.is_empty() {
            rows.push((experiment.name, compare(&expected, &own, methods)?));
        }
    }
    if rows.is_empty() { Ok(None) } else { table(&rows).map(Some) }
}

/// The selected records in report order.
fn records(args: &Args, global: &Global, methods: &Methods) -> anyhow::Result<Vec<RunRecord>> {
    // With --raw the experiments only choose the figures.
    let ids = match args.raw.is_empty() {
        true => experiments::ids(&args.specs, &args.store, global)?,
        false => None,
    };
    let selection = Selection::new(ids, args.filter.as_deref())?;
    let records = match args.raw.as_slice() {
        [] => {
            let (records, damaged) = load(&args.store, &selection, methods)?;
            damaged.iter().for_each(|message| eprintln!("warning: {message}; left out"));
            records
        }
        files => {
            let mut records = Vec::new();
            for file in files {
                records.extend(archive::read(file)?.into_iter().filter(|record| selection.takes(record)));
            }
            sort(&mut records, methods);
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
    Ok(gather(&context, &run, contrast(group))?)
}

/// The method that the others are compared with beside its ablation, at the bit width nearest to 3 and the middle of the
/// strengths that it ran with; `None` where one of the two lacks that parameter.
fn contrast(group: &Group<'_>) -> Option<Contrast> {
    let (reference, ablation) = (group.methods.get(group.methods.reference()?)?, group.methods.ablation()?);
    let strength = reference.strength.filter(|_| ablation.strength == reference.strength)?;
    let own = || group.records.iter().filter(|record| record.method == reference.name);
    let bits = own().filter_map(|record| record.bits).min_by_key(|bits| (bits.abs_diff(3), *bits))?;
    let p = reference.parameters.iter().find(|parameter| parameter.name == "p");
    let p_of = |record: &RunRecord| {
        let default = || p.and_then(|parameter| parameter.default.value()?.as_f64());
        p.and_then(|_| record.p().or_else(default))
    };
    let mut found: Vec<(f64, Option<f64>)> = own()
        .filter(|record| record.bits == Some(bits))
        .filter_map(|record| Some((record.number(strength).filter(|value| *value > 0.0)?, p_of(record))))
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.partial_cmp(&b.1).unwrap_or(Ordering::Equal)));
    found.dedup();
    let (value, p) = *found.get(found.len() / 2)?;
    let ours: Map<String, Value> = [(strength, Some(value)), ("p", p)]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))))
        .collect();
    let theirs = Map::from_iter([(strength.to_owned(), Value::from(value))]);
    let name = symbol(strength);
    let p = p.map_or(String::new(), |p| format!(", p {p}"));
    Some(Contrast {
        bits,
        setting: format!("{bits} bit, {name} {value}{p}"),
        methods: [(reference.name, ours), (ablation.name, theirs)],
    })
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
    let figures = || -> crate::Result<Vec<Vec<PathBuf>>> {
        let figures = report.figures.par_iter();
        let written = figures.map(|NamedDrawing { stem, drawing }| {
            let files = drawing.files()?.into_iter();
            files.map(|(extension, content)| file(format!("{stem}.{extension}"), &content)).collect()
        });
        written.collect()
    };
    let ((tables, figures), archive) = rayon::join(|| rayon::join(tables, figures), archive);
    let mut written = tables?.concat();
    written.extend(figures?.into_iter().flatten());
    written.extend([archive?, file("report.html".into(), report.html.as_bytes())?]);
    Ok(written)
}
