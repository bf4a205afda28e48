//! From the tree to types: a serde deserializer whose errors know place and key.

use super::node::{Content, Entry, Node, shortened};
use super::problem::Problem;
use super::{SPANNED, words};
use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use std::rc::Rc;

/// Reads a node.
pub(super) struct Decoder<'a>(pub &'a Node);

type Result<T> = std::result::Result<T, Problem>;

impl<'a> Decoder<'a> {
    /// A whole number in `low..=high`.
    fn integer(&self, low: i128, high: i128) -> Result<i128> {
        let node = self.0;
        let expected = if low < 0 { "a whole number" } else { "a whole number of 0 or more" };
        match node.content {
            Content::Integer(value) if (low..=high).contains(&value) => Ok(value),
            Content::Integer(value) if value > high => {
                Err(Problem::value(node, format!("must be at most {high}, found {}", words::found(node))))
            }
            Content::Float(value) if value.fract() == 0.0 && value.abs() < 1e15 => {
                Err(Problem::must(node, expected).hint(format!("write {value}")))
            }
            _ => Err(Problem::must(node, expected).maybe_hint(self.number_hint())),
        }
    }

    /// A finite number.
    fn float(&self) -> Result<f64> {
        let node = self.0;
        match node.content {
            Content::Integer(value) => Ok(value as f64),
            Content::Float(value) if value.is_finite() => Ok(value),
            Content::Float(_) => Err(Problem::must(node, "a finite number")),
            _ => Err(Problem::must(node, "a number").maybe_hint(self.number_hint())),
        }
    }

    /// How a text that looks like a number becomes one.
    fn number_hint(&self) -> Option<String> {
        let Content::Text(quoted) = self.0.content else { return None };
        let text = self.0.source.trim();
        let is_number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
        let dotted = text.replace(',', ".");
        let bare = text.trim_start_matches('0');
        let percent = text.strip_suffix('%').and_then(|text| text.trim().parse::<f64>().ok());
        match text {
            _ if percent.is_some_and(f64::is_finite) => {
                percent.map(|percent| format!("write {}", crate::error::number(percent / 100.0)))
            }
            _ if !quoted
                && is_number(text)
                && bare.starts_with(|c: char| c.is_ascii_digit())
                && bare != text =>
            {
                Some(format!("write {bare}, without leading zeros"))
            }
            _ if is_number(text) => Some(format!("write {text} without quotes")),
            _ if is_number(&dotted) => Some(format!("write {dotted}, with a point")),
            _ if is_number(&text.replace('_', "")) => Some(format!("write {}", text.replace('_', ""))),
            _ => None,
        }
    }

