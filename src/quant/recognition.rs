//! Levels in weights that somebody else quantized: the codebook whose values are exactly those that are there.
//!
//! A codebook is recognised where `level · step`, computed in f32, is each value to its last bit (a negative zero counts as
//! zero). What no grid gives exactly is an explicit codebook or, if somebody allows a tolerance, a grid near the values (they
//! were rounded once more on their way, in f16 for example), or stays as it is.

use super::codebook::Codebook;
use super::quantizer::Content;
use std::collections::BTreeSet;

/// Largest magnitude of a level index.
const LARGEST: i32 = Codebook::MOST as i32 - 1;

/// The levels of a tensor's values: of one uniform grid, of one per channel of the first or second dimension, or of at most
/// 256 values that are used twice on average. With a `tolerance` (a share of the step, 0: none), a grid from whose levels no
/// value is farther than that goes before an explicit codebook. `None` for other values, and where one is not finite.
pub fn recognise(values: &[f32], shape: &[usize], tolerance: f64) -> Option<Content> {
    if values.is_empty() || !values.iter().all(|value| value.is_finite()) {
        return None;
    }
    let all = distinct(values.iter());
    if let Some(step) = all.as_ref().and_then(|all| grid_step(all))
        && let Some(content) = on_grids(values, &[step], values.len())
    {
        return Some(content);
    }
    // Of two codebooks that are exact the one with fewer numbers: few values in many channels are a codebook of all.
    let all = all.filter(|all| 2 * all.len() <= values.len());
    let most = all.as_ref().map_or(usize::MAX, Vec::len);
    for axis in (0..shape.len().min(2)).filter(|&axis| shape[axis] <= most) {
        if let Some(content) = per_channel(values, shape, axis, |values| grid_step(&distinct(values.iter())?))
        {
            return Some(content);
        }
    }
    if tolerance > 0.0
        && let Some(content) = near_grids(values, shape, tolerance)
    {
        return Some(content);
    }
    let all = all?;
    let zero = all.partition_point(|value| *value < 0.0).min(all.len() - 1);
    let position = |value: &f32| all.binary_search_by(|known| known.total_cmp(&(value + 0.0))).ok();
    let positions = values.iter().map(|value| u8::try_from(position(value)?).ok()).collect::<Option<_>>()?;
    Some(Content::Levels { positions, codebook: Codebook::Explicit { values: all, zero } })
}

/// The values in use, ascending; `None` for more than a codebook holds.
fn distinct<'v>(values: impl Iterator<Item = &'v f32>) -> Option<Vec<f32>> {
    // Bits of finite floats as integers that ascend with them.
    let key = |value: f32| match value.to_bits() {
        bits if bits >> 31 == 1 => !bits,
        bits => bits | 1 << 31,
    };
    let value = |key: u32| f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key });
    let mut seen = BTreeSet::new();
    for value in values {
        // −0 + 0 is 0.
        seen.insert(key(value + 0.0));
        if seen.len() > Codebook::MOST {
            return None;
        }
    }
    Some(seen.into_iter().map(value).collect())
}

/// The largest step of which all values are whole multiples, of up to 255, to the last bit; 1 where all are zero.
fn grid_step(distinct: &[f32]) -> Option<f32> {
    let mut magnitudes: Vec<f32> = distinct.iter().map(|value| value.abs()).filter(|m| *m > 0.0).collect();
    magnitudes.sort_unstable_by(f32::total_cmp);
    let (Some(&smallest), Some(&largest)) = (magnitudes.first(), magnitudes.last()) else { return Some(1.0) };
    let level = |value: f32, step: f64| (f64::from(value) / step).round();
    for divisor in 1..=LARGEST {
        let step = f64::from(smallest) / f64::from(divisor);
        let highest = level(largest, step);
        if highest > f64::from(LARGEST) {
            return None;
        }
        // The largest value tells the step best: its quotient is the step but for its last bits.
        let mut step = (f64::from(largest) / highest) as f32;
        (0..3).for_each(|_| step = step.next_down());
        for _ in 0..7 {
            let is_multiple = |value: &f32| level(*value, f64::from(step)) as f32 * step == *value;
            if step > 0.0 && magnitudes.iter().all(is_multiple) {
                return Some(step);
            }
            step = step.next_up();
        }
    }
    None
}

/// The levels of values on grids with these steps, each for runs of `stride` values in turn; `None` where they are more than
/// a codebook holds.
fn on_grids(values: &[f32], steps: &[f32], stride: usize) -> Option<Content> {
    let mut levels = Vec::with_capacity(values.len());
    for (run, step) in values.chunks(stride).zip(steps.iter().cycle()) {
        levels.extend(run.iter().map(|value| (f64::from(*value) / f64::from(*step)).round() as i32));
    }
    let lowest = levels.iter().copied().min().unwrap_or(0).min(0);
    let highest = levels.iter().copied().max().unwrap_or(0).max(0);
    let codebook = match steps {
        &[step] => Codebook::Uniform { step, lowest, highest },
        steps => Codebook::PerChannel { steps: steps.to_vec(), stride, lowest, highest },
    };
    Content::of_levels(&levels, codebook)
}

