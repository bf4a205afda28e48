//! Golden and structural tests of reports, on records whose statistics can be worked out by hand.

use super::archive;
use super::choice::{Choice, ChooseOn};
use super::export::{Exporter as _, Latex, Markdown};
use super::figure::{FIGURES, Figure, Group, Source, pdf, png};
use super::methods::Methods;
use super::records::finished;
use super::statistics::{at_equal, compare, hypervolumes};
use super::tables::{WorkingPoint, main_table, published, raw, working_points};
use crate::record::{Metrics, Outcome, RunRecord};
use serde_json::{Value, json};

fn methods() -> Methods {
    Methods::new(&crate::Registry::builtin())
}

fn points(records: &[RunRecord]) -> Vec<WorkingPoint> {
    working_points(records, &methods())
}

fn compared(records: &[RunRecord]) -> Vec<super::statistics::Comparison> {
    compare(&points(records), &methods())
}

/// One finished run of a network of 1,000,000 bytes at full precision that reaches 90 %.
fn record(method: &str, bits: u32, lambda: f64, seed: u64, top1: f64, file: usize) -> RunRecord {
    let zeros = 20 + (lambda * 100.0) as usize;
    let layer = |index: usize| {
        json!({"name": format!("fc{index}.weight"), "shape": [10, 10], "weights": 100, "zeros": zeros + index,
               "levels_in_use": 4, "entropy": 1.5 + index as f64 / 10.0, "step": 0.1, "bytes": 40})
    };
    let epoch = |number: usize| {
        json!({"epoch": number, "train_loss": 1.0, "train_top1": 80.0, "validation_top1": top1 - 1.0 / number as f64,
               "validation_loss": 1.0, "sparsity": 0.2, "learning_rate": 0.001, "seconds": 2.0})
    };
    let parameters = match method {
        "ecqx" => json!({"lambda": lambda, "p": 0.1}),
        _ => json!({"lambda": lambda}),
    };
    let record = json!({
        "schema": crate::record::SCHEMA,
        "id": format!("{:032x}", u128::from(seed) + (lambda * 1000.0) as u128 * 16 + u128::from(bits) * 65536
            + method.bytes().map(u128::from).sum::<u128>() * 1_048_576),
        "experiment": "golden", "dataset": "cifar10", "model": "resnet20", "method": method,
        "label": format!("{method} {bits} bit Λ={lambda}"), "bits": bits,
        "parameters": parameters,
        "seed": seed,
        "spec": {"dataset": {"name": "cifar10"}, "quantizer": {"method": method, "bits": bits,
                 "parameters": parameters}, "seed": seed},
        "status": "done", "error": null, "warnings": [], "selection": "last epoch",
        "baseline": {"top1": 90.0, "top5": null, "loss": 0.3, "n": 1000},
        "test": {"top1": top1, "top5": 99.0, "loss": 0.4, "n": 1000},
        "validation": {"top1": top1 - 1.0, "top5": null, "loss": 0.4, "n": 500}, "sparsity": zeros as f64 / 100.0, "entropy": 1.5, "layers": [layer(1), layer(2)],
        "sizes": {"file": file, "full_precision": 1_000_000, "entropy_bound": 90_000.0,
                  "bits_times_parameters": 120_000.0, "csr": null, "zstd": null, "xz": null},
        "epochs": [epoch(1), epoch(2)], "seconds": 5.0, "peak_memory": 100_000_000u64 + file as u64,
        "provenance": {"git_revision": null, "version": "0", "rustc": "r", "features": [], "cpu": "c", "device": "cpu",
                       "threads": 2, "host": "h", "dataset_digest": "d", "baseline_digest": "b", "command": ["ecqx"],
                       "started": "2026-01-01T00:00:00Z"},
    });
    serde_json::from_value(record).expect("a record")
}

/// ECQx is 0.4, 0.6 and 0.8 points better than ECQ at every size, by seed.
fn records(seeds: u64) -> Vec<RunRecord> {
    let mut records = Vec::new();
    for seed in 1..=seeds {
        for (lambda, top1, file) in [(0.0, 90.0, 100_000), (0.1, 89.0, 50_000), (0.3, 20.0, 10_000)] {
            let better = if top1 > 80.0 { 0.2 + 0.2 * seed as f64 } else { 0.0 };
            records.push(record("ecq", 4, lambda, seed, top1, file));
            records.push(record("ecqx", 4, lambda, seed, top1 + better, file));
        }
    }
    super::records::sort(&mut records, &methods());
    records
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("UTF-8")
}

