//! The kinds of figures that an experiment may name. What they show and how they are drawn is the report's, which is above
//! this module.

use crate::error::closest;
use crate::{Error, Result};

/// Names of all kinds, in the report's order.
pub const NAMES: [&str; 11] = [
    "accuracy_over_sparsity",
    "accuracy_over_size",
    "effect_of_p",
    "sparsity_by_depth",
    "entropy_by_depth",
    "weight_histogram",
    "relevance_over_magnitude",
    "relevance_heat_maps",
    "training_curves",
    "time_and_memory",
    "ablations",
];

/// Checks a figure's name.
///
/// # Errors
/// [`Error::Input`] with a suggestion for an unknown name.
pub fn check_name(name: &str) -> Result<()> {
    if NAMES.contains(&name) {
        return Ok(());
    }
    Err(Error::Input {
        message: format!("no figure is called '{name}'"),
        hint: Some(match closest(name, NAMES) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("there are {}", NAMES.join(", ")),
        }),
    })
}
