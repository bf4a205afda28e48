//! A whole report: every table, every figure and the page, from records and what else is known. Nothing here reads or
//! writes files.

use super::figure::{Drawing, FIGURES, Figure, Group, Insight, Source};
use super::html::{Page, Picture, html};
use super::published;
use super::records::finished;
use super::statistics::compare;
use super::tables::{
    self, Table, WorkingPoint, at_equal_table, comparison, epochs, hypervolume_table, layers, main_table,
    origins, pareto, provenance, raw, timings, working_points, working_points_table,
};
use crate::Result;
use crate::run::RunRecord;
use indexmap::IndexMap;

/// What a report is made of.
pub struct Ingredients<'a> {
    /// All runs, in report order.
    pub records: &'a [RunRecord],
    /// Kinds of figures.
    pub figures: Vec<&'static Figure>,
    /// Published numbers.
    pub published: &'a [published::Source],
    /// Weights and data of a group, where they are at hand.
    pub insight: &'a dyn Fn(&Group<'_>) -> Option<Insight>,
    /// The drawing of an earlier report for a figure that needs weights and data which are not at hand, by file stem.
    pub earlier: &'a dyn Fn(&str) -> Option<Drawing>,
    /// Results of the check against expected numbers, where it was made.
    pub checks: Option<Table>,
}

/// A figure with its file name.
pub struct Named {
    /// File name without extension.
    pub stem: String,
    /// The drawing.
    pub drawing: Drawing,
}

/// A report.
pub struct Bundle {
    /// All tables.
    pub tables: Vec<Table>,
    /// All figures.
    pub figures: Vec<Named>,
    /// The page.
    pub html: String,
}

/// The kinds called `names`; all where there are none.
pub fn kinds(names: &[String]) -> Vec<&'static Figure> {
    FIGURES.iter().filter(|figure| names.is_empty() || names.iter().any(|name| name == figure.name)).collect()
}

/// Makes the report.
///
/// # Errors
/// [`crate::Error::Internal`] only on a defect.
pub fn bundle(from: Ingredients<'_>) -> Result<Bundle> {
    let records = from.records;
    let points = working_points(records);
    let published = tables::published(&points, from.published)?;
    let all: Vec<Table> = [Some(main_table(&points)?), Some(comparison(records)?), published, from.checks]
        .into_iter()
        .flatten()
        .chain([
            hypervolume_table(records)?,
            at_equal_table(records)?,
            pareto(&points)?,
            working_points_table(&points)?,
            origins(records)?,
            raw(records)?,
            timings(records)?,
            layers(records)?,
            epochs(records)?,
            provenance(records)?,
        ])
        .collect();
    let (mut figures, mut pictures) = (Vec::new(), Vec::new());
    for ((dataset, model), group) in groups(&points, records) {
        let needs_weights = from.figures.iter().any(|figure| matches!(figure.draw, Source::Weights(_)));
        let insight = needs_weights.then(|| (from.insight)(&group)).flatten();
        for figure in &from.figures {
            let stem = format!("{}-{dataset}-{model}", figure.name);
            let drawing = match (&figure.draw, &insight) {
                (Source::Records(draw), _) => draw(&group)?,
                (Source::Weights(draw), Some(insight)) => draw(&group, insight)?,
                (Source::Weights(_), None) => (from.earlier)(&stem),
            };
            let Some(drawing) = drawing else { continue };
            pictures.push(Picture {
                title: group.title.clone(),
                about: figure.about.into(),
                svg: drawing.svg.clone(),
            });
            figures.push(Named { stem, drawing });
        }
    }
    let overall = compare(records).into_iter().filter(|comparison| comparison.bits.is_none());
    let verdicts: Vec<String> =
        overall.map(|c| format!("{}, {}: {}", c.dataset, c.model, c.verdict())).collect();
    let claims: Vec<String> = from
        .published
        .iter()
        .flat_map(|source| source.claims.iter().map(move |claim| format!("{claim} – {}", source.citation)))
        .collect();
    let shown: Vec<&Table> = all.iter().filter(|table| table.for_readers || table.name == "raw").collect();
    let html =
        html(&Page { records, verdicts: &verdicts, claims: &claims, tables: &shown, pictures: &pictures })?;
    Ok(Bundle { tables: all, figures, html })
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
