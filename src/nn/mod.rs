//! Networks: backends, CPU kernels, operations with their gradients, the layer graph and its walks, parameters, initialisation.
//!
//! Not here: architectures (in [`crate::model`]), optimizers and loops (in [`crate::train`]).

pub mod backend;
pub mod forward;
pub mod gradient;
pub mod init;
pub mod kernels;
pub mod layer;
pub mod memory;
pub mod network;
pub mod ops;
pub mod parameters;
#[cfg(test)]
mod tests;
pub mod transfer;

pub use backend::Backend;
pub use forward::{Mode, Trace};
pub use gradient::Gradients;
pub use layer::{Layer, Operation};
pub use network::Network;
pub use parameters::{Parameter, ParameterShape, Parameters, Role};
