//! CPU kernels on plain slices: no tensors, no gradients bookkeeping. [`super::ops`] wraps them as tensor operations.
//!
//! Threads are those of the current rayon pool. Work is cut into pieces by shape and thread count only, and partial
//! sums are added in a fixed order, so results depend on nothing else.

pub mod adaptive_pool;
mod amx;
pub mod batch_norm;
mod batch_norm_sums;
mod buffer;
pub mod conv2d;
mod conv_shape;
mod depthwise;
mod direct;
mod direct_weight;
pub mod elementwise;
pub mod epilogue;
pub mod gemm;
pub mod linear;
pub mod norm;
pub mod pool;
pub mod row_norm;
pub(crate) mod scratch;
mod transpose;
mod unfold;
mod winograd;
