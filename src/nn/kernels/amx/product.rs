//! The product itself: 32×32 results in four tile registers.
//!
//! Compilers know the unit only behind unstable intrinsics, so this is assembly: registers 0–3 hold sums, 4 and 5 two
//! tiles of the left operand, 6 and 7 of the right one.

use super::BLOCK;
use std::arch::asm;

/// Bytes of a step of an operand: two tiles.
const STEP: usize = 2048;

/// The layout of the tile registers: all eight have 16 rows of 64 bytes (Intel's manual, `LDTILECFG`).
#[repr(C, align(64))]
struct Layout([u8; 64]);

const LAYOUT: Layout = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut register = 0;
    while register < 8 {
        bytes[16 + 2 * register] = 64;
        bytes[48 + register] = 16;
        register += 1;
    }
    Layout(bytes)
};

/// See `Unit::multiply`; sizes are counted in blocks.
///
/// # Safety
/// The machine has the unit; operands and output have room for these blocks.
pub(super) unsafe fn multiply(
    [rows, columns, depth]: [usize; 3],
    left: *const u8,
    right: *const u8,
    (out, pitch): (*mut f32, usize),
    accumulate: bool,
) {
    if depth == 0 {
        return;
    }
    // SAFETY: the layout is a valid one; no other code of this program uses tile registers.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &LAYOUT, options(nostack, preserves_flags)) };
    for column in 0..columns {
        for row in 0..rows {
            // SAFETY: these blocks are part of the caller's.
            unsafe {
                let out = out.add(row * BLOCK * pitch + column * BLOCK);
                block(
                    left.add(row * depth * STEP),
                    right.add(column * depth * STEP),
                    depth,
                    out,
                    pitch,
                    accumulate,
                );
            }
        }
    }
    // SAFETY: nothing is in the registers that is needed. Without it the system would save them at each switch.
    unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
}

/// One block of results.
///
/// # Safety
/// The layout is loaded; the operands have `steps` steps, at least one, and `out` is a block of rows `pitch` values apart.
#[inline]
unsafe fn block(
    left: *const u8,
    right: *const u8,
    steps: usize,
    out: *mut f32,
    pitch: usize,
    accumulate: bool,
) {
    // SAFETY: reads and writes only what the caller's contract allows.
    unsafe {
        asm!(
            "test {accumulate:e}, {accumulate:e}",
            "jnz 2f",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "jmp 3f",
            "2:",
            "tileloadd tmm0, [{out} + {pitch}]",
            "tileloadd tmm1, [{out} + {pitch} + 64]",
            "tileloadd tmm2, [{below} + {pitch}]",
            "tileloadd tmm3, [{below} + {pitch} + 64]",
            "3:",
            "tileloadd tmm4, [{left} + {line}]",
            "tileloadd tmm6, [{right} + {line}]",
            "tileloadd tmm7, [{right} + {line} + 1024]",
            "tileloadd tmm5, [{left} + {line} + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {left}, {step}",
            "add {right}, {step}",
            "dec {steps}",
            "jnz 3b",
            "tilestored [{out} + {pitch}], tmm0",
            "tilestored [{out} + {pitch} + 64], tmm1",
            "tilestored [{below} + {pitch}], tmm2",
            "tilestored [{below} + {pitch} + 64], tmm3",
            left = inout(reg) left => _,
            right = inout(reg) right => _,
            steps = inout(reg) steps => _,
            out = in(reg) out,
            below = in(reg) out.add(BLOCK / 2 * pitch),
            pitch = in(reg) pitch * size_of::<f32>(),
            line = in(reg) 64usize,
            accumulate = in(reg) u32::from(accumulate),
            step = const STEP,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
