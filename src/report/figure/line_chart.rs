//! Lines through measured points that come from no run: benches.

use super::Drawing;
use super::chart::{Chart, Line, Panel, Spot};
use super::style::Style;
use crate::{Error, Result};

/// Named lines of (x, y) points; `labels` of the two axes, with units.
///
/// # Errors
/// [`Error::Internal`] when there is no point.
pub fn line_chart(title: &str, labels: [&str; 2], lines: Vec<(String, Vec<(f64, f64)>)>) -> Result<Drawing> {
    let lines = lines.into_iter().enumerate().map(|(index, (name, points))| Line {
        spots: points.into_iter().map(|(x, y)| Spot::plain(x, y, name.clone())).collect(),
        style: Style::nth(index),
        joined: true,
        name,
    });
    let chart = Chart {
        title,
        style: Default::default(),
        x_label: labels[0],
        y_label: labels[1],
        panels: vec![Panel::new("", lines.collect())],
        baseline: "",
        backdrop: "",
        logarithmic: false,
        floor: None,
        columns: ["x", "y"],
    };
    chart.draw()?.ok_or_else(|| Error::Internal("figure: no point to draw".into()))
}
