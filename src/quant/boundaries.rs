//! Where along the axis of weights one level stops being the cheapest and the next begins. Costs are parabolas of one
//! width, so the winner only ever moves up as the weight grows: an assignment is a count of boundaries below the weight.
//!
//! Every boundary is the exact f32 at which a plain search over f32 costs changes its mind. Away from a crossing the f32
//! search cannot err, because the costs differ by more than their rounding; next to it the few weights in doubt are
//! searched through when the boundary is laid. How slices of weights are swept is in [`super::assignment`].

/// Weights up to here from a crossing are checked one by one; a wider doubt is left to the sweep.
const MOST_CHECKED: i64 = 4096;
/// Unit roundoff of f32.
const ROUNDOFF: f64 = 1.0 / (1u32 << 24) as f64;
/// Share of a codebook's range below which two levels nearly coincide: the plain search decides about all weights.
const LEAST_GAP: f64 = 1.0 / (1u32 << 15) as f64;
/// More than the error of a cost that underflows.
const UNDERFLOW: f64 = 1e-44;

/// The regions in which each level wins.
#[derive(Clone, Debug, PartialEq)]
pub struct Boundaries {
    /// Ascending: a weight above `limits[i]` takes `winners[i + 1]` or a later one.
    pub(super) limits: Vec<f32>,
    /// Positions of the levels that win somewhere, one more than limits.
    pub(super) winners: Vec<u8>,
    /// Closed intervals in which the plain search decides. Empty but for codebooks whose levels nearly coincide.
    pub(super) doubtful: Vec<(f32, f32)>,
    /// Ascending.
    pub(super) levels: Vec<f32>,
    pub(super) penalties: Vec<f32>,
}

/// A crossing of two neighbouring winners and the interval around it in which f32 may see the winner elsewhere.
struct Crossing {
    at: f64,
    low: f32,
    high: f32,
    after: usize,
}

impl Boundaries {
    /// Boundaries of `cost = (level − w)² + penalty` for ascending levels, at most 256; of equal costs the lower level
    /// wins, and a level with an infinite penalty never does.
    ///
    /// Weights that are not numbers take the lowest winner. 2¹⁹ distances of levels away from the crossings, where f32 no
    /// longer tells levels apart, and where squares overflow, exact arithmetic decides.
    pub fn new(levels: &[f32], penalties: &[f32]) -> Self {
        let mut boundaries = Self {
            limits: Vec::new(),
            winners: vec![0],
            doubtful: Vec::new(),
            levels: levels.to_vec(),
            penalties: penalties.to_vec(),
        };
        let open: Vec<usize> = (0..levels.len()).filter(|&k| penalties[k] < f32::INFINITY).collect();
        let Some(&first) = open.first() else { return boundaries };
        boundaries.winners[0] = first as u8;
        let range = f64::from(levels[open[open.len() - 1]]) - f64::from(levels[first]);
        let distances = open.windows(2).map(|pair| f64::from(levels[pair[1]]) - f64::from(levels[pair[0]]));
        if !distances.fold(f64::INFINITY, f64::min).gt(&(range * LEAST_GAP)) && open.len() > 1 {
            boundaries.doubtful.push((f32::NEG_INFINITY, f32::INFINITY));
            return boundaries;
        }
        let crossings = boundaries.crossings(&open);
        boundaries.winners[0] = crossings.0 as u8;
        let mut rest = crossings.1.as_slice();
        while let Some(first) = rest.first() {
            // Intervals that meet are one.
            let (mut count, mut high) = (1, first.high);
            while let Some(next) = rest.get(count).filter(|next| next.low <= high) {
                high = high.max(next.high);
                count += 1;
            }
            boundaries.settle(&open, &rest[..count], first.low, high);
            rest = &rest[count..];
        }
        boundaries
    }

    /// The cost in f64.
    fn cost(&self, level: usize, weight: f64) -> f64 {
        let distance = f64::from(self.levels[level]) - weight;
        distance * distance + f64::from(self.penalties[level])
    }

    /// The lower envelope of the costs: the winner at −∞ and all crossings in order.
    fn crossings(&self, open: &[usize]) -> (usize, Vec<Crossing>) {
        let value = |k: usize| (f64::from(self.levels[k]), f64::from(self.penalties[k]));
        let mut envelope: Vec<(usize, f64)> = Vec::with_capacity(open.len());
        for &next in open {
            let mut start = f64::NEG_INFINITY;
            while let Some(&(last, from)) = envelope.last() {
                let ((a, p), (b, q)) = (value(last), value(next));
                start = 0.5 * (a + b) + (q - p) / (2.0 * (b - a));
                if start > from {
                    break;
                }
                envelope.pop();
                start = f64::NEG_INFINITY;
            }
            envelope.push((next, start));
        }
        // Distance to the nearest level that may win.
        let gap = |k: usize| {
            let at = open.partition_point(|&other| other < k);
            let to = |other: Option<&usize>| {
                other.map_or(f64::INFINITY, |&other| (value(other).0 - value(k).0).abs())
            };
            to(at.checked_sub(1).and_then(|at| open.get(at))).min(to(open.get(at + 1)))
        };
        let crossings = envelope.windows(2).map(|pair| {
            let ((before, _), (after, at)) = (pair[0], pair[1]);
            // A cost errs by at most 4 roundoffs of itself. Costs part by 2 · gap per distance from the crossing, so both
            // errors are outgrown at 4 roundoffs · cost / gap; four times as much covers that the cost grows on the way.
            let doubt = (16.0 * ROUNDOFF * self.cost(before, at) + UNDERFLOW) / gap(before).min(gap(after));
            let (low, high) = (((at - doubt) as f32).next_down(), ((at + doubt) as f32).next_up());
            Crossing { at, low, high, after }
        });
        (envelope[0].0, crossings.collect())
    }

