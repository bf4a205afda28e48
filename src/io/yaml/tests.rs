use super::*;
use std::collections::BTreeMap;

const TEXT: Expecting = Expecting { what: "the text", reference: "read on" };

fn value(text: &str) -> Value {
    parse(text, Path::new("x"), TEXT).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn message<T: DeserializeOwned>(text: &str) -> String {
    match parse::<T>(text, Path::new("x"), TEXT) {
        Ok(_) => panic!("{text} must be refused"),
        Err(error) => format!("{error} ({})", error.hint().unwrap_or_default()),
    }
}

/// Scalars are what YAML 1.2 says: `no` is text, `1e-3` a number, `0o17` octal, `017` neither.
#[test]
fn scalars_mean_what_people_mean() {
    for (text, expected) in [
        ("a: 4", r#"{"a":4}"#),
        ("a: -4", r#"{"a":-4}"#),
        ("a: +4", r#"{"a":4}"#),
        ("a: 0x1F", r#"{"a":31}"#),
        ("a: 0o17", r#"{"a":15}"#),
        ("a: 1_000", r#"{"a":1000}"#),
        ("a: 017", r#"{"a":"017"}"#),
        ("a: 1e-3", r#"{"a":0.001}"#),
        ("a: .5", r#"{"a":0.5}"#),
        ("a: 4.0", r#"{"a":4.0}"#),
        ("a: 1.2.3", r#"{"a":"1.2.3"}"#),
        ("a: 2024-01-02", r#"{"a":"2024-01-02"}"#),
        ("a: no", r#"{"a":"no"}"#),
        ("a: True", r#"{"a":true}"#),
        ("a: ~", r#"{"a":null}"#),
        ("a:", r#"{"a":null}"#),
        ("a: '4'", r#"{"a":"4"}"#),
        ("a: inf", r#"{"a":"inf"}"#),
        ("a: |\n  one\n  two\n", r#"{"a":"one\ntwo\n"}"#),
        ("1: x", r#"{"1":"x"}"#),
        ("a: 18446744073709551615", r#"{"a":18446744073709551615}"#),
        ("{\"a\": [1, {\"b\": null}]}", r#"{"a":[1,{"b":null}]}"#),
        ("\u{feff}---\na: 1\n...\n", r#"{"a":1}"#),
        ("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}", r#"{"a":{"p":1,"q":2},"b":{"q":3,"p":1}}"#),
        ("a: &x [1]\nb: *x", r#"{"a":[1],"b":[1]}"#),
    ] {
        assert_eq!(value(text).to_string(), expected, "{text}");
    }
}

/// Places are those of an editor: lines and columns count from 1, also behind letters of several bytes.
#[test]
fn places_count_from_one() {
    type Named = BTreeMap<String, Vec<Spanned<u32>>>;
    let read: Named = parse("ä: [1,\n  22]\n", Path::new("x"), TEXT).unwrap();
    let places: Vec<(usize, usize)> = read["ä"].iter().map(|s| (s.at.line, s.at.column)).collect();
    assert_eq!(places, [(1, 5), (2, 3)]);
    let document = Document::parse("a: [{b: 1}, {b: 2}]", Path::new("x"), TEXT).unwrap();
    assert_eq!(document.place(&["a", "1", "b"]), Place { line: 1, column: 17 });
    assert_eq!(document.place(&["a", "7", "b"]), Place { line: 1, column: 4 });
}

/// What is not YAML is said in words, with the way out that is most often right.
#[test]
fn syntax_errors_are_in_words() {
    for (text, expected) in [
        (
            "a: 1\na: 2\n",
            "x:2:1: the key 'a' stands here a second time; the first is in line 1 (remove one of the two)",
        ),
        (
            "{a: 1, a: 2}",
            "x:1:8: the key 'a' stands here a second time; the first is in column 2 of this line (remove one of the two)",
        ),
        (
            "a: [*fc*]",
            "x:1:5: '*' (or '&') begins an alias here, and no value of this file has that name (put patterns in quotes: exclude: ['*fc*'])",
        ),
        (
            "a: 1\n---\nb: 2\n",
            "x:2:1: a second document begins here, and one file holds one (move what follows '---' to a file of its own)",
        ),
        ("a:\n\t- b\n", "a tab stands where YAML takes only spaces (indent with spaces)"),
        ("a: [1, 2\n", "']'"),
        ("a: {b: 1\n", "'}'"),
        ("a: 'b\n", "a quote is opened and not closed (close it)"),
        (
            "a: b: c\n",
            "a ':' stands where no key can be (put text that contains ': ' or begins with a sign in quotes)",
        ),
        ("a: 1\n b: 2\n", "x:2"),
        ("a: @b\n", "'@' cannot begin a value"),
        (
            "a: !!python/tuple [1]",
            "x:1:19: a tag (a word that begins with '!') stands before the value; none is known here",
        ),
        ("? [a, b]\n: 1\n", "a key must be one word, found a list or a mapping"),
        ("", "x: the file is empty (read on)"),
        ("# nothing\n", "x: the file is empty (read on)"),
        ("<<: 3", "'<<' takes a mapping"),
        ("a: &x [*x]", "an alias stands inside of what it names"),
        ("a:\u{a0}1\nb: 2\n", "has an invisible character (U+00A0)"),
    ] {
        let found = message::<Value>(text);
        assert!(found.contains(expected), "{text}: {found}");
    }
}

/// Texts that unfold into what no memory holds, or towers that no stack holds, are refused at once.
#[test]
fn bombs_are_refused() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..40 {
        let copies = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs += &format!("a{level}: &a{level} [{copies}]\n");
    }
    assert!(message::<Value>(&laughs).contains("more than a million values"));
    let mut merges = "a0: &a0 {k0: x, l0: x}\n".to_owned();
    for level in 1..64 {
        let copies = vec![format!("*a{}", level - 1); 2].join(", ");
        merges += &format!("a{level}: &a{level} {{<<: [{copies}], k{level}: x}}\n");
    }
    let start = std::time::Instant::now();
    let _ = parse::<Value>(&merges, Path::new("x"), TEXT);
    let flow = format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(message::<Value>(&flow).contains("nested"), "{}", message::<Value>(&flow));
    let block: String = (0..5000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    assert!(message::<Value>(&block).contains("nested"));
    assert!(message::<Value>(&"- ".repeat(100_000)).contains("nested"));
    assert!(start.elapsed().as_secs() < 20);
}

/// Types that do not fit say what is expected and what was found, with the key, in people's words.
#[test]
fn types_are_in_words() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)] // Only whether it can be read matters.
    struct Typed {
        #[serde(default)]
        small: u8,
        #[serde(default)]
        share: f64,
        #[serde(default)]
        on: bool,
        #[serde(default)]
        name: String,
        #[serde(default)]
        pair: Option<[u32; 2]>,
        #[serde(default)]
        inner: Option<Inner>,
        needed: u8,
    }
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Inner {
        One,
        Two,
        #[allow(dead_code)] // Only whether it can be read matters.
        With(u8),
    }
    for (text, expected) in [
        ("small: many", "x:1:8: small must be a whole number of 0 or more, found the text 'many'"),
        ("small: -1", "small must be a whole number of 0 or more, found -1"),
        ("small: 256", "small must be at most 255, found 256"),
        ("small: 99999999999999999999999999999999999999999999", "small must be at most 255, found 9999"),
        ("small: 4.0", "small must be a whole number of 0 or more, found 4.0 (write 4)"),
        ("small: '4'", "found the text '4' (write 4 without quotes)"),
        ("small: 04", "found the text '04' (write 4, without leading zeros)"),
        ("small:", "small must be a whole number of 0 or more, found nothing ("),
        ("small: null", "small must be a whole number of 0 or more, found nothing (null)"),
        ("small: []", "found an empty list"),
        ("share: .nan", "share must be a finite number, found .nan"),
        ("share: 20%", "share must be a number, found the text '20%' (write 0.2)"),
        ("share: '0,5'", "share must be a number, found the text '0,5' (write 0.5, with a point)"),
        ("on: yes", "on must be true or false, found the text 'yes' (write true)"),
        ("on: 0", "on must be true or false, found 0 (write false)"),
        ("name: true", "name must be text, found true (put it in quotes to make it text: 'true')"),
        ("name: [a]", "name must be text, found a list"),
        ("pair: [1, 2, 3]", "pair must be a list of 2, found a list of 3"),
        ("pair: 1", "pair must be a list of 2, found 1"),
        ("inner: three", "inner must be one, two or with, found 'three'"),
        ("inner: tow", "(did you mean 'two'?)"),
        ("inner: with", "inner: 'with' needs settings: {with: …}"),
        ("inner: {with: x}", "inner.with must be a whole number of 0 or more, found the text 'x'"),
        ("inner: {one: 2}", "'one' takes no settings"),
        ("smal: 1", "x:1:1: the text has no key 'smal' (did you mean 'small'?)"),
        ("zzz: 1", "the text has no key 'zzz' (its keys: small, share, on, name, pair, inner, needed)"),
        ("{small:1}", "the text has no key 'small:1' (write a space after the colon: 'small: 1')"),
        ("small: 1", "x:1:1: the text has no 'needed', which it needs"),
        ("[a]", "x:1:1: the text must be a mapping of keys, found a list"),
        ("word", "x:1:1: the text must be a mapping of keys, found the text 'word'"),
    ] {
        let found = message::<Typed>(text);
        assert!(found.contains(expected), "{text}: {found}");
    }
    let error = from_value::<Typed>(&serde_json::json!({"needed": 1, "small": "x"}), "method a").unwrap_err();
    assert_eq!(error.to_string(), "method a: small must be a whole number of 0 or more, found the text 'x'");
    let error = from_value::<Typed>(&serde_json::json!({"neded": 1}), "method a").unwrap_err();
    assert_eq!(error.to_string(), "method a has no key 'neded'");
}
