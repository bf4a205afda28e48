//! The bytes of a Python pickle as its operations take them: what both readers of pickles share. What the operations mean
//! is theirs: one reads checkpoints of any shape within bounds, the other batches of CIFAR and nothing else.

/// A position in the bytes of a pickle. What the bytes do not hold is `None`, and the position stays.
pub struct Operands<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Operands<'a> {
    /// At the first of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were taken.
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many bytes there are.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let end = self.at.checked_add(usize::try_from(count).ok()?)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    /// A little-endian number of `width` bytes, at most eight.
    pub fn number(&mut self, width: u64) -> Option<u64> {
        Some(self.take(width)?.iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    }

    /// Bytes after their number, which takes `width` bytes.
    pub fn counted(&mut self, width: u64) -> Option<&'a [u8]> {
        let length = self.number(width)?;
        self.take(length)
    }

    /// What stands before the next end of a line, which is passed over.
    pub fn line(&mut self) -> Option<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n')?;
        self.at += length + 1;
        Some(&rest[..length])
    }

    /// The integer of at most eight bytes in little-endian two's complement; `None` for one of more.
    pub fn integer(bytes: &[u8]) -> Option<i64> {
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut filled = [if negative { 0xff } else { 0 }; 8];
        filled.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(i64::from_le_bytes(filled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is not there moves nothing, whatever length is claimed.
    #[test]
    fn operands_end_with_the_bytes() {
        let mut operands = Operands::new(b"\x02\x01ab\xff\xff\xff\xff\xff\xff\xff\xff");
        assert_eq!((operands.number(2), operands.take(2)), (Some(0x0102), Some(b"ab".as_slice())));
        assert_eq!((operands.counted(8), operands.line(), operands.take(u64::MAX)), (None, None, None));
        assert_eq!(operands.position(), operands.length());
    }

    /// The sign is in the highest bit that is there.
    #[test]
    fn integers_have_their_sign() {
        let cases: [(&[u8], i64); 5] =
            [(b"", 0), (b"\x7f", 127), (b"\x80", -128), (b"\xff\x7f", 32767), (&[0xff; 8], -1)];
        for (bytes, expected) in cases {
            assert_eq!(Operands::integer(bytes), Some(expected), "{bytes:?}");
        }
        assert_eq!(Operands::integer(&[0; 9]), None);
    }
}
