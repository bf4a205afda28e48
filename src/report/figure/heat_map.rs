//! Inputs and their relevance side by side, as heat maps.

use super::Drawing;
use super::render::FONT;
use crate::{Error, Result};
use plotters::prelude::*;

/// One input, (channels, height, width), with its relevance.
pub struct Map {
    /// Text above it.
    pub title: String,
    /// Channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Values, row-major.
    pub input: Vec<f32>,
    /// Signed relevance of each value.
    pub relevance: Vec<f32>,
}

/// Larger inputs are averaged down to this many rows or columns.
const RESOLUTION: usize = 64;
/// Units of one picture's longer side.
const SIDE: f64 = 128.0;
const MARGIN: i32 = 12;
const TITLE: i32 = 22;

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Internal(format!("figure: {error}"))
}

impl Map {
    /// Rows and columns after averaging blocks of `step` × `step`.
    fn grid(&self) -> (usize, usize, usize) {
        let step = self.height.max(self.width).div_ceil(RESOLUTION).max(1);
        (step, self.height.div_ceil(step), self.width.div_ceil(step))
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
pub fn heat_maps(maps: &[Map]) -> Result<Drawing> {
    let Some(first) = maps.first() else { return Err(Error::input("there are no inputs to draw")) };
    let (_, rows, columns) = first.grid();
    let cell = SIDE / rows.max(columns) as f64;
    let (width, height) = ((columns as f64 * cell) as i32, (rows as f64 * cell) as i32);
    let size = (
        (maps.len() as i32 * (width.max(70) + MARGIN) + MARGIN) as u32,
        (2 * (height + MARGIN) + TITLE + MARGIN) as u32,
    );
    let mut svg = String::new();
    let mut csv = String::from("sample,title,row,column,input,relevance\n");
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        for (index, map) in maps.iter().enumerate() {
            let (step, rows, columns) = map.grid();
            let left = MARGIN + index as i32 * (width.max(70) + MARGIN);
            let style = (FONT, 16).into_font().color(&BLACK);
            area.draw(&Text::new(map.title.clone(), (left, MARGIN / 2), style)).map_err(failed)?;
            let bounds = |values: &[f32]| {
                values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)))
            };
            let (low, high) = bounds(&map.input);
            let range = f64::from(high - low).max(f64::MIN_POSITIVE);
            let mut sums: Vec<f64> = Vec::with_capacity(rows * columns);
            for row in 0..rows {
                for column in 0..columns {
                    let channels = 0..map.channels;
                    sums.push(channels.map(|c| map.block(&map.relevance, c, row, column, step)).sum());
                }
            }
            let mut sorted: Vec<f64> = sums.iter().map(|value| value.abs()).collect();
            sorted.sort_by(f64::total_cmp);
            let scale = sorted[(sorted.len() - 1) * 99 / 100].max(f64::MIN_POSITIVE);
            for row in 0..rows {
                for column in 0..columns {
                    let at = |channel: usize| map.block(&map.input, channel, row, column, step);
                    let level = |value: f64| (255.0 * (value - f64::from(low)) / range).round() as u8;
                    let colour = match map.channels {
                        3 => RGBColor(level(at(0)), level(at(1)), level(at(2))),
                        _ => RGBColor(level(at(0)), level(at(0)), level(at(0))),
                    };
                    let relevance = sums[row * columns + column];
                    let corner = |x: usize, y: usize, top: i32| {
                        (left + (x as f64 * cell).round() as i32, top + (y as f64 * cell).round() as i32)
                    };
                    let tops = [TITLE, TITLE + height + MARGIN];
                    for (top, colour) in tops.into_iter().zip([colour, diverging(relevance / scale)]) {
                        let ends = [corner(column, row, top), corner(column + 1, row + 1, top)];
                        area.draw(&Rectangle::new(ends, colour.filled())).map_err(failed)?;
                    }
                    csv += &format!("{index},{},{row},{column},{},{relevance}\n", map.title, at(0));
                }
            }
        }
        area.present().map_err(failed)?;
    }
    Ok(Drawing { svg, csv })
}
