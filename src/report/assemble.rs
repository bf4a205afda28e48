//! Assembles a whole report: every table, every figure and the page, from records and what else is known. Nothing here reads or
//! writes files.

use super::choice::{Choice, ChooseOn, Rule};
use super::figure::{Drawing, Figure, Figures, Group, Source};
use super::html::{Page, Picture, html};
use super::methods::{BASELINE, Methods};
use super::published;
use super::records::finished;
use super::statistics::{Comparison, compare};
use super::tables::{
    self, Table, WorkingPoint, at_equal_table, comparison, epochs, hypervolume_table, layers, main_table,
    nothing_compared, operating_points, origins, pareto, provenance, raw, sweeps, timings, variants_table,
    working_points, working_points_table,
};
use super::verdicts::verdicts;
use crate::Result;
use crate::insight::Insight;
use crate::io::file_name;
use crate::record::RunRecord;
use crate::spec::FigureStyle;
use indexmap::{IndexMap, IndexSet};
use rayon::prelude::*;

/// What a report is made of.
pub struct Ingredients<'a> {
    /// All runs, in report order.
    pub records: &'a [RunRecord],
    /// What is known of their methods, and which one the others are compared with.
    pub methods: &'a Methods,
    /// On which split working points are chosen.
    pub choose_on: ChooseOn,
    /// Which working point stands for a method at a bit width in the table for papers.
    pub rule: Rule,
    /// Kinds of figures.
    pub figures: Vec<&'static Figure>,
    /// How figures are set for print.
    pub figure_style: FigureStyle,
    /// Published numbers.
    pub published: &'a [published::Source],
    /// Whether figures of accuracy over size show them, as hollow marks.
    pub draw_published: bool,
    /// Weights and data of a group, where they are at hand.
    pub insight: &'a (dyn Fn(&Group<'_>) -> Option<Insight> + Sync),
    /// The drawing of an earlier report for a figure that needs weights and data which are not at hand, by file stem.
    pub earlier: &'a (dyn Fn(&str) -> Option<Drawing> + Sync),
    /// Results of the check against expected numbers, where it was made.
    pub checks: Option<Table>,
}

/// A figure with its file name.
pub struct NamedDrawing {
    /// File name without extension.
    pub stem: String,
    /// The drawing.
    pub drawing: Drawing,
}

/// A report.
pub struct Report {
    /// All tables.
    pub tables: Vec<Table>,
    /// All figures.
    pub figures: Vec<NamedDrawing>,
    /// The page.
    pub html: String,
    /// Why no methods are compared, and how to change that.
    pub nothing_compared: Option<String>,
}

/// Of `figures` the kinds called `names`; all where there are none.
pub fn kinds(figures: &Figures, names: &[String]) -> Vec<&'static Figure> {
    figures.iter().filter(|figure| names.is_empty() || names.iter().any(|name| name == figure.name)).collect()
}

/// Makes the report.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn assemble(from: Ingredients<'_>) -> Result<Report> {
    let records = from.records;
    let points = working_points(records, from.methods);
    let compared = compare(&points, from.methods, from.choose_on);
    let present: IndexSet<&str> =
        points.iter().map(|p| p.method.as_str()).filter(|m| *m != BASELINE).collect();
    let present: Vec<&str> = present.into_iter().collect();
    let nothing = nothing_compared(&compared, from.methods, &present);
    let made = Made { points: &points, compared: &compared, nothing: nothing.as_deref() };
    let (figures, all) = rayon::join(|| drawings(&from, &points, &compared), || all_tables(&from, &made));
    let (all, drawn) = (all?, figures?);
    let (mut figures, mut pictures) = (Vec::new(), Vec::new());
    for (title, figure, named) in drawn {
        pictures.push(Picture {
            title,
            about: figure.about.into(),
            stem: named.stem.clone(),
            svg: named.drawing.svg.clone(),
        });
        figures.push(named);
    }
    let verdicts = verdicts(&compared, nothing.clone());
    let claims: Vec<String> = from
        .published
        .iter()
        .flat_map(|source| source.claims.iter().map(move |claim| format!("{claim} – {}", source.citation)))
        .collect();
    let shown: Vec<&Table> = all.iter().filter(|table| table.for_readers || table.name == "raw").collect();
    let html = html(&Page {
        records,
        methods: from.methods,
        verdicts: &verdicts,
        claims: &claims,
        tables: &shown,
        pictures: &pictures,
    })?;
    Ok(Report { tables: all, figures, html, nothing_compared: nothing })
}

