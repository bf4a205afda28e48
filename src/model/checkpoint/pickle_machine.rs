//! The operations of pickles: a stack, a memo, and the size of every value, so that what is too deep or too much is refused
//! before it costs memory.

use super::pickle_node::{Call, Id, MOST, Node};
use crate::io::Operands;
use std::borrow::Cow;
use std::collections::HashMap;

/// Values inside values; state dicts need about ten.
const DEEPEST: u32 = 500;

pub(super) struct Machine<'a> {
    operands: Operands<'a>,
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
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            operands: Operands::new(bytes),
            nodes: Vec::new(),
            sizes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
    }

    /// Bytes that were read.
    pub(super) fn at(&self) -> usize {
        self.operands.position()
    }

    /// All values, and the bytes that were read.
    pub(super) fn finish(self) -> (Vec<Node<'a>>, usize) {
        (self.nodes, self.operands.position())
    }

    fn take(&mut self, count: u64) -> Step<&'a [u8]> {
        Ok(self.operands.take(count).ok_or(ENDS_EARLY)?)
    }

    fn byte(&mut self) -> Step<u8> {
        Ok(self.operands.byte().ok_or(ENDS_EARLY)?)
    }

    fn number(&mut self, width: u64) -> Step<u64> {
        Ok(self.operands.number(width).ok_or(ENDS_EARLY)?)
    }

    fn counted(&mut self, width: u64) -> Step<&'a [u8]> {
        Ok(self.operands.counted(width).ok_or(ENDS_EARLY)?)
    }

    fn line(&mut self) -> Step<&'a [u8]> {
        Ok(self.operands.line().ok_or(ENDS_EARLY)?)
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
        self.push(Operands::integer(bytes).map_or(Node::Huge(bytes), Node::Int))
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
    pub(super) fn step(&mut self) -> Step<Option<Id>> {
        match self.byte()? {
            b'.' if !self.marks.is_empty() => return Err("the pickle ends inside a collection".into()),
            b'.' => return self.pop().map(Some),
            0x80 => drop(self.byte()?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.push(Node::None)?,
            0x88 => self.push(Node::Bool(true))?,
            0x89 => self.push(Node::Bool(false))?,
            opcode @ (b'K' | b'M') => {
                let value = self.number(if opcode == b'K' { 1 } else { 2 })?;
                self.push(Node::Int(value as i64))?;
            }
            b'J' => {
                let value = self.number(4)? as u32 as i32;
                self.push(Node::Int(value.into()))?;
            }
            b'I' | b'L' => self.push_number_line()?,
            opcode @ (0x8a | 0x8b) => {
                let bytes = self.counted(if opcode == 0x8a { 1 } else { 4 })?;
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
            // Strings of Python 2 are text or bytes; names are all that is asked of them.
            opcode @ (b'X' | b'T' | b'U' | 0x8c | 0x8d) => {
                let bytes = self.counted(match opcode {
                    b'U' | 0x8c => 1,
                    b'X' | b'T' => 4,
                    _ => 8,
                })?;
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
            opcode @ (b'C' | b'B' | 0x8e | 0x96) => {
                let bytes = self.counted(match opcode {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                })?;
                self.push(Node::Bytes(bytes))?;
            }
            b')' => self.push(Node::Tuple(Vec::new()))?,
            b']' => self.push(Node::List(Vec::new()))?,
            b'}' => self.push(Node::Dict(Vec::new()))?,
            0x8f => self.push(Node::Set(Vec::new()))?,
            opcode @ 0x85..=0x87 => self.push_tuple(usize::from(opcode - 0x84))?,
            opcode @ (b't' | b'l' | 0x91) => {
                let parts = self.marked()?;
                let collection = match opcode {
                    b't' => Node::Tuple,
                    b'l' => Node::List,
                    _ => Node::Set,
                };
                self.push_joined(collection(parts.clone()), &parts)?;
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
            opcode @ (b'q' | b'r') => {
                let key = self.number(if opcode == b'q' { 1 } else { 4 })?;
                self.memorise(key)?;
            }
            0x94 => self.memorise(self.memo.len() as u64)?,
            opcode @ (b'h' | b'j') => {
                let key = self.number(if opcode == b'h' { 1 } else { 4 })?;
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
