//! Training curves and what a run costs.

use super::accuracy::line_name;
use super::chart::{Chart, Line, Spot};
use super::{Drawing, Figure, Group};
use crate::Result;
use crate::report::statistics::Summary;
use crate::run::RunRecord;
use indexmap::IndexMap;

pub(super) const CURVES: Figure = Figure {
    name: "training_curves",
    about: "accuracy on the validation split over epochs, mean over the runs of a method and bit width",
    draw: curves,
};

pub(super) const COST: Figure = Figure {
    name: "time_and_memory",
    about: "wall time of a run against peak memory of its process, one mark per method and bit width",
    draw: cost,
};

fn by_line<'a>(group: &Group<'a>) -> IndexMap<String, Vec<&'a RunRecord>> {
    let mut lines: IndexMap<String, Vec<&RunRecord>> = IndexMap::new();
    for record in &group.records {
        lines.entry(line_name(&record.method, record.bits)).or_default().push(record);
    }
    lines
}

fn spot(x: f64, values: &[f64], label: &str) -> Option<Spot> {
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

fn curves(group: &Group<'_>) -> Result<Option<Drawing>> {
    let mut lines = Vec::new();
    for (name, records) in by_line(group) {
        let last = records.iter().flat_map(|r| &r.epochs).map(|epoch| epoch.epoch).max().unwrap_or(0);
        let at = |number: usize| {
            let epochs = records.iter().flat_map(|r| &r.epochs).filter(move |epoch| epoch.epoch == number);
            epochs.filter_map(|epoch| epoch.validation_top1).collect::<Vec<f64>>()
        };
        let spots: Vec<Spot> = (1..=last).filter_map(|n| spot(n as f64, &at(n), &name)).collect();
        if spots.len() > 1 {
            lines.push(Line { name, spots });
        }
    }
    Chart {
        title: &group.title,
        x_label: "epoch",
        y_label: "validation accuracy, %",
        lines,
        baseline: None,
        backdrop: None,
        columns: ["epoch", "validation_top1_percent"],
    }
    .draw()
}

fn cost(group: &Group<'_>) -> Result<Option<Drawing>> {
    let mut lines = Vec::new();
    for (name, records) in by_line(group) {
        let seconds = Summary::of(&records.iter().map(|r| r.seconds).collect::<Vec<_>>());
        let memory: Vec<f64> = records.iter().filter_map(|r| r.peak_memory).map(|m| m as f64 / 1e6).collect();
        if let (Some(seconds), Some(mut spot)) = (seconds, spot(0.0, &memory, &name)) {
            (spot.x, spot.x_deviation) = (seconds.mean, seconds.std.unwrap_or(0.0));
            lines.push(Line { name, spots: vec![spot] });
        }
    }
    Chart {
        title: &group.title,
        x_label: "wall time of a run, s",
        y_label: "peak memory of the process, MB",
        lines,
        baseline: None,
        backdrop: None,
        columns: ["seconds", "peak_megabytes"],
    }
    .draw()
}
