//! `ecqx validate`: check experiments without running anything.

use super::Global;
use crate::plan;
use std::path::PathBuf;

/// Check experiments without data and without running anything
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Experiments (YAML files)
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let loaded = plan::load(&args.specs, &global.registry)?;
    if global.json {
        let list: Vec<_> = loaded
            .iter()
            .map(|(experiment, grid)| {
                serde_json::json!({
                    "file": experiment.path.display().to_string(),
                    "name": experiment.name,
                    "runs": grid.runs.len(),
                    "duplicates": grid.duplicates,
                })
            })
            .collect();
        println!("{}", serde_json::json!({"experiments": list}));
    } else {
        for (experiment, grid) in &loaded {
            println!("{}: {} is valid, {} runs", experiment.path.display(), experiment.name, grid.runs.len());
            if grid.duplicates > 0 {
                println!("  note: {} equal grid points stand there twice and run once", grid.duplicates);
            }
        }
    }
    Ok(super::DONE)
}
