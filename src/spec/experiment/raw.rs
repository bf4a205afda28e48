//! Parts of an experiment's file that may be written in more than one way.

use crate::io::yaml::Spanned;
use crate::train::TrainingSpec;
use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::Value;
use std::fmt;

/// Most seeds of `{count: N}`.
const MOST_SEEDS: u64 = 10_000;

/// `seeds`: a list, or `{count: N}` for 1 to N. A number alone is refused: some read it as a count, some as the seed.
pub(super) struct Seeds(pub Vec<u64>);

impl<'de> Deserialize<'de> for Seeds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = Seeds;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list such as [1, 2, 3] or {count: 3}")
            }
            fn visit_u64<E: Error>(self, seed: u64) -> Result<Seeds, E> {
                let hint = match seed {
                    0 => "write [0] for the seed 0".into(),
                    1 => "write [1] for the seed 1".into(),
                    n => {
                        format!("write [{n}] for the one seed {n}, or {{count: {n}}} for the seeds 1 to {n}")
                    }
                };
                Err(E::custom(format!(
                    "must be a list such as [1, 2, 3] or {{count: 3}}, found {seed}\n{hint}"
                )))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Seeds, A::Error> {
                let mut seeds = Vec::new();
                while let Some(seed) = items.next_element()? {
                    seeds.push(seed);
                }
                Ok(Seeds(seeds))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Seeds, A::Error> {
                #[derive(serde::Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Count {
                    count: u64,
                }
                let Count { count } = Count::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                if !(1..=MOST_SEEDS).contains(&count) {
                    return Err(A::Error::custom(format!(
                        "count must be from 1 to {MOST_SEEDS}, found {count}"
                    )));
                }
                Ok(Seeds((1..=count).collect()))
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

/// `baseline.seed`: a number, or `per_run`.
#[derive(Clone, Copy)]
pub(super) enum BaselineSeed {
    /// One baseline for all runs.
    One(u64),
    /// A baseline per run seed, trained with that seed.
    PerRun,
}

impl<'de> Deserialize<'de> for BaselineSeed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl Visitor<'_> for Forms {
            type Value = BaselineSeed;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a whole number, or per_run")
            }
            fn visit_u64<E: Error>(self, seed: u64) -> Result<BaselineSeed, E> {
                Ok(BaselineSeed::One(seed))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<BaselineSeed, E> {
                match text {
                    "per_run" => Ok(BaselineSeed::PerRun),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

/// `bits`: a bit width, a list of them, or `auto` (`None`): those that a budget allows.
pub(super) struct Bits(pub Vec<Option<u32>>);

impl<'de> Deserialize<'de> for Bits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = Bits;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a whole number, a list of them, or auto")
            }
            fn visit_u64<E: Error>(self, bits: u64) -> Result<Bits, E> {
                let small =
                    u32::try_from(bits).map_err(|_| E::invalid_type(Unexpected::Unsigned(bits), &self))?;
                Ok(Bits(vec![Some(small)]))
            }
            fn visit_f64<E: Error>(self, bits: f64) -> Result<Bits, E> {
                match bits.fract() == 0.0 && bits.abs() < 1e9 {
                    true => Err(E::custom(format!(
                        "must be a whole number or a list of them, found {bits:.1}\nwrite {bits}"
                    ))),
                    false => Err(E::invalid_type(Unexpected::Float(bits), &self)),
                }
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Bits, E> {
                if text == "auto" {
                    return Ok(Bits(vec![None]));
                }
                match (text.parse::<u32>(), text.split_once('-')) {
                    (Ok(bits), _) => Err(E::custom(format!(
                        "must be a whole number or a list of them, found the text '{text}'\nwrite {bits}"
                    ))),
                    (_, Some((low, high)))
                        if low.trim().parse::<u32>().is_ok() && high.trim().parse::<u32>().is_ok() =>
                    {
                        Err(E::custom(format!(
                            "must be a whole number or a list of them, found the text '{text}'\nwrite all of them, such as [2, 3, 4]"
                        )))
                    }
                    _ => Err(E::invalid_type(Unexpected::Str(text), &self)),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Bits, A::Error> {
                let mut bits = Vec::new();
                while let Some(next) = items.next_element()? {
                    bits.push(Some(next));
                }
                Ok(Bits(bits))
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

/// An entry of `quantizers`: which further keys it may have depends on its method.
#[derive(Default)]
pub(super) struct RawEntry {
    pub method: Option<Spanned<String>>,
    pub bits: Option<Spanned<Bits>>,
    pub seeds: Option<Spanned<Seeds>>,
    /// `Some(None)` for `training: null`.
    pub training: Option<Option<TrainingSpec>>,
    pub relevance: Option<Spanned<Value>>,
    pub parameters: IndexMap<String, Spanned<Value>>,
}

impl<'de> Deserialize<'de> for RawEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = RawEntry;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of mappings with 'method'")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<RawEntry, E> {
                Err(E::custom(format!(
                    "must be a list of mappings with 'method', found the text '{name}' in it\nwrite {{method: {name}}}"
                )))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawEntry, A::Error> {
                let mut entry = RawEntry::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "method" => entry.method = Some(map.next_value()?),
                        "bits" => entry.bits = map.next_value()?,
                        "seeds" => entry.seeds = map.next_value()?,
                        "training" => entry.training = Some(map.next_value()?),
                        "relevance" => entry.relevance = map.next_value()?,
                        _ => drop(entry.parameters.insert(key, map.next_value()?)),
                    }
                }
                Ok(entry)
            }
        }
        deserializer.deserialize_any(Form)
    }
}
