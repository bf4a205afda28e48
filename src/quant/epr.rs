//! Entropy-penalised training (Oktay et al. 2020): weights are latents rounded on a grid with a learned step, and the bits
//! that a learned probability model of the levels gives them are part of the loss. The arithmetic is in `rate.rs`.

use super::codebook::Codebook;
use super::learned::{LearnedScalars, floor, mean_magnitude};
use super::method::{Method, Role};
use super::quantizer::{ALL_ZEROS, Content, QuantizedTensor, Quantizer, Relevances, StepInfo, WeightTensor};
use super::rate_term::{Grid, LevelModel};
use super::scope::{Bits, Scope};
use super::state::{from_state, to_state};
use crate::Result;
use crate::registry::Parameter;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The registry's entry.
pub(super) static METHOD: Method = Method {
    name: "epr",
    display: "EPR",
    about: "entropy-penalised training: the bits of a learned probability model of the levels are part of the loss",
    bits: Bits::Required(2, 8),
    needs_relevance: false,
    needs_calibration: false,
    parameters: &[
        Parameter::number(
            "lambda",
            "weight of the mean bits of a weight in the loss (cross entropy in nats)",
            (0.0, 1000.0),
            0.1,
        ),
        Parameter::number(
            "model_rate",
            "learning rate of the probability model's logits over the recipe's",
            (0.0, 10_000.0),
            50.0,
        ),
    ],
    strength: Some("lambda"),
    role: Role::Rival,
    revision: 1,
    build: |setup| {
        let settings = setup.settings()?;
        Ok(Box::new(Epr { settings, scope: setup.scope, state: State::default(), warnings: Vec::new() }))
    },
};

#[derive(Deserialize)]
struct Settings {
    lambda: f64,
    model_rate: f64,
}

/// What is learned of one tensor besides its weights.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Latents {
    step: LearnedScalars,
    least: f32,
    lowest: i32,
    highest: i32,
    model: LevelModel,
}

impl Latents {
    /// Starts at the percentile rule's grid of `bits` bits, with the model of the weights' own levels; `None` where there is
    /// no valid step size.
    fn new(weights: &[f32], bits: u32, model_rate: f64) -> Option<Self> {
        let Some(Codebook::Uniform { step, lowest, highest }) = Codebook::from_weights(weights, bits) else {
            return None;
        };
        let typical = mean_magnitude(weights.iter().copied());
        let grid = Grid { step, lowest, highest };
        Some(Self {
            step: LearnedScalars::new(vec![step], typical),
            least: floor(step),
            lowest,
            highest,
            model: LevelModel::fitted(&grid, weights, model_rate),
        })
    }

    fn grid(&self) -> Grid {
        Grid { step: self.step.values[0], lowest: self.lowest, highest: self.highest }
    }

    fn assign(&self, weights: &[f32]) -> Content {
        let grid = self.grid();
        let Grid { step, lowest, highest } = grid;
        let positions = weights.iter().map(|&w| (grid.level(w) - lowest) as u8).collect();
        Content::Levels { positions, codebook: Codebook::Uniform { step, lowest, highest } }
    }

    /// Adds the gradient of `strength` times the tensor's bits to that of the loss, for the weights in place, for the step
    /// and the model's logits to what they gather. Weights beyond the grid have neither gradient.
    fn backward(&mut self, weights: &[f32], gradient: &mut [f32], strength: f64) {
        let grid = self.grid();
        let of_loss = grid.step_gradient(weights, gradient);
        let of_rate = self.model.backward(&grid, weights, gradient, strength);
        self.step.add_gradient(0, of_loss + of_rate);
    }

    fn update(&mut self, learning_rate: f64) {
        self.step.update_above(learning_rate, &[self.least]);
        self.model.update(learning_rate);
    }
}

/// What a resumed run needs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    /// One per tensor; `None` where everything is zero.
    latents: Vec<Option<Latents>>,
    /// Weights of all tensors.
    weights: usize,
}

struct Epr {
    settings: Settings,
    scope: Scope,
    state: State,
    warnings: Vec<String>,
}

impl Quantizer for Epr {
    fn initialize(&mut self, weights: &[WeightTensor<'_>]) -> Result<()> {
        let mut latents = Vec::with_capacity(weights.len());
        for tensor in weights {
            let bits = self.scope.required_bits(tensor.name)?;
            let found = Latents::new(tensor.values, bits, self.settings.model_rate);
            if found.is_none() {
                self.warnings.push(format!("{}: {ALL_ZEROS}", tensor.name));
            }
            latents.push(found);
        }
        self.state = State { latents, weights: weights.iter().map(|tensor| tensor.values.len()).sum() };
        Ok(())
    }

    fn assign(
        &mut self,
        weights: &[WeightTensor<'_>],
        _: Option<&Relevances>,
        _: StepInfo,
    ) -> Result<Vec<QuantizedTensor>> {
        let of_tensor = |(tensor, latents): (&WeightTensor<'_>, &Option<Latents>)| {
            let content = match latents {
                Some(latents) => latents.assign(tensor.values),
                None => Content::zeros(tensor.values.len()),
            };
            tensor.quantized(content)
        };
        Ok(weights.par_iter().zip(&self.state.latents).map(of_tensor).collect())
    }

    fn backward(
        &mut self,
        index: usize,
        weights: WeightTensor<'_>,
        _: &QuantizedTensor,
        gradient: &mut [f32],
    ) -> Result<()> {
        let strength = self.settings.lambda / self.state.weights.max(1) as f64;
        if let Some(Some(latents)) = self.state.latents.get_mut(index) {
            latents.backward(weights.values, gradient, strength);
        }
        Ok(())
    }

    fn update(&mut self, learning_rate: f64, _: StepInfo) -> Result<()> {
        for latents in self.state.latents.iter_mut().flatten() {
            latents.update(learning_rate);
        }
        Ok(())
    }

    fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn state(&self) -> Result<Value> {
        to_state(&self.state)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.state = from_state(state)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::comparison::entropy_bits;

    /// With no loss but the rate, training ends at fewer bits, monotonically in Λ; with Λ = 0 nothing moves.
    #[test]
    fn rate_falls_with_lambda() {
        let start: Vec<f32> = (0..2000).map(|i| ((i * 997 % 2000) as f32 / 1000.0 - 1.0).powi(3)).collect();
        let bits_after = |lambda: f64| {
            let mut weights = start.clone();
            let mut latents = Latents::new(&weights, 4, 50.0).unwrap();
            for _ in 0..60 {
                // The loss holds every weight at its start.
                let mut gradient: Vec<f32> =
                    weights.iter().zip(&start).map(|(w, s)| (w - s) / 2000.0).collect();
                latents.backward(&weights, &mut gradient, lambda / 2000.0);
                latents.update(1e-4);
                weights.iter_mut().zip(&gradient).for_each(|(w, g)| *w -= 100.0 * g);
            }
            let Content::Levels { positions, codebook } = latents.assign(&weights) else { panic!("levels") };
            entropy_bits(&codebook.levels_of(&positions)) / 2000.0
        };
        let found = [0.0, 0.003, 0.01, 0.03].map(bits_after);
        assert!(found.windows(2).all(|pair| pair[1] < pair[0]), "{found:?}");
    }
}
