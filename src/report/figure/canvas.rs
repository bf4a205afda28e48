//! What all figures draw with: sizes, text, strokes. Lengths are in units of 1/20 mm at a column width of 8 cm (figures are printed 8.5 cm wide).

use super::render::FONT;
use crate::error::count;
use crate::spec::{FigureStyle, FigureWidth};
use crate::{Error, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Where figures are drawn.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Width of a drawing for a column; others are wider in proportion, with text and strokes of the same size.
const COLUMN: f64 = 1600.0;

/// Width of a drawing in `style`.
pub(super) fn wide(style: FigureStyle) -> i32 {
    (COLUMN * style.width.centimetres() / FigureWidth::Column.centimetres()).round() as i32
}

/// Whether a drawing in `style` has room for plots side by side.
pub(super) fn is_wide(style: FigureStyle) -> bool {
    style.width == FigureWidth::Page
}

/// Room for a title at the top of a drawing in `style`.
pub(super) fn title_room(style: FigureStyle) -> i32 {
    if style.titles { TITLE + 30 } else { 24 }
}

/// Writes the title of a drawing in `style`, if it has one.
pub(super) fn write_title(area: &Area<'_>, title: &str, style: FigureStyle) -> Result<()> {
    match style.titles {
        true => write(area, title, (wide(style) / 2, 16), TITLE, (HPos::Center, VPos::Top)),
        false => Ok(()),
    }
}

/// `(a)`, `(b)`, … for the plots of one drawing; none where there is one plot, or `style` has none.
pub(super) fn panel_label(style: FigureStyle, index: usize, count: usize) -> Option<String> {
    let letter = (b'a'..=b'z').nth(index).map(char::from);
    letter.filter(|_| style.panel_labels && count > 1).map(|letter| format!("({letter})"))
}

/// Sizes of text. The backend divides them by 1.24: 7 points at 8 cm and a little more.
pub(super) const TEXT: i32 = 60;
pub(super) const TITLE: i32 = 66;
/// Radius of a marker.
pub(super) const MARKER: i32 = 15;
pub(super) const GREY: RGBColor = RGBColor(175, 175, 175);
/// Characters are about this wide, as a share of their size.
const CHARACTER: f64 = 0.43;

pub(super) fn failed(error: impl std::fmt::Display) -> Error {
    Error::Internal(format!("figure: {error}"))
}

/// Width of a text.
pub(super) fn width(text: &str, size: i32) -> i32 {
    (text.chars().count() as f64 * f64::from(size) * CHARACTER).ceil() as i32
}

/// Writes a text.
pub(super) fn write(
    area: &Area<'_>,
    text: &str,
    at: (i32, i32),
    size: i32,
    anchor: (HPos, VPos),
) -> Result<()> {
    let style = (FONT, size).into_font().color(&BLACK).pos(Pos::new(anchor.0, anchor.1));
    area.draw(&Text::new(text.to_owned(), at, style)).map_err(failed)
}

/// Writes a text from bottom to top around `at`.
pub(super) fn write_upwards(area: &Area<'_>, text: &str, at: (i32, i32), size: i32) -> Result<()> {
    let font = (FONT, size).into_font().transform(FontTransform::Rotate270);
    let style = font.color(&BLACK).pos(Pos::new(HPos::Center, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style)).map_err(failed)
}

pub(super) fn stroke(area: &Area<'_>, points: Vec<(i32, i32)>, colour: RGBColor, width: u32) -> Result<()> {
    area.draw(&PathElement::new(points, colour.stroke_width(width))).map_err(failed)
}

/// A dashed level line.
pub(super) fn dashes(area: &Area<'_>, from: i32, to: i32, y: i32) -> Result<()> {
    let mut x = from;
    while x < to {
        stroke(area, vec![(x, y), ((x + 24).min(to), y)], BLACK, 4)?;
        x += 40;
    }
    Ok(())
}

/// What a picture says of `points` that lie below its floor (percent).
pub(super) fn not_shown(points: usize, floor: f64) -> String {
    let verb = if points == 1 { "is" } else { "are" };
    format!("{} below {floor:.0} % {verb} not shown", count(points, "point"))
}
