//! How a working point is chosen from several of a method: on which split, and from where a loss is counted.

use super::statistics::{DEPTH, Summary};
use super::tables::WorkingPoint;

/// The split whose mean accuracy chooses working points. What is reported of them is always test accuracy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChooseOn {
    /// Validation: nothing is chosen on the numbers that are reported.
    #[default]
    Validation,
    /// Test, as published tables often do: flatters whoever has more settings.
    Test,
}

impl ChooseOn {
    /// The word in captions and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// Which working point of a method at a bit width stands for it: one rule for a whole table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// The most accurate.
    MostAccurate,
    /// The smallest without loss of mean accuracy.
    NoLoss,
    /// The smallest with at most one point lost.
    #[default]
    OnePoint,
}

impl Rule {
    /// The rule in words, as a caption begins.
    pub fn words(self) -> &'static str {
        match self {
            Self::MostAccurate => "most accurate setting",
            Self::NoLoss => "smallest file without loss of accuracy",
            Self::OnePoint => "smallest file with at most 1 point lost",
        }
    }

    /// The point of `group` that it takes; `None` where none qualifies.
    pub fn choose<'a>(self, choice: &Choice, group: &[&'a WorkingPoint]) -> Option<&'a WorkingPoint> {
        match self {
            Self::MostAccurate => choice.most_accurate(group),
            Self::NoLoss => choice.smallest_within(group, 0.0),
            Self::OnePoint => choice.smallest_within(group, 1.0),
        }
    }
}

/// From where a loss is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Origin {
    /// Each point's baseline on the split.
    Baseline,
    /// The baseline's validation accuracy, percent, which the records do not have: [`estimate`].
    Estimated(f64),
}

/// The rule for the points of one data set and model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    on: ChooseOn,
    origin: Origin,
    /// Test was taken because no record has a validation accuracy.
    forced: bool,
}

impl Choice {
    /// The rule that `on` gives for `points`, all of one data set and model.
    pub fn new(on: ChooseOn, points: &[&WorkingPoint]) -> Self {
        let validated = points.iter().any(|p| p.validation.is_some());
        match (on, estimate(points).filter(|_| validated)) {
            (ChooseOn::Test, _) => Self { on, origin: Origin::Baseline, forced: false },
            (ChooseOn::Validation, None) => {
                Self { on: ChooseOn::Test, origin: Origin::Baseline, forced: true }
            }
            (ChooseOn::Validation, Some(estimated)) => {
                let known = points.iter().all(|p| p.baseline_validation.is_some());
                let origin = if known { Origin::Baseline } else { Origin::Estimated(estimated) };
                Self { on, origin, forced: false }
            }
        }
    }

    /// The split that chooses: test where no record has a validation accuracy.
    pub fn on(&self) -> ChooseOn {
        self.on
    }

    /// Whether the point lost so much on the split that chooses that it counts as broken; what is not known counts as sound.
    pub fn is_broken(&self, point: &WorkingPoint) -> bool {
        self.loss(point).is_some_and(|loss| loss > DEPTH)
    }

    fn accuracy(&self, point: &WorkingPoint) -> Option<f64> {
        match self.on {
            ChooseOn::Test => Some(point.score.mean),
            ChooseOn::Validation => point.validation.map(|s| s.mean),
        }
    }

    /// Points lost on the split that chooses.
    fn loss(&self, point: &WorkingPoint) -> Option<f64> {
        let from = match (self.origin, self.on) {
            (Origin::Estimated(accuracy), _) => accuracy,
            (Origin::Baseline, ChooseOn::Validation) => point.baseline_validation?.mean,
            (Origin::Baseline, ChooseOn::Test) => point.baseline?.mean,
        };
        Some(from - self.accuracy(point)?)
    }

    /// The most accurate point; of several the smallest.
    pub fn most_accurate<'a>(&self, group: &[&'a WorkingPoint]) -> Option<&'a WorkingPoint> {
        let known = group.iter().filter_map(|point| Some((self.accuracy(point)?, *point)));
        let best = known.min_by(|(a, p), (b, q)| b.total_cmp(a).then_with(|| size(p).total_cmp(&size(q))));
        best.map(|(_, point)| point)
    }

    /// The smallest point with at most `limit` points lost.
    pub fn smallest_within<'a>(&self, group: &[&'a WorkingPoint], limit: f64) -> Option<&'a WorkingPoint> {
        // Means of equal accuracies differ in their last bits.
        let fits = group.iter().filter(|point| self.loss(point).is_some_and(|loss| loss <= limit + 1e-9));
        fits.min_by(|a, b| size(a).total_cmp(&size(b))).copied()
    }

    /// What the rule is, in a sentence; `of` names data set and model.
    pub fn sentence(&self, of: &str) -> String {
        match (self.on, self.origin, self.forced) {
            (ChooseOn::Validation, Origin::Estimated(accuracy), _) => format!(
                "{of}: chosen on validation accuracy; a loss is counted from {accuracy:.2} %, an estimate of the \
                 full-precision model's validation accuracy, which the records do not have: its test accuracy plus what \
                 validation differs from test by, on average over all settings."
            ),
            (ChooseOn::Validation, Origin::Baseline, _) => format!(
                "{of}: chosen on validation accuracy; a loss is counted from the full-precision model's."
            ),
            (ChooseOn::Test, _, true) => {
                format!("{of}: chosen on test accuracy, because the records have no validation accuracy.")
            }
            (ChooseOn::Test, _, false) => format!(
                "{of}: chosen on test accuracy, which flatters the method with more settings; a loss is counted from \
                 the full-precision model's."
            ),
        }
    }
}

/// The baseline's validation accuracy, percent: its test accuracy plus the mean difference of the two splits over the
/// settings that are not broken (over all where all are). An average over all settings favours none of them.
fn estimate(points: &[&WorkingPoint]) -> Option<f64> {
    let mean = |values: Vec<f64>| Summary::of(&values).map(|s| s.mean);
    let sound: Vec<&&WorkingPoint> =
        points.iter().filter(|p| p.drop.is_none_or(|drop| drop.mean <= DEPTH)).collect();
    let shift = |p: &WorkingPoint| Some(p.validation?.mean - p.score.mean);
    let of_sound = mean(sound.iter().filter_map(|p| shift(p)).collect());
    let shift = of_sound.or_else(|| mean(points.iter().filter_map(|p| shift(p)).collect()))?;
    Some(mean(points.iter().filter_map(|p| Some(p.baseline?.mean)).collect())? + shift)
}

fn size(point: &WorkingPoint) -> f64 {
    point.file_bytes.map_or(f64::INFINITY, |size| size.mean)
}
