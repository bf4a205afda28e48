//! Figures against the data that they are drawn from.

use super::{methods, points, record, records};
use crate::record::RunRecord;
use crate::report::choice::{Choice, ChooseOn};
use crate::report::figure::{Figure, Group, Source as FigureSource, builtin, pdf, png};
use crate::report::methods::Methods;
use crate::report::published::Source;
use crate::report::records::finished;
use crate::report::statistics::compare;
use crate::report::tables::WorkingPoint;
use crate::spec::{FigureStyle, FigureWidth};
use serde_json::json;

fn group<'a>(points: &'a [WorkingPoint], records: &'a [RunRecord], methods: &'a Methods) -> Group<'a> {
    let points: Vec<&WorkingPoint> = points.iter().collect();
    Group {
        title: "cifar10, resnet20".into(),
        layout: Default::default(),
        choice: Choice::new(ChooseOn::Validation, &points),
        points,
        records: finished(records).collect(),
        comparisons: Vec::new(),
        published: Vec::new(),
        methods,
    }
}

fn figure(name: &str) -> &'static Figure {
    builtin().find(name).unwrap()
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
    for kind in builtin().iter() {
        let FigureSource::Records(draw) = kind.draw else { continue };
        let compared = compare(&points, &methods, ChooseOn::Validation);
        let group = Group { comparisons: compared.iter().collect(), ..group(&points, &records, &methods) };
        let drawing = draw(&group).unwrap().unwrap_or_else(|| panic!("{} is empty", kind.name));
        drawn += 1;
        assert!(drawing.svg.contains(">\ncifar10, resnet20\n</text>"), "{}: no title", kind.name);
        // A page's width without a title and letters shows the same.
        let style = FigureStyle { width: FigureWidth::Page, titles: false, panel_labels: false };
        let wide = draw(&Group { layout: style, ..group }).unwrap().unwrap();
        assert_eq!(wide.csv, drawing.csv);
        assert!(!["cifar10, resnet20", "(a)"].iter().any(|text| wide.svg.contains(text)), "{}", kind.name);
        for drawing in [&drawing, &wide] {
            text_lies_inside(&drawing.svg, kind.name);
        }
        let document = roxmltree::Document::parse(&drawing.svg).unwrap();
        let texts: Vec<_> = document.descendants().filter(|node| node.has_tag_name("text")).collect();
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
    assert_eq!(drawn, 9);
}

fn text_lies_inside(svg: &str, kind: &str) {
    let document = roxmltree::Document::parse(svg).unwrap();
    let number = |node: &roxmltree::Node, name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
    let root = document.root_element();
    let (width, height) = (number(&root, "width"), number(&root, "height"));
    for node in document.descendants().filter(|node| node.has_tag_name("text")) {
        let (x, y) = (number(&node, "x"), number(&node, "y"));
        let content = node.text().unwrap_or_default().trim();
        let long = content.chars().count() as f64 * number(&node, "font-size") * 0.5;
        let (from, to) = match node.attribute("text-anchor") {
            Some("middle") => (x - long / 2.0, x + long / 2.0),
            Some("end") => (x - long, x),
            _ => (x, x + long),
        };
        let turned = node.attribute("transform").is_some();
        assert!(turned || (from >= 0.0 && to <= width), "{kind}: '{content}' from {from} to {to}");
        assert!((0.0..=height).contains(&y), "{kind}: '{content}' at {y}");
    }
}

