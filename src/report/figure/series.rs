//! What a chart shows: points, series of them, and plots of series.

use super::style::Style;

/// One point.
pub(super) struct Spot {
    pub x: f64,
    pub x_deviation: f64,
    pub y: f64,
    pub y_deviation: f64,
    pub label: String,
    pub seeds: usize,
}

impl Spot {
    /// A point without spread.
    pub fn plain(x: f64, y: f64, label: String) -> Self {
        Self { x, x_deviation: 0.0, y, y_deviation: 0.0, label, seeds: 1 }
    }
}

/// One series.
pub(super) struct Line {
    /// Its text in the legend; the same name in another panel is the same series.
    pub name: String,
    pub style: Style,
    pub spots: Vec<Spot>,
    /// Whether its points are joined.
    pub joined: bool,
}

/// One plot.
pub(super) struct Panel {
    /// Text above it; empty for none.
    pub title: String,
    pub lines: Vec<Line>,
    /// Height of a dashed line.
    pub baseline: Option<f64>,
    /// A wide grey line behind the others.
    pub backdrop: Vec<(f64, f64)>,
    /// Names of x = 1, 2, …, where the axis is one of names.
    pub names: Vec<String>,
}

impl Panel {
    /// A plot of lines alone.
    pub fn new(title: impl Into<String>, lines: Vec<Line>) -> Self {
        Self { title: title.into(), lines, baseline: None, backdrop: Vec::new(), names: Vec::new() }
    }
}
