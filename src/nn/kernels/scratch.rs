//! Large buffers that outlive a call: asking the system for fresh pages at every step costs as much as small kernels.

use std::sync::Mutex;

/// Buffers that wait for their next use.
static FREE: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());
/// How many wait at most: two partial sums and the transformed weights of as many runs as a machine has threads.
const MOST: usize = 16;

/// Values of a cache line, at the start of which a buffer begins: vectors and tiles that cross lines are slower.
const LINE: usize = 16;

/// A buffer of values left over from an earlier use; goes back when dropped.
pub struct Buffer {
    values: Vec<f32>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// A buffer of `length` unspecified values.
    pub fn new(length: usize) -> Self {
        let fitting = FREE.lock().ok().and_then(|mut free| {
            let candidates = free.iter().enumerate().filter(|(_, buffer)| buffer.len() >= length + LINE);
            let best = candidates.min_by_key(|(_, buffer)| buffer.len()).map(|(index, _)| index)?;
            // Far too large a buffer is left to those who need it.
            (free[best].len() <= 4 * length.max(1 << 12)).then(|| free.swap_remove(best))
        });
        let values = fitting.unwrap_or_else(|| vec![0.0; length + LINE]);
        let start = values.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Self { values, start, length }
    }
}

impl std::ops::Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.values[self.start..self.start + self.length]
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..self.start + self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Ok(mut free) = FREE.lock() {
            free.push(std::mem::take(&mut self.values));
            if free.len() > MOST
                && let Some(smallest) = (0..free.len()).min_by_key(|&index| free[index].len())
            {
                free.swap_remove(smallest);
            }
        }
    }
}
