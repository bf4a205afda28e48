//! Matrix products on AMX, the matrix unit of recent Xeon processors: factors in bf16, sums in f32.
//!
//! An operand is a sequence of blocks of [`BLOCK`] lines (rows of the left matrix, columns of the right one); a block is a
//! sequence of steps of [`BLOCK`] in the dimension that is summed over; a step is two tiles of 1 KiB.

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod absent;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod pack;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod product;
#[cfg(test)]
mod tests;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod unit;

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub use absent::Unit;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub use unit::Unit;

/// Lines of a block, and values of a step.
pub const BLOCK: usize = 32;

/// Length, in units of f32, of an operand with `lines` lines of `depth` values; both are rounded up to whole blocks.
pub fn operand_len(lines: usize, depth: usize) -> usize {
    lines.next_multiple_of(BLOCK) * depth.next_multiple_of(BLOCK) / 2
}

/// Rounds to the nearest bf16, to even between two, as the unit's operands are. NaN stays NaN.
pub fn round(values: &mut [f32]) {
    for value in values {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
        *value = if value.is_nan() { *value } else { f32::from_bits(rounded) };
    }
}
