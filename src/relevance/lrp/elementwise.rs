//! The element-wise steps between two passes through a layer: own loops in the native backend, candle's operations in the
//! composed one.

use crate::Result;
use crate::nn::backend::{check_kernel, is_native};
use crate::nn::kernels::elementwise;
use candle_core::{CpuStorage, CustomOp2, InplaceOp2, Layout, Shape, Tensor, bail};

/// `relevance / (z + ε·s(z))`, where s(z) is 1 for z ≥ 0, else −1.
pub(super) fn ratio(relevance: &Tensor, z: &Tensor, epsilon: f32) -> Result<Tensor> {
    if is_native(z) {
        return binary(relevance, z, "ratio", move |r, z| {
            r / (z + if z >= 0.0 { epsilon } else { -epsilon })
        });
    }
    Ok((relevance / stabilised(z, epsilon)?)?)
}

/// `x ⊙ y`.
pub(super) fn product(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    if is_native(x) { binary(x, y, "product", |x, y| x * y) } else { Ok((x * y)?) }
}

/// As [`product`], in place of `x`, which no other tensor shares its values with.
pub(super) fn multiply(x: Tensor, y: &Tensor) -> Result<Tensor> {
    if !is_native(&x) || !x.is_contiguous() {
        return product(&x, y);
    }
    x.inplace_op2(&y.contiguous()?, &Multiply)?;
    Ok(x)
}

struct Multiply;

impl InplaceOp2 for Multiply {
    fn name(&self) -> &'static str {
        "multiply"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        xl: &Layout,
        y: &CpuStorage,
        yl: &Layout,
    ) -> candle_core::Result<()> {
        let (Some((x0, x1)), Some((y0, y1))) = (xl.contiguous_offsets(), yl.contiguous_offsets()) else {
            bail!("multiply: tensors must be contiguous")
        };
        if xl.dims() != yl.dims() {
            bail!("multiply: shapes {:?} and {:?} differ", xl.dims(), yl.dims());
        }
        let CpuStorage::F32(x) = x else { bail!("multiply: expected f32 values") };
        elementwise::update(&mut x[x0..x1], &y.as_slice::<f32>()?[y0..y1], |x, y| x * y);
        Ok(())
    }
}

/// The coefficients of the adaptive rules: with a = 1 + γ and b = 1 where A ≥ |B|, else a = 1 and b = 1 + γ, and
/// D = aA + bB, gives (a·R / stab(D), b·R / stab(D)).
pub(super) fn dominant(
    relevance: &Tensor,
    positive: &Tensor,
    negative: &Tensor,
    gamma: f32,
    epsilon: f32,
) -> Result<(Tensor, Tensor)> {
    let stronger = positive.ge(&negative.abs()?)?.to_dtype(positive.dtype())?;
    let gamma = f64::from(gamma);
    let a = stronger.affine(gamma, 1.0)?;
    let b = stronger.affine(-gamma, 1.0 + gamma)?;
    let sum = ((&a * positive)? + (&b * negative)?)?;
    let shared = ratio(relevance, &sum, epsilon)?;
    Ok(((a * &shared)?, (b * shared)?))
}

fn stabilised(z: &Tensor, epsilon: f32) -> Result<Tensor> {
    let epsilon = f64::from(epsilon);
    let sign = z.ge(&z.zeros_like()?)?.to_dtype(z.dtype())?.affine(2.0 * epsilon, -epsilon)?;
    Ok((z + sign)?)
}

fn binary(
    x: &Tensor,
    y: &Tensor,
    name: &'static str,
    f: impl Fn(f32, f32) -> f32 + Sync + Send + 'static,
) -> Result<Tensor> {
    Ok(x.contiguous()?.apply_op2_no_bwd(&y.contiguous()?, &Binary { name, f })?)
}

/// `f` of two tensors of one shape.
struct Binary<F> {
    name: &'static str,
    f: F,
}

impl<F: Fn(f32, f32) -> f32 + Sync + Send> CustomOp2 for Binary<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        y: &CpuStorage,
        yl: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (Some((x0, x1)), Some((y0, y1))) = (xl.contiguous_offsets(), yl.contiguous_offsets()) else {
            bail!("{}: tensors must be contiguous", self.name)
        };
        if xl.dims() != yl.dims() {
            bail!("{}: shapes {:?} and {:?} differ", self.name, xl.dims(), yl.dims());
        }
        check_kernel(self.name)?;
        let (x, y) = (&x.as_slice::<f32>()?[x0..x1], &y.as_slice::<f32>()?[y0..y1]);
        let out = elementwise::zipped(x, y, &self.f);
        Ok((CpuStorage::F32(out), xl.shape().clone()))
    }
}