    fn located<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|problem| problem.located(self.0.at))
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            let value = self.integer(<$type>::MIN as i128, <$type>::MAX as i128)?;
            // In range by the line above.
            self.located(visitor.$visit(value as $type))
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Decoder<'_> {
    type Error = Problem;

    integers! {
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let node = self.0;
        let result = match &node.content {
            Content::Null => visitor.visit_unit(),
            Content::Bool(value) => visitor.visit_bool(*value),
            Content::Integer(value) => match (u64::try_from(*value), i64::try_from(*value)) {
                (Ok(value), _) => visitor.visit_u64(value),
                (_, Ok(value)) => visitor.visit_i64(value),
                _ => Err(Problem::value(node, format!("is too large a number: {}", words::found(node)))),
            },
            Content::Float(_) => visitor.visit_f64(self.float()?),
            Content::Text(_) => visitor.visit_str(&node.source),
            Content::List(items) => return self.list(items, visitor),
            Content::Map(entries) => return self.map(entries, visitor),
        };
        self.located(result)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if let Content::Bool(value) = self.0.content {
            return visitor.visit_bool(value);
        }
        let hint = match self.0.source.to_lowercase().as_str() {
            "yes" | "on" | "y" | "1" | "true" => Some("write true".into()),
            "no" | "off" | "n" | "0" | "false" => Some("write false".into()),
            _ => None,
        };
        Err(Problem::must(self.0, "true or false").maybe_hint(hint))
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        // From the text, where it is there: a number rounded twice may differ from one rounded once.
        let value = self.float()?;
        let direct = self.0.source.parse::<f32>().ok().filter(|value| value.is_finite());
        self.located(visitor.visit_f32(direct.unwrap_or(value as f32)))
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let value = self.float()?;
        self.located(visitor.visit_f64(value))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.0.content {
            // A name may be a number: what stands there is taken as it stands.
            Content::Text(_) | Content::Integer(_) | Content::Float(_) => {
                self.located(visitor.visit_str(&self.0.source))
            }
            Content::Bool(_) => {
                let hint = format!("put it in quotes to make it text: '{}'", self.0.source);
                Err(Problem::must(self.0, "text").hint(hint))
            }
            _ => Err(Problem::must(self.0, "text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.0.content {
            Content::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value> {
        if name == SPANNED {
            return visitor.visit_seq(Parts { node: self.0, next: 0 });
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match &self.0.content {
            Content::List(items) => self.list(items, visitor),
            Content::Map(_) => {
                Err(Problem::must(self.0, "a list").hint("begin each of its entries with '- '"))
            }
            Content::Text(_) => {
                let hint = format!("write ['{}']", shortened(&self.0.source));
                Err(Problem::must(self.0, "a list").hint(hint))
            }
            _ => Err(Problem::must(self.0, "a list")),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value> {
        match &self.0.content {
            Content::List(items) if items.len() == length => self.list(items, visitor),
            Content::List(items) => Err(Problem::value(
                self.0,
                format!("must be a list of {length}, found a list of {}", items.len()),
            )),
            _ => Err(Problem::must(self.0, &format!("a list of {length}"))),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match &self.0.content {
            Content::Map(entries) => self.map(entries, visitor),
            _ => Err(Problem::must(self.0, "a mapping of keys")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let node = self.0;
        let (variant, content) = match &node.content {
            Content::Text(_) => (node.source.as_str(), None),
            Content::Map(entries) if entries.len() == 1 => (entries[0].key.as_str(), Some(&*entries[0].node)),
            _ => return Err(Problem::must(node, &words::one_of(variants))),
        };
        visitor.visit_enum(Variant { variant, content }).map_err(|problem| problem.located(node.at))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple_struct identifier
    }
}

impl<'a> Decoder<'a> {
    fn list<'de, V: Visitor<'de>>(&self, items: &'a [Rc<Node>], visitor: V) -> Result<V::Value> {
        self.located(visitor.visit_seq(List { items: items.iter() }))
    }

    fn map<'de, V: Visitor<'de>>(&self, entries: &'a [Entry], visitor: V) -> Result<V::Value> {
        self.located(visitor.visit_map(Map { entries: entries.iter(), value: None }))
    }
}

struct List<'a> {
    items: std::slice::Iter<'a, Rc<Node>>,
}

impl<'de> SeqAccess<'de> for List<'_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some(node) = self.items.next() else { return Ok(None) };
        seed.deserialize(Decoder(node)).map(Some).map_err(|problem| problem.located(node.at))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Map<'a> {
    entries: std::slice::Iter<'a, Entry>,
    value: Option<&'a Entry>,
}

impl<'de> MapAccess<'de> for Map<'_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        let Some(entry) = self.entries.next() else { return Ok(None) };
        self.value = Some(entry);
        let key: StrDeserializer<'_, Problem> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|problem| problem.located(entry.at))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        let Some(entry) = self.value.take() else { return Err(Problem::nowhere("a value without key")) };
        let place = entry.node.at;
        seed.deserialize(Decoder(&entry.node)).map_err(|problem| problem.located(place).below(&entry.key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// Line, column and value of a [`Spanned`](super::Spanned).
struct Parts<'a> {
    node: &'a Node,
    next: u8,
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        self.next += 1;
        let number = |value: usize| (value as u64).into_deserializer();
        let number = |value| -> de::value::U64Deserializer<Problem> { number(value) };
        match self.next {
            1 => seed.deserialize(number(self.node.at.line)).map(Some),
            2 => seed.deserialize(number(self.node.at.column)).map(Some),
            3 => seed.deserialize(Decoder(self.node)).map(Some),
            _ => Ok(None),
        }
    }
}

/// A word, or a word with what belongs to it.
struct Variant<'a> {
    variant: &'a str,
    content: Option<&'a Node>,
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = Problem;
    type Variant = VariantContent<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant)> {
        let name: StrDeserializer<'_, Problem> = self.variant.into_deserializer();
        let content = VariantContent { variant: self.variant, content: self.content };
        Ok((seed.deserialize(name)?, content))
    }
}

struct VariantContent<'a> {
    variant: &'a str,
    content: Option<&'a Node>,
}

impl VariantContent<'_> {
    fn needed(&self) -> Result<&Node> {
        let missing = || Problem::nowhere(format!("'{}' needs settings: {{{0}: …}}", self.variant));
        self.content.ok_or_else(missing)
    }
}

impl<'de> VariantAccess<'de> for VariantContent<'_> {
    type Error = Problem;

    fn unit_variant(self) -> Result<()> {
        match self.content {
            None => Ok(()),
            Some(node) if matches!(node.content, Content::Null) => Ok(()),
            Some(node) => Err(Problem::at(node.at, format!("'{}' takes no settings", self.variant))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(Decoder(self.needed()?)).map_err(|problem| problem.below(self.variant))
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value> {
        let result = de::Deserializer::deserialize_tuple(Decoder(self.needed()?), length, visitor);
        result.map_err(|problem| problem.below(self.variant))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value> {
        let result = de::Deserializer::deserialize_map(Decoder(self.needed()?), visitor);
        result.map_err(|problem| problem.below(self.variant))
    }
}
