//! Outputs of kernels, allocated without being filled first: zeros that are overwritten cost as much as the kernel.

/// A vector of `length` values, and what `write` gives.
///
/// # Safety
/// `write` must write every value of the slice, and read none that it has not written.
pub unsafe fn written<R>(length: usize, write: impl FnOnce(&mut [f32]) -> R) -> (Vec<f32>, R) {
    let mut values = Vec::with_capacity(length);
    // SAFETY: the memory is allocated and aligned; the caller promises that no value is read before it is written, and
    // that all are written before they become part of the vector.
    unsafe {
        let result = write(std::slice::from_raw_parts_mut(values.as_mut_ptr(), length));
        values.set_len(length);
        (values, result)
    }
}
