//! Systems without the unit.

use std::convert::Infallible;

/// Never there: see the module.
#[derive(Clone, Copy)]
pub struct Unit(Infallible);

impl Unit {
    /// The unit, where the machine has it: here, never.
    pub fn get() -> Option<Self> {
        None
    }

    /// Unreachable.
    pub fn pack_rows(self, _: &[f32], _: usize, _: [usize; 2], _: &mut [f32]) {
        match self.0 {}
    }

    /// Unreachable.
    pub fn pack_columns(self, _: &[f32], _: usize, _: [usize; 2], _: &mut [f32]) {
        match self.0 {}
    }

    /// Unreachable.
    pub fn pack_transposed(self, _: &[f32], _: usize, _: [usize; 2], _: &mut [f32]) {
        match self.0 {}
    }

    /// Unreachable.
    ///
    /// # Safety
    /// None is needed.
    pub unsafe fn multiply(self, _: [usize; 3], _: &[f32], _: &[f32], _: (*mut f32, usize), _: bool) {
        match self.0 {}
    }
}
