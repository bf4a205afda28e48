//! Pooling over the shifted, strided views of a padded image, one per place of the window.

use super::strided::{spread, strided};
use crate::nn::kernels::pool::PoolShape;
use candle_core::{Result, Tensor, bail};

/// Largest value of each window, the first of equals; NaN is larger than all.
pub fn max_pool2d(x: &Tensor, shape: &PoolShape) -> Result<Tensor> {
    let x = lowest_around(x, shape.padding)?;
    let mut best: Option<Tensor> = None;
    for place in places(shape) {
        let view = view(&x, shape, place)?;
        best = Some(match best {
            None => view,
            Some(best) => {
                // NaN compares with nothing: the best stays where it is not below the view, or is NaN itself.
                let stays = (best.ge(&view)? + best.ne(&best)?)?;
                stays.where_cond(&best, &view)?
            }
        });
    }
    match best {
        Some(best) => best.contiguous(),
        None => bail!("pooling window is empty"),
    }
}

/// All of each window's gradient at its first maximum.
pub fn max_pool2d_backward(grad: &Tensor, x: &Tensor, shape: &PoolShape) -> Result<Tensor> {
    let largest = max_pool2d(x, shape)?;
    let x = lowest_around(x, shape.padding)?;
    let mut left = grad.clone();
    let zeros = grad.zeros_like()?;
    // NaN equals nothing: both sides are asked whether they are.
    let undefined = largest.ne(&largest)?;
    let mut sum: Option<Tensor> = None;
    for place in places(shape) {
        let view = view(&x, shape, place)?;
        let hit = (view.eq(&largest)? + (view.ne(&view)? * &undefined)?)?;
        let part = hit.where_cond(&left, &zeros)?;
        // What a place has taken is gone for those after it.
        left = hit.where_cond(&zeros, &left)?;
        let part = placed(&part, &x, shape, place)?;
        sum = Some(match sum {
            None => part,
            Some(sum) => (sum + part)?,
        });
    }
    inside(sum, shape)
}

/// Mean of each window; padded zeros count.
pub fn avg_pool2d(x: &Tensor, shape: &PoolShape) -> Result<Tensor> {
    let [py, px] = shape.padding;
    let x = x.pad_with_zeros(2, py, py)?.pad_with_zeros(3, px, px)?;
    let mut sum: Option<Tensor> = None;
    for place in places(shape) {
        let view = view(&x, shape, place)?;
        sum = Some(match sum {
            None => view,
            Some(sum) => (sum + view)?,
        });
    }
    match sum {
        Some(sum) => sum.affine(1.0 / (shape.kernel[0] * shape.kernel[1]) as f64, 0.0),
        None => bail!("pooling window is empty"),
    }
}

/// Each window's gradient in equal shares to its values; `input` is the shape of x.
pub fn avg_pool2d_backward(grad: &Tensor, input: &[usize], shape: &PoolShape) -> Result<Tensor> {
    let share = grad.affine(1.0 / (shape.kernel[0] * shape.kernel[1]) as f64, 0.0)?;
    let [height, width] = [0, 1].map(|axis| input[axis + 2] + 2 * shape.padding[axis]);
    let mut sum: Option<Tensor> = None;
    for [ky, kx] in places(shape) {
        let part = spread(&share, 2, ky, shape.stride[0], height)?;
        let part = spread(&part, 3, kx, shape.stride[1], width)?;
        sum = Some(match sum {
            None => part,
            Some(sum) => (sum + part)?,
        });
    }
    inside(sum, shape)
}

/// The places of a window, row by row.
fn places(shape: &PoolShape) -> impl Iterator<Item = [usize; 2]> {
    let [rows, columns] = shape.kernel;
    (0..rows).flat_map(move |ky| (0..columns).map(move |kx| [ky, kx]))
}

/// What all windows have at one place, from a padded image.
fn view(x: &Tensor, shape: &PoolShape, [ky, kx]: [usize; 2]) -> Result<Tensor> {
    let rows = strided(x, 2, ky, shape.stride[0], shape.output[0])?;
    strided(&rows, 3, kx, shape.stride[1], shape.output[1])
}

/// The adjoint of [`view`], as large as the padded image `x`.
fn placed(part: &Tensor, x: &Tensor, shape: &PoolShape, [ky, kx]: [usize; 2]) -> Result<Tensor> {
    let rows = spread(part, 2, ky, shape.stride[0], x.dim(2)?)?;
    spread(&rows, 3, kx, shape.stride[1], x.dim(3)?)
}

/// A padded image without its padding.
fn inside(sum: Option<Tensor>, shape: &PoolShape) -> Result<Tensor> {
    let Some(sum) = sum else { bail!("pooling window is empty") };
    let [py, px] = shape.padding;
    sum.narrow(2, py, shape.input[0])?.narrow(3, px, shape.input[1])?.contiguous()
}

/// Padding of −∞, which never wins.
fn lowest_around(x: &Tensor, padding: [usize; 2]) -> Result<Tensor> {
    let mut x = x.clone();
    for (axis, pad) in [(2, padding[0]), (3, padding[1])] {
        if pad > 0 {
            let mut dims = x.dims().to_vec();
            dims[axis] = pad;
            let lowest = Tensor::full(f32::NEG_INFINITY, dims, x.device())?;
            x = Tensor::cat(&[&lowest, &x, &lowest], axis)?;
        }
    }
    Ok(x)
}
