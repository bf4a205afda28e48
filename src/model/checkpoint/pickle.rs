//! The pickle machine, protocols 0 to 5: a graph of values, nothing is imported or called. Values that are shared in the
//! pickle are shared here, so memory stays within a small multiple of the bytes; depth and number of values are bounded.
//!
//! Not here: what the objects mean. That is with `objects`.

use std::borrow::Cow;
use std::collections::HashMap;

/// Values inside values; state dicts need about ten.
const DEEPEST: u32 = 500;
/// Values in all, repeated references counted each time; the largest checkpoints have some hundred thousand.
const MOST: u64 = 20_000_000;

/// A value's place in [`Pickle::nodes`].
pub(super) type Id = u32;

/// One value. Text and bytes borrow from the file where they can.
#[derive(Debug)]
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits, little-endian two's complement.
    Huge(&'a [u8]),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Class {
        module: Cow<'a, str>,
        name: Cow<'a, str>,
    },
    Call(Box<Call>),
    /// What lies outside the pickle: PyTorch's storages.
    Persistent(Id),
}

/// An object: what makes it, and what was added to it afterwards.
#[derive(Debug)]
pub(super) struct Call {
    pub callable: Id,
    pub arguments: Id,
    pub state: Option<Id>,
    pub items: Vec<(Id, Id)>,
    pub list: Vec<Id>,
}

/// The values of one pickle.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    nodes: Vec<Node<'a>>,
    /// Copies of shared values that may still be made.
    copies: std::cell::Cell<u64>,
    pub root: Id,
    /// Bytes that the pickle takes.
    pub length: usize,
}

impl<'a> Pickle<'a> {
    pub(super) fn node(&self, id: Id) -> &Node<'a> {
        // Ids are made only by the machine, from the length of this list.
        &self.nodes[id as usize]
    }

    /// Whether so many values may be copied; a pickle that makes a reader copy too many is no checkpoint.
    pub(super) fn spend(&self, count: u64) -> bool {
        let left = self.copies.get().checked_sub(count);
        self.copies.set(left.unwrap_or(0));
        left.is_some()
    }

    /// All references to what lies outside.
    pub(super) fn persistent(&self) -> impl Iterator<Item = Id> + '_ {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter(|(_, node)| matches!(node, Node::Persistent(_))).map(|(index, _)| index as Id)
    }
}

/// Why the bytes are no pickle that is read, and where.
#[derive(Debug)]
pub(super) struct PickleError {
    pub at: usize,
    pub message: String,
}

