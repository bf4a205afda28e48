//! The pickle machine, protocols 0 to 5: a graph of values, nothing is imported or called. Values that are shared in the
//! pickle are shared here, so memory stays within a small multiple of the bytes; depth and number of values are bounded.
//!
//! Not here: the operations, which are in `pickle_machine`, and what the objects mean, which is in `objects`.

use super::pickle_machine::Machine;
use super::pickle_node::MOST;
pub(super) use super::pickle_node::{Call, Id, Node};

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
    let mut machine = Machine::new(bytes);
    loop {
        let at = machine.at();
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => {
                let (nodes, length) = machine.finish();
                return Ok(Pickle { nodes, copies: std::cell::Cell::new(MOST), root, length });
            }
            Err(message) => return Err(PickleError { at, message }),
        }
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
        assert!(read(&[&repeated(b"}(", b"X\x01\0\0\0aK\x01", 1000)[..8004], b"u."].concat()).is_ok());
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
