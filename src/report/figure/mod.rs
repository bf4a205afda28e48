//! Figures: one file per kind and one line in [`FIGURES`]. Each is drawn as SVG and PNG with an embedded font, so it
//! looks the same on every machine, and its data is written as CSV beside it.

mod accuracy;
mod chart;
mod depth;
mod heat_map;
mod magnitude;
mod render;
mod training;

use super::tables::WorkingPoint;
use crate::error::closest;
use crate::run::RunRecord;
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

/// A kind of figure.
pub struct Figure {
    /// Name in YAML and of the files.
    pub name: &'static str,
    /// One line for listings.
    pub about: &'static str,
    /// Draws one group; `None` where it has nothing to show.
    pub draw: fn(&Group<'_>) -> Result<Option<Drawing>>,
}

/// All kinds.
pub const FIGURES: &[Figure] = &[
    accuracy::OVER_SPARSITY,
    accuracy::OVER_SIZE,
    accuracy::EFFECT_OF_P,
    depth::SPARSITY,
    depth::ENTROPY,
    training::CURVES,
    training::COST,
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
        hint: Some(match closest(name, known.clone()) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("there are {}", known.collect::<Vec<_>>().join(", ")),
        }),
    })
}

pub use heat_map::{Map, heat_maps};
pub use magnitude::{LayerScatter, relevance_over_magnitude};
pub use render::png;
