//! Inputs and their relevance one above the other, as heat maps.

use super::canvas::{Area, TEXT, failed, is_wide, stroke, wide, width, write};
use super::colour_bar;
use super::{Drawing, Figure, Source};
use crate::insight::Map;
use crate::spec::FigureStyle;
use crate::{Error, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

pub(super) static HEAT_MAPS: Figure = Figure {
    name: "relevance_heat_maps",
    about: "inputs (above) and the relevance of their values for the true class (below; LRP, composite epsilon_plus), \
            summed over channels: red for, blue against it; audio: cepstral coefficients upwards, time to the right",
    draw: Source::Weights(|group, insight| match insight.maps.is_empty() {
        true => Ok(None),
        false => heat_maps(&insight.maps, group.layout).map(Some),
    }),
};

/// Larger inputs are averaged down to this many rows or columns.
const RESOLUTION: usize = 64;
const MARGIN: i32 = 20;
/// Size of the numbers at a picture.
const SMALL: i32 = TEXT * 3 / 4;

impl Map {
    /// Side of the blocks that are averaged, rows and columns after it.
    fn grid(&self) -> (usize, usize, usize) {
        let step = self.height.max(self.width).div_ceil(RESOLUTION).max(1);
        (step, self.height.div_ceil(step), self.width.div_ceil(step))
    }

    /// Whether it is a long and narrow table with time downwards, which is drawn lying.
    fn lies(&self) -> bool {
        self.channels == 1 && self.height > 2 * self.width
    }

    /// Mean of one block of one channel.
    fn block(&self, values: &[f32], channel: usize, row: usize, column: usize, step: usize) -> f64 {
        let (mut sum, mut count) = (0.0, 0);
        for y in (row * step..(row + 1) * step).take_while(|y| *y < self.height) {
            for x in (column * step..(column + 1) * step).take_while(|x| *x < self.width) {
                sum += f64::from(values[(channel * self.height + y) * self.width + x]);
                count += 1;
            }
        }
        sum / f64::from(count.max(1))
    }
}

/// White at zero, red above, blue below; `share` in [−1, 1].
fn diverging(share: f64) -> RGBColor {
    let share = share.clamp(-1.0, 1.0);
    let (r, g, b) = if share >= 0.0 { (178.0, 24.0, 43.0) } else { (33.0, 102.0, 172.0) };
    let mix = |end: f64| (255.0 + (end - 255.0) * share.abs()).round() as u8;
    RGBColor(mix(r), mix(g), mix(b))
}

/// Draws each input above its relevance, summed over channels and scaled to the input's 99th percentile of |relevance|.
///
/// # Errors
/// [`Error::Input`] when there is nothing to draw.
pub fn heat_maps(maps: &[Map], layout: FigureStyle) -> Result<Drawing> {
    let Some(first) = maps.first() else { return Err(Error::input("there are no inputs to draw")) };
    let most = if first.lies() { 3 } else { 6 } * if is_wide(layout) { 2 } else { 1 };
    let (columns, whole) = (maps.len().min(most) as i32, self::wide(layout));
    let rows = (maps.len() as i32 + columns - 1) / columns;
    let left = MARGIN + width("00", SMALL) + 16;
    let wide = (whole - left) / columns - MARGIN;
    let (_, high, broad) = first.grid();
    let tall = match first.lies() {
        true => wide / 2,
        false => (f64::from(wide) * high as f64 / broad.max(1) as f64) as i32,
    };
    let row_height = 2 * tall + TEXT + SMALL + 4 * MARGIN;
    let foot = rows * row_height + MARGIN;
    let size = (whole as u32, (foot + colour_bar::HEIGHT + 10) as u32);
    let mut svg = String::new();
    let mut csv = String::from("sample,title,row,column,input,relevance\n");
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        for (index, map) in maps.iter().enumerate() {
            let (row, column) = (index as i32 / columns, index as i32 % columns);
            let at = (left + column * (wide + MARGIN), MARGIN + row * row_height);
            let fits = (12..=TEXT).rev().find(|size| width(&map.title, *size) <= wide).unwrap_or(12);
            write(&area, &map.title, (at.0 + wide / 2, at.1), fits, (HPos::Center, VPos::Top))?;
            draw(&area, map, index, (at.0, at.1 + TEXT + 10), (wide, tall), &mut csv)?;
            for top in [at.1 + TEXT + 10, at.1 + TEXT + 10 + tall + MARGIN] {
                frame(&area, map, (at.0, top), (wide, tall), (column == 0, top > at.1 + TEXT + 10))?;
            }
        }
        let texts = [(0.0, "−1".into()), (0.5, "0".into()), (1.0, "1".into())];
        let bar = (whole * 3 / 5, whole - 80, foot);
        colour_bar::draw(&area, bar, "relevance / 99th percentile", &texts, |share| {
            diverging(2.0 * share - 1.0)
        })?;
        area.present().map_err(failed)?;
    }
    Ok(Drawing { svg, csv })
}

