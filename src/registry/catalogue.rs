//! A list of named entries with lookup: what `with_quantizer(&MINE)` adds to.

use crate::error::{did_you_mean, excerpt};
use crate::{Error, Result};

/// An entry of a [`Catalogue`].
pub trait Named {
    /// Name in YAML and on the command line.
    fn name(&self) -> &str;
}

/// Named entries in the order in which they are listed.
pub struct Catalogue<T: ?Sized + 'static> {
    /// What an entry is called in messages, such as `quantizer`.
    kind: &'static str,
    /// The command that lists the entries, for hints.
    listing: &'static str,
    entries: Vec<&'static T>,
}

impl<T: Named + ?Sized> std::fmt::Debug for Catalogue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

// Derived `Clone` would ask for `T: Clone`.
impl<T: ?Sized> Clone for Catalogue<T> {
    fn clone(&self) -> Self {
        Self { kind: self.kind, listing: self.listing, entries: self.entries.clone() }
    }
}

impl<T: Named + ?Sized> Catalogue<T> {
    /// A list of entries. `kind` is what one of them is called in messages, `listing` the command that lists them.
    pub fn new(kind: &'static str, listing: &'static str, entries: &[&'static T]) -> Self {
        Self { kind, listing, entries: entries.to_vec() }
    }

    /// Adds an entry; one of the same name is replaced.
    pub fn add(&mut self, entry: &'static T) {
        match self.entries.iter_mut().find(|known| known.name() == entry.name()) {
            Some(known) => *known = entry,
            None => self.entries.push(entry),
        }
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = &'static T> + '_ {
        self.entries.iter().copied()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.entries.iter().map(|entry| entry.name())
    }

    /// The entry called `name`; `None` if there is none.
    pub fn get(&self, name: &str) -> Option<&'static T> {
        self.iter().find(|entry| entry.name() == name)
    }

    /// The entry called `name`.
    ///
    /// # Errors
    /// [`Error::Input`] with a suggestion for an unknown name.
    pub fn find(&self, name: &str) -> Result<&'static T> {
        self.get(name).ok_or_else(|| Error::Input {
            message: format!("unknown {} '{}'", self.kind, excerpt(name)),
            hint: did_you_mean(name, self.names()).or_else(|| Some(format!("`{}` lists them", self.listing))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fruit(&'static str, u32);

    impl Named for Fruit {
        fn name(&self) -> &str {
            self.0
        }
    }

    /// A user's entry joins the built-in ones or replaces the one of its name; a misspelt name gets the nearest.
    #[test]
    fn entries_are_added_and_found() {
        let mut fruits = Catalogue::new("fruit", "fruit ls", &[&Fruit("apple", 1), &Fruit("pear", 2)]);
        fruits.add(&Fruit("plum", 3));
        fruits.add(&Fruit("pear", 4));
        assert_eq!(fruits.names().collect::<Vec<_>>(), ["apple", "pear", "plum"]);
        assert_eq!(fruits.find("pear").ok().map(|fruit| fruit.1), Some(4));
        let error = fruits.find("aple").err().expect("misspelt");
        assert_eq!(error.to_string(), "unknown fruit 'aple'");
        assert_eq!(error.hint(), Some("did you mean 'apple'?"));
        let error = fruits.find("dragonfruit").err().expect("unknown");
        assert_eq!(error.hint(), Some("`fruit ls` lists them"));
    }
}