/// The main table has the issue's rows and columns for every method, in bold what lies apart from the other method's
/// interval, and a row without numbers for a choice that nothing meets.
#[test]
fn main_table_in_every_format() {
    let table = main_table(&points(&records(3)), ChooseOn::Validation).unwrap();
    let markdown = text(Markdown.export(&table).unwrap());
    let rows: Vec<&str> = markdown.lines().filter(|line| line.starts_with("| cifar10")).collect();
    // Sizes and zeros are the same for both: neither is the best.
    assert_eq!(
        rows,
        [
            "| cifar10 | resnet20 | 4 | highest accuracy | ecqx | Λ=0 | **90.60** | 0.20 | **-0.60** | 20.00 | 100.0 | 10.0 | 3 |",
            "| cifar10 | resnet20 | 4 | highest accuracy | ecq | Λ=0 | 90.00 | 0.00 | 0.00 | 20.00 | 100.0 | 10.0 | 3 |",
            "| cifar10 | resnet20 | 4 | highest compression without loss | ecqx | Λ=0 | **90.60** | 0.20 | **-0.60** | 20.00 | 100.0 | 10.0 | 3 |",
            "| cifar10 | resnet20 | 4 | highest compression without loss | ecq | Λ=0 | 90.00 | 0.00 | 0.00 | 20.00 | 100.0 | 10.0 | 3 |",
            "| cifar10 | resnet20 | 4 | highest compression, at most 1 point lost | ecqx | Λ=0.1 | **89.60** | 0.20 | **0.40** | 30.00 | 50.0 | 20.0 | 3 |",
            "| cifar10 | resnet20 | 4 | highest compression, at most 1 point lost | ecq | Λ=0.1 | 89.00 | 0.00 | 1.00 | 30.00 | 50.0 | 20.0 | 3 |",
        ]
    );
    assert!(
        markdown.contains("cifar10, resnet20: chosen on validation accuracy; a loss is counted from 89.00 %"),
        "{markdown}"
    );
    let latex = text(Latex.export(&table).unwrap());
    assert!(latex.contains(
        "\\caption{Best working points by method and bit width, chosen on validation accuracy: cifar10, resnet20, 4 bit}"
    ));
    assert!(latex.contains(
        "highest accuracy & ecqx & $\\Lambda$=0 & \\textbf{90.60} & 0.20 & \\textbf{$-$0.60} & 20.00 & 100.0 & 10.0 & 3 \\\\"
    ));
    assert_eq!(latex.matches("\\begin{").count(), latex.matches("\\end{").count());
    let hopeless = points(&[record("ecq", 2, 0.3, 1, 20.0, 10_000)]);
    let markdown = text(Markdown.export(&main_table(&hopeless, ChooseOn::Validation).unwrap()).unwrap());
    assert!(
        markdown.contains("| highest compression without loss | ecq | none reaches it |  |  |"),
        "{markdown}"
    );
    assert!(
        markdown.contains("| highest accuracy | ecq | Λ=0.3 | 20.00 |  | 70.00 |"),
        "no ± for one seed: {markdown}"
    );
}

