//! Blocks of tiles, and the copies between images (channel, row, column) and patches (row, column, channel).

use super::super::conv_shape::ConvShape;

use super::super::transpose::{LANES, from_vectors, to_vectors};
use pulp::Simd;

/// Some rows of tiles of consecutive samples: all of them where there is more than one sample.
pub(super) struct Strip {
    /// The samples.
    samples: std::ops::Range<usize>,
    /// Rows of tiles of each sample.
    rows: std::ops::Range<usize>,
    /// Tiles in a row.
    pub columns: usize,
    /// Height and width of the results.
    results: [usize; 2],
}

impl Strip {
    /// Cuts a batch into strips of about `target` tiles.
    pub fn all(s: &ConvShape, target: usize) -> Vec<Self> {
        let results = [s.output[1], s.output[2]];
        let [rows, columns] = results.map(|size| size.div_ceil(2));
        let strip = |samples, rows| Self { samples, rows, columns, results };
        let per_strip = target / (rows * columns).max(1);
        if per_strip > 1 {
            // No fewer strips than threads, where there are as many samples.
            let per_strip = per_strip.min(s.batch.div_ceil(rayon::current_num_threads()).max(1));
            let starts = (0..s.batch).step_by(per_strip);
            return starts.map(|first| strip(first..s.batch.min(first + per_strip), 0..rows)).collect();
        }
        let height = (target / columns).clamp(1, rows);
        let starts = move |sample: usize| {
            (0..rows).step_by(height).map(move |first| (sample, first..rows.min(first + height)))
        };
        (0..s.batch).flat_map(starts).map(|(sample, rows)| strip(sample..sample + 1, rows)).collect()
    }

    /// Number of tiles.
    pub fn tiles(&self) -> usize {
        self.samples.len() * self.rows.len() * self.columns
    }

    /// Rows and columns of the patch of one sample: two more than results.
    fn patch_size(&self) -> [usize; 2] {
        [2 * self.rows.len() + 2, 2 * self.columns + 2]
    }

    /// Values of the patches of all samples.
    pub fn patch_len(&self, channels: usize) -> usize {
        let [height, width] = self.patch_size();
        self.samples.len() * height * width * channels
    }

    /// Values of the results of all samples.
    pub fn result_len(&self, channels: usize) -> usize {
        self.samples.len() * 4 * self.rows.len() * self.columns * channels
    }

    /// For each tile in order: the position of its first value in the patches and in the results, in units of channels.
    pub fn positions(&self) -> Vec<[usize; 2]> {
        let [height, width] = self.patch_size();
        let mut positions = Vec::with_capacity(self.tiles());
        for sample in 0..self.samples.len() {
            for row in 0..self.rows.len() {
                for column in 0..self.columns {
                    let patch = (sample * height + 2 * row) * width + 2 * column;
                    let result = ((sample * self.rows.len() + row) * 2 * self.columns + column) * 2;
                    positions.push([patch, result]);
                }
            }
        }
        positions
    }

    /// Distance between rows of patches and of results, in units of channels.
    pub fn pitches(&self) -> [usize; 2] {
        [2 * self.columns + 2, 2 * self.columns]
    }

    /// Fills `patch` from the images, zeros where the padding is.
    #[inline(always)]
    pub fn pack<S: Simd>(
        &self,
        simd: S,
        [channels, height, width]: [usize; 3],
        padding: [usize; 2],
        x: &[f32],
        patch: &mut [f32],
    ) {
        let [rows, columns] = self.patch_size();
        let above = padding[0].saturating_sub(2 * self.rows.start).min(rows);
        let first = (2 * self.rows.start).saturating_sub(padding[0]).min(height);
        let count = (rows - above).min(height - first);
        let copy = Copy { channels, pitch: columns, start: above * columns + padding[1], first, count };
        for (patch, sample) in patch.chunks_exact_mut(rows * columns * channels).zip(self.samples.clone()) {
            // Everything but the image's own values.
            let (line, inner) = (columns * channels, padding[1] * channels..(padding[1] + width) * channels);
            patch[..above * line].fill(0.0);
            patch[(above + count) * line..].fill(0.0);
            for line in patch[above * line..(above + count) * line].chunks_exact_mut(line) {
                line[..inner.start].fill(0.0);
                line[inner.end..].fill(0.0);
            }
            copy.read_image(simd, &x[sample * channels * height * width..], [height, width], patch);
        }
    }

