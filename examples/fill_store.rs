//! Fills a store with made-up finished runs, to measure `plan`, `status` and `report` on many:
//! `fill_store SPEC STORE` copies the first finished record of STORE for every run of SPEC that is not there.

use ecqx::record::{Metric, Outcome, RunRecord, Score};
use ecqx::run::Context;
use ecqx::spec::{Experiment, Registry, grid};
use ecqx::store::Store;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [spec, folder] = arguments.as_slice() else { return Err("fill_store SPEC STORE".into()) };
    let store = Store::existing(Path::new(folder))?;
    let (records, _) = store.records()?;
    let template = records.into_iter().find(|record| record.is_done()).ok_or("no finished run")?;
    let model = std::fs::read(store.run_folder(&template.id).join("model.nnc"))?;
    let registry = Registry::builtin();
    let experiment = Experiment::load(Path::new(spec), &registry)?;
    let device = candle_core::Device::Cpu;
    let context = Context::new(registry.clone(), store, "nowhere".into(), Vec::new(), device);
    let mut made = 0usize;
    for run in grid::expand(&experiment, &registry)?.runs {
        let (id, _) = context.ids(&run)?;
        let target = context.store.run_folder(&id);
        if target.exists() {
            continue;
        }
        let mut record = RunRecord {
            experiment: experiment.name.clone(),
            method: run.quantizer.method.clone(),
            label: run.label(),
            bits: run.quantizer.bits,
            parameters: run.quantizer.parameters.clone(),
            seed: run.seed,
            spec: run.json()?,
            id,
            ..template.clone()
        };
        // Numbers that differ from run to run, as real ones do.
        let share = f64::from(u32::from_str_radix(&record.id[..6], 16)?) / f64::from(1 << 24);
        if let Outcome::Done(measured) = &mut record.outcome {
            measured.test.score = Score::of(Metric::Top1, 60.0 + 30.0 * share);
            measured.sparsity = share;
            measured.sizes.file = 1000 + (20_000.0 * (1.0 - share)) as usize;
        }
        // As the store writes it, without waiting for the disk ten thousand times.
        let json = serde_json::to_vec_pretty(&record)?;
        std::fs::create_dir_all(&target)?;
        let mut digest = String::new();
        for (name, content) in [("model.nnc", &model), ("record.json", &json)] {
            digest += &format!("{}  {name}\n", blake3::hash(content).to_hex());
            std::fs::write(target.join(name), content)?;
        }
        std::fs::write(target.join("digest"), digest)?;
        made += 1;
    }
    println!("{made} runs made up");
    Ok(())
}
