//! Golden and structural tests of reports, on records whose statistics can be worked out by hand.

mod figures;
mod metrics;
mod statistics;
mod verdicts;

use super::archive;
use super::choice::{ChooseOn, Rule};
use super::export::{Exporter, Latex, Markdown, Narrow, Wide};
use super::methods::Methods;
use super::statistics::{Comparison, compare};
use super::tables::{WorkingPoint, main_table, operating_points, published, raw, sweeps, working_points};
use crate::record::{Metric, Metrics, Outcome, RunRecord, Score};
use serde_json::json;

fn methods() -> Methods {
    Methods::new(&crate::Registry::builtin())
}

fn points(records: &[RunRecord]) -> Vec<WorkingPoint> {
    working_points(records, &methods())
}

fn compared(records: &[RunRecord]) -> Vec<Comparison> {
    compare(&points(records), &methods(), ChooseOn::Validation)
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
        measured.validation =
            top1.map(|top1| Metrics { score: Score::of(Metric::Top1, top1), ..measured.test.clone() });
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

/// What LaTeX says of an article with these tables, which must compile; `None` where there is no LaTeX.
fn compile(options: &str, tables: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let document = format!(
        "\\documentclass[{options}]{{article}}\n\\usepackage{{booktabs}}\n\\begin{{document}}\n{tables}\\end{{document}}\n"
    );
    std::fs::write(folder.path().join("t.tex"), document).unwrap();
    let run = std::process::Command::new("pdflatex")
        .args(["-interaction=nonstopmode", "-halt-on-error", "t.tex"])
        .current_dir(folder.path())
        .output();
    let Ok(output) = run else {
        eprintln!("pdflatex is not installed: not compiled");
        return None;
    };
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{log}");
    Some(log)
}

/// LaTeX of every table compiles, where there is a LaTeX; those that compare methods name them as papers do, set intervals
/// in brackets and fit a page's width, also of the committed results.
#[test]
fn latex_compiles() {
    let records = records(3);
    let points = points(&records);
    let compared = compare(&points, &methods(), ChooseOn::Validation);
    let tables = [
        main_table(&points, ChooseOn::Validation).unwrap(),
        super::tables::comparison(&compared, &methods(), ChooseOn::Validation, None).unwrap(),
        super::tables::working_points_table(&points).unwrap(),
        super::tables::pareto(&points).unwrap(),
        super::tables::hypervolume_table(&points, &methods(), ChooseOn::Validation).unwrap(),
        super::tables::at_equal_table(&points, &methods(), ChooseOn::Validation).unwrap(),
    ];
    let body: String = tables.iter().map(|table| text(Latex.export(table).unwrap())).collect();
    assert!(body.is_ascii(), "a character that LaTeX may not know: {body}");
    compile("", &body);
    let comparison = text(Latex.export(&tables[1]).unwrap());
    assert!(
        comparison.contains(r"at equal accuracy: cifar10, resnet20}")
            && comparison.contains(r"4 & ECQ & 3 & 0.60 & [0.10, 1.10] &"),
        "{comparison}"
    );
    let mut body = String::new();
    for folder in ["speech-commands-mlp-gsc", "cifar10-resnet20-post-training"] {
        let real = archive::read(&committed(folder)).unwrap();
        let (points, on) = (super::tables::working_points(&real, &methods()), ChooseOn::Validation);
        let compared = compare(&points, &methods(), on);
        for table in [
            super::tables::comparison(&compared, &methods(), on, None),
            super::tables::hypervolume_table(&points, &methods(), on),
            super::tables::at_equal_table(&points, &methods(), on),
        ] {
            body += &text(Latex.export(&table.unwrap()).unwrap());
        }
    }
    if let Some(log) = compile("", &body) {
        assert!(!log.contains("Overfull") && !log.contains("Float too large"), "{log}");
    }
}

/// Records that are kept in the repository.
fn committed(folder: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("results").join(folder).join("records.parquet")
}

/// The table of a paper: full precision first, display names, a dash where nothing qualifies, settings below; both widths
/// compile without an overfull box, where there is a LaTeX, also with the longest settings of the committed results.
#[test]
fn paper_table_fits_its_column() {
    let mut records = records(3);
    records.extend([1, 2, 3].map(|seed| record("lsq", 2, 0.0, seed, 60.0, 12_000)));
    super::records::sort(&mut records, &methods());
    let of = |records: &[RunRecord]| {
        operating_points(&points(records), &methods(), ChooseOn::Validation, Rule::OnePoint).unwrap()
    };
    let table = of(&records);
    let narrow = text(Narrow.export(&table).unwrap());
    let rows: Vec<&str> =
        narrow.lines().filter(|line| line.ends_with(r" \\") && line.contains('&')).collect();
    assert_eq!(
        rows,
        [
            r"Method & W & Top-1, \% & $\Delta$ & Sp., \% & kB & CR & $n$ \\",
            r"Full precision & 32 & 90.00 & -- & -- & 1000.0 & 1.0 & -- \\",
            r"ECQx & 4 & \textbf{89.60}\,$\pm$\,0.20 & \textbf{$-$0.40} & 30.00 & 50.0 & 20.0 & 3 \\",
            r"ECQ & 4 & 89.00\,$\pm$\,0.00 & $-$1.00 & 30.00 & 50.0 & 20.0 & 3 \\",
            r"LSQ & 2 & -- & -- & -- & -- & -- & -- \\",
        ]
    );
    assert!(
        narrow.contains("the smallest file with at most 1 point lost, chosen on validation accuracy"),
        "{narrow}"
    );
    assert!(narrow.contains(r"ECQx: 4 bit:\allowbreak{} $\Lambda$=\allowbreak{}0.1."), "{narrow}");
    let markdown = text(Markdown.export(&table).unwrap());
    assert!(markdown.contains("| LSQ | 2 | – | – |"), "{markdown}");
    let mut body = String::new();
    for folder in ["speech-commands-mlp-gsc", "cifar10-resnet20", "speech-commands-ablations"] {
        let real = archive::read(&committed(folder)).unwrap();
        for format in [&Narrow as &dyn Exporter, &Wide] {
            body += &text(format.export(&of(&real)).unwrap());
        }
    }
    assert!(body.is_ascii(), "a character that LaTeX may not know: {body}");
    if let Some(log) = compile("twocolumn", &(narrow + &body)) {
        assert!(!log.contains("Overfull"), "{log}");
    }
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
        markdown.contains("| cifar10 | resnet20 | ec2t | E |  |  |  |  |  | 99.90 |  |  |  |  |  | C | S |"),
        "{markdown}"
    );
    assert!(!markdown.contains("empty") && markdown.matches("| this report |").count() == 4, "{markdown}");
    assert!(published(&[], ChooseOn::Validation, &sources).unwrap().is_none());
}

/// Runs of one experiment on one machine are one row with the hours of all of them; another machine is another row.
#[test]
fn sweeps_have_hours_by_machine() {
    let mut records = records(2);
    let first = &mut records[0];
    (first.provenance.cpu, first.seconds) = ("another".into(), 7200.0);
    let markdown = text(Markdown.export(&sweeps(&records).unwrap()).unwrap());
    let rows: Vec<&str> = markdown.lines().filter(|line| line.starts_with("| golden")).collect();
    assert_eq!(
        rows,
        [
            "| golden | cifar10 | resnet20 | another | cpu | 2 | 1 | 2.00 | 2026-01-01T00:00:00Z |  |",
            "| golden | cifar10 | resnet20 | c | cpu | 2 | 11 | 0.02 | 2026-01-01T00:00:00Z |  |",
        ]
    );
}
