//! The chart that most figures share: panels side by side with common axes, lines with markers and error bars, an
//! optional dashed baseline, one legend below.

use super::Drawing;
use super::axis::Axis;
use super::canvas::{
    Area, GREY, MARKER, TEXT, dashes, failed, is_wide, not_shown, panel_label, stroke, title_room, wide,
    width, write, write_title, write_upwards,
};
use super::legend::{LINE, Legend};
pub(super) use super::series::{Line, Panel, Spot};
use super::subsample::subsample;
use crate::Result;
use crate::spec::FigureStyle;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

/// Height of the plots of one row.
const HEIGHT: [i32; 2] = [900, 560];

/// What to draw.
pub(super) struct Chart<'a> {
    pub title: &'a str,
    pub style: FigureStyle,
    pub x_label: &'a str,
    pub y_label: &'a str,
    pub panels: Vec<Panel>,
    /// What the dashed line and the grey line are called.
    pub baseline: &'a str,
    pub backdrop: &'a str,
    pub logarithmic: bool,
    /// Points lower than this are left out of the picture (not of the CSV), and a line below it says how many.
    pub floor: Option<f64>,
    /// Names of x and y in the CSV.
    pub columns: [&'a str; 2],
}

/// The rectangle of one plot.
#[derive(Clone, Copy)]
struct Frame {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
}

