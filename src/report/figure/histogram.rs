//! Histogram of one layer's weights with the levels and the regions assigned to them, for a method and its ablation.

use super::axis::Axis;
use super::canvas::{Area, TEXT, failed, panel_label, stroke, wide, write, write_upwards};
use super::{Drawing, Figure, Group, Source};
use crate::Result;
use crate::insight::{Assignment, Insight};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

pub(super) static WEIGHTS: Figure = Figure {
    name: "weight_histogram",
    about: "weights of one layer of the full-precision model, coloured by the kind of level that the compared method and \
            its ablation assign to them without training; dashed: levels in use",
    draw: Source::Weights(draw),
};

const BINS: usize = 90;
const HEIGHT: i32 = 620;

/// Zero; odd and even levels: neighbours differ.
const COLOURS: [(&str, RGBColor); 3] = [
    ("zero level", RGBColor(213, 94, 0)),
    ("levels ±1, ±3, …", RGBColor(0, 114, 178)),
    ("levels ±2, ±4, …", RGBColor(140, 200, 240)),
];

fn kind(level: i32) -> usize {
    match level {
        0 => 0,
        odd if odd % 2 != 0 => 1,
        _ => 2,
    }
}

/// Weights by bin and level.
fn bins(assignment: &Assignment, levels: &[i32], x: &Axis) -> Vec<std::collections::BTreeMap<i32, usize>> {
    let mut bins = vec![std::collections::BTreeMap::new(); BINS];
    for (weight, level) in assignment.weights.iter().zip(levels) {
        let share = (f64::from(*weight) - x.low) / (x.high - x.low);
        // The few weights beyond the picture count at its ends.
        let bin = ((share * BINS as f64).floor().max(0.0) as usize).min(BINS - 1);
        *bins[bin].entry(*level).or_insert(0) += 1;
    }
    bins
}

fn draw(group: &Group<'_>, insight: &Insight) -> Result<Option<Drawing>> {
    let Some(found) = &insight.assignment else { return Ok(None) };
    let all = found.methods.iter().flat_map(|(_, levels)| levels);
    let outermost = all.map(|level| level.abs()).max().unwrap_or(1).max(1);
    let reach = (f64::from(outermost) + 1.0) * f64::from(found.step);
    let x = Axis { low: -reach, high: reach, logarithmic: false };
    let panels = &found.methods;
    let counted: Vec<_> = panels.iter().map(|(_, levels)| bins(found, levels, &x)).collect();
    let tallest = counted.iter().flatten().map(|bin| bin.values().sum::<usize>()).max().unwrap_or(1);
    let share = |count: usize| 100.0 * count as f64 / found.weights.len().max(1) as f64;
    let y = Axis { low: 0.0, high: share(tallest) * 1.05, logarithmic: false };
    let whole = wide(group.layout);
    let (left, right) = (190, whole - 40);
    let row = HEIGHT + TEXT + 30;
    let titled = group.layout.titles;
    let top = if titled { 2 * TEXT + 50 } else { TEXT + 32 };
    let size = (whole as u32, (top + 2 * row + 2 * TEXT + 170) as u32);
    let mut svg = String::new();
    let mut csv = String::from("method,from,to,level,weights\n");
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let middle = whole / 2;
        if titled {
            write(&area, &group.title, (middle, 12), TEXT + 6, (HPos::Center, VPos::Top))?;
        }
        let what = format!("{}, {}", found.layer, found.setting);
        write(&area, &what, (middle, top - TEXT - 20), TEXT, (HPos::Center, VPos::Top))?;
        for (index, ((name, levels), bins)) in panels.iter().zip(&counted).enumerate() {
            let start = top + index as i32 * row + TEXT + 20;
            let bottom = start + HEIGHT;
            let zeros = levels.iter().filter(|level| **level == 0).count();
            let label = panel_label(group.layout, index, panels.len());
            let label = label.map_or(String::new(), |label| format!("{label} "));
            let title = format!("{label}{name}: {:.1} % zeros", share(zeros));
            write(&area, &title, (middle, start - 8), TEXT, (HPos::Center, VPos::Bottom))?;
            for (value, text) in y.ticks(4) {
                let at = y.place(value, bottom, start);
                stroke(&area, vec![(left, at), (right, at)], RGBColor(228, 228, 228), 2)?;
                write(&area, &text, (left - 14, at), TEXT, (HPos::Right, VPos::Center))?;
            }
            bars(&area, bins, (left, right), (bottom, start), &y, share)?;
            let used: std::collections::BTreeSet<i32> = levels.iter().copied().collect();
            for level in used {
                let at = x.place(f64::from(level) * f64::from(found.step), left, right);
                for piece in 0..HEIGHT / 40 {
                    let from = start + piece * 40;
                    stroke(&area, vec![(at, from), (at, from + 22)], RGBColor(70, 70, 70), 3)?;
                }
            }
            let corners = vec![(left, start), (right, start), (right, bottom), (left, bottom), (left, start)];
            stroke(&area, corners, RGBColor(90, 90, 90), 3)?;
            for (bin, counts) in bins.iter().enumerate() {
                let edge = |at: usize| x.low + (x.high - x.low) * at as f64 / BINS as f64;
                for (level, count) in counts {
                    csv += &format!("{name},{},{},{level},{count}\n", edge(bin), edge(bin + 1));
                }
            }
        }
        let foot = top + 2 * row;
        for (value, text) in x.ticks(6) {
            let at = x.place(value, left, right);
            write(&area, &text, (at, foot + 4), TEXT, (HPos::Center, VPos::Top))?;
        }
        write(&area, "weight", (middle, foot + TEXT + 16), TEXT, (HPos::Center, VPos::Top))?;
        write_upwards(&area, "weights, % per bin", (TEXT / 2 + 8, (top + foot) / 2), TEXT)?;
        for (index, (name, colour)) in COLOURS.iter().enumerate() {
            let (at, y) = (60 + index as i32 * 500, foot + 2 * TEXT + 80);
            area.draw(&Rectangle::new([(at, y - 18), (at + 50, y + 18)], colour.filled())).map_err(failed)?;
            write(&area, name, (at + 66, y), TEXT, (HPos::Left, VPos::Center))?;
        }
        area.present().map_err(failed)?;
    }
    Ok(Some(Drawing { svg, csv }))
}

