//! The scalar quantization of Neural Network Coding, which the codec and the method `nnc` share: uniform, or dependent
//! through an eight-state trellis; by squared error alone, or with a rate term (as encoders may choose).

use super::rate::{RateModel, neighbour};

/// Successor of each of the eight states of dependent quantization, by parity of the level.
pub(crate) const NEXT_STATE: [[u8; 2]; 8] = [[0, 2], [7, 5], [1, 3], [6, 4], [2, 0], [5, 7], [3, 1], [4, 6]];
/// Steps per octave are 2 to this power where nothing else is said.
pub(crate) const DENSITY: u32 = 2;

/// `(2^d + (qp mod 2^d)) · 2^(⌊qp / 2^d⌋ − d)` for density `d`.
pub(crate) fn step_size(qp: i32, density: u32) -> f32 {
    let k = 1i32 << density;
    (f64::from(k + (qp & (k - 1))) * f64::from((qp >> density) - density as i32).exp2()) as f32
}

/// Integers and the quantization parameter really used: a tensor too large for its step falls back to a coarser one.
pub(crate) fn quantize(values: &[f32], qp: i32, density: u32, dependent: bool) -> Option<(Vec<i32>, i32)> {
    let attempt = |qp| {
        let step = step_size(qp, density);
        if dependent { trellis(values, step) } else { uniform(values, step) }
    };
    match attempt(qp) {
        Some(integers) => Some((integers, qp)),
        None => {
            let coarser = fallback(values, density)?;
            Some((attempt(coarser)?, coarser))
        }
    }
}

/// Nearest integers, halves away from zero.
fn uniform(values: &[f32], step: f32) -> Option<Vec<i32>> {
    let scale = 1.0 / step;
    values
        .iter()
        .map(|&x| {
            let rounded = f64::from(scale * x).round();
            (rounded >= f64::from(i32::MIN) && rounded <= f64::from(i32::MAX)).then_some(rounded as i32)
        })
        .collect()
}

/// What a value may become: one of four neighbouring multiples (by their remainder modulo 4) or zero, each with its
/// squared error (in steps) and its level.
#[inline(always)]
fn candidates(x: f32, inverse: f64) -> [(f64, i32); 5] {
    let sign = if x < 0.0 { -1.0 } else { 1.0 };
    let target = inverse * f64::from(x) * sign;
    let first = (target as i64 - 1).max(1);
    let mut candidates = [(0.0f64, 0i32); 5];
    candidates[4] = (target * target, 0);
    for q in first..first + 4 {
        let difference = target - q as f64;
        candidates[(q & 3) as usize] = (difference * difference, (sign as i64 * ((q + 1) >> 1)) as i32);
    }
    candidates
}

/// The path through the trellis with the smallest squared error. Keeps two bytes per value on the way.
fn trellis(values: &[f32], step: f32) -> Option<Vec<i32>> {
    const HUGE: f64 = 0.5 * f64::MAX;
    let inverse = 1.0 / f64::from(step);
    let check = inverse as f32;
    // For every state its three predecessors in order, each with the candidate it takes when the level has that parity.
    let mut incoming = [[(0u8, 0usize); 3]; 8];
    let mut filled = [0usize; 8];
    for (from, next) in (0u8..).zip(&NEXT_STATE) {
        let odd = usize::from(from & 1);
        let entries = [(next[0], 3 * odd), (next[0], 4), (next[1], 2 - odd)];
        for (to, slot) in entries {
            // Every state follows two others: one by an even level, which may be zero, and one by an odd level.
            incoming[usize::from(to)][filled[usize::from(to)]] = (from, slot);
            filled[usize::from(to)] += 1;
        }
    }
    let mut costs = [HUGE; 8];
    costs[0] = 0.0;
    // Per value and state two bits: which predecessor.
    let mut back: Vec<u16> = Vec::with_capacity(values.len());
    for &x in values {
        let rounded = f64::from(x * check).round();
        if !(-2_147_483_650.0..=2_147_483_645.0).contains(&rounded) {
            return None;
        }
        let candidates = candidates(x, inverse);
        let mut next = [0.0; 8];
        let mut decisions = 0u16;
        for (state, next) in next.iter_mut().enumerate() {
            let mut best = (f64::MAX, 0);
            for (choice, &(from, slot)) in (0u16..).zip(&incoming[state]) {
                let cost = costs[usize::from(from)] + candidates[slot].0;
                if cost < best.0 {
                    best = (cost, choice);
                }
            }
            *next = best.0;
            decisions |= best.1 << (2 * state);
        }
        costs = next;
        back.push(decisions);
    }
    let mut state = (0..8).fold(0, |best, i| if costs[i] < costs[best] { i } else { best });
    let mut integers = vec![0; values.len()];
    for ((integer, &x), decisions) in integers.iter_mut().zip(values).zip(&back).rev() {
        let (from, slot) = incoming[state][usize::from(decisions >> (2 * state) & 3).min(2)];
        let level = candidates(x, inverse)[slot].1;
        *integer = 2 * level - level.signum() * i32::from(from & 1);
        state = usize::from(from);
    }
    Some(integers)
}

