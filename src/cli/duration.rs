//! Times as people read them.

/// Seconds as hours, minutes and seconds.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two largest units, rounded to seconds.
    #[test]
    fn durations_are_short() {
        assert_eq!(duration(59.6), "1 min 00 s");
        assert_eq!(duration(7.2), "7 s");
        assert_eq!(duration(3725.0), "1 h 02 min");
    }
}
