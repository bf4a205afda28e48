//! The one chart that the figures share: lines with markers and error bars, an optional dashed baseline, a legend beside.

use super::Drawing;
use super::render::FONT;
use crate::{Error, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Okabe & Ito's palette, safe for colour-blind readers.
pub(super) const COLOURS: [RGBColor; 7] = [
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
/// Room for the legend, right of the plot: at least, per character of the longest name, and per line.
const LEGEND: (u32, u32, u32) = (120, 8, 22);

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

/// One line.
pub(super) struct Line {
    pub name: String,
    pub spots: Vec<Spot>,
}

/// What to draw.
pub(super) struct Chart<'a> {
    pub title: &'a str,
    pub x_label: &'a str,
    pub y_label: &'a str,
    pub lines: Vec<Line>,
    /// Height of a dashed line, and what it is called.
    pub baseline: Option<(f64, &'a str)>,
    /// A grey line without markers behind the others, and what it is called.
    pub backdrop: Option<(Vec<(f64, f64)>, &'a str)>,
    /// Names of x and y in the CSV.
    pub columns: [&'a str; 2],
}

pub(super) fn failed(error: impl std::fmt::Display) -> Error {
    Error::Internal(format!("figure: {error}"))
}

/// Smallest and largest value with a margin of a twentieth on both sides.
fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)));
    let margin = match (high - low) * 0.05 {
        margin if margin > 0.0 => margin,
        _ => (high.abs() * 0.05).max(0.05),
    };
    // No axis of ours has negative values; a margin must not suggest them.
    (low <= high).then_some((if low >= 0.0 { (low - margin).max(0.0) } else { low - margin }, high + margin))
}

impl Chart<'_> {
    /// The drawing, or `None` when no line has a point.
    pub fn draw(self) -> Result<Option<Drawing>> {
        let spots = || self.lines.iter().flat_map(|line| &line.spots);
        let x = bounds(spots().flat_map(|s| [s.x - s.x_deviation, s.x + s.x_deviation]));
        let y = bounds(
            spots()
                .flat_map(|s| [s.y - s.y_deviation, s.y + s.y_deviation])
                .chain(self.baseline.map(|(height, _)| height)),
        );
        let (Some(x), Some(y)) = (x, y) else { return Ok(None) };
        let mut svg = String::new();
        let longest = self.lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0) as u32;
        let legend_width = (48 + LEGEND.1 * longest).max(LEGEND.0);
        let entries = self.lines.len() as u32 + 2;
        let size = (SIZE.0 - LEGEND.0 + legend_width, SIZE.1.max(48 + LEGEND.2 * entries));
        {
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            area.fill(&WHITE).map_err(failed)?;
            let (plot, legend) = area.split_horizontally(size.0 - legend_width);
            self.plot(&plot, x, y)?;
            self.legend(&legend)?;
            area.present().map_err(failed)?;
        }
        Ok(Some(Drawing { svg, csv: self.csv() }))
    }

    fn plot(&self, plot: &Area<'_>, x: (f64, f64), y: (f64, f64)) -> Result<()> {
        let mut chart = ChartBuilder::on(plot)
            .caption(self.title, (FONT, 20))
            .margin(8)
            .x_label_area_size(46)
            .y_label_area_size(58)
            .build_cartesian_2d(x.0..x.1, y.0..y.1)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .label_style((FONT, 16))
            .axis_desc_style((FONT, 18))
            .x_desc(self.x_label)
            .y_desc(self.y_label)
            .draw()
            .map_err(failed)?;
        if let Some((points, _)) = &self.backdrop {
            let style = RGBColor(170, 170, 170).stroke_width(4);
            chart.draw_series(LineSeries::new(points.iter().copied(), style)).map_err(failed)?;
        }
        if let Some((height, _)) = self.baseline {
            let ends = [(x.0, height), (x.1, height)];
            chart.draw_series(DashedLineSeries::new(ends, 6, 4, BLACK.stroke_width(1))).map_err(failed)?;
        }
        for (index, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let points = line.spots.iter().map(|s| (s.x, s.y));
            chart.draw_series(LineSeries::new(points, colour.stroke_width(2))).map_err(failed)?;
            for spot in &line.spots {
                if spot.y_deviation > 0.0 {
                    let ends = vec![(spot.x, spot.y - spot.y_deviation), (spot.x, spot.y + spot.y_deviation)];
                    chart.draw_series([PathElement::new(ends, colour.stroke_width(1))]).map_err(failed)?;
                }
                if spot.x_deviation > 0.0 {
                    let ends = vec![(spot.x - spot.x_deviation, spot.y), (spot.x + spot.x_deviation, spot.y)];
                    chart.draw_series([PathElement::new(ends, colour.stroke_width(1))]).map_err(failed)?;
                }
                marker(plot, chart.backend_coord(&(spot.x, spot.y)), index, colour)?;
            }
        }
        Ok(())
    }

    fn legend(&self, area: &Area<'_>) -> Result<()> {
        let style = (FONT, 16).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
        let mut y = 44;
        let text = |name: &str, y: i32| {
            area.draw(&Text::new(name.to_owned(), (40, y), style.clone())).map_err(failed)
        };
        let line = |from: i32, to: i32, y: i32, style: ShapeStyle| {
            area.draw(&PathElement::new(vec![(from, y), (to, y)], style)).map_err(failed)
        };
        for (index, entry) in self.lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            line(4, 32, y, colour.stroke_width(2))?;
            marker(area, (18, y), index, colour)?;
            text(&entry.name, y)?;
            y += LEGEND.2 as i32;
        }
        if let Some((_, name)) = self.baseline {
            for x in [4, 14, 24] {
                line(x, x + 6, y, BLACK.stroke_width(1))?;
            }
            text(name, y)?;
            y += LEGEND.2 as i32;
        }
        if let Some((_, name)) = self.backdrop {
            line(4, 32, y, RGBColor(170, 170, 170).stroke_width(4))?;
            text(name, y)?;
        }
        Ok(())
    }

    fn csv(&self) -> String {
        let [x, y] = self.columns;
        let mut text = format!("line,label,{x},{x}_std,{y},{y}_std,seeds,baseline\n");
        let baseline = self.baseline.map_or(String::new(), |(height, _)| height.to_string());
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        for line in &self.lines {
            for s in &line.spots {
                let (name, label) = (quoted(&line.name), quoted(&s.label));
                text += &format!(
                    "{name},{label},{},{},{},{},{},{baseline}\n",
                    s.x, s.x_deviation, s.y, s.y_deviation, s.seeds
                );
            }
        }
        text
    }
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
