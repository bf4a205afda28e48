//! `ecqx report`: tables and figures from the finished runs of a store.

use super::Global;
use super::experiments;
use crate::report::export::{self, ALL};
use crate::report::figure::{FIGURES, Figure, Group, png};
use crate::report::html::{Picture, html};
use crate::report::records::{Selection, finished, load};
use crate::report::statistics::{Comparison, compare};
use crate::report::tables::{
    WorkingPoint, comparison, epochs, layers, main_table, provenance, raw, timings, working_points,
    working_points_table,
};
use crate::run::{RunRecord, Status};
use crate::store::write_atomically;
use indexmap::IndexMap;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

/// Pixels per unit of a PNG: about 300 per inch at a column width of 8 cm.
const PNG_SCALE: f32 = 1.5;

/// Write tables and figures of finished runs
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Experiments (YAML files); without any, everything in the store
    #[arg(value_name = "SPEC")]
    specs: Vec<PathBuf>,
    /// Folder of results
    #[arg(long, default_value = "store")]
    store: PathBuf,
    /// Folder to write to
    #[arg(long, default_value = "reports")]
    output: PathBuf,
    /// Only runs whose label matches
    #[arg(long, value_name = "GLOB")]
    filter: Option<String>,
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let mut figures: Vec<&Figure> = FIGURES.iter().collect();
    let ids = match args.specs.as_slice() {
        [] => None,
        specs => {
            let selection =
                experiments::Selection { specs: specs.to_vec(), store: args.store.clone(), filter: None };
            let wanted = experiments::figures(specs)?;
            if !wanted.is_empty() {
                figures.retain(|figure| wanted.iter().any(|name| name == figure.name));
            }
            let context = experiments::context(&selection, global)?;
            let planned = experiments::plan(&selection, &context)?;
            Some(planned.into_iter().map(|planned| planned.id).collect::<BTreeSet<String>>())
        }
    };
    let records = load(&args.store, &Selection::new(ids, args.filter.as_deref())?)?;
    let failed = records.iter().filter(|record| record.status == Status::Failed).count();
    if records.is_empty() {
        return Err(crate::Error::input_hint(
            format!("{}: no finished run is selected", args.store.display()),
            "`ecqx run SPEC` makes them",
        )
        .into());
    }
    let points = working_points(&records);
    let mut written = Vec::new();
    let tables = [
        main_table(&points)?,
        comparison(&records)?,
        working_points_table(&points)?,
        raw(&records)?,
        layers(&records)?,
        epochs(&records)?,
        timings(&records)?,
        provenance(&records)?,
    ];
    for table in &tables {
        written.extend(export::write(table, ALL, &args.output)?);
    }
    let mut pictures = Vec::new();
    for ((dataset, model), group) in groups(&points, &records) {
        for figure in &figures {
            let Some(drawing) = (figure.draw)(&group)? else { continue };
            let stem = format!("{}-{dataset}-{model}", figure.name);
            let image = png(&drawing.svg, PNG_SCALE)?;
            for (extension, content) in
                [("svg", drawing.svg.as_bytes()), ("csv", drawing.csv.as_bytes()), ("png", image.as_slice())]
            {
                let path = args.output.join(format!("{stem}.{extension}"));
                write_atomically(&path, |file| file.write_all(content))?;
                written.push(path);
            }
            let (title, about) = (format!("{dataset}, {model}"), figure.about.to_owned());
            pictures.push(Picture { title, about, svg: drawing.svg });
        }
    }
    let overall = compare(&records).into_iter().filter(|comparison| comparison.bits.is_none());
    let verdict = |c: Comparison| format!("{}, {}: {}", c.dataset, c.model, c.verdict());
    let verdicts: Vec<String> = overall.map(verdict).collect();
    let shown: Vec<_> = tables.iter().collect();
    let page = html(&records, &verdicts, &shown, &pictures)?;
    let path = args.output.join("report.html");
    write_atomically(&path, |file| file.write_all(page.as_bytes()))?;
    written.push(path);
    if global.json {
        let files: Vec<_> = written.iter().map(|path| path.display().to_string()).collect();
        println!("{}", serde_json::json!({"runs": records.len(), "failed": failed, "files": files}));
    } else {
        println!(
            "{} runs ({failed} failed), {} files in {}",
            records.len(),
            written.len(),
            args.output.display()
        );
    }
    Ok(super::DONE)
}

/// Results by data set and model, in the order of the working points.
fn groups<'a>(points: &'a [WorkingPoint], records: &'a [RunRecord]) -> IndexMap<(String, String), Group<'a>> {
    let mut groups: IndexMap<(String, String), Group<'a>> = IndexMap::new();
    for point in points {
        let key = (point.dataset.clone(), point.model.clone());
        let group = groups.entry(key).or_insert_with(|| Group {
            title: format!("{}, {}", point.dataset, point.model),
            points: Vec::new(),
            records: Vec::new(),
        });
        group.points.push(point);
    }
    for record in finished(records) {
        if let Some(group) = groups.get_mut(&(record.dataset.clone(), record.model.clone())) {
            group.records.push(record);
        }
    }
    groups
}
