//! Relevance against magnitude: one two-dimensional histogram per layer, with the correlation of the two.

use super::canvas::{Area, TEXT, failed, is_wide, stroke, wide, width, write, write_upwards};
use super::colour_bar;
use super::{Drawing, Figure, Source};
use crate::insight::ExplainedLayer;
use crate::spec::FigureStyle;
use crate::{Error, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

pub(super) static RELEVANCE: Figure = Figure {
    name: "relevance_over_magnitude",
    about: "relevance (LRP) against magnitude of the weights of each layer; both relative to the layer's largest, \
            relevance as its square root because it spans decades; darker: more weights (logarithmic); r: correlation of \
            |weight| and |relevance|",
    draw: Source::Weights(|group, insight| match insight.layers.is_empty() {
        true => Ok(None),
        false => relevance_over_magnitude(&insight.layers, group.layout).map(Some),
    }),
};

/// Bins to each side.
const BINS: usize = 32;

/// Counts by bin of magnitude and relevance.
fn counts(layer: &ExplainedLayer) -> Vec<[usize; BINS]> {
    let largest = |values: &[f32]| {
        f64::from(values.iter().fold(0.0f32, |largest, value| largest.max(value.abs())))
            .max(f64::MIN_POSITIVE)
    };
    let (weight, relevance) = (largest(&layer.weights), largest(&layer.relevance));
    let bin = |share: f64| ((share * BINS as f64) as usize).min(BINS - 1);
    let mut counts = vec![[0; BINS]; BINS];
    for (w, r) in layer.weights.iter().zip(&layer.relevance) {
        let (w, r) = (f64::from(w.abs()) / weight, (f64::from(r.abs()) / relevance).sqrt());
        counts[bin(w)][bin(r)] += 1;
    }
    counts
}

/// White to dark blue.
fn shade(share: f64) -> RGBColor {
    let mix = |from: f64, to: f64| (from + (to - from) * share).round() as u8;
    RGBColor(mix(222.0, 8.0), mix(235.0, 48.0), mix(247.0, 107.0))
}

/// Draws all layers.
///
/// # Errors
/// [`Error::Input`] when there is nothing to draw.
pub fn relevance_over_magnitude(layers: &[ExplainedLayer], layout: FigureStyle) -> Result<Drawing> {
    if layers.is_empty() {
        return Err(Error::input("there are no weights to draw"));
    }
    let columns = layers.len().min(if is_wide(layout) { 6 } else { 3 }) as i32;
    let rows = (layers.len() as i32 + columns - 1) / columns;
    let whole = wide(layout);
    let (left, gap, title) = (90 + width("0.5", TEXT), 40, 2 * TEXT + 16);
    let side = ((whole - left - 20) / columns - gap).min(620);
    let row = side + title + 20;
    let foot = rows * row + TEXT + 20;
    let size = (whole as u32, (foot + TEXT + 40 + colour_bar::HEIGHT) as u32);
    let mut svg = String::new();
    let mut csv = String::from("layer,correlation,magnitude_bin,relevance_bin,weights\n");
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        for (index, layer) in layers.iter().enumerate() {
            let at = (left + index as i32 % columns * (side + gap), index as i32 / columns * row + title);
            cell(&area, layer, at, side, &mut csv)?;
            // Numbers at the first plot of a row and the last of a column.
            let (first, last) = (index as i32 % columns == 0, index + columns as usize >= layers.len());
            ticks(&area, at, side, (first, last))?;
        }
        let middle = left + (columns * (side + gap) - gap) / 2;
        write(&area, "|weight| / largest", (middle, foot), TEXT, (HPos::Center, VPos::Top))?;
        write_upwards(&area, "√(|relevance| / largest)", (TEXT / 2 + 12, rows * row / 2), TEXT)?;
        let bar = (whole / 2, whole - 160, foot + TEXT + 30);
        let texts = [(0.0, "one".into()), (1.0, "most".into())];
        colour_bar::draw(&area, bar, "weights in a bin (log)", &texts, shade)?;
        area.present().map_err(failed)?;
    }
    Ok(Drawing { svg, csv })
}

