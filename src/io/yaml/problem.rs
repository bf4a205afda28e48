//! What is wrong with a YAML text or a value in it, as it travels up to where file and subject are known.

use super::node::{Node, shortened};
use super::{Place, words};
use crate::error::did_you_mean;
use serde::de::{self, Expected, Unexpected};
use std::fmt;

/// What is wrong, before file and subject are known.
#[derive(Debug)]
pub(super) struct Problem {
    pub at: Option<Place>,
    /// Keys that lead to it, the innermost first.
    pub path: Vec<String>,
    /// What is wrong; with `about_subject` without its subject ("must be …").
    what: String,
    pub about_subject: bool,
    pub hint: Option<String>,
}

impl Problem {
    /// A whole sentence about a place.
    pub fn at(at: Place, what: impl Into<String>) -> Self {
        Self { at: Some(at), path: Vec::new(), what: what.into(), about_subject: false, hint: None }
    }

    /// A whole sentence about the file.
    pub fn nowhere(what: impl Into<String>) -> Self {
        Self { at: None, path: Vec::new(), what: what.into(), about_subject: false, hint: None }
    }

    /// A sentence without its subject, about a value.
    pub fn value(node: &Node, what: String) -> Self {
        Self { at: Some(node.at), path: Vec::new(), what, about_subject: true, hint: None }
    }

    /// What a value must be and is not.
    pub fn must(node: &Node, expected: &str) -> Self {
        Self::value(node, format!("must be {expected}, found {}", words::found(node)))
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = self.hint.or(hint);
        self
    }

    pub fn located(mut self, at: Place) -> Self {
        self.at.get_or_insert(at);
        self
    }

    pub fn below(mut self, key: &str) -> Self {
        self.path.push(shortened(key).into_owned());
        self
    }

    /// The sentence, with `subject` where no key leads to it.
    pub fn sentence(&self, subject: &str) -> String {
        let keys: Vec<&str> = self.path.iter().rev().map(String::as_str).collect();
        match (self.about_subject, keys.is_empty()) {
            (true, true) => format!("{subject} {}", self.what),
            (true, false) => format!("{} {}", keys.join("."), self.what),
            (false, true) => self.what.clone(),
            (false, false) => format!("{}: {}", keys.join("."), self.what),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence("it"))
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    /// A second line is the hint; a message that begins with "must" is about the value.
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        let (what, hint) = match text.split_once('\n') {
            Some((what, hint)) => (what, Some(hint.to_owned())),
            None => (text.as_str(), None),
        };
        Self { about_subject: what.starts_with("must "), ..Self::nowhere(what) }.maybe_hint(hint)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let what = format!("must be {}, found {}", words::expected(expected), words::unexpected(found));
        Self { about_subject: true, ..Self::nowhere(what) }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        let what = format!("must be {}, found a list of {length}", words::expected(expected));
        Self { about_subject: true, ..Self::nowhere(what) }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let what = format!("must be {}, found '{}'", words::one_of(expected), shortened(variant));
        let hint = did_you_mean(variant, expected.iter().copied());
        Self { about_subject: true, ..Self::nowhere(what) }.maybe_hint(hint)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let what = format!("has no key '{}'", shortened(field));
        let hint = match field.split_once(':') {
            Some((key, value)) => format!("write a space after the colon: '{key}: {}'", shortened(value)),
            None if field.contains(words::is_invisible) => {
                "it contains an invisible character; type an ordinary space".into()
            }
            None => did_you_mean(field, expected.iter().copied())
                .unwrap_or_else(|| format!("its keys: {}", expected.join(", "))),
        };
        Self { about_subject: true, ..Self::nowhere(what) }.hint(hint)
    }

    fn missing_field(field: &'static str) -> Self {
        Self { about_subject: true, ..Self::nowhere(format!("has no '{field}', which it needs")) }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self { about_subject: true, ..Self::nowhere(format!("has the key '{field}' twice")) }
    }
}
