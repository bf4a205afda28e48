//! Mean average precision of labels that samples may have any number of, as Pascal VOC scores it.

use crate::nn::ops::{IGNORED, PRESENT};

/// Average precision, percent, by both definitions of Pascal VOC.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AveragePrecision {
    /// Area under the curve of precision over recall, made falling from the right (VOC 2010 and later).
    pub area: f64,
    /// Mean of the largest precision at recall 0, 0.1, …, 1 and beyond (VOC 2007).
    pub eleven_points: f64,
}

/// The average precision of one label: samples by falling score, equal ones in their order. Those whose label is
/// ignored are left out. `None` where no sample has the label.
pub fn average_precision(scores: &[f32], labels: &[u32]) -> Option<AveragePrecision> {
    let counted = labels.iter().enumerate().filter(|(_, label)| **label != IGNORED);
    let mut ranked: Vec<(f32, bool)> = counted.map(|(at, label)| (scores[at], *label == PRESENT)).collect();
    let total = ranked.iter().filter(|(_, present)| *present).count();
    if total == 0 {
        return None;
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    // Precision and how many were found, at each rank that finds one.
    let mut precisions = Vec::with_capacity(total);
    for (rank, _) in ranked.iter().enumerate().filter(|(_, (_, present))| *present) {
        precisions.push((precisions.len() + 1) as f64 / (rank + 1) as f64);
    }
    let mut best = 0.0f64;
    for precision in precisions.iter_mut().rev() {
        best = best.max(*precision);
        *precision = best;
    }
    let area = precisions.iter().sum::<f64>() / total as f64;
    // Recall r is reached at the find that makes found / total ≥ r: in whole numbers, so that 0.3 is 3 of 10.
    let at_recall = |tenths: usize| precisions[(tenths * total).div_ceil(10).max(1) - 1];
    let eleven_points = (0..=10).map(at_recall).sum::<f64>() / 11.0;
    Some(AveragePrecision { area: 100.0 * area, eleven_points: 100.0 * eleven_points })
}

/// The mean of [`average_precision`] over the labels that some sample has: `scores` and `labels` are one row per
/// sample and one column per label. Zero where no sample has any.
pub fn mean_average_precision(scores: &[f32], labels: &[u32], classes: usize) -> AveragePrecision {
    let column = |class: usize| {
        let scores: Vec<f32> = scores.iter().skip(class).step_by(classes).copied().collect();
        let labels: Vec<u32> = labels.iter().skip(class).step_by(classes).copied().collect();
        average_precision(&scores, &labels)
    };
    let found: Vec<AveragePrecision> = (0..classes).filter_map(column).collect();
    let mean =
        |read: fn(&AveragePrecision) -> f64| found.iter().map(read).sum::<f64>() / found.len().max(1) as f64;
    AveragePrecision { area: mean(|ap| ap.area), eleven_points: mean(|ap| ap.eleven_points) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::ABSENT;
    use proptest::prelude::*;

    /// Both definitions once more, from their text: every threshold is looked at anew, nothing is sorted.
    fn by_definition(scores: &[f32], labels: &[u32]) -> Option<AveragePrecision> {
        let kept: Vec<(f32, bool)> = scores
            .iter()
            .zip(labels)
            .filter(|(_, label)| **label != IGNORED)
            .map(|(score, label)| (*score, *label == PRESENT))
            .collect();
        let total = kept.iter().filter(|(_, present)| *present).count();
        if total == 0 {
            return None;
        }
        // (recall, precision) of the samples from each one upwards; a sample is above another of the same score that
        // comes after it.
        let points: Vec<(f64, f64)> = (0..kept.len())
            .map(|at| {
                let above =
                    |other: usize| kept[other].0 > kept[at].0 || (kept[other].0 == kept[at].0 && other <= at);
                let found = (0..kept.len()).filter(|&other| above(other));
                let (all, hits) =
                    found.fold((0, 0), |(all, hits), other| (all + 1, hits + usize::from(kept[other].1)));
                (hits as f64 / total as f64, hits as f64 / all as f64)
            })
            .collect();
        let best_from = |recall: f64| {
            let reached = points.iter().filter(|(r, _)| *r >= recall - 1e-9);
            reached.map(|(_, precision)| *precision).fold(0.0, f64::max)
        };
        let eleven_points = (0..=10).map(|tenth| best_from(f64::from(tenth) / 10.0)).sum::<f64>() / 11.0;
        let steps = (1..=total).map(|found| best_from(found as f64 / total as f64) / total as f64);
        Some(AveragePrecision { area: 100.0 * steps.sum::<f64>(), eleven_points: 100.0 * eleven_points })
    }

    /// A ranking of five that is worked out by hand: finds at ranks 1, 3 and 5 of three, one sample ignored.
    #[test]
    fn a_ranking_by_hand() {
        let scores = [0.9, 0.8, 0.7, 0.95, 0.6, 0.5];
        let labels = [PRESENT, ABSENT, PRESENT, IGNORED, ABSENT, PRESENT];
        let found = average_precision(&scores, &labels).unwrap();
        // Precisions 1, 2/3, 3/5 at recalls 1/3, 2/3, 1.
        assert!((found.area - 100.0 * (1.0 + 2.0 / 3.0 + 0.6) / 3.0).abs() < 1e-9, "{found:?}");
        // Recalls 0–0.3, 0.4–0.6, 0.7–1.
        let eleven = 100.0 * (4.0 + 3.0 * 2.0 / 3.0 + 4.0 * 0.6) / 11.0;
        assert!((found.eleven_points - eleven).abs() < 1e-9, "{found:?}");
        assert_eq!(average_precision(&scores, &[ABSENT; 6]), None);
    }

    proptest! {
        /// Sorting and falling maxima give what the definitions say, with ties and ignored samples.
        #[test]
        fn definitions_agree(samples in prop::collection::vec((0u8..6, 0u32..3), 0..40)) {
            let scores: Vec<f32> = samples.iter().map(|(score, _)| f32::from(*score)).collect();
            let labels: Vec<u32> = samples.iter().map(|(_, label)| *label).collect();
            match (average_precision(&scores, &labels), by_definition(&scores, &labels)) {
                (Some(ours), Some(theirs)) => {
                    prop_assert!((ours.area - theirs.area).abs() < 1e-6, "{ours:?} {theirs:?}");
                    prop_assert!((ours.eleven_points - theirs.eleven_points).abs() < 1e-6);
                }
                (ours, theirs) => prop_assert_eq!(ours, theirs),
            }
        }
    }

    /// The mean is over labels that occur; columns are labels.
    #[test]
    fn the_mean_is_over_labels_that_occur() {
        let scores = [0.9, 0.1, 0.0, 0.2, 0.8, 0.0];
        let labels = [PRESENT, ABSENT, ABSENT, ABSENT, PRESENT, ABSENT];
        let found = mean_average_precision(&scores, &labels, 3);
        assert_eq!((found.area, found.eleven_points), (100.0, 100.0));
        assert_eq!(mean_average_precision(&[], &[], 3), AveragePrecision::default());
    }
}
