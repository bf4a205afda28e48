//! A k-means codebook on magnitude-pruned weights (Han et al. 2016, "Deep compression"): pruned weights are zero, the rest
//! share 2^b − 1 centroids that are tuned with the network while the assignment stays.

use super::codebook::Codebook;
use super::learned::{LearnedScalars, mean_magnitude};
use super::method::{Method, Role};
use super::per_tensor::{PerTensor, TensorQuantizer};
use super::quantizer::{Content, StepInfo, WeightTensor};
use super::scope::Bits;
use crate::Result;
use crate::registry::Parameter;
use serde::{Deserialize, Serialize};

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "kmeans",
    display: "k-means",
    about: "k-means codebook on magnitude-pruned weights; centroids are tuned, the assignment stays",
    bits: Bits::Required(2, 8),
    needs_relevance: false,
    needs_calibration: false,
    parameters: &[Parameter::number(
        "sparsity",
        "share of each layer's weights that is pruned first",
        (0.0, 0.999),
        0.5,
    )],
    strength: Some("sparsity"),
    role: Role::Rival,
    revision: 1,
    build: |setup| {
        let kmeans: KMeans = setup.settings()?;
        Ok(PerTensor::boxed(setup, kmeans))
    },
};

/// Rounds of Lloyd's algorithm; in one dimension it settles long before.
const ROUNDS: usize = 100;

/// Centroids of one tensor and the members of each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Clusters {
    centroids: LearnedScalars,
    /// Per weight 0 for pruned, else 1 + the centroid's position.
    members: Vec<u16>,
}

impl Clusters {
    /// `None` where every weight is pruned or none is finite and different from zero.
    fn new(weights: &[f32], bits: u32, sparsity: f64) -> Option<Self> {
        let mut magnitudes: Vec<f32> = weights.iter().map(|w| w.abs()).collect();
        let pruned = (sparsity * weights.len() as f64).round() as usize;
        let limit = match pruned {
            0 => 0.0,
            pruned if pruned >= weights.len() => return None,
            pruned => *magnitudes.select_nth_unstable_by(pruned, f32::total_cmp).1,
        };
        let kept = |w: f32| w.is_finite() && w != 0.0 && w.abs() >= limit;
        let mut sorted: Vec<f32> = weights.iter().copied().filter(|&w| kept(w)).collect();
        sorted.sort_unstable_by(f32::total_cmp);
        let centroids = lloyd(&sorted, (1 << bits) - 1);
        if centroids.is_empty() {
            return None;
        }
        let edges: Vec<f32> = centroids.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect();
        let member = |w: f32| 1 + edges.partition_point(|&edge| edge < w) as u16;
        let members = weights.iter().map(|&w| if kept(w) { member(w) } else { 0 }).collect();
        let typical = mean_magnitude(sorted.iter().copied());
        Some(Self { centroids: LearnedScalars::new(centroids, typical), members })
    }

    /// Levels in ascending order with zero among them, and the members' indices.
    fn content(&self) -> Content {
        let values = &self.centroids.values;
        let value = |slot: usize| if slot == 0 { 0.0 } else { values[slot - 1] };
        // A centroid at exactly zero is the level zero.
        let mut order: Vec<usize> =
            (0..=values.len()).filter(|&slot| slot == 0 || value(slot) != 0.0).collect();
        // Tuning may move centroids past each other or past zero.
        order.sort_by(|&a, &b| value(a).total_cmp(&value(b)));
        // At most 2^8 slots, the pruned one included.
        let mut position = vec![0u8; values.len() + 1];
        for (at, &slot) in order.iter().enumerate() {
            position[slot] = at as u8;
        }
        let zero = position[0];
        (1..position.len()).filter(|&slot| value(slot) == 0.0).for_each(|slot| position[slot] = zero);
        Content::Levels {
            positions: self.members.iter().map(|&slot| position[usize::from(slot)]).collect(),
            codebook: Codebook::Explicit {
                values: order.iter().map(|&slot| value(slot)).collect(),
                zero: usize::from(zero),
            },
        }
    }

    /// Gathers each centroid's gradient, the sum over its members (section 3.2); the weights themselves are not trained.
    fn backward(&mut self, gradient: &mut [f32]) {
        let mut sums = vec![0.0f64; self.centroids.values.len() + 1];
        for (gradient, &slot) in gradient.iter_mut().zip(&self.members) {
            sums[usize::from(slot)] += f64::from(*gradient);
            *gradient = 0.0;
        }
        for (index, sum) in sums[1..].iter().enumerate() {
            self.centroids.add_gradient(index, *sum);
        }
    }
}

