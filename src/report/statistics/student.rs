//! Student's t: the interval of a mean over few seeds.

/// Quantiles at 97.5 % per degrees of freedom, from the distribution itself: Abramowitz and Stegun, *Handbook of
/// Mathematical Functions*, 26.7.3 and 26.7.4, give the probability of |T| ≤ t for whole degrees of freedom as a finite
/// sum, and bisection inverts it.
///
/// # Panics
/// Never; no degrees of freedom give infinity.
pub fn quantile(degrees: usize) -> f64 {
    if degrees == 0 {
        return f64::INFINITY;
    }
    // The largest, for one degree of freedom, is 12.706.
    let (mut low, mut high) = (0.0, 16.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        match within(middle, degrees) < 0.95 {
            true => low = middle,
            false => high = middle,
        }
    }
    (low + high) / 2.0
}

/// Probability of |T| ≤ t.
fn within(t: f64, degrees: usize) -> f64 {
    let angle = (t / (degrees as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    // cos θ (odd degrees) or 1 (even), and each further term times (k−1)/k · cos² θ for k = 3, 5, … or 2, 4, …
    let odd = degrees % 2 == 1;
    let (mut term, mut sum, mut k) = if odd { (cosine, cosine, 3) } else { (1.0, 1.0, 2) };
    while k <= degrees.saturating_sub(2) {
        term *= (k - 1) as f64 / k as f64 * cosine * cosine;
        sum += term;
        k += 2;
    }
    match (odd, degrees) {
        (true, 1) => 2.0 * angle / std::f64::consts::PI,
        (true, _) => 2.0 / std::f64::consts::PI * (angle + sine * sum),
        (false, _) => sine * sum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The quantiles of every printed table, and the normal distribution's in the limit.
    #[test]
    fn quantiles_are_those_of_tables() {
        let table = [
            (1, 12.706),
            (2, 4.303),
            (3, 3.182),
            (4, 2.776),
            (5, 2.571),
            (9, 2.262),
            (10, 2.228),
            (29, 2.045),
            (30, 2.042),
            (120, 1.980),
        ];
        for (degrees, expected) in table {
            assert!((quantile(degrees) - expected).abs() < 5e-4, "{degrees}: {}", quantile(degrees));
        }
        assert!((quantile(100_000) - 1.960).abs() < 5e-4);
        assert_eq!(quantile(0), f64::INFINITY);
    }
}
