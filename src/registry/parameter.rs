//! Parameters as data: kind, range and default of each, so that what an experiment leaves out can be written out, and
//! that equal settings have equal JSON however they were written.

use crate::error::{did_you_mean, did_you_mean_or_all, number};
use crate::{Error, Result};
use serde_json::{Map, Number, Value};

/// What values a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A number from `low` to `high`, both included.
    Number {
        /// Smallest value.
        low: f64,
        /// Largest value.
        high: f64,
    },
    /// A whole number from `low` to `high`, both included.
    Whole {
        /// Smallest value.
        low: u64,
        /// Largest value.
        high: u64,
    },
    /// `true` or `false`.
    Switch,
    /// One of some words.
    Word(&'static [&'static str]),
    /// Any text that is not empty.
    Text,
    /// A program and its arguments.
    Command,
    /// Files: a list in an experiment, a mapping from name to digest once it is resolved.
    Files,
    /// A mapping from any names to numbers, texts, true or false; in an experiment also lists of them, as axes.
    Options,
}

/// A value as data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// A number.
    Number(f64),
    /// A whole number.
    Whole(u64),
    /// `true` or `false`.
    Switch(bool),
    /// A word.
    Word(&'static str),
    /// Left open: the method decides from what it sees (the help text says how).
    Open,
}

impl Choice {
    /// The value as JSON; `None` for an open one.
    pub fn value(self) -> Option<Value> {
        match self {
            Self::Number(number) => Number::from_f64(number).map(Value::Number),
            Self::Whole(number) => Some(number.into()),
            Self::Switch(switch) => Some(switch.into()),
            Self::Word(word) => Some(word.into()),
            Self::Open => None,
        }
    }
}

/// What a parameter is called where people read it: Λ for `lambda`, every other by its name.
pub fn symbol(name: &str) -> &str {
    if name == "lambda" { "Λ" } else { name }
}

/// A parameter of a method or model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter {
    /// Name in YAML.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The value where an experiment gives none.
    pub default: Choice,
    /// The value under `profile: reference`, where it is another.
    pub reference: Option<Choice>,
    /// For a parameter that was added to a method with results: the value that stands for what the method did before.
    /// While it is the default it is left out of resolved settings, so that earlier results keep their ids.
    pub original: Option<Choice>,
    /// Words that name a relevance measure: where one of them is chosen, the method needs that relevance.
    pub measures: &'static [&'static str],
}

impl Parameter {
    const fn new(name: &'static str, about: &'static str, kind: Kind, default: Choice) -> Self {
        Self { name, about, kind, default, reference: None, original: None, measures: &[] }
    }

    /// A number from `low` to `high`.
    pub const fn number(
        name: &'static str,
        about: &'static str,
        (low, high): (f64, f64),
        default: f64,
    ) -> Self {
        Self::new(name, about, Kind::Number { low, high }, Choice::Number(default))
    }

    /// A whole number from `low` to `high`.
    pub const fn whole(
        name: &'static str,
        about: &'static str,
        (low, high): (u64, u64),
        default: u64,
    ) -> Self {
        Self::new(name, about, Kind::Whole { low, high }, Choice::Whole(default))
    }

    /// `true` or `false`.
    pub const fn switch(name: &'static str, about: &'static str, default: bool) -> Self {
        Self::new(name, about, Kind::Switch, Choice::Switch(default))
    }

