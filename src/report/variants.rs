//! In what the working points of one method differ: parameters, presets, and relevance with its options.

use crate::quant::Profile;
use crate::quant::method::PROFILE;
use crate::registry::Choice;
use crate::relevance;
use crate::report::methods::Methods;
use crate::report::tables::WorkingPoint;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A parameter of the method, or relevance and its options.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SettingKey {
    pub name: Cow<'static, str>,
    /// Whether it is the relevance measure or one of its options, and so goes with the measure.
    of_measure: bool,
}

impl SettingKey {
    fn own(name: &str) -> Self {
        Self { name: Cow::Owned(name.into()), of_measure: false }
    }

    fn of_measure(name: &str) -> Self {
        Self { name: Cow::Owned(name.into()), of_measure: true }
    }

    /// The relevance measure itself.
    pub const fn measure() -> Self {
        Self { name: Cow::Borrowed("relevance"), of_measure: true }
    }

    /// Whether it separates two settings that do not agree in it: one measure's options are not the other's to have.
    pub fn separates(&self, measure_differs: bool, both_have_it: bool) -> bool {
        both_have_it || !(measure_differs && self.of_measure)
    }
}

/// What separates two settings.
pub(super) type Settings = BTreeMap<SettingKey, String>;

/// The settings of a working point.
pub(super) fn settings(point: &WorkingPoint, methods: &Methods) -> Settings {
    let mut all = Settings::new();
    let method = methods.get(&point.method);
    let profile = method.map(|method| method.distinguishing(&point.parameters).0);
    if let (Some(method), Some(profile)) = (method, profile)
        && method.parameters.iter().any(|parameter| parameter.name == PROFILE.name)
    {
        all.insert(SettingKey::own(PROFILE.name), plain(&serde_json::to_value(profile).unwrap_or_default()));
    }
    let presets = |of: &dyn Fn(Profile) -> Option<Map<String, Value>>| {
        let both = [profile.unwrap_or_default(), other(profile.unwrap_or_default())].map(of);
        both.map(Option::unwrap_or_default)
    };
    let own = presets(&|profile| {
        let preset = Map::from_iter([(PROFILE.name.to_owned(), serde_json::to_value(profile).ok()?)]);
        method?.resolve(&preset).ok()
    });
    add(&mut all, SettingKey::own, &point.parameters, &own);
    // What resolved settings leave out, so that earlier results keep their ids, is a setting all the same.
    for parameter in method.into_iter().flat_map(|method| method.parameters) {
        if let Some(original) = parameter.original.and_then(Choice::value)
            && !point.parameters.contains_key(parameter.name)
        {
            all.insert(SettingKey::own(parameter.name), plain(&original));
        }
    }
    match point.spec.pointer("/quantizer/relevance") {
        None | Some(Value::Null) => {}
        Some(Value::Object(measure)) => {
            for (name, options) in measure {
                all.insert(SettingKey::measure(), name.clone());
                let presets = presets(&|profile| {
                    let entry = Value::from(name.as_str());
                    let resolved =
                        relevance::resolve(&methods.registry().measures, Some(&entry), profile).ok()?;
                    resolved.get(name)?.as_object().cloned()
                });
                add(&mut all, SettingKey::of_measure, options.as_object().unwrap_or(&Map::new()), &presets);
            }
        }
        Some(other) => {
            all.insert(SettingKey::measure(), plain(other));
        }
    }
    all
}

fn other(profile: Profile) -> Profile {
    match profile {
        Profile::Default => Profile::Reference,
        Profile::Reference => Profile::Default,
    }
}

/// Adds `values`, but not what follows from the preset: where the point's own preset and the other one differ, and the
/// value is the own one's. So a point under the other preset differs in one setting.
fn add(
    all: &mut Settings,
    parameter: fn(&str) -> SettingKey,
    values: &Map<String, Value>,
    [own, other]: &[Map<String, Value>; 2],
) {
    for (key, value) in values {
        let follows = own.get(key) == Some(value) && own.get(key) != other.get(key);
        if !follows {
            all.insert(parameter(key), plain(value));
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The one setting in which two points differ. Options of a relevance measure belong to it.
pub(super) fn difference<'a>(a: &'a Settings, b: &'a Settings) -> Option<&'a SettingKey> {
    let measure = SettingKey::measure();
    let measure_differs = a.get(&measure) != b.get(&measure);
    // Asked of every pair of points: no set is built.
    let mut differing = a
        .keys()
        .chain(b.keys().filter(|key| !a.contains_key(*key)))
        .filter(|key| a.get(*key) != b.get(*key))
        .filter(|key| key.separates(measure_differs, a.contains_key(*key) && b.contains_key(*key)));
    let key = differing.next()?;
    differing.next().is_none().then_some(key)
}

/// What `point` has for `key`, in words; what follows from a preset has its value among the parameters.
pub(super) fn value(point: &WorkingPoint, settings: &Settings, key: &SettingKey) -> String {
    let following = || point.parameters.get(key.name.as_ref()).map(plain);
    settings.get(key).cloned().or_else(following).unwrap_or_else(|| "default".into())
}
