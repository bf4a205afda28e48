//! Header fields: fixed-length, Exp-Golomb and text, most significant bit first.

use super::CodecError;

/// Writes header fields.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits used of the last byte; 0 means it is full (or there is none).
    used: u32,
}

impl BitWriter {
    /// The lowest `count` bits of `value`.
    pub fn fixed(&mut self, count: u32, value: u32) {
        for shift in (0..count).rev() {
            self.bit((value >> shift) & 1 == 1);
        }
    }

    fn bit(&mut self, bit: bool) {
        if self.used == 0 {
            self.bytes.push(0);
        }
        if let (true, Some(last)) = (bit, self.bytes.last_mut()) {
            *last |= 0x80 >> self.used;
        }
        self.used = (self.used + 1) % 8;
    }

    /// Exp-Golomb code of order `order`.
    pub fn golomb(&mut self, mut order: u32, mut value: usize) {
        while order < 63 && value >= 1 << order {
            self.bit(false);
            value -= 1 << order;
            order += 1;
        }
        self.bit(true);
        for shift in (0..order).rev() {
            self.bit((value >> shift) & 1 == 1);
        }
    }

    /// Text with a terminating zero byte; only at a byte boundary.
    pub fn text(&mut self, text: &str) {
        for byte in text.bytes().chain([0]) {
            self.fixed(8, u32::from(byte));
        }
    }

    /// A one and zeros up to the next byte boundary.
    pub fn align(&mut self) {
        self.bit(true);
        self.used = 0;
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads header fields of one unit; everything beyond its end is an error.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// In bits from the start of the stream.
    position: usize,
    /// First byte that does not belong to the unit.
    end: usize,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8], start: usize, end: usize) -> Self {
        Self { bytes, position: start * 8, end: end.min(bytes.len()) }
    }

    /// Byte in which the next bit lies.
    pub fn offset(&self) -> usize {
        self.position / 8
    }

    fn error(&self, message: &str) -> CodecError {
        CodecError::new(self.offset(), message)
    }

    fn bit(&mut self) -> Result<bool, CodecError> {
        if self.offset() >= self.end {
            return Err(self.error("the unit ends within its header"));
        }
        let bit = self.bytes[self.offset()] >> (7 - self.position % 8) & 1 == 1;
        self.position += 1;
        Ok(bit)
    }

    pub fn flag(&mut self) -> Result<bool, CodecError> {
        self.bit()
    }

    pub fn fixed(&mut self, count: u32) -> Result<u32, CodecError> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.bit()?);
        }
        Ok(value)
    }

    /// Two's complement.
    ///
    /// # Errors
    /// [`CodecError`](crate::codec::CodecError) with the position where the stream ends or is not valid.
    pub fn signed(&mut self, count: u32) -> Result<i32, CodecError> {
        let value = self.fixed(count)?;
        let negative = value >> (count - 1) & 1 == 1;
        Ok(if negative { (i64::from(value) - (1i64 << count)) as i32 } else { value as i32 })
    }

    pub fn golomb(&mut self, mut order: u32) -> Result<usize, CodecError> {
        let mut base = 0usize;
        while !self.bit()? {
            if order >= 40 {
                return Err(self.error("a number in the header is out of range"));
            }
            base += 1 << order;
            order += 1;
        }
        let mut rest = 0usize;
        for _ in 0..order {
            rest = rest << 1 | usize::from(self.bit()?);
        }
        Ok(base + rest)
    }

    pub fn text(&mut self) -> Result<String, CodecError> {
        let start = self.offset();
        let length = self.bytes.get(start..self.end).and_then(|rest| rest.iter().position(|byte| *byte == 0));
        let length = length.ok_or_else(|| self.error("a name has no end within its unit"))?;
        self.position = (start + length + 1) * 8;
        let text = std::str::from_utf8(&self.bytes[start..start + length]);
        text.map(str::to_string).map_err(|_| CodecError::new(start, "a name is not UTF-8"))
    }

    pub fn align(&mut self) -> Result<(), CodecError> {
        let ok = self.bit()?;
        let mut rest = false;
        while !self.position.is_multiple_of(8) {
            rest |= self.bit()?;
        }
        if ok && !rest { Ok(()) } else { Err(self.error("wrong alignment bits")) }
    }
}
