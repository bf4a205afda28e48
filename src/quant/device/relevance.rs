//! The search for β of all tensors together: thresholds stay on the device, and counts of them are read in rounds. Two
//! rounds settle all but odd tensors, whose thresholds then come to the host: three reads at most.

use super::levels::{assigned, at, cost, one, places, where_at};
use super::sums::{counts, total, unpacked};
use super::{Found, Readings, Weighting, plain};
use crate::Result;
use crate::quant::boundaries::Boundaries;
use crate::quant::count_above::count_above;
use crate::quant::entropy::EntropyCosts;
use crate::quant::relevance_search::{Goal, NO_RELEVANCE, below, first_exponents, passes, start};
use crate::quant::thresholds::Magnitudes;
use candle_core::Tensor;

/// Rounds of counting before thresholds are read themselves.
const ROUNDS: usize = 2;

/// A tensor whose zeros are weighed.
pub struct Weighted {
    weights: Tensor,
    zero: u8,
    costs: EntropyCosts,
    /// `None` for relevance that is zero or not finite.
    search: Option<Search>,
}

struct Search {
    /// Positions of the best levels other than zero, u8.
    others: Tensor,
    thresholds: Tensor,
    start: f64,
    goal: Option<Goal>,
    /// Limits and how many thresholds lie above.
    known: Vec<(f32, usize)>,
    /// Limits to count next.
    wanted: Vec<f32>,
    /// All exponents that were tried, once the search has ended.
    passes: Option<Vec<f64>>,
}

impl Weighted {
    /// From weights, relevance (both flat), costs without relevance and `numbers`: largest and summed |relevance|.
    pub fn new(
        weights: Tensor,
        relevance: Tensor,
        zero: u8,
        costs: EntropyCosts,
        numbers: &[f64],
    ) -> Result<Self> {
        let (largest, sum) =
            (numbers.first().copied().unwrap_or(0.0), numbers.get(1).copied().unwrap_or(0.0));
        let largest = if sum.is_finite() { largest as f32 } else { f32::NAN };
        let Some(magnitudes) = Magnitudes::from_pieces(vec![(largest.to_bits(), sum)], weights.elem_count())
        else {
            return Ok(Self { weights, zero, costs, search: None });
        };
        let (others, thresholds) = thresholds(&weights, &relevance, zero, &costs, magnitudes.scale())?;
        let start = start(&magnitudes);
        let wanted = first_exponents(start).into_iter().map(below).collect();
        let search =
            Search { others, thresholds, start, goal: None, known: Vec::new(), wanted, passes: None };
        Ok(Self { weights, zero, costs, search: Some(search) })
    }
}

/// Positions of the best levels other than zero, and the exponent above which zero wins, as
/// [`Thresholds`](crate::quant::thresholds::Thresholds) has it; logarithms may differ in their last bits.
fn thresholds(
    weights: &Tensor,
    relevance: &Tensor,
    zero: u8,
    costs: &EntropyCosts,
    scale: f32,
) -> Result<(Tensor, Tensor)> {
    let device = weights.device();
    let index = usize::from(zero);
    let (levels, mut penalties) = (&costs.boundaries.levels, costs.penalties.clone());
    let of_zero = [levels[index], penalties[index]];
    penalties[index] = f32::INFINITY;
    let others = assigned(weights, &Boundaries::new(levels, &penalties))?;
    let of_others = cost(weights, &at(levels.clone(), &others)?, &at(penalties, &others)?)?;
    let of_zero = cost(weights, &one(of_zero[0], device)?, &one(of_zero[1], device)?)?;
    let ratio = (of_others / (&of_zero + &of_zero)?)?;
    let shares =
        relevance.abs()?.broadcast_div(&one(scale, device)?)?.broadcast_add(&one(1e-12f32, device)?)?;
    let by_search = (ratio.log()? / shares.log()?)?;
    let by_search = where_at(&ratio.gt(&ratio.zeros_like()?)?, &by_search, f32::INFINITY)?;
    // A ratio that is not a number stays one: zero then wins.
    let undefined = ratio.ne(&ratio)?;
    let by_search = undefined.where_cond(&ratio, &by_search)?;
    // With equal costs the lower position wins, which is zero where the other level lies above it.
    let least =
        where_at(&others.broadcast_le(&one(zero, device)?)?, &ratio.ones_like()?, 1.0f32.next_down())?;
    let always = Tensor::full(f32::NEG_INFINITY, ratio.shape(), device)?;
    let by_ratio = where_at(&ratio.gt(&least)?, &always, f32::INFINITY)?;
    Ok((others, shares.broadcast_lt(&one(1f32, device)?)?.where_cond(&by_search, &by_ratio)?))
}

