//! Accuracy over what is saved (compression ratio, sparsity): one line per method and bit width, its front as steps, and
//! the best two points again, enlarged.

use super::accuracy::{baseline, floor, widths};
use super::axis::Axis;
use super::canvas::{
    Area, GREY, TEXT, dashes, is_wide, panel_label, stroke, title_room, wide, width, write, write_title,
    write_upwards,
};
use super::layers::{Layers, xml};
use super::style::Style;
use super::{Drawing, Figure, Group, Source};
use crate::Result;
use crate::record::Metric;
use crate::report::column::{fixed, short};
use crate::report::statistics::{Point, Summary, pareto_front};
use crate::report::tables::WorkingPoint;
use indexmap::IndexMap;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

pub(super) static OVER_SPARSITY: Figure = Figure {
    name: "accuracy_over_sparsity",
    about: "top-1 accuracy over sparsity, the share of zero weights; colour: method, marker: bit width; steps: what a method reaches \
            at a bit width; pale: another setting of the method is better in both; bars: standard deviation over seeds",
    draw: Source::Records(|group| {
        draw(
            group,
            &Savings {
                label: "sparsity, % of the quantized weights",
                column: "zeros_percent",
                logarithmic: false,
                of: |point| point.sparsity,
                published: |row, _| row.sparsity_percent.filter(|zeros| *zeros > 0.0),
                kilobytes: false,
            },
        )
    }),
};

pub(super) static OVER_SIZE: Figure = Figure {
    name: "accuracy_over_size",
    about: "top-1 accuracy over the compression ratio, with the size of the written file above; colour: method, marker: bit \
            width; steps: what a method reaches at a bit width; grey: the front of all; pale: another setting of the method \
            is better in both",
    draw: Source::Records(|group| {
        draw(
            group,
            &Savings {
                label: "compression ratio (logarithmic)",
                column: "compression_ratio",
                logarithmic: true,
                of: |point| point.compression,
                published: |row, full| {
                    let of_bytes = || Some(full? / row.file_bytes?);
                    row.compression_ratio.or_else(of_bytes)
                },
                kilobytes: true,
            },
        )
    }),
};

/// What a figure has on its horizontal axis; more is better.
struct Savings {
    label: &'static str,
    column: &'static str,
    logarithmic: bool,
    of: fn(&WorkingPoint) -> Option<Summary>,
    /// Of a published row, given our full-precision size in bytes.
    published: fn(&crate::report::published::Row, Option<f64>) -> Option<f64>,
    /// Whether a second axis shows the size of the file.
    kilobytes: bool,
}

/// A working point in the picture.
struct Mark<'a> {
    x: Summary,
    point: &'a WorkingPoint,
    /// No other setting of its method is better in both.
    on_front: bool,
}

/// The marks of one method at one bit width.
struct Series<'a> {
    name: String,
    bits: Option<u32>,
    style: Style,
    marks: Vec<Mark<'a>>,
}

/// A published result.
struct Other {
    x: f64,
    y: f64,
    label: String,
    colour: RGBColor,
}

/// Points lost that the enlarged plot shows.
const ENLARGED: f64 = 2.0;
const HEIGHT: i32 = 860;
const LINE: i32 = 66;
const SIZE: i32 = 14;

/// The points that no other one beats in both, by ascending x.
fn front(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    // A front of sizes, where less is better.
    let points: Vec<Point> = points.map(|(x, y)| Point { size: -x, accuracy: y }).collect();
    pareto_front(&points).into_iter().rev().map(|p| (-p.size, p.accuracy)).collect()
}

/// The front as what is reached: from each point on, the next one's accuracy up to its place.
fn steps(front: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut path: Vec<(f64, f64)> = Vec::new();
    for (x, y) in front {
        if let Some((before, _)) = path.last().copied() {
            path.push((before, *y));
        }
        path.push((*x, *y));
    }
    path
}

fn pale(colour: RGBColor) -> RGBColor {
    let mix = |c: u8| (f64::from(c) * 0.3 + 255.0 * 0.7) as u8;
    RGBColor(mix(colour.0), mix(colour.1), mix(colour.2))
}

