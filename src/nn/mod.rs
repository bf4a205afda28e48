//! Networks: CPU kernels, operations with their gradients, the layer graph and its walks, parameters, initialisation.
//!
//! Not here: architectures (in [`crate::model`]), optimizers and loops (in [`crate::train`]).

pub mod gradient;
pub mod init;
pub mod kernels;
pub mod layer;
pub mod network;
pub mod ops;
pub mod parameters;

pub use gradient::Gradients;
pub use layer::{Layer, Operation};
pub use network::{Mode, Network, Trace};
pub use parameters::{Parameter, ParameterShape, Parameters, Role};