/// The levels of a grid per channel of dimension `axis`, which must have two weights a channel at least; `step` finds that of
/// a channel's values.
fn per_channel(
    values: &[f32],
    shape: &[usize],
    axis: usize,
    step: impl Fn(&[f32]) -> Option<f32>,
) -> Option<Content> {
    let channels = shape[axis];
    let stride: usize = shape[axis + 1..].iter().product();
    if channels < 2
        || stride == 0
        || values.len() / channels < 2
        || !values.len().is_multiple_of(channels * stride)
    {
        return None;
    }
    let steps = (0..channels).map(|channel| {
        let runs = values.chunks(stride).skip(channel).step_by(channels);
        step(&runs.flatten().copied().collect::<Vec<_>>())
    });
    on_grids(values, &steps.collect::<Option<Vec<_>>>()?, stride)
}

/// The levels of one grid, or of one per channel, near the values.
fn near_grids(values: &[f32], shape: &[usize], tolerance: f64) -> Option<Content> {
    let whole = near_step(values, tolerance).and_then(|step| on_grids(values, &[step], values.len()));
    whole.or_else(|| {
        let mut axes = 0..shape.len().min(2);
        axes.find_map(|axis| per_channel(values, shape, axis, |values| near_step(values, tolerance)))
    })
}

