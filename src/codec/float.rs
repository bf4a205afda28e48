//! Scalar quantization of float tensors: uniform, or dependent through an eight-state trellis (squared error only).

use super::context::NEXT_STATE;

/// `(2^d + (qp mod 2^d)) · 2^(⌊qp / 2^d⌋ − d)` for density `d`.
pub(super) fn step_size(qp: i32, density: u32) -> f32 {
    let k = 1i32 << density;
    (f64::from(k + (qp & (k - 1))) * f64::from((qp >> density) - density as i32).exp2()) as f32
}

/// Integers and the quantization parameter really used: a tensor too large for its step falls back to a coarser one.
pub(super) fn quantize(values: &[f32], qp: i32, density: u32, dependent: bool) -> Option<(Vec<i32>, i32)> {
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
pub(super) fn dequantize(integers: &[i32], qp: i32, density: u32) -> Vec<f32> {
    let step = step_size(qp, density);
    integers.iter().map(|&integer| integer as f32 * step).collect()
}
