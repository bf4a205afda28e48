//! How long the rest of a sweep may take, from what finished runs have measured.

use super::{Planned, State};
use crate::record::EpochMetrics;
use std::collections::{BTreeMap, HashMap};

/// What finished runs of one kind took.
#[derive(Default)]
struct Timings {
    /// Sum over all measured epochs, seconds.
    epoch_seconds: f64,
    /// How many there were.
    epochs: usize,
    /// Everything but the epochs, one number per run: calibration, encoding, evaluation.
    rest: Vec<f64>,
}

impl Timings {
    /// Takes in the epochs of a run, and its total where it has finished.
    fn add(&mut self, epochs: &[EpochMetrics], total: Option<f64>) {
        let epochs = epochs.iter().filter(|epoch| epoch.epoch > 0);
        let (count, seconds) = epochs.fold((0, 0.0), |(n, sum), epoch| (n + 1, sum + epoch.seconds));
        self.epochs += count;
        self.epoch_seconds += seconds;
        self.rest.extend(total.map(|total| (total - seconds).max(0.0)));
    }

    /// Seconds for a run of `epochs` epochs; `None` where they have to be known and none was measured.
    fn cost(&self, epochs: usize) -> Option<f64> {
        let mut rest = self.rest.clone();
        rest.sort_by(f64::total_cmp);
        // The median: the first run of a baseline has trained it too.
        let rest = rest.get(rest.len() / 2).copied();
        match (epochs, self.epochs) {
            (0, _) => rest,
            (_, 0) => None,
            // While no run has finished, its epochs are what is known.
            (epochs, n) => Some(rest.unwrap_or(0.0) + epochs as f64 * self.epoch_seconds / n as f64),
        }
    }
}

/// Seconds of work in the unfinished runs, by one worker: epochs × their measured mean by data set, model and method, or
/// by data set and model where the method has none yet. `in_flight` has the epochs that unfinished runs have done, by id.
/// `None` when nothing is left or a part is unknown.
pub fn seconds_left(planned: &[Planned], in_flight: &HashMap<String, Vec<EpochMetrics>>) -> Option<f64> {
    let (mut by_method, mut by_model) = (BTreeMap::new(), BTreeMap::new());
    let model = |p: &Planned| (p.run.dataset.name.clone(), p.run.model_name());
    for p in planned {
        let (epochs, total) = match (&p.state, in_flight.get(&p.id)) {
            (State::Done(record), _) => (&record.epochs, Some(record.seconds)),
            (_, Some(epochs)) => (epochs, None),
            _ => continue,
        };
        let method = (model(p), p.run.quantizer.name().to_owned());
        by_method.entry(method).or_insert_with(Timings::default).add(epochs, total);
        by_model.entry(model(p)).or_insert_with(Timings::default).add(epochs, total);
    }
    let mut total = None;
    for p in planned.iter().filter(|p| !matches!(p.state, State::Done(_))) {
        let epochs = p.run.training.as_ref().map_or(0, |training| training.epochs);
        let done = in_flight.get(&p.id).map_or(0, |epochs| epochs.iter().filter(|e| e.epoch > 0).count());
        let epochs = epochs.saturating_sub(done);
        let own = by_method.get(&(model(p), p.run.quantizer.name().to_owned()));
        let cost = own
            .and_then(|timings| timings.cost(epochs))
            .or_else(|| by_model.get(&model(p)).and_then(|timings| timings.cost(epochs)))?;
        *total.get_or_insert(0.0) += cost;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Epochs count by their mean, everything else by its median; a kind without epochs says nothing about one with.
    #[test]
    fn costs_follow_the_epochs() {
        let mut timings = Timings { epoch_seconds: 12.0, epochs: 6, rest: vec![1.0, 30.0, 1.5] };
        assert_eq!(timings.cost(5), Some(11.5));
        assert_eq!(timings.cost(0), Some(1.5));
        timings.epochs = 0;
        assert_eq!(timings.cost(5), None);
        assert_eq!(Timings::default().cost(0), None);
    }
}
