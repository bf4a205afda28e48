//! Parts of messages: numbers and counts as people write them, and suggestions.

/// A number in its shortest form; with an exponent where it would have many zeros.
pub fn number(value: f64) -> String {
    let size = value.abs();
    match value.is_finite() && size != 0.0 && !(1e-4..1e9).contains(&size) {
        true => format!("{value:e}"),
        false => value.to_string(),
    }
}

/// A message as it is shown: what people mistook for a name may be a whole file, so words of long messages are cut.
pub(super) fn shown(message: &str) -> std::borrow::Cow<'_, str> {
    const LONG: usize = 1000;
    if message.len() <= LONG {
        return message.into();
    }
    message.split(' ').map(excerpt).collect::<Vec<_>>().join(" ").into()
}

/// The first 120 characters of a user's text in a message, and `…` where there are more.
pub fn excerpt(text: &str) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// `1 run`, `2 runs`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// "did you mean 'x'?" for the name in `known` that is near; `None` where none is.
pub fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(given, known).map(|near| format!("did you mean '{near}'?"))
}

/// As [`did_you_mean`], with the list of all names where none is near: `otherwise` introduces it.
pub fn did_you_mean_or_all<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
    otherwise: &str,
) -> String {
    let all = || known.clone().into_iter().collect::<Vec<_>>().join(", ");
    did_you_mean(given, known.clone()).unwrap_or_else(|| format!("{otherwise} {}", all()))
}

/// The name in `known` closest to `given`; `None` if nothing is close. Near is a typing error or two (by length), other
/// capitals, `_` for `-`, the initials of a name of several words, or one of its words.
pub fn closest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace(['-', ' '], "_");
    let wanted = plain(given);
    let length = wanted.chars().count();
    if length == 0 || length > 60 {
        return None;
    }
    let distance = |name: &str| {
        let name = plain(name);
        let words: Vec<&str> = name.split('_').filter(|word| !word.is_empty()).collect();
        let initials: String = words.iter().filter_map(|word| word.chars().next()).collect();
        let is_part =
            words.len() > 1 && (initials == wanted || length > 3 && words.contains(&wanted.as_str()));
        let distance = strsim::damerau_levenshtein(&wanted, &name);
        let longest = length.max(name.chars().count());
        // A third of the letters may differ, and two short names must share one.
        let allowed = (longest / 3).max(if longest > 3 { 2 } else { 1 });
        match (distance <= allowed && distance < length, is_part) {
            (true, _) => Some(distance),
            (false, true) => Some(allowed + 1),
            (false, false) => None,
        }
    };
    known.into_iter().filter_map(|name| Some((distance(name)?, name))).min().map(|(_, name)| name)
}

/// "did you mean …?" for a message of serde's about an unknown field or variant: the nearest of the names it expected, or
/// of `more`; `None` where nothing is near or the message is about something else.
pub fn suggestion(message: &str, more: &[&str]) -> Option<String> {
    let (_, rest) =
        ["unknown field `", "unknown variant `"].iter().find_map(|what| message.split_once(what))?;
    let (unknown, rest) = rest.split_once('`')?;
    // Names stand in backquotes; the words and line numbers around them are no names.
    let expected = rest.split('`').skip(1).step_by(2);
    did_you_mean(unknown, expected.chain(more.iter().copied()))
}

/// What is wrong with a number that must lie in `low..=high`, without its name; `None` where nothing is.
pub fn out_of_range(value: f64, low: f64, high: f64) -> Option<String> {
    if (low..=high).contains(&value) {
        return None;
    }
    // The smallest positive number stands for "above 0".
    let bounds = match low == f64::MIN_POSITIVE {
        true => format!("above 0 and at most {}", number(high)),
        false => format!("from {} to {}", number(low), number(high)),
    };
    Some(format!("must be {bounds}, found {}", number(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only what is near is suggested; digits, single letters and words that share nothing are not.
    #[test]
    fn suggestions_are_near() {
        let keys = ["epochs", "batch_size", "learning_rate", "weight_decay", "select", "seed", "seeds"];
        for (given, expected) in [
            ("epoch", Some("epochs")),
            ("Epochs", Some("epochs")),
            ("batch-size", Some("batch_size")),
            ("lr", Some("learning_rate")),
            ("wd", Some("weight_decay")),
            ("batch", Some("batch_size")),
            ("decay", Some("weight_decay")),
            ("lerning_rat", Some("learning_rate")),
            ("sed", Some("seed")),
            ("a", None),
            ("4", None),
            ("zz", None),
            ("patience", None),
            ("", None),
        ] {
            assert_eq!(closest(given, keys), expected, "{given}");
        }
        assert_eq!(closest("a", ["1", "4", "b"]), None);
        assert_eq!(closest("eqc", ["ecqx", "ecq", "lsq"]), Some("ecq"));
        assert_eq!(closest("fashion_mnist", ["mnist", "fashion-mnist"]), Some("fashion-mnist"));
        assert_eq!(did_you_mean_or_all("eqc", ["ecq"], "there are"), "did you mean 'ecq'?");
        assert_eq!(did_you_mean_or_all("foo", ["ecq", "lsq"], "there are"), "there are ecq, lsq");
    }

    /// Names come from a message's backquotes alone, and what is far from everything gets no suggestion.
    #[test]
    fn suggestions_from_messages() {
        let message = "unknown field `epoch`, expected one of `epochs`, `batch_size` at line 7 column 5";
        assert_eq!(suggestion(message, &[]).unwrap(), "did you mean 'epochs'?");
        let message = "unknown variant `adem`, expected `adam` or `sgd`";
        assert_eq!(suggestion(message, &[]).unwrap(), "did you mean 'adam'?");
        assert_eq!(suggestion("unknown field `a`, expected `epochs` at line 1 column 4", &[]), None);
        assert_eq!(suggestion("invalid type: string, expected u32", &[]), None);
    }

    /// Numbers and counts as people write them; bounds of hundreds of digits never appear.
    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (4.0, "4"),
            (-0.001, "-0.001"),
            (0.0, "0"),
            (1e-5, "1e-5"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (1e300, "1e300"),
            (65_536.0, "65536"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(value), expected);
        }
        assert_eq!(shown(&format!("no {} there", "x".repeat(5000))).chars().count(), 3 + 121 + 6);
        assert_eq!(count(1, "run"), "1 run");
        assert_eq!(count(0, "run"), "0 runs");
        assert_eq!(
            out_of_range(-0.001, f64::MIN_POSITIVE, 1e3).unwrap(),
            "must be above 0 and at most 1000, found -0.001"
        );
        assert_eq!(out_of_range(9.0, 2.0, 8.0).unwrap(), "must be from 2 to 8, found 9");
        assert_eq!(out_of_range(2.0, 2.0, 8.0), None);
        assert!(out_of_range(f64::NAN, 0.0, 1.0).is_some());
    }
}
