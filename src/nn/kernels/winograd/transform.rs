//! The linear maps between patches, results, weights and transformed tiles. All work on vectors of channels.

#![allow(clippy::needless_range_loop, reason = "the transforms are written in rows and columns")]

use super::super::epilogue::Epilogue;
use super::Pitch;
use super::planes::Strip;
use pulp::Simd;

/// Reads a vector at `at`, in values.
#[inline(always)]
pub(super) unsafe fn load<S: Simd>(_: S, from: *const f32, at: usize) -> S::f32s {
    // SAFETY: the caller keeps the vector inside what `from` points to.
    unsafe { from.add(at).cast::<S::f32s>().read_unaligned() }
}

/// Writes a vector at `at`, in values.
#[inline(always)]
pub(super) unsafe fn store<S: Simd>(_: S, to: *mut f32, at: usize, value: S::f32s) {
    // SAFETY: the caller keeps the vector inside what `to` points to.
    unsafe { to.add(at).cast::<S::f32s>().write_unaligned(value) }
}

/// Bᵀ: four values of a patch to four elements.
#[inline(always)]
fn patch<S: Simd>(simd: S, d: [S::f32s; 4]) -> [S::f32s; 4] {
    [
        simd.sub_f32s(d[0], d[2]),
        simd.add_f32s(d[1], d[2]),
        simd.sub_f32s(d[2], d[1]),
        simd.sub_f32s(d[1], d[3]),
    ]
}

/// Aᵀ: four elements to two results.
#[inline(always)]
fn result<S: Simd>(simd: S, m: [S::f32s; 4]) -> [S::f32s; 2] {
    let (sum, difference) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
    [simd.add_f32s(m[0], sum), simd.sub_f32s(difference, m[3])]
}

/// A, the adjoint of [`result`]: two gradients to four elements.
#[inline(always)]
fn spread<S: Simd>(simd: S, g: [S::f32s; 2]) -> [S::f32s; 4] {
    [g[0], simd.add_f32s(g[0], g[1]), simd.sub_f32s(g[0], g[1]), simd.sub_f32s(simd.splat_f32s(0.0), g[1])]
}

/// G: three weights to four elements.
#[inline(always)]
pub(super) fn weight<S: Simd>(simd: S, g: [S::f32s; 3]) -> [S::f32s; 4] {
    let half = simd.splat_f32s(0.5);
    let (outer, middle) = (simd.mul_f32s(half, simd.add_f32s(g[0], g[2])), simd.mul_f32s(half, g[1]));
    [g[0], simd.add_f32s(outer, middle), simd.sub_f32s(outer, middle), g[2]]
}

/// Gᵀ, the adjoint of [`weight`]: four elements to three weights.
#[inline(always)]
pub(super) fn gather<S: Simd>(simd: S, u: [S::f32s; 4]) -> [S::f32s; 3] {
    let half = simd.splat_f32s(0.5);
    let (sum, difference) =
        (simd.mul_f32s(half, simd.add_f32s(u[1], u[2])), simd.mul_f32s(half, simd.sub_f32s(u[1], u[2])));
    [simd.add_f32s(u[0], sum), difference, simd.add_f32s(u[3], sum)]
}

/// Patches to transformed tiles.
#[inline(always)]
pub(super) fn input<S: Simd>(
    simd: S,
    strip: &Strip,
    channels: usize,
    from: &[f32],
    pitch: Pitch,
    to: &mut [f32],
) {
    assert!(from.len() >= strip.patch_len(channels) && to.len() >= pitch.len());
    let row = strip.pitches()[0] * channels;
    let (from, to) = (from.as_ptr(), to.as_mut_ptr());
    for (tile, [at, _]) in strip.positions().into_iter().enumerate() {
        for channel in (0..channels).step_by(S::F32_LANES) {
            // SAFETY: a tile's 4×4 patch lies inside the patches, and its 16 elements inside `to`: see the assertions.
            unsafe {
                let at = at * channels + channel;
                let mut half = [[simd.splat_f32s(0.0); 4]; 4];
                for x in 0..4 {
                    let mut column = [simd.splat_f32s(0.0); 4];
                    for (y, value) in column.iter_mut().enumerate() {
                        *value = load(simd, from, at + y * row + x * channels);
                    }
                    let column = patch(simd, column);
                    for y in 0..4 {
                        half[y][x] = column[y];
                    }
                }
                for (y, row) in half.into_iter().enumerate() {
                    for (x, value) in patch(simd, row).into_iter().enumerate() {
                        store(simd, to, (y * 4 + x) * pitch.element + tile * pitch.tile + channel, value);
                    }
                }
            }
        }
    }
}

