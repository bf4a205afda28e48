//! What a convolution or linear layer does with its results before they are written.

use super::elementwise::vectorised;

/// `y ← y · scale + shift` per channel, then max(y, 0) with `relu`.
#[derive(Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// One factor per channel.
    pub scale: Option<&'a [f32]>,
    /// One summand per channel.
    pub shift: Option<&'a [f32]>,
    /// Whether negative results become zero.
    pub relu: bool,
}

impl<'a> Epilogue<'a> {
    /// The addition of a bias, if there is one.
    pub fn bias(bias: Option<&'a [f32]>) -> Self {
        Self { shift: bias, ..Self::default() }
    }

    /// Whether there is nothing to do.
    pub fn is_none(&self) -> bool {
        self.scale.is_none() && self.shift.is_none() && !self.relu
    }

    /// Whether scale and shift have one value for each of `channels` channels, where they are given.
    pub fn fits(&self, channels: usize) -> bool {
        [self.scale, self.shift].into_iter().flatten().all(|values| values.len() == channels)
    }

    /// Applies it to the results of one channel.
    #[inline(always)]
    pub fn apply(&self, channel: usize, values: &mut [f32]) {
        let scale = self.scale.map_or(1.0, |scale| scale[channel]);
        let shift = self.shift.map_or(0.0, |shift| shift[channel]);
        let least = if self.relu { 0.0 } else { f32::NEG_INFINITY };
        for value in values {
            let sum = *value * scale + shift;
            // A comparison instead of `max`: what is not a number stays visible.
            *value = if sum < least { least } else { sum };
        }
    }

    /// Applies it to one value of each channel. To be inlined into code for the vectors at hand.
    #[inline(always)]
    pub fn apply_across(&self, values: &mut [f32]) {
        if let Some(scale) = self.scale {
            values.iter_mut().zip(scale).for_each(|(value, scale)| *value *= scale);
        }
        if let Some(shift) = self.shift {
            values.iter_mut().zip(shift).for_each(|(value, shift)| *value += shift);
        }
        if self.relu {
            // A comparison instead of `max`: what is not a number stays visible.
            values.iter_mut().for_each(|value| *value = if *value < 0.0 { 0.0 } else { *value });
        }
    }

    /// Applies it to all channels of one sample.
    pub fn apply_sample(&self, positions: usize, sample: &mut [f32]) {
        if !self.is_none() {
            vectorised(
                #[inline(always)]
                || {
                    for (channel, line) in sample.chunks_exact_mut(positions).enumerate() {
                        self.apply(channel, line);
                    }
                },
            );
        }
    }
}