fn cell(area: &Area<'_>, layer: &ExplainedLayer, at: (i32, i32), side: i32, csv: &mut String) -> Result<()> {
    let counts = counts(layer);
    let largest = counts.iter().flatten().copied().max().unwrap_or(1).max(1) as f64;
    let place = |bin: usize| (bin as i32 * side) / BINS as i32;
    let r = layer.correlation.map_or(String::new(), |r| r.to_string());
    for (w, line) in counts.iter().enumerate() {
        for (relevance, &count) in line.iter().enumerate().filter(|(_, count)| **count > 0) {
            let colour = shade((count as f64).ln_1p() / largest.ln_1p());
            let (x, y) = (at.0 + place(w), at.1 + side - place(relevance + 1));
            // Overlap: neighbours that only touch leave a white line when they are smoothed.
            let end = (at.0 + place(w + 1) + 2, at.1 + side - place(relevance) + 2);
            area.draw(&Rectangle::new([(x, y), end], colour.filled())).map_err(failed)?;
            *csv += &format!("{},{r},{w},{relevance},{count}\n", layer.name);
        }
    }
    let (right, bottom) = (at.0 + side, at.1 + side);
    let corners = vec![at, (right, at.1), (right, bottom), (at.0, bottom), at];
    stroke(area, corners, RGBColor(90, 90, 90), 3)?;
    let name = layer.name.strip_suffix(".weight").unwrap_or(&layer.name);
    // Long names are set smaller rather than cut.
    let size = (TEXT..=TEXT)
        .find(|size| width(name, *size) <= side)
        .unwrap_or_else(|| (TEXT as f64 * f64::from(side) / f64::from(width(name, TEXT))) as i32);
    let middle = at.0 + side / 2;
    write(area, name, (middle, at.1 - TEXT - 8), size, (HPos::Center, VPos::Bottom))?;
    let r = layer.correlation.map_or("r = –".into(), |r| format!("r = {r:.2}"));
    write(area, &r, (middle, at.1 - 4), TEXT, (HPos::Center, VPos::Bottom))
}

/// Ticks at 0, ½ and 1 on both axes, with numbers left of a `first` plot and below a `last` one.
fn ticks(area: &Area<'_>, at: (i32, i32), side: i32, (first, last): (bool, bool)) -> Result<()> {
    let grey = RGBColor(90, 90, 90);
    for (share, text) in [(0.0, "0"), (0.5, "0.5"), (1.0, "1")] {
        let along = (f64::from(side) * share).round() as i32;
        let (x, y) = (at.0 + along, at.1 + side - along);
        stroke(area, vec![(x, at.1 + side), (x, at.1 + side + 8)], grey, 3)?;
        stroke(area, vec![(at.0 - 8, y), (at.0, y)], grey, 3)?;
        if last {
            write(area, text, (x, at.1 + side + 12), TEXT, (HPos::Center, VPos::Top))?;
        }
        if first {
            write(area, text, (at.0 - 14, y), TEXT, (HPos::Right, VPos::Center))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every weight is in one bin, and the CSV says how many are in each.
    #[test]
    fn every_weight_is_counted() {
        let layer = ExplainedLayer {
            name: "fc.weight".into(),
            weights: (0..1000).map(|i| (i as f32 * 0.37).sin()).collect(),
            relevance: (0..1000).map(|i| (i as f32 * 0.11).cos().powi(3)).collect(),
            correlation: Some(0.25),
        };
        let drawing = relevance_over_magnitude(&[layer], FigureStyle::default()).unwrap();
        let weights = drawing
            .csv
            .lines()
            .skip(1)
            .map(|line| line.rsplit(',').next().unwrap().parse::<usize>().unwrap());
        assert_eq!(weights.sum::<usize>(), 1000);
        assert!(drawing.svg.contains("r = 0.25"));
        // One per occupied bin, the background, and those of the colour bar.
        let bins = drawing.csv.lines().count() - 1;
        assert!(drawing.svg.matches("<rect").count() > bins + 1);
        assert!(["one", "most", "0.5"].iter().all(|text| drawing.svg.contains(text)));
        assert!(relevance_over_magnitude(&[], FigureStyle::default()).is_err());
    }
}