/// An epilogue's values for one vector of channels.
struct Finish<V> {
    scale: Option<V>,
    shift: Option<V>,
    relu: bool,
}

impl<V: Copy> Finish<V> {
    /// # Safety
    /// The epilogue has a vector of values at `channel`.
    #[inline(always)]
    #[allow(clippy::manual_map, reason = "a closure would not be compiled for the vectors at hand")]
    unsafe fn new<S: Simd<f32s = V>>(simd: S, epilogue: &Epilogue<'_>, channel: usize) -> Self {
        // SAFETY: the caller's contract.
        unsafe {
            Self {
                scale: match epilogue.scale {
                    Some(values) => Some(load(simd, values.as_ptr(), channel)),
                    None => None,
                },
                shift: match epilogue.shift {
                    Some(values) => Some(load(simd, values.as_ptr(), channel)),
                    None => None,
                },
                relu: epilogue.relu,
            }
        }
    }

    #[inline(always)]
    fn apply<S: Simd<f32s = V>>(&self, simd: S, mut value: V) -> V {
        if let Some(scale) = self.scale {
            value = simd.mul_f32s(value, scale);
        }
        if let Some(shift) = self.shift {
            value = simd.add_f32s(value, shift);
        }
        if self.relu {
            // A comparison instead of a maximum: what is not a number stays visible.
            let zero = simd.splat_f32s(0.0);
            value = simd.select_f32s(simd.less_than_f32s(value, zero), zero, value);
        }
        value
    }
}

/// Products to results, with the epilogue.
#[inline(always)]
pub(super) fn output<S: Simd>(
    simd: S,
    strip: &Strip,
    channels: usize,
    epilogue: &Epilogue<'_>,
    from: &[f32],
    pitch: Pitch,
    to: &mut [f32],
) {
    assert!(from.len() >= pitch.len() && to.len() >= strip.result_len(channels));
    assert!(epilogue.fits(channels));
    let row = strip.pitches()[1] * channels;
    let (from, to) = (from.as_ptr(), to.as_mut_ptr());
    for (tile, [_, at]) in strip.positions().into_iter().enumerate() {
        for channel in (0..channels).step_by(S::F32_LANES) {
            // SAFETY: a tile's 16 elements lie inside `from`, its 2×2 results inside `to`: see the assertions.
            unsafe {
                let at = at * channels + channel;
                let finish = Finish::new(simd, epilogue, channel);
                let mut half = [[simd.splat_f32s(0.0); 4]; 2];
                for x in 0..4 {
                    let start = x * pitch.element + tile * pitch.tile + channel;
                    let mut column = [simd.splat_f32s(0.0); 4];
                    for (y, value) in column.iter_mut().enumerate() {
                        *value = load(simd, from, start + 4 * y * pitch.element);
                    }
                    let column = result(simd, column);
                    half[0][x] = column[0];
                    half[1][x] = column[1];
                }
                for (y, line) in half.into_iter().enumerate() {
                    for (x, value) in result(simd, line).into_iter().enumerate() {
                        store(simd, to, at + y * row + x * channels, finish.apply(simd, value));
                    }
                }
            }
        }
    }
}

/// Gradients of results to gradients of transformed tiles: the adjoint of [`output`].
#[inline(always)]
pub(super) fn gradient<S: Simd>(
    simd: S,
    strip: &Strip,
    channels: usize,
    from: &[f32],
    pitch: Pitch,
    to: &mut [f32],
) {
    assert!(to.len() >= pitch.len() && from.len() >= strip.result_len(channels));
    let row = strip.pitches()[1] * channels;
    let (from, to) = (from.as_ptr(), to.as_mut_ptr());
    for (tile, [_, at]) in strip.positions().into_iter().enumerate() {
        for channel in (0..channels).step_by(S::F32_LANES) {
            // SAFETY: as in `output`, with source and target exchanged.
            unsafe {
                let at = at * channels + channel;
                let mut half = [[simd.splat_f32s(0.0); 2]; 4];
                for x in 0..2 {
                    let above = load(simd, from, at + x * channels);
                    let column = spread(simd, [above, load(simd, from, at + row + x * channels)]);
                    for y in 0..4 {
                        half[y][x] = column[y];
                    }
                }
                for (y, line) in half.into_iter().enumerate() {
                    for (x, value) in spread(simd, line).into_iter().enumerate() {
                        store(simd, to, (y * 4 + x) * pitch.element + tile * pitch.tile + channel, value);
                    }
                }
            }
        }
    }
}
