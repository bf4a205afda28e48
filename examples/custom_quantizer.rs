//! A quantizer of one's own, as a user's crate has it: every weight becomes a signed power of two times a learned scale,
//! or zero. The program is the whole `ecqx` with this method more:
//!
//! ```text
//! cargo run --release --example custom_quantizer -- run experiment.yaml      # method: power_of_two
//! ```

use ecqx::quant::assignment::nearest;
use ecqx::quant::codebook::Codebook;
use ecqx::quant::learned::{LearnedScalars, mean_magnitude};
use ecqx::quant::quantizer::{Content, StepInfo, WeightTensor};
use ecqx::quant::{Bits, Method, PerTensor, Role, TensorQuantizer};
use ecqx::registry::Parameter;
use serde::{Deserialize, Serialize};

/// What the tool needs to know of the method.
pub static METHOD: Method = Method {
    name: "power_of_two",
    display: "Power of two",
    about: "signed powers of two times a learned scale",
    bits: Bits::Required(2, 8),
    needs_relevance: false,
    needs_calibration: false,
    parameters: &[Parameter::number("shrink", "first scale over the largest |w|", (0.01, 1.0), 1.0)],
    strength: None,
    role: Role::Rival,
    revision: 1,
    build: |setup| {
        let method: PowerOfTwo = setup.settings()?;
        Ok(PerTensor::boxed(setup, method))
    },
};

#[derive(Deserialize)]
struct PowerOfTwo {
    shrink: f32,
}

/// What is kept of one tensor.
#[derive(Clone, Serialize, Deserialize)]
struct Levels {
    /// The largest level.
    scale: LearnedScalars,
    /// Levels on each side of zero.
    per_side: i32,
}

impl Levels {
    fn scale(&self) -> f32 {
        self.scale.values[0]
    }

    /// ±scale · 2⁻ᵏ and zero, ascending.
    fn codebook(&self) -> Codebook {
        let powers: Vec<f32> = (0..self.per_side).map(|k| self.scale() * 0.5f32.powi(k)).collect();
        let negative = powers.iter().map(|value| -value);
        let values = negative.chain([0.0]).chain(powers.iter().rev().copied()).collect();
        Codebook::Explicit { values, zero: self.per_side as usize }
    }
}

impl TensorQuantizer for PowerOfTwo {
    type Fitted = Levels;

    fn fit(&self, weights: &WeightTensor<'_>, bits: Option<u32>) -> ecqx::Result<Option<Levels>> {
        let finite = || weights.values.iter().copied().filter(|w| w.is_finite());
        let scale = self.shrink * finite().fold(0.0f32, |largest, w| largest.max(w.abs()));
        let Some(bits) = bits.filter(|_| scale > 0.0) else { return Ok(None) };
        let scale = LearnedScalars::new(vec![scale], mean_magnitude(finite()));
        Ok(Some(Levels { scale, per_side: (1 << (bits - 1)) - 1 }))
    }

    fn assign(&self, levels: &mut Levels, weights: &WeightTensor<'_>, _: StepInfo) -> Content {
        let codebook = levels.codebook();
        Content::Levels { positions: nearest(weights.values, &codebook.values()), codebook }
    }

    /// Every level is proportional to the scale: `∂q/∂scale = q / scale`. The weights' own gradient passes as it is.
    fn backward(&self, levels: &mut Levels, _: &WeightTensor<'_>, quantized: &Content, gradient: &mut [f32]) {
        let scale = f64::from(levels.scale());
        let products = quantized.values().into_iter().zip(gradient.iter());
        let sum: f64 = products.map(|(q, g)| f64::from(q) * f64::from(*g)).sum();
        levels.scale.add_gradient(0, sum / scale);
    }

    fn update(&self, levels: &mut Levels, learning_rate: f64) {
        let before = levels.scale();
        levels.scale.update(learning_rate);
        levels.scale.values[0] = levels.scale().max(before * 1e-3);
    }
}

fn main() -> std::process::ExitCode {
    // A crate of its own says `concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"))`.
    ecqx::App::new().program("custom_quantizer 1.0").quantizer(&METHOD).main()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecqx::testing::{check_degenerate_layers, check_gradient, check_resume, tensor};

    /// An interrupted run continues as if nothing had happened, and odd layers are survived.
    #[test]
    fn behaves_as_every_method_must() {
        check_resume(&METHOD);
        check_degenerate_layers(&METHOD);
    }

    /// The gradient of the scale is that of a quadratic loss with the assignment held.
    #[test]
    fn scale_gradient_matches_finite_differences() {
        let weights: Vec<f32> = (0..300).map(|i| ((i * 71 % 300) as f32 - 150.5) / 90.0).collect();
        let method = PowerOfTwo { shrink: 1.0 };
        let mut levels = method.fit(&tensor(&weights), Some(3)).unwrap().unwrap();
        let quantized = method.assign(&mut levels, &tensor(&weights), StepInfo::POST_TRAINING);
        let target = |i: usize| (i as f64 * 0.17).sin();
        let values = quantized.values();
        let at = f64::from(levels.scale());
        let loss = |scale: f64| -> f64 {
            let moved = values.iter().map(|&q| f64::from(q) * scale / at);
            0.5 * moved.enumerate().map(|(i, q)| (q - target(i)).powi(2)).sum::<f64>()
        };
        let mut gradient: Vec<f32> =
            values.iter().enumerate().map(|(i, &q)| (f64::from(q) - target(i)) as f32).collect();
        method.backward(&mut levels, &tensor(&weights), &quantized, &mut gradient);
        check_gradient("scale", levels.scale.gradients()[0], loss, at, 1e-2, 1e-3);
    }
}
