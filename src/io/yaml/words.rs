//! Types and values as people call them.

use super::node::{Content, Node, shortened};
use serde::de::{Expected, Unexpected};

/// What was found, for "…, found …".
pub(super) fn found(node: &Node) -> String {
    match &node.content {
        Content::Null if node.source.is_empty() => "nothing".into(),
        Content::Null => format!("nothing ({})", node.source),
        Content::Bool(_) | Content::Integer(_) | Content::Float(_) => shortened(&node.source).into_owned(),
        Content::Text(_) => format!("the text '{}'", shortened(&node.source)),
        Content::List(items) if items.is_empty() => "an empty list".into(),
        Content::List(_) => "a list".into(),
        Content::Map(entries) if entries.is_empty() => "an empty mapping".into(),
        Content::Map(_) => "a mapping".into(),
    }
}

/// As [`found`] for what serde hands out.
pub(super) fn unexpected(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(value) => value.to_string(),
        Unexpected::Signed(value) => value.to_string(),
        Unexpected::Float(value) => crate::error::number(value),
        Unexpected::Char(c) => format!("the text '{c}'"),
        Unexpected::Str(text) => format!("the text '{}'", shortened(text)),
        Unexpected::Unit | Unexpected::Option => "nothing".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map | Unexpected::NewtypeStruct => "a mapping".into(),
        _ => "something else".into(),
    }
}

/// What a type wants, for "must be …".
pub(super) fn expected(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number of 0 or more".into(),
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a boolean" => "true or false".into(),
        "a string" | "string" | "a character" => "text".into(),
        "a sequence" => "a list".into(),
        "a map" => "a mapping of keys".into(),
        "unit" => "nothing".into(),
        other if other.starts_with("an array of length ") => {
            format!("a list of {}", &other["an array of length ".len()..])
        }
        other
            if ["struct ", "internally tagged enum ", "enum "].iter().any(|kind| other.starts_with(kind)) =>
        {
            "a mapping of keys".into()
        }
        other => other.replace('`', "'"),
    }
}

/// `a, b or c`; the first few of many.
pub(super) fn one_of(names: &[&str]) -> String {
    match names {
        [] => "nothing".into(),
        [one] => format!("'{one}'"),
        [head @ .., last] => format!("{} or {last}", head.join(", ")),
    }
}

/// Whether a character looks like a space, or like nothing, and is neither space nor line end.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{a0}' | '\u{2000}'
            ..='\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}' | '\u{feff}'
    )
}
