//! Figures: one file per kind and one line in [`builtin`]. Each is drawn as SVG with an embedded font, so it looks the
//! same on every machine, and turned into PNG and PDF; its data is written as CSV beside it.

mod ablation;
mod accuracy;
mod axis;
mod canvas;
mod chart;
mod colour_bar;
mod depth;
mod dot_plot;
mod forest;
mod heat_map;
mod histogram;
mod layers;
mod legend;
pub mod line_chart;
mod magnitude;
mod render;
mod series;
mod style;
mod subsample;
mod trade_off;
mod training;

use super::choice::Choice;
use super::methods::Methods;
use super::published;
use super::statistics::Comparison;
use super::tables::WorkingPoint;
use crate::Result;
use crate::insight::Insight;
use crate::record::{Metric, RunRecord};
use crate::registry::{Catalogue, Named};
use crate::spec::FigureStyle;

/// A drawn figure.
pub struct Drawing {
    /// The picture.
    pub svg: String,
    /// What it shows, as CSV.
    pub csv: String,
}

impl Drawing {
    /// Every file that it is written as: extension and content.
    ///
    /// # Errors
    /// Those of [`png`] and [`pdf`].
    pub fn files(&self) -> Result<[(&'static str, Vec<u8>); 4]> {
        Ok([
            ("svg", self.svg.clone().into_bytes()),
            ("csv", self.csv.clone().into_bytes()),
            ("png", png(&self.svg, PNG_SCALE)?),
            ("pdf", pdf(&self.svg)?),
        ])
    }
}

/// The results of one data set and model.
pub struct Group<'a> {
    /// Title of the figure.
    pub title: String,
    /// How it is set for print.
    pub layout: FigureStyle,
    /// Working points: runs that differ in nothing but their seed.
    pub points: Vec<&'a WorkingPoint>,
    /// The finished runs.
    pub records: Vec<&'a RunRecord>,
    /// What is known of their methods.
    pub methods: &'a Methods,
    /// The reference method against the others.
    pub comparisons: Vec<&'a Comparison>,
    /// Published results to draw beside ours, each with its source.
    pub published: Vec<(&'a str, &'a published::Row)>,
    /// How one working point is chosen to stand for several.
    pub choice: Choice,
}

impl<'a> Group<'a> {
    /// The runs of one of its points.
    pub fn runs(&self, point: &WorkingPoint) -> impl Iterator<Item = &'a RunRecord> {
        self.records.iter().filter(|record| point.ids.contains(&record.id)).copied()
    }

    /// The metric that the task is scored by.
    pub fn metric(&self) -> Metric {
        self.points.first().map_or(Metric::Top1, |point| point.metric)
    }

    /// The method's name in the legend.
    fn name(&self, method: &str) -> String {
        self.methods.display(method).to_owned()
    }

    /// The method's colour and marker, the same in every figure.
    fn style(&self, method: &str) -> style::Style {
        style::Style::nth(self.methods.style(method))
    }
}

/// Where a figure's data come from.
pub enum Source {
    /// Records alone.
    Records(fn(&Group<'_>) -> Result<Option<Drawing>>),
    /// Weights and data too, so it needs the store and the data set.
    Weights(fn(&Group<'_>, &Insight) -> Result<Option<Drawing>>),
}

/// A kind of figure.
pub struct Figure {
    /// Name in YAML and of the files.
    pub name: &'static str,
    /// One line for listings.
    pub about: &'static str,
    /// Draws one group; `None` where it has nothing to show.
    pub draw: Source,
}

impl Named for Figure {
    fn name(&self) -> &str {
        self.name
    }
}

/// Kinds by name.
pub type Figures = Catalogue<Figure>;

/// The built-in kinds, in the order of a report.
pub fn builtin() -> Figures {
    let figures: [&'static Figure; 12] = [
        &trade_off::OVER_SIZE,
        &trade_off::OVER_SPARSITY,
        &forest::FOREST,
        &accuracy::EFFECT_OF_P,
        &depth::SPARSITY,
        &depth::ENTROPY,
        &histogram::WEIGHTS,
        &magnitude::RELEVANCE,
        &heat_map::HEAT_MAPS,
        &training::CURVES,
        &training::COST,
        &ablation::ABLATIONS,
    ];
    Catalogue::new("figure", "ecqx ls figures", &figures)
}

pub use heat_map::heat_maps;
pub use magnitude::relevance_over_magnitude;
pub use render::{PNG_SCALE, pdf, png};
