//! Annotations of Pascal VOC (XML): the class of an image's largest object, or the labels of all. Files and splits are in [`super::voc`].

use crate::nn::ops::{ABSENT, IGNORED, PRESENT};
use crate::{Error, Result};
use roxmltree::{Document, Node, ParsingOptions};
use std::borrow::Cow;
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
    let mut best: Option<(bool, f64, u8)> = None;
    for Object { class, easy, area } in objects(path, bytes)? {
        if best.is_none_or(|(was_easy, largest, _)| (easy, area) > (was_easy, largest)) {
            best = Some((easy, area, class));
        }
    }
    best.map(|(_, _, class)| class).ok_or_else(|| Error::format(path, 0, "no object is annotated"))
}

/// For each class whether the image has an object of it; a class whose objects are all marked difficult is ignored, as in
/// the publisher's own lists.
pub(super) fn labels(path: &Path, bytes: &[u8]) -> Result<Vec<u8>> {
    let [absent, present, ignored] = [ABSENT, PRESENT, IGNORED].map(|label| label as u8);
    let mut labels = vec![absent; CLASSES.len()];
    for Object { class, easy, .. } in objects(path, bytes)? {
        let label = &mut labels[usize::from(class)];
        match easy {
            true => *label = present,
            false if *label == absent => *label = ignored,
            false => {}
        }
    }
    Ok(labels)
}

/// An annotated object.
struct Object {
    class: u8,
    /// Not marked difficult.
    easy: bool,
    /// Pixels of its box.
    area: f64,
}

/// The objects of an annotation in its order.
fn objects(path: &Path, bytes: &[u8]) -> Result<Vec<Object>> {
    let text = &decode(path, bytes)?;
    let options = ParsingOptions { nodes_limit: LARGEST, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options)
        .map_err(|error| Error::format(path, offset(text, error.pos()), error.to_string()))?;
    let objects = document.root_element().children().filter(|node| node.has_tag_name("object"));
    let object = |(index, object): (usize, Node)| {
        let number = index + 1;
        let class = class(path, &object, number)?;
        let easy = !is_difficult(path, &object)?;
        Ok(Object { class, easy, area: area(path, &object, number)? })
    };
    objects.enumerate().map(object).collect()
}

/// The text of an annotation: UTF-8 with or without a byte-order mark, or UTF-16 with one.
fn decode<'a>(path: &Path, bytes: &'a [u8]) -> Result<Cow<'a, str>> {
    let word = match bytes {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => {
            let text = std::str::from_utf8(bytes).map_err(|error| {
                let message = "not UTF-8 text; save the annotation as UTF-8";
                Error::format(path, error.valid_up_to() as u64, message)
            })?;
            return Ok(Cow::Borrowed(text.trim_start_matches('\u{feff}')));
        }
    };
    let words = bytes[2..].chunks_exact(2).map(|pair| word([pair[0], pair[1]]));
    let text: Result<String, _> = char::decode_utf16(words).collect();
    text.map(Cow::Owned)
        .map_err(|_| Error::format(path, 0, "a UTF-16 byte-order mark before what is no UTF-16"))
}

/// Whether an object is marked difficult; the tools that write annotations disagree on the word.
fn is_difficult(path: &Path, object: &Node) -> Result<bool> {
    let Some(node) = child(object, "difficult") else { return Ok(false) };
    let text = node.text().unwrap_or_default().trim();
    match text.to_ascii_lowercase().as_str() {
        "1" | "1.0" | "true" | "yes" => Ok(true),
        "0" | "0.0" | "false" | "no" | "unspecified" | "" => Ok(false),
        _ => Err(wrong(path, &node, format!("difficult '{text}' is neither true nor false"))),
    }
}

fn child<'a, 'input>(node: &Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.has_tag_name(name))
}

fn wrong(path: &Path, node: &Node, what: impl Into<String>) -> Error {
    Error::format(path, node.range().start as u64, what)
}

/// The child `name` of `node`, which is object `number` or part of it.
fn needed<'a, 'input>(
    path: &Path,
    node: &Node<'a, 'input>,
    name: &str,
    number: usize,
) -> Result<Node<'a, 'input>> {
    child(node, name).ok_or_else(|| wrong(path, node, format!("object {number} has no <{name}>")))
}

fn class(path: &Path, object: &Node, number: usize) -> Result<u8> {
    let name = needed(path, object, "name", number)?;
    let text = name.text().unwrap_or_default().trim();
    match CLASSES.iter().position(|class| *class == text) {
        Some(class) => Ok(class as u8),
        None => Err(wrong(path, &name, format!("'{text}' is none of the twenty classes"))),
    }
}

