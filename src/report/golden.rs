//! Golden and structural tests of reports, on records whose statistics can be worked out by hand.

use super::archive;
use super::choice::{Choice, ChooseOn};
use super::export::{Exporter as _, Latex, Markdown};
use super::figure::{FIGURES, Figure, Group, Source, pdf, png};
use super::methods::Methods;
use super::records::finished;
use super::statistics::{at_equal, compare, hypervolumes};
use super::tables::{WorkingPoint, main_table, published, raw, working_points};
use crate::record::RunRecord;
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
    let record = json!({
        "schema": crate::record::SCHEMA,
        "id": format!("{:032x}", u128::from(seed) + (lambda * 1000.0) as u128 * 16 + u128::from(bits) * 65536
            + method.bytes().map(u128::from).sum::<u128>() * 1_048_576),
        "experiment": "golden", "dataset": "cifar10", "model": "resnet20", "method": method,
        "label": format!("{method} {bits} bit Λ={lambda}"), "bits": bits,
        "parameters": if method == "ecqx" { json!({"lambda": lambda, "p": 0.1}) } else { json!({"lambda": lambda}) },
        "seed": seed,
        "spec": {"dataset": {"name": "cifar10"}, "quantizer": {"method": method, "bits": bits,
                 "parameters": {"lambda": lambda}}, "seed": seed},
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

/// The main table has the issue's rows and columns for every method, the best in bold, and a row without numbers for a
/// choice that nothing meets.
#[test]
fn main_table_in_every_format() {
    let points = working_points(&records(3));
    let table = main_table(&points).unwrap();
    let markdown = text(Markdown.export(&table).unwrap());
    let rows: Vec<&str> = markdown.lines().filter(|line| line.starts_with("| cifar10")).collect();
    assert_eq!(
        rows,
        [
            "| cifar10 | resnet20 | 4 | highest accuracy | ecqx | Λ=0 | **90.60** | 0.20 | **-0.60** | **20.00** | **100.0** | **10.0** | 3 |",
            "| cifar10 | resnet20 | 4 | highest accuracy | ecq | Λ=0 | 90.00 | 0.00 | 0.00 | **20.00** | **100.0** | **10.0** | 3 |",
            "| cifar10 | resnet20 | 4 | highest compression without loss | ecqx | Λ=0 | **90.60** | 0.20 | **-0.60** | **20.00** | **100.0** | **10.0** | 3 |",
            "| cifar10 | resnet20 | 4 | highest compression without loss | ecq | Λ=0 | 90.00 | 0.00 | 0.00 | **20.00** | **100.0** | **10.0** | 3 |",
            "| cifar10 | resnet20 | 4 | highest compression, at most 1 point lost | ecqx | Λ=0.1 | **89.60** | 0.20 | **0.40** | **30.00** | **50.0** | **20.0** | 3 |",
            "| cifar10 | resnet20 | 4 | highest compression, at most 1 point lost | ecq | Λ=0.1 | 89.00 | 0.00 | 1.00 | **30.00** | **50.0** | **20.0** | 3 |",
        ]
    );
    let latex = text(Latex.export(&table).unwrap());
    assert!(
        latex.contains("\\caption{Best working points by method and bit width: cifar10, resnet20, 4 bit}")
    );
    assert!(latex.contains(
        "highest accuracy & ecqx & $\\Lambda$=0 & \\textbf{90.60} & 0.20 & \\textbf{$-$0.60} & \\textbf{20.00} & \
         \\textbf{100.0} & \\textbf{10.0} & 3 \\\\"
    ));
    assert_eq!(latex.matches("\\begin{").count(), latex.matches("\\end{").count());
    let hopeless = [record("ecq", 2, 0.3, 1, 20.0, 10_000)];
    let markdown = text(Markdown.export(&main_table(&working_points(&hopeless)).unwrap()).unwrap());
    assert!(
        markdown.contains("| highest compression without loss | ecq | none reaches it |  |  |"),
        "{markdown}"
    );
    assert!(
        markdown.contains("| highest accuracy | ecq | Λ=0.3 | 20.00 |  | 70.00 |"),
        "no ± for one seed: {markdown}"
    );
}

/// LaTeX of every table compiles, where there is a LaTeX.
#[test]
fn latex_compiles() {
    let folder = tempfile::tempdir().unwrap();
    let records = records(3);
    let points = working_points(&records);
    let tables = [
        main_table(&points).unwrap(),
        super::tables::comparison(&records).unwrap(),
        super::tables::working_points_table(&points).unwrap(),
        super::tables::pareto(&points).unwrap(),
        super::tables::hypervolume_table(&records).unwrap(),
        super::tables::at_equal_table(&records).unwrap(),
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

/// Differences at equal size, their interval and the verdict; broken networks do not count.
#[test]
fn paired_difference_and_verdict() {
    let comparisons = compare(&records(3));
    let overall = comparisons.iter().find(|c| c.bits.is_none() && c.other == "ecq").unwrap();
    assert_eq!(overall.seeds, 3);
    assert!((overall.difference.unwrap() - 0.6).abs() < 1e-9);
    let (low, high) = overall.interval.unwrap();
    assert!((0.4 - 1e-9..0.6).contains(&low) && (0.6..=0.8 + 1e-9).contains(&high), "{low} {high}");
    assert!(
        overall
            .verdict()
            .starts_with("At equal size ECQx is more accurate than ecq (+0.60 points, 95 % interval")
    );
    assert!(overall.verdict().contains("3 seeds, too few"));
    assert!(!overall.verdict().contains("picked"), "one setting each: nothing to pick from");
    // With one seed there is no interval, and the sentence says so.
    let single = compare(&records(1));
    assert_eq!(single[0].interval, None);
    assert!(single[0].verdict().starts_with("One seed: ECQx differs from ecq by +0.40 points"));
}

/// A front over several settings of one method picks the best of them: the verdict says from how many.
#[test]
fn verdict_names_unequal_choice() {
    let mut records = records(3);
    for seed in 1..=3 {
        let mut variant = record("ecqx", 4, 0.1, seed, 89.5, 50_000);
        variant.spec["quantizer"]["parameters"]["band"] = json!("above");
        records.push(variant);
    }
    let comparisons = compare(&records);
    let overall = comparisons.iter().find(|c| c.bits.is_none() && c.other == "ecq").unwrap();
    assert!(
        overall.verdict().contains("fronts picked from 2 settings of ECQx and 1 of ecq"),
        "{}",
        overall.verdict()
    );
}

/// Hypervolume: share of ln(size) from 10 kB to 1 MB times accuracy from 85 to 100 %.
#[test]
fn hypervolume_by_hand() {
    let rows = hypervolumes(&records(1));
    let ecq = rows.iter().find(|row| row.method == "ecq").unwrap();
    // 5 points from 100 kB on (half of the two decades), 4 points from 50 to 100 kB.
    let expected = (10f64.ln() * 5.0 + 2f64.ln() * 4.0) / (100f64.ln() * 15.0);
    assert!((ecq.values.mean - expected).abs() < 1e-9, "{} {expected}", ecq.values.mean);
    assert_eq!(ecq.interval, None);
}

/// Interpolation between 50 kB and 100 kB in log size; nothing beyond a front's ends.
#[test]
fn at_equal_size_and_accuracy() {
    let rows = at_equal(&records(3));
    let find = |place: &str, method: &str| rows.iter().find(|r| r.place == place && r.method == method);
    let expected = 89.0 + (1e6f64 / 15.0 / 50_000.0).ln() / 2f64.ln();
    assert!((find("15 times smaller", "ecq").unwrap().values.mean - expected).abs() < 1e-9);
    assert!((find("15 times smaller", "ecqx").unwrap().values.mean - expected - 0.6).abs() < 1e-9);
    assert!(find("8 times smaller", "ecq").is_none());
    let half = find("0.5 points lost", "ecq").unwrap();
    assert!(half.is_size && (half.values.mean - 50_000.0 * 2f64.sqrt()).abs() < 1e-6);
}

/// Records come back from the file as they were, and a raw table made from them is the same.
#[test]
fn archive_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.parquet");
    let records = records(2);
    std::fs::write(&path, archive::write(&records).unwrap()).unwrap();
    assert_eq!(archive::read(&path).unwrap(), records);
    let table = raw(&records).unwrap();
    let bytes = super::export::Parquet.export(&table).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    assert!(archive::read_whole(&path).unwrap_err().to_string().contains("no whole records"));
    let again = raw(&archive::read(&path).unwrap()).unwrap();
    assert_eq!(super::export::Parquet.export(&again).unwrap(), bytes);
    std::fs::write(&path, b"PAR1 nothing").unwrap();
    assert!(archive::read(&path).unwrap_err().is_user_error());
}

/// Published rows stand beside ours and change none of our numbers.
#[test]
fn published_rows_stay_apart() {
    let yaml = "citation: C\nsetting: S\nresults:\n  - {dataset: cifar10, model: resnet20, method: ec2t, label: E, \
                top1_percent: 99.9}\n  - {dataset: cifar10, model: resnet20, method: ecqx, label: empty}\n";
    let sources = [super::published::Source::parse(yaml, std::path::Path::new("x.yaml")).unwrap()];
    let points = working_points(&records(1));
    let table = published(&points, &sources).unwrap().unwrap();
    let markdown = text(Markdown.export(&table).unwrap());
    assert!(
        markdown.contains("| cifar10 | resnet20 | ec2t | E |  | 99.90 |  |  |  |  | C | S |"),
        "{markdown}"
    );
    assert!(!markdown.contains("empty") && markdown.matches("| this report |").count() == 4, "{markdown}");
    assert!(published(&working_points(&[]), &sources).unwrap().is_none());
}

fn group<'a>(points: &'a [WorkingPoint], records: &'a [RunRecord]) -> Group<'a> {
    Group {
        title: "cifar10, resnet20".into(),
        points: points.iter().collect(),
        records: finished(records).collect(),
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
        other.p = Some(p);
        other.spec["quantizer"]["parameters"]["p"] = json!(p);
        other.id = format!("{:032x}", 7_000_000_000u64 + seed);
        records.push(other);
    }
    let points = working_points(&records);
    let mut drawn = 0;
    for kind in FIGURES {
        let Source::Records(draw) = kind.draw else { continue };
        let drawing =
            draw(&group(&points, &records)).unwrap().unwrap_or_else(|| panic!("{} is empty", kind.name));
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
    let points = working_points(&records);
    let Source::Records(draw) = figure("accuracy_over_sparsity").draw else {
        panic!("it needs records alone")
    };
    let drawing = draw(&group(&points, &records)).unwrap().unwrap();
    // ECQx is drawn as circles: two points and the legend's; the third lies 70 points below the baseline.
    assert_eq!(drawing.svg.matches("<circle").count(), 3);
    assert!(drawing.svg.contains("2 points below 75 % are not shown"));
    let lines = csv(&drawing.csv);
    assert_eq!(lines.len(), 1 + 6, "all points are in the CSV");
    assert!(lines[1..].iter().all(|line| line[8] == "90"), "{}", drawing.csv);
    assert!(lines.iter().any(|line| line[1] == "ecqx" && line[3] == "30" && line[5].starts_with("89.6")));
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
