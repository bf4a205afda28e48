//! Comparisons, trade-offs and working points, on records whose statistics can be worked out by hand.

use super::{Markdown, compared, methods, points, record, records, text};
use crate::record::{Metric, Metrics, Outcome, RunRecord, Score};
use crate::report::choice::ChooseOn;
use crate::report::export::Exporter as _;
use crate::report::statistics::{Comparison, at_equal, compare, hypervolumes};
use crate::report::tables::{comparison, nothing_compared, raw, variants_table};
use serde_json::{Value, json};

/// What the command line chooses by default.
const ON: ChooseOn = ChooseOn::Validation;

/// Differences at equal size, their interval and the verdict; broken networks do not count. Fewer than five seeds suggest
/// at most.
#[test]
fn paired_difference_and_verdict() {
    let overall = |records: &[RunRecord]| {
        let all = compared(records);
        all.into_iter().find(|c| c.bits.is_none() && c.other == "ecq").unwrap()
    };
    let three = overall(&records(3));
    assert_eq!(three.seeds, 3);
    assert!((three.difference.unwrap() - 0.6).abs() < 1e-9);
    assert_eq!(
        three.verdict(),
        "The runs suggest that ECQx is more accurate than ECQ at equal size (+0.60 pp, 95 % interval +0.10 … +1.10, 3 \
         seeds)."
    );
    let five = overall(&records(5));
    assert_eq!(
        five.verdict(),
        "At equal size ECQx is more accurate than ECQ (+0.80 pp, 95 % interval +0.41 … +1.19, 5 seeds)."
    );
    // Seed by seed 0.4, 0.6 and 0.8 points are as many octaves: a point of accuracy is one.
    let ratio = three.size_ratio.unwrap();
    assert!((ratio - 2f64.powf(-0.6)).abs() < 1e-9, "{ratio}");
    let size = three.size_verdict().unwrap();
    assert!(
        size.starts_with(
            "The runs suggest that at equal accuracy the files of ECQx are 34.0 % smaller than those of ECQ ("
        ) || size
            .starts_with("No difference in size between ECQx and ECQ at equal accuracy is shown (ratio 0.66"),
        "{size}"
    );
    assert!(
        overall(&records(1))
            .size_verdict()
            .unwrap()
            .starts_with("One seed: at equal accuracy the files of ECQx are")
    );
    // Two seeds of one sign show nothing.
    assert!(
        overall(&records(2))
            .verdict()
            .starts_with("No difference between ECQx and ECQ at equal size is shown")
    );
    // What two seeds cannot bound is said in words: no interval whose ends are no use.
    let unbounded = Comparison { size_seeds: 2, size_interval: None, ..overall(&records(3)) };
    assert_eq!(
        unbounded.size_verdict().unwrap(),
        "No difference in size between ECQx and ECQ at equal accuracy is shown: the 2 seeds do not bound the ratio within a \
         factor of 4."
    );
    let wide = Comparison { seeds: 2, interval: Some((-20.0, 21.2)), ..overall(&records(3)) };
    assert_eq!(
        wide.verdict(),
        "No difference between ECQx and ECQ at equal size is shown (+0.60 pp): the 2 seeds do not bound it within 5 pp."
    );
    // With one seed there is no interval, and the sentence says so.
    let single = overall(&records(1));
    assert_eq!(single.interval, None);
    assert_eq!(
        single.verdict(),
        "One seed: ECQx is 0.40 pp more accurate than ECQ at equal size; without an interval this is no evidence."
    );
}

/// Without a common range of sizes there is neither a difference nor a ratio of sizes, though the accuracies overlap.
#[test]
fn nothing_to_compare_has_no_ratio() {
    let mut records = Vec::new();
    for seed in 1..=3 {
        for (lambda, top1, file) in [(0.0, 90.0, 100_000), (0.1, 89.0, 50_000)] {
            records.push(record("ecq", 4, lambda, seed, top1, file));
            records.push(record("ecqx", 4, lambda, seed, top1, file / 10));
        }
    }
    let compared = compared(&records);
    assert!(
        compared
            .iter()
            .all(|c| c.difference.is_none() && c.size_ratio.is_none() && c.size_interval.is_none())
    );
    assert_eq!(
        compared[0].verdict(),
        "ECQx and ECQ have no common range of sizes with at most 5 points lost: nothing to compare."
    );
}

/// A front over several settings of one method chooses the best of them: the verdict says from how many.
#[test]
fn verdict_names_unequal_choice() {
    let mut records = records(3);
    for seed in 1..=3 {
        let mut variant = record("ecqx", 4, 0.1, seed, 89.5, 50_000);
        variant.spec["quantizer"]["parameters"]["band"] = json!("above");
        records.push(variant);
    }
    let compared = compared(&records);
    let overall = compared.iter().find(|c| c.bits.is_none() && c.other == "ecq").unwrap();
    assert!(
        overall.verdict().contains("chosen from 2 settings of ECQx and 1 of ECQ"),
        "{}",
        overall.verdict()
    );
}