/// The smallest parameter whose step keeps the largest magnitude within 32 bits.
fn fallback(values: &[f32], density: u32) -> Option<i32> {
    let k = f64::from(1u32 << density);
    let max = values.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    if !max.is_finite() {
        return None;
    }
    let step = f64::from(max) / f64::from(i32::MAX - 2);
    let base = (step.log2().floor() * k) as f32;
    let exponent = f64::from(base / k as f32);
    let parameter = (f64::from(base) + (step * k / exponent.exp2() - k)) as f32;
    Some(parameter.ceil() as i32)
}

/// `integer · step` in f32.
pub(crate) fn dequantize(integers: &[i32], qp: i32, density: u32) -> Vec<f32> {
    let step = step_size(qp, density);
    integers.iter().map(|&integer| integer as f32 * step).collect()
}

/// As [`quantize`], with `lambda` times the estimated bits added to the squared error in steps; `None` as there.
pub(crate) fn quantize_with_rate(
    values: &[f32],
    qp: i32,
    density: u32,
    dependent: bool,
    lambda: f64,
) -> Option<(Vec<i32>, i32)> {
    let (plain, qp) = quantize(values, qp, density, dependent)?;
    if lambda <= 0.0 {
        return Some((plain, qp));
    }
    let step = step_size(qp, density);
    // Rates as they are after the tensor has been seen once.
    let mut model = RateModel::new(if dependent { 8 } else { 1 });
    let (mut state, mut before) = (0usize, 0);
    for &value in &plain {
        let level = if dependent { level_of(value, state) } else { value };
        model.update(level, state, before);
        before = neighbour(level);
        if dependent {
            state = usize::from(NEXT_STATE[state][(level & 1) as usize]);
        }
    }
    Some((cheapest_path(values, step, &model, dependent, lambda), qp))
}

/// The level that stands for a multiple of the step in a state.
fn level_of(value: i32, state: usize) -> i32 {
    let magnitude = (i64::from(value).abs() + (state & 1) as i64) >> 1;
    (i64::from(value.signum()) * magnitude) as i32
}

/// What survives at a state of the trellis.
#[derive(Clone, Copy)]
struct Survivor {
    cost: f64,
    before: usize,
}

