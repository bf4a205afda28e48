//! The tree of a YAML text. Aliases share what they name, so that a text of copies of copies takes no memory; what it
//! would be when written out is bounded.

use super::Place;
use super::node::{Content, Entry, Node};
use super::problem::Problem;
use super::{scalar, syntax};
use granit_parser::{Event, Parser, ScalarStyle, Tag};
use std::collections::HashMap;
use std::rc::Rc;

/// Levels of nesting; experiments have fewer than ten.
const DEPTH: usize = 48;
/// Nodes of a text with its aliases written out.
const NODES: u64 = 1_000_000;

/// A collection that is being read.
struct Open {
    at: Place,
    anchor: usize,
    items: Vec<Rc<Node>>,
    /// `Some` for a mapping.
    map: Option<OpenMap>,
}

#[derive(Default)]
struct OpenMap {
    entries: Vec<Entry>,
    seen: HashMap<String, Place>,
    /// The key whose value comes next.
    key: Option<(String, Place)>,
    /// What `<<` brings in, behind the mapping's own keys.
    merged: Vec<Entry>,
}

impl Open {
    fn new(at: Place, anchor: usize, is_map: bool) -> Self {
        Self { at, anchor, items: Vec::new(), map: is_map.then(OpenMap::default) }
    }

    /// Takes the next node in.
    fn take(&mut self, node: Rc<Node>) -> Result<(), Problem> {
        let Some(map) = &mut self.map else {
            self.items.push(node);
            return Ok(());
        };
        let Some((key, at)) = map.key.take() else {
            if matches!(node.content, Content::List(_) | Content::Map(_)) {
                return Err(Problem::at(node.at, "a key must be one word, found a list or a mapping")
                    .hint("put text that begins with '[' or '{' in quotes"));
            }
            if matches!(node.content, Content::Null) && node.source.is_empty() {
                return Err(Problem::at(node.at, "there is no key before ':'"));
            }
            if let Some(first) = map.seen.insert(node.source.clone(), node.at) {
                let place = match first.line == node.at.line {
                    true => format!("column {} of this line", first.column),
                    false => format!("line {}", first.line),
                };
                return Err(Problem::at(
                    node.at,
                    format!("the key '{}' stands here a second time; the first is in {place}", node.source),
                )
                .hint("remove one of the two"));
            }
            map.key = Some((node.source.clone(), node.at));
            return Ok(());
        };
        if key != "<<" {
            map.entries.push(Entry { key, at, node });
            return Ok(());
        }
        let no_map = |at| Problem::at(at, "'<<' takes a mapping, or a list of them, to copy keys from");
        let sources = match &node.content {
            Content::List(items) => items.clone(),
            _ => vec![node],
        };
        for source in sources {
            let Content::Map(entries) = &source.content else { return Err(no_map(source.at)) };
            map.merged.extend(entries.iter().cloned());
            if map.merged.len() as u64 > NODES {
                return Err(too_large(at));
            }
        }
        Ok(())
    }

    fn close(self) -> Node {
        let content = match self.map {
            None => Content::List(self.items),
            Some(mut map) => {
                for entry in map.merged {
                    if !map.seen.contains_key(&entry.key) {
                        map.seen.insert(entry.key.clone(), entry.at);
                        map.entries.push(entry);
                    }
                }
                Content::Map(map.entries)
            }
        };
        Node::new(self.at, String::new(), content)
    }
}

fn too_large(at: Place) -> Problem {
    Problem::at(at, "with its aliases written out the file would have more than a million values")
}

/// Builds the tree of the one document of a text.
pub(super) fn build(text: &str) -> Result<Node, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut open, mut root): (Vec<Open>, Option<Rc<Node>>) = (Vec::new(), None);
    let mut anchors: HashMap<usize, Rc<Node>> = HashMap::new();
    let (mut documents, mut count) = (0, 0u64);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax::problem(&error, text))?;
        let at = Place { line: span.start.line(), column: span.start.col() + 1 };
        let (node, anchor) = match event {
            Event::DocumentStart(..) => {
                documents += 1;
                if documents > 1 {
                    return Err(Problem::at(at, "a second document begins here, and one file holds one")
                        .hint("move what follows '---' to a file of its own"));
                }
                continue;
            }
            Event::Scalar(value, style, anchor, tag) => {
                refuse_tag(tag.as_deref(), at)?;
                let is_plain = style == ScalarStyle::Plain;
                let content = if is_plain { scalar::content(&value) } else { Content::Text(true) };
                // The parser writes '~' where nothing stands.
                let is_empty = is_plain && span.start.index() == span.end.index();
                let source = if is_empty { String::new() } else { value.into_owned() };
                (Node::new(at, source, content), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                refuse_tag(tag.as_deref(), at)?;
                open.push(Open::new(at, anchor, false));
                if open.len() > DEPTH {
                    return Err(Problem::at(at, format!("nested more than {DEPTH} levels deep")));
                }
                continue;
            }
            Event::MappingStart(_, anchor, tag) => {
                refuse_tag(tag.as_deref(), at)?;
                open.push(Open::new(at, anchor, true));
                if open.len() > DEPTH {
                    return Err(Problem::at(at, format!("nested more than {DEPTH} levels deep")));
                }
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(closed) = open.pop() else { continue };
                let anchor = closed.anchor;
                (closed.close(), anchor)
            }
            Event::Alias(id) => {
                let node = anchors
                    .get(&id)
                    .cloned()
                    .ok_or_else(|| Problem::at(at, "an alias stands inside of what it names"))?;
                place_node(node, &mut open, &mut root, &mut count, at)?;
                continue;
            }
            _ => continue,
        };
        let node = Rc::new(node);
        if anchor > 0 {
            anchors.insert(anchor, node.clone());
        }
        place_node(node, &mut open, &mut root, &mut count, at)?;
    }
    let root = root.ok_or_else(|| Problem::nowhere("the file is empty"))?;
    if matches!(root.content, Content::Null) && root.source.is_empty() {
        return Err(Problem::nowhere("the file is empty"));
    }
    // Anchors share it where the whole document has one.
    drop(anchors);
    Rc::try_unwrap(root).map_err(|root| Problem::at(root.at, "the whole document is an alias"))
}

fn place_node(
    node: Rc<Node>,
    open: &mut [Open],
    root: &mut Option<Rc<Node>>,
    count: &mut u64,
    at: Place,
) -> Result<(), Problem> {
    // Written out: what aliases of aliases multiply is refused at the first node that is too large.
    *count = count.saturating_add(1);
    if node.size > NODES || *count > NODES {
        return Err(too_large(at));
    }
    match open.last_mut() {
        Some(parent) => parent.take(node),
        None => {
            *root = Some(node);
            Ok(())
        }
    }
}

fn refuse_tag(tag: Option<&Tag>, at: Place) -> Result<(), Problem> {
    match tag {
        None => Ok(()),
        Some(_) => Err(Problem::at(
            at,
            "a tag (a word that begins with '!') stands before the value; none is known here",
        )
        .hint("write the value without it; text that begins with '!' needs quotes")),
    }
}
