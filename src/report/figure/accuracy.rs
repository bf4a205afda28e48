//! Accuracy over sparsity and over file size: one line per method and bit width along λ, the baseline dashed, error bars
//! over seeds.

use super::render::FONT;
use super::{Drawing, Figure};
use crate::report::statistics::Summary;
use crate::report::tables::WorkingPoint;
use crate::{Error, Result};
use indexmap::IndexMap;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub(super) const OVER_SPARSITY: Figure = Figure {
    name: "accuracy_over_sparsity",
    about: "top-1 accuracy over the share of zeros, one line per method and bit width",
    draw: |title, points| draw(title, points, Axis::Sparsity),
};

pub(super) const OVER_SIZE: Figure = Figure {
    name: "accuracy_over_size",
    about: "top-1 accuracy over the size of the written file, one line per method and bit width",
    draw: |title, points| draw(title, points, Axis::Size),
};

#[derive(Clone, Copy)]
enum Axis {
    Sparsity,
    Size,
}

/// Okabe & Ito's palette, safe for colour-blind readers.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
];
/// Units of the drawing: a column of 8 cm at 80 units per centimetre.
const SIZE: (u32, u32) = (640, 460);
/// Room for the legend, right of the plot.
const LEGEND: u32 = 150;

/// One point of a line.
struct Spot {
    x: f64,
    x_deviation: f64,
    y: f64,
    y_deviation: f64,
    label: String,
    seeds: usize,
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Internal(format!("figure: {error}"))
}

fn deviation(summary: &Summary) -> f64 {
    summary.std.unwrap_or(0.0)
}

/// Lines by method and bit width, points from left to right.
fn lines(points: &[&WorkingPoint], axis: Axis) -> IndexMap<String, Vec<Spot>> {
    let mut lines: IndexMap<String, Vec<Spot>> = IndexMap::new();
    for point in points {
        let (summary, scale) = match axis {
            Axis::Sparsity => (&point.sparsity, 1.0),
            Axis::Size => (&point.file_bytes, 1e-3),
        };
        let Some(x) = summary else { continue };
        let name = match point.bits {
            Some(bits) => format!("{} {bits} bit", point.method),
            None => point.method.clone(),
        };
        lines.entry(name).or_default().push(Spot {
            x: x.mean * scale,
            x_deviation: deviation(x) * scale,
            y: point.top1.mean,
            y_deviation: deviation(&point.top1),
            label: point.label.clone(),
            seeds: point.seeds.len(),
        });
    }
    lines.values_mut().for_each(|line| line.sort_by(|a, b| a.x.total_cmp(&b.x)));
    lines
}

/// Smallest and largest value with a margin of a twentieth on both sides.
fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)));
    let margin = ((high - low) * 0.05).max(0.5);
    (low <= high).then_some((low - margin, high + margin))
}

fn draw(title: &str, points: &[&WorkingPoint], axis: Axis) -> Result<Drawing> {
    let lines = lines(points, axis);
    let baseline = points.iter().find_map(|point| point.baseline_top1.as_ref()).map(|summary| summary.mean);
    let spots = || lines.values().flatten();
    let x = bounds(spots().flat_map(|s| [s.x - s.x_deviation, s.x + s.x_deviation]));
    let y = bounds(spots().flat_map(|s| [s.y - s.y_deviation, s.y + s.y_deviation]).chain(baseline));
    let (Some((x_low, x_high)), Some((y_low, y_high))) = (x, y) else {
        return Err(Error::input(format!("figure of {title}: no finished run has a value to draw")));
    };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let (plot, legend) = area.split_horizontally(SIZE.0 - LEGEND);
        let mut chart = ChartBuilder::on(&plot)
            .caption(title, (FONT, 20))
            .margin(8)
            .x_label_area_size(46)
            .y_label_area_size(58)
            .build_cartesian_2d(x_low.max(0.0)..x_high, y_low..y_high)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .label_style((FONT, 16))
            .axis_desc_style((FONT, 18))
            .x_desc(match axis {
                Axis::Sparsity => "zeros, % of the quantized weights",
                Axis::Size => "file size, kB",
            })
            .y_desc("top-1 accuracy, %")
            .draw()
            .map_err(failed)?;
        if let Some(baseline) = baseline {
            let dashes = DashedLineSeries::new(
                [(x_low.max(0.0), baseline), (x_high, baseline)],
                6,
                4,
                BLACK.stroke_width(1),
            );
            chart.draw_series(dashes).map_err(failed)?;
        }
        for (index, line) in lines.values().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            chart
                .draw_series(LineSeries::new(line.iter().map(|s| (s.x, s.y)), colour.stroke_width(2)))
                .map_err(failed)?;
            for spot in line {
                if spot.y_deviation > 0.0 {
                    let ends = vec![(spot.x, spot.y - spot.y_deviation), (spot.x, spot.y + spot.y_deviation)];
                    chart.draw_series([PathElement::new(ends, colour.stroke_width(1))]).map_err(failed)?;
                }
                let at = chart.backend_coord(&(spot.x, spot.y));
                marker(&plot, at, index, colour)?;
            }
        }
        legend_of(&legend, &lines, baseline.is_some())?;
        area.present().map_err(failed)?;
    }
    Ok(Drawing { svg, csv: csv(&lines, baseline) })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Markers differ in shape as well as in colour.
fn marker(area: &Area<'_>, at: (i32, i32), index: usize, colour: RGBColor) -> Result<()> {
    // Positions of the whole picture; the plot lies at its left edge.
    match index % 4 {
        0 => area.draw(&Circle::new(at, 5, colour.filled())),
        1 => area.draw(&Rectangle::new([(at.0 - 4, at.1 - 4), (at.0 + 4, at.1 + 4)], colour.filled())),
        2 => area.draw(&TriangleMarker::new(at, 6, colour.filled())),
        _ => area.draw(&Cross::new(at, 5, colour.stroke_width(2))),
    }
    .map_err(failed)
}

fn legend_of(area: &Area<'_>, lines: &IndexMap<String, Vec<Spot>>, baseline: bool) -> Result<()> {
    let style = (FONT, 16).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
    let mut y = 44;
    for (index, name) in lines.keys().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        area.draw(&PathElement::new(vec![(4, y), (32, y)], colour.stroke_width(2))).map_err(failed)?;
        marker(area, (18, y), index, colour)?;
        area.draw(&Text::new(name.clone(), (40, y), style.clone())).map_err(failed)?;
        y += 22;
    }
    if baseline {
        for x in [4, 14, 24] {
            area.draw(&PathElement::new(vec![(x, y), (x + 6, y)], BLACK.stroke_width(1))).map_err(failed)?;
        }
        area.draw(&Text::new("full precision", (40, y), style)).map_err(failed)?;
    }
    Ok(())
}

fn csv(lines: &IndexMap<String, Vec<Spot>>, baseline: Option<f64>) -> String {
    let mut text =
        String::from("line,label,x,x_std,top1_percent,top1_std_points,seeds,baseline_top1_percent\n");
    let baseline = baseline.map_or(String::new(), |value| value.to_string());
    for (name, line) in lines {
        for s in line {
            text += &format!(
                "{name},\"{}\",{},{},{},{},{},{baseline}\n",
                s.label.replace('"', "\"\""),
                s.x,
                s.x_deviation,
                s.y,
                s.y_deviation,
                s.seeds
            );
        }
    }
    text
}