/// Which setting is chosen is decided on validation, where the test split would have taken the other one; choosing on test
/// is an option that the caption names. Without validation accuracies it is what is left, and the note says so.
#[test]
fn validation_chooses_and_test_is_reported() {
    let mut records = vec![record("ecq", 4, 0.0, 1, 90.0, 100_000), record("ecq", 4, 0.1, 1, 89.5, 50_000)];
    let set = |record: &mut RunRecord, top1: Option<f64>| {
        let Outcome::Done(measured) = &mut record.outcome else { panic!("it is done") };
        measured.validation = top1.map(|top1| Metrics { top1, ..measured.test.clone() });
    };
    set(&mut records[0], Some(85.0));
    set(&mut records[1], Some(86.0));
    let best = |records: &[RunRecord], on| {
        let table = main_table(&points(records), on).unwrap();
        let markdown = text(Markdown.export(&table).unwrap());
        let row = markdown.lines().find(|line| line.contains("| highest accuracy |")).unwrap().to_owned();
        (table.title, row, table.note)
    };
    let (title, row, note) = best(&records, ChooseOn::Validation);
    assert!(
        title.ends_with("chosen on validation accuracy") && row.contains("Λ=0.1 | 89.50"),
        "{title} {row}"
    );
    // 90 %, and validation is 4.25 points below test on average.
    assert!(note.contains("counted from 85.75 %, an estimate"), "{note}");
    let (title, row, note) = best(&records, ChooseOn::Test);
    assert!(title.ends_with("chosen on test accuracy") && row.contains("Λ=0 | 90.00"), "{title} {row}");
    assert!(note.contains("flatters the method with more settings"), "{note}");
    for record in &mut records {
        record.baseline_validation = record.baseline.clone();
    }
    assert!(best(&records, ChooseOn::Validation).2.contains("counted from the full-precision model's."));
    records.iter_mut().for_each(|record| set(record, None));
    let (_, row, note) = best(&records, ChooseOn::Validation);
    assert!(row.contains("Λ=0 | 90.00") && note.contains("because the records have no validation"), "{note}");
}

/// Bold needs intervals that lie apart: one seed has none, so it neither is bold nor lets another one be.
#[test]
fn one_seed_is_never_bold() {
    let bold = |records: &[RunRecord]| {
        text(Markdown.export(&main_table(&points(records), ChooseOn::Test).unwrap()).unwrap()).contains("**")
    };
    assert!(bold(&records(3)));
    assert!(!bold(&records(1)));
    let mut mixed: Vec<RunRecord> = records(3).into_iter().filter(|r| r.method == "ecq").collect();
    mixed.extend(records(1).into_iter().filter(|r| r.method != "ecq"));
    assert!(!bold(&mixed), "one seed of one method beside three of the other");
    // Two seeds of which the values overlap: 12.7 standard errors.
    assert!(!bold(&records(2)));
}

/// LaTeX of every table compiles, where there is a LaTeX.
#[test]
fn latex_compiles() {
    let folder = tempfile::tempdir().unwrap();
    let records = records(3);
    let points = points(&records);
    let compared = compare(&points, &methods());
    let tables = [
        main_table(&points, ChooseOn::Validation).unwrap(),
        super::tables::comparison(&compared, &methods(), None).unwrap(),
        super::tables::working_points_table(&points).unwrap(),
        super::tables::pareto(&points).unwrap(),
        super::tables::hypervolume_table(&points, &methods()).unwrap(),
        super::tables::at_equal_table(&points, &methods()).unwrap(),
    ];
    let body: String = tables.iter().map(|table| text(Latex.export(table).unwrap())).collect();
    assert!(body.is_ascii(), "a character that LaTeX may not know: {body}");
    let document = format!(
        "\\documentclass{{article}}\n\\usepackage{{booktabs}}\n\\begin{{document}}\n{body}\\end{{document}}\n"
    );
    std::fs::write(folder.path().join("t.tex"), document).unwrap();
    let run = std::process::Command::new("pdflatex")
        .args(["-interaction=nonstopmode", "-halt-on-error", "t.tex"])
        .current_dir(folder.path())
        .output();
    match run {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(_) => eprintln!("pdflatex is not installed: not compiled"),
    }
}

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
    // Two seeds of one sign show nothing.
    assert!(
        overall(&records(2))
            .verdict()
            .starts_with("No difference between ECQx and ECQ at equal size is shown")
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
    let rows = compare(&all, &ecq);
    assert!((rows[0].difference.unwrap() + 0.6).abs() < 1e-9);
    assert!(rows[0].verdict().starts_with("The runs suggest that ECQ is less accurate than ECQx"));
    let lsq = methods().with_reference("lsq", &records).unwrap();
    let rows = compare(&all, &lsq);
    assert!(rows.is_empty());
    let note = super::tables::nothing_compared(&rows, &lsq, &["ecq", "ecqx"]).unwrap();
    assert_eq!(
        note,
        "No comparison: there is no run of LSQ. '--reference-method NAME' chooses one of ecq, ecqx."
    );
    let table = super::tables::comparison(&rows, &lsq, Some(&note)).unwrap();
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
    assert_eq!(points.iter().map(|p| p.top1.n).collect::<Vec<_>>(), [2, 1, 1]);
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
    let rows = hypervolumes(&points(&records(1)), &methods());
    let ecq = rows.iter().find(|row| row.method == "ecq").unwrap();
    // 5 points from 100 kB on (half of the two decades), 4 points from 50 to 100 kB.
    let expected = (10f64.ln() * 5.0 + 2f64.ln() * 4.0) / (100f64.ln() * 15.0);
    assert!((ecq.value - expected).abs() < 1e-9, "{} {expected}", ecq.value);
    assert_eq!(ecq.interval, None);
}

