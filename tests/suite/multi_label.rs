//! Tasks of several labels per sample, from YAML to report, and the quick experiments of the families of models, on
//! pictures that are made here.

use super::ecqx;
use serde_json::Value;
use std::path::{Path, PathBuf};

const CLASSES: [&str; 3] = ["bird", "car", "dog"];

fn experiment(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/quick").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// A picture of three stripes, each coloured where its class is there; the classes it has follow from `index`.
fn picture(index: usize) -> (Vec<u8>, Vec<&'static str>) {
    let has = |class: usize| (index + 1) >> class & 1 == 1;
    let image = image::RgbImage::from_fn(48, 48, |x, y| {
        let class = (x / 16) as usize;
        let noise = ((x * 31 + y * 17 + index as u32 * 7) % 40) as u8;
        let mut colour = [90 + noise; 3];
        if has(class) {
            colour[class] = 215 + noise;
        }
        image::Rgb(colour)
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    (bytes.into_inner(), (0..3).filter(|&class| has(class)).map(|class| CLASSES[class]).collect())
}

/// A small data set in the publisher's layout: every picture has one to three classes, some difficult objects besides.
fn voc(data: &Path, counts: [usize; 3]) {
    let root = data.join("VOCdevkit/VOC2012");
    for folder in ["ImageSets/Main", "Annotations", "JPEGImages"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    let mut index = 0;
    for (list, count) in ["train", "val", "test"].into_iter().zip(counts) {
        let mut names = String::new();
        for _ in 0..count {
            let name = format!("2012_{index:06}");
            let (jpeg, classes) = picture(index % 7);
            let object = |class: &str, difficult: u8| {
                format!(
                    "<object><name>{class}</name><difficult>{difficult}</difficult><bndbox><xmin>1</xmin>\
                     <ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
                )
            };
            let mut objects: String = classes.iter().map(|class| object(class, 0)).collect();
            if index % 5 == 0 {
                objects += &object("sofa", 1);
            }
            std::fs::write(root.join(format!("JPEGImages/{name}.jpg")), jpeg).unwrap();
            let annotation = format!("<annotation>{objects}</annotation>");
            std::fs::write(root.join(format!("Annotations/{name}.xml")), annotation).unwrap();
            names += &format!("{name}\n");
            index += 1;
        }
        std::fs::write(root.join(format!("ImageSets/Main/{list}.txt")), names).unwrap();
    }
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = ecqx().current_dir(folder).args(arguments).arg("--json").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {text}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn records(store: &Path) -> Vec<Value> {
    let folders = std::fs::read_dir(store.join("runs")).unwrap().map(|entry| entry.unwrap().path());
    let read = |folder: PathBuf| std::fs::read_to_string(folder.join("record.json")).unwrap();
    folders.map(|folder| serde_json::from_str(&read(folder)).unwrap()).collect()
}

/// The quick experiment on Pascal VOC learns to tell which classes a picture has; records, listings, tables, figures,
/// verdicts and expected numbers speak of mean average precision, and none of top-1.
#[test]
fn several_labels_from_yaml_to_report() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    voc(&data, [96, 14, 28]);
    let spec = experiment("voc2012-multi-label-resnet18.yaml")
        .replace("model: resnet18", "model: cnn-small")
        .replace("image_size: 64", "image_size: 32, augmentation: none")
        .replace("samples: {train: 1000, validation: 200, test: 500}", "samples: {train: 96}")
        .replace("learning_rate: 0.0005", "learning_rate: 0.003")
        .replace("bits: [2, 4]", "bits: [4]");
    assert!(spec.contains("task: multi_label") && spec.contains("cnn-small"), "{spec}");
    std::fs::write(folder.path().join("voc.yaml"), spec).unwrap();
    let at = folder.path();
    let done = json(at, &["run", "voc.yaml", "--store", "store", "--data-dir", "data"]);
    assert_eq!(done["failed"], serde_json::json!([]), "{done}");
    let records = records(&at.join("store"));
    assert_eq!(records.len(), 4);
    for record in &records {
        assert_eq!(record["dataset"], "voc2012 (multi-label)");
        let (test, baseline) = (&record["test"], &record["baseline"]);
        // Guessing by frequency gives about 57 %.
        assert!(baseline["map"].as_f64().unwrap() > 85.0, "{baseline}");
        assert!(test["map"].as_f64().unwrap() > 50.0 && test["map11"].is_f64(), "{test}");
        assert!(test.get("top1").is_none() && test.get("top5").is_none(), "{test}");
        let epochs = record["epochs"].as_array().unwrap();
        assert!(epochs.iter().all(|e| e["validation_map"].is_f64() && e["train_top1"].is_null()));
    }
    let listed = json(at, &["results", "voc.yaml", "--store", "store"]);
    assert!(listed.to_string().contains("baseline_map"), "{listed}");

    let arguments = ["report", "voc.yaml", "--store", "store", "--output", "report", "--data-dir", "data"];
    let files = json(at, &arguments);
    let files: Vec<PathBuf> =
        files["files"].as_array().unwrap().iter().map(|file| at.join(file.as_str().unwrap())).collect();
    let text = |start: &str, extension: &str| {
        let named = |path: &&PathBuf| {
            path.file_name().unwrap().to_string_lossy().starts_with(start)
                && path.extension().is_some_and(|of| of == extension)
        };
        let path = files.iter().find(named).unwrap_or_else(|| panic!("{start}*.{extension} in {files:?}"));
        std::fs::read_to_string(path).unwrap()
    };
    let raw = text("raw", "csv");
    let head = raw.lines().next().unwrap();
    for column in ["map_percent", "map11_percent", "validation_map_percent", "baseline_map_percent"] {
        assert!(head.split(',').any(|name| name == column), "{column} in {head}");
    }
    for (start, extension) in [
        ("raw", "csv"),
        ("working_points", "csv"),
        ("main", "md"),
        ("operating_points", "tex"),
        ("accuracy", "svg"),
    ] {
        let found = text(start, extension);
        assert!(!found.to_lowercase().contains("top-1") && !found.contains("top1"), "{start}: {found}");
    }
    assert!(text("operating_points", "tex").contains("mAP"));
    assert!(text("accuracy_over_size", "csv").contains("map_percent"));

    // The raw table alone gives the same tables again.
    let parquet = files.iter().find(|path| path.ends_with("raw.parquet")).unwrap();
    let again = ["report", "--raw", parquet.to_str().unwrap(), "--output", "again"];
    json(at, &again);
    let read = |folder: &str| std::fs::read_to_string(at.join(folder).join("main.csv")).unwrap();
    assert_eq!(read("report"), read("again"));

    // Expected numbers of this task have its name.
    let uniform = records.iter().find(|record| record["method"] == "uniform").unwrap();
    let value = uniform["test"]["map"].as_f64().unwrap();
    let expected = |column: &str| {
        format!(
            "experiment: voc.yaml\nsource: here\nreason: none\nnumbers:\n  - {{label: uniform 4 bit, column: {column}, \
             value: {value}, tolerance: 0.01}}\n"
        )
    };
    for (column, verdict, code) in [("map_percent", "ok", 0), ("top1_percent", "missing", 1)] {
        std::fs::write(at.join("expected.yaml"), expected(column)).unwrap();
        let arguments = ["check", "expected.yaml", "--store", "store", "--data-dir", "data", "--json"];
        let output = ecqx().current_dir(at).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text} {}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains(verdict), "{column}: {text}");
    }
}

/// `evaluate` and `explain` take the task; without it the same files are the largest-object task.
#[test]
fn commands_take_the_task() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    voc(&at.join("data"), [10, 4, 7]);
    let spec = "name: tiny\ndataset: {name: voc2012, task: multi_label, image_size: 224, samples: {train: 4}}\n\
                model: cnn-small\nbaseline:\n  train: {epochs: 1, batch_size: 4}\nbits: [4]\nquantizers:\n  - {method: uniform}\n";
    std::fs::write(at.join("tiny.yaml"), spec).unwrap();
    json(at, &["run", "tiny.yaml", "--store", "store", "--data-dir", "data"]);
    let baselines = at.join("store/baselines");
    let weights =
        std::fs::read_dir(baselines).unwrap().next().unwrap().unwrap().path().join("weights.safetensors");
    let weights = weights.to_str().unwrap();
    let model = ["--model", "cnn-small", "--weights", weights, "--dataset", "voc2012", "--data-dir", "data"];
    let found = json(at, &[&["evaluate"], &model[..], &["--task", "multi_label"]].concat());
    assert!(found["map"].is_f64() && found.get("top1").is_none(), "{found}");
    let found = json(at, &[&["evaluate"], &model[..]].concat());
    assert!(found["top1"].is_f64() && found.get("map").is_none(), "{found}");
    let output = ["--task", "multi_label", "--samples", "3", "--output", "relevance.safetensors"];
    let found = json(at, &[&["explain"], &model[..], &output].concat());
    assert_eq!(found["samples"], 3, "{found}");
    let wrong = ecqx().current_dir(at).args(["evaluate", "--task", "many"]).args(model).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("largest_object or multi_label"));
}

/// The quick experiments of the families of models run to a result on generated pictures.
#[test]
fn quick_experiments_of_the_families() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["resnet32", "mobilenet_v2", "wide-resnet"] {
        let spec = experiment(&format!("embedded-images-{name}.yaml"))
            .replace(
                "samples: {train: 480, validation: 96, test: 192}",
                "samples: {train: 32, validation: 8, test: 16}",
            )
            .replace("epochs: 3", "epochs: 1");
        std::fs::write(folder.path().join("quick.yaml"), spec).unwrap();
        let done = json(folder.path(), &["run", "quick.yaml", "--store", name]);
        assert_eq!((&done["done"], &done["failed"]), (&3.into(), &serde_json::json!([])), "{name}: {done}");
    }
}
