//! The values of a pickle, in one arena: what its operations make and its reader gives.

use std::borrow::Cow;

/// Index of a value in the arena.
pub(super) type Id = usize;

/// A value.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Nothing,
    Number(i64),
    Bytes(Cow<'a, [u8]>),
    Text(&'a str),
    Items(Vec<Id>),
    Pairs(Vec<(Id, Id)>),
    /// A name from a module.
    Name(&'a str, &'a str),
    Dtype(Id),
    Array(Option<State>),
}

/// What an array consists of.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub shape: Id,
    pub dtype: Id,
    pub by_columns: bool,
    pub data: Id,
}
