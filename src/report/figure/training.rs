//! Training curves and what a run costs.

use super::accuracy::{bits_name, widths};
use super::chart::{Chart, Line, Panel, Spot};
use super::{Drawing, Figure, Group, Source};
use crate::Result;
use crate::record::{Metric, RunRecord};
use crate::report::statistics::Summary;
use crate::report::tables::WorkingPoint;
use indexmap::IndexMap;

pub(super) static CURVES: Figure = Figure {
    name: "training_curves",
    about: "validation accuracy over epochs at one working point per method and bit width: the smallest file with at \
            most one point lost, else the most accurate, chosen as in the main table; bars: standard deviation over seeds",
    draw: Source::Records(curves),
};

pub(super) static COST: Figure = Figure {
    name: "time_and_memory",
    about: "wall time per training epoch (without training: per run) against peak memory of the process: \
            medians over the runs of a method on the machine that made most of them, whatever else it did",
    draw: Source::Records(cost),
};

fn summary_spot(x: f64, values: &[f64], label: &str) -> Option<Spot> {
    let summary = Summary::of(values)?;
    Some(Spot {
        x,
        x_deviation: 0.0,
        y: summary.mean,
        y_deviation: summary.std.unwrap_or(0.0),
        label: label.into(),
        seeds: values.len(),
    })
}

/// The working point that stands for a method at one bit width.
fn representative<'a>(group: &Group<'_>, points: &[&'a WorkingPoint]) -> Option<&'a WorkingPoint> {
    group.choice.smallest_within(points, 1.0).or_else(|| group.choice.most_accurate(points))
}

fn curves(group: &Group<'_>) -> Result<Option<Drawing>> {
    let mut panels = Vec::new();
    for bits in widths(&group.points) {
        let mut methods: IndexMap<&str, Vec<&WorkingPoint>> = IndexMap::new();
        for point in group.points.iter().filter(|point| point.bits == bits) {
            methods.entry(&point.method).or_default().push(point);
        }
        let mut lines = Vec::new();
        for (method, points) in methods {
            let Some(point) = representative(group, &points) else { continue };
            let runs: Vec<&RunRecord> = group.runs(point).collect();
            let last = runs.iter().flat_map(|r| &r.epochs).map(|epoch| epoch.epoch).max().unwrap_or(0);
            let at = |number: usize| {
                let epochs = runs.iter().flat_map(|r| &r.epochs).filter(move |epoch| epoch.epoch == number);
                epochs.filter_map(|epoch| epoch.validation_value()).collect::<Vec<f64>>()
            };
            let spots: Vec<Spot> =
                (1..=last).filter_map(|n| summary_spot(n as f64, &at(n), &point.label)).collect();
            if spots.len() > 1 {
                lines.push(Line {
                    name: group.name(method),
                    style: group.style(method),
                    spots,
                    joined: true,
                });
            }
        }
        panels.push(Panel::new(bits_name(bits), lines));
    }
    Chart {
        title: &group.title,
        style: group.layout,
        x_label: "epoch",
        y_label: &match group.metric() {
            Metric::Top1 => "validation accuracy, %".to_owned(),
            other => format!("validation {}, %", other.name()),
        },
        panels,
        baseline: "",
        backdrop: "",
        logarithmic: false,
        floor: None,
        columns: ["epoch", &format!("validation_{}_percent", group.metric().key())],
    }
    .draw()
}

/// Mean time of the training epochs, or of the whole run where nothing is trained.
fn seconds(record: &RunRecord) -> f64 {
    crate::report::tables::seconds_per_epoch(record).unwrap_or(record.seconds)
}

/// The middle one of the finite values, the mean of the two in the middle where their number is even.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((low + high) / 2.0)
}

fn cost(group: &Group<'_>) -> Result<Option<Drawing>> {
    let mut methods: IndexMap<&str, Vec<&RunRecord>> = IndexMap::new();
    // Times of two machines have nothing to do with each other: the one with the most runs is shown.
    let mut machines: IndexMap<(&str, &str, &str, usize), usize> = IndexMap::new();
    let machine = |record: &'_ &RunRecord| {
        let p = &record.provenance;
        (p.host.clone(), p.cpu.clone(), p.device.clone(), p.threads)
    };
    for record in &group.records {
        let p = &record.provenance;
        *machines.entry((&p.host, &p.cpu, &p.device, p.threads)).or_default() += 1;
    }
    let most = machines.iter().rev().max_by_key(|(_, runs)| **runs);
    let most = most.map(|((host, cpu, device, threads), _)| {
        ((*host).to_owned(), (*cpu).to_owned(), (*device).to_owned(), *threads)
    });
    for record in group.records.iter().filter(|record| Some(machine(record)) == most) {
        methods.entry(&record.method).or_default().push(record);
    }
    let mut lines = Vec::new();
    for (method, records) in methods {
        let time = median(records.iter().map(|record| seconds(record)).collect());
        let memory = median(records.iter().filter_map(|r| r.peak_memory).map(|m| m as f64 / 1e6).collect());
        if let (Some(time), Some(memory)) = (time, memory) {
            let spots = vec![Spot::plain(time, memory, method.into())];
            lines.push(Line { name: group.name(method), style: group.style(method), spots, joined: false });
        }
    }
    Chart {
        title: &group.title,
        style: group.layout,
        x_label: "wall time of an epoch, s",
        y_label: "peak memory, MB",
        panels: vec![Panel::new("", lines)],
        baseline: "",
        backdrop: "",
        logarithmic: false,
        floor: None,
        columns: ["seconds_per_epoch", "peak_megabytes"],
    }
    .draw()
}