/// Interpolation between 50 kB and 100 kB in log size; nothing beyond a front's ends.
#[test]
fn at_equal_size_and_accuracy() {
    let rows = at_equal(&points(&records(3)), &methods());
    let find = |place: &str, method: &str| rows.iter().find(|r| r.place == place && r.method == method);
    let expected = 89.0 + (1e6f64 / 15.0 / 50_000.0).ln() / 2f64.ln();
    assert!((find("15 times smaller", "ecq").unwrap().value - expected).abs() < 1e-9);
    assert!((find("15 times smaller", "ecqx").unwrap().value - expected - 0.6).abs() < 1e-9);
    assert!(find("8 times smaller", "ecq").is_none());
    let half = find("0.5 points lost", "ecq").unwrap();
    assert!(half.is_size && (half.value - 50_000.0 * 2f64.sqrt()).abs() < 1e-6);
}

/// Records come back from the file as they were, and a raw table made from them is the same.
#[test]
fn archive_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.parquet");
    let records = records(2);
    std::fs::write(&path, archive::write(&records).unwrap()).unwrap();
    assert_eq!(archive::read(&path).unwrap(), records);
    let table = raw(&records, &methods()).unwrap();
    let bytes = super::export::Parquet.export(&table).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    assert!(archive::read_whole(&path).unwrap_err().to_string().contains("no whole records"));
    let again = raw(&archive::read(&path).unwrap(), &methods()).unwrap();
    assert_eq!(super::export::Parquet.export(&again).unwrap(), bytes);
    std::fs::write(&path, b"PAR1 nothing").unwrap();
    assert!(archive::read(&path).unwrap_err().is_user_error());
}

/// Published rows stand beside ours and change none of our numbers.
#[test]
fn published_rows_stay_apart() {
    let yaml = "citation: C\nsetting: S\nresults:\n  - {dataset: cifar10, model: resnet20, method: ec2t, label: E, \
                top1_percent: 99.9}\n  - {dataset: cifar10, model: resnet20, method: ecqx, label: empty}\n";
    let sources =
        [super::published::Source::parse(yaml, std::path::Path::new("x.yaml"), &methods()).unwrap()];
    let points = points(&records(1));
    let table = published(&points, ChooseOn::Validation, &sources).unwrap().unwrap();
    let markdown = text(Markdown.export(&table).unwrap());
    assert!(
        markdown.contains("| cifar10 | resnet20 | ec2t | E |  | 99.90 |  |  |  |  | C | S |"),
        "{markdown}"
    );
    assert!(!markdown.contains("empty") && markdown.matches("| this report |").count() == 4, "{markdown}");
    assert!(published(&[], ChooseOn::Validation, &sources).unwrap().is_none());
}

fn group<'a>(points: &'a [WorkingPoint], records: &'a [RunRecord], methods: &'a Methods) -> Group<'a> {
    let points: Vec<&WorkingPoint> = points.iter().collect();
    Group {
        title: "cifar10, resnet20".into(),
        choice: Choice::new(ChooseOn::Validation, &points),
        points,
        records: finished(records).collect(),
        methods,
    }
}

fn figure(name: &str) -> &'static Figure {
    FIGURES.iter().find(|figure| figure.name == name).unwrap()
}

