//! Every n-th index along an axis, and the way back: by narrowing and reshaping, since an index tensor would have to be
//! sent to the device.

use candle_core::{Result, Tensor};

/// The indices `offset`, `offset + stride`, … (`count` of them) along `axis`.
pub fn strided(x: &Tensor, axis: usize, offset: usize, stride: usize, count: usize) -> Result<Tensor> {
    if stride == 1 {
        return x.narrow(axis, offset, count);
    }
    let (span, rest) = (stride * count, x.dim(axis)? - offset);
    let x = match span <= rest {
        true => x.narrow(axis, offset, span)?,
        false => x.narrow(axis, offset, rest)?.pad_with_zeros(axis, 0, span - rest)?,
    };
    let mut dims = x.dims().to_vec();
    dims[axis] = count;
    dims.insert(axis + 1, stride);
    x.reshape(dims)?.narrow(axis + 1, 0, 1)?.squeeze(axis + 1)
}

/// The adjoint of [`strided`]: the values at these indices of an axis of `size`, zeros elsewhere.
pub fn spread(grad: &Tensor, axis: usize, offset: usize, stride: usize, size: usize) -> Result<Tensor> {
    let used = stride * grad.dim(axis)?.saturating_sub(1) + 1;
    spaced(grad, axis, stride)?.pad_with_zeros(axis, offset, size - offset - used)
}

/// `stride − 1` zeros between neighbours along `axis`.
pub fn spaced(x: &Tensor, axis: usize, stride: usize) -> Result<Tensor> {
    if stride == 1 {
        return Ok(x.clone());
    }
    let mut dims = x.dims().to_vec();
    let count = dims[axis];
    dims[axis] = count * stride;
    let x = x.unsqueeze(axis + 1)?.pad_with_zeros(axis + 1, 0, stride - 1)?.reshape(dims)?;
    x.narrow(axis, 0, stride * count.saturating_sub(1) + 1)
}

/// Zeros before and after along `axis`; negative counts cut values off.
pub fn resized(x: &Tensor, axis: usize, before: isize, after: isize) -> Result<Tensor> {
    let (cut_before, cut_after) = ((-before).max(0) as usize, (-after).max(0) as usize);
    let x = match cut_before + cut_after {
        0 => x.clone(),
        cut => x.narrow(axis, cut_before, x.dim(axis)? - cut)?,
    };
    x.pad_with_zeros(axis, before.max(0) as usize, after.max(0) as usize)
}
