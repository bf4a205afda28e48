//! The arithmetic coder: nine-bit range, context-coded and bypass bins, terminating bin.

use super::CodecError;
use super::context::{Context, LPS};

/// Codes bins into bytes.
pub(super) struct Encoder {
    /// Pending bits, `width` of them; a carry may stand above.
    low: u64,
    width: u32,
    range: u32,
    out: Vec<u8>,
}

impl Encoder {
    pub fn new() -> Self {
        Self { low: 0, width: 9, range: 510, out: Vec::new() }
    }

    #[inline(always)]
    fn shift(&mut self, count: u32) {
        self.low <<= count;
        self.width += count;
        if self.width >= 48 {
            self.flush_bytes();
        }
    }

    /// Moves settled leading bytes out; a carry walks back through them.
    fn flush_bytes(&mut self) {
        while self.width >= 24 {
            let top = self.low >> (self.width - 8);
            if top >> 8 != 0 {
                self.carry();
            }
            self.out.push(top as u8);
            self.width -= 8;
            self.low &= (1 << self.width) - 1;
        }
    }

    fn carry(&mut self) {
        for byte in self.out.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return;
            }
        }
    }

    #[inline(always)]
    pub fn context(&mut self, context: &mut Context, bin: bool) {
        let state = context.state();
        let lps = u32::from(LPS[(self.range >> 5) as usize & 7][(state >> 7).unsigned_abs() as usize & 31]);
        self.range -= lps;
        if bin != (state >= 0) {
            self.low += u64::from(self.range);
            self.range = lps;
        }
        let count = self.range.leading_zeros() - 23;
        if count > 0 {
            self.range <<= count;
            self.shift(count);
        }
        context.update(bin);
    }

    /// The lowest `count` bits of `value` without a context.
    pub fn bypass(&mut self, count: u32, value: u32) {
        for shift in (0..count).rev() {
            self.shift(1);
            if value >> shift & 1 == 1 {
                self.low += u64::from(self.range);
            }
        }
    }

    /// The terminating bin, the stop bit, zeros up to a byte boundary.
    pub fn finish(mut self) -> Vec<u8> {
        self.range -= 2;
        self.low = (self.low + u64::from(self.range)) | 1;
        let padding = (8 - self.width % 8) % 8;
        self.low <<= padding;
        self.width += padding;
        if self.low >> self.width != 0 {
            self.carry();
            self.low &= (1 << self.width) - 1;
        }
        while self.width > 0 {
            self.width -= 8;
            self.out.push((self.low >> self.width) as u8);
        }
        self.out
    }
}

/// Decodes bins from `bytes[..end]`.
pub(super) struct Decoder<'a> {
    bytes: &'a [u8],
    /// Next byte to load.
    next: usize,
    range: u32,
    /// The value, with `extra` not yet needed bits below it.
    value: u64,
    extra: u32,
}

impl<'a> Decoder<'a> {
    pub fn new(bytes: &'a [u8], start: usize, end: usize) -> Self {
        let mut decoder =
            Self { bytes: &bytes[..end.min(bytes.len())], next: start, range: 510, value: 0, extra: 0 };
        decoder.refill();
        // Nine bits make the first value; the refill has loaded them as extra bits.
        decoder.extra -= 9;
        decoder
    }

    /// Loads bytes until at least 24 extra bits are there; zeros stand in beyond the end.
    #[inline(always)]
    fn refill(&mut self) {
        while self.extra < 32 {
            let byte = self.bytes.get(self.next).copied().unwrap_or(0);
            self.value = self.value << 8 | u64::from(byte);
            self.next += 1;
            self.extra += 8;
        }
    }

    #[inline(always)]
    fn take(&mut self, count: u32) {
        self.extra -= count;
        if self.extra < 16 {
            self.refill();
        }
    }

    #[inline(always)]
    pub fn context(&mut self, context: &mut Context) -> bool {
        let state = context.state();
        let lps = u32::from(LPS[(self.range >> 5) as usize & 7][(state >> 7).unsigned_abs() as usize & 31]);
        self.range -= lps;
        let scaled = u64::from(self.range) << self.extra;
        let bin = if self.value >= scaled {
            self.value -= scaled;
            self.range = lps;
            state < 0
        } else {
            state >= 0
        };
        let count = self.range.leading_zeros() - 23;
        if count > 0 {
            self.range <<= count;
            self.take(count);
        }
        context.update(bin);
        bin
    }

    pub fn bypass(&mut self, count: u32) -> u32 {
        let mut value = 0;
        for _ in 0..count {
            self.take(1);
            let scaled = u64::from(self.range) << self.extra;
            let bit = self.value >= scaled;
            if bit {
                self.value -= scaled;
            }
            value = value << 1 | u32::from(bit);
        }
        value
    }

    /// Bits consumed so far, counted from the start of the stream.
    fn position(&self) -> usize {
        self.next * 8 - self.extra as usize
    }

    /// Whether more was read than there is; decoding must stop then.
    pub fn is_overrun(&self) -> bool {
        self.position() > self.bytes.len() * 8
    }

    /// Byte of the next unread bit, for messages.
    pub fn offset(&self) -> usize {
        (self.position() / 8).min(self.bytes.len())
    }

    /// Reads the terminating bin, the stop bit and the padding; returns the first byte after them.
    ///
    /// # Errors
    /// [`CodecError`](crate::codec::CodecError) with the position where the stream ends or is not valid.
    pub fn finish(mut self) -> Result<usize, CodecError> {
        let error = |offset, message: &str| Err(CodecError::new(offset, message));
        if self.is_overrun() {
            return error(self.bytes.len(), "the payload runs past its unit");
        }
        self.range -= 2;
        if self.value < u64::from(self.range) << self.extra {
            return error(self.offset(), "the terminating bin is missing");
        }
        let position = self.position();
        let bit = |at: usize| self.bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
        if !bit(position - 1) {
            return error(position / 8, "the stop bit is missing");
        }
        let end = position.next_multiple_of(8);
        if (position..end).any(bit) {
            return error(position / 8, "padding after the stop bit is not zero");
        }
        Ok(end / 8)
    }
}
