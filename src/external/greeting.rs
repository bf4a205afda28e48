//! What a program says of itself when it is greeted.

use serde_json::{Map, Value};

/// Of the protocol.
pub(super) const PROTOCOL: u64 = 1;
/// What a program may want.
const WANTS: [&str; 3] = ["relevance", "calibration", "backward"];

/// What a program said of itself.
#[derive(Default)]
pub(super) struct Wants {
    pub relevance: bool,
    pub calibration: bool,
    pub backward: bool,
}

/// What a greeting says: what the program wants, and a line for the log.
pub(super) fn introduced(answer: &Map<String, Value>) -> std::result::Result<(Vec<&str>, String), String> {
    if answer.get("protocol").and_then(Value::as_u64) != Some(PROTOCOL) {
        let found = answer.get("protocol").map_or("nothing".into(), Value::to_string);
        return Err(format!("its protocol must be {PROTOCOL}, found {}", crate::error::excerpt(&found)));
    }
    let mut wants = Vec::new();
    for want in answer.get("wants").and_then(Value::as_array).into_iter().flatten() {
        match want.as_str() {
            Some(want) if WANTS.contains(&want) => wants.push(want),
            _ => {
                let found = want.to_string();
                let found = crate::error::excerpt(&found);
                return Err(format!("it can want {}, found {found}", WANTS.join(", ")));
            }
        }
    }
    let text = |key: &str| answer.get(key).and_then(Value::as_str).map(crate::error::excerpt);
    let (name, version) = (text("name").unwrap_or("a program".into()), text("version").unwrap_or_default());
    Ok((wants, format!("{name} {version}").trim_end().to_owned()))
}
