//! LSQ: a uniform grid per tensor or channel whose step is learned (Esser et al. 2020, "Learned step size quantization").

use super::codebook::Codebook;
use super::device::{DeviceTensor, StepRuns, flat, is_beyond, rounded_levels};
use super::granularity::{GRANULARITY, Granularity, GranularitySettings};
use super::learned::{LearnedSteps, PIECE, mean_magnitude, runs_in};
use super::method::{Method, Role};
use super::per_tensor::{PerTensor, TensorOnDevice, TensorQuantizer};
use super::quantizer::{Content, StepInfo, WeightTensor};
use super::scope::Bits;
use crate::Result;
use crate::nn::transfer;
use candle_core::{DType, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "lsq",
    display: "LSQ",
    about: "learned step size: a uniform grid whose step is trained with the weights",
    bits: Bits::Required(2, 8),
    needs_relevance: false,
    needs_calibration: false,
    parameters: &[GRANULARITY],
    strength: None,
    role: Role::Rival,
    revision: 1,
    build: |setup| {
        let GranularitySettings { granularity } = setup.settings()?;
        Ok(PerTensor::boxed(setup, Lsq(granularity)))
    },
};

/// The grid of one tensor: levels `lowest … highest` times a learned step, or one step per channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Grid {
    #[serde(flatten)]
    steps: LearnedSteps,
    lowest: i32,
    highest: i32,
    /// Consecutive weights with one step; `None` where all have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stride: Option<usize>,
}

impl Grid {
    /// Signed weights: −2^(b−1) … 2^(b−1) − 1; weights without negative values: 0 … 2^b − 1. A step starts at
    /// 2 · mean |w| / √highest of its weights (paper, section 2.1). `None` where no finite weight differs from zero.
    fn new(tensor: &WeightTensor<'_>, granularity: Granularity, bits: u32) -> Option<Self> {
        let (lowest, highest) = match tensor.values.iter().any(|&w| w < 0.0) {
            true => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
            false => (0, (1 << bits) - 1),
        };
        let start = |weights: &[f32]| {
            let typical = mean_magnitude(weights.iter().copied());
            let step = 2.0 * typical / (highest as f32).sqrt();
            (step > 0.0).then_some((step, typical))
        };
        // Channels without weights other than zero start where the whole tensor would.
        let whole = start(tensor.values)?;
        let steps = granularity.groups(tensor).map(|weights| start(weights).unwrap_or(whole));
        let stride = (granularity == Granularity::Channel).then(|| granularity.stride(tensor));
        Some(Self { steps: LearnedSteps::new(steps), lowest, highest, stride })
    }

    fn codebook(&self) -> Codebook {
        let (lowest, highest) = (self.lowest, self.highest);
        match self.stride {
            Some(stride) => {
                Codebook::PerChannel { steps: self.steps.values().to_vec(), stride, lowest, highest }
            }
            None => Codebook::Uniform { step: self.steps.values()[0], lowest, highest },
        }
    }

    fn stride(&self, count: usize) -> usize {
        self.stride.unwrap_or(count).max(1)
    }

    fn positions(&self, weights: &[f32]) -> Vec<u8> {
        let (low, high) = (self.lowest as f32, self.highest as f32);
        let (stride, steps) = (self.stride(weights.len()), self.steps.values());
        // A weight that is not a number becomes 0.
        let level = |weight: f32, step: f32| (weight / step).clamp(low, high).round_ties_even() as i32;
        let mut positions = vec![0u8; weights.len()];
        positions.par_chunks_mut(PIECE).zip(weights.par_chunks(PIECE)).enumerate().for_each(
            |(piece, (positions, weights))| {
                for (run, part) in runs_in(piece * PIECE, weights.len(), stride) {
                    let step = steps[run % steps.len().max(1)];
                    let pairs = positions[part.clone()].iter_mut().zip(&weights[part]);
                    pairs.for_each(|(position, &w)| *position = (level(w, step) - self.lowest) as u8);
                }
            },
        );
        positions
    }