fn all_series<'a>(group: &Group<'a>, savings: &Savings) -> Vec<Series<'a>> {
    let all = widths_of_all(group);
    let marker = |bits: Option<u32>| all.iter().position(|width| *width == bits).unwrap_or(0);
    let mut methods: IndexMap<&str, Vec<(&WorkingPoint, Summary)>> = IndexMap::new();
    for point in group.points.iter().copied() {
        let x = (savings.of)(point).filter(|x| !savings.logarithmic || x.mean > 0.0);
        methods.entry(&point.method).or_default().extend(x.map(|x| (point, x)));
    }
    let mut series = Vec::new();
    for (method, points) in methods {
        let best = front(points.iter().map(|(point, x)| (x.mean, point.score.mean)));
        let mut by_width: IndexMap<Option<u32>, Vec<Mark>> = IndexMap::new();
        for (point, x) in points {
            let on_front = best.contains(&(x.mean, point.score.mean));
            by_width.entry(point.bits).or_default().push(Mark { x, point, on_front });
        }
        for (bits, mut marks) in by_width {
            marks.sort_by(|a, b| a.x.mean.total_cmp(&b.x.mean));
            let style = Style { marker: marker(bits), ..group.style(method) };
            series.push(Series { name: group.name(method), bits, style, marks });
        }
    }
    series
}

/// Bit widths in ascending order, methods without one last.
fn widths_of_all(group: &Group<'_>) -> Vec<Option<u32>> {
    let mut all = widths(&group.points);
    all.sort_by_key(|bits| (bits.is_none(), *bits));
    all.dedup();
    all
}

fn others(group: &Group<'_>, savings: &Savings) -> Vec<Other> {
    let full = group.points.iter().find_map(|point| point.full_precision).map(|full| full.mean);
    let rows = group.published.iter().filter(|(_, row)| row.method != crate::report::methods::BASELINE);
    let other = |(citation, row): &(&str, &crate::report::published::Row)| {
        let known = group.methods.get(&row.method).is_some();
        let colour = if known { group.style(&row.method).colour } else { BLACK };
        let (x, y) = ((savings.published)(row, full)?, row.score_percent()?);
        Some(Other { x, y, label: format!("{} ({citation})", row.label), colour })
    };
    rows.filter_map(other).filter(|other| other.x > 0.0).collect()
}

