//! Relevance over magnitude: one small scatter per layer, with the correlation of the two.

use super::Drawing;
use super::render::FONT;
use crate::{Error, Result};
use plotters::prelude::*;

/// One layer's weights and their relevance.
pub struct LayerScatter<'a> {
    /// Name of the weight.
    pub name: &'a str,
    /// Weights (signs are dropped).
    pub magnitude: &'a [f32],
    /// Relevance of each (signs are dropped).
    pub relevance: &'a [f32],
    /// Pearson's correlation of |weight| and |relevance|.
    pub correlation: Option<f64>,
}

/// Points drawn per layer: every n-th weight of larger ones.
const POINTS: usize = 600;
const COLUMNS: usize = 4;
const CELL: (u32, u32) = (230, 170);

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Internal(format!("figure: {error}"))
}

/// Both axes relative to the layer's largest value; relevance as its square root, because it spans decades.
///
/// # Errors
/// [`Error::Input`] when there is nothing to draw.
pub fn relevance_over_magnitude(layers: &[LayerScatter<'_>]) -> Result<Drawing> {
    if layers.is_empty() {
        return Err(Error::input("there are no weights to draw"));
    }
    let rows = layers.len().div_ceil(COLUMNS);
    let columns = layers.len().min(COLUMNS);
    let size = (columns as u32 * CELL.0, rows as u32 * CELL.1 + 30);
    let mut svg = String::new();
    let mut csv = String::from("layer,correlation,magnitude,relevance\n");
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let (cells, foot) = area.split_vertically(size.1 - 30);
        let style = (FONT, 15).into_font().color(&BLACK);
        let text = "across: |weight| / largest;   up: sqrt(|relevance| / largest)";
        foot.draw(&Text::new(text, (12, 6), style)).map_err(failed)?;
        for (cell, layer) in cells.split_evenly((rows, columns)).iter().zip(layers) {
            let largest = |values: &[f32]| {
                f64::from(values.iter().fold(0.0f32, |largest, value| largest.max(value.abs())))
                    .max(f64::MIN_POSITIVE)
            };
            let (weight, relevance) = (largest(layer.magnitude), largest(layer.relevance));
            let r = layer.correlation.map_or("–".into(), |r| format!("{r:.2}"));
            let mut chart = ChartBuilder::on(cell)
                .caption(format!("{}  r = {r}", layer.name), (FONT, 13))
                .margin(6)
                .x_label_area_size(16)
                .y_label_area_size(26)
                .build_cartesian_2d(0.0..1.0, 0.0..1.0)
                .map_err(failed)?;
            chart
                .configure_mesh()
                .disable_mesh()
                .x_labels(3)
                .y_labels(3)
                .label_style((FONT, 12))
                .draw()
                .map_err(failed)?;
            let every = layer.magnitude.len().div_ceil(POINTS).max(1);
            let points = layer.magnitude.iter().zip(layer.relevance).step_by(every);
            let points: Vec<(f64, f64)> = points
                .map(|(w, r)| (f64::from(w.abs()) / weight, (f64::from(r.abs()) / relevance).sqrt()))
                .collect();
            let colour = RGBColor(0, 114, 178).mix(0.45);
            chart
                .draw_series(points.iter().map(|point| Circle::new(*point, 1, colour.filled())))
                .map_err(failed)?;
            for (w, r) in &points {
                csv += &format!("{},{r_layer},{w},{r}\n", layer.name, r_layer = r_text(layer.correlation));
            }
        }
        area.present().map_err(failed)?;
    }
    Ok(Drawing { svg, csv })
}

fn r_text(correlation: Option<f64>) -> String {
    correlation.map_or(String::new(), |value| value.to_string())
}