impl Search {
    /// Goes on as far as the counts reach; asks for those that are missing.
    fn advance(&mut self, total: usize) {
        let Some(goal) = self.goal else { return };
        let (known, wanted) = (&self.known, &mut self.wanted);
        wanted.clear();
        self.passes = passes(self.start, &goal, |exponents| {
            let limits: Vec<f32> = exponents.iter().map(|&exponent| below(exponent)).collect();
            let count = |limit: &f32| {
                known.iter().find(|(l, _)| l.to_bits() == limit.to_bits()).map(|(_, n)| total - n)
            };
            let found: Option<Vec<usize>> = limits.iter().map(count).collect();
            if found.is_none() {
                wanted.extend(limits.iter().filter(|limit| count(limit).is_none()));
            }
            found
        });
    }

    /// Counts of the thresholds between the wanted limits, in ascending order.
    fn count(&mut self) -> Result<Tensor> {
        self.wanted.sort_by(f32::total_cmp);
        self.wanted.dedup_by_key(|limit| limit.to_bits());
        counts(&places(&self.thresholds, &self.wanted)?, self.wanted.len() + 1)
    }

    /// Takes in what [`count`](Self::count) counted.
    fn learn(&mut self, packed: &[f64]) {
        let bins = unpacked(packed, self.wanted.len() + 1);
        let mut above = 0;
        for (limit, bin) in self.wanted.iter().zip(&bins[1..]).rev() {
            above += bin;
            self.known.push((*limit, above));
        }
    }
}

/// Assigns all these tensors.
///
/// # Errors
/// Those of the device.
pub fn search_all(
    mut layers: Vec<(usize, Weighted)>,
    weighting: &Weighting<'_>,
    readings: &mut Readings,
    found: &mut [Found],
) -> Result<()> {
    for round in 0..ROUNDS {
        let mut parts = Vec::new();
        for (_, layer) in &mut layers {
            let Some(search) = layer.search.as_mut().filter(|search| !search.wanted.is_empty()) else {
                continue;
            };
            parts.push(search.count()?);
            if round == 0 {
                let zeros = assigned(&layer.weights, &layer.costs.boundaries)?
                    .broadcast_eq(&one(layer.zero, layer.weights.device())?)?;
                parts.push(total(&zeros)?);
            }
        }
        let mut numbers = readings.read(parts)?.into_iter();
        for (_, layer) in &mut layers {
            let count = layer.weights.elem_count();
            let Some(search) = layer.search.as_mut().filter(|search| !search.wanted.is_empty()) else {
                continue;
            };
            search.learn(&numbers.next().unwrap_or_default());
            if round == 0 {
                let zeros = numbers.next().and_then(|zeros| zeros.first().copied()).unwrap_or(0.0);
                search.goal = Goal::new(zeros as usize, count, weighting.p, weighting.band);
                search.wanted.clear();
            }
            search.advance(count);
        }
    }
    let is_open = |layer: &Weighted| layer.search.as_ref().is_some_and(|search| !search.wanted.is_empty());
    let open: Vec<Tensor> = layers
        .iter()
        .filter(|(_, layer)| is_open(layer))
        .filter_map(|(_, layer)| Some(layer.search.as_ref()?.thresholds.clone()))
        .collect();
    let mut thresholds = readings.read(open)?.into_iter();
    for (index, layer) in &mut layers {
        if is_open(layer)
            && let Some(Search { start, goal: Some(goal), passes: found, .. }) = &mut layer.search
        {
            let values: Vec<f32> =
                thresholds.next().unwrap_or_default().into_iter().map(|v| v as f32).collect();
            let zeros = |exponents: &[f64]| {
                let limits: Vec<f32> = exponents.iter().map(|&exponent| below(exponent)).collect();
                Some(count_above(&values, &limits).into_iter().map(|above| values.len() - above).collect())
            };
            *found = passes(*start, goal, zeros);
        }
        found[*index] = layer.finish()?;
    }
    Ok(())
}

impl Weighted {
    fn finish(&self) -> Result<Found> {
        let Some(search) = &self.search else {
            let (positions, [warning, _]) = plain(&self.weights, &self.costs)?;
            return Ok((positions, [warning, Some(NO_RELEVANCE)]));
        };
        // A band that reaches zero is met without relevance.
        let last = search.passes.as_ref().and_then(|passes| passes.last());
        let (Some(&exponent), Some(_)) = (last, search.goal) else {
            return plain(&self.weights, &self.costs);
        };
        let kept = search.thresholds.broadcast_gt(&one(below(exponent), search.thresholds.device())?)?;
        let zeros = Tensor::full(self.zero, kept.shape(), kept.device())?;
        Ok((Some(kept.where_cond(&search.others, &zeros)?), [self.costs.warning, None]))
    }
}
