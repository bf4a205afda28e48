//! YAML as this crate reads it: a text becomes a tree whose nodes know their place, the tree becomes types through serde.
//! Every message is in people's words (place, key, what is expected, what was found); none is a library's.
//!
//! Not here: what the keys mean.

mod decode;
mod node;
mod problem;
mod scalar;
mod syntax;
mod tree;
mod words;

use crate::error::Error;
use decode::Decoder;
use node::{Content, Node};
use problem::Problem;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, SeqAccess, Visitor};
use serde_json::Value;
use std::path::{Path, PathBuf};

type Result<T> = crate::error::Result<T>;

/// Where something stands in a text; line and column count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// What a file is supposed to be, for messages.
#[derive(Clone, Copy, Debug)]
pub struct Expecting {
    /// With its article: `an experiment`.
    pub what: &'static str,
    /// Hint where nothing better is known: where to read on.
    pub reference: &'static str,
}

/// A text that is valid YAML.
pub struct Document {
    path: PathBuf,
    expecting: Expecting,
    root: Node,
}

impl Document {
    /// Reads a text; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Input`] with file, line and column where it is not YAML: also for aliases that would multiply it, deep
    /// nesting, repeated keys, and a second document.
    pub fn parse(text: &str, path: &Path, expecting: Expecting) -> Result<Self> {
        match tree::build(text) {
            Ok(root) => Ok(Self { path: path.to_path_buf(), expecting, root }),
            Err(problem) => Err(located(problem, path, expecting)),
        }
    }

    /// The content as a type.
    ///
    /// # Errors
    /// [`Error::Input`] with file, line, column and key.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(Decoder(&self.root)).map_err(|problem| located(problem, &self.path, self.expecting))
    }

    /// Where the value behind `keys` (in lists, positions from 0) stands; where the last of them is missing, the place of what should hold it.
    pub fn place(&self, keys: &[&str]) -> Place {
        let mut node = &self.root;
        for key in keys {
            let below = match &node.content {
                Content::Map(entries) => entries.iter().find(|entry| entry.key == *key).map(|e| &e.node),
                Content::List(items) => key.parse().ok().and_then(|index: usize| items.get(index)),
                _ => None,
            };
            let Some(below) = below else { break };
            node = below;
        }
        node.at
    }
}

/// Reads a text as a type.
///
/// # Errors
/// As [`Document::parse`] and [`Document::decode`].
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path, expecting: Expecting) -> Result<T> {
    Document::parse(text, path, expecting)?.decode()
}

/// A value that was read before as a type; `subject` is what messages are about, such as `method ecq`.
///
/// # Errors
/// [`Error::Input`] with subject and key.
pub fn from_value<T: DeserializeOwned>(value: &Value, subject: &str) -> Result<T> {
    let node = Node::from(value);
    T::deserialize(Decoder(&node)).map_err(|problem| {
        let message = match problem.path.is_empty() && problem.about_subject {
            true => problem.sentence(subject),
            false => format!("{subject}: {}", problem.sentence(subject)),
        };
        Error::Input { message, hint: problem.hint }
    })
}

fn located(problem: Problem, path: &Path, expecting: Expecting) -> Error {
    let path = path.display();
    let place = match problem.at {
        Some(Place { line, column }) => format!("{path}:{line}:{column}"),
        None => path.to_string(),
    };
    let message = format!("{place}: {}", problem.sentence(expecting.what));
    Error::Input { message, hint: Some(problem.hint.unwrap_or_else(|| expecting.reference.into())) }
}

/// A value with its place; readable from YAML alone.
#[derive(Clone, Debug)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: Place,
}

/// By this name [`Decoder`] knows that a value wants its place.
const SPANNED: &str = "ecqx::Spanned";

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Parts<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Parts<T> {
            type Value = Spanned<T>;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a value with its place")
            }
            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut parts: A,
            ) -> std::result::Result<Self::Value, A::Error> {
                use serde::de::Error as _;
                let missing = || A::Error::custom("a value without place");
                let line = parts.next_element()?.ok_or_else(missing)?;
                let column = parts.next_element()?.ok_or_else(missing)?;
                let value = parts.next_element()?.ok_or_else(missing)?;
                Ok(Spanned { value, at: Place { line, column } })
            }
        }
        deserializer.deserialize_newtype_struct(SPANNED, Parts(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests;
