//! Quantizers: the trait, codebooks, entropy-constrained assignment, one file per method, the registry.
//!
//! Works on slices of weights; knows nothing of data sets, training loops or files.

pub mod assignment;
pub mod boundaries;
#[cfg(test)]
mod checks;
pub mod codebook;
pub mod counting;
pub mod distribution;
mod ec2t;
mod ecq;
mod ecqx;
pub mod entropy;
#[cfg(test)]
mod golden;
mod kmeans;
mod lsq;
mod magnitude;
pub mod options;
pub mod quantizer;
pub mod registry;
pub mod relevance_search;
#[cfg(target_arch = "x86_64")]
mod table;
mod ternary;
mod ternary_levels;
mod thresholds;
mod trained;
mod uniform;

pub use options::{Profile, profile};
pub use registry::{METHODS, Method, build, method};
