//! What pruning ranks weights by, and which ones a share of zeros takes.

use super::quantizer::WeightTensor;
use rayon::prelude::*;
use serde::Deserialize;

/// The score whose smallest values are pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Criterion {
    /// |w|.
    Magnitude,
    /// |relevance| by layer-wise relevance propagation.
    Lrp,
    /// |w·g|: first-order estimate of the loss's change (Molchanov et al. 2017).
    Taylor,
    /// w²·g²: second-order estimate with the empirical Fisher information (Theis et al. 2018).
    Fisher,
    /// w² over the sum of squares that are not smaller in its layer (Lee et al. 2021).
    Lamp,
    /// Nothing: a control.
    Random,
}

/// Criteria that are relevance measures of the same name.
pub(super) const MEASURES: [&str; 4] = ["lrp", "taylor", "fisher", "random"];

impl Criterion {
    /// Whether scores come from a relevance measure.
    pub fn is_measured(self) -> bool {
        !matches!(self, Self::Magnitude | Self::Lamp)
    }

    /// Scores of a tensor, signed, from the relevance of its weights.
    pub fn scores(self, weights: &WeightTensor<'_>, relevance: &[f32]) -> Vec<f32> {
        match self {
            // The measure gives g².
            Self::Fisher => weights.values.iter().zip(relevance).map(|(w, g2)| w * w * g2).collect(),
            _ => relevance.to_vec(),
        }
    }
}

/// LAMP scores of a layer: `w² / Σ v²` over all v of the layer that rank not below w by magnitude (Lee et al. 2021, eq. 4;
/// equal magnitudes rank by position). The largest weight scores 1. Weights that are not finite count as zero.
pub(super) fn lamp(weights: &[f32]) -> Vec<f32> {
    let square = |w: f32| if w.is_finite() { f64::from(w) * f64::from(w) } else { 0.0 };
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.par_sort_unstable_by(|&a, &b| weights[a].abs().total_cmp(&weights[b].abs()).then(a.cmp(&b)));
    let mut scores = vec![0.0f32; weights.len()];
    let mut sum = 0.0f64;
    for &index in order.iter().rev() {
        let squared = square(weights[index]);
        sum += squared;
        scores[index] = if sum > 0.0 { (squared / sum) as f32 } else { 0.0 };
    }
    scores
}

/// Which weights are pruned: of each layer the share `target` with the smallest |score|, or of all weights together under
/// one `global` threshold. Exactly that share: equal scores rank by position.
pub(super) fn smallest(scores: &[Vec<f32>], target: f64, global: bool) -> Vec<Vec<bool>> {
    if !global {
        return scores.par_iter().map(|scores| smallest_of(scores, target)).collect();
    }
    let mut together = smallest_of(&scores.concat(), target);
    let mut masks = Vec::with_capacity(scores.len());
    for scores in scores {
        let rest = together.split_off(scores.len());
        masks.push(std::mem::replace(&mut together, rest));
    }
    masks
}

fn smallest_of(scores: &[f32], target: f64) -> Vec<bool> {
    let count = ((target * scores.len() as f64).round() as usize).min(scores.len());
    let mut mask = vec![false; scores.len()];
    let mut ranked: Vec<(f32, usize)> = scores.iter().map(|score| score.abs()).zip(0..).collect();
    let by_rank = |a: &(f32, usize), b: &(f32, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    if (1..ranked.len()).contains(&count) {
        ranked.select_nth_unstable_by(count, by_rank);
    }
    ranked[..count].iter().for_each(|&(_, index)| mask[index] = true);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LAMP by hand: squares 1, 4, 9 give 1/14, 4/13, 9/9; a single weight is the last of its layer; zeros score zero.
    #[test]
    fn lamp_by_hand() {
        let scores = lamp(&[-2.0, 1.0, 3.0]);
        for (found, expected) in scores.iter().zip([4.0 / 13.0, 1.0 / 14.0, 1.0]) {
            assert!((found - expected).abs() < 1e-6, "{scores:?}");
        }
        assert_eq!(lamp(&[0.3]), [1.0]);
        assert_eq!(lamp(&[0.0, 0.0]), [0.0, 0.0]);
        assert_eq!(lamp(&[f32::NAN, 2.0])[1], 1.0);
    }

    /// One global LAMP threshold leaves every layer its largest weight, however small; a global magnitude threshold does
    /// not: the layer collapse that LAMP avoids.
    #[test]
    fn lamp_keeps_every_layer_alive() {
        let layers = [vec![0.01f32, 0.02, 0.03, 0.04], vec![1.0f32, 2.0, 3.0, 4.0]];
        let scores: Vec<Vec<f32>> = layers.iter().map(|layer| lamp(layer)).collect();
        let masks = smallest(&scores, 0.75, true);
        assert!(masks.iter().all(|mask| !mask[3]), "{masks:?}");
        let masks = smallest(&layers, 0.5, true);
        assert!(masks[0].iter().all(|pruned| *pruned) && masks[1].iter().all(|pruned| !pruned));
    }

    /// The share is exact where scores are equal, the sign does not matter, and masks are nested as the target grows.
    #[test]
    fn shares_are_exact_and_nested() {
        let scores = vec![vec![0.0f32, 0.0, 0.0, 0.0, -5.0, 0.1, -0.2, 0.3], vec![1.0; 4]];
        let count = |masks: &[Vec<bool>]| masks.iter().flatten().filter(|pruned| **pruned).count();
        let mut before = smallest(&scores, 0.0, false);
        assert_eq!(count(&before), 0);
        for (target, expected) in [(0.25, 3), (0.5, 6), (0.75, 9), (1.0, 12)] {
            for global in [false, true] {
                assert_eq!(count(&smallest(&scores, target, global)), expected);
            }
            let masks = smallest(&scores, target, false);
            assert!(before.iter().flatten().zip(masks.iter().flatten()).all(|(was, is)| !was || *is));
            before = masks;
        }
        assert!(!smallest(&scores, 0.5, false)[0][4]);
    }

    /// Fisher weighs the measure's squared gradient by w²; the others take relevance as it is.
    #[test]
    fn fisher_weighs_by_the_square() {
        let tensor = WeightTensor { name: "w", shape: &[2], values: &[3.0, -0.5] };
        assert_eq!(Criterion::Fisher.scores(&tensor, &[2.0, 4.0]), [18.0, 1.0]);
        assert_eq!(Criterion::Lrp.scores(&tensor, &[-2.0, 4.0]), [-2.0, 4.0]);
        assert!(Criterion::Random.is_measured() && !Criterion::Lamp.is_measured());
    }
}
