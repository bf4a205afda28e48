//! Bitstreams in the syntax of Neural Network Coding (ISO/IEC 15938-17): DeepCABAC coding of integer tensors, scalar
//! quantization of float tensors, units and headers. Works on plain slices; knows nothing of networks or runs.
//!
//! ```
//! use ecqx::codec::{Element, ElementData, EncodeOptions, decode, encode};
//! let levels = Element {
//!     name: "fc.weight".into(),
//!     shape: vec![2, 3],
//!     data: ElementData::Integers(vec![0, 1, 0, -1, 0, 0]),
//! };
//! let stream = encode(&[levels.clone()], &EncodeOptions::default())?;
//! assert_eq!(decode(&stream)?, [levels]); // integers come back exactly
//! # Ok::<(), ecqx::codec::CodecError>(())
//! ```

mod arithmetic;
mod bits;
pub mod comparison;
mod context;
#[cfg(test)]
mod golden;
pub mod model_file;
mod tensor;
mod unit;
mod units;

pub use unit::{EncodeOptions, TensorSummary, decode, encode, encode_with_sizes, inspect};
pub use units::{DATA_UNIT, UnitSummary, units};

/// A named tensor in a bitstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// The tensor's name, UTF-8 without NUL.
    pub name: String,
    /// Dimensions; their product is the number of values.
    pub shape: Vec<usize>,
    /// The values, row-major.
    pub data: ElementData,
}

/// Values of an [`Element`].
#[derive(Clone, Debug, PartialEq)]
pub enum ElementData {
    /// Coded without loss.
    Integers(Vec<i32>),
    /// Coded with the quantization parameters of the encoder's options.
    Floats(Vec<f32>),
}

/// A bitstream that cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {message}")]
pub struct CodecError {
    /// Where in the stream, in bytes from its start (0 when encoding).
    pub offset: usize,
    /// What is wrong there.
    pub message: String,
}

impl From<CodecError> for crate::Error {
    fn from(error: CodecError) -> Self {
        Self::Codec(Box::new(error))
    }
}

impl CodecError {
    fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into() }
    }
}
