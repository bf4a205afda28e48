//! SVG to PNG with the embedded font.

use crate::{Error, Result};
use resvg::{tiny_skia, usvg};
use std::sync::Arc;

/// The family that figures name; embedded, so that text is the same everywhere.
pub(super) const FONT: &str = "Ubuntu";

/// Renders an SVG at `scale` pixels per unit on white.
///
/// # Errors
/// [`Error::Internal`] when the picture is none of ours.
pub fn png(svg: &str, scale: f32) -> Result<Vec<u8>> {
    let mut fonts = usvg::fontdb::Database::new();
    fonts.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
    let options =
        usvg::Options { fontdb: Arc::new(fonts), font_family: FONT.into(), ..usvg::Options::default() };
    let wrong = |what: String| Error::Internal(format!("figure: {what}"));
    let tree = usvg::Tree::from_str(svg, &options).map_err(|error| wrong(error.to_string()))?;
    let size = tree.size();
    let (width, height) = ((size.width() * scale).ceil() as u32, (size.height() * scale).ceil() as u32);
    let mut pixels = tiny_skia::Pixmap::new(width, height).ok_or_else(|| wrong("it has no size".into()))?;
    pixels.fill(tiny_skia::Color::WHITE);
    resvg::render(&tree, tiny_skia::Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| wrong(error.to_string()))
}