impl Chart<'_> {
    /// The drawing, or `None` when no line has a point.
    pub fn draw(mut self) -> Result<Option<Drawing>> {
        let csv = self.csv();
        let hidden = self.hide();
        let subsampled = subsample(&mut self.panels);
        self.panels.retain(|panel| panel.lines.iter().any(|line| !line.spots.is_empty()));
        let spots = || self.panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.spots);
        let x = Axis::around(
            spots().flat_map(|s| [s.x - s.x_deviation, s.x, s.x + s.x_deviation]),
            self.logarithmic,
        );
        let baselines = self.panels.iter().filter_map(|panel| panel.baseline);
        let y = Axis::around(
            spots().flat_map(|s| [s.y - s.y_deviation, s.y + s.y_deviation]).chain(baselines),
            false,
        );
        let (Some(x), Some(y)) = (x, y) else { return Ok(None) };
        let most = if is_wide(self.style) { 4 } else { 2 };
        let columns = self.panels.len().min(most);
        let rows = self.panels.len().div_ceil(columns) as i32;
        let height = HEIGHT[usize::from(columns > 1)];
        let named = self.panels.iter().flat_map(|panel| &panel.names).map(|name| width(name, TEXT)).max();
        let below = named.map_or(TEXT + 20, |longest| longest * 8 / 10 + 40);
        let count = self.panels.len();
        for (index, panel) in self.panels.iter_mut().enumerate() {
            if let Some(label) = panel_label(self.style, index, count) {
                panel.title = format!("{label} {}", panel.title).trim_end().into();
            }
        }
        let titles = if self.panels.iter().all(|panel| panel.title.is_empty()) { 0 } else { TEXT + 24 };
        let whole = wide(self.style);
        let legend = Legend::new(&self.panels, self.baseline, self.backdrop, whole);
        let shared = named.is_none();
        let row_height = height + titles + if shared { 30 } else { below + 20 };
        let top = title_room(self.style);
        let plots = rows * row_height + if shared { below } else { 0 };
        let below_floor = self.floor.filter(|_| hidden > 0);
        let notes: Vec<String> =
            below_floor.map(|floor| not_shown(hidden, floor)).into_iter().chain(subsampled).collect();
        let size =
            (whole as u32, (top + plots + TEXT + 30 + legend.height() + notes.len() as i32 * LINE) as u32);
        let y_ticks = y.ticks(if columns == 1 { 7 } else { 5 });
        let left = 110 + y_ticks.iter().map(|(_, text)| width(text, TEXT)).max().unwrap_or(0);
        let gap = if shared { 50 } else { 60 };
        let wide = (whole - left - 40 - gap * (columns as i32 - 1)) / columns as i32;
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            area.fill(&WHITE).map_err(failed)?;
            write_title(&area, self.title, self.style)?;
            for (index, panel) in self.panels.iter().enumerate() {
                let (row, column) = ((index / columns) as i32, (index % columns) as i32);
                let from = left + column * (wide + gap);
                let start = top + row * row_height + titles;
                let frame = Frame { left: from, right: from + wide, top: start, bottom: start + height };
                if !panel.title.is_empty() {
                    let at = ((frame.left + frame.right) / 2, start - 10);
                    write(&area, &panel.title, at, TEXT, (HPos::Center, VPos::Bottom))?;
                }
                // The lowest plot of each column bears the numbers.
                let lowest = index + columns >= self.panels.len();
                // Names have places of their own, whatever the other plots hold.
                let own = match panel.names.len() {
                    0 => x,
                    count => Axis { low: 0.5, high: count as f64 + 0.5, logarithmic: false },
                };
                self.axes(&area, panel, frame, (&own, &y), (column == 0, lowest), &y_ticks)?;
                self.series(&area, panel, frame, (&own, &y))?;
            }
            let middle = (left + whole - 40) / 2;
            write(&area, self.x_label, (middle, top + plots), TEXT, (HPos::Center, VPos::Top))?;
            write_upwards(&area, self.y_label, (TEXT / 2 + 8, top + plots / 2), TEXT)?;
            legend.draw(&area, top + plots + TEXT + 30)?;
            for (index, text) in notes.iter().enumerate() {
                let at = (40, top + plots + TEXT + 24 + legend.height() + index as i32 * LINE);
                write(&area, text, at, TEXT, (HPos::Left, VPos::Top))?;
            }
            area.present().map_err(failed)?;
        }
        Ok(Some(Drawing { svg, csv }))
    }

    /// Takes away what lies below the floor, and lines left without a point; returns how many points.
    fn hide(&mut self) -> usize {
        let Some(floor) = self.floor else { return 0 };
        let mut hidden = 0;
        for panel in &mut self.panels {
            for line in &mut panel.lines {
                let before = line.spots.len();
                line.spots.retain(|spot| spot.y >= floor);
                hidden += before - line.spots.len();
            }
            panel.backdrop.retain(|(_, y)| *y >= floor);
            panel.lines.retain(|line| !line.spots.is_empty());
        }
        hidden
    }

    /// Frame, grid and the numbers beside it.
    fn axes(
        &self,
        area: &Area<'_>,
        panel: &Panel,
        frame: Frame,
        (x, y): (&Axis, &Axis),
        (first, lowest): (bool, bool),
        y_ticks: &[(f64, String)],
    ) -> Result<()> {
        let Frame { left, right, top, bottom } = frame;
        let light = RGBColor(228, 228, 228);
        for (value, text) in y_ticks {
            let at = y.place(*value, bottom, top);
            stroke(area, vec![(left, at), (right, at)], light, 2)?;
            if first {
                write(area, text, (left - 14, at), TEXT, (HPos::Right, VPos::Center))?;
            }
        }
        if panel.names.is_empty() {
            let room = ((right - left) / (TEXT * 5 / 2)).clamp(2, 7) as usize;
            let mut spots = self.panels.iter().flat_map(|p| &p.lines).flat_map(|l| &l.spots);
            let counted = !self.logarithmic && spots.all(|spot| spot.x.fract() == 0.0);
            for (value, text) in if counted { x.whole_ticks(room) } else { x.ticks(room) } {
                let at = x.place(value, left, right);
                stroke(area, vec![(at, top), (at, bottom)], light, 2)?;
                if lowest {
                    write(area, &text, (at, bottom + 12), TEXT, (HPos::Center, VPos::Top))?;
                }
            }
        }
        for (index, name) in panel.names.iter().enumerate() {
            let at = x.place((index + 1) as f64, left, right);
            stroke(area, vec![(at, top), (at, bottom)], light, 2)?;
            let half = width(name, TEXT * 8 / 10) / 2;
            write_upwards(area, name, (at, bottom + 20 + half), TEXT * 8 / 10)?;
        }
        let corners = vec![(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
        stroke(area, corners, RGBColor(90, 90, 90), 3)
    }

    fn series(&self, area: &Area<'_>, panel: &Panel, frame: Frame, (x, y): (&Axis, &Axis)) -> Result<()> {
        let place =
            |px: f64, py: f64| (x.place(px, frame.left, frame.right), y.place(py, frame.bottom, frame.top));
        let inside = |(px, py): &(f64, f64)| (x.low..=x.high).contains(px) && (y.low..=y.high).contains(py);
        let backdrop: Vec<_> =
            panel.backdrop.iter().filter(|at| inside(at)).map(|(px, py)| place(*px, *py)).collect();
        if backdrop.len() > 1 {
            stroke(area, backdrop, GREY, 16)?;
        }
        if let Some(height) = panel.baseline {
            let at = y.place(height, frame.bottom, frame.top);
            dashes(area, frame.left, frame.right, at)?;
        }
        for line in &panel.lines {
            let colour = line.style.colour;
            if line.joined && line.spots.len() > 1 {
                stroke(area, line.spots.iter().map(|s| place(s.x, s.y)).collect(), colour, 6)?;
            }
            for s in &line.spots {
                if s.y_deviation > 0.0 {
                    stroke(
                        area,
                        vec![place(s.x, s.y - s.y_deviation), place(s.x, s.y + s.y_deviation)],
                        colour,
                        4,
                    )?;
                }
                if s.x_deviation > 0.0 && s.x_deviation < s.x {
                    stroke(
                        area,
                        vec![place(s.x - s.x_deviation, s.y), place(s.x + s.x_deviation, s.y)],
                        colour,
                        4,
                    )?;
                }
            }
        }
        for line in &panel.lines {
            for s in &line.spots {
                line.style.mark(area, place(s.x, s.y), MARKER)?;
            }
        }
        Ok(())
    }

    fn csv(&self) -> String {
        let [x, y] = self.columns;
        let mut text = format!("panel,line,label,{x},{x}_std,{y},{y}_std,seeds,baseline\n");
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        for panel in &self.panels {
            let baseline = panel.baseline.map_or(String::new(), |height| height.to_string());
            for line in &panel.lines {
                for s in &line.spots {
                    let (title, name, label) = (quoted(&panel.title), quoted(&line.name), quoted(&s.label));
                    text += &format!(
                        "{title},{name},{label},{},{},{},{},{},{baseline}\n",
                        s.x, s.x_deviation, s.y, s.y_deviation, s.seeds
                    );
                }
            }
        }
        text
    }
}
