//! Pickles as Python 2, Python 3 and numpy write them, and as an attacker would.

use super::*;
use proptest::prelude::*;

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pickle").join(name)).unwrap()
}

fn read(bytes: &[u8]) -> Result<Pickle<'_>> {
    Pickle::read(Path::new("batch"), bytes)
}

fn message(bytes: &[u8]) -> String {
    read(bytes).map(|_| ()).unwrap_err().to_string()
}

const DATA: [u8; 12] = [0, 1, 2, 3, 4, 5, 10, 255, 128, 127, 10, 13];

/// A batch as Python 2 and its numpy wrote it: the publisher's files are of this form.
pub(crate) fn python2_batch(rows: usize, data: &[u8], labels: &[(&str, &[u8])]) -> Vec<u8> {
    let string = |text: &str| [&[b'U', text.len() as u8], text.as_bytes()].concat();
    let number = |value: usize| [b"J".as_slice(), &(value as u32).to_le_bytes()].concat();
    let mut out = b"\x80\x02}q\x01(".to_vec();
    for (key, labels) in labels {
        out.extend([string(key), b"q\x02]q\x03(".to_vec()].concat());
        labels.iter().for_each(|label| out.extend([b'K', *label]));
        out.push(b'e');
    }
    out.extend(
        [
            string("data"),
            b"q\x04cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\0\x85q\x07".to_vec(),
        ]
        .concat(),
    );
    out.extend(b"U\x01bq\x08\x87q\x09Rq\x0a(K\x01".as_slice());
    out.extend(
        [
            number(rows),
            number(data.len() / rows.max(1)),
            b"\x86q\x0bcnumpy\ndtype\nq\x0cU\x02u1q\x0dK\0K\x01\x87q\x0eRq\x0f".to_vec(),
        ]
        .concat(),
    );
    out.extend(b"(K\x03U\x01|q\x10NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tq\x11b\x89T".as_slice());
    out.extend((data.len() as u32).to_le_bytes());
    out.extend(data);
    out.extend(b"q\x12tq\x13bu.".as_slice());
    out
}

/// Every protocol gives the same batch, with keys as bytes or text and labels as lists or arrays.
#[test]
fn every_protocol_gives_the_batch() {
    for name in ["protocol2.pkl", "protocol3.pkl", "protocol4.pkl", "protocol5.pkl"] {
        let bytes = golden(name);
        let pickle = read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let data = pickle.byte_array("data").unwrap_or_else(|| panic!("{name}: no data"));
        assert_eq!((data.rows, data.values), (2, DATA.as_slice()), "{name}");
        assert_eq!(pickle.labels("labels").unwrap(), [3, 9], "{name}");
        assert_eq!(pickle.strings("filenames").unwrap(), ["a.png", "b.png"], "{name}");
        assert!(pickle.labels("other").is_none() && pickle.byte_array("labels").is_none());
    }
    let old = python2_batch(2, &DATA, &[("labels", &[3, 9])]);
    let pickle = read(&old).unwrap();
    assert_eq!(pickle.byte_array("data").unwrap().values, DATA);
    assert_eq!(pickle.labels("labels").unwrap(), [3, 9]);
    let arrays = golden("arrays.pkl");
    let pickle = read(&arrays).unwrap();
    assert_eq!(pickle.labels("fine_labels").unwrap(), [3, 99]);
    assert_eq!(pickle.labels("coarse_labels").unwrap(), [0, 19]);
    assert_eq!(
        read(&golden("meta.pkl")).unwrap().strings("label_names").unwrap(),
        ["airplane", "automobile"]
    );
}

/// An array by columns is not taken for one by rows.
#[test]
fn arrays_by_columns_are_not_taken() {
    for name in ["columns.pkl", "columns5.pkl"] {
        let bytes = golden(name);
        assert!(read(&bytes).unwrap().byte_array("data").is_none(), "{name}");
    }
}

/// Nothing is called but what makes arrays; the function is named.
#[test]
fn nothing_is_called() {
    let message = message(&golden("call.pkl"));
    assert!(message.contains("calls posix.system"), "{message}");
}

/// What is cut off or damaged is an error with the byte, and bombs stay small.
#[test]
fn damage_is_located() {
    let whole = golden("protocol4.pkl");
    for cut in 0..whole.len() {
        assert!(read(&whole[..cut]).is_err(), "{cut}");
    }
    assert!(message(b"\x80\x02").contains("byte 2: pickle: the file ends"));
    assert!(message(b"\x80\x07N.").contains("protocol 7"));
    assert!(message(b"\x80\x02h\x05.").contains("reference to value 5"));
    assert!(message(b"\x80\x02S'a'\n.").contains("operation 0x53"));
    assert!(message(b"\x80\x02(0.").contains("missing on the stack"));
    // A list that holds itself, a tower, and copies of copies.
    assert!(read(b"\x80\x02]q\0h\0a.").is_ok());
    assert!(read(&[b"\x80\x02)".as_slice(), &vec![0x85; 1_000_000], b"."].concat()).is_ok());
    let laughs: Vec<u8> = (0..60).flat_map(|_| *b"h\0h\0\x86q\0").collect();
    assert!(read(&[b"\x80\x02]q\0".as_slice(), &laughs, b"."].concat()).is_ok());
    // One text, made into bytes again and again.
    let text = [b"X".as_slice(), &1000u32.to_le_bytes(), &[b'a'; 1000], b"q\0"].concat();
    let again: Vec<u8> =
        (0..1000).flat_map(|_| b"c_codecs\nencode\nh\0X\x06\0\0\0latin1\x86R".to_vec()).collect();
    assert!(
        message(&[b"\x80\x02".as_slice(), &text, &again, b"."].concat()).contains("more bytes than the file")
    );
}

proptest! {
    /// No bytes make the reader panic, neither arbitrary ones nor a damaged batch.
    #[test]
    fn any_bytes_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..100),
        at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let _ = read(&[b"\x80\x02".as_slice(), &bytes].concat());
        let mut damaged = python2_batch(2, &DATA, &[("labels", &[3, 9])]);
        for (index, value) in at {
            let index = index.index(damaged.len());
            damaged[index] = value;
        }
        if let Ok(pickle) = read(&damaged) {
            let _ = (pickle.byte_array("data").map(|data| data.rows), pickle.labels("labels"), pickle.strings("labels"));
        }
    }
}