/// Lloyd's algorithm on sorted values, from centroids spread evenly between the extremes ("linear initialisation"). Ends
/// with at most `count` different centroids in ascending order; clusters without members vanish.
fn lloyd(sorted: &[f32], count: usize) -> Vec<f32> {
    let (Some(&low), Some(&high)) = (sorted.first(), sorted.last()) else { return Vec::new() };
    let at = |index: usize| low + (high - low) * index as f32 / (count.max(2) - 1) as f32;
    let mut centroids: Vec<f32> = (0..count).map(at).collect();
    centroids.dedup();
    // Sums up to each position make a round cheap.
    let mut sums = Vec::with_capacity(sorted.len() + 1);
    sums.push(0.0f64);
    for &value in sorted {
        sums.push(sums[sums.len() - 1] + f64::from(value));
    }
    for _ in 0..ROUNDS {
        let mut next = Vec::with_capacity(centroids.len());
        let mut start = 0;
        for index in 0..centroids.len() {
            let end = match centroids.get(index + 1) {
                Some(&right) => {
                    let edge = 0.5 * (centroids[index] + right);
                    sorted.partition_point(|&value| value <= edge)
                }
                None => sorted.len(),
            };
            if end > start {
                next.push(((sums[end] - sums[start]) / (end - start) as f64) as f32);
                start = end;
            }
        }
        next.dedup();
        if next == centroids {
            break;
        }
        centroids = next;
    }
    centroids
}

#[derive(Deserialize)]
struct KMeans {
    sparsity: f64,
}

impl TensorQuantizer for KMeans {
    type Fitted = Clusters;

    const DEGENERATE: &'static str = "no weight is left to cluster: the layer is all zeros";

    fn fit(&self, weights: &WeightTensor<'_>, bits: Option<u32>) -> Result<Option<Clusters>> {
        Ok(bits.and_then(|bits| Clusters::new(weights.values, bits, self.sparsity)))
    }

    fn assign(&self, clusters: &mut Clusters, _: &WeightTensor<'_>, _: StepInfo) -> Content {
        clusters.content()
    }

    fn backward(&self, clusters: &mut Clusters, _: &WeightTensor<'_>, _: &Content, gradient: &mut [f32]) {
        clusters.backward(gradient);
    }

    fn update(&self, clusters: &mut Clusters, learning_rate: f64) {
        clusters.centroids.update(learning_rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights() -> Vec<f32> {
        (0..400).map(|i| ((i * 173 % 400) as f32 - 180.5).powi(3) / 8e6).collect()
    }

    /// Each centroid is the mean of the values nearest to it: Lloyd's fixed point.
    #[test]
    fn centroids_are_the_means_of_their_members() {
        let mut sorted = weights();
        sorted.sort_by(f32::total_cmp);
        let centroids = lloyd(&sorted, 7);
        assert_eq!(centroids.len(), 7);
        let (mut sums, mut counts) = (vec![0.0f64; 7], vec![0usize; 7]);
        for &w in &sorted {
            let nearest = (0..7)
                .min_by(|&a, &b| (centroids[a] - w).abs().total_cmp(&(centroids[b] - w).abs()))
                .unwrap();
            sums[nearest] += f64::from(w);
            counts[nearest] += 1;
        }
        for (centroid, (sum, count)) in centroids.iter().zip(sums.iter().zip(counts)) {
            assert!((f64::from(*centroid) - sum / count as f64).abs() < 1e-5);
        }
    }

    /// The gradient of a centroid is that of the loss with the assignment held (central differences, exact up to f32
    /// because the loss is quadratic), and pruned weights stay zero whatever the centroids do.
    #[test]
    fn centroid_gradients_match_finite_differences() {
        let weights = weights();
        let mut clusters = Clusters::new(&weights, 3, 0.3).unwrap();
        let target = |i: usize| (i as f64 * 0.29).cos();
        let values = |clusters: &Clusters| clusters.content().values();
        let loss = |clusters: &Clusters| -> f64 {
            let squares =
                values(clusters).into_iter().enumerate().map(|(i, v)| (f64::from(v) - target(i)).powi(2));
            0.5 * squares.sum::<f64>()
        };
        let now = values(&clusters);
        let mut gradient: Vec<f32> =
            now.iter().enumerate().map(|(i, &v)| (f64::from(v) - target(i)) as f32).collect();
        clusters.backward(&mut gradient);
        assert!(gradient.iter().all(|g| *g == 0.0));
        for index in 0..clusters.centroids.values.len() {
            let moved = |by: f32| {
                let mut moved = clusters.clone();
                moved.centroids.values[index] += by;
                loss(&moved)
            };
            let expected = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            let found = clusters.centroids.gradients()[index];
            assert!(
                (found - expected).abs() <= 1e-3 * expected.abs().max(1.0),
                "{index}: {found} {expected}"
            );
        }
        assert_eq!(now.iter().filter(|v| **v == 0.0).count(), 120);
    }

    /// Fewer different weights than centroids: each keeps its value.
    #[test]
    fn few_values_are_kept_exactly() {
        let weights = [0.5f32, -1.0, 0.5, 0.0, 2.0];
        assert_eq!(Clusters::new(&weights, 4, 0.0).unwrap().content().values(), weights);
    }
}
