//! Lists of named things that users extend (methods, models, data sets, …) and parameters described as data.
//!
//! Not here: the things themselves. Each list is made where its things are.

mod catalogue;
mod parameter;

pub use catalogue::{Catalogue, Named};
pub use parameter::{Choice, Kind, Parameter, differences, found, resolve, shown, symbol};
