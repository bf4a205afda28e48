//! Ablations as small multiples: what changing one setting does, all others as in the reference point.

use super::accuracy::{STRENGTH, baseline, spot};
use super::chart::{Chart, Line, Panel, Spot};
use super::style::Style;
use super::{Drawing, Figure, Group, Source};
use crate::Result;
use crate::report::tables::WorkingPoint;
use indexmap::IndexMap;
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) const ABLATIONS: Figure = Figure {
    name: "ablations",
    about: "top-1 accuracy when one setting changes, a plot per setting; bars: standard deviation over seeds. Accuracy \
            alone: sizes are in the table of working points",
    draw: Source::Records(draw),
};

/// What separates two settings: a name for each parameter, relevance and its options included.
type Settings = BTreeMap<String, String>;

/// Working points of one method at one bit width.
type Families<'a> = IndexMap<(&'a str, Option<u32>), Vec<(&'a WorkingPoint, Settings)>>;

fn settings(point: &WorkingPoint) -> Settings {
    let mut all = Settings::new();
    if let Some(Value::Object(parameters)) = point.spec.pointer("/quantizer/parameters") {
        all.extend(parameters.iter().map(|(key, value)| (key.clone(), plain(value))));
    }
    match point.spec.pointer("/quantizer/relevance") {
        None | Some(Value::Null) => {}
        Some(Value::Object(measure)) => {
            for (name, options) in measure {
                all.insert("relevance".into(), name.clone());
                for (key, value) in options.as_object().into_iter().flatten() {
                    all.insert(key.clone(), plain(value));
                }
            }
        }
        Some(other) => {
            all.insert("relevance".into(), plain(other));
        }
    }
    if point.method == "ecqx" {
        // The registry's defaults, so that "as it is" and "named explicitly" are the same setting.
        all.entry("relevance".into()).or_insert_with(|| "lrp".into());
        if all["relevance"] == "lrp" {
            all.entry("composite".into()).or_insert_with(|| crate::relevance::lrp::composite::DEFAULT.into());
        }
    }
    all
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The one setting in which two points differ, with its value on both sides. Options of a relevance measure belong to it.
fn difference(a: &Settings, b: &Settings) -> Option<(String, String, String)> {
    let measure_differs = a.get("relevance") != b.get("relevance");
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let mut differing = keys
        .into_iter()
        .filter(|key| a.get(*key) != b.get(*key))
        .filter(|key| !measure_differs || (a.contains_key(*key) && b.contains_key(*key)));
    let key = differing.next()?;
    if differing.next().is_some() {
        return None;
    }
    let value = |side: &Settings| side.get(key).cloned().unwrap_or_else(|| "default".into());
    Some((key.clone(), value(a), value(b)))
}

fn draw(group: &Group<'_>) -> Result<Option<Drawing>> {
    let mut families = Families::new();
    for point in &group.points {
        families.entry((&point.method, point.bits)).or_default().push((point, settings(point)));
    }
    let mut panels: IndexMap<String, Panel> = IndexMap::new();
    for ((method, bits), points) in &families {
        // The point from which most others are one step away.
        let neighbours = |at: &Settings| {
            let others = points.iter().filter_map(|(_, other)| difference(at, other));
            others.filter(|(key, ..)| !STRENGTH.contains(&key.as_str())).count()
        };
        let Some((base, from)) = points
            .iter()
            .rev()
            .max_by_key(|(_, settings)| neighbours(settings))
            .filter(|(_, s)| neighbours(s) > 0)
        else {
            continue;
        };
        let mut values: IndexMap<String, Vec<(String, &WorkingPoint)>> = IndexMap::new();
        for (point, to) in points {
            if let Some((key, before, after)) =
                difference(from, to).filter(|(key, ..)| !STRENGTH.contains(&key.as_str()))
            {
                let list = values.entry(key).or_insert_with(|| vec![(before, *base)]);
                list.push((after, point));
            }
        }
        for (key, mut list) in values {
            list.sort_by(|(a, _), (b, _)| match (a.parse::<f64>(), b.parse::<f64>()) {
                (Ok(a), Ok(b)) => a.total_cmp(&b),
                _ => std::cmp::Ordering::Equal,
            });
            let title = match bits {
                Some(bits) => format!("{key} ({method}, {bits} bit)"),
                None => format!("{key} ({method})"),
            };
            let at_base: Vec<Spot> = list
                .iter()
                .enumerate()
                .filter(|(_, (_, point))| point.configuration == base.configuration)
                .map(|(index, (_, point))| spot(point, (index + 1) as f64, 0.0))
                .collect();
            let changed: Vec<Spot> = list
                .iter()
                .enumerate()
                .filter(|(_, (_, point))| point.configuration != base.configuration)
                .map(|(index, (_, point))| spot(point, (index + 1) as f64, 0.0))
                .collect();
            let names = list.into_iter().map(|(name, _)| short_name(&name)).collect();
            let lines = vec![
                Line {
                    name: "as in the other plots".into(),
                    style: Style::nth(0),
                    spots: at_base,
                    joined: false,
                },
                Line { name: "changed".into(), style: Style::nth(1), spots: changed, joined: false },
            ];
            panels.insert(title.clone(), Panel { names, ..Panel::new(title, lines) });
        }
    }
    let panels: Vec<Panel> =
        panels.into_values().map(|panel| Panel { baseline: baseline(group), ..panel }).collect();
    Chart {
        title: &group.title,
        x_label: "",
        y_label: "top-1 accuracy, %",
        panels,
        baseline: "full precision",
        backdrop: "",
        logarithmic: false,
        floor: None,
        columns: ["position", "top1_percent"],
    }
    .draw()
}

/// Long names of composites, cut to what fits below a plot.
fn short_name(name: &str) -> String {
    name.replace("epsilon", "ε").replace("gamma", "γ").replace("alpha", "α").replace("beta", "β")
}
