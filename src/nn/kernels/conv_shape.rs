//! What a convolution is apart from its values: shared by all ways to compute it.

/// Everything about a convolution but its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Samples.
    pub batch: usize,
    /// Input channels, height, width.
    pub input: [usize; 3],
    /// Output channels, height, width.
    pub output: [usize; 3],
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Vertical and horizontal zero padding on each side.
    pub padding: [usize; 2],
    /// Vertical and horizontal dilation.
    pub dilation: [usize; 2],
    /// Groups of channels.
    pub groups: usize,
}

impl ConvShape {
    pub(super) fn input_len(&self) -> usize {
        self.input.iter().product()
    }

    pub(super) fn output_len(&self) -> usize {
        self.output.iter().product()
    }

    pub(super) fn positions(&self) -> usize {
        self.output[1] * self.output[2]
    }

    /// Rows of the unfolded matrix of one group.
    pub(super) fn patch(&self) -> usize {
        self.input[0] / self.groups * self.kernel[0] * self.kernel[1]
    }

    /// Whether there is nothing to add up.
    pub(super) fn is_empty(&self) -> bool {
        self.batch == 0 || self.input_len() == 0 || self.output_len() == 0
    }

    /// Panics when the slices do not fit.
    pub(super) fn check(&self, x: &[f32], weight: &[f32]) {
        assert!(x.len() == self.batch * self.input_len() && weight.len() == self.output[0] * self.patch());
    }
}
