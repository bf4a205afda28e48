//! Settings that mean the same have one form, and mistakes are explained.

use super::*;
use serde_json::json;

const LIST: [Parameter; 5] = [
    Parameter::number("lambda", "strength", (0.0, 10.0), 0.05),
    Parameter::switch("keep", "whether", true).reference(Choice::Switch(false)),
    Parameter::word("band", "where", &["below", "above"], "below"),
    Parameter::whole("epochs", "how long", (0, 100), 0).open(),
    Parameter::word("step", "how", &["percentile", "mse"], "percentile").added(Choice::Word("percentile")),
];

fn resolved(given: Value) -> Result<Map<String, Value>> {
    resolve("method m", &LIST, &[], given.as_object().expect("a map"), false)
}

/// A user's own settings have one form too, and what is none of its kind is refused.
#[test]
fn programs_have_parameters() {
    let options = Parameter::options("options", "");
    let normal =
        options.normalise("m", &json!({"n": 3.0, "a": -0.0, "x": 0.5, "t": "u", "s": true})).unwrap();
    assert_eq!(normal.to_string(), r#"{"n":3,"a":0,"x":0.5,"t":"u","s":true}"#);
    assert!(
        options.normalise("m", &json!({"n": [1]})).unwrap_err().to_string().contains("'n' must be a number")
    );
    let command = Parameter::command("command", "");
    assert_eq!(command.normalise("m", &json!(["a", "-n", 4])).unwrap(), json!(["a", "-n", "4"]));
    for wrong in [json!([]), json!("a"), json!([["a"]])] {
        assert!(command.normalise("m", &wrong).is_err());
    }
    assert!(Parameter::files("files", "").normalise("m", &json!(["a"])).is_err());
    assert!(Parameter::text("label", "").normalise("m", &json!("")).is_err());
}

/// What means the same is the same: left out or written out, whole or with a point, in any order.
#[test]
fn equal_settings_are_equal() {
    let plain = resolved(json!({})).unwrap();
    assert_eq!(Value::from(plain.clone()).to_string(), r#"{"lambda":0.05,"keep":true,"band":"below"}"#);
    assert_eq!(resolved(json!({"band": "below", "lambda": 5e-2, "step": "percentile"})).unwrap(), plain);
    assert_eq!(resolved(json!({"lambda": 0})).unwrap(), resolved(json!({"lambda": -0.0})).unwrap());
    assert_eq!(resolved(json!({"epochs": 3.0})).unwrap()["epochs"], json!(3));
    assert_eq!(resolved(json!({"step": "mse"})).unwrap()["step"], json!("mse"));
    let reference = resolve("method m", &LIST, &[], &Map::new(), true).unwrap();
    assert_eq!(differences(&reference, &plain).collect::<Vec<_>>(), [("keep", &json!(false))]);
}

/// A mistake is told with the parameter, what it takes and what was found, in the form in which people write it.
#[test]
fn mistakes_are_explained() {
    let message = |given: Value| {
        let error = resolved(given).expect_err("must be refused");
        format!("{error}; {}", error.hint().unwrap_or("no hint"))
    };
    assert_eq!(message(json!({"lambda": 11})), "method m: lambda must be from 0 to 10, found 11; no hint");
    assert_eq!(
        message(json!({"lambda": "big"})),
        "method m: lambda must be a number from 0 to 10, found the text 'big'; no hint"
    );
    assert_eq!(
        message(json!({"band": "abov"})),
        "method m: band must be one of below, above, found abov; did you mean 'above'?"
    );
    assert_eq!(message(json!({"lamda": 1})), "method m has no parameter 'lamda'; did you mean 'lambda'?");
    assert_eq!(
        message(json!({"epochs": 2.5})),
        "method m: epochs must be a whole number from 0 to 100, found 2.5; no hint"
    );
    assert_eq!(shown(&json!(1e300)), "1e300");
}
