//! Ablations as dots: what changing one setting does, all others as in the reference point.

use super::dot_plot::{Dot, DotPlot, Section};
use super::style::Style;
use super::{Drawing, Figure, Group, Source};
use crate::Result;
use crate::report::tables::WorkingPoint;
use crate::report::variants::{SettingKey, Settings, difference, settings, value};
use indexmap::IndexMap;
use rayon::prelude::*;
use std::collections::{BTreeSet, HashMap};

pub(super) static ABLATIONS: Figure = Figure {
    name: "ablations",
    about: "top-1 accuracy when one setting changes, a section per setting; dotted: the unchanged setting; bars: standard deviation over seeds. \
            Accuracy alone: sizes are in the table of working points",
    draw: Source::Records(draw),
};

/// Working points of one method at one bit width.
type Families<'a> = IndexMap<(&'a str, Option<u32>), Vec<(&'a WorkingPoint, Settings)>>;

/// From how many others each point differs in one setting that is none of `strengths`: [`difference`] of all pairs, with
/// numbers in place of texts, because there are many.
fn neighbours(points: &[(&WorkingPoint, Settings)], strengths: &[&str]) -> Vec<usize> {
    let keys: BTreeSet<&SettingKey> = points.iter().flat_map(|(_, settings)| settings.keys()).collect();
    let keys: Vec<&SettingKey> = keys.into_iter().collect();
    let mut known: HashMap<&String, u32> = HashMap::new();
    // 0: the point does not have the setting.
    let mut numbers: Vec<Vec<u32>> = Vec::with_capacity(points.len());
    for (_, settings) in points {
        let number = |key: &&SettingKey| {
            settings.get(*key).map_or(0, |value| {
                let next = known.len() as u32 + 1;
                *known.entry(value).or_insert(next)
            })
        };
        numbers.push(keys.iter().map(number).collect());
    }
    let measure = keys.iter().position(|key| **key == SettingKey::measure());
    let strength: Vec<bool> = keys.iter().map(|key| strengths.contains(&key.name.as_ref())).collect();
    let one_step = |a: &[u32], b: &[u32]| {
        let measure_differs = measure.is_some_and(|at| a[at] != b[at]);
        let mut differing = (0..a.len())
            .filter(|&at| a[at] != b[at] && keys[at].separates(measure_differs, a[at] != 0 && b[at] != 0));
        differing.next().is_some_and(|at| !strength[at]) && differing.next().is_none()
    };
    numbers.par_iter().map(|a| numbers.iter().filter(|b| one_step(a, b)).count()).collect()
}

fn draw(group: &Group<'_>) -> Result<Option<Drawing>> {
    let mut families = Families::new();
    for point in &group.points {
        families
            .entry((&point.method, point.bits))
            .or_default()
            .push((point, settings(point, group.methods)));
    }
    let mut sections: IndexMap<String, Section> = IndexMap::new();
    for ((method, bits), points) in &families {
        // The point from which most others are one step away; of several the first.
        let strengths = group.methods.strengths(method);
        let neighbours = neighbours(points, &strengths);
        let most = neighbours.iter().enumerate().rev().max_by_key(|(_, count)| **count);
        let Some((reference, _)) = most.filter(|(_, count)| **count > 0) else { continue };
        let (base, from) = &points[reference];
        let mut values: IndexMap<&str, Vec<(String, &WorkingPoint)>> = IndexMap::new();
        for (point, to) in points {
            let differs = difference(from, to).filter(|key| !strengths.contains(&key.name.as_ref()));
            if let Some(key) = differs {
                let list = values.entry(&key.name).or_insert_with(|| vec![(value(base, from, key), *base)]);
                list.push((value(point, to, key), point));
            }
        }
        for (key, mut list) in values {
            list.sort_by(|(a, _), (b, _)| match (a.parse::<f64>(), b.parse::<f64>()) {
                (Ok(a), Ok(b)) => a.total_cmp(&b),
                _ => std::cmp::Ordering::Equal,
            });
            let method = group.methods.display(method);
            let title = match bits {
                Some(bits) => format!("{key} ({method}, {bits} bit)"),
                None => format!("{key} ({method})"),
            };
            let dots = list
                .into_iter()
                .map(|(name, point)| {
                    let (mean, std) = (point.score.mean, point.score.std);
                    Dot {
                        label: short_name(&name),
                        detail: point.label.clone(),
                        value: mean,
                        bar: std.map(|std| (mean - std, mean + std)),
                        seeds: point.score.n,
                        kind: usize::from(point.configuration != base.configuration),
                    }
                })
                .collect();
            sections.insert(title.clone(), Section { title, dots, line: Some(base.score.mean) });
        }
    }
    DotPlot {
        title: &group.title,
        style: group.layout,
        x_label: &format!("{}, %", group.metric().long_name()),
        sections: sections.into_values().collect(),
        kinds: vec![("as in the other sections", Style::nth(0)), ("changed", Style::nth(1))],
        range: None,
        column: &format!("{}_percent", group.metric().key()),
    }
    .draw()
}

/// Long names of composites, cut to what fits below a plot.
fn short_name(name: &str) -> String {
    name.replace("epsilon", "ε").replace("gamma", "γ").replace("alpha", "α").replace("beta", "β")
}
