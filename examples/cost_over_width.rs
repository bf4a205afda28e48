//! How the cost of a training step grows with the number of weights and of samples: `cost_over_width FOLDER` measures a
//! perceptron of three hidden layers and writes two figures with their data, `cost-over-weights` and `cost-over-samples`.
//! Threads: `RAYON_NUM_THREADS`.

mod harness;

use ecqx::nn::{Layer, Network, Operation};
use ecqx::report::figure::line_chart::line_chart;
use std::path::Path;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KINDS: [(&str, &str); 3] = [("plain", "plain step"), ("ecq", "ECQ step"), ("ecqx", "ECQx step")];
const WIDTHS: [usize; 6] = [256, 512, 768, 1024, 1280, 1536];
const BATCHES: [usize; 6] = [32, 64, 128, 192, 256, 384];
/// Batch while the width changes, and width while the batch changes.
const FIXED: (usize, usize) = (64, 512);
const REPEATS: usize = 15;

fn perceptron(width: usize) -> ecqx::Result<Network> {
    let mut layers = Vec::new();
    let mut last = "input".to_owned();
    for (index, (inputs, outputs)) in
        [(width, width), (width, width), (width, width), (width, 12)].into_iter().enumerate()
    {
        let linear = Operation::Linear { inputs, outputs, bias: true };
        layers.push(Layer::new(format!("layer{index}"), linear, last));
        last = format!("layer{index}");
        if index < 3 {
            layers.push(Layer::new(format!("relu{index}"), Operation::Relu, last));
            last = format!("relu{index}");
        }
    }
    Network::new("perceptron", &[width], layers)
}

/// The smallest of the times: what the step costs when nothing else runs.
fn least(network: &Network, kind: &str, batch: usize) -> ecqx::Result<f64> {
    Ok(harness::training(network, kind, batch, REPEATS)?.into_iter().fold(f64::INFINITY, f64::min))
}

fn main() -> ecqx::Result<()> {
    let folder = std::env::args().nth(1).expect("usage: cost_over_width FOLDER");
    let pool = rayon::ThreadPoolBuilder::new().build().expect("a pool of threads");
    let (mut over_weights, mut over_samples) = (Vec::new(), Vec::new());
    for (kind, name) in KINDS {
        let (mut by_width, mut by_batch) = (Vec::new(), Vec::new());
        pool.install(|| -> ecqx::Result<()> {
            for width in WIDTHS {
                let network = perceptron(width)?;
                let weights = (3 * width * width + 12 * width) as f64 / 1e6;
                by_width.push((weights, least(&network, kind, FIXED.0)?));
            }
            let network = perceptron(FIXED.1)?;
            for batch in BATCHES {
                by_batch.push((batch as f64, least(&network, kind, batch)?));
            }
            Ok(())
        })?;
        over_weights.push((name.to_owned(), by_width));
        over_samples.push((name.to_owned(), by_batch));
    }
    let title = format!("batch {}", FIXED.0);
    let weights = line_chart(&title, ["weights, millions", "step, ms"], over_weights)?;
    let title = format!("width {}", FIXED.1);
    let samples = line_chart(&title, ["samples in a batch", "step, ms"], over_samples)?;
    for (name, drawing) in [("cost-over-weights", weights), ("cost-over-samples", samples)] {
        let path = Path::new(&folder).join(name);
        std::fs::write(path.with_extension("svg"), drawing.svg).expect("the folder takes files");
        std::fs::write(path.with_extension("csv"), drawing.csv).expect("the folder takes files");
    }
    Ok(())
}
