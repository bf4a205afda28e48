//! Class folders from a data folder to a report, through the real binary.

use super::ecqx;
use image::{ImageFormat, Rgb, RgbImage};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Pictures of three classes, told apart by their colour under a changing brightness.
fn generate(root: &Path, classes: &[(&str, [u32; 3])], train: usize, val: usize) {
    for (split, count) in [("train", train), ("val", val)] {
        for (name, colour) in classes {
            let folder = root.join(split).join(name);
            fs::create_dir_all(&folder).unwrap();
            for number in 0..count {
                let brightness = 60 + (number as u32 * 37) % 40;
                let image = RgbImage::from_fn(48, 40, |x, y| {
                    let texture = (x * 7 + y * 13 + number as u32) % 20;
                    Rgb(colour.map(|c| ((c * brightness / 100) + texture) as u8))
                });
                image.save_with_format(folder.join(format!("{number}.jpg")), ImageFormat::Jpeg).unwrap();
            }
        }
    }
}

const CLASSES: [(&str, [u32; 3]); 3] =
    [("blue", [30, 40, 220]), ("green", [30, 200, 50]), ("red", [220, 40, 30])];

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = ecqx().current_dir(folder).args(arguments).arg("--json").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The committed quick experiment on generated folders: colours are learned, every seed has a baseline of its own. Then weights
/// for three classes are trained on for two: the last layer begins anew, and the record says so.
#[test]
fn the_quick_experiment_runs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(&folder.join("data/imagefolder"), &CLASSES, 40, 10);
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/quick/imagefolder-cnn-small.yaml");
    json(folder, &["run", spec.to_str().unwrap()]);
    let runs = json(folder, &["results"]);
    let runs = runs["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 6);
    for run in runs {
        assert!(run["baseline_top1"].as_f64().unwrap() > 60.0, "{run}");
    }
    let baselines: Vec<_> =
        fs::read_dir(folder.join("store/baselines")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(baselines.len(), 2);

    generate(&folder.join("data/two"), &CLASSES[1..], 20, 10);
    fs::copy(baselines[0].join("weights.safetensors"), folder.join("three.safetensors")).unwrap();
    let text = "name: two\ndataset: {name: imagefolder, folder: two, image_size: 32}\nmodel: cnn-small\nbaseline: \
                {checkpoint: three.safetensors, train: {epochs: 2, batch_size: 8}}\nbits: 4\nquantizers: [{method: uniform}]\n";
    fs::write(folder.join("two.yaml"), text).unwrap();
    json(folder, &["run", "two.yaml", "--store", "store-two"]);
    let id = json(folder, &["results", "--store", "store-two"])["runs"][0]["id"].as_str().unwrap().to_owned();
    let record = json(folder, &["show", &id, "--store", "store-two"]).to_string();
    assert!(record.contains("are for 3 classes in place of 2"), "{record}");
}
