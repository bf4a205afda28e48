//! `style` of an experiment: how its figures are set for print.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use std::fmt;

/// How figures are set for print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FigureStyle {
    /// Width on paper.
    pub width: FigureWidth,
    /// Whether data set and model stand above a figure; papers say so in the caption.
    pub titles: bool,
    /// Whether the plots of one figure are called (a), (b), …
    pub panel_labels: bool,
}

impl Default for FigureStyle {
    fn default() -> Self {
        Self { width: FigureWidth::Column, titles: true, panel_labels: true }
    }
}

/// Width of a figure on paper; text has the same size in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FigureWidth {
    /// A column of a two-column page, 8.5 cm.
    Column,
    /// A page, 17.5 cm.
    Page,
}

impl FigureWidth {
    /// Width on paper.
    pub fn centimetres(self) -> f64 {
        match self {
            Self::Column => 8.5,
            Self::Page => 17.5,
        }
    }

    fn named<E: Error>(name: &str) -> Result<Self, E> {
        match name {
            "column" => Ok(Self::Column),
            "page" => Ok(Self::Page),
            other => {
                Err(E::custom(format!("must be 'column' (8.5 cm) or 'page' (17.5 cm), found '{other}'")))
            }
        }
    }
}

impl<'de> Deserialize<'de> for FigureWidth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = FigureWidth;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("'column' (8.5 cm) or 'page' (17.5 cm)")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<FigureWidth, E> {
                FigureWidth::named(name)
            }
        }
        deserializer.deserialize_str(Name)
    }
}

impl<'de> Deserialize<'de> for FigureStyle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            width: Option<FigureWidth>,
            titles: Option<bool>,
            panel_labels: Option<bool>,
        }
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = FigureStyle;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("'column', 'page' or a mapping such as {width: column, titles: false}")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<FigureStyle, E> {
                Ok(FigureStyle { width: FigureWidth::named(name)?, ..FigureStyle::default() })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FigureStyle, A::Error> {
                let keys = Keys::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                let usual = FigureStyle::default();
                Ok(FigureStyle {
                    width: keys.width.unwrap_or(usual.width),
                    titles: keys.titles.unwrap_or(usual.titles),
                    panel_labels: keys.panel_labels.unwrap_or(usual.panel_labels),
                })
            }
        }
        deserializer.deserialize_any(Forms)
    }
}