/// Frame and ticks: first and last row and column of the input, with numbers left of the first picture and below the
/// lower one.
fn frame(
    area: &Area<'_>,
    map: &Map,
    (left, top): (i32, i32),
    (wide, tall): (i32, i32),
    (first, lower): (bool, bool),
) -> Result<()> {
    let grey = RGBColor(90, 90, 90);
    let (right, bottom) = (left + wide, top + tall);
    let corners = vec![(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
    stroke(area, corners, grey, 3)?;
    // Lying: time to the right, coefficients upwards.
    let (across, down) = if map.lies() { (map.height, map.width) } else { (map.width, map.height) };
    let places = |count: usize| [(0.0, 1), (0.5, count.div_ceil(2)), (1.0, count)];
    for (share, number) in places(across).into_iter().filter(|_| lower) {
        let at = left + (f64::from(wide) * share).round() as i32;
        stroke(area, vec![(at, bottom), (at, bottom + 8)], grey, 3)?;
        let anchor = match share {
            0.0 => HPos::Left,
            1.0 => HPos::Right,
            _ => HPos::Center,
        };
        write(area, &number.to_string(), (at, bottom + 10), SMALL, (anchor, VPos::Top))?;
    }
    for (share, number) in places(down).into_iter().filter(|(share, _)| first && *share != 0.5) {
        let from_top = if map.lies() { 1.0 - share } else { share };
        let at = top + (f64::from(tall) * from_top).round() as i32;
        stroke(area, vec![(left - 8, at), (left, at)], grey, 3)?;
        let anchor = if from_top == 0.0 { VPos::Top } else { VPos::Bottom };
        write(area, &number.to_string(), (left - 12, at), SMALL, (HPos::Right, anchor))?;
    }
    Ok(())
}

fn draw(
    area: &Area<'_>,
    map: &Map,
    index: usize,
    (left, top): (i32, i32),
    (wide, tall): (i32, i32),
    csv: &mut String,
) -> Result<()> {
    let (step, rows, columns) = map.grid();
    let mut sums: Vec<f64> = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        for column in 0..columns {
            sums.push((0..map.channels).map(|c| map.block(&map.relevance, c, row, column, step)).sum());
        }
    }
    let mut sorted: Vec<f64> = sums.iter().map(|value| value.abs()).collect();
    sorted.sort_by(f64::total_cmp);
    let scale = sorted[(sorted.len() - 1) * 99 / 100].max(f64::MIN_POSITIVE);
    let bounds = map.input.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
    let low = f64::from(bounds.0);
    let range = (f64::from(bounds.1) - low).max(f64::MIN_POSITIVE);
    for row in 0..rows {
        for column in 0..columns {
            let at = |channel: usize| map.block(&map.input, channel, row, column, step);
            let level = |value: f64| (255.0 * (value - low) / range).round() as u8;
            let input = match map.channels {
                3 => RGBColor(level(at(0)), level(at(1)), level(at(2))),
                _ => RGBColor(level(at(0)), level(at(0)), level(at(0))),
            };
            let relevance = sums[row * columns + column];
            // Lying: time to the right, coefficients upwards.
            let (x, y, across, down) = match map.lies() {
                true => (row, columns - 1 - column, rows, columns),
                false => (column, row, columns, rows),
            };
            let corner = |x: usize, y: usize, top: i32| {
                (left + x as i32 * wide / across as i32, top + y as i32 * tall / down as i32)
            };
            for (top, colour) in [(top, input), (top + tall + MARGIN, diverging(relevance / scale))] {
                let (right, bottom) = corner(x + 1, y + 1, top);
                // Overlap: neighbours that only touch leave a white line when they are smoothed.
                let ends = [corner(x, y, top), (right + 2, bottom + 2)];
                area.draw(&Rectangle::new(ends, colour.filled())).map_err(failed)?;
            }
            *csv += &format!("{index},{},{row},{column},{},{relevance}\n", map.title, at(0));
        }
    }
    Ok(())
}
