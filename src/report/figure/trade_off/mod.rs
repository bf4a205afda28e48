//! Accuracy over what is saved (compression ratio, sparsity): one line per method and bit width, its front as steps, and
//! the best two points again, enlarged.

mod legend;
mod plot;
mod series;

use super::accuracy::{baseline, floor};
use super::canvas::{
    GREY, TEXT, dashes, is_wide, not_shown, panel_label, stroke, title_room, wide, write, write_title,
};
use super::layers::Layers;
use super::{Drawing, Figure, Group, Source};
use crate::Result;
use legend::Legend;
use plot::{HEIGHT, Plot, plots_left};
use plotters::style::text_anchor::{HPos, VPos};
use series::{Mark, Savings, all_series, csv, front, marks_from, others, steps};

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

/// Points lost that the enlarged plot shows.
const ENLARGED: f64 = 2.0;
/// Height of a line of the legend and of notes.
const LINE: i32 = 66;

fn draw(group: &Group<'_>, savings: &Savings) -> Result<Option<Drawing>> {
    let series = all_series(group, savings);
    let others = others(group, savings);
    let csv = csv(group, savings, &series, &others);
    let (floor, height) = (floor(group).unwrap_or(f64::NEG_INFINITY), baseline(group));
    let total: usize = series.iter().map(|s| s.marks.len()).sum();
    let shown = |from: f64| marks_from(&series, from).count();
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
    let top = title_room(group.layout);
    let mut drawn = Vec::new();
    for (index, from) in plots.iter().enumerate() {
        let (row, column) = (index as i32 / columns, index as i32 % columns);
        let start = (column * share, top + row * block + top_axis);
        drawn.extend(Plot::new(&series, &others, savings, (*from, height), start, share));
    }
    let lowest = drawn.first().map_or(floor, |plot| plot.from);
    let below = total - shown(lowest);
    let notes = i32::from(below > 0);
    let bottom = top + plots.len() as i32 / columns * block + TEXT;
    let size = (whole as u32, (bottom + legend.height() + notes * LINE + 10) as u32);
    let mut layers = Layers::new(size)?;
    layers.add("", |area| write_title(area, &group.title, group.layout))?;
    let full = group.points.iter().find_map(|point| point.full_precision).filter(|_| savings.kilobytes);
    let full = full.map(|full| full.mean / 1000.0);
    for (index, plot) in drawn.into_iter().enumerate() {
        let letter = panel_label(group.layout, index, plots.len());
        layers.add("", |area| plot.axes(area, group.metric(), letter.as_deref(), full))?;
        if savings.kilobytes {
            let all = marks_from(&series, plot.from).map(|m| (m.x.mean, m.point.score.mean));
            let path = steps(&front(all));
            layers.add("", |area| stroke(area, plot.path(&path), GREY, 14))?;
        }
        if let Some(height) = height.filter(|height| (plot.y.low..=plot.y.high).contains(height)) {
            layers.add("", |area| {
                dashes(area, plot.left, plot.right, plot.y.place(height, plot.bottom, plot.top))
            })?;
        }
        for one in &series {
            let marks: Vec<&Mark> = one.marks.iter().filter(|m| m.point.score.mean >= plot.from).collect();
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
        let text = not_shown(below, lowest);
        match below {
            0 => Ok(()),
            _ => write(area, &text, (40, bottom + legend.height()), TEXT, (HPos::Left, VPos::Top)),
        }
    })?;
    Ok(Some(Drawing { svg: layers.finish(), csv }))
}