    /// Gathers the gradient of the steps (eq. 3, scaled by 1 / √(weights · highest), section 2.2) and stops the gradient of
    /// weights beyond the grid's ends (eq. 5).
    fn backward(&mut self, weights: &[f32], gradient: &mut [f32]) {
        let (low, high) = (self.lowest as f32, self.highest as f32);
        let stride = self.stride(weights.len());
        self.steps.gather(weights, stride, self.highest, gradient, |_, place| {
            if place <= low {
                low
            } else if place >= high {
                high
            } else {
                place.round_ties_even() - place
            }
        });
        let steps = self.steps.values();
        gradient.par_chunks_mut(PIECE).zip(weights.par_chunks(PIECE)).enumerate().for_each(
            |(piece, (gradient, weights))| {
                for (run, part) in runs_in(piece * PIECE, weights.len(), stride) {
                    let step = steps[run % steps.len().max(1)];
                    for (gradient, w) in gradient[part.clone()].iter_mut().zip(&weights[part]) {
                        let place = w / step;
                        if place <= low || place >= high {
                            *gradient = 0.0;
                        }
                    }
                }
            },
        );
    }
}

impl Grid {
    fn runs(&self) -> StepRuns {
        StepRuns::new(self.steps.values().len(), self.stride.unwrap_or(1))
    }

    fn steps_on_device(&self, weights: &Tensor) -> Result<Tensor> {
        let steps = self.steps.values().to_vec();
        let count = steps.len();
        Ok(transfer::tensor(steps, count, weights.device())?)
    }
}

struct Lsq(Granularity);

impl TensorOnDevice<Grid> for Lsq {
    fn assign(&self, grid: &mut Grid, weights: &Tensor, _: &[f64]) -> Result<DeviceTensor> {
        let values = flat(weights)?;
        let range = (grid.lowest, grid.highest);
        let (_, levels) = rounded_levels(&values, &grid.steps_on_device(&values)?, grid.runs(), range)?;
        let positions = levels.affine(1.0, -f64::from(grid.lowest))?.to_dtype(DType::U8)?;
        DeviceTensor::at_levels(positions, grid.codebook(), weights.dims())
    }

    fn backward(
        &self,
        grid: &Grid,
        weights: &Tensor,
        _: &DeviceTensor,
        gradient: &Tensor,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let values = flat(weights)?;
        let range = (grid.lowest, grid.highest);
        let (place, level) = rounded_levels(&values, &grid.steps_on_device(&values)?, grid.runs(), range)?;
        let is_beyond = is_beyond(&place, range)?;
        // Beyond the grid the level is its end.
        let slope = is_beyond.where_cond(&level, &(&level - &place)?)?;
        let gradient_of = flat(gradient)?;
        let products = (gradient_of.to_dtype(DType::F64)? * slope.to_dtype(DType::F64)?)?;
        let passed = is_beyond.where_cond(&gradient_of.zeros_like()?, &gradient_of)?;
        Ok((passed.reshape(gradient.shape())?, Some(grid.runs().sums(&products)?)))
    }

    fn learn(&self, grid: &mut Grid, sums: &[f64], count: usize) {
        let highest = grid.highest;
        grid.steps.add_sums(sums, count, highest);
    }
}

impl TensorQuantizer for Lsq {
    type Fitted = Grid;

    fn fit(&self, weights: &WeightTensor<'_>, bits: Option<u32>) -> Result<Option<Grid>> {
        Ok(bits.and_then(|bits| Grid::new(weights, self.0, bits)))
    }

    fn assign(&self, grid: &mut Grid, weights: &WeightTensor<'_>, _: StepInfo) -> Content {
        Content::Levels { positions: grid.positions(weights.values), codebook: grid.codebook() }
    }

