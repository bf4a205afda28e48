//! A batch of images made on the device: bytes go there, a quarter of what finished inputs would take, and crop, flip,
//! cutout and normalisation are gathers. The values are those of [`PixelTable::write`](super::placement::PixelTable::write) to the
//! last bit.

use super::placement::{PixelTable, Placement};
use crate::nn::transfer;
use candle_core::{DType, Device, Result, Tensor};

/// Images as bytes, with what makes inputs of them.
pub struct PlacedImages {
    /// Images, channels, height, width.
    shape: [usize; 4],
    /// Channel planes, row by row, image after image.
    pixels: Vec<u8>,
    /// Images × height: the row of the source that each row shows; `height` for a black one.
    rows: Vec<u32>,
    /// Images × width: the same for columns.
    columns: Vec<u32>,
    /// Where there are holes, images × height × width: 1 for a pixel that stays and 0 for one that is black.
    kept: Option<Vec<u8>>,
    /// Channels × 256: the input value of each pixel value.
    values: Vec<f32>,
}

/// The place in the source that `at` shows; `length`, where the black border lies, for what is outside.
fn source(at: usize, shift: isize, length: usize) -> u32 {
    at.checked_add_signed(shift).filter(|place| *place < length).unwrap_or(length) as u32
}

/// 1 for each pixel of an image that its hole leaves, row by row.
fn kept(placement: &Placement, height: usize, width: usize) -> Vec<u8> {
    let mut kept = vec![1; height * width];
    if let Some(hole) = placement.hole {
        hole.fill(&mut kept, width, 0);
    }
    kept
}

impl PlacedImages {
    /// `pixels` holds one image of `shape` (channels, height, width) for each placement.
    pub(super) fn new(
        shape: [usize; 3],
        pixels: Vec<u8>,
        placements: &[Placement],
        table: &PixelTable,
    ) -> Self {
        let [channels, height, width] = shape;
        let row = |placement: &Placement| {
            let down = placement.down;
            (0..height).map(move |row| source(row, down, height))
        };
        let column = |placement: &Placement| {
            let Placement { flip, right, .. } = *placement;
            (0..width).map(move |column| source(if flip { width - 1 - column } else { column }, right, width))
        };
        let has_holes = placements.iter().any(|placement| placement.hole.is_some());
        Self {
            shape: [placements.len(), channels, height, width],
            kept: has_holes
                .then(|| placements.iter().flat_map(|placement| kept(placement, height, width)).collect()),
            rows: placements.iter().flat_map(row).collect(),
            columns: placements.iter().flat_map(column).collect(),
            values: table.flat(),
            pixels,
        }
    }

    /// The inputs: (images, channels, height, width), f32.
    ///
    /// # Errors
    /// When the device fails.
    pub fn on_device(self, device: &Device) -> Result<Tensor> {
        let [count, channels, height, width] = self.shape;
        let pixels = transfer::tensor(self.pixels, (count, channels, height, width), device)?;
        // One more row and column, black: what lies outside of the source.
        let bordered = pixels.pad_with_zeros(2, 0, 1)?.pad_with_zeros(3, 0, 1)?;
        let bordered = bordered.reshape((count, channels, (height + 1) * (width + 1)))?;
        let rows = transfer::tensor(self.rows, (count, height, 1), device)?;
        let columns = transfer::tensor(self.columns, (count, 1, width), device)?;
        let stride = Tensor::new(width as u32 + 1, device)?;
        let places = rows.broadcast_mul(&stride)?.broadcast_add(&columns)?;
        let places = places.reshape((count, 1, height * width))?;
        let places = places.broadcast_as((count, channels, height * width))?.contiguous()?;
        let mut placed = bordered.gather(&places, 2)?;
        if let Some(kept) = self.kept {
            placed = placed.broadcast_mul(&transfer::tensor(kept, (count, 1, height * width), device)?)?;
        }
        let placed = placed.to_dtype(DType::U32)?;
        // Into the table of all channels: each has 256 values of its own.
        let starts: Vec<u32> = (0..channels as u32).map(|channel| channel * 256).collect();
        let starts = transfer::tensor(starts, (1, channels, 1), device)?;
        let at = placed.broadcast_add(&starts)?.flatten_all()?;
        let values = transfer::tensor(self.values, channels * 256, device)?;
        values.index_select(&at, 0)?.reshape((count, channels, height, width))
    }
}

#[cfg(test)]
mod tests {
    use super::super::placement::Hole;
    use super::*;

    /// Shifts and holes beyond the edge, mirrored and not, and every pixel value: bit for bit what the host writes.
    #[test]
    fn device_and_host_place_alike() {
        let shape @ [channels, height, width] = [3usize, 16, 17];
        let table = PixelTable::new(&[0.49, 0.46, 0.41], &[0.23, 0.22, 0.225]);
        let mut placements: Vec<Placement> =
            [(false, 0, 0), (true, 0, 0), (false, -3, 4), (true, 2, -5), (true, -20, 40)]
                .map(|(flip, down, right)| Placement { flip, down, right, hole: None })
                .into();
        let holes = [None, Some((-3, -2)), Some((4, 5)), Some((14, 15)), Some((-40, 90))];
        for (placement, hole) in placements.iter_mut().zip(holes) {
            placement.hole = hole.map(|(top, left)| Hole { top, left, side: 6 });
        }
        let size = channels * height * width;
        let pixels: Vec<u8> = (0..placements.len() * size).map(|at| (at * 7 % 256) as u8).collect();
        let mut host = vec![0f32; pixels.len()];
        for ((from, to), placement) in pixels.chunks(size).zip(host.chunks_mut(size)).zip(&placements) {
            table.write(from, height, width, *placement, to);
        }
        // The second image keeps all but rows 0 to 2 and columns 0 to 3, the third is whole but for its hole.
        let black = table.flat()[0];
        assert!(host[size..][..width].iter().take(4).all(|value| *value == black));
        assert!(host[2 * size + 4 * width + 5..][..6].iter().all(|value| *value == black));
        let placed = PlacedImages::new(shape, pixels, &placements, &table);
        let device = placed.on_device(&Device::Cpu).unwrap();
        assert_eq!(device.dims(), [5, 3, 16, 17]);
        assert!(device.flatten_all().unwrap().to_vec1::<f32>().unwrap() == host);
    }
}