fn draw(group: &Group<'_>, savings: &Savings) -> Result<Option<Drawing>> {
    let series = all_series(group, savings);
    let others = others(group, savings);
    let csv = csv(group, savings, &series, &others);
    let (floor, height) = (floor(group).unwrap_or(f64::NEG_INFINITY), baseline(group));
    let total: usize = series.iter().map(|s| s.marks.len()).sum();
    let shown =
        |from: f64| series.iter().flat_map(|s| &s.marks).filter(move |m| m.point.score.mean >= from).count();
    if shown(floor) == 0 {
        return Ok(None);
    }
    let enlarged = height.map(|height| height - ENLARGED).filter(|from| shown(*from) > 0);
    // Where nothing lost more, both plots were the same.
    let mut plots = vec![floor];
    plots.extend(enlarged.filter(|from| shown(*from) < shown(floor)));
    let top_axis = if savings.kilobytes { TEXT + 36 } else { 0 };
    let block = HEIGHT + top_axis + TEXT + 60;
    let legend = Legend::new(&series, height.is_some(), savings.kilobytes, !others.is_empty(), group);
    let (whole, columns) = (wide(group.layout), if is_wide(group.layout) { plots.len() as i32 } else { 1 });
    let share = whole / columns;
    let below = total - shown(floor);
    let notes = i32::from(below > 0);
    let top = title_room(group.layout);
    let bottom = top + plots.len() as i32 / columns * block + TEXT;
    let size = (whole as u32, (bottom + legend.height() + notes * LINE + 10) as u32);
    let mut layers = Layers::new(size)?;
    layers.add("", |area| write_title(area, &group.title, group.layout))?;
    for (index, from) in plots.iter().enumerate() {
        let (row, column) = (index as i32 / columns, index as i32 % columns);
        let start = (column * share, top + row * block + top_axis);
        let Some(plot) = Plot::new(&series, &others, savings, (*from, height), start, share) else {
            continue;
        };
        let plot = Plot { metric: group.metric(), ..plot };
        let letter = panel_label(group.layout, index, plots.len());
        let full = group.points.iter().find_map(|point| point.full_precision).filter(|_| savings.kilobytes);
        layers.add("", |area| plot.axes(area, letter.as_deref(), full.map(|full| full.mean / 1000.0)))?;
        if savings.kilobytes {
            let all = series.iter().flat_map(|s| &s.marks).map(|m| (m.x.mean, m.point.score.mean));
            let path = steps(&front(all.filter(|(_, y)| y >= from)));
            layers.add("", |area| stroke(area, plot.path(&path), GREY, 14))?;
        }
        if let Some(height) = height.filter(|height| (plot.y.low..=plot.y.high).contains(height)) {
            layers.add("", |area| {
                dashes(area, plot.left, plot.right, plot.y.place(height, plot.bottom, plot.top))
            })?;
        }
        for one in &series {
            let marks: Vec<&Mark> = one.marks.iter().filter(|m| m.point.score.mean >= *from).collect();
            if !marks.is_empty() {
                plot.series(&mut layers, one, &marks)?;
            }
        }
        plot.others(&mut layers, &others)?;
    }
    layers.add("", |area| {
        for column in 0..columns {
            let middle = column * share + (plots_left() + share) / 2;
            write(area, savings.label, (middle, bottom - TEXT - 14), TEXT, (HPos::Center, VPos::Top))?;
        }
        legend.draw(area, bottom + 4)?;
        let text = format!("{below} points below {floor:.0} % are not shown");
        match below {
            0 => Ok(()),
            _ => write(area, &text, (40, bottom + legend.height()), TEXT, (HPos::Left, VPos::Top)),
        }
    })?;
    Ok(Some(Drawing { svg: layers.finish(), csv }))
}

fn plots_left() -> i32 {
    90 + width("99.99", TEXT)
}

struct Plot {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
    x: Axis,
    y: Axis,
    metric: Metric,
}

