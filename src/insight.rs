//! What figures of weights and relevance need and records do not hold. A leaf: runs produce it, reports draw it.

/// Weights with their relevance, samples with theirs, one layer's assignment.
pub struct Insight {
    /// Every weight tensor, in layer order.
    pub layers: Vec<ExplainedLayer>,
    /// Some inputs.
    pub maps: Vec<Map>,
    /// One layer as two methods assign it.
    pub assignment: Option<Assignment>,
}

/// A weight tensor with its relevance.
pub struct ExplainedLayer {
    /// Parameter name.
    pub name: String,
    /// Weights.
    pub weights: Vec<f32>,
    /// Signed relevance of each.
    pub relevance: Vec<f32>,
    /// Pearson's correlation of |weight| and |relevance|.
    pub correlation: Option<f64>,
}

impl ExplainedLayer {
    /// A tensor's values and the relevance of each, with the correlation of their magnitudes.
    pub fn new(name: impl Into<String>, weights: Vec<f32>, relevance: Vec<f32>) -> Self {
        let absolute = |values: &[f32]| values.iter().map(|v| f64::from(v.abs())).collect::<Vec<_>>();
        let correlation = correlation(&absolute(&weights), &absolute(&relevance));
        Self { name: name.into(), weights, relevance, correlation }
    }
}

/// One input, (channels, height, width), with its relevance.
pub struct Map {
    /// Text above it.
    pub title: String,
    /// Channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Values, row-major.
    pub input: Vec<f32>,
    /// Signed relevance of each value.
    pub relevance: Vec<f32>,
}

/// One layer's full-precision weights and the level each takes.
pub struct Assignment {
    /// Parameter name.
    pub layer: String,
    /// Bit width and strength, for the title.
    pub setting: String,
    /// Distance of neighbouring levels.
    pub step: f32,
    /// Full-precision weights.
    pub weights: Vec<f32>,
    /// The methods, by the name that people read, each with the level index (0 = zero) of every weight.
    pub methods: [(String, Vec<i32>); 2],
}

/// Pearson's correlation; `None` where there are fewer than two pairs or one side does not vary.
fn correlation(x: &[f64], y: &[f64]) -> Option<f64> {
    let n = x.len().min(y.len());
    if n < 2 {
        return None;
    }
    let mean = |values: &[f64]| values[..n].iter().sum::<f64>() / n as f64;
    let (mean_x, mean_y) = (mean(x), mean(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (a, b) in x.iter().zip(y) {
        let (a, b) = (a - mean_x, b - mean_y);
        xy += a * b;
        xx += a * a;
        yy += b * b;
    }
    let scale = (xx * yy).sqrt();
    (scale > 0.0 && scale.is_finite()).then(|| xy / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Correlation is 1 for a line, −1 for a falling one, and nothing where one side is constant.
    #[test]
    fn correlation_of_lines() {
        let x = [1.0, 2.0, 4.0];
        assert!((correlation(&x, &[3.0, 5.0, 9.0]).unwrap() - 1.0).abs() < 1e-12);
        assert!((correlation(&x, &[-1.0, -2.0, -4.0]).unwrap() + 1.0).abs() < 1e-12);
        assert_eq!(correlation(&x, &[2.0, 2.0, 2.0]), None);
    }
}
