//! Pareto fronts of accuracy (higher is better) against size (lower is better).

/// A result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Bytes, positive.
    pub size: f64,
    /// Percent.
    pub accuracy: f64,
}

/// Neighbours on a front that are further apart in size than this factor leave a gap that nothing is read in.
const GAP: f64 = 2.0;

/// As do neighbours further apart in accuracy than this, in points: it does not fall along a line into a collapse.
const CLIFF: f64 = 10.0;

/// The points no other point beats in both, by ascending size (and so ascending accuracy).
pub fn pareto_front(points: &[Point]) -> Vec<Point> {
    let mut sorted: Vec<Point> =
        points.iter().filter(|p| p.size.is_finite() && p.accuracy.is_finite()).copied().collect();
    sorted.sort_by(|a, b| a.size.total_cmp(&b.size).then(b.accuracy.total_cmp(&a.accuracy)));
    let mut front: Vec<Point> = Vec::new();
    for point in sorted {
        if front.last().is_none_or(|last| point.accuracy > last.accuracy) {
            front.push(point);
        }
    }
    front
}

/// Area that the points dominate, as a share of the box between `reference` (largest size, lowest accuracy that count)
/// and (`smallest` size, 100 %), with size on a log axis. 0–1; larger is better.
pub fn hypervolume(points: &[Point], smallest: f64, reference: Point) -> f64 {
    let width = (reference.size / smallest).ln();
    let height = 100.0 - reference.accuracy;
    if !(width > 0.0 && height > 0.0) {
        return 0.0;
    }
    let front = pareto_front(points);
    let mut area = 0.0;
    for (index, point) in front.iter().enumerate() {
        let from = point.size.clamp(smallest, reference.size);
        let to =
            front.get(index + 1).map_or(reference.size, |next| next.size.clamp(smallest, reference.size));
        area += (to / from).ln() * (point.accuracy - reference.accuracy).max(0.0);
    }
    area / (width * height)
}

/// Accuracy at `size` on the front, linear between its points in log size; `None` outside it (no extrapolation).
pub fn accuracy_at(front: &[Point], size: f64) -> Option<f64> {
    interpolate(front.iter().map(|p| (p.size.ln(), p.accuracy)), size.ln())
}

/// Smallest size at `accuracy` on the front, interpolated likewise; `None` outside it.
pub fn size_at(front: &[Point], accuracy: f64) -> Option<f64> {
    interpolate(front.iter().map(|p| (p.accuracy, p.size.ln())), accuracy).map(f64::exp)
}

/// Whether `size` lies between neighbours of `front` that are too far apart for it to be read there: further from both
/// than by the factor `near`, which is above 1 so that rounding does not put a front's own point into the gap beside it.
pub(super) fn in_a_gap(front: &[Point], size: f64, near: f64) -> bool {
    front.windows(2).any(|pair| match *pair {
        [low, high] => {
            let between = low.size * near < size && size * near < high.size;
            between && (high.size > GAP * low.size || high.accuracy - low.accuracy > CLIFF)
        }
        _ => false,
    })
}

fn interpolate(points: impl Iterator<Item = (f64, f64)>, x: f64) -> Option<f64> {
    let mut last: Option<(f64, f64)> = None;
    for (here, value) in points {
        if (here - x).abs() < 1e-12 {
            return Some(value);
        }
        if here > x {
            return last.map(|(before, first)| first + (value - first) * (x - before) / (here - before));
        }
        last = Some((here, value));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn points() -> impl Strategy<Value = Vec<Point>> {
        prop::collection::vec((1.0..1000.0f64, 0.0..100.0f64), 1..40)
            .prop_map(|list| list.into_iter().map(|(size, accuracy)| Point { size, accuracy }).collect())
    }

    proptest! {
        /// Every point is on the front or beaten by one on it, and the front rises.
        #[test]
        fn front_dominates(points in points()) {
            let front = pareto_front(&points);
            for point in &points {
                prop_assert!(front.iter().any(|f| f.size <= point.size && f.accuracy >= point.accuracy));
            }
            prop_assert!(front.windows(2).all(|w| w[0].size < w[1].size && w[0].accuracy < w[1].accuracy));
        }

        /// A share of the box, and never smaller with one more point.
        #[test]
        fn hypervolume_grows(points in points(), size in 1.0..1000.0f64, accuracy in 0.0..100.0f64) {
            let reference = Point { size: 1000.0, accuracy: 0.0 };
            let before = hypervolume(&points, 1.0, reference);
            let mut more = points.clone();
            more.push(Point { size, accuracy });
            let after = hypervolume(&more, 1.0, reference);
            prop_assert!((0.0..=1.0 + 1e-9).contains(&before));
            prop_assert!(after + 1e-9 >= before);
        }
    }

    /// Nothing is read between settings of which one is far smaller, or has collapsed; at the settings and beside them it is.
    #[test]
    fn gaps_are_wide_or_steep() {
        let front = |smaller: (f64, f64)| {
            [Point { size: smaller.0, accuracy: smaller.1 }, Point { size: 100.0, accuracy: 90.0 }]
        };
        assert!(!in_a_gap(&front((51.0, 80.0)), 75.0, 1.05));
        assert!(in_a_gap(&front((49.0, 80.0)), 75.0, 1.05));
        assert!(in_a_gap(&front((51.0, 79.0)), 75.0, 1.05));
        assert!(!in_a_gap(&front((51.0, 20.0)), 97.0, 1.05));
        assert!(!in_a_gap(&front((51.0, 20.0)), 51.0, 1.05));
    }

    /// Interpolation goes through the points and does not leave them.
    #[test]
    fn interpolation_stays_inside() {
        let front = [Point { size: 10.0, accuracy: 80.0 }, Point { size: 1000.0, accuracy: 90.0 }];
        assert!((accuracy_at(&front, 100.0).unwrap() - 85.0).abs() < 1e-9);
        assert!((size_at(&front, 85.0).unwrap() - 100.0).abs() < 1e-9);
        assert_eq!(accuracy_at(&front, 5.0), None);
        assert_eq!(size_at(&front, 95.0), None);
    }
}
