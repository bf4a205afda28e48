//! Quantizers: the trait, codebooks, one file per method, the registry.
//!
//! Works on slices of weights; knows nothing of data sets, training loops or files.

pub mod codebook;
pub mod quantizer;
