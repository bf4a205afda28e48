//! What a plain scalar is: the spellings of YAML 1.2's core schema, and digits grouped by `_`.

use super::node::Content;

/// The content of a scalar without quotes.
pub(super) fn content(text: &str) -> Content {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Content::Null,
        "true" | "True" | "TRUE" => Content::Bool(true),
        "false" | "False" | "FALSE" => Content::Bool(false),
        _ => match (integer(text), float(text)) {
            (Some(value), _) => Content::Integer(value),
            (None, Some(value)) => Content::Float(value),
            (None, None) => Content::Text(false),
        },
    }
}

/// The value of a whole number, saturated; `None` where it is none. A leading zero is none: it was octal once.
pub(super) fn integer(text: &str) -> Option<i128> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match (rest.strip_prefix("0x"), rest.strip_prefix("0o")) {
        (Some(digits), _) => (16, digits),
        (_, Some(digits)) => (8, digits),
        _ => (10, rest),
    };
    if radix == 10 && digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    let grouped = !digits.starts_with('_') && !digits.ends_with('_') && !digits.contains("__");
    if digits.is_empty() || !grouped {
        return None;
    }
    let mut value = 0i128;
    for c in digits.chars().filter(|c| *c != '_') {
        value = value.saturating_mul(i128::from(radix)).saturating_add(i128::from(c.to_digit(radix)?));
    }
    Some(if negative { -value } else { value })
}

/// The value of a number with point or exponent, `.inf` or `.nan`.
pub(super) fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" if text.starts_with('-') => return Some(f64::NEG_INFINITY),
        ".inf" | ".Inf" | ".INF" => return Some(f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ => {}
    }
    let begins = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let allowed = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    let old_octal =
        unsigned.len() > 1 && unsigned.starts_with('0') && unsigned.bytes().all(|byte| byte.is_ascii_digit());
    if !begins || old_octal || !unsigned.chars().all(allowed) {
        return None;
    }
    text.parse().ok()
}