/// The path with the smallest squared error plus `lambda` times the bits that `model` estimates.
fn cheapest_path(values: &[f32], step: f32, model: &RateModel, dependent: bool, lambda: f64) -> Vec<i32> {
    let states = if dependent { 8 } else { 1 };
    let none = Survivor { cost: f64::INFINITY, before: 0 };
    let mut survivors = vec![none; states];
    survivors[0].cost = 0.0;
    // Per value and state: where the survivor came from, and its multiple of the step.
    let mut back: Vec<(u8, i32)> = Vec::with_capacity(values.len() * states);
    for &x in values {
        let target = f64::from(x) / f64::from(step);
        let mut next = vec![none; states];
        let mut from_here = vec![(0u8, 0i32); states];
        for (state, survivor) in survivors.iter().enumerate().filter(|(_, s)| s.cost.is_finite()) {
            let mut consider = |level: i32| {
                let multiple = multiple_of(level, state, dependent);
                let error = target - f64::from(multiple);
                let cost = survivor.cost + error * error + lambda * model.bits(level, state, survivor.before);
                let to = if dependent { usize::from(NEXT_STATE[state][(level & 1) as usize]) } else { 0 };
                if cost < next[to].cost {
                    next[to] = Survivor { cost, before: neighbour(level) };
                    from_here[to] = (state as u8, multiple);
                }
            };
            // The two levels around the target, one further in, and zero, with either parity among them.
            let around = match dependent {
                true => (target.abs() + (state & 1) as f64) / 2.0,
                false => target.abs(),
            };
            let upper = around.ceil().min(1e9) as i32;
            let sign = if target < 0.0 { -1 } else { 1 };
            consider(0);
            (upper - 2..=upper).filter(|level| *level > 0).for_each(|level| consider(sign * level));
        }
        survivors = next;
        back.extend(from_here);
    }
    let mut state =
        (0..states).fold(0, |best, i| if survivors[i].cost < survivors[best].cost { i } else { best });
    let mut multiples = vec![0; values.len()];
    for (multiple, here) in multiples.iter_mut().zip(back.chunks_exact(states)).rev() {
        let (from, value) = here[state];
        (*multiple, state) = (value, usize::from(from));
    }
    multiples
}

/// The multiple of the step that a level stands for in a state.
fn multiple_of(level: i32, state: usize, dependent: bool) -> i32 {
    match dependent {
        true => 2 * level - level.signum() * (state & 1) as i32,
        false => level,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Normal weights, most of them small beside the step.
    fn values() -> Vec<f32> {
        let mut rng = Rng::stream(1, "weights");
        (0..6000).map(|_| 0.05 * rng.normal()).collect()
    }

    fn error(values: &[f32], integers: &[i32], qp: i32) -> f64 {
        let back = dequantize(integers, qp, DENSITY);
        values.iter().zip(back).map(|(x, y)| f64::from(x - y).powi(2)).sum()
    }

    /// Quantized values come back as they are, which files of quantized models rest on: with and without dependent
    /// quantization, with and without a rate term.
    #[test]
    fn quantized_values_are_a_fixed_point() {
        for (dependent, lambda) in [(false, 0.0), (true, 0.0), (false, 0.1), (true, 0.1)] {
            let (integers, qp) = quantize_with_rate(&values(), -20, DENSITY, dependent, lambda).unwrap();
            let again = quantize(&dequantize(&integers, qp, DENSITY), qp, DENSITY, dependent);
            assert_eq!(again, Some((integers, qp)), "{dependent} {lambda}");
        }
    }

    /// Estimated bits of multiples of the step, as levels of the states that they lead through.
    fn bits(integers: &[i32], dependent: bool) -> f64 {
        let (mut model, mut state, mut before, mut bits) = (RateModel::new(8), 0, 0, 0.0);
        for &value in integers {
            let level = if dependent { level_of(value, state) } else { value };
            bits += model.bits(level, state, before);
            model.update(level, state, before);
            before = neighbour(level);
            if dependent {
                state = usize::from(NEXT_STATE[state][(level & 1) as usize]);
            }
        }
        bits
    }

    /// A rate term buys bits with error, the more the larger it is; a vanishing one changes nothing that matters.
    #[test]
    fn rate_buys_bits_with_error() {
        let values = values();
        for dependent in [false, true] {
            let of = |lambda| {
                let (integers, qp) = quantize_with_rate(&values, -20, DENSITY, dependent, lambda).unwrap();
                (bits(&integers, dependent), error(&values, &integers, qp))
            };
            let plain = of(0.0);
            assert!((of(1e-12).1 / plain.1 - 1.0).abs() < 1e-6, "{dependent}: {:?} {plain:?}", of(1e-12));
            let (some, more) = (of(0.05), of(0.3));
            assert!(plain.0 > some.0 && some.0 > more.0, "{plain:?} {some:?} {more:?}");
            assert!(plain.1 < some.1 && some.1 < more.1);
        }
    }
}
