//! Tables, captions and verdicts of tasks that are scored by another metric than top-1, alone and beside it.

use super::{compared, methods, points, record, text};
use crate::record::{Metric, Metrics, Outcome, RunRecord, Score};
use crate::report::choice::{ChooseOn, Rule};
use crate::report::export::{Exporter, Wide};
use crate::report::tables::by_metric;
use crate::report::tables::{Table, from_raw, main_table, operating_points, raw, working_points_table};

/// The run as one of a task of several labels, with the same numbers.
fn labelled(mut record: RunRecord) -> RunRecord {
    let change = |metrics: &mut Metrics| {
        metrics.score = Score::Labels { map: metrics.value(), map11: metrics.value() - 2.0 };
    };
    record.dataset = "voc2012 (multi-label)".into();
    record.id = record.id.replacen('0', "f", 1);
    record.baseline.iter_mut().for_each(change);
    if let Outcome::Done(measured) = &mut record.outcome {
        change(&mut measured.test);
        measured.validation.iter_mut().for_each(change);
    }
    record
}

fn runs() -> Vec<RunRecord> {
    let mut runs = Vec::new();
    for seed in 1..=3 {
        for (lambda, score, file) in [(0.0, 80.0, 100_000), (0.1, 79.0, 50_000)] {
            runs.push(record("ecq", 4, lambda, seed, score, file));
            runs.push(record("ecqx", 4, lambda, seed, score + 0.1 * seed as f64, file));
        }
    }
    runs
}

fn names(table: &Table) -> Vec<String> {
    table.frame.columns().iter().map(|column| column.name().to_string()).collect()
}

fn numbers(table: &Table, column: &str) -> Vec<Option<f64>> {
    table.frame.column(column).unwrap().f64().unwrap().iter().collect()
}

/// Tables of top-1 stay as they are; those of mean average precision have the same numbers under its name, in columns,
/// intervals, captions and verdicts.
#[test]
fn tables_follow_the_metric() {
    let plain = runs();
    let labels: Vec<RunRecord> = plain.iter().cloned().map(labelled).collect();
    let tables = |records: &[RunRecord]| {
        let (points, methods) = (points(records), methods());
        let metrics = by_metric::Metrics::of(records);
        let made = [
            working_points_table(&points).unwrap(),
            main_table(&points, ChooseOn::Validation).unwrap(),
            operating_points(&points, &methods, ChooseOn::Validation, Rule::default()).unwrap(),
            raw(records, &methods).unwrap(),
        ];
        made.map(|table| (table.clone(), metrics.apply(table).unwrap()))
    };
    for (before, after) in tables(&plain) {
        assert!(before.frame.equals_missing(&after.frame) && before.note == after.note);
    }
    for ((_, of_classes), (_, of_labels)) in tables(&plain).into_iter().zip(tables(&labels)) {
        let expected: Vec<String> =
            names(&of_classes).iter().map(|name| name.replace("top1", "map")).collect();
        let found: Vec<String> =
            names(&of_labels).into_iter().filter(|name| name != "map11_percent").collect();
        assert_eq!(found, expected);
        assert_eq!(numbers(&of_classes, "top1_percent"), numbers(&of_labels, "map_percent"));
        // Some are of numbers that the table does not show; their order means nothing.
        let intervals = |table: &Table| -> std::collections::BTreeSet<String> {
            table.intervals.iter().map(|(name, _)| name.replace("top1", "map")).collect()
        };
        assert_eq!(intervals(&of_classes), intervals(&of_labels));
        let words = format!("{} {}", of_labels.title, of_labels.note);
        assert!(!words.contains("accuracy") && !words.contains("Top-1"), "{words}");
    }
    let [_, _, (_, paper), _] = tables(&labels);
    let latex = text(Wide.export(&paper).unwrap());
    assert!(latex.contains("Mean average precision on the test split"), "{latex}");
    assert!(latex.contains("Mean average precision, \\%") && !latex.contains("Top-1"), "{latex}");
    assert!(latex.contains("$\\pm$"), "{latex}");
    let verdicts: Vec<String> = compared(&labels).iter().map(|comparison| comparison.verdict()).collect();
    assert!(verdicts.iter().all(|verdict| !verdict.contains("accura")), "{verdicts:?}");
}

/// Of several tasks each row has its number under its own metric's name, and a raw table gives the records' scores back.
#[test]
fn several_tasks_in_one_report() {
    let mut all = runs();
    all.extend(runs().into_iter().map(labelled));
    let metrics = by_metric::Metrics::of(&all);
    let table = metrics.apply(working_points_table(&points(&all)).unwrap()).unwrap();
    let (classes, labels) = (numbers(&table, "top1_percent"), numbers(&table, "map_percent"));
    assert_eq!((classes.iter().flatten().count(), labels.iter().flatten().count()), (4, 4));
    assert!(classes.iter().zip(&labels).all(|(class, label)| class.is_some() != label.is_some()));
    let raw = metrics.apply(raw(&all, &methods()).unwrap()).unwrap();
    let again = from_raw(&raw.frame).unwrap();
    for (before, after) in all.iter().zip(&again) {
        let score = |record: &RunRecord| record.test().unwrap().score;
        assert_eq!(score(before), score(after));
        let values = |record: &RunRecord| {
            let of = |metrics: Option<&Metrics>| metrics.map(|metrics| (metrics.metric(), metrics.value()));
            [of(record.validation()), of(record.baseline.as_ref())]
        };
        assert_eq!(values(before), values(after));
    }
    let only: Vec<Metric> = again.iter().map(|record| record.test().unwrap().metric()).collect();
    assert!(only.contains(&Metric::Top1) && only.contains(&Metric::Map));
}
