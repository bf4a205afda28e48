//! The level distribution behind the entropy term, and entropies.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How the share of zero is floored at one half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PmfKind {
    /// The others shrink in proportion, so that all sum to one.
    Exact,
    /// The reference's in-place loop, whose result sums to less than one.
    Reference,
}

/// Positions per parallel piece.
const PIECE: usize = 1 << 16;

/// How often each level occurs; `positions` are codebook positions below `count`.
pub fn histogram(positions: &[u8], count: usize) -> Vec<usize> {
    let of_piece = |piece: &[u8]| {
        // Several tables: equal neighbours would wait for each other.
        let mut tables = [[0u32; 256]; 4];
        for chunk in piece.chunks(4) {
            for (table, &position) in tables.iter_mut().zip(chunk) {
                table[usize::from(position)] += 1;
            }
        }
        (0..count).map(|level| tables.iter().map(|table| table[level] as usize).sum()).collect::<Vec<usize>>()
    };
    let add = |mut a: Vec<usize>, b: Vec<usize>| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        a
    };
    positions.par_chunks(PIECE).map(of_piece).reduce(|| vec![0; count], add)
}

/// Shares of the levels with the share of `zero` raised to at least one half.
pub fn distribution(counts: &[usize], zero: usize, kind: PmfKind) -> Vec<f32> {
    let total = counts.iter().sum::<usize>() as f32;
    let mut shares: Vec<f32> = counts.iter().map(|&count| count as f32 / total).collect();
    if shares[zero] >= 0.5 || total == 0.0 {
        return shares;
    }
    let others: f32 = (0..counts.len()).filter(|&i| i != zero && counts[i] > 0).map(|i| shares[i]).sum();
    // Without a weight at zero the reference's loop has no zero entry to walk over; the exact rule then serves both.
    if kind == PmfKind::Reference && counts[zero] > 0 {
        for i in (0..counts.len()).filter(|&i| counts[i] > 0) {
            let missing = 0.5 - shares[zero];
            shares[i] -= shares[i] / others * missing;
        }
    } else {
        for i in (0..counts.len()).filter(|&i| i != zero) {
            shares[i] *= 0.5 / others;
        }
    }
    shares[zero] = 0.5;
    shares
}

/// `−log2 P`, infinite for levels that do not occur.
pub fn information(shares: &[f32]) -> Vec<f32> {
    shares.iter().map(|share| -share.log2()).collect()
}

/// Entropy of a histogram, bits per weight.
pub fn entropy(counts: &[usize]) -> f64 {
    let total = counts.iter().sum::<usize>() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|&count| {
            let share = count as f64 / total;
            -share * share.log2()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exact rule sums to one with zero at one half; an unfloored distribution is left alone.
    #[test]
    fn exact_floor() {
        let shares = distribution(&[30, 20, 50], 1, PmfKind::Exact);
        assert_eq!(shares[1], 0.5);
        assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(distribution(&[1, 3], 1, PmfKind::Reference), [0.25, 0.75]);
    }

    /// No weight at zero: the reference crashes, ours gives zero one half.
    #[test]
    fn zero_level_unused() {
        for kind in [PmfKind::Exact, PmfKind::Reference] {
            assert_eq!(distribution(&[10, 0, 10], 1, kind), [0.25, 0.5, 0.25]);
        }
    }
}
