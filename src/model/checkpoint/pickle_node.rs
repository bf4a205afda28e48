//! The values of a pickle, in one list: what its operations make and its reader gives.

use std::borrow::Cow;

/// Values in all, repeated references counted each time; the largest checkpoints have some hundred thousand.
pub(super) const MOST: u64 = 20_000_000;

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
