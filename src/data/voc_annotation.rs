//! Annotations of Pascal VOC (XML): the class of an image's largest object. Files and splits are in [`super::voc`].

use crate::{Error, Result};
use roxmltree::{Document, Node, ParsingOptions};
use std::path::Path;

/// The twenty classes in the publisher's (alphabetical) order.
pub(super) const CLASSES: [&str; 20] = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
];

/// Nodes of a document at most: the largest official one has under a thousand.
const LARGEST: u32 = 100_000;

/// Class of the object whose box covers most pixels, the first of equals. Objects marked difficult count only where no
/// other is. Parts (`head`, `hand`) are not objects.
pub(super) fn class_of_largest(path: &Path, bytes: &[u8]) -> Result<u8> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Error::format(path, error.valid_up_to() as u64, "not UTF-8 text"))?;
    let options = ParsingOptions { nodes_limit: LARGEST, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options)
        .map_err(|error| Error::format(path, offset(text, error.pos()), error.to_string()))?;
    let mut best: Option<(bool, f64, u8)> = None;
    for object in document.root_element().children().filter(|node| node.has_tag_name("object")) {
        let class = class(path, &object)?;
        let easy = child(&object, "difficult").and_then(|node| node.text()).map(str::trim) != Some("1");
        let area = area(path, &object)?;
        if best.is_none_or(|(was_easy, largest, _)| (easy, area) > (was_easy, largest)) {
            best = Some((easy, area, class));
        }
    }
    best.map(|(_, _, class)| class).ok_or_else(|| Error::format(path, 0, "no object is annotated"))
}

fn child<'a, 'input>(node: &Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.has_tag_name(name))
}

fn wrong(path: &Path, node: &Node, what: impl Into<String>) -> Error {
    Error::format(path, node.range().start as u64, what)
}

fn class(path: &Path, object: &Node) -> Result<u8> {
    let name = child(object, "name").ok_or_else(|| wrong(path, object, "an object without a name"))?;
    let text = name.text().unwrap_or_default().trim();
    match CLASSES.iter().position(|class| *class == text) {
        Some(class) => Ok(class as u8),
        None => Err(wrong(path, &name, format!("'{text}' is none of the twenty classes"))),
    }
}

/// Pixels of an object's box.
fn area(path: &Path, object: &Node) -> Result<f64> {
    let corners = child(object, "bndbox").ok_or_else(|| wrong(path, object, "an object without a bndbox"))?;
    let side = |name: &str| -> Result<f64> {
        let node =
            child(&corners, name).ok_or_else(|| wrong(path, &corners, format!("no {name} in the bndbox")))?;
        let text = node.text().unwrap_or_default().trim();
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(wrong(path, &node, format!("{name} '{text}' is not a number"))),
        }
    };
    let (width, height) = (side("xmax")? - side("xmin")?, side("ymax")? - side("ymin")?);
    if width < 0.0 || height < 0.0 {
        return Err(wrong(path, &corners, "the box ends before it begins"));
    }
    Ok(width * height)
}

/// Byte offset of a place in lines and columns (characters, both from 1).
fn offset(text: &str, place: roxmltree::TextPos) -> u64 {
    let lines = text.split_inclusive('\n');
    let before: usize = lines.clone().take(place.row.saturating_sub(1) as usize).map(str::len).sum();
    let line = lines.clone().nth(place.row.saturating_sub(1) as usize).unwrap_or_default();
    let within: usize = line.chars().take(place.col.saturating_sub(1) as usize).map(char::len_utf8).sum();
    (before + within) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(class: &str, sides: [i32; 4], more: &str) -> String {
        let [left, top, right, bottom] = sides;
        format!(
            "<object><name>{class}</name>{more}<bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax>\
             <ymax>{bottom}</ymax></bndbox></object>"
        )
    }

    fn read(objects: &[String]) -> Result<u8> {
        let text = format!("<annotation>\n{}</annotation>", objects.concat());
        class_of_largest(Path::new("x.xml"), text.as_bytes())
    }

    /// The largest box decides, the first of equals; difficult objects count only alone, parts never.
    #[test]
    fn the_largest_object_decides() {
        let small = object("cat", [1, 1, 5, 5], "");
        let large = object("dog", [1, 1, 9, 9], "<difficult>0</difficult>");
        assert_eq!(read(&[small.clone(), large.clone()]).unwrap(), 11);
        assert_eq!(read(&[large.clone(), object("cow", [2, 2, 10, 10], "")]).unwrap(), 11);
        let difficult = object("bus", [0, 0, 99, 99], "<difficult>1</difficult>");
        assert_eq!(read(&[difficult.clone(), small.clone()]).unwrap(), 7);
        assert_eq!(read(&[difficult]).unwrap(), 5);
        let part = "<part><name>head</name><bndbox><xmin>0</xmin></bndbox></part>";
        assert_eq!(read(&[object("person", [0, 0, 3, 3], part), small]).unwrap(), 7);
    }

    /// What is wrong is said, with the byte.
    #[test]
    fn damage_is_located() {
        let message = |result: Result<u8>| result.unwrap_err().to_string();
        assert!(message(read(&[])).contains("no object"));
        let unknown = message(read(&[object("unicorn", [0, 0, 1, 1], "")]));
        assert!(unknown.contains("x.xml: byte 21: 'unicorn'"), "{unknown}");
        assert!(message(read(&[object("cat", [5, 0, 1, 1], "")])).contains("before it begins"));
        assert!(message(read(&["<object><name>cat</name></object>".into()])).contains("bndbox"));
        let cut = message(class_of_largest(Path::new("x.xml"), b"<annotation>\n<object></annotation>"));
        // On the second line: the place is converted from line and column.
        assert!(cut.contains("x.xml: byte 2"), "{cut}");
    }

    proptest! {
        /// No bytes make the reader panic, neither arbitrary ones nor a damaged annotation.
        #[test]
        fn any_bytes_are_survived(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            value in any::<u8>(),
        ) {
            let _ = class_of_largest(Path::new("x"), &bytes);
            let mut annotation =
                format!("<annotation>{}</annotation>", object("cat", [1, 2, 3, 4], "")).into_bytes();
            let index = at.index(annotation.len());
            annotation[index] = value;
            let _ = class_of_largest(Path::new("x"), &annotation);
            annotation.truncate(index);
            let _ = class_of_largest(Path::new("x"), &annotation);
        }
    }
}