/// Points, baseline and floor of the chart: each point above the floor is one marker, the others are counted below it.
#[test]
fn one_marker_per_point() {
    let records = records(3);
    let (points, methods) = (points(&records), methods());
    let FigureSource::Records(draw) = figure("accuracy_over_sparsity").draw else {
        panic!("it needs records alone")
    };
    let drawing = draw(&group(&points, &records, &methods)).unwrap().unwrap();
    // 4 bit is drawn as circles: two points of each method and the legend's; the third ones lie 70 points below the baseline.
    // No other point loses more than two points, so there is no enlarged plot.
    assert_eq!(drawing.svg.matches("<circle").count(), 5);
    // Each point tells what it is.
    assert_eq!(drawing.svg.matches("<title>").count(), 4);
    assert!(drawing.svg.contains("ecqx 4 bit Λ=0.1: 89.60 ± 0.20 %, 50.0 kB, 3 seed(s)"), "{}", drawing.svg);
    assert!(drawing.svg.contains("2 points below 75 % are not shown"));
    let alone = super::records(1).into_iter().filter(|record| record.method == "ecq").collect::<Vec<_>>();
    let of_one = draw(&group(&super::points(&alone), &alone, &methods)).unwrap().unwrap();
    assert!(of_one.svg.contains("1 point below 75 % is not shown"));
    let lines = csv(&drawing.csv);
    assert_eq!(lines.len(), 1 + 6, "all points are in the CSV");
    assert!(lines[1..].iter().all(|line| line[8] == "90"), "{}", drawing.csv);
    assert!(lines.iter().any(|line| line[1] == "ECQx" && line[3] == "30" && line[5].starts_with("89.6")));
}

/// The bar of the lowest and of the highest point is drawn whole, as long below its mark as above it: in the plot of all
/// points, and in the enlarged one, where it leaves the two points that are shown.
#[test]
fn bars_of_the_outermost_points_are_whole() {
    let at = |lambda: f64, top1: f64, file: usize| {
        [(1, -0.5), (2, 0.0), (3, 0.5)].map(|(seed, by)| record("ecq", 4, lambda, seed, top1 + by, file))
    };
    let records = [at(0.1, 90.2, 60_000), at(0.2, 88.2, 50_000), at(0.3, 75.2, 40_000)].concat();
    let (points, methods) = (points(&records), methods());
    let FigureSource::Records(draw) = figure("accuracy_over_size").draw else { panic!("records alone") };
    let svg = draw(&group(&points, &records, &methods)).unwrap().unwrap().svg;
    let document = roxmltree::Document::parse(&svg).unwrap();
    let number = |node: &roxmltree::Node, name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
    let marks: Vec<(f64, f64)> = document
        .descendants()
        .filter(|node| node.has_tag_name("circle"))
        .map(|node| (number(&node, "cx"), number(&node, "cy")))
        .collect();
    let place = |point: &str| {
        let (x, y) = point.split_once(',').unwrap();
        (x.parse::<f64>().unwrap(), y.parse::<f64>().unwrap())
    };
    let lines = document.descendants().filter_map(|node| node.attribute("points"));
    let mut whole = 0;
    for line in lines.map(|line| line.split_whitespace().map(place).collect::<Vec<_>>()) {
        let [(x, low), (other, high)] = line[..] else { continue };
        for (_, y) in marks.iter().filter(|(mark, y)| x == other && *mark == x && (high..=low).contains(y)) {
            // Places are whole pixels.
            assert!(((low - y) - (y - high)).abs() <= 1.0, "{low} {y} {high}");
            whole += 1;
        }
    }
    assert_eq!(whole, 3 + 2, "{svg}");
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

/// Published results are hollow marks beside ours, and nothing else of the picture changes.
#[test]
fn published_results_are_hollow() {
    let (records, methods) = (records(3), methods());
    let points = points(&records);
    let yaml = "citation: C\nsetting: S\nresults:\n  - {dataset: cifar10, model: resnet20, method: other, label: theirs, \
                top1_percent: 89.8, file_bytes: 40000}\n";
    let source = Source::parse(yaml, std::path::Path::new("x.yaml"), &methods).unwrap();
    let of = |published| {
        let group = Group { published, ..group(&points, &records, &methods) };
        let FigureSource::Records(draw) = figure("accuracy_over_size").draw else { panic!("records alone") };
        draw(&group).unwrap().unwrap()
    };
    let (without, with) = (of(Vec::new()), of(vec![("C", &source.results[0])]));
    assert!(!without.svg.contains("published") && with.svg.contains(">\npublished\n</text>"), "{}", with.svg);
    assert!(with.csv.ends_with("\"published\",\"theirs (C)\",25,,89.8,,,\n"), "{}", with.csv);
    assert!(with.csv.starts_with(&without.csv));
}
