//! Other ways to store level indices, for comparison: compressed sparse rows, zstd, xz, and the entropy bound.

use std::collections::HashMap;
use std::io::Write;

/// Bits of a column distance in Deep Compression's sparse format for convolutions.
const DISTANCE_BITS: usize = 4;

/// Entropy of the distribution of the values times their number, bits.
pub fn entropy_bits(values: &[i32]) -> f64 {
    let mut counts: HashMap<i32, usize> = HashMap::new();
    for &value in values {
        *counts.entry(value).or_default() += 1;
    }
    let mut counts: Vec<usize> = counts.into_values().collect();
    // A sum in a fixed order gives the same bits every time.
    counts.sort_unstable();
    let total = values.len() as f64;
    counts.iter().map(|&count| -(count as f64) * (count as f64 / total).log2()).sum::<f64>().max(0.0)
}

/// Bytes of the sparse format of Han et al. 2016: every non-zero as a 4-bit distance from the one before and an index of
/// `bits` bits; a gap too long for the distance takes filler zeros.
pub fn csr_bytes(levels: &[i32], bits: u32) -> usize {
    let longest = (1 << DISTANCE_BITS) - 1;
    let (mut entries, mut gap) = (0usize, 0usize);
    for &level in levels {
        if level == 0 && gap < longest {
            gap += 1;
            continue;
        }
        // A non-zero, or a filler at the longest distance.
        entries += 1;
        gap = 0;
    }
    (entries * (DISTANCE_BITS + bits as usize)).div_ceil(8)
}

/// The levels as little-endian integers of the narrowest width that holds them all.
fn narrow(levels: &[i32]) -> Vec<u8> {
    let fits = |low: i32, high: i32| levels.iter().all(|level| (low..=high).contains(level));
    if fits(i8::MIN.into(), i8::MAX.into()) {
        levels.iter().map(|&level| level as i8 as u8).collect()
    } else if fits(i16::MIN.into(), i16::MAX.into()) {
        levels.iter().flat_map(|&level| (level as i16).to_le_bytes()).collect()
    } else {
        levels.iter().flat_map(|level| level.to_le_bytes()).collect()
    }
}

/// Bytes after zstd at level 19.
///
/// # Errors
/// What the compressor reports.
pub fn zstd_bytes(levels: &[i32]) -> std::io::Result<usize> {
    Ok(zstd::bulk::compress(&narrow(levels), 19)?.len())
}

/// Bytes after xz with preset 9.
///
/// # Errors
/// What the compressor reports.
pub fn xz_bytes(levels: &[i32]) -> std::io::Result<usize> {
    let bytes = narrow(levels);
    let mut options = lzma_rust2::XzOptions::with_preset(9);
    // A window larger than the data changes nothing but memory, of which it takes more than ten times its size.
    let window = bytes.len().next_power_of_two().max(1 << 12);
    options.lzma_options.dict_size =
        options.lzma_options.dict_size.min(u32::try_from(window).unwrap_or(u32::MAX));
    xz(&bytes, options)
}

fn xz(bytes: &[u8], options: lzma_rust2::XzOptions) -> std::io::Result<usize> {
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options)?;
    writer.write_all(bytes)?;
    Ok(writer.finish()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counted by hand: gaps up to 14 cost nothing, the sixteenth zero in a row is a filler.
    #[test]
    fn sparse_rows() {
        assert_eq!(csr_bytes(&[1, 0, 0, 2], 4), 2);
        let mut gap = vec![0; 16];
        gap.push(3);
        assert_eq!(csr_bytes(&gap, 4), 2, "one filler and one value");
        assert_eq!(csr_bytes(&[0; 15], 4), 0);
    }

    /// The smaller window of small data costs no byte.
    #[test]
    fn xz_window() {
        let mut rng = crate::rng::Rng::stream(1, "xz");
        for count in [0, 1, 5_000, 100_000] {
            let levels: Vec<i32> = (0..count).map(|_| (2.0 * rng.normal()) as i32).collect();
            let whole = xz(&narrow(&levels), lzma_rust2::XzOptions::with_preset(9)).unwrap();
            assert_eq!(xz_bytes(&levels).unwrap(), whole, "{count} levels");
        }
    }

    /// Two equally likely symbols cost one bit each; a constant costs nothing.
    #[test]
    fn entropy_of_known_distributions() {
        assert_eq!(entropy_bits(&[1, 2, 1, 2]), 4.0);
        assert_eq!(entropy_bits(&[5; 100]), 0.0);
        assert_eq!(entropy_bits(&[]), 0.0);
    }
}