    /// One of `words`.
    pub const fn word(
        name: &'static str,
        about: &'static str,
        words: &'static [&'static str],
        default: &'static str,
    ) -> Self {
        Self::new(name, about, Kind::Word(words), Choice::Word(default))
    }

    /// Any text.
    pub const fn text(name: &'static str, about: &'static str) -> Self {
        Self::new(name, about, Kind::Text, Choice::Open)
    }

    /// A program of the user's, with its arguments.
    pub const fn command(name: &'static str, about: &'static str) -> Self {
        Self::new(name, about, Kind::Command, Choice::Open)
    }

    /// Files whose content is part of a run's id.
    pub const fn files(name: &'static str, about: &'static str) -> Self {
        Self::new(name, about, Kind::Files, Choice::Open)
    }

    /// Settings that are somebody else's to understand.
    pub const fn options(name: &'static str, about: &'static str) -> Self {
        Self::new(name, about, Kind::Options, Choice::Open)
    }

    /// With no default: what is left out stays out, and the method decides.
    pub const fn open(mut self) -> Self {
        self.default = Choice::Open;
        self
    }

    /// With another default under `profile: reference`.
    pub const fn reference(mut self, choice: Choice) -> Self {
        self.reference = Some(choice);
        self
    }

    /// Added later: `original` stands for what was done before the parameter existed.
    pub const fn added(mut self, original: Choice) -> Self {
        self.original = Some(original);
        self
    }

    /// With words that name relevance measures.
    pub const fn measures(mut self, words: &'static [&'static str]) -> Self {
        self.measures = words;
        self
    }

    /// Range and defaults in words, such as `0–10; default 0.05`.
    pub fn range(&self) -> String {
        let kind = match self.kind {
            Kind::Number { low, high } => format!("{}–{}", number(low), number(high)),
            Kind::Whole { low, high } => format!("{low}–{high}"),
            Kind::Switch => "true or false".into(),
            Kind::Word(words) => words.join(" | "),
            Kind::Text => "text".into(),
            Kind::Command | Kind::Files => "a list of texts".into(),
            Kind::Options => "a mapping".into(),
        };
        let mut text = kind;
        if let Some(value) = self.default.value() {
            text += &format!("; default {}", shown(&value));
        }
        if let Some(value) = self.reference.and_then(Choice::value) {
            text += &format!("; reference preset {}", shown(&value));
        }
        text
    }

    /// The value in one form: numbers as floats, whole numbers as integers.
    ///
    /// # Errors
    /// [`Error::Input`] for a value of another kind or out of range; `subject` says whose parameter it is.
    pub fn normalise(&self, subject: &str, value: &Value) -> Result<Value> {
        let wrong = |what: String| {
            let quoted = value.as_str().filter(|text| text.parse::<f64>().is_ok());
            Error::Input {
                message: format!("{subject}: {} must {what}, found {}", self.name, found(value)),
                hint: quoted.map(|text| format!("write {text} without quotes")),
            }
        };
        match self.kind {
            Kind::Number { low, high } => {
                let range = || format!("from {} to {}", number(low), number(high));
                let given = value.as_f64().ok_or_else(|| wrong(format!("be a number {}", range())))?;
                if !(low..=high).contains(&given) {
                    return Err(wrong(format!("be {}", range())));
                }
                // −0 and 0 are one setting.
                Ok(Number::from_f64(given + 0.0).map_or(Value::Null, Value::Number))
            }
            Kind::Whole { low, high } => {
                let whole = value.as_u64().or_else(|| {
                    let number = value.as_f64().filter(|number| number.fract() == 0.0)?;
                    (0.0..9e15).contains(&number).then_some(number as u64)
                });
                let whole = whole.filter(|whole| (low..=high).contains(whole));
                whole.map(Value::from).ok_or_else(|| wrong(format!("be a whole number from {low} to {high}")))
            }
            Kind::Switch => match value {
                Value::Bool(_) => Ok(value.clone()),
                _ => Err(wrong("be true or false".into())),
            },
            Kind::Text => match value.as_str() {
                Some(text) if !text.is_empty() => Ok(value.clone()),
                _ => Err(wrong("be a text".into())),
            },
            Kind::Command => match value.as_array() {
                Some(words) if !words.is_empty() => {
                    let word = |word: &Value| match word {
                        Value::String(_) => Ok(word.clone()),
                        // `--levels 4`
                        Value::Number(_) | Value::Bool(_) => Ok(shown(word).into()),
                        _ => Err(wrong("be a list of texts".into())),
                    };
                    words.iter().map(word).collect()
                }
                _ => Err(wrong("be a list: a program and its arguments".into())),
            },
            Kind::Files => match value.as_object() {
                Some(files) if files.values().all(Value::is_string) => Ok(value.clone()),
                _ => Err(wrong("be a mapping from names to digests, as a plan has it".into())),
            },
            Kind::Options => {
                let options = value.as_object().ok_or_else(|| wrong("be a mapping".into()))?;
                let one = |(name, value): (&String, &Value)| {
                    Ok((
                        name.clone(),
                        plain(value).ok_or_else(|| {
                            Error::input(format!(
                                "{subject}: {}: '{name}' must be a number, a text, true or false, found {}",
                                self.name,
                                found(value)
                            ))
                        })?,
                    ))
                };
                options.iter().map(one).collect::<Result<Map<_, _>>>().map(Value::Object)
            }
            Kind::Word(words) => match value.as_str() {
                Some(word) if words.contains(&word) => Ok(value.clone()),
                other => Err(Error::Input {
                    message: format!(
                        "{subject}: {} must be one of {}, found {}",
                        self.name,
                        words.join(", "),
                        shown(value)
                    ),
                    hint: other.and_then(|word| did_you_mean(word, words.iter().copied())),
                }),
            },
        }
    }
}

