//! Sums over blocks of one channel that batch normalisation and its gradient need.

/// Lanes of a partial sum: independent additions that fill the widest vectors several times over.
pub(super) const LANES: usize = 64;

/// The sum of the lanes and of the rest.
#[inline(always)]
fn total(lanes: &[f32; LANES], rest: f32) -> f64 {
    let mut sum = f64::from(rest);
    for &lane in lanes {
        sum += f64::from(lane);
    }
    sum
}

/// Sum and sum of squared differences from the mean of a block, in f32 lanes about the block's own mean.
#[inline(always)]
pub(super) fn moments(block: &[f32]) -> (f64, f64) {
    let (blocks, tail) = block.as_chunks::<LANES>();
    let (mut lanes, mut rest) = ([0.0f32; LANES], 0.0f32);
    for block in blocks {
        for lane in 0..LANES {
            lanes[lane] += block[lane];
        }
    }
    for &v in tail {
        rest += v;
    }
    let sum = total(&lanes, rest);
    let mean = (sum / block.len() as f64) as f32;
    let (mut lanes, mut rest) = ([0.0f32; LANES], 0.0f32);
    for block in blocks {
        for lane in 0..LANES {
            let difference = block[lane] - mean;
            lanes[lane] += difference * difference;
        }
    }
    for &v in tail {
        rest += (v - mean) * (v - mean);
    }
    (sum, total(&lanes, rest))
}

/// What a channel's values are multiplied with and shifted by.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub mean: f32,
    pub factor: f32,
    pub shift: f32,
}

impl Line {
    #[inline(always)]
    pub fn at(self, v: f32) -> f32 {
        (v - self.mean) * self.factor + self.shift
    }

    /// The gradient that passes the ReLU behind the normalisation, if there is one.
    #[inline(always)]
    pub fn masked<const RELU: bool>(self, g: f32, v: f32) -> f32 {
        if RELU && self.at(v) <= 0.0 { 0.0 } else { g }
    }
}

/// Sums of `g` and of `g · (v − mean)` over a block, with g masked by the ReLU.
#[inline(always)]
pub(super) fn gradient_sums<const RELU: bool>(line: Line, gradient: &[f32], x: &[f32]) -> (f64, f64) {
    let ((gs, g_tail), (xs, x_tail)) = (gradient.as_chunks::<LANES>(), x.as_chunks::<LANES>());
    let (mut sums, mut products) = ([0.0f32; LANES], [0.0f32; LANES]);
    for (g, v) in gs.iter().zip(xs) {
        for lane in 0..LANES {
            let masked = line.masked::<RELU>(g[lane], v[lane]);
            sums[lane] += masked;
            products[lane] += masked * (v[lane] - line.mean);
        }
    }
    let (mut sum, mut product) = (0.0, 0.0);
    for (&g, &v) in g_tail.iter().zip(x_tail) {
        let masked = line.masked::<RELU>(g, v);
        sum += masked;
        product += masked * (v - line.mean);
    }
    (total(&sums, sum), total(&products, product))
}