impl Plot {
    fn new(
        series: &[Series<'_>],
        others: &[Other],
        savings: &Savings,
        (from, baseline): (f64, Option<f64>),
        (start, top): (i32, i32),
        share: i32,
    ) -> Option<Self> {
        let marks = || series.iter().flat_map(|s| &s.marks).filter(|m| m.point.score.mean >= from);
        let theirs = || others.iter().filter(|other| other.y >= from);
        let x = Axis::around(marks().map(|m| m.x.mean).chain(theirs().map(|o| o.x)), savings.logarithmic)?;
        let y = Axis::around(
            marks().map(|m| m.point.score.mean).chain(theirs().map(|o| o.y)).chain(baseline),
            false,
        )?;
        let (left, right) = (start + plots_left(), start + share - 40);
        Some(Self { left, right, top, bottom: top + HEIGHT, x, y, metric: Metric::Top1 })
    }

    fn place(&self, x: f64, y: f64) -> (i32, i32) {
        (self.x.place(x, self.left, self.right), self.y.place(y, self.bottom, self.top))
    }

    fn path(&self, points: &[(f64, f64)]) -> Vec<(i32, i32)> {
        points.iter().map(|(x, y)| self.place(*x, *y)).collect()
    }

    fn axes(&self, area: &Area<'_>, letter: Option<&str>, full: Option<f64>) -> Result<()> {
        let Self { left, right, top, bottom, .. } = *self;
        let light = RGBColor(228, 228, 228);
        for (value, text) in self.y.ticks(7) {
            let at = self.y.place(value, bottom, top);
            stroke(area, vec![(left, at), (right, at)], light, 2)?;
            write(area, &text, (left - 14, at), TEXT, (HPos::Right, VPos::Center))?;
        }
        for (value, text) in self.x.ticks(7) {
            let at = self.x.place(value, left, right);
            stroke(area, vec![(at, top), (at, bottom)], light, 2)?;
            write(area, &text, (at, bottom + 12), TEXT, (HPos::Center, VPos::Top))?;
            if let Some(full) = full {
                write(area, &rounded(full / value), (at, top - 12), TEXT, (HPos::Center, VPos::Bottom))?;
            }
        }
        if full.is_some() {
            write(area, "kB", (left - 60, top - 12), TEXT, (HPos::Right, VPos::Bottom))?;
        }
        let start = left - plots_left();
        if let Some(letter) = letter {
            // Beside the axis: nothing is drawn there, whatever the data.
            let (y, anchor) = if full.is_some() { (top - 12, VPos::Bottom) } else { (top, VPos::Top) };
            write(area, letter, (start + 12, y), TEXT, (HPos::Left, anchor))?;
        }
        write_upwards(
            area,
            &format!("{}, %", self.metric.long_name()),
            (start + TEXT / 2 + 8, (top + bottom) / 2),
            TEXT,
        )?;
        let corners = vec![(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
        stroke(area, corners, RGBColor(90, 90, 90), 3)
    }

    fn series(&self, layers: &mut Layers, series: &Series<'_>, marks: &[&Mark<'_>]) -> Result<()> {
        let bits = series.bits.map_or("–".into(), |bits| bits.to_string());
        let attributes =
            format!("class=\"series\" data-method=\"{}\" data-bits=\"{bits}\"", xml(&series.name));
        let colour = series.style.colour;
        layers.add(&attributes, |area| {
            let path = steps(&front(marks.iter().map(|m| (m.x.mean, m.point.score.mean))));
            if path.len() > 1 {
                stroke(area, self.path(&path), colour, 4)?;
            }
            for mark in marks {
                let (x, y) = (mark.x.mean, mark.point.score.mean);
                let colour = if mark.on_front { colour } else { pale(colour) };
                let inside = |y: f64| y.clamp(self.y.low, self.y.high);
                if let Some(spread) = mark.point.score.std.filter(|spread| *spread > 0.0 && mark.on_front) {
                    let ends = vec![self.place(x, inside(y - spread)), self.place(x, inside(y + spread))];
                    stroke(area, ends, colour, 3)?;
                }
                Style { colour, ..series.style }.mark(area, self.place(x, y), SIZE)?;
            }
            Ok(())
        })?;
        let tip = |mark: &&Mark<'_>| {
            let point = mark.point;
            let spread = point.score.std.map_or(String::new(), |std| format!(" ± {}", fixed(std, 2)));
            let size =
                point.file_bytes.map_or(String::new(), |s| format!(", {} kB", fixed(s.mean / 1000.0, 1)));
            let ids: Vec<&str> = point.ids.iter().filter_map(|id| id.get(..8)).collect();
            let text = format!(
                "{}: {}{spread} %{size}, {} seed(s), id {}",
                point.label,
                fixed(point.score.mean, 2),
                point.score.n,
                ids.join(" ")
            );
            (self.place(mark.x.mean, point.score.mean), text)
        };
        layers.tips(&attributes, &marks.iter().map(tip).collect::<Vec<_>>());
        Ok(())
    }

    fn others(&self, layers: &mut Layers, others: &[Other]) -> Result<()> {
        let shown: Vec<&Other> =
            others.iter().filter(|other| (self.y.low..=self.y.high).contains(&other.y)).collect();
        if shown.is_empty() {
            return Ok(());
        }
        layers.add("class=\"published\"", |area| {
            shown.iter().try_for_each(|other| hollow(area, self.place(other.x, other.y), other.colour))
        })?;
        let tips: Vec<_> =
            shown.iter().map(|other| (self.place(other.x, other.y), other.label.clone())).collect();
        layers.tips("class=\"published\"", &tips);
        Ok(())
    }
}

/// Three digits that count.
fn rounded(value: f64) -> String {
    let digits = (2 - value.abs().log10().floor() as i32).clamp(-9, 9);
    let power = 10f64.powi(digits);
    short((value * power).round() / power)
}

/// The mark of a published number: an open diamond, larger than ours.
fn hollow(area: &Area<'_>, (x, y): (i32, i32), colour: RGBColor) -> Result<()> {
    let size = SIZE * 3 / 2;
    let outline = vec![(x - size, y), (x, y - size), (x + size, y), (x, y + size), (x - size, y)];
    stroke(area, outline, colour, 5)
}

enum Sign {
    Method(RGBColor),
    Bits(usize),
    Dashes,
    Wide,
    Published,
}

/// Colours of methods, markers of bit widths, and the lines.
struct Legend {
    entries: Vec<(String, Sign)>,
    columns: i32,
    wide: i32,
}

impl Legend {
    fn new(series: &[Series<'_>], baseline: bool, front: bool, published: bool, group: &Group<'_>) -> Self {
        let mut entries: Vec<(String, Sign)> = Vec::new();
        for one in series {
            if !entries.iter().any(|(name, _)| *name == one.name) {
                entries.push((one.name.clone(), Sign::Method(one.style.colour)));
            }
        }
        for (marker, bits) in widths_of_all(group).into_iter().enumerate() {
            if series.iter().any(|one| one.bits == bits) {
                entries
                    .push((bits.map_or("no bit width".into(), |b| format!("{b} bit")), Sign::Bits(marker)));
            }
        }
        entries.extend(baseline.then(|| ("full precision".into(), Sign::Dashes)));
        entries.extend(front.then(|| ("front of all".into(), Sign::Wide)));
        entries.extend(published.then(|| ("published".into(), Sign::Published)));
        let longest = entries.iter().map(|(name, _)| width(name, TEXT)).max().unwrap_or(0);
        let wide = wide(group.layout);
        let columns = ((wide - 60) / (longest + 120)).clamp(1, entries.len().max(1) as i32);
        Self { entries, columns, wide }
    }

    fn height(&self) -> i32 {
        (self.entries.len() as i32 + self.columns - 1) / self.columns * LINE + 20
    }

    fn draw(&self, area: &Area<'_>, top: i32) -> Result<()> {
        let wide = (self.wide - 60) / self.columns;
        for (index, (name, sign)) in self.entries.iter().enumerate() {
            let (row, column) = (index as i32 / self.columns, index as i32 % self.columns);
            let (x, y) = (40 + column * wide, top + row * LINE + LINE / 2);
            let line = vec![(x, y), (x + 70, y)];
            match sign {
                Sign::Method(colour) => stroke(area, line, *colour, 12)?,
                Sign::Bits(marker) => {
                    Style { colour: BLACK, marker: *marker }.mark(area, (x + 35, y), SIZE)?
                }
                Sign::Dashes => dashes(area, x, x + 70, y)?,
                Sign::Wide => stroke(area, line, GREY, 14)?,
                Sign::Published => hollow(area, (x + 35, y), BLACK)?,
            }
            write(area, name, (x + 88, y), TEXT, (HPos::Left, VPos::Center))?;
        }
        Ok(())
    }
}

fn csv(group: &Group<'_>, savings: &Savings, series: &[Series<'_>], others: &[Other]) -> String {
    let (x, y) = (savings.column, group.metric().key());
    let mut text = format!("panel,line,label,{x},{x}_std,{y}_percent,{y}_percent_std,seeds,baseline\n");
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let baseline = baseline(group).map_or(String::new(), |height| height.to_string());
    for one in series {
        let bits = quoted(&super::accuracy::bits_name(one.bits));
        for Mark { x, point, .. } in &one.marks {
            let (name, label, score) = (quoted(&one.name), quoted(&point.label), point.score);
            let std = |summary: Summary| summary.std.unwrap_or(0.0);
            text += &format!(
                "{bits},{name},{label},{},{},{},{},{},{baseline}\n",
                x.mean,
                std(*x),
                score.mean,
                std(score),
                score.n
            );
        }
    }
    for other in others {
        text += &format!("\"\",\"published\",{},{},,{},,,\n", quoted(&other.label), other.x, other.y);
    }
    text
}