/// Any method can be the one that the others are compared with; without a run of it there is no comparison, and the note
/// says how to choose one.
#[test]
fn the_reference_can_be_chosen() {
    let records = records(3);
    let all = points(&records);
    let ecq = methods().with_reference("ecq", &records).unwrap();
    let rows = compare(&all, &ecq, ON);
    assert!((rows[0].difference.unwrap() + 0.6).abs() < 1e-9);
    assert!(rows[0].verdict().starts_with("The runs suggest that ECQ is less accurate than ECQx"));
    let lsq = methods().with_reference("lsq", &records).unwrap();
    let rows = compare(&all, &lsq, ON);
    assert!(rows.is_empty());
    let note = nothing_compared(&rows, &lsq, &["ecq", "ecqx"]).unwrap();
    assert_eq!(
        note,
        "No comparison: there is no run of LSQ. '--reference-method NAME' chooses one of ecq, ecqx."
    );
    let table = comparison(&rows, &lsq, ON, Some(&note)).unwrap();
    let markdown = text(Markdown.export(&table).unwrap());
    assert!(markdown.starts_with("LSQ against the other methods") && markdown.contains("--reference-method"));
}

/// An unset and an explicit default are one working point, whatever the record's label says, and a run that an earlier
/// schema has under two ids counts once. Other data are another working point.
#[test]
fn equal_settings_are_one_working_point() {
    let with = |parameters: Value, seed: u64, digest: &str, dataset: Value| {
        let mut record = record("ecqx", 4, 0.05, seed, 90.0, 50_000);
        record.schema = 1;
        record.spec = json!({
            "dataset": dataset, "model": {"name": "resnet20"}, "seed": seed, "baseline": {"checkpoint": "x.pt"},
            "training": {"epochs": 1}, "quantizer": {"method": "ecqx", "bits": 4, "parameters": parameters},
        });
        record.label = format!("ecqx 4 bit {parameters}");
        record.id = format!("{parameters} {seed} {digest} {dataset}");
        record.provenance.dataset_digest = digest.into();
        record
    };
    let (short, long) = (json!({}), json!({"lambda": 0.05, "p": 0.1, "band": "below"}));
    let cifar = json!({"name": "cifar10"});
    let records = [
        with(short.clone(), 1, "d", cifar.clone()),
        with(long.clone(), 1, "d", cifar.clone()),
        // The digest stands for the settings of the data set.
        with(long.clone(), 2, "d", json!({"name": "cifar10", "normalization": "dataset"})),
        with(short, 1, "other", cifar.clone()),
        with(json!({"p": 0.2}), 1, "d", cifar),
    ];
    let points = points(&records);
    assert_eq!(points.iter().map(|p| p.score.n).collect::<Vec<_>>(), [2, 1, 1]);
    assert_eq!(points[0].label, records[0].label);
    assert_eq!((points[0].lambda(), points[2].p()), (Some(0.05), Some(0.2)));
    let table = raw(&records, &methods()).unwrap();
    let configurations = table.frame.column("configuration").unwrap().str().unwrap().clone();
    assert_eq!(configurations.get(0), configurations.get(1));
    assert_ne!(configurations.get(0), configurations.get(3));
    let parameters = table.frame.column("parameters").unwrap().str().unwrap().clone();
    assert_eq!(parameters.get(0), Some(r#"{"lambda":0.05,"p":0.1}"#), "as the record has them");
}

/// Hypervolume: share of ln(size) from 10 kB to 1 MB times accuracy from 85 to 100 %.
#[test]
fn hypervolume_by_hand() {
    let rows = hypervolumes(&points(&records(1)), &methods(), ON);
    let ecq = rows.iter().find(|row| row.method == "ecq").unwrap();
    // 5 points from 100 kB on (half of the two decades), 4 points from 50 to 100 kB.
    let expected = (10f64.ln() * 5.0 + 2f64.ln() * 4.0) / (100f64.ln() * 15.0);
    assert!((ecq.value - expected).abs() < 1e-9, "{} {expected}", ecq.value);
    assert_eq!(ecq.interval, None);
}

/// Interpolation between 50 kB and 100 kB in log size; nothing beyond a front's ends, nor in the gap from 50 kB to the
/// collapsed network of 10 kB.
#[test]
fn at_equal_size_and_accuracy() {
    let rows = at_equal(&points(&records(3)), &methods(), ON);
    let find = |place: &str, method: &str| rows.iter().find(|r| r.place == place && r.method == method);
    let expected = 89.0 + (1e6f64 / 15.0 / 50_000.0).ln() / 2f64.ln();
    assert!((find("15 times smaller", "ecq").unwrap().value - expected).abs() < 1e-9);
    assert!((find("15 times smaller", "ecqx").unwrap().value - expected - 0.6).abs() < 1e-9);
    assert!((find("20 times smaller", "ecq").unwrap().value - 89.0).abs() < 1e-9);
    for place in ["8 times smaller", "30 times smaller", "60 times smaller"] {
        assert!(find(place, "ecq").is_none(), "{place}");
    }
    let half = find("0.5 points lost", "ecq").unwrap();
    assert!(half.is_size && (half.value - 50_000.0 * 2f64.sqrt()).abs() < 1e-6);
}

/// What lies between two settings of which one is more than twice as large as the other does not count in a comparison:
/// the settings themselves do.
#[test]
fn nothing_is_compared_in_a_gap() {
    let mut records = Vec::new();
    for (lambda, top1, file, better) in
        [(0.0, 90.0, 100_000, 0.0), (0.1, 89.0, 50_000, 0.0), (0.2, 86.0, 22_000, 1.0)]
    {
        records.push(record("ecq", 4, lambda, 1, top1, file));
        records.push(record("ecqx", 4, lambda, 1, top1 + better, file));
    }
    let all = compared(&records);
    let overall = all.into_iter().find(|c| c.bits.is_none() && c.other == "ecq").unwrap();
    // Of 21 places from 22 to 100 kB, even in log size, ten lie above 50 kB and one on 22 kB, where one point is gained.
    assert!((overall.difference.unwrap() - 1.0 / 11.0).abs() < 1e-9, "{:?}", overall.difference);
    // From 89 % on both have the same sizes; of the accuracies below, one leads to sizes within 5 % of 50 kB.
    assert!((overall.size_ratio.unwrap() - 1.0).abs() < 2e-3, "{:?}", overall.size_ratio);
}

/// A size that the seeds leave open by more than a factor of four has no interval.
#[test]
fn unbounded_sizes_have_no_interval() {
    let interval = |spread: f64| {
        let mut records = Vec::new();
        for (seed, shift) in [(1, -1.0), (2, 0.0), (3, 1.0)] {
            for (lambda, top1, file) in
                [(0.0, 90.5, 100_000), (0.1, 88.5, 50_000), (0.2, 86.5, 25_000), (0.3, 84.5, 12_500)]
            {
                records.push(record("ecq", 4, lambda, seed, top1 + spread * shift, file));
            }
        }
        let rows = at_equal(&points(&records), &methods(), ON);
        rows.into_iter().find(|row| row.place == "2 points lost").unwrap().interval
    };
    // A shift of the accuracies by x moves the size by the factor 2^(x/2); 4.3 standard errors reach 2.48 x.
    let (low, high) = interval(0.2).unwrap();
    let factor = 2f64.powf(0.2 / 2.0 * 4.302_653 / 3f64.sqrt());
    let middle = 25_000.0 * 2f64.powf(0.75);
    assert!((low * factor / middle - 1.0).abs() < 1e-6 && (high / factor / middle - 1.0).abs() < 1e-6);
    // Factors of 3.6 and 4.3.
    assert!(interval(1.5).is_some());
    assert_eq!(interval(1.7), None);
}

/// Which settings a curve runs through is decided on validation: one that is best on test alone is not on it, unless test
/// is asked to choose.
#[test]
fn fronts_are_chosen_on_validation() {
    let mut records = Vec::new();
    for method in ["ecq", "ecqx"] {
        // The middle one shines on test and is the worst on validation.
        for (lambda, top1, validation, file) in
            [(0.0, 90.0, 90.0, 100_000), (0.1, 95.0, 87.0, 67_000), (0.2, 89.0, 89.0, 50_000)]
        {
            for seed in 1..=2 {
                let mut record = record(method, 4, lambda, seed, top1, file);
                let Outcome::Done(measured) = &mut record.outcome else { panic!("it is done") };
                measured.validation =
                    Some(Metrics { score: Score::of(Metric::Top1, validation), ..measured.test.clone() });
                records.push(record);
            }
        }
    }
    let at = |on| {
        let rows = at_equal(&points(&records), &methods(), on);
        rows.into_iter().find(|row| row.place == "15 times smaller" && row.method == "ecq").unwrap().value
    };
    let expected = 89.0 + (1e6f64 / 15.0 / 50_000.0).ln() / 2f64.ln();
    assert!((at(ChooseOn::Validation) - expected).abs() < 1e-9);
    assert!(at(ChooseOn::Test) > 94.0);
}

/// Each value is compared with the first that differs in nothing else: at the same strength, over the seeds that both have.
#[test]
fn variants_differ_in_one_setting() {
    let mut records = Vec::new();
    for (lambda, p, score) in [(0.1, 0.1, 80.0), (0.1, 0.2, 81.0), (0.2, 0.1, 70.0), (0.2, 0.2, 70.5)] {
        for seed in [1, 2, 3] {
            let bytes = if p > 0.15 { 2_000 } else { 1_000 };
            let mut record = record("ecqx", 4, lambda, seed, score + seed as f64 / 10.0, bytes);
            record.id = format!("{lambda}-{p}-{seed}");
            record.label = format!("Λ={lambda} p={p}");
            record.parameters.insert("p".into(), json!(p));
            record.spec["quantizer"]["parameters"]["p"] = json!(p);
            records.push(record);
        }
    }
    records.retain(|record| record.id != "0.2-0.2-3");
    let points = points(&records);
    assert!(variants_table(&points[..1], &methods()).unwrap().is_none());
    let frame = variants_table(&points, &methods()).unwrap().unwrap().frame;
    let texts = |name: &str| -> Vec<String> {
        frame.column(name).unwrap().str().unwrap().iter().flatten().map(str::to_owned).collect()
    };
    assert_eq!(texts("label"), ["Λ=0.1 p=0.2", "Λ=0.2 p=0.2"]);
    assert_eq!((texts("parameter"), texts("value")), (vec!["p".to_owned(); 2], vec!["0.2".to_owned(); 2]));
    assert_eq!(texts("against"), ["0.1", "0.1"]);
    let numbers =
        |name: &str| -> Vec<f64> { frame.column(name).unwrap().f64().unwrap().iter().flatten().collect() };
    let near = |name: &str, expected: [f64; 2]| {
        let found = numbers(name);
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{name}: {found:?}");
    };
    near("difference_points", [1.0, 0.5]);
    near("size_ratio", [2.0, 2.0]);
    near("low_points", [1.0, 0.5]);
    let seeds: Vec<u64> = frame.column("seeds").unwrap().u64().unwrap().iter().flatten().collect();
    assert_eq!(seeds, [3, 2]);
}

/// A parameter that resolved settings leave out at its default is a setting, and a criterion that brings a relevance
/// measure with it is one change, not two.
#[test]
fn left_out_defaults_are_settings() {
    let of = |criterion: Option<&str>, seed: u64, score: f64| {
        let mut record = record("magnitude", 4, 0.1, seed, score, 1_000);
        let mut parameters = json!({"sparsity": 0.8});
        if let Some(criterion) = criterion {
            parameters["criterion"] = json!(criterion);
            record.spec["quantizer"]["relevance"] = json!({criterion: {"start": "logit"}});
        }
        record.id = format!("{criterion:?}-{seed}");
        record.spec["quantizer"]["parameters"] = parameters.clone();
        record.parameters = parameters.as_object().unwrap().clone();
        record
    };
    let records: Vec<RunRecord> =
        [1, 2].into_iter().flat_map(|seed| [of(None, seed, 80.0), of(Some("lrp"), seed, 70.0)]).collect();
    let frame = variants_table(&points(&records), &methods()).unwrap().unwrap().frame;
    let row: Vec<String> = ["parameter", "value", "against"]
        .map(|name| frame.column(name).unwrap().str().unwrap().get(0).unwrap().to_owned())
        .into();
    assert_eq!((row, frame.height()), (vec!["criterion".into(), "lrp".into(), "magnitude".to_owned()], 1));
}

/// A parameter of the method that has the preset's value in one point and another in the other is a difference even where
/// the relevance measures differ, whose options are none.
#[test]
fn another_measure_hides_no_parameter() {
    let of = |(label, relevance_of, measure): (&str, &str, &str), seed: u64| {
        let mut record = record("ecqx", 4, 0.1, seed, 80.0, 1_000);
        let parameters = json!({"lambda": 0.1, "p": 0.1, "relevance_of": relevance_of});
        record.id = format!("{label}-{seed}");
        record.label = label.into();
        record.spec["quantizer"]["parameters"] = parameters.clone();
        record.spec["quantizer"]["relevance"] = json!({measure: {}});
        record.parameters = parameters.as_object().unwrap().clone();
        record
    };
    let settings =
        [("first", "quantized", "lrp"), ("second", "quantized", "magnitude"), ("third", "background", "lrp")];
    let records: Vec<RunRecord> =
        settings.into_iter().flat_map(|one| [1, 2].map(|seed| of(one, seed))).collect();
    let frame = variants_table(&points(&records), &methods()).unwrap().unwrap().frame;
    let texts = |name: &str| -> Vec<String> {
        frame.column(name).unwrap().str().unwrap().iter().flatten().map(str::to_owned).collect()
    };
    assert_eq!(texts("label"), ["second", "third"]);
    assert_eq!(texts("parameter"), ["relevance", "relevance_of"]);
    assert_eq!(texts("against"), ["lrp", "quantized"]);
}