/// Every figure made of records: its text lies inside the picture, every series of the CSV is in the legend, the numbers at
/// the axes enclose most of the CSV's range, and PNG and PDF come out of it.
#[test]
fn figures_show_their_csv() {
    let mut records = records(3);
    for (seed, p) in [(1, 0.2), (2, 0.2), (3, 0.2)] {
        let mut other = record("ecqx", 4, 0.1, seed, 88.5, 45_000);
        other.parameters.insert("p".into(), json!(p));
        other.spec["quantizer"]["parameters"]["p"] = json!(p);
        other.id = format!("{:032x}", 7_000_000_000u64 + seed);
        records.push(other);
    }
    let (points, methods) = (points(&records), methods());
    let mut drawn = 0;
    for kind in FIGURES {
        let Source::Records(draw) = kind.draw else { continue };
        let drawing = draw(&group(&points, &records, &methods))
            .unwrap()
            .unwrap_or_else(|| panic!("{} is empty", kind.name));
        drawn += 1;
        let document = roxmltree::Document::parse(&drawing.svg).unwrap();
        let number =
            |node: &roxmltree::Node, name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
        let root = document.root_element();
        let (width, height) = (number(&root, "width"), number(&root, "height"));
        let texts: Vec<_> = document.descendants().filter(|node| node.has_tag_name("text")).collect();
        for node in &texts {
            let (x, y) = (number(node, "x"), number(node, "y"));
            let content = node.text().unwrap_or_default().trim();
            let long = content.chars().count() as f64 * number(node, "font-size") * 0.5;
            let (from, to) = match node.attribute("text-anchor") {
                Some("middle") => (x - long / 2.0, x + long / 2.0),
                Some("end") => (x - long, x),
                _ => (x, x + long),
            };
            let turned = node.attribute("transform").is_some();
            assert!(turned || (from >= 0.0 && to <= width), "{}: '{content}' from {from} to {to}", kind.name);
            assert!((0.0..=height).contains(&y), "{}: '{content}' at {y}", kind.name);
        }
        let shown: Vec<&str> = texts.iter().filter_map(|node| node.text()).map(str::trim).collect();
        let mut lines = csv(&drawing.csv);
        let header = lines.remove(0);
        assert_eq!(header.len(), 9, "{}", drawing.csv);
        assert!(!lines.is_empty(), "{}", kind.name);
        for line in &lines {
            assert!(
                shown.contains(&line[1].as_str()),
                "{}: series '{}' is not in the legend",
                kind.name,
                line[1]
            );
        }
        assert!(png(&drawing.svg, 0.25).unwrap().starts_with(b"\x89PNG"));
        let document = pdf(&drawing.svg).unwrap();
        assert!(document.starts_with(b"%PDF"));
        // Text stays text: the font is in the file.
        assert!(document.windows(9).any(|window| window == b"/FontFile"), "{}: no font", kind.name);
    }
    assert_eq!(drawn, 8);
}

/// Points, baseline and floor of the chart: each point above the floor is one marker, the others are counted below it.
#[test]
fn one_marker_per_point() {
    let records = records(3);
    let (points, methods) = (points(&records), methods());
    let Source::Records(draw) = figure("accuracy_over_sparsity").draw else {
        panic!("it needs records alone")
    };
    let drawing = draw(&group(&points, &records, &methods)).unwrap().unwrap();
    // ECQx is drawn as circles: two points and the legend's; the third lies 70 points below the baseline.
    assert_eq!(drawing.svg.matches("<circle").count(), 3);
    assert!(drawing.svg.contains("2 points below 75 % are not shown"));
    let lines = csv(&drawing.csv);
    assert_eq!(lines.len(), 1 + 6, "all points are in the CSV");
    assert!(lines[1..].iter().all(|line| line[8] == "90"), "{}", drawing.csv);
    assert!(lines.iter().any(|line| line[1] == "ECQx" && line[3] == "30" && line[5].starts_with("89.6")));
}

/// Cells of a CSV whose quoted cells hold no quotes.
fn csv(text: &str) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let (mut cells, mut quoted) = (vec![String::new()], false);
        for c in line.chars() {
            match c {
                '"' => quoted = !quoted,
                ',' if !quoted => cells.push(String::new()),
                c => cells.last_mut().unwrap().push(c),
            }
        }
        lines.push(cells);
    }
    lines
}
