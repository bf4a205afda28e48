//! From pixels to input values: normalisation, with crop, flip and cutout.

/// Where an output image takes its pixels from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Placement {
    /// Mirrored left to right.
    pub flip: bool,
    /// Row of the source that becomes row 0; rows outside are zero pixels.
    pub down: isize,
    /// Column of the source that becomes column 0, before mirroring.
    pub right: isize,
    /// A black square in the output image.
    pub hole: Option<Hole>,
}

/// A square that may reach over the edges of an image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hole {
    /// Its first row.
    pub top: isize,
    /// Its first column.
    pub left: isize,
    /// Rows and columns.
    pub side: usize,
}

impl Hole {
    /// Puts `value` where it covers a plane of rows of this width.
    pub(super) fn fill<T: Copy>(self, plane: &mut [T], width: usize, value: T) {
        let within = |first: isize, length: usize| {
            let end = first.saturating_add_unsigned(self.side).max(0) as usize;
            (first.max(0) as usize).min(length)..end.min(length)
        };
        let (rows, columns) = (within(self.top, plane.len() / width), within(self.left, width));
        for row in rows {
            plane[row * width..][columns.clone()].fill(value);
        }
    }
}

/// Pixel value (0..=255) → input value, per channel.
#[derive(Clone, Debug)]
pub(super) struct PixelTable(Vec<[f32; 256]>);

impl PixelTable {
    /// (v / 255 − mean) / std for each channel.
    pub(super) fn new(mean: &[f32], std: &[f32]) -> Self {
        let channel = |(m, s): (&f32, &f32)| std::array::from_fn(|v| (v as f32 / 255.0 - m) / s);
        Self(mean.iter().zip(std).map(channel).collect())
    }

    /// Channels × 256 values.
    pub(super) fn flat(&self) -> Vec<f32> {
        self.0.concat()
    }

    /// Writes one image of `height` × `width` per channel plane. Pixels from outside the source and those of a hole are black
    /// before normalisation, as when an image is padded before it becomes a tensor.
    pub(super) fn write(
        &self,
        source: &[u8],
        height: usize,
        width: usize,
        placement: Placement,
        output: &mut [f32],
    ) {
        let planes = source.chunks_exact(height * width).zip(output.chunks_exact_mut(height * width));
        for ((from, to), table) in planes.zip(&self.0) {
            for (row, to) in to.chunks_exact_mut(width).enumerate() {
                let source_row = row.checked_add_signed(placement.down).filter(|r| *r < height);
                let from = source_row.map(|r| &from[r * width..(r + 1) * width]);
                for (column, value) in to.iter_mut().enumerate() {
                    let column = if placement.flip { width - 1 - column } else { column };
                    let pixel = from.and_then(|from| {
                        column.checked_add_signed(placement.right).and_then(|c| from.get(c))
                    });
                    *value = table[usize::from(pixel.copied().unwrap_or(0))];
                }
            }
            if let Some(hole) = placement.hole {
                hole.fill(to, width, table[0]);
            }
        }
    }
}