fn bars(
    area: &Area<'_>,
    bins: &[std::collections::BTreeMap<i32, usize>],
    (left, right): (i32, i32),
    (bottom, top): (i32, i32),
    y: &Axis,
    share: impl Fn(usize) -> f64,
) -> Result<()> {
    let edge = |bin: usize| left + (right - left) * bin as i32 / BINS as i32;
    for (bin, counts) in bins.iter().enumerate() {
        let mut below = 0;
        for (level, count) in counts {
            let from = y.place(share(below), bottom, top);
            below += count;
            let to = y.place(share(below), bottom, top);
            if from > to {
                let corners = [(edge(bin), to), (edge(bin + 1) + 1, from)];
                area.draw(&Rectangle::new(corners, COLOURS[kind(*level)].1.filled())).map_err(failed)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::choice::{Choice, ChooseOn};

    /// All weights are in the CSV, per method, and each method's share of zeros is written above its plot.
    #[test]
    fn every_weight_is_counted() {
        let weights: Vec<f32> = (0..500).map(|i| (i as f32 * 0.7).sin() * 0.3).collect();
        let nearest: Vec<i32> = weights.iter().map(|w| (w / 0.1).round() as i32).collect();
        let sparser = nearest.iter().map(|level| if level.abs() == 1 { 0 } else { *level }).collect();
        let assignment = Assignment {
            layer: "fc1.weight".into(),
            setting: "3 bit, Λ 0.05".into(),
            step: 0.1,
            methods: [("ECQx".into(), nearest), ("ECQ".into(), sparser)],
            weights,
        };
        let zeros = assignment.methods[1].1.iter().filter(|level| **level == 0).count();
        let insight = Insight { layers: Vec::new(), maps: Vec::new(), assignment: Some(assignment) };
        let methods = crate::report::Methods::new(&crate::Registry::builtin());
        let choice = Choice::new(ChooseOn::default(), &[]);
        let (points, records) = (Vec::new(), Vec::new());
        let (comparisons, published) = (Vec::new(), Vec::new());
        let group = Group {
            title: "t".into(),
            layout: Default::default(),
            points,
            records,
            comparisons,
            published,
            methods: &methods,
            choice,
        };
        let drawing = draw(&group, &insight).unwrap().unwrap();
        let count = |method: &str| -> usize {
            let rows = drawing.csv.lines().filter(|line| line.starts_with(&format!("{method},")));
            rows.map(|line| line.rsplit(',').next().unwrap().parse::<usize>().unwrap()).sum()
        };
        assert_eq!((count("ECQ"), count("ECQx")), (500, 500));
        assert!(drawing.svg.contains(&format!("ECQ: {:.1} % zeros", zeros as f64 / 5.0)));
    }
}