    fn backward(&self, grid: &mut Grid, weights: &WeightTensor<'_>, _: &Content, gradient: &mut [f32]) {
        grid.backward(weights.values, gradient);
    }

    fn on_device(&self) -> Option<&dyn TensorOnDevice<Grid>> {
        Some(self)
    }

    fn update(&self, grid: &mut Grid, learning_rate: f64) {
        grid.steps.update(learning_rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check_gradient;

    fn weights() -> Vec<f32> {
        (0..300).map(|i| ((i * 71 % 300) as f32 - 150.3) / 97.0 * (1.0 + (i / 100) as f32)).collect()
    }

    fn grid(values: &[f32], granularity: Granularity) -> Grid {
        Grid::new(&WeightTensor { name: "w", shape: &[3, 100], values }, granularity, 3).unwrap()
    }

    /// The gradient of each step is the slope of the quantized weights with rounding's remainder held (straight-through),
    /// times its scale; central differences over 1e-3 of the step, to 1e-3 of the value. One step, and one per channel.
    #[test]
    fn step_gradients_match_finite_differences() {
        let values = weights();
        for granularity in [Granularity::Tensor, Granularity::Channel] {
            let mut grid = grid(&values, granularity);
            let stride = grid.stride(300);
            let sizes: Vec<f64> = grid.steps.values().iter().map(|&step| f64::from(step)).collect();
            assert_eq!(sizes.len(), 300 / stride);
            let target = |i: usize| (i as f64 * 0.13).sin();
            // What a weight becomes for a step s, with the remainder of the rounding at the present step.
            let (lowest, highest) = (f64::from(grid.lowest), f64::from(grid.highest));
            let quantized = |i: usize, s: f64| {
                let w = f64::from(values[i]);
                let place = w / sizes[i / stride];
                match place {
                    p if p <= lowest => s * lowest,
                    p if p >= highest => s * highest,
                    _ => w + s * (place.round_ties_even() - place),
                }
            };
            let mut gradient: Vec<f32> =
                (0..300).map(|i| (quantized(i, sizes[i / stride]) - target(i)) as f32).collect();
            let before = gradient.clone();
            grid.backward(&values, &mut gradient);
            let scale = 1.0 / (stride as f64 * highest).sqrt();
            for (channel, &size) in sizes.iter().enumerate() {
                let loss = |s: f64| {
                    let own = channel * stride..(channel + 1) * stride;
                    0.5 * own.map(|i| (quantized(i, s) - target(i)).powi(2)).sum::<f64>()
                };
                let found = grid.steps.gradients()[channel] / scale;
                check_gradient("a step", found, loss, size, 1e-3 * size, 1e-3);
            }
            // Inside the grid the gradient passes, beyond it stops.
            for (i, (after, before)) in gradient.iter().zip(before).enumerate() {
                let place = f64::from(values[i]) / sizes[i / stride];
                assert_eq!(*after, if place > lowest && place < highest { before } else { 0.0 });
            }
        }
    }

    /// However large the gradient, the steps stay positive.
    #[test]
    fn steps_stay_positive() {
        let mut grid = grid(&weights(), Granularity::Channel);
        for _ in 0..50 {
            (0..3).for_each(|channel| grid.steps.add_gradient(channel, 1e9));
            Lsq(Granularity::Channel).update(&mut grid, 10.0);
        }
        assert!(grid.steps.values().iter().all(|step| *step > 0.0));
    }

    /// A run that was interrupted by an ecqx without steps per channel goes on.
    #[test]
    fn earlier_states_are_read() {
        let state = r#"{"step": {"values": [0.5], "scales": [2.0], "gradients": [0.0], "first": [0.1],
            "second": [0.2], "steps": 3}, "lowest": -4, "highest": 3, "least": 0.0005}"#;
        let grid: Grid = serde_json::from_str(state).unwrap();
        assert_eq!(grid.codebook(), Codebook::Uniform { step: 0.5, lowest: -4, highest: 3 });
    }
}