    /// Fills `results` from images of the results' size, zeros beyond their border.
    #[inline(always)]
    pub fn pack_results<S: Simd>(&self, simd: S, channels: usize, grad: &[f32], results: &mut [f32]) {
        let ([height, width], columns) = (self.results, 2 * self.columns);
        let first = 2 * self.rows.start;
        let count = (2 * self.rows.len()).min(height - first);
        let copy = Copy { channels, pitch: columns, start: 0, first, count };
        let size = 2 * self.rows.len() * columns * channels;
        for (results, sample) in results.chunks_exact_mut(size).zip(self.samples.clone()) {
            results[count * columns * channels..].fill(0.0);
            if width < columns {
                results
                    .chunks_exact_mut(columns * channels)
                    .for_each(|line| line[width * channels..].fill(0.0));
            }
            copy.read_image(simd, &grad[sample * channels * height * width..], [height, width], results);
        }
    }

    /// Copies `results` to their place in the output of `length` values.
    ///
    /// # Safety
    /// `out` is writable for `length` values, and nobody else writes this strip's part of it.
    #[inline(always)]
    pub unsafe fn unpack<S: Simd>(
        &self,
        simd: S,
        channels: usize,
        results: &[f32],
        (out, length): (*mut f32, usize),
    ) {
        let ([height, width], columns) = (self.results, 2 * self.columns);
        let first = 2 * self.rows.start;
        let count = (2 * self.rows.len()).min(height - first);
        let copy = Copy { channels, pitch: columns, start: 0, first, count };
        let size = 2 * self.rows.len() * columns * channels;
        assert!(self.samples.end * channels * height * width <= length);
        for (results, sample) in results.chunks_exact(size).zip(self.samples.clone()) {
            // SAFETY: the assertion bounds the sample.
            unsafe {
                let out = out.add(sample * channels * height * width);
                copy.write_image(simd, results, [height, width], out);
            }
        }
    }
}

/// Rows of an image (channel, row, column) and their place in an array (row, column, channel).
struct Copy {
    channels: usize,
    /// Columns of the array.
    pitch: usize,
    /// Column of the first value in the array, counted over its rows.
    start: usize,
    /// First row of the image.
    first: usize,
    /// Number of rows.
    count: usize,
}

impl Copy {
    /// Offset in the array of every value, in order of the image.
    fn offsets(&self, width: usize) -> Vec<u32> {
        let mut offsets = vec![0; self.count * width];
        for (row, offsets) in offsets.chunks_exact_mut(width).enumerate() {
            let start = self.start + row * self.pitch;
            for (column, offset) in offsets.iter_mut().enumerate() {
                *offset = ((start + column) * self.channels) as u32;
            }
        }
        offsets
    }

    #[inline(always)]
    fn read_image<S: Simd>(&self, simd: S, image: &[f32], [height, width]: [usize; 2], array: &mut [f32]) {
        let offsets = self.offsets(width);
        let largest = offsets.last().map_or(0, |&last| last as usize);
        assert!(self.channels.is_multiple_of(LANES) && image.len() >= self.channels * height * width);
        assert!(self.first + self.count <= height && array.len() >= largest + self.channels);
        for channel in (0..self.channels).step_by(LANES) {
            // SAFETY: sixteen channels of the image from here on, and all vectors of the array: see the assertions.
            unsafe {
                let from = image.as_ptr().add(channel * height * width + self.first * width);
                to_vectors(simd, from, height * width, &offsets, array.as_mut_ptr().add(channel));
            }
        }
    }

    /// # Safety
    /// `image` is writable for one sample.
    #[inline(always)]
    unsafe fn write_image<S: Simd>(
        &self,
        simd: S,
        array: &[f32],
        [height, width]: [usize; 2],
        image: *mut f32,
    ) {
        let offsets = self.offsets(width);
        let largest = offsets.last().map_or(0, |&last| last as usize);
        assert!(self.channels.is_multiple_of(LANES) && array.len() >= largest + self.channels);
        assert!(self.first + self.count <= height);
        for channel in (0..self.channels).step_by(LANES) {
            // SAFETY: sixteen channels of the image from here on, and all vectors of the array: see the assertions.
            unsafe {
                let to = image.add(channel * height * width + self.first * width);
                from_vectors(simd, array.as_ptr().add(channel), &offsets, to, height * width);
            }
        }
    }
}
