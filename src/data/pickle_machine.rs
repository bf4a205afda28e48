//! The operations of pickles that batches of CIFAR consist of: see [`super::pickle`].

use super::pickle_value::{Id, State, Value};
use crate::io::Operands;
use std::collections::HashMap;

/// What is wrong.
pub(super) struct Fault(pub String);

fn fault<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault(what.into()))
}

fn truncated() -> Fault {
    Fault("the file ends inside it: it is truncated".into())
}

/// A pickle being read: operations move values between a stack and the arena.
pub(super) struct Machine<'a> {
    operands: Operands<'a>,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Bytes that were converted instead of borrowed.
    made: usize,
}

impl<'a> Machine<'a> {
    /// Before the first operation of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            operands: Operands::new(bytes),
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            made: 0,
        }
    }

    /// The byte that comes next.
    pub(super) fn position(&self) -> usize {
        self.operands.position()
    }

    /// All values that were made.
    pub(super) fn into_values(self) -> Vec<Value<'a>> {
        self.values
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Fault> {
        self.operands.take(count).ok_or_else(truncated)
    }

    fn number(&mut self, width: u64) -> Result<u64, Fault> {
        self.operands.number(width).ok_or_else(truncated)
    }

    fn counted(&mut self, width: u64) -> Result<&'a [u8], Fault> {
        self.operands.counted(width).ok_or_else(truncated)
    }

    fn text(&mut self, width: u64) -> Result<&'a str, Fault> {
        let bytes = self.counted(width)?;
        std::str::from_utf8(bytes).or_else(|_| fault("text that is not UTF-8"))
    }

    /// Text up to the end of the line.
    fn line(&mut self) -> Result<&'a str, Fault> {
        match self.operands.line() {
            Some(line) => std::str::from_utf8(line).or_else(|_| fault("a name that is not UTF-8")),
            None => fault("a name without an end"),
        }
    }

    fn push(&mut self, value: Value<'a>) {
        self.values.push(value);
        self.stack.push(self.values.len() - 1);
    }

    fn pop(&mut self) -> Result<Id, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return fault("a value is missing on the stack");
        }
        self.stack.pop().map_or_else(|| fault("the stack is empty"), Ok)
    }

    fn last(&self) -> Result<Id, Fault> {
        self.stack.last().copied().map_or_else(|| fault("the stack is empty"), Ok)
    }

    /// Everything above the last mark.
    fn above_mark(&mut self) -> Result<Vec<Id>, Fault> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => fault("a mark is missing"),
        }
    }

    fn tuple(&mut self, count: usize) -> Result<(), Fault> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.push(Value::Items(items));
        Ok(())
    }

    fn extend(&mut self, more: Vec<Id>) -> Result<(), Fault> {
        let list = self.last()?;
        match &mut self.values[list] {
            Value::Items(items) => {
                items.extend(more);
                Ok(())
            }
            _ => fault("items for what is no list"),
        }
    }

    fn set(&mut self, more: &[Id]) -> Result<(), Fault> {
        let dictionary = self.last()?;
        match &mut self.values[dictionary] {
            Value::Pairs(pairs) if more.len().is_multiple_of(2) => {
                pairs.extend(more.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                Ok(())
            }
            _ => fault("keys and values for what is no dictionary"),
        }
    }

    fn remember(&mut self, key: u64) -> Result<(), Fault> {
        let value = self.last()?;
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<(), Fault> {
        match self.memo.get(&key) {
            Some(value) => {
                self.stack.push(*value);
                Ok(())
            }
            None => fault(format!("a reference to value {key}, which is not there")),
        }
    }

    /// Performs one operation; the value at the end of the pickle.
    pub(super) fn step(&mut self) -> Result<Option<Id>, Fault> {
        let code = self.take(1)?[0];
        match code {
            0x80 => match self.number(1)? {
                2..=5 => {}
                version => return fault(format!("protocol {version}; 2 to 5 are read")),
            },
            // Frames only help to read ahead.
            0x95 => drop(self.take(8)?),
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.above_mark()?),
            b'N' => self.push(Value::Nothing),
            0x88 => self.push(Value::Number(1)),
            0x89 => self.push(Value::Number(0)),
            b'J' => {
                let number = self.number(4)? as u32 as i32;
                self.push(Value::Number(number.into()));
            }
            b'K' | b'M' => {
                let number = self.number(if code == b'K' { 1 } else { 2 })?;
                self.push(Value::Number(number as i64));
            }
            0x8a => {
                let bytes = self.counted(1)?;
                let Some(number) = Operands::integer(bytes) else {
                    return fault("a number of more than 64 bits");
                };
                self.push(Value::Number(number));
            }
            // Strings of Python 2, whose batches are of that time, and bytes of Python 3.
            b'U' | b'C' => {
                let bytes = self.counted(1)?;
                self.push(Value::Bytes(bytes.into()));
            }
            b'T' | b'B' => {
                let bytes = self.counted(4)?;
                self.push(Value::Bytes(bytes.into()));
            }
            0x8e | 0x96 => {
                let bytes = self.counted(8)?;
                self.push(Value::Bytes(bytes.into()));
            }
            0x8c | b'X' | 0x8d => {
                let text = self.text(match code {
                    0x8c => 1,
                    b'X' => 4,
                    _ => 8,
                })?;
                self.push(Value::Text(text));
            }
            b']' | b')' => self.push(Value::Items(Vec::new())),
            b'}' => self.push(Value::Pairs(Vec::new())),
            b'l' | b't' => {
                let items = self.above_mark()?;
                self.push(Value::Items(items));
            }
            0x85..=0x87 => self.tuple(usize::from(code - 0x84))?,
            b'd' => {
                let items = self.above_mark()?;
                self.push(Value::Pairs(Vec::new()));
                self.set(&items)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            b'e' => {
                let items = self.above_mark()?;
                self.extend(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.above_mark()?;
                self.set(&items)?;
            }
            b'q' | b'r' => {
                let key = self.number(if code == b'q' { 1 } else { 4 })?;
                self.remember(key)?;
            }
            0x94 => self.remember(self.memo.len() as u64)?,
            b'h' | b'j' => {
                let key = self.number(if code == b'h' { 1 } else { 4 })?;
                self.recall(key)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Name(module, name));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.values[module], &self.values[name]) {
                    (Value::Text(module), Value::Text(name)) => {
                        let name = Value::Name(module, name);
                        self.push(name);
                    }
                    _ => return fault("a name that is no text"),
                }
            }
            b'R' => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                let made = self.call(callable, arguments)?;
                self.push(made);
            }
            b'b' => {
                let state = self.pop()?;
                self.build(state)?;
            }
            _ => return fault(format!("operation {code:#04x}, which no batch of CIFAR needs")),
        }
        Ok(None)
    }

    fn items(&self, id: Id) -> &[Id] {
        match &self.values[id] {
            Value::Items(items) => items,
            _ => &[],
        }
    }

    /// The few functions that arrays and byte strings are made by.
    fn call(&mut self, callable: Id, arguments: Id) -> Result<Value<'a>, Fault> {
        let Value::Name(module, name) = self.values[callable] else {
            return fault("a call of what is no function");
        };
        match (module, name, self.items(arguments)) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct", _) => Ok(Value::Array(None)),
            (
                "numpy.core.numeric" | "numpy._core.numeric",
                "_frombuffer",
                &[data, dtype, shape, order, ..],
            ) => {
                let by_columns = !matches!(self.values[order], Value::Text("C"));
                Ok(Value::Array(Some(State { shape, dtype, by_columns, data })))
            }
            ("numpy", "dtype", &[kind, ..]) => Ok(Value::Dtype(kind)),
            // Python 3 writes bytes so for protocol 2: as text of the same code points.
            ("_codecs", "encode", &[text, _]) => {
                let Value::Text(text) = self.values[text] else { return fault("bytes from what is no text") };
                self.made += text.len();
                // The same text may be named again and again.
                if self.made > 2 * self.operands.length() {
                    return fault("more bytes than the file holds");
                }
                let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
                bytes.map_or_else(|| fault("bytes above 255"), |bytes| Ok(Value::Bytes(bytes.into())))
            }
            _ => fault(format!("it calls {module}.{name}, which no batch of CIFAR needs")),
        }
    }

    /// Fills in an array; a type's further properties say nothing about bytes.
    fn build(&mut self, state: Id) -> Result<(), Fault> {
        let target = self.last()?;
        match &self.values[target] {
            Value::Dtype(_) => Ok(()),
            Value::Array(None) => {
                let &[_, shape, dtype, order, data] = self.items(state) else {
                    return fault("an array that is no array of numpy");
                };
                let by_columns = matches!(self.values[order], Value::Number(order) if order != 0);
                self.values[target] = Value::Array(Some(State { shape, dtype, by_columns, data }));
                Ok(())
            }
            _ => fault("a state for what has none"),
        }
    }
}
