//! Quantizers: the trait, codebooks, entropy-constrained assignment, one file per method, the registry.
//!
//! Works on slices of weights, and on tensors of a device ([`device`]); knows nothing of data sets, training loops or files.

mod adaround;
pub mod allocation;
pub mod assignment;
pub mod boundaries;
#[cfg(target_arch = "x86_64")]
mod bucketed;
pub mod calibration;
mod cerwu;
mod checkpoint;
#[cfg(test)]
mod checks;
pub mod codebook;
mod columns;
pub mod count_above;
mod criterion;
pub mod device;
pub mod distribution;
mod ec2t;
mod ecq;
mod ecqx;
pub mod entropy;
mod entropy_settings;
mod epr;
#[cfg(test)]
mod golden;
mod granularity;
mod hessian;
mod kmeans;
mod layerwise;
#[cfg(test)]
mod layerwise_tests;
pub mod learned;
mod lsq;
mod magnitude;
pub mod method;
mod nnc;
mod optq;
pub mod per_tensor;
mod percentile_step;
pub mod quantizer;
mod rate;
mod rate_term;
pub mod recognition;
pub mod registry;
mod relevance_schedule;
pub mod relevance_search;
pub(crate) mod scalar;
pub mod scope;
pub mod state;
pub mod ste;
mod step_rule;
mod sweep;
pub mod tensor;
mod ternary;
mod ternary_levels;
mod thresholds;
mod uniform;

pub use method::{Method, Profile, Role, Setup};
pub use per_tensor::{PerTensor, TensorQuantizer};
pub use registry::{build, builtin};
pub use scope::{Bits, Scope};