/// Reads the pickle that begins at `bytes[0]`; what follows its end is left alone.
pub(super) fn read(bytes: &[u8]) -> Result<Pickle<'_>, PickleError> {
    let mut machine = Machine {
        bytes,
        at: 0,
        nodes: Vec::new(),
        sizes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    loop {
        let at = machine.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => {
                let copies = std::cell::Cell::new(MOST);
                return Ok(Pickle { nodes: machine.nodes, copies, root, length: machine.at });
            }
            Err(message) => return Err(PickleError { at, message }),
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node<'a>>,
    /// Depth and number of values of every node.
    sizes: Vec<(u32, u64)>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

type Step<T> = Result<T, String>;

const ENDS_EARLY: &str = "truncated: the pickle ends in the middle";
const NO_OPERAND: &str = "damaged pickle: an operation finds no value to work on";

impl<'a> Machine<'a> {
    fn take(&mut self, count: u64) -> Step<&'a [u8]> {
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        let taken = end.and_then(|end| self.bytes.get(self.at..end)).ok_or(ENDS_EARLY)?;
        self.at += taken.len();
        Ok(taken)
    }

    fn byte(&mut self) -> Step<u8> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self, bytes: u64) -> Step<u64> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// Bytes after their own length.
    fn counted(&mut self, bytes: u64) -> Step<&'a [u8]> {
        let length = self.number(bytes)?;
        self.take(length)
    }

    fn line(&mut self) -> Step<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or(ENDS_EARLY)?;
        self.at += length + 1;
        Ok(&rest[..length])
    }

    fn text_line(&mut self) -> Step<Cow<'a, str>> {
        Ok(String::from_utf8_lossy(self.line()?))
    }

    fn add(&mut self, node: Node<'a>, size: (u32, u64)) -> Step<Id> {
        if size.0 > DEEPEST {
            return Err(format!("this pickle is no checkpoint: values are nested more than {DEEPEST} deep"));
        }
        if size.1 > MOST || self.nodes.len() as u64 >= MOST {
            return Err(format!("this pickle is no checkpoint: it unpacks to more than {MOST} values"));
        }
        self.nodes.push(node);
        self.sizes.push(size);
        Ok((self.nodes.len() - 1) as Id)
    }

    fn push(&mut self, node: Node<'a>) -> Step<()> {
        let id = self.add(node, (1, 1))?;
        self.stack.push(id);
        Ok(())
    }

    fn push_text(&mut self, bytes: &'a [u8]) -> Step<()> {
        self.push(Node::Text(String::from_utf8_lossy(bytes)))
    }

    fn pop(&mut self) -> Step<Id> {
        // Never past a mark: what lies below belongs to an outer value.
        match self.stack.len() > self.marks.last().copied().unwrap_or(0) {
            true => self.stack.pop().ok_or_else(|| NO_OPERAND.into()),
            false => Err(NO_OPERAND.into()),
        }
    }

    fn top(&self) -> Step<Id> {
        self.stack.last().copied().ok_or_else(|| NO_OPERAND.into())
    }

    /// The values above the last mark, which is removed.
    fn marked(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or(NO_OPERAND)?;
        match mark <= self.stack.len() {
            true => Ok(self.stack.split_off(mark)),
            false => Err(NO_OPERAND.into()),
        }
    }

    fn size_of(&self, parts: impl IntoIterator<Item = Id>) -> (u32, u64) {
        let (mut depth, mut count) = (0, 1u64);
        for part in parts {
            let (d, c) = self.sizes[part as usize];
            (depth, count) = (depth.max(d), count.saturating_add(c));
        }
        (depth + 1, count)
    }

    fn push_joined(&mut self, node: Node<'a>, parts: &[Id]) -> Step<()> {
        let size = self.size_of(parts.iter().copied());
        let id = self.add(node, size)?;
        self.stack.push(id);
        Ok(())
    }

    fn push_tuple(&mut self, count: usize) -> Step<()> {
        let mut parts = (0..count).map(|_| self.pop()).collect::<Step<Vec<Id>>>()?;
        parts.reverse();
        self.push_joined(Node::Tuple(parts.clone()), &parts)
    }

    fn push_call(&mut self, callable: Id, arguments: Id) -> Step<()> {
        let call = Call { callable, arguments, state: None, items: Vec::new(), list: Vec::new() };
        self.push_joined(Node::Call(Box::new(call)), &[callable, arguments])
    }

    /// Notes that `container` now holds `parts` too.
    fn grow(&mut self, container: Id, parts: &[Id]) -> Step<()> {
        let added = self.size_of(parts.iter().copied());
        let size = &mut self.sizes[container as usize];
        *size = (size.0.max(added.0), size.1.saturating_add(added.1 - 1));
        if size.0 > DEEPEST || size.1 > MOST {
            return Err(format!(
                "this pickle is no checkpoint: more than {DEEPEST} levels or {MOST} values in one object"
            ));
        }
        Ok(())
    }

    fn append(&mut self, parts: Vec<Id>) -> Step<()> {
        let target = self.top()?;
        self.grow(target, &parts)?;
        match &mut self.nodes[target as usize] {
            Node::List(list) | Node::Set(list) => list.extend(parts),
            Node::Call(call) => call.list.extend(parts),
            _ => return Err("damaged pickle: values are added to what is no list".into()),
        }
        Ok(())
    }

    fn set_items(&mut self, parts: &[Id]) -> Step<()> {
        let target = self.top()?;
        self.grow(target, parts)?;
        let pairs = pairs(parts)?;
        match &mut self.nodes[target as usize] {
            Node::Dict(entries) => entries.extend(pairs),
            Node::Call(call) => call.items.extend(pairs),
            _ => return Err("damaged pickle: entries are added to what is no dictionary".into()),
        }
        Ok(())
    }

    fn build(&mut self) -> Step<()> {
        let state = self.pop()?;
        let target = self.top()?;
        self.grow(target, &[state])?;
        match &mut self.nodes[target as usize] {
            Node::Call(call) => call.state = Some(state),
            _ => return Err("damaged pickle: a state is given to what is no object".into()),
        }
        Ok(())
    }

    fn memorise(&mut self, key: u64) -> Step<()> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Step<()> {
        let id = self.memo.get(&key).ok_or("damaged pickle: a reference to what was never stored")?;
        self.stack.push(*id);
        Ok(())
    }

    fn push_long(&mut self, bytes: &'a [u8]) -> Step<()> {
        if bytes.len() > 8 {
            return self.push(Node::Huge(bytes));
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut filled = [if negative { 0xff } else { 0 }; 8];
        filled[..bytes.len()].copy_from_slice(bytes);
        self.push(Node::Int(i64::from_le_bytes(filled)))
    }

    /// A number as text, as protocol 0 writes it.
    fn push_number_line(&mut self) -> Step<()> {
        let line = self.text_line()?;
        let node = match line.trim_end_matches('L') {
            "00" => Node::Bool(false),
            "01" => Node::Bool(true),
            digits => Node::Int(digits.parse().map_err(|_| "damaged pickle: no integer where one must be")?),
        };
        self.push(node)
    }

    /// One operation; the root at the end.
    fn step(&mut self) -> Step<Option<Id>> {
        match self.byte()? {
            b'.' => return self.pop().map(Some),
            0x80 => drop(self.byte()?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.push(Node::None)?,
            0x88 => self.push(Node::Bool(true))?,
            0x89 => self.push(Node::Bool(false))?,
            b'K' => {
                let value = self.number(1)?;
                self.push(Node::Int(value as i64))?;
            }
            b'M' => {
                let value = self.number(2)?;
                self.push(Node::Int(value as i64))?;
            }
            b'J' => {
                let value = self.number(4)? as u32 as i32;
                self.push(Node::Int(value.into()))?;
            }
            b'I' | b'L' => self.push_number_line()?,
            0x8a => {
                let bytes = self.counted(1)?;
                self.push_long(bytes)?;
            }
            0x8b => {
                let bytes = self.counted(4)?;
                self.push_long(bytes)?;
            }
            b'G' => {
                let value = f64::from_bits(self.number(8)?.swap_bytes());
                self.push(Node::Float(value))?;
            }
            b'F' => {
                let value = self.text_line()?.parse();
                self.push(Node::Float(value.map_err(|_| "damaged pickle: no number where one must be")?))?;
            }
            b'X' => {
                let bytes = self.counted(4)?;
                self.push_text(bytes)?;
            }
            // Strings of Python 2 are text or bytes; names are all that is asked of them.
            b'T' => {
                let bytes = self.counted(4)?;
                self.push_text(bytes)?;
            }
            b'U' | 0x8c => {
                let bytes = self.counted(1)?;
                self.push_text(bytes)?;
            }
            0x8d => {
                let bytes = self.counted(8)?;
                self.push_text(bytes)?;
            }
            b'V' => {
                let bytes = self.line()?;
                self.push_text(bytes)?;
            }
            b'S' => {
                let bytes = self.line()?;
                let quoted = |quote: u8| bytes.strip_prefix(&[quote])?.strip_suffix(&[quote]);
                self.push_text(quoted(b'\'').or_else(|| quoted(b'"')).unwrap_or(bytes))?;
            }
            b'B' => {
                let bytes = self.counted(4)?;
                self.push(Node::Bytes(bytes))?;
            }
            b'C' => {
                let bytes = self.counted(1)?;
                self.push(Node::Bytes(bytes))?;
            }
            0x8e | 0x96 => {
                let bytes = self.counted(8)?;
                self.push(Node::Bytes(bytes))?;
            }
            b')' => self.push(Node::Tuple(Vec::new()))?,
            b']' => self.push(Node::List(Vec::new()))?,
            b'}' => self.push(Node::Dict(Vec::new()))?,
            0x8f => self.push(Node::Set(Vec::new()))?,
            0x85 => self.push_tuple(1)?,
            0x86 => self.push_tuple(2)?,
            0x87 => self.push_tuple(3)?,
            b't' => {
                let parts = self.marked()?;
                self.push_joined(Node::Tuple(parts.clone()), &parts)?;
            }
            b'l' => {
                let parts = self.marked()?;
                self.push_joined(Node::List(parts.clone()), &parts)?;
            }
            0x91 => {
                let parts = self.marked()?;
                self.push_joined(Node::Set(parts.clone()), &parts)?;
            }
            b'd' => {
                let parts = self.marked()?;
                let entries = pairs(&parts)?.collect();
                self.push_joined(Node::Dict(entries), &parts)?;
            }
            b'a' => {
                let part = self.pop()?;
                self.append(vec![part])?;
            }
            b'e' | 0x90 => {
                let parts = self.marked()?;
                self.append(parts)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let parts = self.marked()?;
                self.set_items(&parts)?;
            }
            b'c' => {
                let (module, name) = (self.text_line()?, self.text_line()?);
                self.push(Node::Class { module, name })?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |id: Id| match &self.nodes[id as usize] {
                    Node::Text(text) => Ok(text.clone()),
                    _ => Err("damaged pickle: a class without a name"),
                };
                let node = Node::Class { module: text(module)?, name: text(name)? };
                self.push(node)?;
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.push_call(callable, arguments)?;
            }
            0x92 => {
                let (keywords, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.push_joined(Node::Tuple(vec![arguments, keywords]), &[arguments, keywords])?;
                let both = self.pop()?;
                self.push_call(callable, both)?;
            }
            b'o' => {
                let mut parts = self.marked()?;
                if parts.is_empty() {
                    return Err(NO_OPERAND.into());
                }
                let callable = parts.remove(0);
                self.push_joined(Node::Tuple(parts.clone()), &parts)?;
                let arguments = self.pop()?;
                self.push_call(callable, arguments)?;
            }
            b'i' => {
                let (module, name) = (self.text_line()?, self.text_line()?);
                let parts = self.marked()?;
                self.push_joined(Node::Tuple(parts.clone()), &parts)?;
                let arguments = self.pop()?;
                let callable = self.add(Node::Class { module, name }, (1, 1))?;
                self.push_call(callable, arguments)?;
            }
            b'b' => self.build()?,
            b'Q' => {
                let key = self.pop()?;
                self.push_joined(Node::Persistent(key), &[key])?;
            }
            b'P' => {
                let line = self.text_line()?;
                let key = self.add(Node::Text(line), (1, 1))?;
                self.push_joined(Node::Persistent(key), &[key])?;
            }
            b'0' => {
                // A mark may be popped too.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => drop(self.marked()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'q' => {
                let key = self.number(1)?;
                self.memorise(key)?;
            }
            b'r' => {
                let key = self.number(4)?;
                self.memorise(key)?;
            }
            0x94 => self.memorise(self.memo.len() as u64)?,
            b'h' => {
                let key = self.number(1)?;
                self.recall(key)?;
            }
            b'j' => {
                let key = self.number(4)?;
                self.recall(key)?;
            }
            opcode @ (b'p' | b'g') => {
                let key = self.text_line()?.parse();
                let key = key.map_err(|_| "damaged pickle: no number where one must be")?;
                if opcode == b'p' { self.memorise(key)? } else { self.recall(key)? }
            }
            0x97 | 0x98 => return Err("values outside the pickle (out-of-band buffers) are not read".into()),
            0x82..=0x84 => return Err("extension codes of a private registry are not read".into()),
            other => return Err(format!("damaged pickle: 0x{other:02x} is no operation")),
        }
        Ok(None)
    }
}

/// Keys and values that follow each other.
fn pairs(parts: &[Id]) -> Step<impl Iterator<Item = (Id, Id)> + '_> {
    match parts.len() % 2 {
        0 => Ok(parts.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
        _ => Err("damaged pickle: a key without a value".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(start: &[u8], piece: &[u8], count: usize) -> Vec<u8> {
        [b"\x80\x02", start, &piece.repeat(count), b"."].concat()
    }

    /// What a state dict looks like passes; towers and copies of copies are refused before they cost memory.
    #[test]
    fn bounds() {
        assert!(read(&repeated(b"}(", b"X\x01\0\0\0aK\x01", 1000)).is_err(), "the mark is left open");
        assert!(read(&[&repeated(b"}(", b"X\x01\0\0\0aK\x01", 1000)[..8005], b"u."].concat()).is_ok());
        assert!(read(&repeated(b"]", b"\x85", 400)).is_ok());
        for bomb in [
            repeated(b"]", b"\x85", 100_000),
            [b"\x80\x02".as_slice(), &[b']'; 5000], &[b'a'; 4999], b"."].concat(),
            // Each pair holds the pair before twice.
            repeated(b"]q\0", b"h\0h\0\x86q\0", 60),
        ] {
            let error = read(&bomb).unwrap_err();
            assert!(error.message.contains("no checkpoint"), "{}", error.message);
        }
        assert!(read(b"not a pickle at all").is_err() && read(b"").is_err());
    }

    /// The same value by protocols 0, 2 and 4: numbers, text, nested containers, classes and sharing.
    #[test]
    fn protocols_agree() {
        let zero = b"(dp0\nVa\np1\n(lp2\nI1\naL2L\naF0.5\nasVb\np3\nI01\ns.";
        let two = b"\x80\x02}q\0(X\x01\0\0\0aq\x01]q\x02(K\x01\x8a\x01\x02G?\xe0\0\0\0\0\0\0eX\x01\0\0\0bq\x03\x88u.";
        let four = b"\x80\x04\x95\0\0\0\0\0\0\0\0}\x94(\x8c\x01a\x94]\x94(K\x01K\x02G?\xe0\0\0\0\0\0\0e\x8c\x01b\x94\x88u.";
        for bytes in [&zero[..], two, four] {
            let pickle = read(bytes).unwrap();
            let Node::Dict(entries) = pickle.node(pickle.root) else { panic!("{pickle:?}") };
            let Node::List(list) = pickle.node(entries[0].1) else { panic!("{pickle:?}") };
            assert!(matches!(pickle.node(entries[0].0), Node::Text(text) if text == "a"));
            assert!(matches!(pickle.node(list[1]), Node::Int(2)));
            assert!(matches!(pickle.node(list[2]), Node::Float(value) if *value == 0.5));
            assert!(matches!(pickle.node(entries[1].1), Node::Bool(true)));
            assert_eq!(pickle.length, bytes.len());
        }
    }
}
