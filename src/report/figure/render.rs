//! SVG to PNG and PDF with the embedded font.

use crate::{Error, Result};
use resvg::{tiny_skia, usvg};
use std::sync::Arc;

/// Thickness of the outline that text gets, as a share of its size: the embedded font has a light weight alone, and with
/// this its stems are those of a regular one.
const OUTLINE: f64 = 0.022;

/// `svg` with an outline around every text.
fn heavier(svg: &str) -> String {
    let mut parts = svg.split("<text ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let size = part.split_once("font-size=\"").and_then(|(_, rest)| rest.split_once('"'));
        let size = size.and_then(|(size, _)| size.parse::<f64>().ok()).unwrap_or_default();
        text += &format!("<text stroke=\"#000000\" stroke-width=\"{:.2}\" {part}", size * OUTLINE);
    }
    text
}

/// The family that figures name; embedded, so that text is the same everywhere.
pub(super) const FONT: &str = "Ubuntu";

/// Pixels per unit of a figure's PNG: 360 per inch at a column width of 8.5 cm.
pub const PNG_SCALE: f32 = 0.75;

fn wrong(what: impl std::fmt::Display) -> Error {
    Error::Internal(format!("figure: {what}"))
}

/// Renders an SVG at `scale` pixels per unit on white.
///
/// # Errors
/// [`Error::Internal`] when the picture is none of ours.
pub fn png(svg: &str, scale: f32) -> Result<Vec<u8>> {
    let mut fonts = usvg::fontdb::Database::new();
    fonts.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
    let options =
        usvg::Options { fontdb: Arc::new(fonts), font_family: FONT.into(), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(&heavier(svg), &options).map_err(wrong)?;
    let size = tree.size();
    let (width, height) = ((size.width() * scale).ceil() as u32, (size.height() * scale).ceil() as u32);
    let mut pixels = tiny_skia::Pixmap::new(width, height).ok_or_else(|| wrong("it has no size"))?;
    pixels.fill(tiny_skia::Color::WHITE);
    resvg::render(&tree, tiny_skia::Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().map_err(wrong)
}

/// Converts an SVG to a one-page PDF 8.5 cm wide (for drawings of the usual width), with its text as text.
///
/// # Errors
/// [`Error::Internal`] when the picture is none of ours.
pub fn pdf(svg: &str) -> Result<Vec<u8>> {
    // The converter brings its own version of the SVG reader.
    use svg2pdf::usvg;
    let mut options = usvg::Options { font_family: FONT.into(), ..usvg::Options::default() };
    options.fontdb_mut().load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
    let tree = usvg::Tree::from_str(&heavier(svg), &options).map_err(wrong)?;
    // 1600 units on 8.5 cm, the column of a two-column page.
    let page = svg2pdf::PageOptions { dpi: 1600.0 / 8.5 * 2.54 };
    svg2pdf::to_pdf(&tree, svg2pdf::ConversionOptions::default(), page).map_err(wrong)
}
