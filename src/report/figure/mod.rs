//! Figures: one file per kind and one line in [`FIGURES`]. Each is drawn as SVG with an embedded font, so it looks the
//! same on every machine, and turned into PNG and PDF; its data is written as CSV beside it.

mod ablation;
mod accuracy;
mod axis;
mod canvas;
mod chart;
mod depth;
mod heat_map;
mod histogram;
mod legend;
mod magnitude;
pub mod measured;
mod render;
mod style;
mod thin;
mod training;

use super::tables::WorkingPoint;
use crate::error::did_you_mean_or_all;
use crate::record::RunRecord;
use crate::{Error, Result};

/// A drawn figure.
pub struct Drawing {
    /// The picture.
    pub svg: String,
    /// What it shows, as CSV.
    pub csv: String,
}

/// The results of one data set and model.
pub struct Group<'a> {
    /// Title of the figure.
    pub title: String,
    /// Working points: runs that differ in nothing but their seed.
    pub points: Vec<&'a WorkingPoint>,
    /// The finished runs.
    pub records: Vec<&'a RunRecord>,
}

impl<'a> Group<'a> {
    /// The runs of one of its points.
    pub fn runs(&self, point: &WorkingPoint) -> impl Iterator<Item = &'a RunRecord> {
        self.records.iter().filter(|record| point.ids.contains(&record.id)).copied()
    }
}

/// What records do not hold: weights with their relevance, samples with theirs, one layer's assignment.
pub struct Insight {
    /// Every weight tensor, in layer order.
    pub layers: Vec<ExplainedLayer>,
    /// Some inputs.
    pub maps: Vec<Map>,
    /// One layer as ECQ and ECQx assign it.
    pub assignment: Option<Assignment>,
}

/// A weight tensor with its relevance.
pub struct ExplainedLayer {
    /// Parameter name.
    pub name: String,
    /// Weights.
    pub weights: Vec<f32>,
    /// Signed relevance of each.
    pub relevance: Vec<f32>,
    /// Pearson's correlation of |weight| and |relevance|.
    pub correlation: Option<f64>,
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

/// All kinds.
pub const FIGURES: &[Figure] = &[
    accuracy::OVER_SPARSITY,
    accuracy::OVER_SIZE,
    accuracy::EFFECT_OF_P,
    depth::SPARSITY,
    depth::ENTROPY,
    histogram::WEIGHTS,
    magnitude::RELEVANCE,
    heat_map::HEAT_MAPS,
    training::CURVES,
    training::COST,
    ablation::ABLATIONS,
];

/// Checks a figure's name.
///
/// # Errors
/// [`Error::Input`] with a suggestion for an unknown name.
pub fn check_name(name: &str) -> Result<()> {
    if FIGURES.iter().any(|figure| figure.name == name) {
        return Ok(());
    }
    let known = FIGURES.iter().map(|figure| figure.name);
    Err(Error::Input {
        message: format!("no figure is called '{name}'"),
        hint: Some(did_you_mean_or_all(name, known, "there are")),
    })
}

pub use heat_map::{Map, heat_maps};
pub use histogram::Assignment;
pub use magnitude::relevance_over_magnitude;
pub use render::{PNG_SCALE, pdf, png};
