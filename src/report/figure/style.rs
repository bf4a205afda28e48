//! Colours and markers by number. Shape differs wherever colour does.

use super::canvas::{Area, failed};
use crate::Result;
use plotters::prelude::*;

/// How a series looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Style {
    pub colour: RGBColor,
    pub marker: usize,
}

/// Okabe & Ito's palette, safe for colour-blind readers, without its yellow (too light on white) and with a brown; then
/// darker and duller ones, since there are more methods than colours that everybody tells apart.
const COLOURS: [RGBColor; 16] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
    RGBColor(140, 81, 10),
    RGBColor(51, 34, 136),
    RGBColor(136, 34, 85),
    RGBColor(153, 153, 51),
    RGBColor(17, 119, 51),
    RGBColor(160, 90, 220),
    RGBColor(0, 75, 85),
    RGBColor(190, 25, 45),
    RGBColor(165, 135, 105),
];
/// Different markers.
const MARKERS: usize = 8;

impl Style {
    /// The `index`-th of a list without an order of its own.
    pub fn nth(index: usize) -> Self {
        // Past the markers they come back with another colour, past the palette colours with another marker.
        Self { colour: COLOURS[index % COLOURS.len()], marker: index + index / MARKERS }
    }

    /// The `index`-th of `count` along a quantity: dark blue to light green (viridis without its yellow end).
    pub fn along(index: usize, count: usize) -> Self {
        const STOPS: [(f64, f64, f64); 4] =
            [(68.0, 1.0, 84.0), (49.0, 104.0, 142.0), (33.0, 145.0, 140.0), (122.0, 209.0, 81.0)];
        let at = index as f64 / (count.max(2) - 1) as f64 * (STOPS.len() - 1) as f64;
        let (low, high) = (STOPS[at as usize % STOPS.len()], STOPS[(at as usize + 1).min(STOPS.len() - 1)]);
        let mix = |a: f64, b: f64| (a + (b - a) * at.fract()).round() as u8;
        let colour = RGBColor(mix(low.0, high.0), mix(low.1, high.1), mix(low.2, high.2));
        Self { colour, marker: index }
    }

    /// Draws the marker: eight shapes, the last three open.
    pub fn mark(&self, area: &Area<'_>, at: (i32, i32), size: i32) -> Result<()> {
        let (x, y) = at;
        let filled = self.colour.filled();
        let stroke = self.colour.stroke_width((size / 3).max(2) as u32);
        let white = WHITE.filled();
        let diamond = || vec![(x - size, y), (x, y - size), (x + size, y), (x, y + size)];
        let square = |half: i32| [(x - half, y - half), (x + half, y + half)];
        match self.marker % MARKERS {
            0 => area.draw(&Circle::new(at, size, filled)),
            1 => area.draw(&Rectangle::new(square(size * 5 / 6), filled)),
            2 => area.draw(&TriangleMarker::new(at, size * 5 / 4, filled)),
            3 => area.draw(&Cross::new(at, size, stroke)),
            4 => area.draw(&Polygon::new(diamond(), filled)),
            5 => area
                .draw(&Circle::new(at, size, white))
                .and_then(|()| area.draw(&Circle::new(at, size, stroke))),
            6 => {
                let [(left, top), (right, bottom)] = square(size * 5 / 6);
                // A rectangle's own outline ignores its width.
                let outline = vec![(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
                area.draw(&Rectangle::new([(left, top), (right, bottom)], white))
                    .and_then(|()| area.draw(&PathElement::new(outline, stroke)))
            }
            _ => area
                .draw(&PathElement::new(vec![(x - size, y), (x + size, y)], stroke))
                .and_then(|()| area.draw(&PathElement::new(vec![(x, y - size), (x, y + size)], stroke))),
        }
        .map_err(failed)
    }
}
