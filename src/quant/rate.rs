//! Estimated bits of levels: adaptive binary contexts after DeepCABAC's binarisation (significance by the level before,
//! sign, greater-than flags, Exp-Golomb rest). An estimate for choosing levels; the codec counts what they really take.

/// Greater-than flags with contexts of their own, as in the codec's default.
const FLAGS: usize = 11;
/// Shares by which a context moves to what it sees: a fast and a slow estimate, whose mean counts.
const SHIFTS: [f64; 2] = [1.0 / 16.0, 1.0 / 64.0];
/// Smallest probability of a bin.
const LEAST: f64 = 1.0 / 1024.0;

/// Adaptive probability that a bin is one.
#[derive(Clone, Copy, Debug)]
struct Bin([f64; 2]);

impl Bin {
    const NEW: Self = Self([0.5; 2]);

    fn bits(self, one: bool) -> f64 {
        let p = (0.5 * (self.0[0] + self.0[1])).clamp(LEAST, 1.0 - LEAST);
        -(if one { p } else { 1.0 - p }).log2()
    }

    fn update(&mut self, one: bool) {
        let target = if one { 1.0 } else { 0.0 };
        self.0.iter_mut().zip(SHIFTS).for_each(|(p, share)| *p += share * (target - *p));
    }
}

/// What a level is to the one after it: zero, negative or positive.
pub(super) fn neighbour(level: i32) -> usize {
    match level {
        0 => 0,
        level if level < 0 => 1,
        _ => 2,
    }
}

/// Estimates of the bits that levels take.
#[derive(Clone, Debug)]
pub(super) struct RateModel {
    significant: Vec<[Bin; 3]>,
    sign: [Bin; 3],
    greater: [[Bin; 2]; FLAGS],
}

impl RateModel {
    /// One that has seen nothing, with significance contexts for `states` states of dependent quantization (1 without).
    pub fn new(states: usize) -> Self {
        Self {
            significant: vec![[Bin::NEW; 3]; states],
            sign: [Bin::NEW; 3],
            greater: [[Bin::NEW; 2]; FLAGS],
        }
    }

    /// Bits of a level in a state behind a level of class `before`.
    pub fn bits(&self, level: i32, state: usize, before: usize) -> f64 {
        let significant = self.significant[state][before];
        if level == 0 {
            return significant.bits(false);
        }
        let side = usize::from(level < 0);
        let magnitude = level.unsigned_abs() as usize;
        let mut bits = significant.bits(true) + self.sign[before].bits(level < 0);
        for (flag, bin) in self.greater.iter().enumerate() {
            let more = magnitude > flag + 1;
            bits += bin[side].bits(more);
            if !more {
                return bits;
            }
        }
        // Exp-Golomb: as many bits for the length as for the rest.
        bits + 1.0 + 2.0 * f64::from((magnitude - FLAGS).ilog2())
    }

    /// Adapts to a level.
    pub fn update(&mut self, level: i32, state: usize, before: usize) {
        self.significant[state][before].update(level != 0);
        if level == 0 {
            return;
        }
        self.sign[before].update(level < 0);
        let side = usize::from(level < 0);
        let magnitude = level.unsigned_abs() as usize;
        for (flag, bin) in self.greater.iter_mut().enumerate() {
            let more = magnitude > flag + 1;
            bin[side].update(more);
            if !more {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// The estimate of a long tensor is near its entropy, and near what the codec's own bytes come to.
    #[test]
    fn estimates_are_near_the_entropy() {
        let mut rng = Rng::stream(1, "levels");
        let level = |random: usize| match random {
            0..=8 => 0,
            9..=11 => 1,
            12..=13 => -1,
            14 => 2,
            _ => -3,
        };
        let levels: Vec<i32> = (0..20_000).map(|_| level(rng.below(16))).collect();
        let (mut model, mut before, mut bits) = (RateModel::new(1), 0, 0.0);
        for &level in &levels {
            bits += model.bits(level, 0, before);
            model.update(level, 0, before);
            before = neighbour(level);
        }
        let count = |level| levels.iter().filter(|l| **l == level).count() as f64;
        let n = levels.len() as f64;
        let entropy: f64 =
            [0, 1, -1, 2, -3].map(|level| -count(level) * (count(level) / n).log2()).iter().sum();
        assert!((bits / entropy - 1.0).abs() < 0.05, "{bits} {entropy}");
    }
}