/// Pixels of an object's box.
fn area(path: &Path, object: &Node, number: usize) -> Result<f64> {
    let corners = needed(path, object, "bndbox", number)?;
    let side = |name: &str| -> Result<f64> {
        let node = needed(path, &corners, name, number)?;
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
        for (word, class) in [
            ("True", 7),
            ("TRUE", 7),
            (" 1\n", 7),
            ("yes", 7),
            ("False", 5),
            ("false", 5),
            ("Unspecified", 5),
        ] {
            let marked = object("bus", [0, 0, 99, 99], &format!("<difficult>{word}</difficult>"));
            assert_eq!(read(&[marked, small.clone()]).unwrap(), class, "{word}");
        }
        let part = "<part><name>head</name><bndbox><xmin>0</xmin></bndbox></part>";
        assert_eq!(read(&[object("person", [0, 0, 3, 3], part), small]).unwrap(), 7);
    }

    /// Every class with an object is a label; difficult objects alone make it count neither way, in any order.
    #[test]
    fn all_objects_are_labels() {
        let difficult = |class| object(class, [1, 1, 5, 5], "<difficult>1</difficult>");
        let objects = [
            difficult("bus"),
            object("cat", [1, 1, 5, 5], ""),
            difficult("cat"),
            difficult("dog"),
            object("dog", [1, 1, 9, 9], ""),
            object("dog", [2, 2, 3, 3], ""),
        ];
        let text = format!("<annotation>{}</annotation>", objects.concat());
        let mut expected = vec![0; 20];
        (expected[5], expected[7], expected[11]) = (2, 1, 1);
        assert_eq!(labels(Path::new("x.xml"), text.as_bytes()).unwrap(), expected);
        assert_eq!(labels(Path::new("x.xml"), b"<annotation/>").unwrap(), vec![0; 20]);
    }

    /// Byte-order marks, UTF-16, declarations, namespaces, floats, line ends and the order of elements change nothing.
    #[test]
    fn annotations_in_any_dress_are_one() {
        let text = format!(
            "<annotation>{}{}</annotation>",
            object("dog", [1, 1, 5, 5], ""),
            object("cat", [1, 1, 9, 9], "")
        );
        let class =
            |bytes: &[u8]| class_of_largest(Path::new("x.xml"), bytes).map_err(|error| error.to_string());
        let declared = |encoding: &str| format!("<?xml version=\"1.0\" encoding=\"{encoding}\"?>\n{text}");
        let utf16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            format!("\u{feff}{}", declared("UTF-16")).encode_utf16().flat_map(bytes).collect()
        };
        for bytes in [
            text.clone().into_bytes(),
            format!("\u{feff}{text}").into_bytes(),
            format!("\u{feff}{}", declared("utf-8")).into_bytes(),
            utf16(u16::to_le_bytes),
            utf16(u16::to_be_bytes),
            text.replace('>', ">\r\n\t").into_bytes(),
            text.replace("<annotation>", "<annotation xmlns=\"http://x.y/z\" verified=\"yes\">").into_bytes(),
            text.replace("9</xmax>", "9.75</xmax>").replace("<xmin>1<", "<xmin>1e0<").into_bytes(),
            text.replace(">cat<", "> cat <").into_bytes(),
        ] {
            assert_eq!(class(&bytes), Ok(7), "{}", String::from_utf8_lossy(&bytes));
        }
        assert!(class(b"\xff\xfe\0\xd8").unwrap_err().contains("UTF-16"));
        assert!(class(b"<annotation>caf\xe9</annotation>").unwrap_err().contains("byte 15: not UTF-8"));
    }

    /// What is missing is named, with the object that lacks it.
    #[test]
    fn missing_elements_are_named() {
        let message =
            |text: &str| read(&[object("cat", [1, 1, 2, 2], ""), text.to_owned()]).unwrap_err().to_string();
        assert!(message("<object/>").contains("object 2 has no <name>"), "{}", message("<object/>"));
        let boxless = message("<object><name>dog</name></object>");
        assert!(boxless.contains("object 2 has no <bndbox>"), "{boxless}");
        let three =
            "<object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax></bndbox></object>";
        assert!(message(three).contains("object 2 has no <ymax>"), "{}", message(three));
        let comma = object("dog", [1, 1, 2, 2], "").replace("<xmin>1", "<xmin>1,5");
        assert!(message(&comma).contains("xmin '1,5' is not a number"));
        let flag = object("dog", [1, 1, 2, 2], "<difficult>maybe</difficult>");
        assert!(message(&flag).contains("difficult 'maybe'"));
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
