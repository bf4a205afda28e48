//! A value of a YAML text with its place.

use super::Place;
use std::borrow::Cow;
use std::rc::Rc;

/// A value with its place.
pub(super) struct Node {
    /// Where it begins.
    pub at: Place,
    /// Text of a scalar as it was written, escapes resolved.
    pub source: String,
    /// What it is.
    pub content: Content,
    /// Nodes below and with it, aliases written out.
    pub size: u64,
}

/// What a node is.
pub(super) enum Content {
    Null,
    Bool(bool),
    /// Saturated where it does not fit.
    Integer(i128),
    Float(f64),
    /// Text; `true` when it stood in quotes.
    Text(bool),
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

/// A key and what it holds.
#[derive(Clone)]
pub(super) struct Entry {
    pub key: String,
    pub at: Place,
    pub node: Rc<Node>,
}

impl Node {
    pub fn new(at: Place, source: String, content: Content) -> Self {
        let size = match &content {
            Content::List(items) => items.iter().fold(1, |sum: u64, item| sum.saturating_add(item.size)),
            Content::Map(entries) => {
                entries.iter().fold(1, |sum: u64, entry| sum.saturating_add(entry.node.size + 1))
            }
            _ => 1,
        };
        Self { at, source, content, size }
    }
}

impl From<&serde_json::Value> for Node {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        let (source, content) = match value {
            Value::Null => ("null".into(), Content::Null),
            Value::Bool(value) => (value.to_string(), Content::Bool(*value)),
            Value::Number(number) => {
                let integer = number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
                let content = integer
                    .map_or_else(|| Content::Float(number.as_f64().unwrap_or(f64::NAN)), Content::Integer);
                (number.to_string(), content)
            }
            Value::String(text) => (text.clone(), Content::Text(false)),
            Value::Array(items) => {
                (String::new(), Content::List(items.iter().map(|item| Rc::new(Self::from(item))).collect()))
            }
            Value::Object(map) => {
                let entries = map.iter().map(|(key, value)| Entry {
                    key: key.clone(),
                    at: Place::default(),
                    node: Rc::new(Self::from(value)),
                });
                (String::new(), Content::Map(entries.collect()))
            }
        };
        Self::new(Place::default(), source, content)
    }
}

/// A text for messages, cut where it is long.
pub(super) fn shortened(text: &str) -> Cow<'_, str> {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}
