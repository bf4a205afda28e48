//! Numbers that say how good a model is: their names, units and directions. Which of them a model is scored by follows
//! from its task; tables, figures and verdicts follow from that.

use serde::{Deserialize, Serialize};

/// In which direction a number improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Accuracy, sparsity, compression.
    Higher,
    /// Loss, size, time.
    Lower,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Percent, 0–100; differences are percentage points.
    Percent,
    /// Nats.
    Nats,
}

/// A number that says how good a model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Share of samples whose highest logit is the true class.
    Top1,
    /// Share of samples whose true class is among the five highest logits.
    Top5,
    /// Mean over labels of the area under precision over recall (Pascal VOC 2010 and later).
    Map,
    /// The same from eleven points of recall (Pascal VOC 2007).
    Map11,
    /// Mean cross entropy.
    Loss,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Top1, Self::Top5, Self::Map, Self::Map11, Self::Loss];

    /// Name in records, JSON and column names.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Top1 => "top1",
            Self::Top5 => "top5",
            Self::Map => "map",
            Self::Map11 => "map11",
            Self::Loss => "loss",
        }
    }

    /// Short name where people read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Top1 => "top-1",
            Self::Top5 => "top-5",
            Self::Map => "mAP",
            Self::Map11 => "mAP, 11 points",
            Self::Loss => "loss",
        }
    }

    /// Full name in captions and on axes, in the middle of a sentence.
    pub const fn long_name(self) -> &'static str {
        match self {
            Self::Top1 => "top-1 accuracy",
            Self::Top5 => "top-5 accuracy",
            Self::Map => "mean average precision",
            Self::Map11 => "mean average precision (11 points)",
            Self::Loss => "loss",
        }
    }

    /// The word for it where it is compared: accuracy, mAP.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Top1 | Self::Top5 => "accuracy",
            other => other.name(),
        }
    }

    /// Its unit.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Loss => Unit::Nats,
            _ => Unit::Percent,
        }
    }

    /// In which direction it improves.
    pub const fn better(self) -> Better {
        match self {
            Self::Loss => Better::Lower,
            _ => Better::Higher,
        }
    }

    /// A value with its unit, as people read it.
    pub fn shown(self, value: f64) -> String {
        match self.unit() {
            Unit::Percent => format!("{value:.2} %"),
            Unit::Nats => format!("{value:.4}"),
        }
    }
}

/// What a model reaches on a split, by the metrics of its task. Percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Numbers")]
pub enum Score {
    /// One class per sample.
    Classes {
        /// Share of samples whose highest logit is the true class.
        top1: f64,
        /// Share of samples whose true class is among the five highest logits; absent with fewer than ten classes.
        top5: Option<f64>,
    },
    /// Any number of labels per sample.
    Labels {
        /// Mean average precision, area under the curve.
        map: f64,
        /// Mean average precision, eleven points.
        map11: f64,
    },
}

/// The numbers that a record may have: which they are tells the task.
#[derive(Deserialize)]
struct Numbers {
    top1: Option<f64>,
    top5: Option<f64>,
    map: Option<f64>,
    map11: Option<f64>,
}

impl TryFrom<Numbers> for Score {
    type Error = &'static str;

    fn try_from(numbers: Numbers) -> Result<Self, Self::Error> {
        match (numbers.top1, numbers.map) {
            (Some(top1), _) => Ok(Self::Classes { top1, top5: numbers.top5 }),
            (None, Some(map)) => Ok(Self::Labels { map, map11: numbers.map11.unwrap_or(f64::NAN) }),
            (None, None) => Err("has neither 'top1' nor 'map'"),
        }
    }
}

impl Score {
    /// The metric that the task is scored by: working points are chosen, compared and drawn by it.
    pub const fn metric(&self) -> Metric {
        match self {
            Self::Classes { .. } => Metric::Top1,
            Self::Labels { .. } => Metric::Map,
        }
    }

    /// The value of [`metric`](Self::metric), percent.
    pub const fn value(&self) -> f64 {
        match self {
            Self::Classes { top1, .. } => *top1,
            Self::Labels { map, .. } => *map,
        }
    }

    /// All metrics with their values.
    pub fn list(&self) -> Vec<(Metric, f64)> {
        match *self {
            Self::Classes { top1, top5 } => {
                let five = top5.map(|top5| (Metric::Top5, top5));
                [(Metric::Top1, top1)].into_iter().chain(five).collect()
            }
            Self::Labels { map, map11 } => vec![(Metric::Map, map), (Metric::Map11, map11)],
        }
    }

    /// A score of that metric alone, where nothing else is known.
    pub const fn of(metric: Metric, value: f64) -> Self {
        match metric {
            Metric::Map | Metric::Map11 => Self::Labels { map: value, map11: f64::NAN },
            _ => Self::Classes { top1: value, top5: None },
        }
    }
}