/// A value that is not made of others, numbers in one form: whole ones without a point.
fn plain(value: &Value) -> Option<Value> {
    match value {
        Value::Bool(_) | Value::String(_) => Some(value.clone()),
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 9e15 => Some((float as i64).into()),
            _ => Some(value.clone()),
        },
        _ => None,
    }
}

/// Every parameter of `list` with its value: what `given` says, else the default (under `reference` the reference's), in
/// the order of the list and in one form. Values that stand for what was done before a parameter existed are left out.
///
/// # Errors
/// [`Error::Input`] for an unknown name, with a suggestion from the list and `more`, or a value that does not fit.
pub fn resolve(
    subject: &str,
    list: &[Parameter],
    more: &[&str],
    given: &Map<String, Value>,
    reference: bool,
) -> Result<Map<String, Value>> {
    let known = || list.iter().map(|parameter| parameter.name).chain(more.iter().copied());
    if let Some(key) = given.keys().find(|key| !known().any(|name| name == key.as_str())) {
        let names: Vec<&str> = known().collect();
        let hint = match names.is_empty() {
            true => "it has no parameters".into(),
            false => did_you_mean_or_all(key, names.iter().copied(), "it has"),
        };
        return Err(Error::input_hint(format!("{subject} has no parameter '{key}'"), hint));
    }
    let mut resolved = Map::new();
    for parameter in list {
        let value = match given.get(parameter.name) {
            Some(value) => Some(parameter.normalise(subject, value)?),
            None => parameter.reference.filter(|_| reference).unwrap_or(parameter.default).value(),
        };
        // Once the default is another one, all values are written out: what is absent would mean the new default.
        let original = parameter.original.filter(|original| *original == parameter.default);
        let original = original.and_then(Choice::value);
        if let Some(value) = value.filter(|value| Some(value) != original.as_ref()) {
            resolved.insert(parameter.name.into(), value);
        }
    }
    Ok(resolved)
}

/// The entries of `resolved` that differ from `defaults`, in the order of `resolved`.
pub fn differences<'a>(
    resolved: &'a Map<String, Value>,
    defaults: &'a Map<String, Value>,
) -> impl Iterator<Item = (&'a str, &'a Value)> {
    resolved
        .iter()
        .filter(|(name, value)| defaults.get(name.as_str()) != Some(value))
        .map(|(name, value)| (name.as_str(), value))
}

/// A value in a message about another kind being needed: texts are named as such.
pub fn found(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the text '{text}'"),
        other => shown(other),
    }
}

/// A value as people write it: `0.05`, `4`, `true`, `word`.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing (null)".into(),
        Value::String(text) => text.clone(),
        Value::Number(given) => match given.as_f64() {
            Some(float) if !given.is_u64() && !given.is_i64() => number(float),
            _ => given.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