/// What several tables are made of.
struct Made<'a> {
    points: &'a [WorkingPoint],
    compared: &'a [Comparison],
    nothing: Option<&'a str>,
}

/// Every table, in report order.
fn all_tables(from: &Ingredients<'_>, made: &Made<'_>) -> Result<Vec<Table>> {
    let (records, points, methods) = (from.records, made.points, from.methods);
    let makers: [&(dyn Fn() -> Result<Option<Table>> + Sync); 17] = [
        &|| operating_points(points, methods, from.choose_on, from.rule).map(Some),
        &|| comparison(made.compared, methods, from.choose_on, made.nothing).map(Some),
        &|| main_table(points, from.choose_on).map(Some),
        &|| tables::published(points, from.choose_on, from.published),
        &|| Ok(from.checks.clone()),
        &|| hypervolume_table(points, methods, from.choose_on).map(Some),
        &|| at_equal_table(points, methods, from.choose_on).map(Some),
        &|| variants_table(points, methods),
        &|| pareto(points).map(Some),
        &|| working_points_table(points).map(Some),
        &|| sweeps(records).map(Some),
        &|| origins(records).map(Some),
        &|| raw(records, methods).map(Some),
        &|| timings(records).map(Some),
        &|| layers(records).map(Some),
        &|| epochs(records).map(Some),
        &|| provenance(records).map(Some),
    ];
    let metrics = tables::by_metric::Metrics::of(records);
    let make = |make: &&(dyn Fn() -> Result<Option<Table>> + Sync)| {
        make()?.map(|table| metrics.apply(table)).transpose()
    };
    let made = makers.par_iter().map(make).collect::<Result<Vec<_>>>()?;
    Ok(made.into_iter().flatten().collect())
}

/// Every figure of every group, with the group's title.
fn drawings(
    from: &Ingredients<'_>,
    points: &[WorkingPoint],
    compared: &[Comparison],
) -> Result<Vec<(String, &'static Figure, NamedDrawing)>> {
    let needs_weights = from.figures.iter().any(|figure| matches!(figure.draw, Source::Weights(_)));
    let mut drawn = Vec::new();
    for ((dataset, model), group) in groups(points, compared, from) {
        let insight = needs_weights.then(|| (from.insight)(&group)).flatten();
        let draw = |figure: &&'static Figure| {
            let stem = file_name(&format!("{}-{dataset}-{model}", figure.name));
            let drawing = match (&figure.draw, &insight) {
                (Source::Records(draw), _) => draw(&group)?,
                (Source::Weights(draw), Some(insight)) => draw(&group, insight)?,
                (Source::Weights(_), None) => (from.earlier)(&stem),
            };
            Ok(drawing.map(|drawing| (group.title.clone(), *figure, NamedDrawing { stem, drawing })))
        };
        let figures = from.figures.par_iter().map(draw).collect::<Result<Vec<_>>>()?;
        drawn.extend(figures.into_iter().flatten());
    }
    Ok(drawn)
}

/// Results by data set and model, in the order of the working points.
fn groups<'a>(
    points: &'a [WorkingPoint],
    compared: &'a [Comparison],
    from: &Ingredients<'a>,
) -> IndexMap<(String, String), Group<'a>> {
    let mut groups: IndexMap<(String, String), Group<'a>> = IndexMap::new();
    for point in points {
        let key = (point.dataset.clone(), point.model.clone());
        let group = groups.entry(key).or_insert_with(|| Group {
            title: format!("{}, {}", point.dataset, point.model),
            layout: from.figure_style,
            points: Vec::new(),
            records: Vec::new(),
            comparisons: compared
                .iter()
                .filter(|c| c.dataset == point.dataset && c.model == point.model)
                .collect(),
            published: Vec::new(),
            methods: from.methods,
            choice: Choice::new(from.choose_on, &[]),
        });
        group.points.push(point);
    }
    for group in groups.values_mut() {
        group.choice = Choice::new(from.choose_on, &group.points);
    }
    for source in from.published.iter().filter(|_| from.draw_published) {
        for row in source.results.iter().filter(|row| row.is_filled()) {
            if let Some(group) = groups.get_mut(&(row.dataset.clone(), row.model.clone())) {
                group.published.push((&source.citation, row));
            }
        }
    }
    for record in finished(from.records) {
        if let Some(group) = groups.get_mut(&(record.dataset.clone(), record.model.clone())) {
            group.records.push(record);
        }
    }
    groups
}
