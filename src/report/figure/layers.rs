//! Pictures put together from layers, each a group of its own in the SVG: what a page can hide, and points that tell what
//! they are.

use super::canvas::{Area, failed};
use crate::Result;
use plotters::prelude::*;

/// An SVG in the making.
pub(super) struct Layers {
    size: (u32, u32),
    body: String,
}

/// `text` as the content of an XML element or attribute.
pub(super) fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Layers {
    /// White.
    pub fn new(size: (u32, u32)) -> Result<Self> {
        let mut layers = Self { size, body: String::new() };
        layers.add("", |area| area.fill(&WHITE).map_err(failed))?;
        Ok(layers)
    }

    /// Adds what `draw` draws; `attributes` of its group, none: no group.
    pub fn add(&mut self, attributes: &str, draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<()> {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, self.size).into_drawing_area();
            draw(&area)?;
            area.present().map_err(failed)?;
        }
        let start = svg.find('>').map_or(0, |at| at + 1);
        let end = svg.rfind("</svg>").unwrap_or(svg.len());
        let inner = svg.get(start..end).unwrap_or_default().trim();
        self.body += &match attributes {
            "" => format!("{inner}\n"),
            _ => format!("<g {attributes}>\n{inner}\n</g>\n"),
        };
        Ok(())
    }

    /// Adds invisible spots that show a text under the pointer.
    pub fn tips(&mut self, attributes: &str, tips: &[((i32, i32), String)]) {
        self.body += &format!("<g {attributes}>\n");
        for ((x, y), text) in tips {
            self.body += &format!(
                "<ellipse cx=\"{x}\" cy=\"{y}\" rx=\"22\" ry=\"22\" fill=\"none\" pointer-events=\"all\"><title>{}</title></ellipse>\n",
                xml(text)
            );
        }
        self.body += "</g>\n";
    }

    /// The picture.
    pub fn finish(self) -> String {
        let (width, height) = self.size;
        format!(
            "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" xmlns=\"http://www.w3.org/2000/svg\">\n{}</svg>\n",
            self.body
        )
    }
}
