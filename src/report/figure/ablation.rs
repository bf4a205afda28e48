//! Ablations as small multiples: what changing one setting does, all others as in the reference point.

use super::accuracy::{baseline, spot};
use super::chart::{Chart, Line, Panel, Spot};
use super::style::Style;
use super::{Drawing, Figure, Group, Source};
use crate::Result;
use crate::report::records::STRENGTH;
use crate::report::tables::WorkingPoint;
use indexmap::IndexMap;
use rayon::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

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
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
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

/// From how many others each point differs in one setting that is no [`STRENGTH`]: [`difference`] of all pairs, with
/// numbers in place of texts, because there are many.
fn neighbours(points: &[(&WorkingPoint, Settings)]) -> Vec<usize> {
    let names: BTreeSet<&String> = points.iter().flat_map(|(_, settings)| settings.keys()).collect();
    let mut known: HashMap<&String, u32> = HashMap::new();
    // 0: the point does not have the setting.
    let mut numbers: Vec<Vec<u32>> = Vec::with_capacity(points.len());
    for (_, settings) in points {
        let number = |name: &&String| {
            settings.get(*name).map_or(0, |value| {
                let next = known.len() as u32 + 1;
                *known.entry(value).or_insert(next)
            })
        };
        numbers.push(names.iter().map(number).collect());
    }
    let relevance = names.iter().position(|name| *name == "relevance");
    let strength: Vec<bool> = names.iter().map(|name| STRENGTH.contains(&name.as_str())).collect();
    let one_step = |a: &[u32], b: &[u32]| {
        let measure_differs = relevance.is_some_and(|at| a[at] != b[at]);
        let mut differing =
            (0..a.len()).filter(|&at| a[at] != b[at] && (!measure_differs || (a[at] != 0 && b[at] != 0)));
        differing.next().is_some_and(|at| !strength[at]) && differing.next().is_none()
    };
    numbers.par_iter().map(|a| numbers.iter().filter(|b| one_step(a, b)).count()).collect()
}

fn draw(group: &Group<'_>) -> Result<Option<Drawing>> {
    let mut families = Families::new();
    for point in &group.points {
        families.entry((&point.method, point.bits)).or_default().push((point, settings(point)));
    }
    let mut panels: IndexMap<String, Panel> = IndexMap::new();
    for ((method, bits), points) in &families {
        // The point from which most others are one step away; of several the first.
        let neighbours = neighbours(points);
        let most = neighbours.iter().enumerate().rev().max_by_key(|(_, count)| **count);
        let Some((reference, _)) = most.filter(|(_, count)| **count > 0) else { continue };
        let (base, from) = &points[reference];
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