    /// Lays the boundaries of crossings whose intervals of doubt are one, `low` to `high`.
    fn settle(&mut self, open: &[usize], crossings: &[Crossing], low: f32, high: f32) {
        let (from, to) = (order(low), order(high));
        let candidates = self.candidates(open, crossings, low, high);
        let before = usize::from(self.winners[self.winners.len() - 1]);
        if let [Crossing { after, .. }] = crossings
            && candidates == [before, *after]
            && self.levels[before] <= low
            && high <= self.levels[*after]
        {
            // Between two levels the cost of the lower one never falls and that of the upper one never rises, in f32 as
            // well: one change, found by bisection.
            let after = *after;
            let wins = |at: i32| {
                let cost = |k: usize| {
                    let distance = self.levels[k] - from_order(at);
                    distance * distance + self.penalties[k]
                };
                cost(after) < cost(before)
            };
            let (mut without, mut with) = (i64::from(from) - 1, i64::from(to) + 1);
            while with - without > 1 {
                let middle = (without + with).div_euclid(2);
                *(if wins(middle as i32) { &mut with } else { &mut without }) = middle;
            }
            return self.switch(from_order(without as i32), after as u8);
        }
        let count = i64::from(to) - i64::from(from);
        if low.is_finite()
            && high.is_finite()
            && count < MOST_CHECKED
            && self.check(&candidates, crossings, from, to)
        {
            return;
        }
        self.doubtful.push((low, high));
        for crossing in crossings {
            self.switch(crossing.at as f32, crossing.after as u8);
        }
    }

    /// The levels that may win in f32 somewhere between `low` and `high`.
    fn candidates(&self, open: &[usize], crossings: &[Crossing], low: f32, high: f32) -> Vec<usize> {
        // A line above a concave envelope is nearest to it at a corner or at an end.
        let ends = [low, high].map(f64::from);
        let places = crossings.iter().map(|crossing| crossing.at).chain(ends);
        let bounds: Vec<(f64, f64)> = places
            .map(|place| {
                let least = open.iter().map(|&k| self.cost(k, place)).fold(f64::INFINITY, f64::min);
                (place, least + 16.0 * ROUNDOFF * least + UNDERFLOW)
            })
            .collect();
        let near = |k: &usize| bounds.iter().any(|&(place, bound)| self.cost(*k, place) <= bound);
        open.iter().copied().filter(near).collect()
    }

    /// Tries every f32 of an interval; `false` where the winner does not only move up.
    fn check(&mut self, candidates: &[usize], crossings: &[Crossing], from: i32, to: i32) -> bool {
        let weights: Vec<f32> = (from..=to).map(from_order).collect();
        let mut best = vec![f32::INFINITY; weights.len()];
        let mut found = vec![0u8; weights.len()];
        let costs = candidates.iter().map(|&k| (k as u8, self.levels[k], self.penalties[k]));
        super::sweep::sweep(&weights, costs, &mut best, &mut found);
        let before = self.winners[self.winners.len() - 1];
        let after = crossings[crossings.len() - 1].after as u8;
        let ascends = found.windows(2).all(|pair| pair[0] <= pair[1]);
        if !ascends || found[0] < before || found[found.len() - 1] > after {
            return false;
        }
        self.switch(weights[0].next_down(), found[0]);
        for (pair, weight) in found.windows(2).zip(&weights) {
            self.switch(*weight, pair[1]);
        }
        self.switch(weights[weights.len() - 1], after);
        true
    }

    /// From above `limit` on, `winner` wins.
    fn switch(&mut self, limit: f32, winner: u8) {
        if self.winners.last() != Some(&winner) {
            self.limits.push(limit);
            self.winners.push(winner);
        }
    }

    /// The position that a plain search over all levels finds.
    pub(super) fn search(&self, weight: f32) -> u8 {
        let (mut best, mut found) = ([f32::INFINITY], [self.winners[0]]);
        let costs = (0u8..).zip(self.levels.iter().zip(&self.penalties));
        super::sweep::sweep(&[weight], costs.map(|(at, (&l, &p))| (at, l, p)), &mut best, &mut found);
        found[0]
    }

    /// Whether the plain search decides about this weight.
    pub(super) fn doubts(&self, weight: f32) -> bool {
        self.doubtful.iter().any(|&(low, high)| (low..=high).contains(&weight))
    }
}

/// A number that grows with the f32, one per value.
fn order(value: f32) -> i32 {
    let bits = value.to_bits() as i32;
    if bits < 0 { !bits ^ i32::MIN } else { bits }
}

/// The inverse of [`order`].
fn from_order(order: i32) -> f32 {
    f32::from_bits(if order < 0 { !(order ^ i32::MIN) } else { order } as u32)
}