/// The largest step of whose whole multiples, up to 255, no value is farther than `tolerance` steps: for each level that the
/// smallest value may have, the step of least squares; 1 where all are zero.
fn near_step(values: &[f32], tolerance: f64) -> Option<f32> {
    let mut magnitudes: Vec<f64> = values.iter().map(|v| f64::from(v.abs())).filter(|m| *m > 0.0).collect();
    magnitudes.sort_unstable_by(f64::total_cmp);
    magnitudes.dedup();
    let (Some(&smallest), Some(&largest)) = (magnitudes.first(), magnitudes.last()) else { return Some(1.0) };
    let highest = f64::from(LARGEST);
    for divisor in 1..=LARGEST {
        let mut step = smallest / f64::from(divisor);
        // The smallest value may be off by the tolerance, and the highest level with it.
        if largest * (1.0 - tolerance) > (highest + 1.0) * step {
            return None;
        }
        // From the small levels to the large ones, as those tell the step better and need it to be told.
        let (mut products, mut squares) = (0.0, 0.0);
        for &magnitude in &magnitudes {
            let level = (magnitude / step).round();
            products += magnitude * level;
            squares += level * level;
            step = products / squares;
        }
        let step = step as f32;
        let is_near = |&magnitude: &f64| {
            let quotient = magnitude / f64::from(step);
            (quotient - quotient.round()).abs() <= tolerance && quotient.round() <= highest
        };
        if step > 0.0 && magnitudes.iter().all(is_near) {
            return Some(step);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn same_bits(content: &Content, values: &[f32]) -> bool {
        content.values().iter().zip(values).all(|(a, b)| a.to_bits() == (b + 0.0).to_bits())
            && content.values().len() == values.len()
    }

    proptest! {
        /// Any values: no panic, and what is recognised comes back to the last bit.
        #[test]
        fn recognised_values_come_back(
            palette in prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 1..6),
            picks in prop::collection::vec(0usize..6, 12..60),
            raw in prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 0..4),
            channels in 1usize..5,
        ) {
            let picked = picks.iter().map(|&at| palette[at % palette.len()]);
            let mut values: Vec<f32> = picked.chain(raw).collect();
            values.truncate(values.len() / channels * channels);
            let shape = [channels, values.len() / channels];
            let is_finite = values.iter().all(|value| value.is_finite());
            match recognise(&values, &shape, 0.0) {
                Some(content) => prop_assert!(is_finite && same_bits(&content, &values)),
                // Few values are a codebook, whatever they are.
                None => prop_assert!(!is_finite || values.len() < 20),
            }
        }

        /// Fake-quantized weights of any step, denormal ones among them, are recognised: per tensor, per channel of both
        /// dimensions, with every level or some in use.
        #[test]
        fn grids_are_recognised(
            steps in prop::collection::vec(prop_oneof![1e-6f32..10.0, Just(1e-45f32), Just(1e-40), 1e30..1e35f32], 3),
            levels in prop::collection::vec(-127i32..=127, 36),
            bits in 2u32..=8,
            axis in 0usize..3,
        ) {
            let half = 1 << (bits - 1);
            let stride = [12, 4, 36][axis];
            let value = |(i, level): (usize, &i32)| (level % half) as f32 * steps[i / stride % 3];
            let values: Vec<f32> = levels.iter().enumerate().map(value).collect();
            let content = recognise(&values, &[3, 3, 4], 0.0).unwrap();
            prop_assert!(same_bits(&content, &values));
            let is_explicit = matches!(content, Content::Levels { codebook: Codebook::Explicit { .. }, .. });
            prop_assert!(!is_explicit);
        }
    }

    /// Grids whose values were rounded once more, in f16 or bfloat16, are found where a tolerance allows it, with no value
    /// farther off than that; without one they are explicit values or none.
    #[test]
    fn rounded_grids_are_near() {
        let steps = [0.0123f32, 0.4567, 0.0009];
        let exact = |i: usize| (i as i32 * 7 % 15 - 7) as f32 * steps[i / 40];
        let half = |value: f32| {
            candle_core::Tensor::new(&[value], &candle_core::Device::Cpu)
                .and_then(|value| {
                    value
                        .to_dtype(candle_core::DType::F16)?
                        .to_dtype(candle_core::DType::F32)?
                        .to_vec1::<f32>()
                })
                .unwrap()[0]
        };
        // bfloat16 has 8 bits: an eighth-bit error at level 7 is 0.03 of a step.
        let brain = |value: f32| f32::from_bits(value.to_bits().wrapping_add(0x8000) & 0xffff_0000);
        for (round, tolerance) in [(&half as &dyn Fn(f32) -> f32, 0.01), (&brain, 0.05)] {
            let values: Vec<f32> = (0..120).map(|i| round(exact(i))).collect();
            let content = recognise(&values, &[3, 40], tolerance).unwrap();
            let Content::Levels { codebook: Codebook::PerChannel { steps: found, .. }, .. } = &content else {
                panic!("{content:?}")
            };
            for (i, (found_value, value)) in content.values().iter().zip(&values).enumerate() {
                let step = found[i / 40];
                assert!(
                    (found_value - value).abs() <= tolerance as f32 * step,
                    "{found_value} {value} {step}"
                );
                assert!((step / steps[i / 40] - 1.0).abs() < 0.01, "{step}");
            }
            let one: Vec<f32> = values[..40].to_vec();
            let content = recognise(&one, &[5, 8], tolerance).unwrap();
            let is_uniform = matches!(
                content,
                Content::Levels { codebook: Codebook::Uniform { lowest: -7, highest: 7, .. }, .. }
            );
            assert!(is_uniform, "{content:?}");
            let is_grid = |content: &Content| {
                !matches!(content, Content::Levels { codebook: Codebook::Explicit { .. }, .. })
            };
            assert!(!recognise(&values, &[3, 40], 0.0).is_some_and(|content| is_grid(&content)));
        }
        // Floats are on no grid, at the largest tolerance that there is.
        let floats: Vec<f32> = (0..600).map(|i| (i as f32 * 0.37).sin()).collect();
        assert_eq!(recognise(&floats, &[20, 30], 0.1), None);
    }

    /// Each kind by its example: the simplest that fits is chosen.
    #[test]
    fn kinds() {
        let codebook = |values: &[f32], shape: &[usize]| match recognise(values, shape, 0.0) {
            Some(Content::Levels { codebook, .. }) => Some(codebook),
            _ => None,
        };
        // No zero in use; an odd grid without zero is one of half its step.
        let binary = codebook(&[0.3, -0.3, -0.3, 0.3], &[2, 2]);
        assert_eq!(binary, Some(Codebook::Uniform { step: 0.3, lowest: -1, highest: 1 }));
        let odd = codebook(&[0.5, -1.5, -0.5, 1.5], &[2, 2]);
        assert_eq!(odd, Some(Codebook::Uniform { step: 0.5, lowest: -3, highest: 3 }));
        let zeros = codebook(&[0.0, -0.0], &[1, 2]);
        assert_eq!(zeros, Some(Codebook::Uniform { step: 1.0, lowest: 0, highest: 0 }));
        // Values of k-means, with and without zero.
        let clusters = [-0.7134, -0.1211, 0.0, 0.2343, 0.9176f32];
        let values: Vec<f32> = (0..40).map(|i| clusters[i % 5]).collect();
        assert!(matches!(codebook(&values, &[2, 20]), Some(Codebook::Explicit { zero: 2, .. })));
        // Floats are floats, few or many, and so is what is not finite.
        let floats: Vec<f32> = (0..600).map(|i| (i as f32 * 0.37).sin()).collect();
        assert_eq!(codebook(&floats, &[20, 30]), None);
        assert_eq!(codebook(&floats[..40], &[4, 10]), None);
        assert_eq!(codebook(&[f32::NAN, 1.0], &[2]), None);
        assert_eq!(codebook(&[], &[0, 3]), None);
    }
}
