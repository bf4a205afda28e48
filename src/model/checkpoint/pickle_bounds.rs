//! Walks the opcodes of a pickle before it is read into objects and refuses what would exhaust stack or memory: values
//! nested too deep, or copied from the memo until there are too many. Only sizes are followed, no values.

/// Values inside values; state dicts need about ten.
const DEEPEST: u32 = 500;
/// Values in all, copies from the memo counted; the largest checkpoints have some hundred thousand.
const MOST: u64 = 50_000_000;

/// Depth and number of values of an item on the stack; `None` is a mark.
type Item = Option<(u32, u64)>;

/// The pickle machine, as far as sizes go.
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Item>,
    memo: std::collections::HashMap<u32, (u32, u64)>,
    total: u64,
}

/// Whether the pickle that begins at `bytes[0]` is within bounds. Bytes that are no pickle are: the reader refuses them.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let mut machine =
        Machine { bytes, at: 0, stack: Vec::new(), memo: std::collections::HashMap::new(), total: 0 };
    while let Some(opcode) = machine.byte() {
        match machine.step(opcode) {
            Some(true) => {}
            // The end, or nothing a reader would understand.
            Some(false) | None => return Ok(()),
        }
        if let Some(Some((depth, size))) = machine.stack.last() {
            if *depth > DEEPEST {
                return Err(format!("values are nested more than {DEEPEST} deep"));
            }
            machine.total = machine.total.max(*size);
        }
        if machine.total > MOST || machine.stack.len() as u64 > MOST {
            return Err(format!("it unpacks to more than {MOST} values"));
        }
    }
    Ok(())
}

impl Machine<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self, bytes: usize) -> Option<u64> {
        let mut value = 0;
        for shift in 0..bytes {
            value |= u64::from(self.byte()?) << (8 * shift);
        }
        Some(value)
    }

    fn skip(&mut self, count: u64) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(count).ok()?).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    fn line(&mut self) -> Option<()> {
        while self.byte()? != b'\n' {}
        Some(())
    }

    fn push(&mut self) {
        self.stack.push(Some((1, 1)));
    }

    /// Joins the topmost `count` items into one that is a level deeper.
    fn join(&mut self, count: usize) -> Option<()> {
        let start = self.stack.len().checked_sub(count)?;
        self.join_from(start)
    }

    fn join_from(&mut self, start: usize) -> Option<()> {
        let (mut depth, mut size) = (0, 1u64);
        for item in self.stack.drain(start..) {
            let (d, s) = item?;
            depth = depth.max(d);
            size = size.saturating_add(s);
        }
        self.stack.push(Some((depth + 1, size)));
        Some(())
    }

    /// Position after the last mark, which is removed.
    fn unmark(&mut self) -> Option<usize> {
        let mark = self.stack.iter().rposition(Option::is_none)?;
        self.stack.remove(mark);
        Some(mark)
    }

    /// Adds the items from `start` on to the container below them.
    fn add_from(&mut self, start: usize) -> Option<()> {
        let container = start.checked_sub(1)?;
        let (mut depth, mut size) = (*self.stack.get(container)?)?;
        for item in self.stack.drain(start..) {
            let (d, s) = item?;
            depth = depth.max(d + 1);
            size = size.saturating_add(s);
        }
        *self.stack.last_mut()? = Some((depth, size));
        Some(())
    }

    /// One opcode; `Some(false)` at the end, `None` where the bytes are no pickle.
    fn step(&mut self, opcode: u8) -> Option<bool> {
        match opcode {
            b'.' => return Some(false),
            0x80 => self.skip(1)?,
            b'(' => self.stack.push(None),
            b'N' | 0x88 | 0x89 | b']' | b'}' | b')' | 0x8f => self.push(),
            b'K' => self.operand(1)?,
            b'M' => self.operand(2)?,
            b'J' => self.operand(4)?,
            b'G' => self.operand(8)?,
            b'X' | b'T' | b'B' => {
                let length = self.number(4)?;
                self.operand(length)?;
            }
            b'U' | b'C' | 0x8a | 0x8c => {
                let length = self.number(1)?;
                self.operand(length)?;
            }
            0x8d | 0x8e => {
                let length = self.number(8)?;
                self.operand(length)?;
            }
            b'I' | b'L' | b'F' | b'V' | b'S' => {
                self.line()?;
                self.push();
            }
            b'c' => {
                self.line()?;
                self.line()?;
                self.push();
            }
            0x85 => self.join(1)?,
            0x86 | 0x93 | b'R' | b'b' | 0x81 => self.join(2)?,
            0x87 => self.join(3)?,
            b'Q' => self.join(1)?,
            b't' | b'l' | b'd' => {
                let start = self.unmark()?;
                self.join_from(start)?;
            }
            b'a' => self.add_from(self.stack.len().checked_sub(1)?)?,
            b's' => self.add_from(self.stack.len().checked_sub(2)?)?,
            b'e' | b'u' | 0x90 => {
                let start = self.unmark()?;
                self.add_from(start)?;
            }
            b'0' => drop(self.stack.pop()?),
            b'2' => self.stack.push(*self.stack.last()?),
            b'q' => {
                let key = self.number(1)? as u32;
                self.memorise(key)?;
            }
            b'r' => {
                let key = self.number(4)? as u32;
                self.memorise(key)?;
            }
            0x94 => self.memorise(self.memo.len() as u32)?,
            b'h' => {
                let key = self.number(1)? as u32;
                self.stack.push(Some(*self.memo.get(&key)?));
            }
            b'j' => {
                let key = self.number(4)? as u32;
                self.stack.push(Some(*self.memo.get(&key)?));
            }
            0x95 => self.skip(8)?,
            _ => return None,
        }
        Some(true)
    }

    fn operand(&mut self, length: u64) -> Option<()> {
        self.skip(length)?;
        self.push();
        Some(())
    }

    fn memorise(&mut self, key: u32) -> Option<()> {
        self.memo.insert(key, (*self.stack.last()?)?);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a state dict looks like passes; towers and copies of copies are refused.
    #[test]
    fn bounds() {
        let repeated = |start: &[u8], piece: &[u8], count: usize| {
            let mut bytes = b"\x80\x02".to_vec();
            bytes.extend_from_slice(start);
            (0..count).for_each(|_| bytes.extend_from_slice(piece));
            bytes.push(b'.');
            bytes
        };
        assert!(check(&repeated(b"}(", b"X\x01\0\0\0aK\x01", 1000)).is_ok());
        assert!(check(&repeated(b"]", b"\x85", 400)).is_ok());
        assert!(check(&repeated(b"]", b"\x85", 100_000)).is_err());
        let lists = [b"\x80\x02".as_slice(), &[b']'; 5000], &[b'a'; 4999], b"."].concat();
        assert!(check(&lists).is_err());
        // Each pair holds the pair before twice.
        assert!(check(&repeated(b"]q\0", b"h\0h\0\x86q\0", 60)).is_err());
        assert!(check(b"not a pickle at all").is_ok());
        assert!(check(b"").is_ok());
    }
}
