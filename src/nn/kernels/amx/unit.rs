//! Whether the machine has the unit, and the safe face of its kernels.

use super::{BLOCK, operand_len, pack, product};
use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

/// Proof that the processor has the unit and that the system lets this process use it.
#[derive(Clone, Copy)]
pub struct Unit(());

impl Unit {
    /// The unit, where the machine has it.
    pub fn get() -> Option<Self> {
        static FOUND: OnceLock<bool> = OnceLock::new();
        FOUND.get_or_init(|| processor_has_it() && system_allows_it()).then_some(Self(()))
    }

    /// Rounds and packs the left operand: (line, depth) values, `pitch` values from line to line. Depth is a multiple of [`BLOCK`];
    /// what lies in the last block beyond `lines` is not specified.
    ///
    /// # Panics
    /// When a slice is too short or the depth is not a multiple: a caller's defect.
    pub fn pack_rows(self, x: &[f32], pitch: usize, [lines, depth]: [usize; 2], to: &mut [f32]) {
        assert!(depth.is_multiple_of(BLOCK) && depth <= pitch && to.len() >= operand_len(lines, depth));
        assert!(lines == 0 || x.len() >= (lines - 1) * pitch + depth);
        // SAFETY: the token proves AVX-512 with bf16; the assertions bound what is read and written.
        unsafe { pack::rows(x.as_ptr(), pitch, [lines, depth], to.as_mut_ptr().cast()) }
    }

    /// Rounds and packs the right operand: (depth, line) values, `pitch` values from one depth to the next. Lines are a multiple of
    /// [`BLOCK`]; depth is filled up with zeros.
    ///
    /// # Panics
    /// When a slice is too short or the lines are not a multiple: a caller's defect.
    pub fn pack_columns(self, x: &[f32], pitch: usize, [lines, depth]: [usize; 2], to: &mut [f32]) {
        assert!(lines.is_multiple_of(BLOCK) && lines <= pitch && to.len() >= operand_len(lines, depth));
        assert!(depth == 0 || x.len() >= (depth - 1) * pitch + lines);
        // SAFETY: as in `pack_rows`.
        unsafe { pack::columns(x.as_ptr(), pitch, [lines, depth], to.as_mut_ptr().cast()) }
    }

    /// Rounds and packs the left operand as [`Self::pack_columns`] does the right one: from (depth, line) values.
    ///
    /// # Panics
    /// As [`Self::pack_columns`].
    pub fn pack_transposed(self, x: &[f32], pitch: usize, [lines, depth]: [usize; 2], to: &mut [f32]) {
        assert!(lines.is_multiple_of(BLOCK) && lines <= pitch && to.len() >= operand_len(lines, depth));
        assert!(depth == 0 || x.len() >= (depth - 1) * pitch + lines);
        // SAFETY: as in `pack_rows`.
        unsafe { pack::transposed(x.as_ptr(), pitch, [lines, depth], to.as_mut_ptr().cast()) }
    }

    /// `out ← left · right`, or `out += left · right` with `accumulate`, for `[rows, columns, depth]`, each rounded up to
    /// whole blocks. `out` is a start and the distance between rows.
    ///
    /// # Safety
    /// `out` is writable, and readable with `accumulate`, for all of these blocks.
    ///
    /// # Panics
    /// When an operand is too short: a caller's defect.
    pub unsafe fn multiply(
        self,
        [rows, columns, depth]: [usize; 3],
        left: &[f32],
        right: &[f32],
        out: (*mut f32, usize),
        accumulate: bool,
    ) {
        assert!(left.len() >= operand_len(rows, depth) && right.len() >= operand_len(columns, depth));
        let blocks = [rows, columns, depth].map(|size| size.div_ceil(BLOCK));
        // SAFETY: the token proves the unit, the assertion bounds the operands, and the caller the output.
        unsafe { product::multiply(blocks, left.as_ptr().cast(), right.as_ptr().cast(), out, accumulate) }
    }
}

/// The vector instructions that pack operands, tiles and their bf16 products (Intel's manual, volume 2, `CPUID`).
fn processor_has_it() -> bool {
    let vectors = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bf16");
    // A processor with these has leaf 7.
    if !vectors {
        return false;
    }
    const TILES: u32 = 1 << 24;
    const BF16: u32 = 1 << 22;
    // SAFETY: every x86-64 processor has the instruction.
    #[allow(unused_unsafe, reason = "calls are safe in compilers later than this crate's oldest")]
    let leaf = unsafe { __cpuid_count(7, 0) };
    leaf.edx & (TILES | BF16) == TILES | BF16
}

/// Linux gives the tile registers to a process that asks (Documentation/arch/x86/xstate.rst).
fn system_allows_it() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: the call takes two numbers, and changes nothing but what this process may use.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}
